"""What a client asks for."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct, field

from tools.venuesim.exchange.model.terms import (
    NO_EXTRAS,
    ConditionalType,
    MarginMode,
    OrderType,
    PositionSide,
    Reference,
    SelfTrade,
    Side,
    TimeInForce,
)


class Attachment(Struct, frozen=True, kw_only=True):
    """A stop-loss or take profit that comes with an entry; ``Policy.attach`` says when it begins to exist."""

    kind: ConditionalType
    """A plain one; trailing stops cannot be attached."""
    trigger_price: Decimal
    price: Decimal | None = None
    """Of the limit types."""
    reference: Reference = Reference.LAST
    qty: Decimal | None = None
    """At most this much of what the entry fills; None = all of it. Unused with ``whole_position``."""
    whole_position: bool = False
    """Closes whatever the position holds. A position has one stop-loss and one take profit of this kind: another
    one replaces the level of the one there is, which keeps its id."""
    client_id: str | None = None
    pair: str | None = None
    """Of two attachments of an entry with the same key the one that fires cancels the other. They may share a client
    id."""
    extras: Mapping[str, str] = field(default_factory=lambda: NO_EXTRAS)


class OrderRequest(Struct, frozen=True, kw_only=True):
    symbol: str
    side: Side
    type: OrderType
    qty: Decimal
    price: Decimal | None = None
    position_side: PositionSide = PositionSide.BOTH
    tif: TimeInForce = TimeInForce.GTC
    reduce_only: bool = False
    client_id: str | None = None
    """None: the exchange makes one up."""
    good_till_ms: int | None = None
    self_trade: SelfTrade = SelfTrade.NONE
    attached: tuple[Attachment, ...] = ()
    margin_mode: MarginMode | None = None
    """None: the symbol's. Another one than the symbol's is taken on in silence while the symbol is flat and without
    orders, and refused otherwise."""
    clamp_price: bool = False
    """A limit price beyond the price band is brought back to it instead of refused."""
    extras: Mapping[str, str] = field(default_factory=lambda: NO_EXTRAS)
    """Carried along unread, for the façade to echo."""


class AmendRequest(Struct, frozen=True, kw_only=True):
    symbol: str
    order_id: int | None = None
    client_id: str | None = None
    qty: Decimal | None = None
    price: Decimal | None = None
    attached: tuple[Attachment, ...] | None = None
    """Takes the place of all the order came with; refused once one of those exists."""
    clamp_price: bool = False
    extras: Mapping[str, str] = field(default_factory=lambda: NO_EXTRAS)


class ConditionalRequest(Struct, frozen=True, kw_only=True):
    symbol: str
    side: Side
    type: ConditionalType
    qty: Decimal | None = None
    """None only with close_position."""
    trigger_price: Decimal | None = None
    """Absent for trailing stops."""
    price: Decimal | None = None
    position_side: PositionSide = PositionSide.BOTH
    tif: TimeInForce = TimeInForce.GTC
    reference: Reference = Reference.LAST
    reduce_only: bool = False
    close_position: bool = False
    callback_rate: Decimal | None = None
    """Trailing distance as a fraction of the extreme price (0.01 = 1 %)."""
    callback_distance: Decimal | None = None
    """Trailing distance as a price difference."""
    activation_price: Decimal | None = None
    client_id: str | None = None
    attached: bool = False
    """It belongs to the position (Bybit, OKX) rather than being a stand-alone order, and ends with it."""
    entry_legs: tuple[Attachment, ...] = ()
    """What the order it sends comes with."""
    margin_mode: MarginMode | None = None
    """Of the order it sends; see ``OrderRequest``."""
    good_till_ms: int | None = None
    max_gap: Decimal | None = None
    """It fires only while last and mark price are no further apart than this fraction."""
    self_trade: SelfTrade = SelfTrade.NONE
    extras: Mapping[str, str] = field(default_factory=lambda: NO_EXTRAS)


class AmendConditional(Struct, frozen=True, kw_only=True):
    """None leaves a value as it is."""

    symbol: str
    conditional_id: int | None = None
    client_id: str | None = None
    kind: ConditionalType | None = None
    """Between the market and the limit form of what it is; the limit form needs a price."""
    trigger_price: Decimal | None = None
    price: Decimal | None = None
    qty: Decimal | None = None
    reference: Reference | None = None
    callback_rate: Decimal | None = None
    callback_distance: Decimal | None = None
    activation_price: Decimal | None = None
    extras: Mapping[str, str] = field(default_factory=lambda: NO_EXTRAS)
    """Added to what it carries."""


class PositionStop(Struct, frozen=True, kw_only=True):
    """The position's own stop-loss, take profit or trailing stop, of which there is one each.

    No trigger price and no distance: it is taken away.
    """

    symbol: str
    position_side: PositionSide
    kind: ConditionalType
    """STOP, TAKE_PROFIT or TRAILING."""
    trigger_price: Decimal | None = None
    callback_rate: Decimal | None = None
    callback_distance: Decimal | None = None
    activation_price: Decimal | None = None
    reference: Reference = Reference.LAST
    extras: Mapping[str, str] = field(default_factory=lambda: NO_EXTRAS)

    @property
    def removes(self) -> bool:
        return self.trigger_price is None and self.callback_rate is None and self.callback_distance is None
