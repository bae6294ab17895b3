"""What unmodified ccxt meets at Binance only; what it does at every venue is in test_ccxt_against_simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import ccxt
import ccxt.async_support
import pytest

from tests.contract.ccxt_venues import BINANCE, BTC, ETH_USDC
from tests.contract.simulator import PATIENCE_S, Venue, running


@pytest.fixture
def venue(project_root: Path) -> Iterator[Venue]:
    with running(project_root) as found:
        yield found


@pytest.fixture
async def exchange(venue: Venue) -> AsyncIterator[Any]:
    client = BINANCE.client(venue)
    try:
        await client.load_markets()
        yield client
    finally:
        await client.close()


async def test_a_stop_that_fires_leaves_a_filled_child_with_its_id(exchange: Any, venue: Venue) -> None:
    await exchange.create_order(BTC, "market", "buy", 0.01)
    stop = await exchange.create_order(BTC, "market", "sell", 0.01, None, {"triggerPrice": 70_000, "reduceOnly": True})
    venue.set_price("BTCUSDT", "69000")
    child = await exchange.fetch_order("", BTC, {"clientOrderId": stop["clientOrderId"]})
    assert (child["status"], child["filled"], child["side"]) == ("closed", 0.01, "sell")
    assert await exchange.fetch_positions([BTC]) == []


async def test_orders_are_cancelled_by_client_id(exchange: Any) -> None:
    await exchange.create_order(ETH_USDC, "limit", "buy", 0.1, 2_350, {"clientOrderId": "mine-1"})
    await exchange.cancel_order(None, ETH_USDC, {"clientOrderId": "mine-1"})
    assert await exchange.fetch_open_orders(ETH_USDC) == []


async def test_settings_and_tiers_are_read(exchange: Any) -> None:
    await exchange.set_leverage(5, BTC)
    await exchange.set_margin_mode("isolated", BTC)
    with pytest.raises(ccxt.MarginModeAlreadySet):
        await exchange.set_margin_mode("isolated", BTC)
    leverage = (await exchange.fetch_leverages([BTC]))[BTC]
    assert (leverage["longLeverage"], leverage["marginMode"]) == (5, "isolated")
    assert (await exchange.fetch_leverage_tiers([BTC]))[BTC][0]["maxLeverage"] == 150
    assert len(await exchange.fetch_bids_asks()) == 40


async def test_best_prices_and_mark_prices_are_streamed(venue: Venue) -> None:
    watcher = BINANCE.watcher(venue)
    try:
        await watcher.load_markets()
        assert (await _within(watcher.watch_bids_asks([BTC])))[BTC]["bid"] > 0
        assert (await _within(watcher.watch_mark_price(BTC)))["markPrice"] > 0
    finally:
        await watcher.close()


async def test_the_client_for_all_markets_starts_too(venue: Venue) -> None:
    client = ccxt.async_support.binance({"apiKey": "sim", "secret": "sim"})
    BINANCE.point(client.urls["api"], venue)
    try:
        assert BTC in await client.load_markets()
    finally:
        await client.close()


def test_the_synchronous_client_works_too(venue: Venue) -> None:
    client: Any = ccxt.binanceusdm({"apiKey": "sim", "secret": "sim"})
    BINANCE.point(client.urls["api"], venue)
    try:
        client.load_markets()
        client.create_order(BTC, "market", "sell", 0.01)
        assert client.fetch_positions([BTC])[0]["side"] == "short"
    finally:
        client.session.close()


async def _within(awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, PATIENCE_S)
