"""How long to wait before connecting again, and how a silent peer is found out. For private and public streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import SystemRandom
from typing import TYPE_CHECKING

from msgspec import Struct

from core.errors import Unreachable

if TYPE_CHECKING:
    from core.transport import Socket

FIRST_PAUSE = 0.2
"""Seconds before the first try after a healthy connection: most drops are single ones."""
SHORTEST_PAUSE, LONGEST_PAUSE = 5.0, 60.0
HEALTHY_AFTER = 60.0
"""A connection that lived this many seconds resets the pauses (UDS-04)."""
PING_EVERY = 10.0
PONG_WITHIN = 15.0
"""Together under the 30 seconds in which a half-open socket must be noticed (UDS-07)."""


def system_jitter() -> float:
    """0..1 from the host's own randomness; simulations pass a seeded source instead."""
    return SystemRandom().random()


class Backoff:
    """0.2 s, then 5 s doubling to 60 s, each from half to the whole by `jitter` (NET-13). Seconds throughout."""

    def __init__(self, jitter: Callable[[], float] = system_jitter) -> None:
        self._jitter = jitter
        self._failures = 0

    def connection_ended(self, lived: float) -> float:
        """The pause before the next try, after a connection (or an attempt at one) that lived that long."""
        self._failures = 0 if lived >= HEALTHY_AFTER else self._failures
        self._failures += 1
        if self._failures == 1:
            return FIRST_PAUSE * (0.5 + self._jitter())
        doublings = min(self._failures - 2, 10)  # long outages must not end in a number too large for a float
        pause: float = min(SHORTEST_PAUSE * 2**doublings, LONGEST_PAUSE)
        return pause * (0.5 + self._jitter() / 2)


class TextPing(Struct, frozen=True):
    """Pings in frames of the venue's own, where those of the protocol do not count or are not answered. `text` makes
    the next one; seconds."""

    text: Callable[[], str]
    every: float = PING_EVERY
    within: float = PONG_WITHIN


async def watch_by_text(socket: Socket, name: str, ping: TextPing, heard: asyncio.Event) -> None:
    """Pings until nothing at all comes back, then raises Unreachable. `heard` is set by the reader at every frame."""
    while True:
        await asyncio.sleep(ping.every)
        heard.clear()
        await socket.send(ping.text())
        try:
            async with asyncio.timeout(ping.within):
                await heard.wait()
        except TimeoutError:
            raise Unreachable(name, f"nothing came within {ping.within:g} s of a ping") from None


async def watch(socket: Socket, name: str) -> None:
    """Pings until the peer fails to answer, then raises Unreachable. Silence without failure is healthy (UDS-04)."""
    while True:
        await asyncio.sleep(PING_EVERY)
        try:
            async with asyncio.timeout(PONG_WITHIN):
                await socket.ping()
        except TimeoutError:
            raise Unreachable(name, f"no pong within {PONG_WITHIN:g} s") from None
