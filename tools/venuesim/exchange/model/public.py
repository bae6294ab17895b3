"""What everybody can see of a market."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct


class Level(Struct, frozen=True, kw_only=True):
    price: Decimal
    qty: Decimal


class Depth(Struct, frozen=True, kw_only=True):
    """Best levels first."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    update_id: int
    time_ms: int


class PublicTrade(Struct, frozen=True, kw_only=True):
    id: int
    price: Decimal
    qty: Decimal
    time_ms: int
    buyer_maker: bool


class Quote(Struct, frozen=True, kw_only=True):
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


class Candle(Struct, frozen=True, kw_only=True):
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


class DayStats(Struct, frozen=True, kw_only=True):
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


class Funding(Struct, frozen=True, kw_only=True):
    rate: Decimal
    """Predicted for the running interval; positive = longs pay."""
    next_ms: int
    interval_hours: int


class FundingRecord(Struct, frozen=True, kw_only=True):
    symbol: str
    rate: Decimal
    mark: Decimal
    time_ms: int
