"""Public streams: a desired set of channels, put up again after every reconnect; bad data is set aside."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from core.domain.ids import InstrumentId, Symbol, VenueName
from core.errors import MalformedPayload
from core.venues.binance.market_feed import MarkRoute, TouchRoute
from core.venues.market_stream import MarketStream, Tick
from core.venues.reconnecting import Backoff
from core.venues.symbols import SymbolTable
from tests.builders import an_instrument
from tests.fakes.fake_socket import GONE, FakeSocket
from tests.fakes.virtual_loop import VirtualClock

PAIRS = [Symbol(f"C{n:03}/USDT:USDT") for n in range(230)]
BTC, ETH = Symbol("BTC/USDT:USDT"), Symbol("ETH/USDT:USDT")


def _symbols() -> SymbolTable:
    table = SymbolTable()
    table.replace([an_instrument(InstrumentId(VenueName.BINANCE, symbol)) for symbol in (BTC, ETH, *PAIRS)])
    return table


async def _no_picture() -> Sequence[Tick]:
    return ()


class Stage:
    """The stream over scripted sockets, by route."""

    def __init__(self, **scripts: list[FakeSocket]) -> None:
        table = _symbols()
        self._scripts = scripts
        self.opened: dict[str, list[FakeSocket]] = {"market": [], "public": []}
        self.stream = MarketStream(
            VenueName.BINANCE,
            [MarkRoute("ws://venue", table), TouchRoute("ws://venue", table, _no_picture)],
            self._socket,
            VirtualClock(),
            backoff=lambda: Backoff(jitter=lambda: 0.5),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.stream.run(), name="market")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    def subscribed(self, route: str, number: int = -1) -> list[str]:
        """What is subscribed on that connection in the end, in the order it was first asked for."""
        found: dict[str, bool] = {}
        for frame in self.opened[route][number].sent:
            found.update(dict.fromkeys(frame["params"], frame["method"] == "SUBSCRIBE"))
        return [name for name, subscribed in found.items() if subscribed]

    def _socket(self) -> "Routed":
        return Routed(self)

    def take(self, route: str) -> FakeSocket:
        waiting = self._scripts.get(route, [])
        socket = waiting.pop(0) if waiting else FakeSocket([])
        self.opened[route].append(socket)
        return socket


class Routed:
    """Becomes the next scripted socket of the route it is opened for."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._inner = FakeSocket([])

    async def open(self, url: str, headers: Any = None) -> None:
        self._inner = self._stage.take(url.split("/")[3])
        await self._inner.open(url, headers)

    async def send(self, text: str) -> None:
        await self._inner.send(text)

    async def receive(self) -> bytes:
        return await self._inner.receive()

    async def ping(self) -> None:
        await self._inner.ping()

    async def close(self) -> None:
        await self._inner.close()


async def test_marks_of_all_come_on_one_channel_and_books_on_wanted_ones() -> None:
    stage = Stage()
    async with stage.running():
        stage.stream.want([BTC, ETH, Symbol("NOSUCH/USDT:USDT")])
        await asyncio.sleep(1)
        assert stage.subscribed("market") == ["!markPrice@arr@1s"]
        assert stage.subscribed("public") == ["!bookTicker", "btcusdt@bookTicker", "ethusdt@bookTicker"]
        assert [socket.url for socket in stage.opened["market"]] == ["ws://venue/market/ws"]


async def test_the_desired_set_is_put_up_whole_and_in_batches_after_every_reconnect() -> None:
    drops = [FakeSocket([(10, GONE)]) for _ in range(5)]
    stage = Stage(public=drops)
    async with stage.running():
        stage.stream.want(PAIRS)
        await asyncio.sleep(300)
        assert len(stage.opened["public"]) == 6
        expected = ["!bookTicker"] + [f"{symbol.partition('/')[0].lower()}usdt@bookTicker" for symbol in PAIRS]
        for number, socket in enumerate(stage.opened["public"]):
            assert stage.subscribed("public", number) == expected
            assert [len(frame["params"]) for frame in socket.sent[:3]] == [100, 100, 31]
            assert len({frame["id"] for frame in socket.sent}) == len(socket.sent)
        assert len(stage.opened["market"]) == 1, "the other route is not disturbed"


@pytest.mark.parametrize("wanted_ms", range(9_500, 11_500, 100))
async def test_a_symbol_wanted_at_any_moment_around_a_drop_ends_subscribed(wanted_ms: int) -> None:
    stage = Stage(public=[FakeSocket([(10, GONE)]), FakeSocket([(0.5, GONE)])])
    async with stage.running():
        await asyncio.sleep(wanted_ms / 1_000)
        stage.stream.want([BTC])
        await asyncio.sleep(20)
        assert stage.subscribed("public") == ["!bookTicker", "btcusdt@bookTicker"]


async def test_wanting_again_subscribes_nothing_twice() -> None:
    stage = Stage()
    async with stage.running():
        stage.stream.want([BTC])
        await asyncio.sleep(1)
        stage.stream.want([BTC, ETH])
        await asyncio.sleep(1)
        assert stage.subscribed("public") == ["!bookTicker", "btcusdt@bookTicker", "ethusdt@bookTicker"]


async def test_a_bad_frame_is_counted_and_the_next_one_read() -> None:
    mark = {"e": "markPriceUpdate", "s": "BTCUSDT", "p": "77000.1", "T": 5, "E": 4, "st": 1}
    frames = [b"\x00", b"{}", b'[{"s":1}]', json.dumps([mark | {"p": "NaN"}]).encode(), json.dumps([mark]).encode()]
    stage = Stage(market=[FakeSocket([(0, frame) for frame in frames])])
    async with stage.running():
        await asyncio.sleep(1)
        quote = stage.stream.quote(BTC)
        assert quote is not None
        assert quote.mark == Decimal("77000.1")
        assert stage.stream.counts["malformed"] == 2
        assert len(stage.opened["market"]) == 1


@pytest.mark.failure("UDS-07")
async def test_a_half_open_public_socket_is_replaced_within_thirty_seconds() -> None:
    class Mute(FakeSocket):
        async def ping(self) -> None:
            await asyncio.sleep(1e9)

    stage = Stage(public=[Mute([])], market=[Mute([])])
    async with stage.running():
        stage.stream.want([BTC])
        await asyncio.sleep(30)
        assert [len(sockets) for sockets in stage.opened.values()] == [2, 2]
        assert stage.subscribed("public") == ["!bookTicker", "btcusdt@bookTicker"]


def test_coin_margined_marks_in_the_same_array_are_not_ours() -> None:
    rows = [{"s": "BTCUSDT", "p": "1", "E": 4, "st": 2}, {"s": "ETHUSDT", "p": "2", "E": 4, "st": 1}]
    ticks = MarkRoute("ws://venue", _symbols()).decode(json.dumps(rows).encode())
    assert ticks is not None
    assert [(tick.symbol, tick.mark) for tick in ticks] == [(ETH, Decimal(2))]


@pytest.mark.parametrize("bad", ["-1", "NaN", "Infinity", "1e400x", ""])
def test_a_price_that_cannot_be_is_refused(bad: str) -> None:
    frame = {"e": "bookTicker", "s": "BTCUSDT", "b": bad, "a": "2", "T": 1, "st": 1}
    with pytest.raises(MalformedPayload):
        TouchRoute("ws://venue", _symbols(), _no_picture).decode(json.dumps(frame, separators=(",", ":")).encode())


def test_an_empty_side_of_the_book_is_no_price() -> None:
    frame = {"e": "bookTicker", "s": "BTCUSDT", "b": "0", "a": "2", "T": 1, "st": 1}
    ticks = TouchRoute("ws://venue", _symbols(), _no_picture).decode(json.dumps(frame, separators=(",", ":")).encode())
    assert ticks is not None
    assert (ticks[0].bid, ticks[0].ask) == (None, 2)


async def test_a_dropped_symbol_is_unsubscribed_and_not_put_up_again() -> None:
    stage = Stage(public=[FakeSocket([(10, GONE)])])
    async with stage.running():
        stage.stream.want([BTC, ETH])
        await asyncio.sleep(1)
        stage.stream.drop([ETH])
        await asyncio.sleep(1)
        assert [(f["method"], f["params"]) for f in stage.opened["public"][0].sent][-1] == (
            "UNSUBSCRIBE",
            ["ethusdt@bookTicker"],
        )
        await asyncio.sleep(20)
        assert stage.subscribed("public") == ["!bookTicker", "btcusdt@bookTicker"]


async def test_the_age_of_the_touch_is_told_apart_from_that_of_the_mark() -> None:
    """The touch of a symbol nobody wanted comes every 5 s at best, and only when it moved; its mark every second."""
    mark = {"e": "markPriceUpdate", "s": "BTCUSDT", "p": "77000.1", "E": 4, "st": 1}
    touch = {"e": "bookTicker", "s": "BTCUSDT", "b": "77000", "a": "77001", "T": 5, "st": 1}
    frame = json.dumps(touch, separators=(",", ":")).encode()
    stage = Stage(market=[FakeSocket([(0, _array(mark)), (4, _array(mark))])], public=[FakeSocket([(1, frame)])])
    async with stage.running():
        await asyncio.sleep(0.5)
        quote = stage.stream.quote(BTC)
        assert quote is not None
        assert quote.touch_received is None
        await asyncio.sleep(5)
        quote = stage.stream.quote(BTC)
        assert quote is not None
        assert quote.touch_received is not None
        assert (quote.bid, quote.ask) == (77000, 77001)
        assert quote.received - quote.touch_received == pytest.approx(3, abs=0.01)


def _array(*rows: dict[str, Any]) -> bytes:
    return json.dumps(rows).encode()


@pytest.mark.parametrize("route", [MarkRoute, TouchRoute])
def test_a_frame_nested_too_deep_is_refused_as_any_other_nonsense(route: type[Any]) -> None:
    deep = b'[{"x":' + b"[" * 5_000 if route is MarkRoute else b'{"e":"bookTicker","x":' + b"[" * 5_000
    made = route("ws://venue", _symbols()) if route is MarkRoute else route("ws://venue", _symbols(), _no_picture)
    with pytest.raises(MalformedPayload):
        made.decode(deep)


async def test_a_connection_that_ends_in_the_step_of_the_stop_does_not_begin_anew() -> None:
    """A venue that goes away while the daemon stops must not keep it alive."""
    stage = Stage(market=[FakeSocket([(5.0, GONE)])], public=[FakeSocket([(5.0, GONE)])])
    task = asyncio.create_task(stage.stream.run(), name="market")
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_at(asyncio.get_running_loop().time() + 5.0, task.cancel)
    done, _ = await asyncio.wait([task], timeout=60)
    assert done, "it was told to end and goes on"
    assert [len(opened) for opened in stage.opened.values()] == [1, 1]
