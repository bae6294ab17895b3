"""Minutes from before a market's first moment: computed when somebody asks, and summed up without being made.

A synthetic history is one of a few shapes (a random walk read backwards from the present), laid over the market's
first price. Shapes are shared by all symbols of a seed, so that a thousand symbols cost no more than a few.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from random import Random
from typing import Protocol

from msgspec import Struct

from tools.venuesim.exchange.path import PULL_PER_SECOND, SPREAD_OF_WALK

MINUTE_MS = 60_000
HISTORY_MINUTES = 500
POINTS_PER_MINUTE = 4
SHAPES = 32


class Minute(Struct):
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


class Summary(Struct, frozen=True, kw_only=True):
    """Several minutes in a row, in ticks and lots."""

    open: int
    high: int
    low: int
    lots: int
    tick_lots: int
    trades: int


class History(Protocol):
    """What lies before the live minutes, newest first."""

    def __len__(self) -> int: ...

    def backwards(self) -> Iterator[Minute]:
        """From the newest minute to the oldest."""
        ...

    def summary(self, count: int) -> Summary | None:
        """The newest `count` minutes; None for none."""
        ...


class Recorded:
    """Minutes that were given: the head of a replayed file."""

    def __init__(self, minutes: Sequence[Minute] = ()) -> None:
        self._minutes = list(minutes)

    def __len__(self) -> int:
        return len(self._minutes)

    def backwards(self) -> Iterator[Minute]:
        return reversed(self._minutes)

    def summary(self, count: int) -> Summary | None:
        return summed(self._minutes[max(0, len(self._minutes) - count) :]) if count else None


class Shape(Struct, frozen=True):
    """Minutes as multiples of the price they lead up to; index 0 is the newest. Running values reach back from it."""

    open: tuple[float, ...]
    high: tuple[float, ...]
    low: tuple[float, ...]
    weight: tuple[int, ...]
    """How much is traded, in percent of a usual minute."""
    high_so_far: tuple[float, ...]
    low_so_far: tuple[float, ...]
    weight_so_far: tuple[int, ...]
    worth_so_far: tuple[float, ...]
    """Sum of weight * middle of the minute's range."""


@cache
def shape(seed: int, number: int) -> Shape:
    """One of `SHAPES` per seed; every odd one is its predecessor upside down."""
    rng = Random(f"{seed}/history/{number // 2}")
    sign = -1.0 if number % 2 else 1.0
    seconds = MINUTE_MS / POINTS_PER_MINUTE / 1000
    keep = math.exp(-PULL_PER_SECOND * seconds)
    spread = SPREAD_OF_WALK * math.sqrt(1 - keep * keep)
    offset, points = 0.0, [1.0]
    for _ in range(HISTORY_MINUTES * POINTS_PER_MINUTE):
        offset = offset * keep + spread * rng.gauss(0.0, 1.0)
        points.append(math.exp(sign * offset))
    weights = [rng.randint(50, 150) for _ in range(HISTORY_MINUTES)]
    highs, lows, opens = [], [], []
    for number_back in range(HISTORY_MINUTES):
        inside = points[number_back * POINTS_PER_MINUTE : (number_back + 1) * POINTS_PER_MINUTE + 1]
        opens.append(inside[-1])
        highs.append(max(inside))
        lows.append(min(inside))
    return _with_running_values(opens, highs, lows, weights)


def _with_running_values(opens: list[float], highs: list[float], lows: list[float], weights: list[int]) -> Shape:
    high, low, weight, worth = 0.0, math.inf, 0, 0.0
    running: list[tuple[float, float, int, float]] = []
    for top, bottom, part in zip(highs, lows, weights, strict=True):
        high, low = max(high, top), min(low, bottom)
        weight, worth = weight + part, worth + part * (top + bottom) / 2
        running.append((high, low, weight, worth))
    return Shape(
        tuple(opens),
        tuple(highs),
        tuple(lows),
        tuple(weights),
        tuple(row[0] for row in running),
        tuple(row[1] for row in running),
        tuple(row[2] for row in running),
        tuple(row[3] for row in running),
    )


class Shaped:
    """A shape over a price. Only the minutes somebody asked for are kept."""

    def __init__(self, of: Shape, price_ticks: float, lots_per_percent: int, newest_open_ms: int) -> None:
        self._shape = of
        self._price = price_ticks
        self._lots = lots_per_percent
        self._newest_ms = newest_open_ms
        self._made: list[Minute] = []

    def __len__(self) -> int:
        return HISTORY_MINUTES

    def backwards(self) -> Iterator[Minute]:
        for number in range(HISTORY_MINUTES):
            if number == len(self._made):
                self._made.append(self._minute(number))
            yield self._made[number]

    def summary(self, count: int) -> Summary | None:
        if not count:
            return None
        last, of = count - 1, self._shape
        return Summary(
            open=self._ticks(of.open[last]),
            high=self._ticks(of.high_so_far[last]),
            low=self._ticks(of.low_so_far[last]),
            lots=of.weight_so_far[last] * self._lots,
            tick_lots=round(of.worth_so_far[last] * self._lots * self._price),
            trades=count * POINTS_PER_MINUTE,
        )

    def _minute(self, number: int) -> Minute:
        of = self._shape
        high, low = self._ticks(of.high[number]), self._ticks(of.low[number])
        lots = of.weight[number] * self._lots
        worth = lots * (high + low) // 2
        return Minute(
            open_ms=self._newest_ms - number * MINUTE_MS,
            open=self._ticks(of.open[number]),
            high=high,
            low=low,
            close=self._ticks(of.open[number - 1] if number else 1.0),
            lots=lots,
            tick_lots=worth,
            trades=POINTS_PER_MINUTE,
            taker_lots=lots // 2,
            taker_tick_lots=worth // 2,
        )

    def _ticks(self, multiple: float) -> int:
        return max(1, round(self._price * multiple))


def summed(minutes: Sequence[Minute]) -> Summary | None:
    """The minutes as one, oldest first; None for none."""
    if not minutes:
        return None
    return Summary(
        open=minutes[0].open,
        high=max(minute.high for minute in minutes),
        low=min(minute.low for minute in minutes),
        lots=sum(minute.lots for minute in minutes),
        tick_lots=sum(minute.tick_lots for minute in minutes),
        trades=sum(minute.trades for minute in minutes),
    )
