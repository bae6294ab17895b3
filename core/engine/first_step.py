"""A task that begins in the step that makes it, not a turn of the loop later.

Between two turns the loop reads sockets: a stop that has to move would wait for whatever else has just arrived, a turn
for its guardian, another for its order, and a third for its request. Begun at once, all of them are one step that ends
where the signed request is written. From Python 3.12 on this is called `eager_start`.
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, Protocol

from core.begun import Begun
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
    steps = Begun(work)
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
