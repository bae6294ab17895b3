"""The daemon's long-lived tasks: started by name, ended in the order of the stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

STEP_SECONDS = 2.0
"""The most one closing step may take; with the settling time the whole stop stays below 10 s."""
CANCELS = 2

Work = Callable[[], Coroutine[Any, Any, None]]
"""What a task runs, from its beginning."""


class Supervisor:
    """Owns the daemon's tasks, by name. Entered once; left when all have ended."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._group.__aexit__(kind, error, trace)

    def start(self, name: str, work: Work) -> None:
        self._tasks[name] = self._group.create_task(work(), name=name)

    def __contains__(self, name: object) -> bool:
        return name in self._tasks

    def running(self, name: str) -> bool:
        """Whether a task was started and has neither ended nor been ended."""
        return name in self._tasks and not self._tasks[name].done()

    def named(self, *prefixes: str) -> list[str]:
        """Those whose name begins with one of these."""
        return [name for name in self._tasks if name.startswith(prefixes)]

    async def end(self, *names: str) -> None:
        """Cancel these at once and wait for them; one that does not end is left behind after two steps."""
        tasks = {task for name in names if (task := self._tasks.pop(name, None)) is not None}
        for _ in range(CANCELS):  # before Python 3.13 a group whose task fails in the same step swallows the first
            for task in tasks:
                task.cancel()
            if tasks:
                _, tasks = await asyncio.wait(tasks, timeout=STEP_SECONDS)
