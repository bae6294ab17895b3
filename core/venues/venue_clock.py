"""The venue's time as far as we know it: the host clock plus the measured offset (NET-01)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.clock import Clock

_SAMPLES = 3


class VenueClock:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.offset_ms = 0

    def now_ms(self) -> int:
        return self._clock.now_ms() + self.offset_ms

    async def measure(self, server_time: Callable[[], Awaitable[int]]) -> None:
        """Takes the offset from the quickest of a few answers; `server_time` reads UTC ms and may raise VenueError."""
        best: tuple[float, int] | None = None
        for _ in range(_SAMPLES):
            started, started_ms = self._clock.monotonic(), self._clock.now_ms()
            told_ms = await server_time()
            took = self._clock.monotonic() - started
            if best is None or took < best[0]:
                best = (took, told_ms - started_ms - round(took * 500))
        assert best is not None  # noqa: S101 - there is at least one sample
        self.offset_ms = best[1]
