"""A private stream is replaced before the venue ends it: the new link is live before the old one goes (UDS-11)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from core.domain.ids import VenueName
from core.domain.reports import Report
from core.engine.ports import StreamState
from core.venues.private_session import PrivateSession
from core.venues.reconnecting import Backoff
from core.venues.user_stream import UserDataStreamManager
from tests.fakes.fake_session import UrlSession
from tests.fakes.fake_socket import GONE, FakeSocket
from tests.fakes.virtual_loop import VirtualClock, VirtualLoop

HOURS = 3_600.0


class OldFeed:
    """A venue whose connections live one hour."""

    venue = VenueName.BINANCE
    keep_alive_seconds = 1_500.0
    connection_seconds = HOURS
    gate = None

    async def sessions(self) -> Sequence[PrivateSession]:
        return (UrlSession("ws://venue", self.decode),)

    async def keep_alive(self) -> None:
        return

    def decode(self, frame: bytes) -> Sequence[Report] | None:
        del frame
        return ()


class Stage:
    """The stream over scripted sockets, and what was seen of it."""

    def __init__(self, sockets: Callable[[int], FakeSocket]) -> None:
        self.clock = VirtualClock()
        self.opened: list[FakeSocket] = []
        self.states: list[StreamState] = []
        self.most_at_once = 0
        self._make = sockets
        self.stream = UserDataStreamManager(
            OldFeed(),
            self._socket,
            self.clock,
            self._sink,
            on_connected=self._reconcile,
            on_state=self.states.append,
            backoff=Backoff(jitter=lambda: 0.5),
        )

    def open_now(self) -> int:
        return sum(not socket.closed for socket in self.opened)

    def _socket(self) -> FakeSocket:
        self.opened.append(self._make(len(self.opened)))
        self.most_at_once = max(self.most_at_once, self.open_now())
        return self.opened[-1]

    async def _sink(self, reports: Sequence[Report]) -> None:
        del reports

    async def _reconcile(self) -> None:
        await asyncio.sleep(1)
        assert self.open_now() >= 1


@asynccontextmanager
async def running(sockets: Callable[[int], FakeSocket]) -> AsyncIterator[Stage]:
    stage = Stage(sockets)
    task = asyncio.get_running_loop().create_task(stage.stream.run())
    try:
        yield stage
    finally:
        task.cancel()
        await asyncio.wait([task])


def in_virtual_time(test: Callable[[], object]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(test())  # type: ignore[arg-type]


def test_the_successor_is_live_before_the_old_link_goes_and_the_stream_is_never_down() -> None:
    async def story() -> None:
        async with running(lambda _: FakeSocket([])) as stage:
            await asyncio.sleep(10 * HOURS)
            assert stage.states == [StreamState.LIVE]
            assert stage.stream.statistics.hand_overs == len(stage.opened) - 1 == 9
            assert stage.stream.reconnect_count == 0
            assert (stage.most_at_once, stage.open_now()) == (2, 1)

    in_virtual_time(story)


def test_a_successor_that_does_not_come_up_is_tried_again_while_the_old_link_serves() -> None:
    async def story() -> None:
        async with running(lambda n: FakeSocket([], refuses=n in (1, 2))) as stage:
            await asyncio.sleep(HOURS + 200)
            assert stage.states == [StreamState.LIVE]
            assert [socket.closed for socket in stage.opened] == [True, True, True, False]

    in_virtual_time(story)


@pytest.mark.parametrize("refusing", [True, False], ids=["while it retries", "while the successor reconciles"])
def test_an_old_link_that_ends_during_the_hand_over_is_an_ordinary_reconnect(refusing: bool) -> None:
    async def story() -> None:
        lasts = HOURS + (30 if refusing else 0.5)
        first = [FakeSocket([(lasts, GONE)])]
        async with running(lambda n: first[0] if n == 0 else FakeSocket([], refuses=refusing and n == 1)) as stage:
            await asyncio.sleep(HOURS + 120)
            assert stage.states == [StreamState.LIVE, StreamState.DOWN, StreamState.LIVE]
            assert stage.open_now() == 1
            assert stage.stream.statistics.hand_overs == 0

    in_virtual_time(story)
