"""Staying connected: how long to wait before the next try, how a silent peer is found out. For every stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import SystemRandom
from typing import TYPE_CHECKING, NoReturn

import structlog

from core.errors import BreakwaterError, Unreachable, VenueError

if TYPE_CHECKING:
    from core.clock import Clock
    from core.transport import Socket

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.2
"""Seconds before the first try after a healthy connection: most drops are single ones."""
SHORTEST_PAUSE, LONGEST_PAUSE = 5.0, 60.0
HEALTHY_AFTER = 60.0
"""A connection that lived this many seconds resets the pauses (UDS-04)."""
PING_EVERY = 10.0
PONG_WITHIN = 15.0
"""Together under the 30 seconds in which a half-open socket must be noticed (UDS-07)."""
_PLANNED_AFTER = 5.0
"""A planned end after less than this many seconds counts as a failure: a venue that hands out dead keys is one."""


class PlannedEndError(BreakwaterError):
    """A connection that has to be replaced although nothing failed; the text says why."""


def system_jitter() -> float:
    """0..1 from the host's own randomness; simulations pass a seeded source instead."""
    return SystemRandom().random()


class Backoff:
    """0.2 s, then 5 s doubling to 60 s, each from half to the whole by `jitter` (NET-13). Seconds throughout."""

    def __init__(self, jitter: Callable[[], float] = system_jitter) -> None:
        self._jitter = jitter
        self._failures = 0

    def pause(self, lived: float, *, planned: bool = False) -> float:
        """Before the next try, after a connection (or an attempt at one) that lived that long."""
        if lived >= HEALTHY_AFTER or (planned and lived >= _PLANNED_AFTER):
            self._failures = 0
        self._failures += 1
        if self._failures == 1:
            return FIRST_PAUSE * (0.5 + self._jitter() / 2)
        longest: float = min(SHORTEST_PAUSE * 2 ** min(self._failures - 2, 10), LONGEST_PAUSE)
        return longest * (0.5 + self._jitter() / 2)


async def keep_connected(
    name: str, once: Callable[[], Awaitable[None]], clock: Clock, backoff: Backoff, ended: Callable[[str], None]
) -> NoReturn:
    """Run `once`, one connection from its opening to its end, again and again. A connection ends by raising VenueError
    or PlannedEndError, alone or in groups; everything else is raised here."""
    while True:
        started = clock.monotonic()
        planned = False
        try:
            await once()
            why = "ended"
        except PlannedEndError as error:
            planned, why = True, str(error)
        except VenueError as error:
            why = error.what
        except ExceptionGroup as group:
            planned, why = _reason(group)
        ended(why)
        pause = backoff.pause(clock.monotonic() - started, planned=planned)
        log.info("stream.down", stream=name, why=why, again_in=round(pause, 2))
        await asyncio.sleep(pause)


def _reason(group: ExceptionGroup[Exception]) -> tuple[bool, str]:
    expected, unexpected = group.split((VenueError, PlannedEndError))
    if unexpected is not None or expected is None:
        raise group
    first: BaseException = expected
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return isinstance(first, PlannedEndError), first.what if isinstance(first, VenueError) else str(first)


async def watch(socket: Socket, name: str) -> NoReturn:
    """Pings until the peer fails to answer, then raises Unreachable. Silence without failure is healthy (UDS-04)."""
    while True:
        await asyncio.sleep(PING_EVERY)
        try:
            async with asyncio.timeout(PONG_WITHIN):
                await socket.ping()
        except TimeoutError:
            raise Unreachable(name, f"no pong within {PONG_WITHIN:g} s") from None


async def replace_after(seconds: float) -> NoReturn:
    """Ends a connection before the venue's own limit does, at a moment of our choosing (UDS-11)."""
    await asyncio.sleep(seconds)
    raise PlannedEndError("the venue's longest connection time is near")
