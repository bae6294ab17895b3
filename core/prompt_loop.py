"""uvloop with connections that write at once.

uvloop collects what is written and hands it to the operating system when everything that became ready with it has had
its turn: the request that moves a stop would wait for whatever arrived together with its price. A connection of which
nothing may be collected writes in the step that writes, as it does on asyncio's own loop.
"""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Callable
from typing import Any, TypeVar

import uvloop

_Spoken = TypeVar("_Spoken", bound=asyncio.BaseProtocol)


class PromptLoop(uvloop.Loop):
    """What connects to a server is prompt, with TLS and without; what listens is as uvloop makes it."""

    async def create_connection(  # type: ignore[override]  # uvloop says it twice, with a host and with a socket
        self,
        protocol_factory: Callable[[], _Spoken],
        host: str | None = None,
        port: int | None = None,
        *,
        ssl: bool | tls.SSLContext | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        **more: Any,
    ) -> tuple[asyncio.BaseTransport, _Spoken]:
        """As on any loop, for protocols in which the client speaks first.

        uvloop gives no access to what lies beneath TLS where it makes both. So that is made here first, and told.
        """
        if not ssl:
            return await self._prompt(protocol_factory, host, port, **more)
        if not (name := server_hostname or host):
            raise ValueError("TLS on a socket needs server_hostname, for which its certificate must be")
        beneath, _ = await self._prompt(asyncio.Protocol, host, port, **more)
        protocol = protocol_factory()
        secured = await self.start_tls(
            beneath,
            protocol,
            tls.create_default_context() if ssl is True else ssl,
            server_hostname=name,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        if secured.is_closing():
            raise ConnectionResetError("the connection was closed as soon as TLS was on it")
        protocol.connection_made(secured)
        return secured, protocol

    async def _prompt(self, factory: Callable[[], _Spoken], *where: Any, **more: Any) -> tuple[Any, _Spoken]:
        connection: Any
        connection, protocol = await super().create_connection(factory, *where, **more)
        connection.set_write_buffer_limits(high=0)
        return connection, protocol
