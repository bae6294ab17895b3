"""The pushed signal link against a peer that misbehaves in every way it can."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from core.domain.ids import VenueName
from core.engine.ports import SignalBatch
from core.signals.websocket_waves import PushedWaves
from tests.fakes.fake_socket import GONE, FakeSocket, Frame
from tests.fakes.virtual_loop import VirtualClock
from tests.signals.test_parsing import PLAIN, a_reader

LOGIN: list[tuple[float, Frame]] = [(0, {"type": "auth_required"}), (0, {"type": "auth_success"})]
HEARTBEAT = {"type": "heartbeat"}


def signal(number: int, **changes: Any) -> dict[str, Any]:
    return {"type": "signal", **PLAIN, "id": f"s{number}", **changes}


@dataclass
class Link:
    """`sockets` in the order they were asked for, `opened` when."""

    source: PushedWaves
    sockets: list[FakeSocket]
    opened: list[float]
    waves: list[SignalBatch]

    def ids(self) -> list[list[str]]:
        return [[signal.id for signal in wave.signals] for wave in self.waves]


@asynccontextmanager
async def linked(*scripts: Iterable[tuple[float, Frame]], refuses: int = 0) -> AsyncIterator[Link]:
    """One script per connection; after the last one the server logs in and stays silent. The first `refuses`
    connections are refused."""
    waiting = [list(script) for script in scripts]
    clock = VirtualClock()
    sockets: list[FakeSocket] = []
    opened: list[float] = []

    def make() -> FakeSocket:
        opened.append(clock.monotonic())
        turned_away = len(sockets) < refuses
        socket = FakeSocket(waiting.pop(0) if waiting and not turned_away else LOGIN, refuses=turned_away)
        sockets.append(socket)
        return socket

    source = PushedWaves(
        url="wss://signals.test/ws",
        token="secret",
        socket=make,
        reader=a_reader((VenueName.BINANCE,)),
        collect_seconds=0.05,
        clock=clock,
    )
    link = Link(source=source, sockets=sockets, opened=opened, waves=[])
    task = asyncio.ensure_future(source.run(link.waves.append))
    try:
        yield link
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_it_logs_in_with_the_token_and_sends_nothing_else() -> None:
    async with linked([*LOGIN, (30, HEARTBEAT)]) as link:
        await asyncio.sleep(60)
        (socket,) = link.sockets
        assert socket.sent == [{"type": "auth", "token": "secret"}]
        assert (socket.url, socket.pings) == ("wss://signals.test/ws", 0)
        assert link.source.connected


async def test_signals_that_arrive_together_are_one_wave_and_later_ones_another() -> None:
    frames = [(0.0, signal(1)), (0.03, signal(2)), (0.01, signal(3)), (0.2, signal(4))]
    async with linked([*LOGIN, *frames]) as link:
        await asyncio.sleep(1)
        assert link.ids() == [["s1", "s2", "s3"], ["s4"]]
        assert link.waves[0].received == link.opened[0]


async def test_the_snapshot_is_one_wave_of_its_own() -> None:
    snapshot = {"type": "signals_snapshot", "data": [signal(1), signal(2), "rubbish"]}
    async with linked([*LOGIN, (0, snapshot), (0, {"type": "signals_snapshot", "data": []})]) as link:
        await asyncio.sleep(1)
        assert link.ids() == [["s1", "s2"]]
        assert [unusable.code for unusable in link.waves[0].unusable] == ["malformed"]


async def test_a_signal_that_cannot_be_used_travels_with_its_wave_and_its_reason() -> None:
    async with linked([*LOGIN, (0, signal(1)), (0, signal(2, direction=None))]) as link:
        await asyncio.sleep(1)
        assert link.ids() == [["s1"]]
        assert [unusable.code for unusable in link.waves[0].unusable] == ["side_missing"]


@pytest.mark.failure("SIG-12")
async def test_heartbeats_keep_an_hour_without_signals_connected_and_silence_ends_it_after_90_seconds() -> None:
    beats = [(30.0, HEARTBEAT)] * 120
    async with linked([*LOGIN, *beats]) as link:
        await asyncio.sleep(3_600)
        assert len(link.sockets) == 1
        assert link.source.counts["reconnects"] == 0
        await asyncio.sleep(89)
        assert [socket.closed for socket in link.sockets] == [False]
        await asyncio.sleep(8)
        assert [socket.closed for socket in link.sockets] == [True, False]


@pytest.mark.parametrize("step", [0, 1])
async def test_a_server_that_is_silent_in_the_handshake_is_left_after_five_seconds(step: int) -> None:
    async with linked(LOGIN[:step]) as link:
        await asyncio.sleep(11)
        assert link.opened[1] - link.opened[0] == pytest.approx(10)  # 5 s for the step, 5 s back-off
        assert link.source.connected


async def test_back_off_doubles_from_5_to_60_seconds_and_starts_anew_after_a_connection() -> None:
    async with linked([*LOGIN, (1, GONE)], refuses=7) as link:
        await asyncio.sleep(300)
        gaps = [round(b - a) for a, b in zip(link.opened, link.opened[1:], strict=False)]
        assert gaps == [5, 10, 20, 40, 60, 60, 60, 6]


async def test_a_refused_token_is_not_hammered_with_and_recovers_without_a_restart() -> None:
    refusal: list[tuple[float, Frame]] = [(0, {"type": "auth_required"}), (0, {"type": "auth_failed"})]
    async with linked(refusal, refusal, [*LOGIN, (0, signal(1))]) as link:
        await asyncio.sleep(121)
        gaps = [round(b - a) for a, b in zip(link.opened, link.opened[1:], strict=False)]
        assert gaps == [60, 60]
        assert link.ids() == [["s1"]]


async def test_large_deep_and_broken_frames_are_refused_and_counted_and_the_next_signal_is_handled() -> None:
    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    large = json.dumps({"type": "signal", "x": "y" * 10_000_000}).encode()
    async with linked([*LOGIN, (0, deep), (0, large), (0, b"\xff"), (0, {"type": "news"}), (0, signal(1))]) as link:
        await asyncio.sleep(1)
        assert link.ids() == [["s1"]]
        assert link.source.counts == {"malformed_frames": 3, "unknown_frames": 1}
        assert len(link.sockets) == 1


async def test_a_wave_that_was_still_being_collected_when_the_link_broke_is_not_lost() -> None:
    async with linked([*LOGIN, (0, signal(1)), (0.01, GONE)]) as link:
        await asyncio.sleep(0.1)
        assert link.ids() == [["s1"]]


async def test_stopping_closes_the_connection() -> None:
    async with linked(LOGIN) as link:
        await asyncio.sleep(1)
    assert link.sockets[0].closed
