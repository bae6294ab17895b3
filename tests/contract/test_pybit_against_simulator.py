"""pybit, Bybit's own library, unmodified and with its address constants set, trades as it does against the venue."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pybit._websocket_trading
import pybit.unified_trading
import pytest
from pybit.exceptions import InvalidRequestError

from tests.contract.simulator import PATIENCE_S, Venue, running

SYMBOL = "BTCUSDT"
LINEAR = {"category": "linear", "symbol": SYMBOL}
KEYS = {"api_key": "sim", "api_secret": "sim"}
ENTRY: dict[str, Any] = {**LINEAR, "side": "Buy", "orderType": "Market", "qty": "0.02"}
FAR: dict[str, Any] = {**LINEAR, "side": "Buy", "orderType": "Limit", "qty": "0.01"}


@pytest.fixture
def venue(project_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Venue]:
    # It notes a subscription only after sending it, and fails on an answer that comes sooner than that.
    with running(project_root, "bybit", "--latency-ms", "10") as found:
        monkeypatch.setattr(pybit.unified_trading, "PUBLIC_WSS", f"{found.ws}/v5/public/{{CHANNEL_TYPE}}")
        monkeypatch.setattr(pybit.unified_trading, "PRIVATE_WSS", f"{found.ws}/v5/private")
        monkeypatch.setattr(pybit._websocket_trading, "TRADE_WSS", f"{found.ws}/v5/trade")
        yield found


@pytest.fixture
def rest(venue: Venue) -> Iterator[Any]:
    session = pybit.unified_trading.HTTP(**KEYS)
    session.endpoint = venue.url
    try:
        yield session
    finally:
        session.client.close()


def test_a_position_is_opened_protected_and_closed(rest: Any, venue: Venue) -> None:
    last = _last(rest)
    full = {**LINEAR, "tpslMode": "Full", "positionIdx": 0}
    entry = rest.place_order(**ENTRY, orderLinkId="entry-1")["result"]
    (order,) = rest.get_open_orders(**LINEAR, orderId=entry["orderId"])["result"]["list"]
    assert (order["orderStatus"], order["cumExecQty"], order["orderLinkId"]) == ("Filled", "0.020", "entry-1")
    with pytest.raises(InvalidRequestError, match="110072"):
        rest.place_order(**ENTRY, orderLinkId="entry-1")

    rest.set_trading_stop(**full, stopLoss=str(last - 2000), slTriggerBy="MarkPrice")
    (position,) = rest.get_positions(**LINEAR)["result"]["list"]
    assert (position["side"], position["size"], float(position["stopLoss"])) == ("Buy", "0.020", last - 2000)
    (stop,) = rest.get_open_orders(**LINEAR, orderFilter="StopOrder")["result"]["list"]
    assert (stop["stopOrderType"], stop["orderStatus"], stop["orderLinkId"]) == ("StopLoss", "Untriggered", "")
    with pytest.raises(InvalidRequestError, match="34040"):
        rest.set_trading_stop(**full, stopLoss=str(last - 2000), slTriggerBy="MarkPrice")
    rest.amend_order(**LINEAR, orderId=stop["orderId"], triggerPrice=str(last - 1500))
    assert venue.state()["orders"][0]["stop_price"] == str(last - 1500)
    rest.set_trading_stop(**full, stopLoss="0")
    assert venue.state()["orders"] == []

    rest.place_order(**LINEAR, side="Sell", orderType="Market", qty="0.01", reduceOnly=True)
    rest.place_order(**LINEAR, side="Sell", orderType="Market", qty="0", reduceOnly=True, closeOnTrigger=True)
    assert venue.state()["positions"] == []
    with pytest.raises(InvalidRequestError, match="110017"):
        rest.place_order(**LINEAR, side="Sell", orderType="Market", qty="0.01", reduceOnly=True)
    fills = rest.get_executions(**LINEAR)["result"]["list"]
    assert [row["side"] for row in fills] == ["Sell", "Sell", "Buy"]


def test_an_entry_brings_its_stop_and_the_stop_closes_it(rest: Any, venue: Venue) -> None:
    last = _last(rest)
    rest.place_order(**ENTRY, stopLoss=str(last - 1000), takeProfit=str(last + 1000))
    assert sorted(row["type"] for row in venue.state()["orders"]) == ["stop", "take_profit"]
    assert venue.protection()[0]["max_unprotected_ms"] == 0
    venue.set_price(SYMBOL, str(last - 1100))
    assert (venue.state()["positions"], venue.state()["orders"]) == ([], [])
    history = rest.get_order_history(**LINEAR)["result"]["list"]
    assert {row["orderStatus"] for row in history} >= {"Filled", "Deactivated"}
    assert rest.get_closed_pnl(**LINEAR)["result"]["list"][0]["qty"] == "0.020"


def test_orders_are_placed_in_batches_amended_and_cancelled(rest: Any) -> None:
    price = _last(rest) - 2000
    requests = [{**FAR, "price": str(price - number), "orderLinkId": f"b-{number}"} for number in range(3)]
    answer = rest.place_batch_order(category="linear", request=[*requests, {**FAR, "price": "0"}])
    assert [row["code"] for row in answer["retExtInfo"]["list"][:3]] == [0, 0, 0]
    assert answer["retExtInfo"]["list"][3]["code"] != 0
    rest.amend_order(**LINEAR, orderLinkId="b-0", qty="0.02")
    rest.cancel_order(**LINEAR, orderLinkId="b-1")
    with pytest.raises(InvalidRequestError, match="110001"):
        rest.cancel_order(**LINEAR, orderLinkId="b-1")
    rows = rest.get_open_orders(**LINEAR)["result"]["list"]
    assert sorted((row["orderLinkId"], row["qty"]) for row in rows) == [("b-0", "0.020"), ("b-2", "0.010")]
    assert len(rest.cancel_all_orders(category="linear", settleCoin="USDT")["result"]["list"]) == 2


def test_settings_and_market_data_are_read(rest: Any) -> None:
    assert SYMBOL in {row["symbol"] for row in rest.get_instruments_info(category="linear")["result"]["list"]}
    assert rest.get_wallet_balance(accountType="UNIFIED")["result"]["list"][0]["coin"]
    rest.set_leverage(**LINEAR, buyLeverage="5", sellLeverage="5")
    with pytest.raises(InvalidRequestError, match="110043"):
        rest.set_leverage(**LINEAR, buyLeverage="5", sellLeverage="5")
    assert rest.get_positions(**LINEAR)["result"]["list"][0]["leverage"] == "5"
    assert rest.get_account_info()["result"]["marginMode"] == "REGULAR_MARGIN"
    assert rest.get_fee_rates(**LINEAR)["result"]["list"][0]["takerFeeRate"] == "0.00055"
    assert rest.get_api_key_information()["result"]["readOnly"] == 0
    assert len(rest.get_kline(**LINEAR, interval=1, limit=60)["result"]["list"]) == 60
    assert len(rest.get_orderbook(**LINEAR, limit=5)["result"]["b"]) == 5
    assert rest.get_risk_limit(**LINEAR)["result"]["list"]
    assert rest.get_transaction_log(accountType="UNIFIED")["result"]["list"][0]["type"] == "TRANSFER_IN"


def test_a_wrong_secret_is_refused(rest: Any) -> None:
    rest.api_secret = "other"
    with pytest.raises(InvalidRequestError, match="10004"):
        rest.get_positions(**LINEAR)


def test_the_private_stream_tells_orders_fills_positions_and_the_wallet(rest: Any, venue: Venue) -> None:
    heard: Queue[Any] = Queue()
    stream = pybit.unified_trading.WebSocket(channel_type="private", testnet=False, **KEYS)
    try:
        for subscribe in (stream.order_stream, stream.execution_stream, stream.position_stream, stream.wallet_stream):
            subscribe(callback=heard.put)
        _answered(venue, "subscribe", 4)
        rest.place_order(**ENTRY)
        frames = [heard.get(timeout=PATIENCE_S) for _ in range(4)]
        topics = {frame["topic"]: frame["data"] for frame in frames}
        assert topics.keys() == {"order", "execution", "position", "wallet"}
        assert float(topics["position"][-1]["size"]) == 0.02
        assert sum(float(row["execQty"]) for row in topics["execution"]) == pytest.approx(0.02)
    finally:
        stream.exit()


def test_the_public_stream_tells_the_market(venue: Venue) -> None:
    heard: Queue[Any] = Queue()
    stream = pybit.unified_trading.WebSocket(channel_type="linear", testnet=False)
    try:
        stream.ticker_stream(symbol=SYMBOL, callback=heard.put)
        stream.orderbook_stream(depth=50, symbol=SYMBOL, callback=heard.put)
        stream.kline_stream(interval=1, symbol=SYMBOL, callback=heard.put)
        topics: set[str] = set()
        until = time.monotonic() + PATIENCE_S
        while len(topics) < 3 and time.monotonic() < until:
            topics.add(heard.get(timeout=PATIENCE_S)["topic"])
        assert topics == {f"tickers.{SYMBOL}", f"orderbook.50.{SYMBOL}", f"kline.1.{SYMBOL}"}
    finally:
        stream.exit()


def test_orders_go_over_the_trading_socket(rest: Any, venue: Venue) -> None:
    answers: Queue[Any] = Queue()
    socket = pybit.unified_trading.WebSocketTrading(testnet=False, **KEYS)
    try:
        _answered(venue, "auth", 1)
        far = {**FAR, "price": str(_last(rest) - 2000)}
        socket.place_order(answers.put, **far, orderLinkId="ws-1")
        placed = answers.get(timeout=PATIENCE_S)
        assert (placed["op"], placed["data"]["orderLinkId"]) == ("order.create", "ws-1")
        socket.amend_order(answers.put, **LINEAR, orderLinkId="ws-1", qty="0.02")
        assert answers.get(timeout=PATIENCE_S)["data"]["orderId"] == placed["data"]["orderId"]
        assert venue.state()["orders"][0]["qty"] == "0.02"
        socket.cancel_order(answers.put, **LINEAR, orderLinkId="ws-1")
        assert answers.get(timeout=PATIENCE_S)["retCode"] == 0
        socket.cancel_order(answers.put, answers.put, **LINEAR, orderLinkId="ws-1")
        assert answers.get(timeout=PATIENCE_S)["retCode"] == 110001
        assert venue.state()["orders"] == []
    finally:
        socket.exit()


def _last(rest: Any) -> int:
    return round(float(rest.get_tickers(**LINEAR)["result"]["list"][0]["lastPrice"]))


def _answered(venue: Venue, op: str, count: int) -> None:
    """Until the venue has answered this many socket commands."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        lines = [line for line in venue.requests() if line["path"] == op and line["answered"] is not None]
        if len(lines) >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"{op} was not answered {count} times")
