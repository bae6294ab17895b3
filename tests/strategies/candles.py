"""Candles and views for strategies, and figures computed the slow way to compare the library with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any

from msgspec.structs import replace

from core.domain.candle import Candle
from core.domain.ids import InstrumentId
from core.domain.money import Price
from core.domain.signal import Side, Signal
from strategies.base import ExitAdvice, Strategy, View
from tests.builders import BTC, a_position

MINUTE = 60_000
START_MS = 1_790_000_040_000
"""The beginning of a minute."""


def a_candle(number: int, close: float, *, span: float = 0.0, volume: float = 100.0) -> Candle:
    """The so-manyth minute: opens at its close less nothing, `span` quote units above and below."""
    at, high, low = (Price(Decimal(f"{x:.8f}")) for x in (close, close + span, max(1e-8, close - span)))
    return Candle(START_MS + number * MINUTE, at, high, low, at, Decimal(f"{volume:.4f}"), Decimal(0))


def walk(count: int, seed: int = 1, *, step: float = 0.004) -> list[Candle]:
    """A lively random walk from 100: `step` is the deviation of one minute's move, volumes are uneven."""
    chance, price, candles = Random(seed), 100.0, []
    for number in range(count):
        price *= math.exp(chance.gauss(0.0, step))
        candles.append(a_candle(number, price, span=price * step, volume=chance.uniform(20, 200)))
    return candles


def a_view(candles: Mapping[InstrumentId, Sequence[Candle]] | Sequence[Candle], **fields: Any) -> View:
    """At the close of the last candle."""
    shown = candles if isinstance(candles, Mapping) else {BTC: candles}
    newest = max(rows[-1].open_ms for rows in shown.values())
    given = {"open_ms": newest, "timeframe_ms": MINUTE, "now_ms": newest + MINUTE + 500, "valid_ms": MINUTE} | fields
    return View(candles={instrument: tuple(rows) for instrument, rows in shown.items()}, **given)


def decisions(strategy: Strategy, candles: Sequence[Candle]) -> list[list[Signal]]:
    """What it says at each close from its first possible one, with a window of exactly its warm-up."""
    size = strategy.warmup
    return [strategy.on_candle(a_view(candles[end - size : end])) for end in range(size, len(candles) + 1)]


def advice(strategy: Strategy, candles: Sequence[Candle], *, side: Side = Side.BUY) -> list[list[ExitAdvice]]:
    """What it says of a position of its own on that side at each close, as `decisions`."""
    size, held = strategy.warmup, (replace(a_position(BTC), side=side),)
    windows = (candles[end - size : end] for end in range(size, len(candles) + 1))
    return [strategy.exits(a_view(window, positions=held, own=held)) for window in windows]


# figures by their definitions, from the whole series at once


def ema(values: Sequence[float], period: int) -> list[float]:
    """From the mean of the first `period` values on; shorter than `values` by period - 1."""
    made = [math.fsum(values[:period]) / period]
    for value in values[period:]:
        made.append(made[-1] + (value - made[-1]) * 2 / (period + 1))
    return made


def wilder(values: Sequence[float], period: int) -> float:
    """Wilder's average of all values."""
    average = math.fsum(values[:period]) / period
    for value in values[period:]:
        average += (value - average) / period
    return average


def rsi(closes: Sequence[float], period: int) -> float:
    moves = [after - before for before, after in pairwise(closes)]
    up, down = wilder([max(m, 0.0) for m in moves], period), wilder([max(-m, 0.0) for m in moves], period)
    return 100 * up / (up + down)


def true_ranges(candles: Iterable[Candle]) -> list[float]:
    rows = [(float(c.high), float(c.low), float(c.close)) for c in candles]
    first = rows[0][0] - rows[0][1]
    later = (max(high - low, abs(high - before[2]), abs(low - before[2])) for before, (high, low, _) in pairwise(rows))
    return [first, *later]
