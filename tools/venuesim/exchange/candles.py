"""Minute candles in whole ticks and lots, and longer candles made from them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import chain

from msgspec.structs import replace

from tools.venuesim.exchange.history import MINUTE_MS, History, Minute, Recorded, Summary, summed
from tools.venuesim.exchange.model import Candle

KEPT = 1_600
"""More than any venue gives in one answer."""


class CandleSeries:
    """Grows with trades; minutes without any repeat the last close. ``past`` is what lies before the first trade."""

    def __init__(self, tick: Decimal, step: Decimal, past: History) -> None:
        self._tick = tick
        self._step = step
        self._past = past
        self._minutes: deque[Minute] = deque(maxlen=KEPT)
        self._closed: tuple[int, int, list[Summary]] = (0, 0, [])
        """The sum of a window's closed minutes, with the open times of the window's ends it was made for."""

    def add(self, time_ms: int, extremes: tuple[int, int], close: int, lots: int, tick_lots: int, trades: int) -> None:
        """Trades of one minute, the last at ``time_ms``; half of the volume was taken by buyers."""
        self.roll(time_ms, close)
        minute = self._minutes[-1]
        minute.low, minute.high = min(minute.low, extremes[0]), max(minute.high, extremes[1])
        minute.close = close
        minute.trades += trades
        minute.lots += lots
        minute.tick_lots += tick_lots
        minute.taker_lots = minute.lots // 2
        minute.taker_tick_lots = minute.tick_lots // 2

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
        if len(self._minutes) == KEPT:
            # Minutes have fallen out behind: what came before them would leave a gap.
            self._past = Recorded()

    def window(self, count: int) -> Summary:
        """The newest ``count`` minutes as one, the open one included."""
        newest = self._minutes[-1]
        held = min(len(self._minutes), count)
        oldest = self._minutes[-held]
        if self._closed[:2] != (oldest.open_ms, newest.open_ms):
            older = self._past.summary(min(len(self._past), count - held)) if held < count else None
            live = summed([*self._minutes][-held:-1])
            self._closed = (oldest.open_ms, newest.open_ms, [part for part in (older, live) if part is not None])
        running = summed([newest])
        parts = [*self._closed[2], *([running] if running is not None else [])]
        return Summary(
            open=parts[0].open,
            high=max(part.high for part in parts),
            low=min(part.low for part in parts),
            lots=sum(part.lots for part in parts),
            tick_lots=sum(part.tick_lots for part in parts),
            trades=sum(part.trades for part in parts),
        )

    def open_at(self, time_ms: int) -> int:
        """What the minute of that time opened at; the oldest one known if that came later."""
        oldest = self._minutes[0]
        minute = (time_ms - oldest.open_ms) // MINUTE_MS
        if minute >= 0:
            return self._minutes[minute].open
        older = self._past.summary(min(len(self._past), -minute))
        return oldest.open if older is None else older.open

    def regrid(self, tick: Decimal, step: Decimal) -> None:
        """Go on in other ticks and lots: what is known is rounded to them."""
        prices, lots = self._tick / tick, self._step / step
        self._minutes = deque((_rescaled(minute, prices, lots) for minute in self._minutes), maxlen=KEPT)
        self._past = Recorded([_rescaled(minute, prices, lots) for minute in self._past.backwards()][::-1])
        self._tick, self._step = tick, step
        self._closed = (0, 0, [])

    def candles(self, interval_ms: int, limit: int | None = None) -> list[Candle]:
        """Oldest first, the last one open. ``interval_ms`` is a multiple of a minute; ``limit`` keeps the newest."""
        groups: list[list[Minute]] = []
        key = None
        # From the newest backwards: a stream asks for two candles many times a second.
        for minute in self._backwards():
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

    def _backwards(self) -> Iterator[Minute]:
        return chain(reversed(self._minutes), self._past.backwards())

    def _candle(self, minutes: list[Minute], interval_ms: int, *, closed: bool) -> Candle:
        start = minutes[0].open_ms - minutes[0].open_ms % interval_ms
        tick, step = self._tick, self._step
        if len(minutes) == 1:  # most are; sums over one cost more than all the rest
            (one,) = minutes
            return Candle(
                open_ms=start,
                close_ms=start + interval_ms - 1,
                open=one.open * tick,
                high=one.high * tick,
                low=one.low * tick,
                close=one.close * tick,
                volume=one.lots * step,
                quote_volume=one.tick_lots * tick * step,
                trades=one.trades,
                taker_volume=one.taker_lots * step,
                taker_quote_volume=one.taker_tick_lots * tick * step,
                closed=closed,
            )
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


def _rescaled(minute: Minute, prices: Decimal, lots: Decimal) -> Minute:
    def ticks(value: int) -> int:
        return max(1, round(value * prices))

    traded = round(minute.lots * lots)
    worth = round(minute.tick_lots * prices * lots)
    return replace(
        minute,
        open=ticks(minute.open),
        high=ticks(minute.high),
        low=ticks(minute.low),
        close=ticks(minute.close),
        lots=traded,
        tick_lots=worth,
        taker_lots=traded // 2,
        taker_tick_lots=worth // 2,
    )


def _total(numbers: Iterable[int]) -> Decimal:
    return Decimal(sum(numbers))
