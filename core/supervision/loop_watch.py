"""Whether the event loop turns: a thread asks it ten times a second, and names what it stands in when it is late.

A blocking call is felt by everything at once (OPS-11), and only a look from outside can say which one it is. What it
names are modules, functions and lines, never values. While the loop hangs nothing on it can tell anybody: the log
line is written by this thread, and the pings to the service manager stop by themselves (`service_notify.py`).
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final

import structlog

from core.engine.vitals import LagRow

log = structlog.get_logger(__name__)

EVERY_SECONDS: Final = 0.1
LATE_SECONDS: Final = 0.25
HUNG_SECONDS: Final = 5.0
"""A turn that takes so long is told while it lasts, and again each time it has doubled."""
RECENT_SECONDS: Final = 10.0
MINUTE_SECONDS: Final = 60.0
BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, float("inf"))
MOST_FRAMES: Final = 8
OURS: Final = ("core.", "strategies.", "tgbot.", "tools.", "__main__", "main")


class LagFigures:
    """How late turns were. One writer; `now` are monotonic seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._turns: deque[tuple[float, float]] = deque(maxlen=round(MINUTE_SECONDS / EVERY_SECONDS))
        self._buckets = [0] * len(BOUNDS)
        self._sum = 0.0
        self._late = 0
        self.culprit: str | None = None

    def add(self, seconds: float) -> None:
        """One turn came so late."""
        self._turns.append((self._now(), seconds))
        self._buckets[bisect_left(BOUNDS, seconds)] += 1
        self._sum += seconds
        if seconds >= LATE_SECONDS:
            self._late += 1

    def row(self) -> LagRow:
        now = self._now()
        minute = [(at, lag) for at, lag in self._turns if now - at <= MINUTE_SECONDS]
        lags = sorted(lag for _, lag in minute)
        return LagRow(
            now_ms=1000 * max((lag for at, lag in minute if now - at <= RECENT_SECONDS), default=0.0),
            p99_ms=1000 * lags[int(0.99 * (len(lags) - 1))] if lags else 0.0,
            max_ms=1000 * lags[-1] if lags else 0.0,
            late=self._late,
            culprit=self.culprit,
            buckets=dict(zip(BOUNDS, self._buckets, strict=True)),
            sum_s=self._sum,
        )


class LoopWatch:
    """`run` is the task; the thread ends with it."""

    def __init__(self, *, every: float = EVERY_SECONDS, late: float = LATE_SECONDS) -> None:
        self._every, self._limit = every, late
        self._figures = LagFigures(time.monotonic)
        self._ended = threading.Event()

    def row(self) -> LagRow:
        return self._figures.row()

    async def run(self) -> None:
        """Until cancelled."""
        self._ended = threading.Event()
        loop, watched = asyncio.get_running_loop(), threading.get_ident()
        ended = self._ended
        threading.Thread(target=self._watch, args=(loop, watched, ended), name="loop-watch", daemon=True).start()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    def _watch(self, loop: asyncio.AbstractEventLoop, watched: int, ended: threading.Event) -> None:
        while not ended.wait(self._every):
            turned, asked = threading.Event(), time.monotonic()
            try:
                loop.call_soon_threadsafe(self._turned, turned, asked)
            except RuntimeError:  # the loop is closed
                return
            if not turned.wait(self._limit):
                self._tell(turned, asked, watched, ended)

    def _turned(self, turned: threading.Event, asked: float) -> None:
        self._figures.add(time.monotonic() - asked)
        turned.set()

    def _tell(self, turned: threading.Event, asked: float, watched: int, ended: threading.Event) -> None:
        """On the thread, while the loop is late: who holds it, and how long it lasted."""
        stack = _stack(sys._current_frames().get(watched))  # noqa: SLF001 - the only way to see another thread's stack
        self._figures.culprit = culprit = _culprit(stack)
        say_at = HUNG_SECONDS
        while not turned.wait(self._limit) and not ended.is_set():
            if time.monotonic() - asked >= say_at:
                say_at *= 2
                seconds = round(time.monotonic() - asked, 1)
                now = _stack(sys._current_frames().get(watched))  # noqa: SLF001
                log.error("loop.hangs", seconds=seconds, culprit=_culprit(now), stack=now)
        if not ended.is_set():
            log.warning("loop.late", ms=round(1000 * (time.monotonic() - asked)), culprit=culprit, stack=stack)


def _stack(frame: FrameType | None) -> list[str]:
    """Innermost first, `module:function:line`."""
    found: list[str] = []
    while frame is not None and len(found) < MOST_FRAMES:
        found.append(f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_qualname}:{frame.f_lineno}")
        frame = frame.f_back
    return found


def _culprit(stack: Sequence[str]) -> str:
    """The innermost line of ours; where there is none the loop itself was not given the processor."""
    return next((place for place in stack if place.startswith(OURS)), stack[0] if stack else "nothing that can be seen")
