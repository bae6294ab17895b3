"""A task group after whose failure its task can go on.

Before Python 3.13 a group whose child fails while the group is being left asks its own task to be cancelled and does
not take that back. Whoever catches the failure and goes on carries a cancellation that nobody asked for, and before
3.11.4 (Debian 12 has 3.11.2) the next `asyncio.timeout` that ends raises it instead of TimeoutError: a reader that was
only to try again ends without a word.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class TaskGroup(asyncio.TaskGroup):
    """For every group whose failure is caught by the task that opened it."""

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        self._found = 0 if task is None else task.cancelling()
        return await super().__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await super().__aexit__(kind, error, trace)
        except BaseExceptionGroup:
            task = asyncio.current_task()
            while task is not None and task.cancelling() > self._found:
                task.uncancel()
            raise
