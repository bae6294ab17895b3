"""Candles of the venue's own intervals: some begin with the day in UTC, some with the day in Hong Kong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby

from msgspec import Struct

from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import Candle

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
HONG_KONG_MS = 8 * HOUR_MS
"""How much earlier the day begins there."""
_PLAIN = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1H": HOUR_MS,
    "2H": 2 * HOUR_MS,
    "4H": 4 * HOUR_MS,
}
_LONG = {"6H": 6 * HOUR_MS, "12H": 12 * HOUR_MS, "1D": DAY_MS, "2D": 2 * DAY_MS, "3D": 3 * DAY_MS}
_WEEK_DAYS, _MONTHS_A_YEAR = 7, 12
_MONDAY_MS = 4 * DAY_MS
"""The first Monday after the epoch."""
_PART_MS = 2 * HOUR_MS
"""What longer candles are put together from: it divides all of them, and the distance to Hong Kong."""
_LONGEST = {"W": 7 * DAY_MS, "1M": 31 * DAY_MS, "3M": 92 * DAY_MS}

Span = tuple[int, int]
"""First and last millisecond."""


class Bar(Struct, frozen=True, kw_only=True):
    """A candle of any interval, months included."""

    start_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    """In base units."""
    turnover: Decimal
    closed: bool


class Interval(Struct, frozen=True):
    """``longest_ms`` bounds the length; ``parts`` are joined where the engine has no such candles itself."""

    longest_ms: int
    span: Callable[[int], Span] | None = None


def _every(length_ms: int, shift_ms: int) -> Callable[[int], Span]:
    def span(time_ms: int) -> Span:
        start = (time_ms + shift_ms) // length_ms * length_ms - shift_ms
        return start, start + length_ms - 1

    return span


def _months(count: int, shift_ms: int) -> Callable[[int], Span]:
    def span(time_ms: int) -> Span:
        day = datetime.fromtimestamp((time_ms + shift_ms) / 1000, UTC)
        number = (day.year * _MONTHS_A_YEAR + day.month - 1) // count * count
        return _month_ms(number) - shift_ms, _month_ms(number + count) - shift_ms - 1

    return span


def _month_ms(number: int) -> int:
    first = datetime(number // _MONTHS_A_YEAR, number % _MONTHS_A_YEAR + 1, 1, tzinfo=UTC)
    return int(first.timestamp() * 1000)


def _intervals() -> dict[str, Interval]:
    found = {name: Interval(length) for name, length in _PLAIN.items()}
    for suffix, shift in (("", HONG_KONG_MS), ("utc", 0)):
        for name, length in _LONG.items():
            found[name + suffix] = Interval(length, _every(length, shift))
        found[f"1W{suffix}"] = Interval(_LONGEST["W"], _every(_WEEK_DAYS * DAY_MS, shift - _MONDAY_MS))
        found[f"1M{suffix}"] = Interval(_LONGEST["1M"], _months(1, shift))
        found[f"3M{suffix}"] = Interval(_LONGEST["3M"], _months(3, shift))
    return found


INTERVALS = _intervals()


def start_of(interval: str, time_ms: int) -> int:
    """When the bar of that time begins, Unix milliseconds."""
    known = INTERVALS[interval]
    return time_ms - time_ms % known.longest_ms if known.span is None else known.span(time_ms)[0]


def bars(exchange: Exchange, symbol: str, interval: str, limit: int | None = None) -> list[Bar]:
    """Oldest first, the last one open; ``limit`` keeps the newest."""
    known = INTERVALS[interval]
    if known.span is None:
        return [_bar(row) for row in exchange.candles(symbol, known.longest_ms, limit)]
    span = known.span
    wanted = None if limit is None else (limit + 1) * (known.longest_ms // _PART_MS)
    parts = exchange.candles(symbol, _PART_MS, wanted)
    grouped = [_joined(list(group), where) for where, group in groupby(parts, lambda row: span(row.open_ms))]
    return grouped if limit is None else grouped[-limit:]


def _bar(candle: Candle) -> Bar:
    return Bar(
        start_ms=candle.open_ms,
        open=candle.open,
        high=candle.high,
        low=candle.low,
        close=candle.close,
        volume=candle.volume,
        turnover=candle.quote_volume,
        closed=candle.closed,
    )


def _joined(parts: Sequence[Candle], span: Span) -> Bar:
    return Bar(
        start_ms=span[0],
        open=parts[0].open,
        high=max(part.high for part in parts),
        low=min(part.low for part in parts),
        close=parts[-1].close,
        volume=sum((part.volume for part in parts), Decimal(0)),
        turnover=sum((part.quote_volume for part in parts), Decimal(0)),
        closed=parts[-1].closed and parts[-1].close_ms >= span[1],
    )
