"""What each venue tells of prices: every kind apart, nonsense dropped, trades where somebody goes by them."""

import asyncio
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest

from core.domain.ids import VenueName
from core.domain.reports import Report
from core.engine.ports import Quote
from core.errors import MalformedPayload
from core.venues import VenueAccess, connect_venue
from core.venues.binance.market_feed import MarkRoute, TouchRoute, TradeRoute
from core.venues.bybit.market_feed import TickerRoute
from core.venues.market_stream import PublicRoute, Tick
from core.venues.okx.market_feed import PriceRoute
from core.venues.symbols import SymbolTable
from tests.builders import BTC, an_instrument, price
from tests.fakes.sim_transport import Line, SimulatedVenue
from tests.fakes.virtual_loop import VirtualClock
from tests.venues.okx.builders import every_contract
from tests.venues.rigs import a_rig_at

VENUES = list(VenueName)
Frame = Callable[[str], dict[str, Any]]


async def _no_picture() -> Sequence[Tick]:
    return ()


def _table() -> SymbolTable:
    table = SymbolTable()
    table.replace([an_instrument()])
    return table


BINANCE_MARK = MarkRoute("ws://x", _table())
BINANCE_TOUCH = TouchRoute("ws://x", _table(), _no_picture)
BINANCE_TRADES = TradeRoute("ws://x", _table())
BYBIT = TickerRoute("ws://x", _table())


OKX = PriceRoute("ws://x", every_contract())


def _okx(channel: str, name: str) -> Frame:
    return lambda told: {
        "arg": {"channel": channel, "instId": "BTC-USDT-SWAP"},
        "data": [{"instId": "BTC-USDT-SWAP", "ts": "1", name: told}],
    }


def _bybit(name: str) -> Frame:
    return lambda told: {
        "topic": "tickers.BTCUSDT",
        "type": "snapshot",
        "data": {"symbol": "BTCUSDT", name: told},
        "ts": 1,
    }


FRAMES: dict[str, tuple[PublicRoute, Frame]] = {
    "binance mark": (BINANCE_MARK, lambda told: {"e": "markPriceUpdate", "s": "BTCUSDT", "p": told, "E": 1, "st": 1}),
    "binance bid": (
        BINANCE_TOUCH,
        lambda told: {"e": "bookTicker", "s": "BTCUSDT", "b": told, "a": "1", "T": 1, "st": 1},
    ),
    "binance trade": (BINANCE_TRADES, lambda told: {"e": "aggTrade", "s": "BTCUSDT", "p": told, "T": 1, "st": 1}),
    "bybit mark": (BYBIT, _bybit("markPrice")),
    "bybit trade": (BYBIT, _bybit("lastPrice")),
    "bybit bid": (BYBIT, _bybit("bid1Price")),
    "okx mark": (OKX, _okx("mark-price", "markPx")),
    "okx trade": (OKX, _okx("tickers", "last")),
    "okx bid": (OKX, _okx("tickers", "bidPx")),
}


def _told(route: PublicRoute, frame: dict[str, Any]) -> Tick:
    """On a connection that has told nothing else."""
    route.connected()
    told = route.decode(json.dumps(frame, separators=(",", ":")).encode())
    assert isinstance(told, Sequence)
    (tick,) = told
    return tick


@pytest.mark.failure("MKT-11")
@pytest.mark.parametrize("nonsense", ["NaN", "-1", "Infinity", "-0.5", "ten", "1e9999999"])
@pytest.mark.parametrize("what", FRAMES)
def test_a_price_that_cannot_be_is_dropped_with_its_frame(what: str, nonsense: str) -> None:
    route, frame = FRAMES[what]
    with pytest.raises(MalformedPayload):
        route.decode(json.dumps(frame(nonsense), separators=(",", ":")).encode())


@pytest.mark.failure("MKT-11")
@pytest.mark.parametrize("what", FRAMES)
def test_a_price_of_zero_is_no_price(what: str) -> None:
    route, frame = FRAMES[what]
    tick = _told(route, frame("0"))
    assert price(0) not in (tick.mark, tick.bid, tick.last)
    assert {tick.mark, tick.bid, tick.last} == {None}


@pytest.mark.failure("MKT-08")
@pytest.mark.parametrize(
    ("what", "field"),
    [(name, {"mark": "mark", "bid": "bid", "trade": "last"}[name.split()[1]]) for name in FRAMES],
)
def test_each_kind_of_price_has_a_field_of_its_own(what: str, field: str) -> None:
    route, frame = FRAMES[what]
    tick = _told(route, frame("77"))
    assert {name for name in ("mark", "bid", "last") if getattr(tick, name) == price(77)} == {field}


def test_a_symbol_missing_among_all_marks_gets_a_channel_of_its_own_and_its_frames_are_read() -> None:
    route = MarkRoute("ws://x", _table())
    assert route.channels([BTC.symbol]) == ("!markPrice@arr@1s",)
    assert route.anew([BTC.symbol]) == ["btcusdt@markPrice@1s"]
    assert route.channels([BTC.symbol]) == ("!markPrice@arr@1s", "btcusdt@markPrice@1s")
    tick = _told(route, {"e": "markPriceUpdate", "s": "BTCUSDT", "p": "5", "E": 1, "st": 1})
    assert (tick.mark, tick.channel) == (price(5), "btcusdt@markPrice@1s")
    route.connected()
    assert route.channels([BTC.symbol]) == ("!markPrice@arr@1s",), "the next connection begins anew"


async def _nothing(reports: Sequence[Report] = ()) -> None:
    del reports


async def _quote(venue: SimulatedVenue, name: VenueName, *, trades: bool) -> tuple[Quote, bool]:
    transport = Line(venue).transport()
    connection = connect_venue(
        VenueAccess(name=name, key="sim", secret="sim", passphrase="sim", base_url=venue.url, trades=trades),
        clock=VirtualClock(),
        transport=transport,
        sink=_nothing,
        on_connected=_nothing,
    )
    await connection.client.open()
    running = asyncio.create_task(connection.market.run())
    try:
        connection.market.want([BTC.symbol])
        await asyncio.sleep(5)
        quote = connection.market.quote(BTC.symbol)
        assert quote is not None
        return quote, connection.market.unasked
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await connection.client.close()


@pytest.mark.parametrize("name", VENUES)
async def test_the_last_trade_comes_where_somebody_goes_by_it(name: VenueName) -> None:
    venue = SimulatedVenue(name)
    try:
        quote, unasked = await _quote(venue, name, trades=True)
    finally:
        venue.stop()
    assert quote.last is not None
    assert quote.last_received is not None
    assert quote.mark is not None
    assert abs(quote.last - quote.mark) < quote.mark / 50
    assert unasked is (name is VenueName.BINANCE), "a socket for trades asks for nothing of unwanted symbols"


async def test_a_stream_of_trades_that_costs_extra_is_not_opened_for_nothing() -> None:
    venue = SimulatedVenue(VenueName.BINANCE)
    try:
        quote, _ = await _quote(venue, VenueName.BINANCE, trades=False)
    finally:
        venue.stop()
    assert (quote.last, quote.last_received) == (None, None)


@pytest.mark.parametrize("name", VENUES)
async def test_funding_is_the_venues_in_percent_with_its_time(name: VenueName) -> None:
    venue = SimulatedVenue(name)
    try:
        async with a_rig_at(venue, name, streaming=False) as rig:
            told = await rig.connection.reads.funding(BTC.symbol)
            truth = venue.simulation.engine.funding(rig.symbol)
            assert told is not None
            assert told.rate_percent == Decimal(str(truth.rate)) * 100
            assert told.due_ms == truth.next_ms > rig.clock.now_ms()
            assert len(rig.tap.asked) == 1
    finally:
        venue.stop()
