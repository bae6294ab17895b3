"""Binance's own SDK, unmodified and pointed at the simulator by base URLs only, trades as it does against the venue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from binance_common.configuration import (
    ConfigurationRestAPI,
    ConfigurationWebSocketAPI,
    ConfigurationWebSocketStreams,
)
from binance_common.errors import BadRequestError
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import DerivativesTradingUsdsFutures
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.contract.simulator import PATIENCE_S, Venue, running
from tools.venuesim.binance.signing import ED25519_KEY, session_key

SYMBOL = "BTCUSDT"
# Its trading socket gives aiohttp a time-out in the old way.
pytestmark = pytest.mark.filterwarnings("ignore:parameter 'timeout' of type 'float':DeprecationWarning")
FAR: dict[str, Any] = {
    "symbol": SYMBOL,
    "side": "BUY",
    "type": "LIMIT",
    "time_in_force": "GTC",
    "quantity": 0.01,
    "price": 74_000,
}
STOP: dict[str, Any] = {
    "algo_type": "CONDITIONAL",
    "symbol": SYMBOL,
    "side": "SELL",
    "type": "STOP_MARKET",
    "quantity": 0.01,
    "trigger_price": 70_000,
    "working_type": "MARK_PRICE",
}


@pytest.fixture
def venue(project_root: Path) -> Iterator[Venue]:
    with running(project_root) as found:
        yield found


@pytest.fixture
def rest(venue: Venue) -> Iterator[Any]:
    found = _client(venue).rest_api
    try:
        yield found
    finally:
        found._session.close()


@pytest.fixture
async def trading(venue: Venue) -> AsyncIterator[Any]:
    """The trading socket, open, with an HMAC key."""
    socket = _client(venue).websocket_api
    await socket.create_connection()
    try:
        yield socket
    finally:
        await socket.close_connection()


def test_a_position_is_opened_protected_and_closed(rest: Any, venue: Venue) -> None:
    assert SYMBOL in {row.symbol for row in rest.exchange_information().data().symbols}
    assert rest.account_information_v3().data().available_balance == "10000.00000000"
    entry = rest.new_order(symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.01, new_order_resp_type="RESULT").data()
    assert (entry.status, entry.executed_qty) == ("FILLED", "0.010")
    assert [row.position_amt for row in rest.position_information_v3().data()] == ["0.010"]

    stop = rest.new_algo_order(**STOP, reduce_only="true").data()
    assert (stop.algo_status, stop.trigger_price) == ("NEW", "70000.00")
    assert [row.algo_id for row in rest.current_all_algo_open_orders().data()] == [stop.algo_id]
    assert rest.current_all_open_orders().data() == []
    assert rest.cancel_algo_order(algo_id=stop.algo_id).data().code == "200"
    with pytest.raises(BadRequestError, match="Unknown order sent"):
        rest.cancel_algo_order(algo_id=stop.algo_id)

    rest.new_order(symbol=SYMBOL, side="SELL", type="MARKET", quantity=0.01, reduce_only="true")
    assert venue.state()["positions"] == []
    assert [row.side for row in rest.account_trade_list(symbol=SYMBOL).data()] == ["BUY", "SELL"]


def test_a_stop_that_fires_is_found_with_its_child(rest: Any, venue: Venue) -> None:
    rest.new_order(symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.01)
    stop = rest.new_algo_order(**STOP, reduce_only="true", client_algo_id="stop-1").data()
    venue.set_price(SYMBOL, "69000")
    (row,) = rest.query_all_algo_orders(symbol=SYMBOL).data()
    assert (row.algo_id, row.algo_status) == (stop.algo_id, "FINISHED")
    child = rest.query_order(symbol=SYMBOL, orig_client_order_id="stop-1").data()
    assert (str(child.order_id), child.status) == (row.actual_order_id, "FILLED")


def test_orders_are_amended_tested_and_cancelled(rest: Any) -> None:
    order = rest.new_order(**FAR, new_client_order_id="mine-1").data()
    changed = rest.modify_order(symbol=SYMBOL, side="BUY", order_id=order.order_id, quantity=0.02, price=73_000).data()
    assert (changed.orig_qty, changed.client_order_id) == ("0.020", "mine-1")
    (amended,) = rest.get_order_modify_history(symbol=SYMBOL).data()
    assert (amended.amendment.price.before, amended.amendment.price.after) == ("74000", "73000")
    assert rest.cancel_order(symbol=SYMBOL, orig_client_order_id="mine-1").data().status == "CANCELED"
    assert rest.cancel_all_open_orders(symbol=SYMBOL).data().code == 200
    rest.test_order(**FAR)
    assert rest.current_all_open_orders().data() == []
    assert rest.auto_cancel_all_open_orders(symbol=SYMBOL, countdown_time=0).data().symbol == SYMBOL


def test_settings_and_market_data_are_read(rest: Any) -> None:
    assert rest.change_initial_leverage(symbol=SYMBOL, leverage=5).data().leverage == 5
    assert rest.change_margin_type(symbol=SYMBOL, margin_type="ISOLATED").data().code == 200
    assert rest.get_current_position_mode().data().dual_side_position is False
    assert rest.toggle_bnb_burn_on_futures_trade(fee_burn="true").data().code == 200
    assert rest.get_bnb_burn_status().data().fee_burn is True
    assert rest.user_commission_rate(symbol=SYMBOL).data().taker_commission_rate == "0.000500"
    assert rest.get_income_history().data()[0].income_type == "TRANSFER"
    assert len(rest.kline_candlestick_data(symbol=SYMBOL, interval="1m", limit=60).data()) == 60
    assert len(rest.order_book(symbol=SYMBOL, limit=5).data().bids) == 5


async def test_the_user_stream_tells_orders_and_positions(venue: Venue) -> None:
    client = _client(venue)
    rest, streams = client.rest_api, client.websocket_streams
    await streams.create_connection()
    try:
        heard: asyncio.Queue[Any] = asyncio.Queue()
        key = (await asyncio.to_thread(rest.start_user_data_stream)).data().listen_key
        (await streams.user_data(key)).on("message", lambda event: heard.put_nowait(event.actual_instance))
        prices: asyncio.Queue[Any] = asyncio.Queue()
        (await streams.mark_price_stream(symbol=SYMBOL, update_speed="1s")).on("message", prices.put_nowait)
        await asyncio.sleep(0.1)
        await asyncio.to_thread(rest.new_order, symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.01)
        events = [type(await asyncio.wait_for(heard.get(), PATIENCE_S)).__name__ for _ in range(4)]
        assert events == ["TradeLite", "OrderTradeUpdate", "AccountUpdate", "OrderTradeUpdate"]
        assert float((await asyncio.wait_for(prices.get(), PATIENCE_S)).p) > 0
    finally:
        await streams.close_connection()
        rest._session.close()


async def test_orders_go_over_the_trading_socket(trading: Any, caplog: pytest.LogCaptureFixture) -> None:
    placed = (await trading.new_order(**FAR, new_client_order_id="ws-1")).data().result
    assert placed.status == "NEW"
    one = {"symbol": SYMBOL, "orig_client_order_id": "ws-1"}
    changed = await trading.modify_order(**one, side="BUY", quantity=0.02, price=73_000)
    assert changed.data().result.orig_qty == "0.020"
    assert (await trading.query_order(**one)).data().result.order_id == placed.order_id
    assert (await trading.cancel_order(**one)).data().result.status == "CANCELED"
    stop = (await trading.new_algo_order(**STOP)).data().result
    assert (await trading.cancel_algo_order(algo_id=stop.algo_id)).data().result.code == "200"
    assert (await trading.futures_account_balance_v2()).data().result[0].asset == "USDT"
    # It logs an error answer and raises nothing.
    await trading.cancel_order(**one)
    assert "-2011" in caplog.text


async def test_a_session_is_logged_on_with_the_published_ed25519_key(venue: Venue) -> None:
    private_key = session_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    socket: Any = DerivativesTradingUsdsFutures(
        config_ws_api=ConfigurationWebSocketAPI(
            api_key=ED25519_KEY, private_key=private_key, stream_url=f"{venue.ws}/ws-fapi/v1"
        )
    ).websocket_api
    await socket.create_connection()
    try:
        answer = await socket.send_signed_message(
            payload={"method": "session.logon", "params": {}}, signer=socket.signer, api_key=True, session_logon=True
        )
        assert answer is not None
        assert (await socket.new_order(**FAR)).data().result.status == "NEW"
    finally:
        await socket.close_connection()


def _client(venue: Venue) -> Any:
    keys: Any = {"api_key": "sim", "api_secret": "sim"}
    return DerivativesTradingUsdsFutures(
        config_rest_api=ConfigurationRestAPI(**keys, base_path=venue.url, retries=0, timeout=PATIENCE_S * 1000),
        config_ws_api=ConfigurationWebSocketAPI(**keys, stream_url=f"{venue.ws}/ws-fapi/v1"),
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=f"{venue.ws}/stream"),
    )
