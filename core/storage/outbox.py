"""Items on their way from the event loop to a file: posting costs a list append, the file's executor does the work."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Generic, TypeVar

T = TypeVar("T")

Handler = Callable[[deque[T]], bool]
"""Runs on the executor. Takes from the left what it has finished; False = call me again later, something is wrong."""


class Outbox(Generic[T]):
    """At most one run of the handler is under way or waiting to start. Everything but the handler runs on the loop.

    `linger_s` is how long a posted item may wait for company, so that a burst of reports becomes one commit;
    `retry_s` is the pause after a handler that answered False.
    """

    def __init__(self, executor: Executor, handler: Handler[T], *, linger_s: float, retry_s: float) -> None:
        self._executor = executor
        self._handler = handler
        self._linger_s = linger_s
        self._retry_s = retry_s
        self._items: deque[T] = deque()
        self._submitted = False
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    def post(self, item: T) -> None:
        """Queues `item` for a run within `linger_s`."""
        self._items.append(item)
        if self._timer is None and not self._closed:
            self._arm(self._linger_s)

    def post_now(self, item: T) -> None:
        """Queues `item` and starts a run without lingering."""
        self._items.append(item)
        self._wake()

    async def close(self) -> None:
        """One last run over what is queued; what it leaves stays where it is."""
        self._closed = True
        self._disarm()
        await asyncio.wrap_future(self._submit())

    def _arm(self, delay_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._wake)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        self._disarm()
        if not self._submitted and not self._closed:
            self._submit()

    def _submit(self) -> Future[None]:
        self._submitted = True
        return self._executor.submit(self._run, asyncio.get_running_loop())

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        self._submitted = False  # before the handler looks: what is posted from here on starts a run of its own
        try:
            well = self._handler(self._items)
        except Exception as error:
            context = {"message": "a storage handler raised", "exception": error}
            loop.call_soon_threadsafe(loop.call_exception_handler, context)
            raise
        if not well and not loop.is_closed():
            loop.call_soon_threadsafe(self._retry)

    def _retry(self) -> None:
        if not self._closed:
            self._disarm()
            self._arm(self._retry_s)
