"""Host names to addresses, with a deadline, and never on a thread that others wait for (NET-08).

The loop's own look-up runs on a small shared pool: a few names whose server does not answer would hold up every other
name, and the end of the process. Here each look-up has a thread of its own that nobody joins; the last known addresses
stand in when there is no answer in time.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable
from typing import Any

import aiohttp.abc
import structlog
from aiohttp.abc import ResolveResult

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 2.0
Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]
"""As `socket.getaddrinfo` gives it."""
System = Callable[[str, int], list[Address]]


def ask_system(host: str, port: int) -> list[Address]:
    """Raises OSError."""
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG))


class NameLookup(aiohttp.abc.AbstractResolver):
    """One per venue. Two askers of one name share a look-up, however long it takes."""

    def __init__(self, system: System = ask_system, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._system, self._answer_seconds = system, answer_seconds
        self._asked: dict[tuple[str, int], asyncio.Future[list[Address]]] = {}
        self._known: dict[tuple[str, int], list[Address]] = {}

    async def addresses(self, host: str, port: int) -> list[Address]:
        """Raises OSError when the name is not known and never was, or there is no answer in time."""
        if (literal := _literal(host, port)) is not None:
            return [literal]
        key = (host, port)
        if (asked := self._asked.get(key)) is None:
            asked = self._asked[key] = self._ask(key)
        try:
            found = await asyncio.wait_for(asyncio.shield(asked), self._answer_seconds)
        except (TimeoutError, OSError) as error:
            if key not in self._known:
                why = "no answer in time" if isinstance(error, TimeoutError) else str(error)
                raise OSError(f"the name {host} cannot be resolved: {why}") from error
            log.warning("names.last_known_used", host=host, why=type(error).__name__)
            return self._known[key]
        self._known[key] = found
        return found

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """For aiohttp."""
        found = await self.addresses(host, port)
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
            if family in (socket.AF_UNSPEC, kind)
        ]

    async def close(self) -> None: ...

    def _ask(self, key: tuple[str, int]) -> asyncio.Future[list[Address]]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Address]] = loop.create_future()
        answer.add_done_callback(lambda done: self._end(key, done))

        def ask() -> None:
            try:
                found: list[Address] | OSError = self._system(*key)
            except OSError as error:
                found = error
            try:
                loop.call_soon_threadsafe(_give, answer, found)
            except RuntimeError:  # the loop has ended meanwhile: nobody waits any more
                log.debug("names.too_late", host=key[0])

        threading.Thread(target=ask, name=f"names/{key[0]}", daemon=True).start()
        return answer

    def _end(self, key: tuple[str, int], done: asyncio.Future[list[Address]]) -> None:
        self._asked.pop(key, None)
        if not done.cancelled():
            done.exception()  # looked at here: everybody who asked may have gone away at the deadline


def _literal(host: str, port: int) -> Address | None:
    """An address given as such needs nobody to be asked."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port)


def _give(answer: asyncio.Future[list[Address]], found: list[Address] | OSError) -> None:
    if answer.done():
        return
    if isinstance(found, OSError):
        answer.set_exception(found)
    else:
        answer.set_result(found)
