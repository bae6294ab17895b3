"""An event loop whose time stands still until it is told to pass, and the clocks that go by it.

What is ready runs; what waits for a moment runs when the replay comes to that moment. Nothing sleeps, nothing is read
from the host, so the same input takes the same steps.
"""

from __future__ import annotations

import asyncio
from asyncio.events import _set_running_loop
from collections import deque
from collections.abc import Callable
from contextvars import Context
from heapq import heappop, heappush
from typing import Any, TypeVarTuple, Unpack

_Ts = TypeVarTuple("_Ts")
START_SECONDS = 1_000.0
"""The loop's time at the first candle."""


class StandingTime(asyncio.BaseEventLoop):
    """The turns and timers of a loop whose time passes only when it is set.

    Of two timers of one moment the one that was set first comes first. A timer is due from its very moment on.
    asyncio's own loops add the resolution of the host's clock to the time and wait for more: after 194 days of a replay
    a nanosecond is less than the next float, and they wait for ever.
    """

    _ready: deque[asyncio.Handle]

    def __init__(self, *more: Any) -> None:
        super().__init__(*more)
        self._turns = self._ready
        """asyncio's own; what a socket brings is put there, too."""
        self.moment = START_SECONDS
        """What `time` answers."""
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timers_set = 0

    def time(self) -> float:
        return self.moment

    def call_soon(
        self, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        turn = asyncio.Handle(callback, args, self, context)
        self._turns.append(turn)
        return turn

    def call_at(
        self, when: float, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._timers_set += 1
        heappush(self._timers, (when, self._timers_set, timer))
        return timer

    def take_due(self) -> None:
        """What is due now has its turn; so has what was cancelled before, which nobody waits for."""
        timers = self._timers
        while timers and (timers[0][0] <= self.moment or timers[0][2].cancelled()):
            self._turns.append(heappop(timers)[2])

    def run_ready(self) -> None:
        """One round: whose turn comes meanwhile waits for the next."""
        turns = self._turns
        for _ in range(len(turns)):
            turn = turns.popleft()
            if not turn._cancelled:  # noqa: SLF001 - what a loop does with a handle, one call less
                turn._run()  # noqa: SLF001 - a loop has no other way to run it

    def pass_on(self) -> None:
        """To the moment of the next timer. Raises RuntimeError where there is none."""
        if not self._timers:
            raise RuntimeError("everything waits and nothing is due: this would hang for ever")
        self.moment = max(self.moment, self._timers[0][0])

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is left out when its time comes."""


class ReplayLoop(StandingTime):
    """Nothing outside of the process is ever waited for: there are no sockets, no threads, no signals."""

    def __init__(self) -> None:
        super().__init__()
        self._stopped = False
        self._idle: asyncio.Future[None] | None = None
        self._may_jump = False

    def pass_to(self, moment: float) -> None:
        """Set the time, without running what was due meanwhile: that happens when the loop next runs."""
        self.moment = max(self.moment, moment)

    @property
    def busy(self) -> bool:
        """Whether something besides the caller could run at this moment."""
        return bool(self._turns)

    async def idle(self, *, next_timer: bool = False) -> None:
        """Until nothing else can run at this moment; with `next_timer` time passes to whatever is due next, and until
        all that follows from it has run."""
        self._may_jump = next_timer
        self._idle = self.create_future()
        await self._idle

    # asyncio's side

    def stop(self) -> None:
        self._stopped = True

    def run_forever(self) -> None:
        _set_running_loop(self)
        try:
            while not self._stopped:
                self.take_due()
                if not self._turns:
                    self._nothing_ready()
                self.run_ready()
        finally:
            self._stopped = False
            _set_running_loop(None)

    def _nothing_ready(self) -> None:
        idle = self._idle
        if idle is not None and not self._may_jump:
            self._idle = None
            if not idle.done():
                idle.set_result(None)
        else:
            self._may_jump = False
            self.pass_on()


class ReplayClock:
    """Both clocks (core.clock.Clock) on the loop's time."""

    def __init__(self, loop: ReplayLoop, start_ms: int) -> None:
        """`start_ms` UTC of the first candle."""
        self._loop = loop
        self._start_ms = start_ms
        self.monotonic = loop.time

    def now_ms(self) -> int:
        return round(self._start_ms + (self._loop.moment - START_SECONDS) * 1_000)

    def exact_ms(self) -> float:
        """UTC milliseconds with fractions."""
        return self._start_ms + (self._loop.moment - START_SECONDS) * 1_000

    def pass_to(self, ms: float) -> None:
        """Let time pass to this moment, UTC ms; never back."""
        self._loop.pass_to(self.seconds(ms))

    def seconds(self, ms: float) -> float:
        """A moment (UTC ms) on the loop's scale."""
        return START_SECONDS + (ms - self._start_ms) / 1_000
