"""What a client asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from tools.venuesim.exchange.model.terms import (
    NO_EXTRAS,
    ConditionalType,
    OrderType,
    PositionSide,
    Reference,
    SelfTrade,
    Side,
    TimeInForce,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
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
    extras: Mapping[str, str] = field(default_factory=lambda: NO_EXTRAS)
    """Carried along unread, for the façade to echo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AmendRequest:
    symbol: str
    order_id: int | None = None
    client_id: str | None = None
    qty: Decimal | None = None
    price: Decimal | None = None
    extras: Mapping[str, str] = field(default_factory=lambda: NO_EXTRAS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionalRequest:
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
    """It belongs to the position (Bybit, OKX) rather than being a stand-alone order."""
    good_till_ms: int | None = None
    max_gap: Decimal | None = None
    """It fires only while last and mark price are no further apart than this fraction."""
    self_trade: SelfTrade = SelfTrade.NONE
    extras: Mapping[str, str] = field(default_factory=lambda: NO_EXTRAS)
