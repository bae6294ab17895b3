"""The executors that storage runs on. Production gives each file a `WriterThread`, simulation an `InlineExecutor`."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class WriterThread(Executor):
    """One thread, jobs in order. Unlike `ThreadPoolExecutor` it is a daemon thread that interpreter exit does not wait
    for: a disk that hangs must not keep a stopped process alive."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Raises RuntimeError after `shutdown`."""
        if self._ended:
            raise RuntimeError("this writer thread was shut down")
        future: Future[T] = Future()
        self._jobs.put(lambda: _fulfil(future, lambda: fn(*args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as the base class
        """Ends after the jobs already submitted (`cancel_futures` is not supported and ignored)."""
        del cancel_futures
        if not self._ended:
            self._ended = True
            self._jobs.put(None)
        if wait:
            self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


class InlineExecutor(Executor):
    """Runs each job before `submit` returns: nothing in a simulation may happen at a moment of its own."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        _fulfil(future, lambda: fn(*args, **kwargs))
        return future


def _fulfil(future: Future[Any], job: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = job()
    except BaseException as error:  # swallow: handed to whoever waits, as every executor does
        future.set_exception(error)
    else:
        future.set_result(result)
