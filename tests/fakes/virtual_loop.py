"""An event loop whose time jumps to the next deadline instead of passing: seconds cost nothing, and order is exact."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from heapq import heappop, heappush
from selectors import BaseSelector, SelectorKey, SelectSelector
from threading import get_ident
from typing import TypeVarTuple, Unpack

from tests.builders import NOW_MS

_Ts = TypeVarTuple("_Ts")
_START_SECONDS = 1_000.0
_ITS_OWN = 1
"""The socket by which other threads would wake it."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at 1,000 s. Waiting for what nothing will ever cause fails at once.

    Of two timers of one moment the one set first comes first. Sockets are looked at before time passes, and no thread
    wakes it.
    """

    _ready: deque[asyncio.Handle]
    _stopping: bool
    _thread_id: int | None
    _selector: BaseSelector
    _process_events: Callable[[list[tuple[SelectorKey, int]]], None]

    def __init__(self) -> None:
        super().__init__(SelectSelector())
        self._moment = _START_SECONDS
        self._timers = list[tuple[float, int, asyncio.TimerHandle]]()
        self._timers_set = 0

    def time(self) -> float:
        return self._moment

    def jump(self, seconds: float) -> None:
        self._moment += seconds

    def call_at(
        self, when: float, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        if self._thread_id != get_ident():
            raise RuntimeError("a loop was given something to do by another thread; see call_soon_threadsafe")
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._timers_set += 1
        heappush(self._timers, (when, self._timers_set, timer))
        return timer

    def _run_once(self) -> None:
        """One round of what is ready; asyncio calls it until the loop is stopped."""
        ready, timers = self._ready, self._timers
        while timers and timers[0][2].cancelled():
            heappop(timers)
        if not ready and not self._stopping:
            if len(self._selector.get_map()) > _ITS_OWN:
                self._process_events(self._selector.select(0))
            if not ready:
                self._pass()
        while timers and timers[0][0] <= self._moment:
            ready.append(heappop(timers)[2])
        for _ in range(len(ready)):
            turn = ready.popleft()
            if not turn._cancelled:
                turn._run()

    def _pass(self) -> None:
        if not self._timers:
            raise RuntimeError("everything waits and nothing is scheduled: this would hang for ever")
        self._moment = max(self._moment, self._timers[0][0])

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is taken out when its time comes."""

    def _write_to_self(self) -> None:
        """Of call_soon_threadsafe: nobody sleeps who had to be woken."""


class VirtualClock:
    """Both clocks on the loop's time; UTC starts at `NOW_MS` and is ahead of itself by `skew_ms`."""

    skew_ms = 0.0

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def now_ms(self) -> int:
        return round(self.exact_ms())

    def exact_ms(self) -> float:
        """UTC with fractions of a millisecond."""
        return NOW_MS + self.skew_ms + (asyncio.get_running_loop().time() - _START_SECONDS) * 1_000
