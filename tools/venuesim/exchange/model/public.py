"""What everybody can see of a market."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    price: Decimal
    qty: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """Best levels first."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    update_id: int
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicTrade:
    id: int
    price: Decimal
    qty: Decimal
    time_ms: int
    buyer_maker: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    symbol: str
    last: Decimal
    bid: Decimal
    bid_qty: Decimal
    ask: Decimal
    ask_qty: Decimal
    mark: Decimal
    index: Decimal
    time_ms: int
    update_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    open_ms: int
    close_ms: int
    """Last millisecond of the candle."""
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    trades: int
    taker_volume: Decimal
    taker_quote_volume: Decimal
    closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DayStats:
    """The last 24 hours."""

    open: Decimal
    high: Decimal
    low: Decimal
    last: Decimal
    last_qty: Decimal
    volume: Decimal
    quote_volume: Decimal
    open_ms: int
    close_ms: int
    first_trade_id: int
    last_trade_id: int
    trades: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Funding:
    rate: Decimal
    """Predicted for the running interval; positive = longs pay."""
    next_ms: int
    interval_hours: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingRecord:
    symbol: str
    rate: Decimal
    mark: Decimal
    time_ms: int
