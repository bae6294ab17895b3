"""Unmodified ccxt, pointed at the simulator by base URLs only, trades as it does against the venue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import ccxt
import ccxt.async_support
import ccxt.pro
import pytest

from tests.contract.simulator import PATIENCE_S, Venue, running

BTC = "BTC/USDT:USDT"
ETH_USDC = "ETH/USDC:USDC"


@pytest.fixture
def venue(project_root: Path) -> Iterator[Venue]:
    with running(project_root) as found:
        yield found


def _point(client: Any, venue: Venue) -> Any:
    """Replaces scheme and host of every base URL and nothing else."""
    for name, url in client.urls["api"].items():
        if isinstance(url, str):
            client.urls["api"][name] = f"{venue.url}/{url.split('/', 3)[3]}"
    if "ws" in client.urls["api"]:
        client.urls["api"]["ws"]["linear"] = f"{venue.ws}/ws"
        client.urls["api"]["ws"]["ws-api"]["linear"] = f"{venue.ws}/ws-fapi/v1"
    return client


@pytest.fixture
async def exchange(venue: Venue) -> AsyncIterator[Any]:
    client = _point(ccxt.async_support.binanceusdm({"apiKey": "sim", "secret": "sim"}), venue)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def watcher(venue: Venue) -> AsyncIterator[Any]:
    client = _point(ccxt.pro.binanceusdm({"apiKey": "sim", "secret": "sim"}), venue)
    try:
        yield client
    finally:
        await client.close()


async def test_a_position_is_opened_protected_and_closed(exchange: Any, venue: Venue) -> None:
    markets = await exchange.load_markets()
    assert {BTC, ETH_USDC} <= markets.keys()
    assert (await exchange.fetch_balance())["USDT"]["free"] == 10_000

    entry = await exchange.create_order(BTC, "market", "buy", 0.01)
    assert (entry["status"], entry["filled"]) == ("closed", 0.01)
    position = (await exchange.fetch_positions([BTC]))[0]
    assert (position["side"], position["contracts"], position["marginMode"]) == ("long", 0.01, "cross")

    stop_price = round(position["entryPrice"] * 0.98, 1)
    stop = await exchange.create_order(
        BTC, "market", "sell", 0.01, None, {"triggerPrice": stop_price, "reduceOnly": True, "workingType": "MARK_PRICE"}
    )
    assert (stop["status"], stop["triggerPrice"]) == ("open", stop_price)
    assert await exchange.fetch_open_orders(BTC) == []
    waiting = await exchange.fetch_open_orders(BTC, params={"trigger": True})
    assert [order["id"] for order in waiting] == [stop["id"]]

    await exchange.cancel_order(stop["id"], BTC, {"trigger": True})
    assert await exchange.fetch_open_orders(BTC, params={"trigger": True}) == []
    closed = await exchange.create_order(BTC, "market", "sell", 0.01, None, {"reduceOnly": True})
    assert closed["status"] == "closed"
    assert await exchange.fetch_positions([BTC]) == []
    assert venue.state()["positions"] == []
    trades = await exchange.fetch_my_trades(BTC)
    assert [trade["side"] for trade in trades] == ["buy", "sell"]


async def test_a_stop_that_fires_leaves_a_filled_child_with_its_id(exchange: Any, venue: Venue) -> None:
    await exchange.load_markets()
    await exchange.create_order(BTC, "market", "buy", 0.01)
    stop = await exchange.create_order(BTC, "market", "sell", 0.01, None, {"triggerPrice": 70_000, "reduceOnly": True})
    venue.set_price("BTCUSDT", "69000")
    child = await exchange.fetch_order("", BTC, {"clientOrderId": stop["clientOrderId"]})
    assert (child["status"], child["filled"], child["side"]) == ("closed", 0.01, "sell")
    assert await exchange.fetch_positions([BTC]) == []


async def test_limit_orders_are_amended_queried_and_cancelled(exchange: Any) -> None:
    await exchange.load_markets()
    order = await exchange.create_order(ETH_USDC, "limit", "buy", 0.1, 2_350, {"clientOrderId": "mine-1"})
    await exchange.edit_order(order["id"], ETH_USDC, "limit", "buy", 0.2, 2_340)
    found = await exchange.fetch_order(order["id"], ETH_USDC)
    assert (found["status"], found["amount"], found["price"], found["clientOrderId"]) == ("open", 0.2, 2_340, "mine-1")
    await exchange.cancel_order(None, ETH_USDC, {"clientOrderId": "mine-1"})
    rows = [
        {"symbol": BTC, "type": "limit", "side": "buy", "amount": 0.01, "price": price} for price in (74_000, 74_100)
    ]
    placed = await exchange.create_orders(rows)
    cancelled = await exchange.cancel_orders([row["id"] for row in placed], BTC)
    assert [row["status"] for row in cancelled] == ["canceled", "canceled"]
    with pytest.raises(ccxt.OrderNotFound):
        await exchange.cancel_order(order["id"], ETH_USDC)


async def test_settings_and_market_data_are_read(exchange: Any) -> None:
    await exchange.load_markets()
    assert (await exchange.set_leverage(5, BTC))["leverage"] == 5
    await exchange.set_margin_mode("isolated", BTC)
    with pytest.raises(ccxt.MarginModeAlreadySet):
        await exchange.set_margin_mode("isolated", BTC)
    leverage = (await exchange.fetch_leverages([BTC]))[BTC]
    assert (leverage["longLeverage"], leverage["marginMode"]) == (5, "isolated")
    assert (await exchange.fetch_leverage_tiers([BTC]))[BTC][0]["maxLeverage"] == 150
    ticker = await exchange.fetch_ticker(BTC)
    book = await exchange.fetch_order_book(BTC, 20)
    assert book["bids"][0][0] < book["asks"][0][0]
    assert abs(ticker["last"] / book["bids"][0][0] - 1) < 0.05
    assert len(await exchange.fetch_ohlcv(BTC, "1m", limit=60)) == 60
    assert (await exchange.fetch_funding_rate(BTC))["fundingRate"] == 0.0001
    assert (await exchange.fetch_open_interest(BTC))["openInterestAmount"] > 0
    assert len(await exchange.fetch_bids_asks()) == 40
    assert abs(await exchange.fetch_time() - exchange.milliseconds()) < 60_000


async def test_a_wrong_secret_is_refused(exchange: Any) -> None:
    exchange.secret = "other"
    with pytest.raises(ccxt.AuthenticationError):
        await exchange.fetch_balance()


async def test_the_client_for_all_markets_starts_too(venue: Venue) -> None:
    client = _point(ccxt.async_support.binance({"apiKey": "sim", "secret": "sim"}), venue)
    try:
        assert BTC in await client.load_markets()
    finally:
        await client.close()


async def test_streams_tell_orders_positions_and_prices(watcher: Any) -> None:
    await watcher.load_markets()
    assert await _within(watcher.watch_positions([BTC])) == []
    orders = asyncio.create_task(watcher.watch_orders(BTC))
    positions = asyncio.create_task(watcher.watch_positions([BTC]))
    trades = asyncio.create_task(watcher.watch_my_trades(BTC))
    await asyncio.sleep(0)
    placed = await watcher.create_order(BTC, "market", "buy", 0.01)
    assert (await _within(orders))[0]["id"] == placed["id"]
    assert (await _within(positions))[0]["contracts"] == 0.01
    assert (await _within(trades))[0]["amount"] == 0.01
    latest = watcher.orders[-1]
    assert (latest["status"], latest["filled"], latest["average"] > 0) == ("closed", 0.01, True)

    assert (await _within(watcher.watch_ticker(BTC)))["last"] > 0
    assert (await _within(watcher.watch_bids_asks([BTC])))[BTC]["bid"] > 0
    assert (await _within(watcher.watch_mark_price(BTC)))["markPrice"] > 0
    assert (await _within(watcher.watch_ohlcv(BTC, "1m")))[-1][4] > 0
    book = await _within(watcher.watch_order_book(BTC))
    assert book["bids"][0][0] < book["asks"][0][0]
    assert (await _within(watcher.watch_trades(BTC)))[0]["price"] > 0


async def test_orders_go_over_the_websocket_api(watcher: Any) -> None:
    await watcher.load_markets()
    order = await _within(watcher.create_order_ws(BTC, "limit", "buy", 0.01, 74_000))
    changed = await _within(watcher.edit_order_ws(order["id"], BTC, "limit", "buy", 0.02, 74_100))
    assert (changed["id"], changed["amount"]) == (order["id"], 0.02)
    assert (await _within(watcher.cancel_order_ws(order["id"], BTC)))["status"] == "canceled"


def test_the_synchronous_client_works_too(venue: Venue) -> None:
    client = _point(ccxt.binanceusdm({"apiKey": "sim", "secret": "sim"}), venue)
    try:
        client.load_markets()
        client.create_order(BTC, "market", "sell", 0.01)
        assert client.fetch_positions([BTC])[0]["side"] == "short"
    finally:
        client.session.close()


async def _within(awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, PATIENCE_S)
