"""Minute candles in whole ticks and lots, and longer candles made from them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tools.venuesim.exchange.model import Candle

MINUTE_MS = 60_000
KEPT = 1_600
"""More than any venue gives in one answer."""


@dataclass(slots=True)
class Minute:
    """One minute, in ticks and lots."""

    open_ms: int
    open: int
    high: int
    low: int
    close: int
    lots: int = 0
    tick_lots: int = 0
    """Sum of price in ticks * lots."""
    trades: int = 0
    taker_lots: int = 0
    taker_tick_lots: int = 0

    def add(self, ticks: int, lots: int, *, taker_buys: bool) -> None:
        self.high = max(self.high, ticks)
        self.low = min(self.low, ticks)
        self.close = ticks
        if not lots:
            return
        self.lots += lots
        self.tick_lots += ticks * lots
        self.trades += 1
        if taker_buys:
            self.taker_lots += lots
            self.taker_tick_lots += ticks * lots


class CandleSeries:
    """Grows with trades; minutes without any repeat the last close."""

    def __init__(self, tick: Decimal, step: Decimal) -> None:
        self._tick = tick
        self._step = step
        self._minutes: deque[Minute] = deque(maxlen=KEPT)

    def add(self, time_ms: int, ticks: int, lots: int, *, taker_buys: bool) -> None:
        self.roll(time_ms, ticks)
        self._minutes[-1].add(ticks, lots, taker_buys=taker_buys)

    def roll(self, time_ms: int, ticks: int) -> None:
        """Open the minute of ``time_ms`` (and any that were skipped). ``ticks`` opens the very first one."""
        start = time_ms - time_ms % MINUTE_MS
        if not self._minutes:
            self._minutes.append(Minute(start, ticks, ticks, ticks, ticks))
        last = self._minutes[-1]
        if start <= last.open_ms:
            return
        first = max(last.open_ms + MINUTE_MS, start - MINUTE_MS * (KEPT - 1))
        for open_ms in range(first, start + 1, MINUTE_MS):
            self._minutes.append(Minute(open_ms, last.close, last.close, last.close, last.close))

    def minutes(self) -> Sequence[Minute]:
        return self._minutes

    def candles(self, interval_ms: int, limit: int | None = None) -> list[Candle]:
        """Oldest first, the last one open. ``interval_ms`` is a multiple of a minute; ``limit`` keeps the newest."""
        groups: list[list[Minute]] = []
        key = None
        # From the newest backwards: a stream asks for two candles many times a second.
        for minute in reversed(self._minutes):
            start = minute.open_ms - minute.open_ms % interval_ms
            if start != key:
                if len(groups) == limit:
                    break
                groups.append([])
                key = start
            groups[-1].append(minute)
        return [
            self._candle(group[::-1], interval_ms, closed=number > 0)
            for number, group in reversed(list(enumerate(groups)))
        ]

    def _candle(self, minutes: list[Minute], interval_ms: int, *, closed: bool) -> Candle:
        start = minutes[0].open_ms - minutes[0].open_ms % interval_ms
        tick, step = self._tick, self._step
        return Candle(
            open_ms=start,
            close_ms=start + interval_ms - 1,
            open=minutes[0].open * tick,
            high=max(minute.high for minute in minutes) * tick,
            low=min(minute.low for minute in minutes) * tick,
            close=minutes[-1].close * tick,
            volume=_total(minute.lots for minute in minutes) * step,
            quote_volume=_total(minute.tick_lots for minute in minutes) * tick * step,
            trades=sum(minute.trades for minute in minutes),
            taker_volume=_total(minute.taker_lots for minute in minutes) * step,
            taker_quote_volume=_total(minute.taker_tick_lots for minute in minutes) * tick * step,
            closed=closed,
        )


def _total(numbers: Iterable[int]) -> Decimal:
    return Decimal(sum(numbers))
