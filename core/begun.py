"""A coroutine whose first step has been taken before anything awaits it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any


class Begun(Coroutine[Any, Any, None]):
    """Tells whoever drives it, as a first step, what the work has been waiting for since `begin`."""

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
        first, self._first = self._first, None
        return first() if isinstance(first, _Raises) else self._work.throw(*raised)  # what is over cannot be ended

    def close(self) -> None:
        self._work.close()

    def __next__(self) -> Any:
        return self.send(None)

    def __iter__(self) -> Begun:
        return self

    def __await__(self) -> Generator[Any, Any, None]:
        return self  # all of a generator that `await` asks for


class _Raises:
    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __call__(self) -> Any:
        raise self._error
