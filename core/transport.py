"""The seam every byte to a venue or a signal server passes: `Http` and `Socket`, and their production sides.

What failed *before* a request could leave this host is raised as `Unreachable` (nothing was executed); what failed
after it may have left as `Ambiguous` (it may have been). Simulation implements the same two ports in process.
"""

from __future__ import annotations

import asyncio
import socket as sockets
import ssl
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

import aiohappyeyeballs
import aiohttp
import yarl
from aiohttp.abc import AbstractStreamWriter
from aiohttp.connector import Connection
from msgspec import Struct
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.typing import Data

from core.begun import Begun
from core.errors import Ambiguous, Unreachable
from core.name_lookup import NameLookup

MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""The largest documented answer (all symbols of Binance's exchangeInfo) has 1.1 MB (NET-12)."""
MAX_FRAME_BYTES = 16 * 1024 * 1024
"""Above what a peer sends by mistake: what is too large for its reader is refused by it and the link stays (SIG-15)."""
KEEP_ALIVE_SECONDS = 150.0
"""An idle pool must outlive the pause between two waves: a cold connection costs three round trips with TLS."""
MAX_CONNECTIONS = 256
"""Above what the venues' order limits let be in flight at once, so a stop never waits for a connection."""
CONNECT_SECONDS = 5.0
"""Name resolution, TCP and TLS together."""
NEXT_ADDRESS_SECONDS = 0.25
"""A connection that has not come about by then is tried over the next address too, IPv4 after IPv6 (NET-08)."""
ANSWER_SECONDS = 10.0


class HttpResponse(Struct, frozen=True, kw_only=True):
    """`headers` have lower-case names; of a repeated header the last one counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http(Protocol):
    """Request and answer. One instance per venue, reused for its whole life (NET-06)."""

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> HttpResponse:
        """Send exactly these bytes (`url` is already percent-encoded: signatures cover it). Redirects are not followed.

        Any HTTP status is an answer. Raises Unreachable or Ambiguous.
        """
        ...

    async def close(self) -> None: ...


class Socket(Protocol):
    """One WebSocket connection, used once: after it ended a new one is made. One reader at a time."""

    async def open(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        """Raises Unreachable."""
        ...

    async def send(self, text: str) -> None:
        """Raises Unreachable when the connection is gone."""
        ...

    async def receive(self) -> bytes:
        """The next message, text as UTF-8. Cancelling it loses nothing. Raises Unreachable when the socket ended."""
        ...

    async def ping(self) -> None:
        """Send a ping and wait for its pong; the caller sets the deadline. Raises Unreachable when the socket ended."""
        ...

    async def close(self) -> None:
        """Never raises and never waits long, whatever state the peer is in."""
        ...


class Transport(Struct, frozen=True, kw_only=True):
    """What an adapter needs to reach its venue: one Http, and a Socket whenever it asks for one."""

    http: Http
    socket: Callable[[], Socket]


class _PromptRequest(aiohttp.ClientRequest):
    """Writes its body where it is sent: aiohttp's task for it begins a turn of the loop later before Python 3.12."""

    def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> Coroutine[Any, Any, None]:
        writing = Begun(super().write_bytes(writer, conn, content_length))
        writing.begin()
        return writing


class AiohttpHttp:
    """One pooled session to `name`, made at the first request and bound to the loop that runs then."""

    def __init__(self, name: str, names: NameLookup | None = None, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._name, self._names = name, names or NameLookup()
        self._timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=answer_seconds)
        self._answer_seconds = answer_seconds
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> HttpResponse:
        try:
            async with (
                asyncio.timeout(CONNECT_SECONDS + self._answer_seconds),
                self._open().request(
                    method, yarl.URL(url, encoded=True), headers=headers, data=body, allow_redirects=False
                ) as answer,
            ):
                return HttpResponse(
                    status=answer.status,
                    headers={name.lower(): value for name, value in answer.headers.items()},
                    body=await self._read(answer),
                )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            # Resolution, TCP or TLS failed: no byte of the request has left.
            raise Unreachable(self._name, _say(error)) from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Ambiguous(self._name, _say(error)) from error

    async def close(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise Unreachable(self._name, "the connection pool is closed")
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=MAX_CONNECTIONS,
                keepalive_timeout=KEEP_ALIVE_SECONDS,
                ttl_dns_cache=300,
                resolver=self._names,
                happy_eyeballs_delay=NEXT_ADDRESS_SECONDS,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                request_class=_PromptRequest,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
            )
        return self._session

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in answer.content.iter_any():
            size += len(part)
            if size > MAX_ANSWER_BYTES:
                raise Ambiguous(self._name, f"the answer is larger than {MAX_ANSWER_BYTES} bytes", status=answer.status)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class WebsocketsSocket:
    """No compression (it costs more CPU than the wire), no keep-alive of the library (pings and deadlines are ours)."""

    def __init__(self, name: str, names: NameLookup | None = None) -> None:
        self._name, self._names = name, names or NameLookup()
        self._connection: ClientConnection | None = None

    async def open(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                peer = await self._reach(yarl.URL(url))
                self._connection = await connect(
                    url,
                    sock=peer,
                    additional_headers=headers,
                    compression=None,
                    ping_interval=None,
                    proxy=None,
                    max_size=MAX_FRAME_BYTES,
                    open_timeout=None,
                    close_timeout=1,
                )
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI, ValueError) as error:  # ValueError: a redirect
            raise Unreachable(self._name, _say(error)) from error

    async def _reach(self, url: yarl.URL) -> sockets.socket:
        host, port = url.host or "", url.port or 443
        return await aiohappyeyeballs.start_connection(
            await self._names.addresses(host, port), happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, interleave=1
        )

    async def send(self, text: str) -> None:
        try:
            await self._live().send(text)
        except ConnectionClosed as error:
            raise Unreachable(self._name, _say(error)) from error

    async def receive(self) -> bytes:
        try:
            return _bytes(await self._live().recv(decode=False))
        except ConnectionClosed as error:
            raise Unreachable(self._name, _say(error)) from error

    async def ping(self) -> None:
        try:
            await (await self._live().ping())
        except ConnectionClosed as error:
            raise Unreachable(self._name, _say(error)) from error

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    def _live(self) -> ClientConnection:
        if self._connection is None:
            raise Unreachable(self._name, "the socket was never opened")
        return self._connection


def _bytes(message: Data) -> bytes:
    return message.encode() if isinstance(message, str) else bytes(message)


def _say(error: BaseException) -> str:
    """The kind of failure and the peer, never a URL: signed requests and listen keys stand in URLs (SEC-05)."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the certificate of {error.host}:{error.port} is not accepted ({_flaw(error.certificate_error)})"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted ({_flaw(error)})"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {error.host} cannot be resolved"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect to {error.host}:{error.port} ({type(error).__name__})"
    if isinstance(error, ConnectionClosed):
        frame = error.rcvd or error.sent
        return f"connection closed ({frame.code} {frame.reason})".rstrip() if frame else "connection closed (1006)"
    return type(error).__name__


def _flaw(error: Exception) -> str:
    return error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else type(error).__name__


def real_transport(name: str) -> Transport:
    """The production side of both ports for one venue or server, over one look-up of names."""
    names = NameLookup()
    return Transport(http=AiohttpHttp(name, names), socket=lambda: WebsocketsSocket(name, names))
