"""How a venue is asked for something: again after a passing trouble, several questions at once, and an answer that
cannot be understood counts as none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

import stamina
import structlog
from stamina.instrumentation import RetryDetails

from core.engine.task_group import TaskGroup
from core.errors import Ambiguous, MalformedPayload, Refused, Unreachable, VenueError
from core.venues.payload import shaped
from core.venues.reconnecting import system_jitter

if TYPE_CHECKING:
    from core.venues.errors import ErrorTable

_P = ParamSpec("_P")
_T = TypeVar("_T")
_A = TypeVar("_A")
_B = TypeVar("_B")
_C = TypeVar("_C")
_D = TypeVar("_D")

log = structlog.get_logger(__name__)

LONGEST_READ_PAUSE = 60.0

Read = Callable[_P, Coroutine[Any, Any, _T]]


def reading(venue: str) -> Callable[[Callable[_P, Awaitable[_T]]], Read[_P, _T]]:
    """For a client's reads: an answer that cannot be understood has told nothing, to the caller the same as not reached
    (NET-12)."""

    def decorated(read: Callable[_P, Awaitable[_T]]) -> Read[_P, _T]:
        @wraps(read)
        async def understood(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            try:
                return await read(*args, **kwargs)
            except MalformedPayload as error:
                raise Unreachable(venue, f"unreadable answer: {error}") from error

        return understood

    return decorated


class ReadPolicy:
    """Repeats a read that met a passing trouble; what it raises in the end is never Ambiguous: a read does nothing."""

    def __init__(
        self, errors: ErrorTable, resync: Callable[[], Awaitable[None]], *, attempts: int = 3, first_pause: float = 1.0
    ) -> None:
        """`first_pause` in seconds, up to twice that by chance, then doubling to a minute (NET-05). `attempts=1`
        switches repeating off."""
        self._errors, self._resync = errors, resync
        self._attempts, self._first_pause = attempts, first_pause
        # Its own hooks are looked for at the first retry: an import of half a second on the loop, in an outage.
        stamina.instrumentation.set_on_retry_hooks([_note_retry])

    async def run(self, read: Callable[[], Awaitable[_T]]) -> _T:
        try:
            try:
                return await self._in_time(read)
            except (Unreachable, Ambiguous) as error:  # only now what repeats is made: every time it leaves a cycle of
                failed: VenueError | None = error  # 45 objects for the collector
            # The chance is in the first pause: stamina's own cannot be seeded, and a simulation must repeat alike.
            async for attempt in stamina.retry_context(
                on=_is_passing,
                attempts=self._attempts,
                timeout=None,
                wait_initial=self._first_pause * (1 + system_jitter()),
                wait_max=LONGEST_READ_PAUSE,
                wait_jitter=0,
            ):
                with attempt:
                    if failed is not None:
                        first, failed = failed, None
                        raise first
                    return await self._in_time(read)
        except Ambiguous as error:
            raise Unreachable(error.venue, error.what, code=error.code, status=error.status) from error
        raise AssertionError("a retry context ends by returning or raising")

    async def _in_time(self, read: Callable[[], Awaitable[_T]]) -> _T:
        try:
            return await read()
        except Refused as error:
            if not self._errors.is_clock(error):
                raise
        await self._resync()
        return await read()

    async def shaped(self, call: Callable[[Any], Awaitable[Any]], params: Any, shape: type[_T], source: str) -> _T:
        """The answer of an endpoint as `shape`. Raises VenueError, MalformedPayload."""
        return shaped(await self.run(lambda: call(dict(params))), shape, source)

    async def found(
        self,
        call: Callable[[Any], Awaitable[Any]],
        params: Any,
        shape: type[_T],
        source: str,
        *,
        absent: frozenset[str],
    ) -> _T | None:
        """The same; None when the venue positively says that there is no such thing (its codes `absent`)."""
        try:
            return await self.shaped(call, params, shape, source)
        except VenueError as error:
            if error.code not in absent:
                raise
            return None


def _is_passing(error: Exception) -> bool:
    return isinstance(error, Unreachable | Ambiguous)


def _note_retry(details: RetryDetails) -> None:
    log.info("venue.read_again", why=str(details.caused_by), number=details.retry_num, wait_s=details.wait_for)


@overload
async def together(first: Awaitable[_A], second: Awaitable[_B], /) -> tuple[_A, _B]: ...
@overload
async def together(
    first: Awaitable[_A], second: Awaitable[_B], third: Awaitable[_C], fourth: Awaitable[_D], /
) -> tuple[_A, _B, _C, _D]: ...
async def together(*reads: Awaitable[Any]) -> tuple[Any, ...]:
    """All answers, in order. The first failure is raised as it is, and then none of the others goes on behind it."""

    async def answer(read: Awaitable[_T]) -> _T:
        return await read

    try:
        async with TaskGroup() as group:
            tasks = [group.create_task(answer(read), name="venue-client/read") for read in reads]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed.exceptions[0].__cause__
    finally:
        for unasked in reads:  # cancelled in the step it was made in: a read that never began must not be left behind
            if isinstance(unasked, Coroutine):
                unasked.close()
    return tuple(task.result() for task in tasks)
