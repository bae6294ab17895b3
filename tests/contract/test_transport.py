"""The production side of the seam over real sockets: names, addresses, certificates, one session."""

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core import transport
from core.engine.first_step import at_once
from core.engine.owned_tasks import OwnedTasks
from core.errors import Ambiguous, Unreachable
from core.name_lookup import Address, NameLookup
from core.transport import AiohttpHttp, WebsocketsSocket

pytestmark = pytest.mark.may_block("real sockets on the loop that serves them")


@asynccontextmanager
async def a_server(context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Answers `ok`, drops the connection on /drop, upgrades /ws, and has much to say on /huge."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/drop":
            assert request.transport is not None
            request.transport.abort()
        if request.path == "/ws":
            upgraded = web.WebSocketResponse()
            await upgraded.prepare(request)
            await upgraded.send_str("hello")
            await upgraded.receive()
            return upgraded
        return web.Response(text="x" * 3_000_000 if request.path == "/huge" else "ok")

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@asynccontextmanager
async def a_bare_server() -> AsyncIterator[int]:
    """Answers `ok` and drops the connection on /drop, as cheaply as can be: thousands of calls are its only use."""

    class Answers(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self._transport = transport

        def data_received(self, data: bytes) -> None:
            if b" /drop " in data:
                self._transport.abort()
            else:
                self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server = await asyncio.get_running_loop().create_server(Answers, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await server.wait_closed()


def _names(table: Mapping[str, list[str] | Callable[[], object]], *, answer_seconds: float = 0.2) -> NameLookup:
    """Names of the test; a callable is run on the look-up's thread and then there is no such name."""

    def system(host: str, port: int) -> list[Address]:
        known = table[host]
        if callable(known):
            known()
            raise socket.gaierror("no such name")
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in known
        ]

    return NameLookup(system, answer_seconds=answer_seconds)


@pytest.mark.failure("NET-06")
async def test_open_sockets_stay_constant_over_ten_thousand_calls_with_failures() -> None:
    async with a_bare_server() as port:
        http, counts = AiohttpHttp("venue"), set[int]()
        for number in range(10_000):
            try:
                await http.request("GET", f"http://127.0.0.1:{port}/{'drop' if number % 50 == 49 else 'x'}", {})
            except (Ambiguous, Unreachable):
                assert number % 50 == 49
            if number % 1_000 == 10:
                counts.add(_open_sockets())
        session = http._session
        assert max(counts) - min(counts) <= 1
        await http.request("GET", f"http://127.0.0.1:{port}/x", {})
        assert http._session is session, "one session for the whole life"
        await http.close()


async def test_a_request_with_a_body_is_written_in_the_step_that_sends_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url, http = f"http://127.0.0.1:{listening.getsockname()[1]}/x", AiohttpHttp("venue")
        answers = list[bytes]()

        async def ask(body: bytes) -> None:
            answers.append((await http.request("POST", url, {}, body)).body)

        async with OwnedTasks() as tasks:
            first = tasks.create_task(ask(b"first"), name="first")
            peer = (await asyncio.to_thread(listening.accept))[0]
            await asyncio.to_thread(peer.recv, 1_000)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
            await first
            at_once(tasks, ask(b"second"), "second")
            assert peer.recv(1_000, socket.MSG_DONTWAIT).endswith(b"second"), "and not a turn of the loop later"
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2")
        assert answers == [b"1", b"2"]
        peer.close()
        await http.close()


@pytest.mark.failure("NET-08")
async def test_a_name_server_that_does_not_answer_holds_up_its_own_venue_only() -> None:
    silence = threading.Event()
    stalled = AiohttpHttp("stalled", _names({"venue.test": silence.wait}, answer_seconds=3_600))
    healthy = AiohttpHttp("healthy", _names({"other.test": ["127.0.0.1"]}))
    async with a_server() as port:
        hanging = [asyncio.create_task(stalled.request("GET", f"http://venue.test:{port}/", {})) for _ in range(50)]
        try:
            for _ in range(20):
                assert (await healthy.request("GET", f"http://other.test:{port}/", {})).body == b"ok"
            assert not any(task.done() for task in hanging)
            assert sum(thread.name == "names/venue.test" for thread in threading.enumerate()) == 1
        finally:
            silence.set()
            results = await asyncio.gather(*hanging, return_exceptions=True)
            await stalled.close()
            await healthy.close()
        assert all(isinstance(result, Unreachable) for result in results)


@pytest.mark.failure("NET-08")
async def test_a_name_that_nobody_answers_for_is_given_up() -> None:
    silence = threading.Event()
    http = AiohttpHttp("stalled", _names({"venue.test": silence.wait}))
    try:
        with pytest.raises(Unreachable, match=r"the name venue\.test cannot be resolved"):
            await http.request("GET", "http://venue.test:1/", {})
    finally:
        silence.set()
        await http.close()


@pytest.mark.failure("NET-08")
async def test_when_the_name_is_answered_again_the_venue_is_reached_again() -> None:
    table: dict[str, list[str] | Callable[[], object]] = {"venue.test": lambda: None}
    async with a_server() as port:
        http = AiohttpHttp("venue", _names(table))
        with pytest.raises(Unreachable):
            await http.request("GET", f"http://venue.test:{port}/", {})
        table["venue.test"] = ["127.0.0.1"]
        assert (await http.request("GET", f"http://venue.test:{port}/", {})).status == 200
        await http.close()


async def test_the_last_known_address_stands_in_for_a_name_server_that_is_gone() -> None:
    table: dict[str, list[str] | Callable[[], object]] = {"venue.test": ["127.0.0.1"]}
    async with a_server() as port:
        names = _names(table)
        assert await names.addresses("venue.test", port)
        table["venue.test"] = lambda: None
        link = WebsocketsSocket("venue", names)
        await link.open(f"ws://venue.test:{port}/ws")
        assert await link.receive() == b"hello"
        await link.close()


@pytest.mark.failure("NET-08")
@pytest.mark.parametrize("broken", ["100::1", "192.0.2.1"])
async def test_an_address_that_leads_nowhere_does_not_keep_the_next_one_waiting(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    connect = loop.sock_connect

    async def connect_or_hang(sock: socket.socket, address: Any) -> None:
        if address[0] == broken:
            await asyncio.Event().wait()
        await connect(sock, address)

    monkeypatch.setattr(loop, "sock_connect", connect_or_hang)
    async with a_server() as port:
        names = _names({"venue.test": [broken, "127.0.0.1"]})
        http, link = AiohttpHttp("venue", names), WebsocketsSocket("venue", names)
        assert (await http.request("GET", f"http://venue.test:{port}/", {})).status == 200
        await link.open(f"ws://venue.test:{port}/ws")
        await link.close()
        await http.close()


@pytest.mark.failure("NET-12")
async def test_an_answer_that_is_too_large_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", 1_000_000)
    async with a_server() as port:
        http = AiohttpHttp("venue")
        with pytest.raises(Ambiguous, match="larger than 1000000 bytes"):
            await http.request("GET", f"http://127.0.0.1:{port}/huge", {})
        assert (await http.request("GET", f"http://127.0.0.1:{port}/", {})).body == b"ok"
        await http.close()


@pytest.mark.failure("NET-09")
@pytest.mark.parametrize(
    ("flaw", "said"),
    [("untrusted", "self-signed"), ("expired", "certificate has expired"), ("another host's", "IP address mismatch")],
)
async def test_a_certificate_that_does_not_hold_is_never_accepted(
    tmp_path: Path, flaw: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = a_certificate(tmp_path, expired=flaw == "expired", host="other.test" if "host" in flaw else None)
    if flaw != "untrusted":  # trusted as such: only its own flaw is left
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with a_server(context) as port:
        http, link = AiohttpHttp("venue"), WebsocketsSocket("venue")
        for _ in range(3):
            with pytest.raises(Unreachable, match="certificate"):
                await http.request("GET", f"https://127.0.0.1:{port}/", {})
            with pytest.raises(Unreachable, match=said):
                await link.open(f"wss://127.0.0.1:{port}/ws")
        await http.close()


def test_nothing_in_the_program_relaxes_verification() -> None:
    root = Path(__file__).resolve().parents[2]
    text = "".join(path.read_text("utf-8") for path in [root / "main.py", *(root / "core").rglob("*.py")])
    for word in (
        "CERT_NONE",
        "check_hostname",
        "ssl=False",
        "verify_ssl",
        "_create_unverified_context",
        "verify=False",
    ):
        assert word not in text


def _open_sockets() -> int:
    return sum(_target(link).startswith("socket:") for link in Path("/proc/self/fd").iterdir())


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def a_certificate(folder: Path, *, expired: bool, host: str | None) -> tuple[Path, Path]:
    """Self-signed, for 127.0.0.1 unless another host is named."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "venue")])
    now = dt.datetime.now(dt.UTC)
    ends = now + dt.timedelta(days=-1 if expired else 1)
    known_as = x509.DNSName(host) if host else x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=2))
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([known_as]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "certificate.pem", folder / "key.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return public, private
