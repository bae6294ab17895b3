"""The port itself, on real sockets: what strangers can do to it is bounded, and a port that is taken ends nothing."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from core import listener
from core.listener import HttpAnswer, HttpListener, HttpRequest, ListenerAddress
from tests.contract import certificate

pytestmark = pytest.mark.may_block(reason="a listener reads its certificate when it starts")


def echo(request: HttpRequest) -> HttpAnswer:
    return HttpAnswer(status=200, body=f"{request.method} {request.path} {len(request.body)}".encode())


def broken(_request: HttpRequest) -> HttpAnswer:
    raise RuntimeError("a fault of the program")


@asynccontextmanager
async def serving(
    answer: Callable[[HttpRequest], HttpAnswer] = echo, *, max_body: int = 0, files: tuple[Path, Path] | None = None
) -> AsyncIterator[tuple[int, HttpListener]]:
    heard: asyncio.Future[ListenerAddress] = asyncio.get_running_loop().create_future()
    chain, key = files or (None, None)
    address = ListenerAddress(host="127.0.0.1", port=0, certificate=chain, key=key)
    server = HttpListener("test", address, answer, max_body=max_body, on_listening=heard.set_result)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(server.run())
        yield (await heard).port, server
        task.cancel()


async def talk(port: int, data: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    """What comes back until the other side hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        writer.write(data)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def get(path: str = "/status", *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]).encode()


def post(length: int, body: bytes) -> bytes:
    return b"POST /signals HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length + body


async def test_a_request_is_answered_and_the_connection_ends() -> None:
    async with serving() as (port, _):
        answer = await talk(port, get("/status?token=x") + get())
    assert answer.count(b"HTTP/1.1 200") == 1
    assert answer.endswith(b"GET /status 0")
    assert b"Server: breakwater\r\n" in answer


async def test_what_is_too_long_or_no_http_is_refused_at_once() -> None:
    many = get("/status", *(f"X-{n}: 1" for n in range(100)))
    async with serving(max_body=100) as (port, _):
        assert status_of(await talk(port, get("/status", "X-A: " + "a" * 5_000))) == 400
        assert status_of(await talk(port, many)) == 400
        assert status_of(await talk(port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")) == 400
        assert status_of(await talk(port, post(101, b""))) == 413
        assert status_of(await talk(port, post(100, b"a" * 100))) == 200
        chunked = (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"40\r\n%b\r\n" % (b"a" * 64) * 2
        )
        assert status_of(await talk(port, chunked + b"0\r\n\r\n")) == 413


async def test_where_nothing_is_posted_a_body_is_refused() -> None:
    async with serving() as (port, _):
        assert status_of(await talk(port, post(1, b"a"))) == 413


async def test_who_is_slow_or_holds_connections_open_is_shut_out_and_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener, "CONNECTION_SECONDS", 0.2)
    monkeypatch.setattr(listener, "MOST_CONNECTIONS", 4)
    async with serving(max_body=100) as (port, server):
        assert await talk(port, post(100, b"a")) == b""  # the rest never comes
        assert await talk(port, b"GET /sta") == b""
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        assert await talk(port, get()) == b""
        assert server.refused_connections == 1
        for reader, _ in held:
            assert await reader.read() == b""  # their time is over
        assert status_of(await talk(port, get())) == 200
        for _, writer in held:
            writer.close()


async def test_a_page_that_fails_is_500_and_the_next_one_is_served() -> None:
    async with serving(broken) as (port, _):
        first, second = await talk(port, get()), await talk(port, get())
    assert (status_of(first), status_of(second)) == (500, 500)
    assert b"a fault of the program" not in first


async def test_an_answer_in_parts_lets_others_have_their_turn_between_them() -> None:
    turns: list[str] = []

    def parts(_request: HttpRequest) -> HttpAnswer:
        return HttpAnswer(status=200, body=b"a", parts=(_part(text, turns) for text in ("b", "c")))

    async with serving(parts) as (port, _):
        assert (await talk(port, get())).endswith(b"\r\n\r\nabc")
    assert turns == ["b", "another's", "c", "another's"]


def _part(text: str, turns: list[str]) -> bytes:
    turns.append(text)
    asyncio.get_running_loop().call_soon(turns.append, "another's")
    return text.encode()


async def test_a_port_that_is_taken_is_told_once_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "RETRY_SECONDS", 0.01)
    told: list[str] = []
    async with asyncio.TaskGroup() as tasks:
        async with serving() as (port, _):
            heard: asyncio.Future[ListenerAddress] = asyncio.get_running_loop().create_future()
            address = ListenerAddress(host="127.0.0.1", port=port)
            second = HttpListener("second", address, echo, on_trouble=told.append, on_listening=heard.set_result)
            task = tasks.create_task(second.run())
            await asyncio.sleep(0.1)
        await heard
        assert status_of(await talk(port, get())) == 200
        task.cancel()
    assert len(told) == 1
    assert told[0] == f"cannot listen on http://127.0.0.1:{port}: Address already in use"


@pytest.mark.failure("SEC-08")
async def test_with_a_certificate_it_speaks_tls_and_nothing_else(tmp_path: Path) -> None:
    files = certificate.written(tmp_path)
    trusting = ssl.create_default_context(cafile=str(files[0]))
    async with serving(files=files) as (port, _):
        assert status_of(await talk(port, get(), trusting)) == 200
        assert b"200 OK" not in await talk(port, get())


async def test_a_certificate_that_cannot_be_used_is_told_and_ends_nothing(tmp_path: Path) -> None:
    chain, _ = certificate.written(tmp_path)
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    address = ListenerAddress(host="127.0.0.1", port=0, certificate=chain, key=chain)
    server = HttpListener("test", address, echo, on_trouble=told.set_result)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(server.run())
        assert "cannot listen on https://127.0.0.1" in await told
        task.cancel()
