"""The desired set of public channels is a state: whatever a venue loses and whenever the line breaks, all end up told.

The peer here acknowledges everything, and gives data only of what it really kept.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from core.domain.ids import Symbol, VenueName
from core.errors import Unreachable
from core.venues.market_stream import MarketStream
from core.venues.reconnecting import Backoff
from tests.fakes.virtual_loop import VirtualClock
from tests.venues.test_subscriptions import Route

COINS = [Symbol(f"C{n:03}") for n in range(200)]
GONE = "gone"
Loses = Callable[[int, str], bool]
"""Of the so-manyth request of a connection and a channel: whether the venue forgets it although it says yes."""


def nothing(_request: int, _channel: str) -> bool:
    return False


class Venue:
    """One connection of it: every kept channel tells a mark each second."""

    def __init__(self, loses: Loses) -> None:
        self._loses = loses
        self._frames: asyncio.Queue[str] = asyncio.Queue()
        self._requests = 0
        self.kept: set[str] = set()
        self.silenced: set[str] = set()
        self.sent: list[dict[str, Any]] = []
        self.sent_at: list[float] = []
        self._telling: asyncio.Task[None] | None = None

    async def open(self, url: str, headers: object = None) -> None:
        self._telling = asyncio.create_task(self._tell(), name="venue")

    async def send(self, text: str) -> None:
        frame = json.loads(text)
        self.sent.append(frame)
        self.sent_at.append(asyncio.get_running_loop().time())
        self._requests += 1
        if frame["op"] == "off":
            self.kept -= set(frame["args"])
        else:
            assert not self.kept & set(frame["args"]), "what is subscribed is not subscribed again"
            self.kept |= {name for name in frame["args"] if not self._loses(self._requests, name)}
            self.silenced -= set(frame["args"])
        self._frames.put_nowait(json.dumps({"ok": frame["n"]}))

    async def receive(self) -> bytes:
        frame = await self._frames.get()
        if frame == GONE:
            raise Unreachable("okx", "the connection ended")
        return frame.encode()

    async def ping(self) -> None: ...

    async def close(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait([self._telling])

    def end(self) -> None:
        self._frames.put_nowait(GONE)

    def say(self, channel: str, mark: str) -> None:
        self._frames.put_nowait(json.dumps({"mark": mark, "of": channel}))

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(1)
            for name in sorted(self.kept - self.silenced):
                self.say(name, "5")


class Soon(Backoff):
    def connection_ended(self, lived: float) -> float:
        return 0.1


class Stage:
    def __init__(self, *losses: Loses, every: Loses = nothing) -> None:
        """`losses` of one connection after the other, then `every` one."""
        self.route, self.venues = Route(), list[Venue]()
        self.route.confirm_seconds, self.route.batch = 10.0, 50
        self.clock = VirtualClock()
        self._losses, self._every = list(losses), every
        self.stream = MarketStream(VenueName.OKX, [self.route], self._socket, self.clock, backoff=Soon)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.stream.run(), name="market")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    def _socket(self) -> Venue:
        self.venues.append(Venue(self._losses.pop(0) if self._losses else self._every))
        return self.venues[-1]

    def missing(self, symbols: Sequence[Symbol] = COINS) -> list[Symbol]:
        """Symbols without a price of the last two seconds."""
        now = self.clock.monotonic()
        quotes = {symbol: self.stream.quote(symbol) for symbol in symbols}
        return [symbol for symbol, quote in quotes.items() if quote is None or now - quote.received > 2]


def most_of(request: int, _channel: str) -> bool:
    """The first requests of a connection are lost: 150 of 200."""
    return request <= 3


def some_of(request: int, channel: str) -> bool:
    return request <= 4 and int(channel[1:]) % 5 == 0


@pytest.mark.failure("MKT-01", "INV-10")
async def test_ninety_nine_reconnects_leave_nothing_of_two_hundred_missing() -> None:
    stage = Stage(*(most_of, some_of, nothing) * 33, most_of)
    async with stage.running():
        stage.stream.want(COINS)
        for connection in range(1, 101):
            await asyncio.sleep(13)  # confirmed within ten seconds, or asked for anew and told a second later
            assert len(stage.venues) == connection
            assert stage.missing() == [], connection
            stage.venues[-1].end()
    assert {len(frame["args"]) for venue in stage.venues for frame in venue.sent} <= set(range(1, 51)), "in batches"
    assert stage.stream.counts["renewed"] >= 33 * (150 + 40)


@pytest.mark.failure("MKT-01", "INV-10")
async def test_requests_are_paced_below_what_venues_take_in_a_second() -> None:
    stage = Stage()
    stage.route.batch = 5
    async with stage.running():
        stage.stream.want(COINS)
        await asyncio.sleep(20)
        at = stage.venues[0].sent_at
        assert len(at) == 40
        assert all(later - earlier >= 0.99 for earlier, later in zip(at, at[8:], strict=False))
        assert stage.missing() == []


@pytest.mark.failure("MKT-02", "INV-10")
@pytest.mark.parametrize("wanted_ms", range(8_000, 13_000, 100))
async def test_a_symbol_wanted_at_any_moment_around_a_reconnect_is_told_in_the_end(wanted_ms: int) -> None:
    stage = Stage(nothing, some_of)
    stage.route.batch = 3
    async with stage.running():
        stage.stream.want(COINS[1:11])
        await asyncio.sleep(0.1)
        asyncio.get_running_loop().call_later(9.9, stage.venues[0].end)
        await asyncio.sleep(wanted_ms / 1_000 - 0.1)
        stage.stream.want([COINS[0]])
        await asyncio.sleep(26)
        assert len(stage.venues) == 2
        assert stage.missing(COINS[:11]) == []


async def test_a_symbol_dropped_while_its_confirmation_is_due_is_not_asked_for_again() -> None:
    stage = Stage(lambda _request, channel: channel == "C000")
    async with stage.running():
        stage.stream.want(COINS[:2])
        await asyncio.sleep(9)
        stage.stream.drop(COINS[:1])
        await asyncio.sleep(600)
        assert [frame["args"] for frame in stage.venues[0].sent] == [["C000", "C001"], ["C000"]]


@pytest.mark.failure("MKT-05")
async def test_a_silent_channel_is_asked_for_anew_ever_more_seldom_and_alone() -> None:
    stage = Stage(lambda _request, channel: channel == "C007")
    async with stage.running():
        stage.stream.want(COINS[:20])
        await asyncio.sleep(1_000)
        venue = stage.venues[0]
        again = [at for frame, at in zip(venue.sent, venue.sent_at, strict=True) if frame["args"] == ["C007"]]
        assert {tuple(frame["args"]) for frame in venue.sent[1:]} == {("C007",)}
        pauses = [later - earlier for earlier, later in itertools.pairwise(again[1::2])]
        assert pauses == pytest.approx([20, 40, 80, 160, 320, 320], abs=0.5)
        assert len(stage.venues) == 1, "the connection stays"
        assert stage.missing(COINS[:20]) == [COINS[7]]


@pytest.mark.failure("MKT-05")
async def test_a_refresh_subscribes_that_symbol_anew_and_no_other() -> None:
    stage = Stage()
    async with stage.running():
        stage.stream.want(COINS)
        await asyncio.sleep(5)
        venue = stage.venues[0]
        venue.silenced = {"C003"}
        sent = len(venue.sent)
        await asyncio.sleep(5)
        assert stage.missing() == [COINS[3]]
        stage.stream.refresh([COINS[3], Symbol("never wanted")])
        await asyncio.sleep(2)
        assert [(frame["op"], frame["args"]) for frame in venue.sent[sent:]] == [("off", ["C003"]), ("on", ["C003"])]
        assert stage.missing() == []
        assert len(stage.venues) == 1


async def test_a_refresh_without_a_connection_is_nothing_to_wait_for() -> None:
    stage = Stage()
    stage.stream.want(COINS[:1])
    stage.stream.refresh(COINS[:1])
    async with stage.running():
        await asyncio.sleep(3)
        assert stage.missing(COINS[:1]) == []


@pytest.mark.failure("MKT-03")
async def test_fifty_confirmations_that_are_due_delay_no_frame() -> None:
    lost = {str(coin) for coin in COINS[:50]}
    stage = Stage(lambda _request, channel: channel in lost)
    stage.route.batch = 1
    told: list[float] = []
    stage.stream.on_tick(lambda symbol: told.append(stage.clock.monotonic()) if symbol == COINS[60] else None)
    async with stage.running():
        stage.stream.want(COINS[:61])
        await asyncio.sleep(12)
        told.clear()
        said = []
        for _ in range(200):  # while fifty channels are cancelled and asked for again, eight frames a second
            said.append(stage.clock.monotonic())
            stage.venues[0].say("C060", "6")
            await asyncio.sleep(0.05)
        heard = [min(abs(at - moment) for at in told) for moment in said]
        assert max(heard) <= 0.05
        assert len(stage.venues[0].sent) > 100
        assert len(stage.venues) == 1


@pytest.mark.failure("MKT-07")
async def test_a_tick_of_a_wanted_symbol_is_told_in_the_step_it_is_stored_in() -> None:
    stage = Stage()
    heard: list[tuple[Symbol, float]] = []

    def note(symbol: Symbol) -> None:
        quote = stage.stream.quote(symbol)
        assert quote is not None
        heard.append((symbol, stage.clock.monotonic() - quote.received))

    stage.stream.on_tick(note)
    async with stage.running():
        stage.stream.want(COINS[:1])
        await asyncio.sleep(1.5)
        stage.venues[0].say("C005", "5")
        await asyncio.sleep(0.1)
    assert heard == [(COINS[0], 0.0)], "and of others nobody is told"
