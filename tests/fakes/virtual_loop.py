"""An event loop whose time jumps to the next deadline instead of passing: seconds cost nothing, and order is exact."""

import asyncio
import selectors
from typing import Any

from tests.builders import NOW_MS


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at 1,000 s. Waiting for something that nothing will ever cause fails at once."""

    def __init__(self) -> None:
        self._now = 1_000.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds


class _Jumping(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, Any]]:
        if timeout is None:
            raise RuntimeError("everything waits and nothing is scheduled: this would hang for ever")
        if timeout > 0:
            self._loop.jump(timeout)
        return super().select(0)


class VirtualClock:
    """Both clocks on the loop's time; UTC starts at `NOW_MS` and is ahead of itself by `skew_ms`."""

    skew_ms = 0.0

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def now_ms(self) -> int:
        return round(self.exact_ms())

    def exact_ms(self) -> float:
        """UTC with fractions of a millisecond."""
        return NOW_MS + self.skew_ms + (self.monotonic() - 1_000.0) * 1_000
