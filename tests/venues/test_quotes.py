"""What a quote says when its two sources disagree about the time, or one of them is gone."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from core.clock import SystemClock
from core.domain.ids import VenueName
from core.venues.binance.market_feed import MarkRoute, TouchRoute
from core.venues.market_stream import MarketStream, PublicRoute, Tick
from core.venues.symbols import SymbolTable
from tests.builders import BTC, an_instrument, price
from tests.fakes.fake_socket import GONE, FakeSocket, Frame

_INSTRUMENT = an_instrument()
_SYMBOL = BTC.symbol


async def _no_picture() -> Sequence[Tick]:
    return ()


def _book(time_ms: int, bid: str = "100", ask: str = "101") -> bytes:
    return (
        f'{{"e":"bookTicker","s":"{_INSTRUMENT.venue_symbol}","b":"{bid}","a":"{ask}","T":{time_ms},"st":1}}'.encode()
    )


def _marks(time_ms: int, mark: str) -> bytes:
    return f'[{{"s":"{_INSTRUMENT.venue_symbol}","p":"{mark}","E":{time_ms},"st":1}}]'.encode()


class _Heard(FakeSocket):
    """Plays the frames of the route it is opened for, then goes on as told."""

    def __init__(self, frames: Mapping[str, list[Frame]]) -> None:
        super().__init__([])
        self._frames = frames

    async def open(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        await super().open(url, headers)
        route = "marks" if "/market/" in url else "touch"
        self._script = [(0.0, frame) for frame in self._frames[route]]


@asynccontextmanager
async def _running(**frames: list[Any]) -> AsyncIterator[MarketStream]:
    symbols = SymbolTable()
    symbols.replace([_INSTRUMENT])
    routes: list[PublicRoute] = [MarkRoute("ws://x", symbols), TouchRoute("ws://x", symbols, _no_picture)]
    market = MarketStream(VenueName.BINANCE, routes, lambda: _Heard(frames), SystemClock())
    task = asyncio.create_task(market.run())
    for _ in range(20):  # every scripted frame is there at once: turns of the loop, no time
        await asyncio.sleep(0)
    try:
        yield market
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_mark_counts_although_the_book_has_a_later_stamp() -> None:
    async with _running(marks=[_marks(4_000, "150")], touch=[_book(5_000)]) as market:
        quote = market.quote(_SYMBOL)
        assert quote is not None
        assert (quote.mark, quote.bid, quote.ask) == (price(150), price(100), price(101))


async def test_an_older_mark_does_not_replace_a_newer_one() -> None:
    async with _running(marks=[_marks(4_000, "150"), _marks(3_000, "140")], touch=[]) as market:
        quote = market.quote(_SYMBOL)
        assert quote is not None
        assert quote.mark == price(150)


async def test_a_book_whose_connection_ended_is_not_quoted_as_fresh() -> None:
    async with _running(marks=[_marks(4_000, "150")], touch=[_book(5_000), GONE]) as market:
        quote = market.quote(_SYMBOL)
        assert quote is not None
        assert (quote.mark, quote.bid, quote.ask) == (price(150), None, None)


async def test_marks_outlive_their_connection_and_age() -> None:
    async with _running(marks=[_marks(4_000, "150"), GONE], touch=[_book(5_000)]) as market:
        quote = market.quote(_SYMBOL)
        assert quote is not None
        assert (quote.mark, quote.venue_time_ms) == (price(150), 4_000)


async def test_a_symbol_nobody_spoke_of_has_no_quote() -> None:
    async with _running(marks=[], touch=[]) as market:
        assert market.quote(_SYMBOL) is None
