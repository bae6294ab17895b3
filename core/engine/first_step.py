"""A task that begins in the step that makes it, not a turn of the loop later.

Between two turns the loop reads sockets: a stop that has to move would wait for whatever else has just arrived, a turn
for its guardian, another for its order, and a third for its request. Begun at once, all of them are one step that ends
where the signed request is aiohttp's, which writes it in its own task: in the same step from Python 3.12 on, where this
is called `eager_start`, in the next turn before.
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from typing import Any, Protocol

from core.engine.owned_tasks import TaskOwner

Made = Callable[[asyncio.Task[None]], None]


def _nobody(_task: asyncio.Task[None]) -> None:
    """Needs it."""


class Start(Protocol):
    """`made` is told the task before anything of it has run."""

    def __call__(
        self, tasks: TaskOwner, work: Coroutine[Any, Any, None], name: str, made: Made = ...
    ) -> asyncio.Task[None]: ...


def in_its_turn(
    tasks: TaskOwner, work: Coroutine[Any, Any, None], name: str, made: Made = _nobody
) -> asyncio.Task[None]:
    """As any task starts."""
    task = tasks.create_task(work, name=name)
    made(task)
    return task


def at_once(tasks: TaskOwner, work: Coroutine[Any, Any, None], name: str, made: Made = _nobody) -> asyncio.Task[None]:
    """Run `work` up to where it first waits; from there on it is a task of `tasks` like any other, and so is what it
    raises."""
    steps = _Begun(work)
    context = copy_context()
    task = tasks.create_task(steps, name=name, context=context)
    made(task)
    if task.cancelling():  # its group is ending
        return task
    loop, outer = task.get_loop(), asyncio.current_task()
    if outer is not None:
        _leave_task(loop, outer)
    _enter_task(loop, task)
    try:
        context.run(steps.begin)
    finally:
        _leave_task(loop, task)
        if outer is not None:
            _enter_task(loop, outer)
    return task


class _Begun(Coroutine[Any, Any, None]):
    """Tells its task as a first step what the work has been waiting for since `begin`."""

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self._work = work
        self._first: Callable[[], Any] | None = None

    def begin(self) -> None:
        try:
            waited_for = self._work.send(None)
        except BaseException as error:  # swallow: it is the task's, StopIteration too, and raised in its first step
            self._first = _Raises(error)
        else:
            self._first = lambda: waited_for

    def send(self, value: Any, /) -> Any:
        first, self._first = self._first, None
        return self._work.send(value) if first is None else first()

    def throw(self, *raised: Any) -> Any:
        self._first = None
        return self._work.throw(*raised)

    def close(self) -> None:
        self._work.close()

    def __next__(self) -> Any:
        return self.send(None)

    def __iter__(self) -> _Begun:
        return self

    def __await__(self) -> Generator[Any, Any, None]:
        return self  # all of a generator that `await` asks for


class _Raises:
    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __call__(self) -> Any:
        raise self._error
