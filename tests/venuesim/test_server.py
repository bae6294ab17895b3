"""The shell on real loopback sockets: what the kernel promises reaches the wire."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.venuesim.plain_facade import VENUE
from tools.venuesim.kernel import Simulation, SimulationSettings
from tools.venuesim.server import Driver, Server, tls_context, wall_ms


class Line:
    """A client of a running server."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def send(self, method: str, path: str, **body: Any) -> tuple[int, Any]:
        async with self.session.request(method, self.url + path, json=body or None) as answer:
            return answer.status, await answer.json()


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Line]:
    start = wall_ms()
    server = Server(Driver(Simulation(VENUE, SimulationSettings(**settings), start), start))
    port = await server.start(0)
    try:
        async with aiohttp.ClientSession() as session:
            yield Line(session, f"http://127.0.0.1:{port}")
    finally:
        await server.stop()


async def test_requests_and_the_control_interface_share_the_port() -> None:
    async with serving() as line:
        status, order = await line.send("POST", "/order?qty=0.1&client_id=a")
        assert (status, order["status"]) == (200, "filled")
        _, state = await line.send("GET", "/_sim/state?all=1")
        assert state["orders"][0]["client_id"] == "a"
        assert (await line.send("GET", "/nothing"))[0] == 404


async def test_latency_is_real_and_the_log_shows_it() -> None:
    async with serving(latency_ms=40) as line:
        await line.send("GET", "/time")
        _, (row,) = await line.send("GET", "/_sim/requests")
        assert row["answered"] - row["received"] >= 40


async def test_frames_come_in_order_and_commands_are_answered() -> None:
    async with serving(latency_ms=4) as line, line.session.ws_connect(line.url + "/ws") as socket:
        await line.send("POST", "/order?qty=0.1")
        assert [await socket.receive_str() for _ in range(3)] == ["OrderNew", "OrderTrade", "AccountChanged"]
        await socket.send_str("echo hello")
        assert await socket.receive_str() == "echo hello"
        await socket.send_str("bye")
        message = await socket.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 4001)


async def test_a_ping_is_answered_unless_the_stream_is_half_open() -> None:
    async with serving() as line, line.session.ws_connect(line.url + "/ws", autoping=False) as socket:
        await socket.ping(b"1")
        assert (await socket.receive()).type is aiohttp.WSMsgType.PONG
        await line.send("POST", "/_sim/fault", kind="half_open_stream")
        await socket.ping(b"2")
        with pytest.raises(asyncio.TimeoutError):
            await socket.receive(timeout=0.05)


async def test_a_cut_stream_ends_without_a_close_frame() -> None:
    async with serving() as line, line.session.ws_connect(line.url + "/ws") as socket:
        await line.send("POST", "/_sim/fault", kind="disconnect_stream")
        message = await socket.receive()
        assert message.type is aiohttp.WSMsgType.CLOSED
        assert socket.close_code == 1006


async def test_a_dropped_response_ends_the_connection_though_the_order_was_executed() -> None:
    async with serving() as line:
        await line.send("POST", "/_sim/fault", kind="drop_response", match={"path": "/order"})
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await line.send("POST", "/order?qty=0.1")
        _, state = await line.send("GET", "/_sim/state")
        assert [row["qty"] for row in state["positions"]] == ["0.1"]


async def test_a_refused_handshake_is_an_http_answer() -> None:
    async with serving() as line:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await line.session.ws_connect(line.url + "/nowhere")
        assert caught.value.status == 404


async def test_prices_move_by_themselves_and_fire_stops() -> None:
    async with serving(tick_hz=200, speed=400) as line, line.session.ws_connect(line.url + "/ws") as socket:
        await line.send("POST", "/order?qty=0.1")
        _, state = await line.send("GET", "/_sim/state")
        mark = float(state["positions"][0]["mark"])
        await line.send("POST", f"/stop?trigger={mark * 0.998:.1f}")
        async with asyncio.timeout(20):
            heard = [await socket.receive_str() for _ in range(8)]
        assert heard.count("OrderTrade") == 2
        _, rows = await line.send("GET", "/_sim/protection")
        assert rows[0]["closed"] is not None


async def test_the_server_stops_with_sockets_open() -> None:
    async with serving() as line:
        socket = await line.session.ws_connect(line.url + "/ws")
    assert (await socket.receive()).type in {
        aiohttp.WSMsgType.CLOSE,
        aiohttp.WSMsgType.CLOSED,
        aiohttp.WSMsgType.CLOSING,
    }
    await socket.close()


def test_tls_needs_files_that_fit() -> None:
    with pytest.raises((OSError, ssl.SSLError)):
        tls_context("nowhere.pem", "nowhere.key")
