"""uvloop with connections that write at once: the production side of the seam on the loop the daemon runs on."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from core.errors import Unreachable
from core.prompt_loop import PromptLoop
from core.transport import AiohttpHttp, WebsocketsSocket
from main import _loop_factory
from tests.contract.test_transport import a_certificate, a_server

LARGE = 20_000_000
"""Bytes: more than an operating system takes at once."""


def _run(work: Coroutine[Any, Any, None], kind: type[PromptLoop] = PromptLoop) -> None:
    with asyncio.Runner(loop_factory=kind) as runner:
        runner.run(_leaving_nothing(work))


async def _leaving_nothing(work: Coroutine[Any, Any, None]) -> None:
    """uvloop does not end while something is still to be written, as it is where a test fails."""
    try:
        await work
    finally:
        for spoken in _Hears.all:
            spoken.transport.abort()
            await spoken.ended
        _Hears.all.clear()


class _Hears(asyncio.Protocol):
    """How often it was made, what it hears, and when it is told to pause and to go on."""

    all: ClassVar[list[_Hears]] = []
    transport: Any

    def __init__(self) -> None:
        self.made, self.heard, self.pauses = 0, b"", list[bool]()
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.all.append(self)
        self.made += 1

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def pause_writing(self) -> None:
        self.pauses.append(True)

    def resume_writing(self) -> None:
        self.pauses.append(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(exc)


@contextmanager
def _listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        yield server


def _tls(folder: Path, *, expired: bool = False, host: str | None = None) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's, and the client's, which trusts it."""
    certificate, key = a_certificate(folder, expired=expired, host=host)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    return serving, ssl.create_default_context(cafile=str(certificate))


def _accepted(server: socket.socket) -> socket.socket:
    peer = server.accept()[0]
    peer.settimeout(10)  # a test that fails must not leave a thread waiting
    return peer


def _waits(peer: socket.socket) -> int:
    """How many bytes the operating system has for the peer at this moment."""
    with socket.socket(fileno=os.dup(peer.fileno())) as beneath:
        try:
            return len(beneath.recv(1_000, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return 0


def test_the_daemon_runs_on_it() -> None:
    factory = _loop_factory()
    assert factory is PromptLoop


def test_what_is_written_has_left_when_the_step_that_wrote_it_goes_on() -> None:
    async def life() -> None:
        with _listening() as server:
            loop = asyncio.get_running_loop()
            transport, spoken = await loop.create_connection(_Hears, *server.getsockname())
            peer = _accepted(server)
            for number in range(1, 4):
                transport.write(b"move")
                assert _waits(peer) == 4 * number
                assert transport.get_write_buffer_size() == 0
            transport.close()
            assert await spoken.ended is None
            assert spoken.made == 1
            assert spoken.pauses == []
            peer.close()

    _run(life())


def test_under_tls_too_and_on_a_socket_that_is_connected_already(tmp_path: Path) -> None:
    serving, trusting = _tls(tmp_path)

    async def life() -> None:
        with _listening() as server:
            loop = asyncio.get_running_loop()
            accepted = asyncio.create_task(asyncio.to_thread(lambda: _secured(serving, server)))
            mine = socket.create_connection(server.getsockname())
            transport, spoken = await loop.create_connection(
                _Hears, sock=mine, ssl=trusting, server_hostname="127.0.0.1"
            )
            peer = await accepted
            assert _waits(peer) == 0
            transport.write(b"move")
            assert _waits(peer) > 4
            assert peer.recv(100) == b"move"
            peer.sendall(b"taken")
            peer.close()
            await spoken.ended
            assert spoken.heard == b"taken"
            assert spoken.made == 1
            transport.close()

    _run(life())


def _secured(context: ssl.SSLContext, server: socket.socket) -> ssl.SSLSocket:
    return context.wrap_socket(_accepted(server), server_side=True)


@pytest.mark.parametrize("secured", [False, True])
def test_what_the_operating_system_cannot_take_follows_in_order_and_the_writer_is_told(
    tmp_path: Path, secured: bool
) -> None:
    serving, trusting = _tls(tmp_path)

    async def life() -> None:
        with _listening() as server:
            loop = asyncio.get_running_loop()
            accepted = asyncio.create_task(
                asyncio.to_thread(lambda: _secured(serving, server) if secured else _accepted(server))
            )
            transport, spoken = await loop.create_connection(
                _Hears, *server.getsockname(), ssl=trusting if secured else None
            )
            peer = await accepted
            transport.write(b"a" * LARGE)
            transport.write(b"the end")
            told = [] if secured else [True]  # uvloop's TLS takes whatever comes and says nothing
            assert spoken.pauses == told
            heard = await asyncio.to_thread(_all, peer, LARGE + 7)
            assert heard == b"a" * LARGE + b"the end"
            peer.close()
            await spoken.ended
            assert spoken.pauses == [*told, *[False] * len(told)]
            transport.close()

    _run(life())


def _all(peer: socket.socket, size: int) -> bytes:
    heard = bytearray()
    while len(heard) < size:
        heard += peer.recv(1_000_000)
    return bytes(heard)


@pytest.mark.failure("NET-09")
@pytest.mark.parametrize(
    ("flaw", "said"),
    [("untrusted", "self-signed"), ("expired", "certificate has expired"), ("another host's", "IP address mismatch")],
)
def test_a_certificate_that_does_not_hold_is_never_accepted_here_either(
    tmp_path: Path, flaw: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving, _ = _tls(tmp_path, expired=flaw == "expired", host="other.test" if "host" in flaw else None)
    if flaw != "untrusted":
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))

    async def life() -> None:
        async with a_server(serving) as port:
            http, link = AiohttpHttp("venue"), WebsocketsSocket("venue")
            with pytest.raises(Unreachable, match="certificate"):
                await http.request("GET", f"https://127.0.0.1:{port}/", {})
            with pytest.raises(Unreachable, match=said):
                await link.open(f"wss://127.0.0.1:{port}/ws")
            await http.close()

    _run(life())


def test_tls_without_a_name_to_check_is_refused() -> None:
    async def life() -> None:
        with (
            _listening() as server,
            socket.create_connection(server.getsockname()) as mine,
            pytest.raises(ValueError, match="server_hostname"),
        ):
            await asyncio.get_running_loop().create_connection(_Hears, sock=mine, ssl=True)

    _run(life())


def test_a_connection_that_ends_with_its_handshake_is_one_that_did_not_come_about(tmp_path: Path) -> None:
    serving, _ = _tls(tmp_path)

    class Ending(PromptLoop):
        async def start_tls(self, *args: Any, **kwargs: Any) -> asyncio.Transport:
            secured: Any = await super().start_tls(*args, **{**kwargs, "server_hostname": "127.0.0.1"})
            secured.abort()
            return secured  # type: ignore[no-any-return]

    async def life() -> None:
        async with a_server(serving) as port:
            trusting = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
            with pytest.raises(ConnectionResetError):
                await asyncio.get_running_loop().create_connection(_Hears, "127.0.0.1", port, ssl=trusting)

    _run(life(), Ending)


@pytest.mark.parametrize("turns", range(1, 8))
def test_a_handshake_that_is_given_up_leaves_no_connection(turns: int) -> None:
    async def life() -> None:
        with _listening() as server:
            loop = asyncio.get_running_loop()
            mine = socket.create_connection(server.getsockname())
            peer = _accepted(server)
            connecting = asyncio.create_task(
                loop.create_connection(_Hears, sock=mine, ssl=ssl.create_default_context(), server_hostname="venue")
            )
            for _ in range(turns):
                await asyncio.sleep(0)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
            while await asyncio.to_thread(peer.recv, 10_000):  # what it said before, and then the end
                pass
            peer.close()
            mine.detach()  # the loop has closed it

    _run(life())


def test_a_request_and_a_message_pass_over_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serving, _ = _tls(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))

    async def life() -> None:
        async with a_server(serving) as secured, a_server() as plain:
            http = AiohttpHttp("venue")
            assert (await http.request("POST", f"http://127.0.0.1:{plain}/", {}, b"x" * 100)).body == b"ok"
            for url in (f"ws://127.0.0.1:{plain}/ws", f"wss://127.0.0.1:{secured}/ws"):
                link = WebsocketsSocket("venue")
                await link.open(url)
                assert await link.receive() == b"hello"
                await link.ping()
                await link.close()
            await http.close()

    _run(life())
