"""Where prices come from: a seeded mean-reverting walk, or the candles of a file.

Floats are right here and nowhere else in the exchange: a path is noise (or a picture of someone else's market)
until the market rounds it to ticks.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Protocol

from msgspec import Struct

# A walk that stays within about 2 % of its anchor and moves about 0.5 % in five minutes: lively enough for exits,
# tame enough for the entry filters (5-minute move <= 4 %).
SPREAD_OF_WALK = 0.006
PULL_PER_SECOND = 1 / 600
# Real markets are calm for hours and then lively for minutes; a strategy that waits for that would never see it in a
# walk that is always the same.
CALM_SECONDS = (1_200.0, 21_600.0)
LIVELY_SECONDS = (900.0, 1_800.0)
LIVELY_SPREAD = 2.2
LIVELY_VOLUME = 3.0


class Bar(Struct, frozen=True, kw_only=True):
    """One row of a price file; prices and volume as in the file."""

    open: float
    high: float
    low: float
    close: float
    volume: float


class PricePath(Protocol):
    def advance(self, seconds: float) -> float:
        """Move on and answer the price there."""
        ...

    def anchor(self, price: float) -> None:
        """Go on from this price."""
        ...


class Moods:
    """When a market is lively: a seeded sequence of calm and lively stretches that begins calm."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._until = rng.uniform(*CALM_SECONDS)
        self.lively = False

    def pass_to(self, seconds: float) -> None:
        """Set `lively` for this many seconds after the beginning; never goes back."""
        while seconds >= self._until:
            self.lively = not self.lively
            self._until += self._rng.uniform(*(LIVELY_SECONDS if self.lively else CALM_SECONDS))


class SyntheticPath:
    """An Ornstein-Uhlenbeck walk of the log price around an anchor, exact for any step length within one mood."""

    def __init__(self, rng: Random, price: float, moods: Moods) -> None:
        self._rng = rng
        self._moods = moods
        self._elapsed = 0.0
        self._anchor = price
        self._offset = 0.0
        self._factors: dict[float, tuple[float, float]] = {}

    def advance(self, seconds: float) -> float:
        factors = self._factors.get(seconds)
        if factors is None:
            keep = math.exp(-PULL_PER_SECOND * seconds)
            factors = self._factors[seconds] = (keep, SPREAD_OF_WALK * math.sqrt(1 - keep * keep))
        keep, spread = factors
        self._moods.pass_to(self._elapsed)
        self._elapsed += seconds
        liveliness = LIVELY_SPREAD if self._moods.lively else 1.0
        self._offset = self._offset * keep + liveliness * spread * self._rng.gauss(0.0, 1.0)
        return self._anchor * math.exp(self._offset)

    def anchor(self, price: float) -> None:
        self._anchor = price
        self._offset = 0.0


class BarPath:
    """Walks through bars (open, the nearer extreme, the other, close), then goes on as a synthetic walk.

    After a price was set from outside, the bars' later moves are applied to that price.
    """

    def __init__(self, bars: Sequence[Bar], bar_seconds: float, after: SyntheticPath) -> None:
        self._bars = bars
        self._bar_seconds = bar_seconds
        self._after = after
        self._elapsed = 0.0
        self._scale = 1.0
        self._ended = False

    def advance(self, seconds: float) -> float:
        if self._ended:
            return self._after.advance(seconds)
        self._elapsed += seconds
        price = self._raw() * self._scale
        if self._elapsed >= self._bar_seconds * len(self._bars):
            self._ended = True
            self._after.anchor(price)
        return price

    def anchor(self, price: float) -> None:
        if self._ended:
            self._after.anchor(price)
        else:
            self._scale = price / self._raw()

    def _raw(self) -> float:
        index, inside = divmod(self._elapsed / self._bar_seconds, 1.0)
        if index >= len(self._bars):
            return self._bars[-1].close
        bar = self._bars[int(index)]
        corners = (
            (bar.open, bar.low, bar.high, bar.close)
            if bar.close >= bar.open
            else (bar.open, bar.high, bar.low, bar.close)
        )
        leg, along = divmod(inside * 3, 1.0)
        start, end = corners[int(leg)], corners[int(leg) + 1]
        return start + (end - start) * along


def load_bars(path: Path) -> tuple[list[Bar], float]:
    """Rows of a price file and the seconds between them.

    Columns: timestamp,open,high,low,close,volume; timestamps ISO 8601 (UTC when without zone), or seconds or
    milliseconds since the epoch. Raises ValueError naming the file and line of the first bad row, OSError when it
    cannot be read.
    """
    bars: list[Bar] = []
    stamps: list[float] = []
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                stamps.append(_seconds(row["timestamp"]))
                bars.append(
                    Bar(
                        open=_positive(row["open"]),
                        high=_positive(row["high"]),
                        low=_positive(row["low"]),
                        close=_positive(row["close"]),
                        volume=float(row["volume"]),
                    )
                )
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{path}:{number}: {error!r}") from error
    if len(bars) < 2:
        raise ValueError(f"{path}: needs at least two rows")
    seconds = stamps[1] - stamps[0]
    if seconds <= 0:
        raise ValueError(f"{path}: timestamps do not ascend")
    return bars, seconds


def _positive(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"not a price: {text}")
    return value


def _seconds(text: str) -> float:
    if text.replace(".", "", 1).isdigit():
        value = float(text)
        return value / 1000 if value > 1e11 else value
    stamp = datetime.fromisoformat(text)
    return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp()
