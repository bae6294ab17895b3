"""Public channels that a venue answers to: one refused symbol costs no other its prices, silence is found out."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from core.domain.ids import Symbol, VenueName
from core.errors import Unreachable
from core.venues.market_stream import MarketStream, Tick
from core.venues.reconnecting import Backoff, TextPing
from core.venues.subscriptions import Answered
from tests.builders import price
from tests.fakes.virtual_loop import VirtualClock

COINS = [Symbol(f"C{n:02}") for n in range(40)]
GONE = "gone"
Answer = Callable[[dict[str, Any]], Iterable[str]]


def accepts_all(frame: dict[str, Any]) -> Iterable[str]:
    return [json.dumps({"ok": frame["n"]})]


def refuses(*bad: str, named: bool = False) -> Answer:
    """The whole request fails for one channel, as at Bybit; `named` when its words tell which."""

    def answer(frame: dict[str, Any]) -> Iterable[str]:
        found = [channel for channel in frame["args"] if channel in bad]
        if frame["op"] == "off" or not found:
            return accepts_all(frame)
        return [json.dumps({"bad": frame["n"], "channels": found[:1] if named else []})]

    return answer


def refuses_each(*bad: str) -> Answer:
    """An answer per channel, as at OKX."""

    def answer(frame: dict[str, Any]) -> Iterable[str]:
        return [json.dumps({"each": channel, "bad": channel in bad}) for channel in frame["args"]]

    return answer


class Peer:
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._frames: asyncio.Queue[str] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.pings = 0
        self.closed = False

    async def open(self, url: str, headers: object = None) -> None: ...

    async def send(self, text: str) -> None:
        if text == "ping":
            self.pings += 1
            self._frames.put_nowait("{}")
            return
        frame = json.loads(text)
        self.sent.append(frame)
        for reply in self._answer(frame):
            self._frames.put_nowait(reply)

    async def receive(self) -> bytes:
        frame = await self._frames.get()
        if frame == GONE:
            raise Unreachable("okx", "the connection ended")
        return frame.encode()

    async def ping(self) -> None: ...

    async def close(self) -> None:
        self.closed = True

    def end(self) -> None:
        self._frames.put_nowait(GONE)

    def say(self, **frame: Any) -> None:
        self._frames.put_nowait(json.dumps(frame))

    def given(self) -> set[str]:
        """What is subscribed in the end: requests that were accepted as a whole or by channel."""
        given: set[str] = set()
        for frame in self.sent:
            if frame["op"] == "off":
                given -= set(frame["args"])
                continue
            for reply in map(json.loads, self._answer(frame)):
                if "ok" in reply:
                    given |= set(frame["args"])
                elif reply.get("bad") is False:
                    given.add(reply["each"])
        return given


class Route:
    """Frames: {"ok": n}, {"bad": n, "channels": […]}, {"each": channel, "bad": …}, {"mark": "1", "of": symbol}."""

    name, url, steady = "all", "ws://x", True
    quiet_seconds = confirm_seconds = 0.0
    batch, acknowledges = 10, True
    batch_bytes: int | None = None
    ping: TextPing | None = None

    def __init__(self) -> None:
        self.connections = 0

    def channels(self, symbols: Iterable[Symbol]) -> Sequence[str]:
        return [str(symbol) for symbol in symbols]

    def subscription(self, channels: Sequence[str], number: int) -> str:
        return json.dumps({"op": "on", "args": list(channels), "n": number})

    def cancellation(self, channels: Sequence[str], number: int) -> str:
        return json.dumps({"op": "off", "args": list(channels), "n": number})

    def anew(self, symbols: Iterable[Symbol]) -> Sequence[str]:
        return self.channels(symbols)

    def confirmed_within(self, channel: str) -> float:
        return self.confirm_seconds

    def connected(self) -> None:
        self.connections += 1

    def decode(self, frame: bytes) -> Sequence[Tick] | Answered | None:
        told = json.loads(frame)
        if "ok" in told:
            return Answered(number=told["ok"])
        if "each" in told:
            return Answered(channels=(told["each"],), refused=told["bad"], words="no such channel")
        if "bad" in told:
            return Answered(number=told["bad"], channels=tuple(told["channels"]), refused=True, words="Invalid symbol")
        if "mark" in told:
            mark = price(told["mark"])
            return (Tick(Symbol(told["of"]), mark, None, None, venue_time_ms=1, channel=told["of"]),)
        return None

    async def picture(self) -> Sequence[Tick]:
        return ()


class Stage:
    def __init__(self, *answers: Answer) -> None:
        """`answers` of one connection after the other; then everything is accepted."""
        self.route, self.peers = Route(), list[Peer]()
        self._answers = list(answers)
        self.stream = MarketStream(
            VenueName.OKX, [self.route], self._socket, VirtualClock(), backoff=lambda: Backoff(jitter=lambda: 0.5)
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.stream.run(), name="market")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            assert all(peer.closed for peer in self.peers)

    def _socket(self) -> Peer:
        self.peers.append(Peer(self._answers.pop(0) if self._answers else accepts_all))
        return self.peers[-1]


@pytest.mark.parametrize("answer", [refuses("C07"), refuses("C07", named=True), refuses_each("C07")])
async def test_one_refused_symbol_costs_none_of_the_others(answer: Answer) -> None:
    stage = Stage(answer)
    async with stage.running():
        stage.stream.want(COINS)
        await asyncio.sleep(60)
        assert stage.peers[0].given() == {str(coin) for coin in COINS} - {"C07"}
        assert len(stage.peers) == 1
        assert stage.stream.counts["refused"] >= 1


async def test_several_refused_symbols_are_all_found() -> None:
    bad = ["C00", "C01", "C13", "C39"]
    stage = Stage(refuses(*bad))
    async with stage.running():
        stage.stream.want(COINS)
        await asyncio.sleep(60)
        assert stage.peers[0].given() == {str(coin) for coin in COINS} - set(bad)
        asked = len(stage.peers[0].sent)
        await asyncio.sleep(3_600)
        assert len(stage.peers[0].sent) == asked, "what is refused is not asked for over and over"


async def test_a_refused_symbol_is_asked_for_again_when_it_is_wanted_anew_and_after_a_reconnect() -> None:
    stage = Stage(refuses("C07"))
    async with stage.running():
        stage.stream.want(COINS[:8])
        await asyncio.sleep(1)
        stage.stream.drop([COINS[7]])
        await asyncio.sleep(1)
        asked = len(stage.peers[0].sent)
        stage.stream.want([COINS[7]])
        await asyncio.sleep(1)
        assert [frame["args"] for frame in stage.peers[0].sent[asked:]] == [["C07"]]


async def test_a_request_that_is_never_answered_ends_the_connection_and_the_next_has_everything() -> None:
    stage = Stage(lambda _frame: [])
    async with stage.running():
        stage.stream.want(COINS[:15])
        await asyncio.sleep(9)
        assert len(stage.peers) == 1
        await asyncio.sleep(2)
        assert len(stage.peers) == 2
        assert stage.peers[1].given() == {str(coin) for coin in COINS[:15]}
        assert stage.route.connections == 2
        await asyncio.sleep(3_600)
        assert len(stage.peers) == 2


async def test_a_venue_that_answers_nothing_by_its_nature_is_not_waited_for() -> None:
    stage = Stage(lambda _frame: [])
    stage.route.acknowledges = False
    async with stage.running():
        stage.stream.want(COINS)
        await asyncio.sleep(3_600)
        assert len(stage.peers) == 1


async def test_requests_stay_within_count_and_length() -> None:
    stage = Stage()
    stage.route.batch_bytes = 12
    async with stage.running():
        stage.stream.want(COINS)
        await asyncio.sleep(3)
        assert {len(frame["args"]) for frame in stage.peers[0].sent} == {4}
        assert stage.peers[0].given() == {str(coin) for coin in COINS}
        assert len({frame["n"] for frame in stage.peers[0].sent}) == 10


async def test_answers_nobody_asked_for_change_nothing() -> None:
    stage = Stage()
    async with stage.running():
        stage.stream.want(COINS[:2])
        await asyncio.sleep(1)
        for frame in ({"ok": 77}, {"bad": 77, "channels": ["C00"]}, {"each": "C01", "bad": True}, {"ok": 1}):
            stage.peers[0].say(**frame)
        stage.peers[0].say(mark="5", of="C00")
        await asyncio.sleep(60)
        assert len(stage.peers) == 1
        assert len(stage.peers[0].sent) == 1
        quote = stage.stream.quote(Symbol("C00"))
        assert quote is not None
        assert quote.mark == price("5")


async def test_dropped_symbols_are_cancelled_also_before_they_were_answered() -> None:
    stage = Stage(lambda frame: accepts_all(frame) if frame["op"] == "off" else [])
    async with stage.running():
        stage.stream.want(COINS[:3])
        await asyncio.sleep(1)
        stage.stream.drop([COINS[1]])
        await asyncio.sleep(1)
        assert [(frame["op"], frame["args"]) for frame in stage.peers[0].sent] == [
            ("on", ["C00", "C01", "C02"]),
            ("off", ["C01"]),
        ]


async def test_pings_of_the_venues_own_kind_keep_a_silent_socket() -> None:
    stage = Stage()
    stage.route.ping = TextPing(text=lambda: "ping", every=15, within=10)
    async with stage.running():
        await asyncio.sleep(3_600)
        assert len(stage.peers) == 1
        assert stage.peers[0].pings == 239


async def test_where_only_changes_are_told_a_price_is_as_fresh_as_its_connection_for_a_while() -> None:
    stage = Stage()
    stage.route.quiet_seconds = 10
    async with stage.running():
        stage.stream.want(COINS[:2])
        await asyncio.sleep(1)
        stage.peers[0].say(mark="5", of="C00")
        await asyncio.sleep(0)
        told = _received(stage, "C00")
        ages = []
        for _ in range(12):
            await asyncio.sleep(1)
            stage.peers[0].say(mark="7", of="C01")
            await asyncio.sleep(0.001)
            ages.append(_received(stage, "C00") - told)
        assert ages[:9] == pytest.approx(range(1, 10), abs=0.1), "nothing of it has changed"
        assert ages[10:] == [0, 0], "a channel that is silent for longer is not believed"


async def test_where_every_symbol_has_a_pace_of_its_own_silence_is_age() -> None:
    stage = Stage()
    async with stage.running():
        stage.stream.want(COINS[:2])
        await asyncio.sleep(1)
        stage.peers[0].say(mark="5", of="C00")
        await asyncio.sleep(0.001)
        told = _received(stage, "C00")
        await asyncio.sleep(1)
        stage.peers[0].say(mark="7", of="C01")
        await asyncio.sleep(0.001)
        assert _received(stage, "C00") == told


async def test_a_new_connection_makes_no_price_of_the_old_one_fresh() -> None:
    stage = Stage(accepts_all, lambda _frame: [])
    stage.route.quiet_seconds = 10
    async with stage.running():
        stage.stream.want(COINS[:2])
        await asyncio.sleep(1)
        stage.peers[0].say(mark="5", of="C00")
        await asyncio.sleep(0.001)
        told = _received(stage, "C00")
        stage.peers[0].end()
        await asyncio.sleep(2)
        stage.peers[1].say(mark="7", of="C01")
        await asyncio.sleep(0.001)
        assert _received(stage, "C00") == told


def _received(stage: Stage, symbol: str) -> float:
    quote = stage.stream.quote(Symbol(symbol))
    assert quote is not None
    return quote.received
