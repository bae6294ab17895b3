"""Orders, conditional orders and fills, as they stand."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct, field

from tools.venuesim.exchange.model.commands import Attachment
from tools.venuesim.exchange.model.refusals import Refusal
from tools.venuesim.exchange.model.terms import (
    CLOSING,
    NO_EXTRAS,
    ZERO,
    ConditionalStatus,
    ConditionalType,
    Expiry,
    MarginMode,
    OrderStatus,
    OrderType,
    Origin,
    PositionSide,
    Reference,
    SelfTrade,
    Side,
    TimeInForce,
)


class Parent(Struct, frozen=True, kw_only=True):
    """The entry that an attached conditional order came with."""

    order_id: int
    client_id: str


class Order(Struct, frozen=True, kw_only=True):
    id: int
    client_id: str
    symbol: str
    side: Side
    type: OrderType
    qty: Decimal
    """What was asked for. The engine lowers it when a reduce-only order no longer fits its position."""
    price: Decimal | None
    position_side: PositionSide
    tif: TimeInForce
    reduce_only: bool
    close_position: bool
    status: OrderStatus
    created_ms: int
    updated_ms: int
    filled: Decimal = ZERO
    quote_filled: Decimal = ZERO
    """Sum of price * quantity over the fills."""
    expiry: Expiry | None = None
    origin: Origin = Origin.CLIENT
    conditional_id: int | None = None
    """The conditional order it was born from."""
    conditional_type: ConditionalType | None = None
    good_till_ms: int | None = None
    amendments: int = 0
    self_trade: SelfTrade = SelfTrade.NONE
    attached: tuple[Attachment, ...] = ()
    """What it came with, whether that exists yet or not."""
    extras: Mapping[str, str] = field(default_factory=lambda: NO_EXTRAS)

    @property
    def open_qty(self) -> Decimal:
        return self.qty - self.filled if self.status.is_open else ZERO

    @property
    def ended_qty(self) -> Decimal:
        """What ended unfilled: cancelled or expired."""
        return ZERO if self.status.is_open else self.qty - self.filled

    @property
    def avg_price(self) -> Decimal | None:
        return self.quote_filled / self.filled if self.filled else None


class Fill(Struct, frozen=True, kw_only=True):
    id: int
    order_id: int
    client_id: str
    symbol: str
    side: Side
    position_side: PositionSide
    qty: Decimal
    price: Decimal
    fee: Decimal
    """Positive = paid."""
    fee_asset: str
    realized: Decimal
    """Profit of the closed part, fees excluded."""
    maker: bool
    time_ms: int
    origin: Origin = Origin.CLIENT


class Conditional(Struct, frozen=True, kw_only=True):
    id: int
    client_id: str
    symbol: str
    side: Side
    type: ConditionalType
    qty: Decimal | None
    trigger_price: Decimal | None
    price: Decimal | None
    position_side: PositionSide
    tif: TimeInForce
    reference: Reference
    reduce_only: bool
    close_position: bool
    callback_rate: Decimal | None
    callback_distance: Decimal | None
    activation_price: Decimal | None
    attached: bool
    status: ConditionalStatus
    created_ms: int
    updated_ms: int
    activated: bool = False
    """Trailing stops: following the price. Always False for the others."""
    extreme: Decimal | None = None
    """Trailing stops: the best price since activation."""
    triggered_ms: int | None = None
    child_id: int | None = None
    reason: Refusal | Expiry | None = None
    """Why it was rejected or expired."""
    good_till_ms: int | None = None
    max_gap: Decimal | None = None
    """It fires only while last and mark price are no further apart than this fraction."""
    self_trade: SelfTrade = SelfTrade.NONE
    whole_position: bool = False
    """The position's own stop-loss, take profit or trailing stop (``close_position`` and ``attached`` are True too)."""
    parent: Parent | None = None
    partner_id: int | None = None
    """The conditional order that ends when this one fires."""
    entry_legs: tuple[Attachment, ...] = ()
    """What the order it sends comes with."""
    margin_mode: MarginMode | None = None
    amendments: int = 0
    extras: Mapping[str, str] = field(default_factory=lambda: NO_EXTRAS)

    @property
    def closes(self) -> bool:
        """True when it can only reduce: by mark, or because of its position side in hedge mode."""
        if self.reduce_only or self.close_position:
            return True
        return (self.position_side, self.side) in CLOSING
