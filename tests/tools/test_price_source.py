"""What the benchmark of exits puts between a venue and the daemon: whole and unaltered but for the prices."""

import asyncio
import json

import yarl

from tools.bench.price_wire import price_wire
from tools.bench.processes import simulator
from tools.bench.venues import BINANCE

SUBSCRIBE = '{"method":"SUBSCRIBE","params":["btcusdt@markPrice@1s"],"id":1}'


async def test_prices_are_fed_in_the_place_of_the_venues_and_the_decisive_one_always_leaves() -> None:
    async with simulator(BINANCE, latency_ms=0, symbols=2) as venue, price_wire(venue) as wire, asyncio.timeout(20):
        socket = wire.transport("binance").socket()
        await socket.open(str(yarl.URL(venue.url).with_scheme("ws") / "market/ws"))
        await socket.send(SUBSCRIBE)
        while b'"id":1' not in await socket.receive():
            pass

        wire.feed({"BTCUSDT": ["1", "2"]}, 500.0)
        await asyncio.sleep(0.1)  # the venue's own price may have been on its way
        while price(await socket.receive()) != "1":
            pass
        fed = [price(await socket.receive()) for _ in range(20)]
        wire.decide("BTCUSDT", ["7", "8"])
        told = await wire.rest()
        await socket.send(SUBSCRIBE.replace("1}", "2}"))
        left = []
        while b'"id":2' not in (frame := await socket.receive()):
            left.append(price(frame))
        await socket.close()

    assert fed == ["2", "1"] * 10
    assert [len(moments) for moments in told.decisive.values()] == [1]
    assert "7" in left
    assert told.prices >= len(fed)


def price(frame: bytes) -> str | None:
    told: str | None = json.loads(frame).get("p")
    return told
