"""The private stream over scripted sockets: keys, silence, bad frames, reconnects (UDS-03, UDS-04, UDS-05, UDS-07)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from core.domain.ids import VenueName
from core.domain.reports import Report
from core.engine.ports import StreamState
from core.errors import MalformedPayload, Refused, Unreachable, VenueError
from core.venues.private_session import KeyExpiredError, PrivateSession
from core.venues.reconnecting import Backoff
from core.venues.user_stream import UserDataStreamManager
from tests.builders import a_balance_report
from tests.fakes.fake_session import UrlSession
from tests.fakes.fake_socket import GONE, FakeSocket, Frame
from tests.fakes.virtual_loop import VirtualClock

EXPIRED, BAD, STRANGE = b"expired", b"bad", b"strange"
Script = list[tuple[float, Frame]]


class Feed:
    """Keys by number; `lasts` seconds after which a keep-alive is told that the key is gone."""

    venue = VenueName.BINANCE
    keep_alive_seconds = 1_500.0
    connection_seconds = 1e9
    gate = None

    def __init__(self) -> None:
        self.keys = 0
        self.kept_alive: list[float] = []
        self.keep_alive_answers: list[Exception] = []
        self.url_errors: list[VenueError] = []

    async def sessions(self) -> Sequence[PrivateSession]:
        if self.url_errors:
            raise self.url_errors.pop(0)
        self.keys += 1
        return (UrlSession(f"ws://venue/{self.keys}", self.decode),)

    async def keep_alive(self) -> None:
        self.kept_alive.append(asyncio.get_running_loop().time())
        if self.keep_alive_answers:
            raise self.keep_alive_answers.pop(0)

    def decode(self, frame: bytes) -> Sequence[Report] | None:
        if frame == EXPIRED:
            raise KeyExpiredError
        if frame == BAD:
            raise MalformedPayload("test", "bad frame")
        return None if frame == STRANGE else (a_balance_report(wallet=frame.decode()),)


class Mute(FakeSocket):
    """Half open: connected, and nothing ever comes back."""

    async def ping(self) -> None:
        await super().ping()
        await asyncio.sleep(1e9)


class Stage:
    def __init__(self, *sockets: FakeSocket) -> None:
        self.clock, self.feed = VirtualClock(), Feed()
        self.opened: list[FakeSocket] = []
        self.told: list[str] = []
        self.states: list[tuple[StreamState, float]] = []
        self.reconciled: list[float] = []
        self.reconcile: Callable[[], Any] = self._at_once
        self._sockets = list(sockets)
        self.stream = UserDataStreamManager(
            self.feed,
            self._socket,
            self.clock,
            self._sink,
            on_connected=self._reconcile,
            on_state=lambda state: self.states.append((state, self.clock.monotonic())),
            backoff=Backoff(jitter=lambda: 0.5),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.stream.run(), name="stream")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            assert all(socket.closed for socket in self.opened), "a socket was left open"

    def _socket(self) -> FakeSocket:
        socket = self._sockets.pop(0) if self._sockets else FakeSocket([])
        self.opened.append(socket)
        return socket

    async def _sink(self, reports: Sequence[Report]) -> None:
        self.told += [str(getattr(report, "wallet", "?")) for report in reports]

    async def _reconcile(self) -> None:
        await self.reconcile()
        self.reconciled.append(self.clock.monotonic())

    async def _at_once(self) -> None: ...


def _said(*frames: bytes | tuple[float, bytes]) -> FakeSocket:
    """A socket that says these at once or after so many seconds, then is silent."""
    script: Script = [frame if isinstance(frame, tuple) else (0.0, frame) for frame in frames]
    return FakeSocket(script)


async def test_the_stream_is_live_only_when_reconciliation_is_done_and_frames_flow_meanwhile() -> None:
    stage = Stage(_said(b"1", b"2"))
    done = asyncio.Event()
    stage.reconcile = done.wait
    async with stage.running():
        await asyncio.sleep(1)
        assert stage.told == ["1", "2"]
        assert stage.stream.state is StreamState.DOWN
        done.set()
        await stage.stream.wait_live()
        assert stage.stream.live_since_ms == stage.clock.now_ms()
        assert stage.states == [(StreamState.LIVE, stage.clock.monotonic())]


async def test_a_reconciliation_that_fails_connects_anew() -> None:
    stage = Stage()

    async def fail_once() -> None:
        if not stage.opened[1:]:
            raise Unreachable("binance", "no answer")

    stage.reconcile = fail_once
    async with stage.running():
        await asyncio.sleep(1)
        assert len(stage.opened) == 2
        assert stage.stream.state is StreamState.LIVE
        assert stage.stream.statistics.ended == {"reconciliation after connecting failed: no answer": 1}


async def test_every_reconnect_reconciles_before_it_counts() -> None:
    stage = Stage(_said(b"1", (5, GONE)), _said(b"2", (5, GONE)), _said(b"3"))
    async with stage.running():
        await asyncio.sleep(30)
        assert stage.told == ["1", "2", "3"]
        assert len(stage.reconciled) == 3
        assert [state for state, _ in stage.states] == [StreamState.LIVE, StreamState.DOWN] * 2 + [StreamState.LIVE]
        assert stage.stream.reconnect_count == 2


async def test_the_first_reconnect_is_quick_and_later_ones_back_off() -> None:
    refused = [FakeSocket([], refuses=True) for _ in range(6)]
    stage = Stage(_said((100, GONE)), *refused)
    async with stage.running():
        await asyncio.sleep(100.5)
        assert len(stage.opened) == 2, "a healthy connection that drops is tried again within a second"
        await asyncio.sleep(600)
        assert stage.stream.state is StreamState.LIVE
        assert len(stage.opened) == 8


async def test_an_outage_of_an_hour_stays_far_below_any_connection_limit() -> None:
    stage = Stage(*(FakeSocket([], refuses=True) for _ in range(1_000)))
    async with stage.running():
        await asyncio.sleep(3_600)
        assert 50 < len(stage.opened) < 120


async def test_keep_alives_come_every_twenty_five_minutes() -> None:
    stage = Stage()
    async with stage.running():
        started = stage.clock.monotonic()
        await asyncio.sleep(5 * 1_500 + 1)
        assert [round(at - started) for at in stage.feed.kept_alive] == [1_500, 3_000, 4_500, 6_000, 7_500]
        assert len(stage.opened) == 1


async def test_a_keep_alive_that_fails_is_tried_again_within_a_minute() -> None:
    stage = Stage()
    stage.feed.keep_alive_answers = [Unreachable("binance", "reset"), Refused("binance", "busy", code="-1008")]
    async with stage.running():
        started = stage.clock.monotonic()
        await asyncio.sleep(3_200)
        assert [round(at - started) for at in stage.feed.kept_alive] == [1_500, 1_560, 1_620, 3_120]
        assert len(stage.opened) == 1


@pytest.mark.failure("UDS-03")
@pytest.mark.parametrize("how", ["notice", "keep-alive"])
async def test_a_dead_key_is_replaced_by_a_new_one_at_once(how: str) -> None:
    stage = Stage(_said((2_000, EXPIRED)) if how == "notice" else FakeSocket([]))
    if how == "keep-alive":
        stage.feed.keep_alive_answers = [KeyExpiredError()]
    async with stage.running():
        await asyncio.sleep(2_005 if how == "notice" else 1_505)
        assert stage.feed.keys == 2
        assert [socket.url for socket in stage.opened] == ["ws://venue/1", "ws://venue/2"]
        assert stage.stream.stale_key_swap_count == 1
        assert stage.stream.state is StreamState.LIVE
        assert len(stage.reconciled) == 2


@pytest.mark.failure("UDS-07")
async def test_a_half_open_socket_is_found_and_replaced_within_thirty_seconds() -> None:
    stage = Stage(Mute([]))
    async with stage.running():
        await asyncio.sleep(30)
        assert len(stage.opened) == 2
        assert stage.stream.state is StreamState.LIVE
        assert stage.stream.statistics.ended == {"no pong within 15 s": 1}


@pytest.mark.failure("UDS-04")
async def test_a_day_of_silence_is_healthy() -> None:
    stage = Stage()
    async with stage.running():
        await asyncio.sleep(24 * 3_600)
        assert len(stage.opened) == 1
        assert stage.opened[0].pings > 8_000
        assert len(stage.feed.kept_alive) == 57
        assert stage.stream.state is StreamState.LIVE


async def test_a_bad_frame_is_set_aside_and_the_next_ones_are_read() -> None:
    stage = Stage(_said(b"1", BAD, STRANGE, BAD, b"2"))
    async with stage.running():
        await asyncio.sleep(1)
        assert stage.told == ["1", "2"]
        statistics = stage.stream.statistics
        assert (statistics.frames, statistics.malformed, statistics.unknown) == (5, 2, 1)
        assert len(stage.opened) == 1


@pytest.mark.failure("UDS-08")
@pytest.mark.parametrize("second_ms", [0, 1, 5_000, 15_000])
async def test_two_reasons_to_reconnect_give_one_new_socket(second_ms: int) -> None:
    """The peer goes mute, the key dies and the socket ends at about the same moment."""
    stage = Stage(Mute([(10, EXPIRED), (second_ms / 1_000, GONE)]))
    async with stage.running():
        await asyncio.sleep(60)
        assert len(stage.opened) == 2
        assert [socket.closed for socket in stage.opened] == [True, False]


async def test_a_key_that_cannot_be_had_is_asked_for_again() -> None:
    stage = Stage()
    stage.feed.url_errors = [Unreachable("binance", "no route"), Unreachable("binance", "no route")]
    async with stage.running():
        await asyncio.sleep(10)
        assert stage.stream.state is StreamState.LIVE
        assert stage.feed.keys == 1


async def test_what_is_not_a_way_connections_end_is_raised() -> None:
    stage = Stage(_said(b"1"))

    async def broken(reports: Sequence[Report]) -> None:
        raise RuntimeError("a bug of ours")

    stage.stream = UserDataStreamManager(stage.feed, stage._socket, stage.clock, broken, on_connected=stage._at_once)
    with pytest.raises(ExceptionGroup) as raised:
        await stage.stream.run()
    assert raised.group_contains(RuntimeError, match="a bug of ours")
