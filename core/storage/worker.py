"""The one place of this program that makes a thread: a worker that owns a file so that the event loop never waits.

A `Handler` is given everything that is waiting, takes from the left what it has finished, and answers how many seconds
to leave the rest before it is called again (0 when nothing is left). `thread_worker` calls it on a thread of its own;
`inline_worker` calls it within `post`, which is what a simulation under a jumping clock needs.
"""

import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
Handler = Callable[[deque[T]], float]


class Worker(Protocol[T_contra]):
    """Takes items in order and hands them to its handler; never loses one while it lives."""

    def post(self, item: T_contra) -> None:
        """Queues `item`; never blocks and never raises."""
        ...

    def backlog(self) -> int:
        """Items posted and not yet finished; may be one batch behind."""
        ...

    def close(self, timeout_s: float) -> bool:
        """Handles what is queued once more and ends; False when that took longer than `timeout_s`."""
        ...


class WorkerFactory(Protocol):
    """Makes a started worker; `name` is the thread's name where there is a thread."""

    def __call__(self, name: str, handler: Handler[T]) -> Worker[T]: ...


class _ThreadWorker(Worker[T]):
    def __init__(self, name: str, handler: Handler[T]) -> None:
        self._handler = handler
        self._queue: SimpleQueue[T | None] = SimpleQueue()
        self._waiting: deque[T] = deque()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def post(self, item: T) -> None:
        self._queue.put(item)

    def backlog(self) -> int:
        return self._queue.qsize() + len(self._waiting)

    def close(self, timeout_s: float) -> bool:
        if not self._closing:
            self._closing = True
            self._queue.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        pause: float | None = None
        stopping = False
        while not stopping:
            stopping = self._collect(pause)
            pause = self._handler(self._waiting) or None

    def _collect(self, pause: float | None) -> bool:
        """Waits for an item, or `pause` seconds when some are left over, then takes all there are; True = stop."""
        try:
            item = self._queue.get(timeout=pause)
            while item is not None:
                self._waiting.append(item)
                item = self._queue.get_nowait()
        except Empty:
            return False
        return True


class _InlineWorker(Worker[T]):
    def __init__(self, handler: Handler[T]) -> None:
        self._handler = handler
        self._waiting: deque[T] = deque()

    def post(self, item: T) -> None:
        self._waiting.append(item)
        self._handler(self._waiting)

    def backlog(self) -> int:
        return len(self._waiting)

    def close(self, timeout_s: float) -> bool:
        del timeout_s
        if self._waiting:
            self._handler(self._waiting)
        return True


def thread_worker(name: str, handler: Handler[T]) -> Worker[T]:
    """Production."""
    return _ThreadWorker(name, handler)


def inline_worker(name: str, handler: Handler[T]) -> Worker[T]:
    """Simulation: the work is done when `post` returns."""
    del name
    return _InlineWorker(handler)
