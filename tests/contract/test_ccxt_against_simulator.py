"""Unmodified ccxt, pointed at each venue's simulator by base URLs only, trades as it does against the venue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ccxt
import pytest

from tests.contract.ccxt_venues import BTC, ETH_USDC, SPELLINGS, Spelling
from tests.contract.simulator import PATIENCE_S, Venue, running

WAIT_S = 0.02
ATTACHING = [spelling for spelling in SPELLINGS if spelling.attaches]


def _name(spelling: Spelling) -> str:
    return spelling.name


@pytest.fixture(scope="module", params=SPELLINGS, ids=_name)
def spelling(request: pytest.FixtureRequest) -> Spelling:
    found: Spelling = request.param
    return found


@pytest.fixture
def venue(project_root: Path, spelling: Spelling) -> Iterator[Venue]:
    with running(project_root, spelling.name.removesuffix("usdm")) as found:
        yield found


@pytest.fixture(scope="module")
def shared_venue(project_root: Path, spelling: Spelling) -> Iterator[Venue]:
    """For tests that leave the account as they found it."""
    with running(project_root, spelling.name.removesuffix("usdm")) as found:
        yield found


@pytest.fixture
async def exchange(venue: Venue, spelling: Spelling) -> AsyncIterator[Any]:
    async with _started(spelling.client(venue)) as client:
        yield client


@pytest.fixture
async def watcher(venue: Venue, spelling: Spelling) -> AsyncIterator[Any]:
    async with _started(spelling.watcher(venue)) as client:
        yield client


@pytest.fixture
async def guest(shared_venue: Venue, spelling: Spelling) -> AsyncIterator[Any]:
    """A client, sockets included, of the shared venue."""
    async with _started(spelling.watcher(shared_venue)) as client:
        yield client


@asynccontextmanager
async def _started(client: Any) -> AsyncIterator[Any]:
    try:
        await client.load_markets()
        yield client
    finally:
        await client.close()


async def test_the_market_is_read(guest: Any) -> None:
    assert {BTC, ETH_USDC} <= guest.markets.keys()
    ticker = await guest.fetch_ticker(BTC)
    assert len(await guest.fetch_tickers()) == 40
    book = await guest.fetch_order_book(BTC, 20)
    assert book["bids"][0][0] < book["asks"][0][0]
    assert abs(ticker["last"] / book["bids"][0][0] - 1) < 0.05
    assert len(await guest.fetch_ohlcv(BTC, "1m", limit=60)) == 60
    assert await guest.fetch_trades(BTC, limit=20)
    assert (await guest.fetch_funding_rate(BTC))["fundingRate"] is not None
    assert await guest.fetch_funding_rate_history(BTC, limit=3)
    assert (await guest.fetch_open_interest(BTC))["openInterestAmount"] > 0
    assert abs(await guest.fetch_time() - guest.milliseconds()) < 60_000


async def test_the_account_is_read_and_set(exchange: Any, venue: Venue, spelling: Spelling) -> None:
    balance = await exchange.fetch_balance()
    assert (balance["USDT"]["free"], balance["USDC"]["total"]) == (10_000, 10_000)
    await exchange.set_leverage(5, BTC)
    leverage = await exchange.fetch_leverage(BTC, {"marginMode": "cross"})
    assert leverage["longLeverage"] == 5
    if spelling.account_margin_mode:
        await exchange.set_margin_mode("isolated")
    await exchange.create_order(BTC, "market", "buy", spelling.lot)
    (position,) = await exchange.fetch_positions([BTC])
    assert (position["contracts"], position["hedged"]) == (spelling.lot, False)
    assert venue.state()["positions"][0]["leverage"] == 5
    assert (await exchange.fetch_trading_fee(BTC))["taker"] > 0
    with pytest.raises(ccxt.ExchangeError):
        await exchange.set_position_mode(True, BTC)


async def test_a_wrong_secret_is_refused(guest: Any) -> None:
    guest.secret = "other"
    with pytest.raises(ccxt.AuthenticationError):
        await guest.fetch_balance()


async def test_a_position_is_opened_protected_and_closed(exchange: Any, venue: Venue, spelling: Spelling) -> None:
    entry = await exchange.create_order(BTC, "market", "buy", spelling.lot)
    if spelling.answers_in_full:
        assert (entry["status"], entry["filled"]) == ("closed", spelling.lot)
    known = await exchange.fetch_order(entry["id"], BTC, dict(spelling.fetch_params))
    assert (known["status"], known["filled"]) == ("closed", spelling.lot)
    (position,) = await exchange.fetch_positions([BTC])
    assert (position["side"], position["contracts"]) == ("long", spelling.lot)
    price = position["entryPrice"]

    stop = await _protect(exchange, spelling, round(price * 0.98))
    assert await exchange.fetch_open_orders(BTC) == [] or not spelling.answers_in_full
    (waiting,) = await exchange.fetch_open_orders(BTC, params=dict(spelling.waiting))
    assert waiting["id"] == stop["id"]
    (seen,) = venue.state()["orders"]
    assert (seen["type"], seen["qty"], seen["stop_price"]) == ("stop", str(spelling.base), str(round(price * 0.98)))

    if spelling.moves_stop is not None:
        moved = {spelling.moved_is: str(round(price * 0.97)), **spelling.move_params}
        await exchange.edit_order(stop["id"], BTC, spelling.moves_stop, "sell", None, None, moved)
        assert venue.state()["orders"][0]["stop_price"] == str(round(price * 0.97))
    await exchange.cancel_order(stop["id"], BTC, {"trigger": True})
    assert await exchange.fetch_open_orders(BTC, params=dict(spelling.waiting)) == []

    await exchange.create_order(BTC, "market", "sell", spelling.lot / 2, None, {"reduceOnly": True})
    assert (await exchange.fetch_positions([BTC]))[0]["contracts"] == spelling.lot / 2
    await exchange.create_order(BTC, "market", "sell", spelling.lot / 2, None, {"reduceOnly": True})
    assert venue.state()["positions"] == []
    assert not [row for row in await exchange.fetch_positions([BTC]) if row["contracts"]]
    trades = await exchange.fetch_my_trades(BTC)
    assert [trade["side"] for trade in trades] == ["buy", "sell", "sell"]
    assert all(trade["fee"]["cost"] > 0 for trade in trades)
    with pytest.raises(ccxt.ExchangeError):
        await exchange.create_order(BTC, "market", "sell", spelling.lot, None, {"reduceOnly": True})


async def test_a_stop_that_fires_closes_the_position(exchange: Any, venue: Venue, spelling: Spelling) -> None:
    entry = await exchange.create_order(BTC, "market", "buy", spelling.lot)
    known = await exchange.fetch_order(entry["id"], BTC, dict(spelling.fetch_params))
    await _protect(exchange, spelling, round(known["average"] * 0.98))
    venue.set_price(spelling.venue_symbol, str(round(known["average"] * 0.97)))
    assert venue.state()["positions"] == []
    assert not [row for row in await exchange.fetch_positions([BTC]) if row["contracts"]]
    assert [trade["side"] for trade in await exchange.fetch_my_trades(BTC)] == ["buy", "sell"]
    assert await exchange.fetch_open_orders(BTC, params=dict(spelling.waiting)) == []


@pytest.mark.parametrize("spelling", ATTACHING, ids=_name, indirect=True)
async def test_an_entry_brings_its_stop(exchange: Any, venue: Venue, spelling: Spelling) -> None:
    last = (await exchange.fetch_ticker(BTC))["last"]
    legs = {"stopLoss": {"triggerPrice": round(last * 0.98)}, "takeProfit": {"triggerPrice": round(last * 1.02)}}
    await exchange.create_order(BTC, "market", "buy", spelling.lot, None, legs)
    assert sorted(row["type"] for row in venue.state()["orders"]) == ["stop", "take_profit"]
    (life,) = venue.protection()
    assert (life["max_unprotected_ms"], life["naked_now_ms"]) == (0, 0)
    venue.set_price(spelling.venue_symbol, str(round(last * 0.97)))
    assert (venue.state()["positions"], venue.state()["orders"]) == ([], [])


async def test_a_trailing_stop_follows_the_price(exchange: Any, venue: Venue, spelling: Spelling) -> None:
    await exchange.create_order(BTC, "market", "buy", spelling.lot)
    start = (await exchange.fetch_positions([BTC]))[0]["entryPrice"]
    await exchange.create_order(BTC, "market", "sell", spelling.lot, None, dict(spelling.trailing))
    assert [row["type"] for row in venue.state()["orders"]] == ["trailing"]
    venue.set_price(spelling.venue_symbol, str(round(start * 1.03)))
    assert float(venue.state()["orders"][0]["stop_price"]) > start * 1.01
    venue.set_price(spelling.venue_symbol, str(round(start * 1.01)))
    assert (venue.state()["positions"], venue.state()["orders"]) == ([], [])


async def test_both_sides_are_held_in_hedge_mode(exchange: Any, venue: Venue, spelling: Spelling) -> None:
    await exchange.set_position_mode(True, BTC)
    await exchange.create_order(BTC, "market", "buy", spelling.lot, None, {"hedged": True})
    await exchange.create_order(BTC, "market", "sell", spelling.lot / 2, None, {"hedged": True})
    rows = await exchange.fetch_positions([BTC])
    assert sorted((row["side"], row["contracts"]) for row in rows) == [
        ("long", spelling.lot),
        ("short", spelling.lot / 2),
    ]
    assert all(row["hedged"] for row in rows)
    price = rows[0]["entryPrice"]
    await _protect(exchange, spelling, round(price * 0.98), spelling.long_stop)
    venue.set_price(spelling.venue_symbol, str(round(price * 0.97)))
    assert [row["side"] for row in venue.state()["positions"]] == ["short"]
    await exchange.create_order(BTC, "market", "buy", spelling.lot / 2, None, {"hedged": True, "reduceOnly": True})
    assert venue.state()["positions"] == []


async def test_limit_orders_are_amended_queried_and_cancelled(guest: Any, spelling: Spelling) -> None:
    bid = (await guest.fetch_ticker(ETH_USDC))["last"] * 0.97
    first, second = float(round(bid)), float(round(bid)) - 10
    amount = guest.markets[ETH_USDC]["limits"]["amount"]["min"] * 10
    order = await guest.create_order(ETH_USDC, "limit", "buy", amount, first, {"clientOrderId": "mine1"})
    with pytest.raises(ccxt.ExchangeError):
        await guest.create_order(ETH_USDC, "limit", "buy", amount, first, {"clientOrderId": "mine1"})
    await guest.edit_order(order["id"], ETH_USDC, "limit", "buy", amount * 2, second)
    (found,) = await guest.fetch_open_orders(ETH_USDC)
    assert (found["id"], found["amount"], found["price"]) == (order["id"], amount * 2, second)
    assert found["clientOrderId"] == "mine1"
    await guest.cancel_order(order["id"], ETH_USDC)
    known = await guest.fetch_order(order["id"], ETH_USDC, dict(spelling.fetch_params))
    assert (known["status"], known["filled"]) == ("canceled", 0)
    with pytest.raises(ccxt.OrderNotFound):
        await guest.cancel_order(order["id"], ETH_USDC)
    rows = [
        {"symbol": ETH_USDC, "type": "limit", "side": "buy", "amount": amount, "price": price}
        for price in (first, second)
    ]
    placed = await guest.create_orders(rows)
    assert len(await guest.fetch_open_orders(ETH_USDC)) == 2
    await guest.cancel_orders([row["id"] for row in placed], ETH_USDC)
    assert await guest.fetch_open_orders(ETH_USDC) == []


async def test_private_streams_tell_what_an_order_does(watcher: Any, venue: Venue, spelling: Spelling) -> None:
    heard: dict[str, list[Any]] = {"orders": [], "positions": [], "trades": [], "balance": []}
    pumps = [
        asyncio.create_task(_pump(lambda: watcher.watch_orders(BTC), heard["orders"])),
        asyncio.create_task(_pump(lambda: watcher.watch_positions([BTC]), heard["positions"])),
        asyncio.create_task(_pump(lambda: watcher.watch_my_trades(BTC), heard["trades"])),
        asyncio.create_task(_pump(watcher.watch_balance, heard["balance"])),
    ]
    try:
        await _listening(watcher, venue, spelling)
        await watcher.create_order(BTC, "market", "buy", spelling.lot)
        await _until(lambda: bool(watcher.orders) and watcher.orders[-1]["status"] == "closed", pumps)
        await _until(lambda: any(row["contracts"] == spelling.lot for row in _rows(heard["positions"])), pumps)
        await _until(lambda: sum(row["amount"] for row in _rows(heard["trades"])) >= spelling.lot, pumps)
        await _until(lambda: any(row["USDT"]["total"] < 10_000 for row in heard["balance"]), pumps)
        assert watcher.orders[-1]["filled"] == spelling.lot
        assert watcher.orders[-1]["average"] > 0
    finally:
        await _stop(pumps)


async def test_public_streams_tell_the_market(guest: Any, spelling: Spelling) -> None:
    assert (await _within(guest.watch_ticker(BTC)))["last"] > 0
    assert await _within(guest.watch_tickers([BTC, ETH_USDC]))
    assert (await _within(guest.watch_trades(BTC)))[0]["price"] > 0
    assert (await _within(guest.watch_ohlcv(BTC, "1m")))[-1][4] > 0
    book = await _within(guest.watch_order_book(BTC))
    assert book["bids"][0][0] < book["asks"][0][0]


async def test_orders_go_over_the_trading_socket(guest: Any, shared_venue: Venue) -> None:
    last = (await guest.fetch_ticker(BTC))["last"]
    first, second = round(last * 0.97), round(last * 0.97) - 10
    amount = guest.markets[BTC]["limits"]["amount"]["min"] * 10
    order = await _within(guest.create_order_ws(BTC, "limit", "buy", amount, first))
    changed = await _within(guest.edit_order_ws(order["id"], BTC, "limit", "buy", amount * 2, second))
    assert changed["id"] == order["id"]
    assert shared_venue.state()["orders"][0]["price"] == str(second)
    assert (await _within(guest.cancel_order_ws(order["id"], BTC)))["id"] == order["id"]
    assert shared_venue.state()["orders"] == []


async def _protect(
    exchange: Any, spelling: Spelling, trigger: float, more: Mapping[str, Any] = MappingProxyType({})
) -> Any:
    given = {spelling.stop_is: trigger, **spelling.stop_params, **more}
    params = {name: value for name, value in given.items() if value is not None}
    return await exchange.create_order(BTC, "market", "sell", spelling.lot, None, params)


async def _pump(watch: Callable[[], Awaitable[Any]], heard: list[Any]) -> None:
    while True:
        heard.append(await watch())


async def _listening(watcher: Any, venue: Venue, spelling: Spelling) -> None:
    """Until every private channel is subscribed: at a venue without commands for it, until the socket is open."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            lines = await asyncio.to_thread(venue.requests)
            answered = [line for line in lines if line["method"] == "WS" and line["answered"] is not None]
            sockets = [client for url, client in watcher.clients.items() if url.startswith("ws")]
            open_ones = [client for client in sockets if client.connected.done()]
            if open_ones == sockets != [] and len(answered) >= spelling.subscriptions:
                return
            await asyncio.sleep(WAIT_S)


async def _until(true: Callable[[], bool], pumps: list[asyncio.Task[None]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            for pump in pumps:
                if pump.done():
                    pump.result()
            await asyncio.sleep(WAIT_S)


async def _stop(pumps: list[asyncio.Task[None]]) -> None:
    for pump in pumps:
        pump.cancel()
        with suppress(asyncio.CancelledError):
            await pump


def _rows(heard: list[Any]) -> list[Any]:
    return [row for rows in heard for row in rows]


async def _within(awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, PATIENCE_S)
