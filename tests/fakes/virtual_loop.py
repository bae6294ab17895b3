"""An event loop whose time jumps to the next deadline instead of passing: seconds cost nothing, and order is exact."""

import asyncio
from collections.abc import Callable
from selectors import BaseSelector, SelectorKey, SelectSelector

from tests.builders import NOW_MS
from tools.candle_replay.loop import START_SECONDS, StandingTime

_ITS_OWN = 1
"""The socket by which other threads would wake it."""


class VirtualLoop(StandingTime, asyncio.SelectorEventLoop):
    """Waiting for what nothing will ever cause fails at once. Sockets are looked at before time passes, and no thread
    wakes it."""

    _stopping: bool
    _selector: BaseSelector
    _process_events: Callable[[list[tuple[SelectorKey, int]]], None]

    def __init__(self) -> None:
        super().__init__(SelectSelector())

    def jump(self, seconds: float) -> None:
        self.moment += seconds

    def _run_once(self) -> None:
        """One round of what is ready; asyncio calls it until the loop is stopped."""
        self.take_due()
        if not self._turns and not self._stopping:
            if len(self._selector.get_map()) > _ITS_OWN:
                self._process_events(self._selector.select(0))
            if not self._turns:
                self.pass_on()
                self.take_due()
        self.run_ready()

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
        return NOW_MS + self.skew_ms + (asyncio.get_running_loop().time() - START_SECONDS) * 1_000
