"""An event loop whose time stands still until it is told to pass, and the clocks that go by it.

What is ready runs; what waits for a moment runs when the replay comes to that moment. Nothing sleeps, nothing is read
from the host, so the same input takes the same steps.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

START_SECONDS = 1_000.0
"""The loop's time at the first candle."""


class ReplayLoop(asyncio.SelectorEventLoop):
    """Nothing outside of the process is ever waited for: there are no sockets, no threads, no signals."""

    def __init__(self) -> None:
        self._moment = START_SECONDS
        self._idle: asyncio.Future[None] | None = None
        self._may_jump = False
        super().__init__(_NoSelector(self))

    def time(self) -> float:
        return self._moment

    def pass_to(self, moment: float) -> None:
        """Set the time, without running what was due meanwhile: that happens when the loop next runs."""
        self._moment = max(self._moment, moment)

    @property
    def busy(self) -> bool:
        """Whether something besides the caller could run at this moment."""
        return bool(self._ready)

    async def idle(self, *, next_timer: bool = False) -> None:
        """Until nothing else can run at this moment; with `next_timer` time passes to whatever is due next, and until
        all that follows from it has run."""
        self._may_jump = next_timer
        self._idle = self.create_future()
        await self._idle

    def nothing_ready(self, seconds: float | None) -> None:
        """Called by the selector when nothing can run before so much time has passed; None = never."""
        idle = self._idle
        if idle is not None and not self._may_jump:
            self._idle = None
            if not idle.done():
                idle.set_result(None)
            return
        if seconds is None:
            raise RuntimeError("everything waits and nothing is due: the replay would hang for ever")
        self._may_jump = False
        self._moment += seconds

    _ready: Any


class _NoSelector(selectors.SelectSelector):
    """Lets time jump instead of waiting. What is registered with it (the loop's own pipe) never has anything to say."""

    def __init__(self, loop: ReplayLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, Any]]:
        if timeout is None or timeout > 0:
            self._loop.nothing_ready(timeout)
        return []


class ReplayClock:
    """Both clocks (core.clock.Clock) on the loop's time."""

    def __init__(self, loop: ReplayLoop, start_ms: int) -> None:
        """`start_ms` UTC of the first candle."""
        self._loop = loop
        self._start_ms = start_ms
        self.monotonic = loop.time

    def now_ms(self) -> int:
        return round(self._start_ms + (self.monotonic() - START_SECONDS) * 1_000)

    def exact_ms(self) -> float:
        """UTC milliseconds with fractions."""
        return self._start_ms + (self.monotonic() - START_SECONDS) * 1_000

    def pass_to(self, ms: float) -> None:
        """Let time pass to this moment, UTC ms; never back."""
        self._loop.pass_to(self.seconds(ms))

    def seconds(self, ms: float) -> float:
        """A moment (UTC ms) on the loop's scale."""
        return START_SECONDS + (ms - self._start_ms) / 1_000
