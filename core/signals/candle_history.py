"""The newest closed candles of one instrument: ascending, without a gap, and none that is still running (MKT-09)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from core.domain.candle import Candle


class CandleHistory:
    """At most `size` candles. Answers of a venue go in as they come; what is kept is in order, aligned and gapless."""

    def __init__(self, size: int, timeframe_ms: int) -> None:
        self._size, self._timeframe_ms = size, timeframe_ms
        self._candles: deque[Candle] = deque(maxlen=size)
        self._broken = False

    @property
    def candles(self) -> tuple[Candle, ...]:
        """Oldest first."""
        return tuple(self._candles)

    def reaches(self, open_ms: int) -> bool:
        """Whether it ends with the candle opened at `open_ms`; its length is another question."""
        return not self._broken and bool(self._candles) and self._candles[-1].open_ms == open_ms

    @property
    def full(self) -> bool:
        return len(self._candles) == self._size

    def to_read(self, open_ms: int) -> int:
        """How many of the newest candles to ask for so that it ends with the one opened at `open_ms`.

        All of them at first and after a gap; otherwise what is missing and one more, which shows that they join.
        """
        if not self._candles or self._broken:
            return self._size
        missing = (open_ms - self._candles[-1].open_ms) // self._timeframe_ms
        return min(self._size, missing + 1) if missing > 0 else 0

    def take(self, answer: Iterable[Candle], open_ms: int, *, asked: int) -> None:
        """An answer to a question for `asked` candles. Candles after `open_ms` are running and are passed over; those
        known already stay as they are. A gap in a small answer only makes the next question a large one; in a large one
        what is older than the gap is dropped."""
        by_time = {candle.open_ms: candle for candle in answer if self._closed(candle, open_ms)}
        rows = [by_time[moment] for moment in sorted(by_time)]
        if asked >= self._size:
            self._replace(rows)
            return
        for candle in rows:
            ahead = candle.open_ms - self._candles[-1].open_ms
            if ahead > self._timeframe_ms:
                self._broken = True
                return
            if ahead == self._timeframe_ms:
                self._candles.append(candle)

    def append(self, candle: Candle) -> None:
        """The candle that has just closed. What lies before a gap is dropped; one that is known is passed over."""
        if self._candles:
            ahead = candle.open_ms - self._candles[-1].open_ms
            if ahead <= 0:
                return
            if ahead != self._timeframe_ms:
                self._candles.clear()
        self._broken = False
        self._candles.append(candle)

    def _closed(self, candle: Candle, open_ms: int) -> bool:
        return candle.open_ms <= open_ms and candle.open_ms % self._timeframe_ms == 0

    def _replace(self, rows: list[Candle]) -> None:
        self._broken = False
        self._candles.clear()
        for candle in rows:
            if self._candles and candle.open_ms != self._candles[-1].open_ms + self._timeframe_ms:
                self._candles.clear()
            self._candles.append(candle)
