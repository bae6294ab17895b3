"""Tasks within a supervised task: one that fails ends alone, and whoever supervises its owner hears of it.

In a plain TaskGroup one failure cancels all siblings: a guardian that fails would take the stop of another position
with it, which may just be on its way. Where nobody supervises (a test of one part) it is a plain TaskGroup.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context, ContextVar
from types import TracebackType
from typing import Any, Protocol, Self


class Watch(Protocol):
    """Who supervises a task."""

    def beat(self) -> None:
        """It has done something."""
        ...

    def child_failed(self, name: str, error: Exception) -> None:
        """A task it owns has failed. Must not raise."""
        ...


_WATCH: ContextVar[Watch | None] = ContextVar("watch", default=None)


def be_watched(watch: Watch) -> None:
    """From here on the running task, and those it starts, are supervised by `watch`."""
    _WATCH.set(watch)


def beat() -> None:
    """Progress of the supervised task this runs for; costs a fraction of a microsecond."""
    if (watch := _WATCH.get()) is not None:
        watch.beat()


class TaskOwner(Protocol):
    """What starts tasks and waits for them: a TaskGroup, or `OwnedTasks`."""

    def create_task(
        self, work: Coroutine[Any, Any, None], /, *, name: str, context: Context | None = None
    ) -> asyncio.Task[None]: ...


class OwnedTasks:
    """A `TaskOwner` whose tasks fail one by one. Left as a TaskGroup is: when all have ended."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._watch: Watch | None = None

    async def __aenter__(self) -> Self:
        self._watch = _WATCH.get()
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._group.__aexit__(kind, error, trace)

    def create_task(
        self, work: Coroutine[Any, Any, None], /, *, name: str, context: Context | None = None
    ) -> asyncio.Task[None]:
        if self._watch is None:
            return self._group.create_task(work, name=name, context=context)
        task = self._group.create_task(_alone(self._watch, name, work), name=name, context=context)
        task.add_done_callback(lambda _task: work.close())  # one that was cancelled before its first step
        return task


async def _alone(watch: Watch, name: str, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception as error:  # swallow: the supervisor logs it and tells people; the other tasks go on
        watch.child_failed(name, error)
