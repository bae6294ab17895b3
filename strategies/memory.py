"""Incremental indicators per instrument: each candle is fed once, in order, and never across a gap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from core.domain.candle import Candle
from core.domain.ids import InstrumentId

SIGHT = 300
"""An instrument of which nothing was seen for so many candles is forgotten."""


class Figures(Protocol):
    """The indicators of one instrument."""

    def add(self, candle: Candle) -> None: ...


F = TypeVar("F", bound=Figures)


@dataclass(slots=True)
class _Fed(Generic[F]):
    """`count` candles in a row were fed, the last one opened at `newest_ms`."""

    figures: F
    newest_ms: int
    count: int = 0


class Memory(Generic[F]):
    """A cache of candles, nothing more: what it answers depends on the candles alone."""

    def __init__(self, make: Callable[[], F], warmup: int) -> None:
        self._make, self._warmup = make, warmup
        self._fed: dict[InstrumentId, _Fed[F]] = {}

    def feed(self, instrument: InstrumentId, candles: Sequence[Candle], timeframe_ms: int) -> F | None:
        """The indicators after the newest of `candles`; None until enough candles in a row were seen.

        Candles that were fed before are passed over; after a gap it begins anew behind it.
        """
        fed = self._fed.get(instrument)
        for candle in candles[self._first_new(fed, candles) :]:
            if fed is None or candle.open_ms != fed.newest_ms + timeframe_ms:
                if fed is not None and candle.open_ms <= fed.newest_ms:
                    continue
                fed = self._fed[instrument] = _Fed(self._make(), candle.open_ms)
            self._take(fed, candle)
        return fed.figures if fed is not None and fed.count >= self._warmup else None

    def retire(self, before_ms: int) -> None:
        """Forget instruments whose newest candle opened earlier."""
        for instrument in [i for i, fed in self._fed.items() if fed.newest_ms < before_ms]:
            del self._fed[instrument]

    @staticmethod
    def _first_new(fed: _Fed[F] | None, candles: Sequence[Candle]) -> int:
        if fed is None:
            return 0
        index = len(candles)
        while index and candles[index - 1].open_ms > fed.newest_ms:
            index -= 1
        return index

    @staticmethod
    def _take(fed: _Fed[F], candle: Candle) -> None:
        fed.figures.add(candle)
        fed.newest_ms = candle.open_ms
        fed.count += 1
