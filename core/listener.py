"""A small HTTP listener: requests in as values, answers out as values, everything bounded, nothing awaited to answer.

Who answers is a plain function, so that whatever is asked costs its own work and no more, and tests need no socket.
One request per connection; connections, headers, bodies and their time are limited, so that somebody who only holds
connections open costs a few kilobytes. A port that is taken is told and tried again; nothing else waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web
from msgspec import Struct, field

log = structlog.get_logger(__name__)

MOST_CONNECTIONS = 32
CONNECTION_SECONDS = 10.0
"""For all of one connection: connect, request, answer."""
MAX_HEADER_BYTES = 4 * 1024
"""Of the request line and of each header."""
MOST_HEADERS = 64
RETRY_SECONDS = 10.0
TEXT = "text/plain; charset=utf-8"
_SILENT = logging.getLogger("breakwater.listener")
"""What the library would say of each stranger's malformed request, with its bytes in a trace."""
_SILENT.disabled = True
_HEADERS = {"Server": "breakwater", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class HttpRequest(Struct, frozen=True, kw_only=True):
    """`headers` in lower case, the first of each name; `path` without its query, which nothing here reads."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


class HttpAnswer(Struct, frozen=True, kw_only=True):
    """`parts` come after `body`, each made in a turn of the loop of its own: a long answer holds nobody up."""

    status: int
    body: bytes = b""
    content_type: str = TEXT
    headers: Mapping[str, str] = field(default_factory=dict)
    parts: Iterable[bytes] = ()


class ListenerAddress(Struct, frozen=True, kw_only=True):
    """Port 0 is any free one. With `certificate` and `key` (PEM files) it speaks TLS only."""

    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self.certificate is None else 'https'}://{host}:{self.port}"


Answerer = Callable[[HttpRequest], HttpAnswer]


class HttpListener:
    """Serves while `run` runs. `on_trouble` hears once why it cannot listen, `on_listening` the address once it does:
    both must be quick and must not raise."""

    def __init__(
        self,
        name: str,
        address: ListenerAddress,
        answer: Answerer,
        *,
        max_body: int = 0,
        on_trouble: Callable[[str], None] = lambda _why: None,
        on_listening: Callable[[ListenerAddress], None] = lambda _address: None,
    ) -> None:
        """`max_body` bytes; 0 = a request with a body is refused."""
        self._name = name
        self._address = address
        self._answer = answer
        self._max_body = max_body
        self._on_trouble = on_trouble
        self._on_listening = on_listening
        self.refused_connections = 0
        """Since the start, because there were too many at a time."""

    async def run(self) -> None:
        """Until cancelled."""
        told = ""
        while True:
            server = _Server(self)
            try:
                listening = await asyncio.get_running_loop().create_server(
                    server, self._address.host, self._address.port, ssl=self._tls()
                )
            except OSError as error:  # also ssl.SSLError: a certificate that does not fit its key
                what = os.strerror(error.errno) if error.errno and not isinstance(error, ssl.SSLError) else str(error)
                why = f"cannot listen on {self._address.url}: {what}"
                if why != told:
                    told = why
                    log.error("listener.not_listening", name=self._name, why=why, again_in_s=RETRY_SECONDS)  # noqa: TRY400 - the sentence is the news
                    self._on_trouble(why)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await self._serve(listening, server)

    async def _serve(self, listening: asyncio.Server, server: _Server) -> None:
        try:
            port = listening.sockets[0].getsockname()[1]
            address = ListenerAddress(
                host=self._address.host, port=port, certificate=self._address.certificate, key=self._address.key
            )
            log.info("listener.listening", name=self._name, url=address.url)
            self._on_listening(address)
            await asyncio.Event().wait()
        finally:
            listening.close()
            await server.shutdown(1.0)

    def _tls(self) -> ssl.SSLContext | None:
        if self._address.certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._address.certificate, self._address.key)
        return context

    async def respond(self, request: web.BaseRequest) -> web.Response:
        """One request of any client."""
        try:
            answer = await self._answered(request)
            body = await _whole(answer)
        except Exception:  # swallow: a page that cannot be made must not end the task that serves the others
            log.exception("listener.no_answer", name=self._name, path=request.path[:100])
            answer = HttpAnswer(status=500)
            body = b"this answer could not be made; the log says why\n"
        response = web.Response(status=answer.status, body=body, headers={**_HEADERS, **answer.headers})
        response.headers["Content-Type"] = answer.content_type
        response.force_close()
        return response

    async def _answered(self, request: web.BaseRequest) -> HttpAnswer:
        told = request.content_length or 0
        if told > self._max_body or (request.body_exists and not self._max_body):
            return HttpAnswer(status=413, body=f"a body may have {self._max_body} bytes\n".encode())
        try:
            body = await request.read() if self._max_body else b""
        except web.HTTPRequestEntityTooLarge:
            return HttpAnswer(status=413, body=f"a body may have {self._max_body} bytes\n".encode())
        except (ConnectionError, web.RequestPayloadError) as error:
            return HttpAnswer(status=400, body=f"the body did not come whole: {error}\n".encode())
        headers = {name.lower(): value for name, value in reversed([*request.headers.items()])}
        return self._answer(HttpRequest(method=request.method, path=request.path, headers=headers, body=body))

    def too_many(self, connections: int) -> bool:
        """Counts a connection that is one too many."""
        self.refused_connections += connections > MOST_CONNECTIONS
        return connections > MOST_CONNECTIONS

    def request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        """As the library makes them, with our bound for bodies."""
        loop = asyncio.get_running_loop()
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=self._max_body)


async def _whole(answer: HttpAnswer) -> bytes:
    parts = [answer.body]
    for part in answer.parts:
        parts.append(part)
        await asyncio.sleep(0)
    return b"".join(parts)


class _Connection(web.RequestHandler):
    """Ends after its time, whatever the other side does or does not do."""

    __slots__ = ("_over", "_server")

    def __init__(self, server: _Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            logger=_SILENT,
            access_log=None,  # type: ignore[arg-type]
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MOST_HEADERS,
            lingering_time=0.0,
            auto_decompress=False,
        )
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._over = asyncio.get_running_loop().call_later(CONNECTION_SECONDS, self.force_close)
        if self._server.owner.too_many(len(self._server.connections)) and isinstance(transport, asyncio.Transport):
            transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._over.cancel()
        super().connection_lost(exc)


class _Server(web.Server):
    def __init__(self, owner: HttpListener) -> None:
        super().__init__(owner.respond, request_factory=owner.request)
        self.owner = owner

    def __call__(self) -> web.RequestHandler:
        return _Connection(self)
