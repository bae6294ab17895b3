"""Unmodified python-binance, pointed at the simulator by base URLs only, trades as it does against the venue."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.simulator import PATIENCE_S, Venue, running

SYMBOL = "BTCUSDT"
STOP = {"symbol": SYMBOL, "side": "SELL", "type": "STOP_MARKET", "reduceOnly": "true", "workingType": "MARK_PRICE"}
# It is written against the names websockets had before version 14.
pytestmark = pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning")


@pytest.fixture
def venue(project_root: Path) -> Iterator[Venue]:
    with running(project_root) as found:
        yield found


@pytest.fixture(scope="module")
def library() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return pytest.importorskip("binance")


@pytest.fixture
async def client(library: Any, venue: Venue) -> AsyncIterator[Any]:
    found = library.AsyncClient("sim", "sim")
    found.API_URL = f"{venue.url}/api"
    found.FUTURES_URL = f"{venue.url}/fapi"
    found.FUTURES_DATA_URL = f"{venue.url}/futures/data"
    found.ws_future._url = f"{venue.ws}/ws-fapi/v1"
    try:
        yield found
    finally:
        await found.close_connection()


async def test_a_position_is_opened_protected_and_closed(client: Any, venue: Venue, library: Any) -> None:
    info = await client.futures_exchange_info()
    assert SYMBOL in {row["symbol"] for row in info["symbols"]}
    assert (await client.futures_account())["availableBalance"] == "10000.00000000"

    entry = await client.futures_create_order(
        symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.01", newOrderRespType="RESULT"
    )
    assert (entry["status"], entry["executedQty"]) == ("FILLED", "0.010")
    (position,) = await client.futures_position_information(symbol=SYMBOL)
    assert position["positionAmt"] == "0.010"

    stop = await client.futures_create_order(**STOP, quantity="0.01", stopPrice="70000")
    assert (stop["algoStatus"], stop["triggerPrice"]) == ("NEW", "70000.00")
    assert [row["algoId"] for row in await client.futures_get_open_algo_orders()] == [stop["algoId"]]
    assert await client.futures_get_open_orders() == []
    cancelled = await client.futures_cancel_algo_order(clientAlgoId=stop["clientAlgoId"])
    assert cancelled["code"] == "200"
    with pytest.raises(library.BinanceAPIException) as refused:
        await client.futures_cancel_algo_order(clientAlgoId=stop["clientAlgoId"])
    assert refused.value.code == -2011

    await client.futures_create_order(symbol=SYMBOL, side="SELL", type="MARKET", quantity="0.01", reduceOnly="true")
    assert venue.state()["positions"] == []
    assert [row["side"] for row in await client.futures_account_trades(symbol=SYMBOL)] == ["BUY", "SELL"]


async def test_orders_are_amended_and_cancelled_one_by_one_and_all_together(client: Any) -> None:
    resting = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}
    order = await client.futures_create_order(**resting, price="74000", newClientOrderId="mine-1")
    changed = await client.futures_modify_order(
        symbol=SYMBOL, side="BUY", orderId=order["orderId"], quantity="0.02", price="73000"
    )
    assert (changed["origQty"], changed["clientOrderId"]) == ("0.020", "mine-1")
    found = await client.futures_get_order(symbol=SYMBOL, origClientOrderId="mine-1")
    assert (found["status"], found["price"]) == ("NEW", "73000.00")
    assert (await client.futures_cancel_order(symbol=SYMBOL, orderId=order["orderId"]))["status"] == "CANCELED"
    batch = [{**resting, "price": price} for price in ("74000", "74100")]
    placed = await client.futures_place_batch_order(batchOrders=batch)
    assert [row["status"] for row in placed] == ["NEW", "NEW"]
    assert (await client.futures_cancel_all_open_orders(symbol=SYMBOL))["code"] == 200
    assert await client.futures_get_open_orders() == []
    assert await client.futures_create_test_order(**resting, price="74000") == {}


async def test_settings_are_read_and_changed(client: Any) -> None:
    assert (await client.futures_change_leverage(symbol=SYMBOL, leverage=5))["leverage"] == 5
    assert (await client.futures_change_margin_type(symbol=SYMBOL, marginType="ISOLATED"))["code"] == 200
    assert (await client.futures_get_position_mode())["dualSidePosition"] is False
    assert (await client.futures_leverage_bracket(symbol=SYMBOL))[0]["brackets"][0]["initialLeverage"] == 150
    assert len(await client.futures_klines(symbol=SYMBOL, interval="1m", limit=60)) == 60
    assert float((await client.futures_mark_price(symbol=SYMBOL))["markPrice"]) > 0
    assert (await client.futures_income_history())[0]["incomeType"] == "TRANSFER"


async def test_the_user_stream_tells_orders_and_positions(client: Any, library: Any, venue: Venue) -> None:
    manager = library.BinanceSocketManager(client)
    manager.FSTREAM_URL = f"{venue.ws}/"
    order = {"symbol": SYMBOL, "type": "MARKET", "quantity": "0.01"}
    private = await manager.futures_user_socket().__aenter__()
    await client.futures_create_order(**order, side="BUY")
    events = [(await asyncio.wait_for(private.recv(), PATIENCE_S))["e"] for _ in range(4)]
    assert events == ["TRADE_LITE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE"]
    async with manager.symbol_mark_price_socket(SYMBOL) as prices:
        price = await asyncio.wait_for(prices.recv(), PATIENCE_S)
        assert price["data"]["e"] == "markPriceUpdate"
    # Its reader looks up only with a message, or after ten seconds.
    closing = asyncio.create_task(private.close())
    await client.futures_create_order(**order, side="SELL")
    await closing


async def test_orders_go_over_the_trading_socket(client: Any, library: Any) -> None:
    order = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}
    placed = await client.ws_futures_create_order(**order, price="74000", newClientOrderId="ws-1")
    assert placed["status"] == "NEW"
    one = {"symbol": SYMBOL, "origClientOrderId": "ws-1"}
    assert (await client.ws_futures_get_order(**one))["orderId"] == placed["orderId"]
    assert (await client.ws_futures_v2_account_balance())[0]["asset"] == "USDT"
    conditional = {"algoType": "CONDITIONAL", **STOP, "reduceOnly": "false"}
    stop = await client.ws_futures_create_algo_order(**conditional, quantity="0.01", triggerPrice="70000")
    assert stop["algoStatus"] == "NEW"
    assert (await client.ws_futures_cancel_algo_order(algoId=stop["algoId"]))["code"] == "200"
    assert (await client.ws_futures_cancel_order(**one))["status"] == "CANCELED"
    with pytest.raises(library.BinanceAPIException):
        await client.ws_futures_cancel_order(**one)
    await _close(client.ws_future)


async def _close(connection: Any) -> None:
    """Its reader looks up only with a message: a last answer lets it end before its ten seconds are over."""
    closing = asyncio.create_task(connection.close())
    await asyncio.sleep(0)
    await connection.ws.send('{"id":"last","method":"session.status"}')
    await closing


def test_the_synchronous_client_works_too(library: Any, venue: Venue) -> None:
    client = library.Client("sim", "sim", ping=False)
    client.FUTURES_URL = f"{venue.url}/fapi"
    try:
        client.futures_create_order(symbol=SYMBOL, side="SELL", type="MARKET", quantity="0.01")
        assert client.futures_position_information(symbol=SYMBOL)[0]["positionAmt"] == "-0.010"
    finally:
        client.session.close()
        # It makes a loop of its own and leaves it to the interpreter.
        client.loop.close()
        asyncio.set_event_loop(None)
