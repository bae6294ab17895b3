"""The daemon's long-lived tasks: one that ends by itself is told to people and started again, with growing pauses.

`orders`, `inflight` and `protection` start again at once, and trading is HALTED until somebody has looked: what they
did is resumed by `on_vital`. Every other task waits a second first, then twice as long each time, up to a minute. After
some minutes without a failure a task counts as steady again. Cancellation at the stop passes through: what is ended
here stays ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Self

import structlog

from core.clock import Clock
from core.domain.alerts import AlertKind
from core.engine.owned_tasks import be_watched
from core.engine.ports import Level, Notifier
from core.engine.vitals import VITAL, TaskRow

log = structlog.get_logger(__name__)

STEP_SECONDS = 2.0
"""The most one closing step may take; with the settling time the whole stop stays below 10 s."""
CANCELS = 2
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
FIRST_VITAL_PAUSE_SECONDS, LONGEST_VITAL_PAUSE_SECONDS = 0.1, 5.0
"""From the second failure on: the first one pauses for nothing."""
STEADY_SECONDS = 300.0
"""Without a failure for so long the next one is a first one again."""

Work = Callable[[], Coroutine[Any, Any, None]]
"""What a task runs, from its beginning. Called again after a failure, so it must not need what is used up."""


class Supervisor:
    """Owns the daemon's tasks, by name. Entered once; left when all have ended."""

    def __init__(self, clock: Clock, notifier: Notifier) -> None:
        self._clock = clock
        self._notifier = notifier
        self._group = asyncio.TaskGroup()
        self._tasks: dict[str, _Supervised] = {}
        self._leaving = False
        self._on_vital: Callable[[str, str], None] = lambda _name, _why: None
        self._mend: Callable[[], None] = lambda: None

    def on_vital(self, halt: Callable[[str, str], None], mend: Callable[[], None]) -> None:
        """`halt` hears at once which vital task failed and why; `mend` is called when it runs again."""
        self._on_vital, self._mend = halt, mend

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving = True
        for one in self._tasks.values():
            one.forget_timer()
            if error is not None and one.task is not None:
                one.task.cancel()
        await self._group.__aexit__(None, None, None)  # no task raises: what the body raised goes on as it is

    def start(self, name: str, work: Work) -> None:
        """Start a task; one of this name that runs already goes on instead."""
        if name not in self._tasks:
            self._tasks[name] = _Supervised(name, work, self._clock, self._child_failed)
            self._begin(self._tasks[name])

    def __contains__(self, name: object) -> bool:
        return name in self._tasks

    def running(self, name: str) -> bool:
        """Whether it was started, has not ended for good and is not paused after a failure."""
        return name in self._tasks and self._tasks[name].running

    def named(self, *prefixes: str) -> list[str]:
        """Those whose name begins with one of these."""
        return [name for name in self._tasks if name.startswith(prefixes)]

    def rows(self) -> tuple[TaskRow, ...]:
        return tuple(task.row() for task in self._tasks.values())

    async def end(self, *names: str) -> None:
        """Cancel these at once and wait for them; one that does not end is left behind after two steps."""
        ending = [one for name in names if (one := self._tasks.pop(name, None)) is not None]
        for one in ending:
            one.forget_timer()
        tasks = {one.task for one in ending if one.task is not None and not one.task.done()}
        for _ in range(CANCELS):  # before Python 3.13 a group whose task fails in the same step swallows the first
            for task in tasks:
                task.cancel()
            if tasks:
                _, tasks = await asyncio.wait(tasks, timeout=STEP_SECONDS)

    def _begin(self, one: _Supervised) -> None:
        one.begin()
        one.task = self._group.create_task(_Steps(one), name=one.name)
        one.task.add_done_callback(lambda task: self._over(one, task))

    def _over(self, one: _Supervised, task: asyncio.Task[None]) -> None:
        if self._leaving or self._tasks.get(one.name) is not one:
            return
        if one.error is None and not task.cancelled():
            del self._tasks[one.name]  # it had nothing more to do
            return
        why = "it was cancelled from outside" if one.error is None else _told(one.error)
        log.error("task.died", task=one.name, why=why, exc_info=one.error)
        pause = self._failed(one, why)
        one.again_at = self._clock.monotonic() + pause
        self._soon(pause, one, self._start_again)  # in the place of the timer that would have called it steady

    def _start_again(self, one: _Supervised) -> None:
        one.restarts += 1
        log.warning("task.started_again", task=one.name, restarts=one.restarts)
        self._begin(one)
        self._soon(STEADY_SECONDS, one, self._steady)
        if one.name in VITAL:  # after its first step: by then it owns what is resumed
            asyncio.get_running_loop().call_soon(self._mend)

    def _child_failed(self, one: _Supervised, name: str, error: Exception) -> None:
        """The owner goes on. What a vital one was about is taken up again after a pause."""
        log.error("task.failed", task=name, of=one.name, why=_told(error), exc_info=error)
        pause = self._failed(one, f"{name}: {_told(error)}")
        if one.running:
            self._soon(STEADY_SECONDS, one, self._steady)
            if one.name in VITAL and not self._leaving:
                asyncio.get_running_loop().call_later(max(pause, FIRST_VITAL_PAUSE_SECONDS), self._mend_still, one)

    def _failed(self, one: _Supervised, why: str) -> float:
        """Note a failure, and tell people of the first in a row; the answer is the pause, seconds."""
        vital = one.name in VITAL
        pause = _pause(one.in_a_row, vital=vital)
        one.failures += 1
        one.in_a_row += 1
        one.why = why
        if vital:
            self._on_vital(one.name, why)
        if one.in_a_row == 1:
            meaning = "trading is halted; it starts again at once" if vital else "it starts again"
            text = f"the task {one.name} failed by a fault of the program ({why}); {meaning}"
            self._notifier.notify(Level.CRITICAL, text, kind=AlertKind.TASK, begins=one.name)
        return pause

    def _mend_still(self, one: _Supervised) -> None:
        if self._tasks.get(one.name) is one and one.running:
            self._mend()

    def _soon(self, seconds: float, one: _Supervised, call: Callable[[_Supervised], None]) -> None:
        one.forget_timer()
        one.timer = asyncio.get_running_loop().call_later(seconds, call, one)

    def _steady(self, one: _Supervised) -> None:
        one.in_a_row, one.why = 0, None
        text = f"the task {one.name} has been running without a failure for {STEADY_SECONDS / 60:.0f} min"
        self._notifier.notify(Level.INFO, text, kind=AlertKind.TASK, ends=one.name)


class _Supervised:
    """One task over all its lives. Implements `owned_tasks.Watch`."""

    def __init__(
        self, name: str, work: Work, clock: Clock, on_child: Callable[[_Supervised, str, Exception], None]
    ) -> None:
        self.name = name
        self.task: asyncio.Task[None] | None = None
        self.error: Exception | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.again_at: float | None = None
        self.restarts = self.failures = self.in_a_row = 0
        self.why: str | None = None
        self._work, self._clock, self._on_child = work, clock, on_child
        self._started = self._progress = clock.monotonic()

    @property
    def running(self) -> bool:
        return self.task is not None and not self.task.done()

    def begin(self) -> None:
        self.error, self.again_at = None, None
        self._started = self._progress = self._clock.monotonic()

    async def live(self) -> None:
        """One life; how it ended is in `error`, so that it ends nothing else."""
        be_watched(self)
        try:
            await self._work()
        except Exception as error:  # swallow: the supervisor logs it, tells people and starts the task again
            self.error = error

    def beat(self) -> None:
        self._progress = self._clock.monotonic()

    def child_failed(self, name: str, error: Exception) -> None:
        self._on_child(self, name, error)

    def forget_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def row(self) -> TaskRow:
        now = self._clock.monotonic()
        return TaskRow(
            name=self.name,
            running=self.running,
            running_s=now - self._started if self.running else 0.0,
            progress_s=now - self._progress,
            restarts=self.restarts,
            failures=self.failures,
            why=self.why,
            again_in_s=None if self.again_at is None else max(0.0, self.again_at - now),
        )


class _Steps(Coroutine[Any, Any, None]):
    """A life, of which every step counts as progress."""

    def __init__(self, one: _Supervised) -> None:
        self._life, self._beat = one.live(), one.beat

    def send(self, value: Any, /) -> Any:
        self._beat()
        return self._life.send(value)

    def throw(self, *raised: Any) -> Any:
        return self._life.throw(*raised)

    def close(self) -> None:
        self._life.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._life.__await__()


def _pause(in_a_row: int, *, vital: bool) -> float:
    """After so many failures before this one."""
    if not vital:
        return min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(in_a_row, 10))
    if in_a_row == 0:
        return 0.0
    return min(LONGEST_VITAL_PAUSE_SECONDS, FIRST_VITAL_PAUSE_SECONDS * 2.0 ** min(in_a_row - 1, 10))


def _told(error: BaseException) -> str:
    """The first real failure, in one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
