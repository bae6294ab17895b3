"""Answers, limits and headers of REST, what the log is told, and the same endpoints over the WebSocket API."""

from __future__ import annotations

import json
from decimal import Decimal
from urllib.parse import quote, urlencode

import pytest

from tests.venuesim.binance.bench import Bench, Fault, order_params
from tools.venuesim.binance import signing
from tools.venuesim.exchange.model import PositionMode
from tools.venuesim.wire import Lane, Request

LIMIT = {"type": "LIMIT", "timeInForce": "GTC"}
FAR = {**LIMIT, "price": "74000"}


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_ack_is_new_with_zeros_and_result_is_final(bench: Bench) -> None:
    ack = bench.order(newOrderRespType=None)
    assert (ack["status"], ack["executedQty"], ack["cumQty"]) == ("NEW", "0.000", "0.000")
    result = bench.order()
    assert (result["status"], result["executedQty"]) == ("FILLED", "0.010")
    assert not {"avgPrice", "cumQuote", "time"} & result.keys()


def test_a_query_tells_average_price_and_quote_amount(bench: Bench) -> None:
    placed = bench.order(newClientOrderId="asked")
    by_name = bench.ok("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="asked")
    trade = bench.ok("GET", "/fapi/v1/userTrades", symbol="BTCUSDT", orderId=placed["orderId"])[0]
    assert by_name["orderId"] == placed["orderId"]
    assert Decimal(by_name["avgPrice"]) == Decimal(trade["price"])
    assert Decimal(by_name["cumQuote"]) == Decimal(trade["quoteQty"])
    assert len(by_name["avgPrice"].partition(".")[2]) == 3


def test_a_closed_position_books_profit_without_and_wallet_with_fees(bench: Bench) -> None:
    bench.order()
    bench.move(bench.price() + 1_000)
    bench.order(side="SELL", reduceOnly="true")
    trades = bench.ok("GET", "/fapi/v1/userTrades", symbol="BTCUSDT")
    profit = sum(Decimal(row["realizedPnl"]) for row in trades)
    fees = sum(Decimal(row["commission"]) for row in trades)
    wallet = Decimal(bench.ok("GET", "/fapi/v3/account")["totalWalletBalance"])
    assert wallet == Decimal(10_000) + profit - fees
    assert bench.ok("GET", "/fapi/v3/positionRisk") == []


def test_usdc_and_usdt_are_wallets_of_their_own(bench: Bench) -> None:
    bench.order(symbol="BTCUSDC")
    rows = {row["asset"]: Decimal(row["walletBalance"]) for row in bench.ok("GET", "/fapi/v3/account")["assets"]}
    assert rows["USDT"] == 10_000
    assert rows["USDC"] < 10_000
    assert bench.ok("GET", "/fapi/v3/positionRisk")[0]["marginAsset"] == "USDC"


def test_v3_lists_busy_symbols_and_v2_all_of_them(bench: Bench) -> None:
    bench.order(symbol="ETHUSDT", price="2300", quantity="0.1", **LIMIT)
    assert [row["symbol"] for row in bench.ok("GET", "/fapi/v3/positionRisk")] == ["ETHUSDT"]
    assert len(bench.ok("GET", "/fapi/v2/positionRisk")) == len(bench.ok("GET", "/fapi/v2/account")["positions"]) == 20


def test_hedge_mode_shows_both_sides() -> None:
    bench = Bench(mode=PositionMode.HEDGE)
    bench.order(positionSide="LONG")
    bench.order(side="SELL", positionSide="SHORT", quantity="0.020")
    rows = {row["positionSide"]: row["positionAmt"] for row in bench.ok("GET", "/fapi/v3/positionRisk")}
    assert rows == {"LONG": "0.010", "SHORT": "-0.020"}
    assert bench.ok("GET", "/fapi/v1/positionSide/dual") == {"dualSidePosition": True}


def test_leverage_and_margin_mode_are_read_from_symbol_config(bench: Bench) -> None:
    start = bench.ok("GET", "/fapi/v1/symbolConfig", symbol="BTCUSDT")[0]
    assert (start["leverage"], start["marginType"]) == (20, "CROSSED")
    bench.ok("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=3)
    bench.ok("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")
    after = bench.ok("GET", "/fapi/v1/symbolConfig", symbol="BTCUSDT")[0]
    assert (after["leverage"], after["marginType"]) == (3, "ISOLATED")


def test_amending_keeps_ids_and_loses_nothing(bench: Bench) -> None:
    order = bench.order(newClientOrderId="kept", **FAR)
    change = {"symbol": "BTCUSDT", "side": "BUY", "origClientOrderId": "kept", "quantity": "0.020", "price": "74100"}
    changed = bench.ok("PUT", "/fapi/v1/order", **change)
    assert (changed["orderId"], changed["clientOrderId"]) == (order["orderId"], "kept")
    assert (changed["origQty"], changed["price"]) == ("0.020", "74100.00")


def test_a_batch_answers_row_by_row_and_takes_raw_json(bench: Bench) -> None:
    good = {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "quantity": "0.01",
        "price": "74000",
        "timeInForce": "GTC",
    }
    rows = json.dumps([good, {**good, "price": "99000"}], separators=(",", ":"))
    text = f"timestamp={bench.now_ms()}&batchOrders={rows}"
    answer = bench.raw("POST", "/fapi/v1/batchOrders", body=f"{text}&signature={signing.signature('sim', text)}")
    placed, refused = json.loads(answer.body)
    assert (placed["status"], refused["code"]) == ("NEW", -4016)
    assert bench.ok("POST", "/fapi/v1/batchOrders", batchOrders=rows)[0]["status"] == "NEW"


@pytest.mark.parametrize("name", ["orderIdList", "orderidlist"])
def test_a_batch_cancel_takes_both_spellings(bench: Bench, name: str) -> None:
    number = bench.order(**FAR)["orderId"]
    cancelled, unknown = bench.ok("DELETE", "/fapi/v1/batchOrders", symbol="BTCUSDT", **{name: f"[{number},1]"})
    assert (cancelled["status"], unknown["code"]) == ("CANCELED", -2011)


def test_cancel_all_leaves_algo_orders_and_the_reverse(bench: Bench) -> None:
    bench.order()
    bench.order(**FAR)
    bench.stop()
    bench.ok("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")
    assert (bench.ok("GET", "/fapi/v1/openOrders"), len(bench.ok("GET", "/fapi/v1/openAlgoOrders"))) == ([], 1)
    bench.order(**FAR)
    bench.ok("DELETE", "/fapi/v1/algoOpenOrders", symbol="BTCUSDT")
    assert (len(bench.ok("GET", "/fapi/v1/openOrders")), bench.ok("GET", "/fapi/v1/openAlgoOrders")) == (1, [])


def test_the_countdown_cancels_unless_renewed(bench: Bench) -> None:
    bench.order(**FAR)
    watch = {"symbol": "BTCUSDT", "countdownTime": 5_000}
    bench.ok("POST", "/fapi/v1/countdownCancelAll", **watch)
    bench.leap(4_000)
    bench.ok("POST", "/fapi/v1/countdownCancelAll", **watch)
    bench.leap(4_000)
    assert len(bench.ok("GET", "/fapi/v1/openOrders")) == 1
    bench.leap(1_000)
    assert bench.ok("GET", "/fapi/v1/openOrders") == []


def test_all_orders_keeps_the_newest_and_user_trades_the_oldest(bench: Bench) -> None:
    numbers = [bench.order(quantity="0.001")["orderId"] for _ in range(3)]
    newest = bench.ok("GET", "/fapi/v1/allOrders", symbol="BTCUSDT", limit=2)
    oldest = bench.ok("GET", "/fapi/v1/userTrades", symbol="BTCUSDT", limit=2)
    assert [row["orderId"] for row in newest] == numbers[1:]
    assert [row["orderId"] for row in oldest] == numbers[:2]
    rest = bench.ok("GET", "/fapi/v1/userTrades", symbol="BTCUSDT", fromId=oldest[-1]["id"] + 1)
    assert [row["orderId"] for row in rest] == numbers[2:]


def test_price_match_takes_a_level_of_the_book(bench: Bench) -> None:
    book = bench.public("/fapi/v1/depth", symbol="BTCUSDT", limit=20)
    queued = bench.order(priceMatch="QUEUE", **LIMIT)
    assert (queued["price"], queued["priceMatch"]) == (book["bids"][0][0], "QUEUE")
    assert bench.order(priceMatch="OPPONENT", **LIMIT)["status"] == "FILLED"


def test_weights_and_order_counts_come_in_headers(bench: Bench) -> None:
    bench.raw("GET", "/fapi/v1/openOrders", key=None)
    account = bench.send("GET", "/fapi/v3/account")
    assert account.headers["x-mbx-used-weight-1m"] == "45"
    placed = bench.send("POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01")
    assert (placed.headers["x-mbx-order-count-10s"], placed.headers["x-mbx-order-count-1m"]) == ("1", "1")
    assert placed.headers["x-mbx-used-weight-1m"] == "45"
    funding = bench.raw("GET", "/fapi/v1/fundingRate", "symbol=BTCUSDT", key=None)
    assert "x-mbx-used-weight-1m" not in funding.headers


def test_too_much_weight_is_429_with_a_time_to_wait(bench: Bench) -> None:
    answers = [bench.send("GET", "/fapi/v1/openOrders") for _ in range(61)]
    assert [answer.status for answer in answers] == [200] * 60 + [429]
    assert (answers[-1].code, int(answers[-1].headers["retry-after"]) <= 60) == (-1003, True)
    bench.leap(60_000)
    assert bench.send("GET", "/fapi/v1/openOrders").status == 200


def test_injected_limits_and_a_revoked_key_stop_requests(bench: Bench) -> None:
    assert bench.facade.inject(Fault("rate_limit", status=418, duration_ms=1_000))
    assert bench.send("GET", "/fapi/v1/time").status == 418
    bench.leap(1_000)
    assert bench.facade.inject(Fault("rate_limit", duration_ms=1_000))
    assert bench.send("GET", "/fapi/v1/time").status == 429
    bench.leap(1_000)
    assert bench.facade.inject(Fault("revoke_key"))
    assert bench.code("GET", "/fapi/v3/account") == -2015
    assert not bench.facade.inject(Fault("unheard_of"))


def test_exchange_info_ignores_the_symbol_and_is_stale(bench: Bench) -> None:
    info = bench.public("/fapi/v1/exchangeInfo", symbol="NOSUCH")
    assert len(info["symbols"]) == 20
    assert info["serverTime"] < bench.now_ms() - 86_400_000
    assert all(len(row["filters"]) == 7 for row in info["symbols"])
    assert not any("generated" in row for row in info["symbols"])


def test_the_table_has_captured_and_generated_symbols_in_both_quotes() -> None:
    bench = Bench(symbols=70)
    rows = bench.public("/fapi/v1/exchangeInfo")["symbols"]
    generated = {instrument.symbol for instrument in bench.exchange.instruments() if instrument.generated}
    assert len(rows) == 70
    assert len(generated) == 70 - 17
    assert {row["quoteAsset"] for row in rows if row["symbol"] in generated} == {"USDT", "USDC"}
    assert len({row["symbol"] for row in rows}) == 70


@pytest.mark.parametrize("symbol", ["BTCUSDT", "1000PEPEUSDT", "BNBUSDC", "VETUSDT", "SIM0001USDT"])
def test_market_order_of_100_usd_passes_the_filters_of_any_symbol(symbol: str) -> None:
    bench = Bench(symbols=60)
    instrument = bench.exchange.instrument(symbol)
    qty = (Decimal(100) / bench.price(symbol) / instrument.market_step).to_integral_value() * instrument.market_step
    assert bench.order(symbol=symbol, quantity=f"{qty:f}")["status"] == "FILLED"
    assert bench.ok("GET", "/fapi/v3/positionRisk")[0]["symbol"] == symbol


def test_start_values_pass_the_default_entry_filters(bench: Bench) -> None:
    for row in bench.public("/fapi/v1/exchangeInfo")["symbols"]:
        symbol = row["symbol"]
        quote = bench.public("/fapi/v1/ticker/bookTicker", symbol=symbol)
        price = Decimal(quote["askPrice"])
        interest = Decimal(bench.public("/fapi/v1/openInterest", symbol=symbol)["openInterest"])
        klines = bench.public("/fapi/v1/klines", symbol=symbol, interval="1m", limit=61)
        assert interest * price >= 1_000_000
        assert sum(Decimal(kline[7]) for kline in klines[:-1]) >= 50_000
        assert (price - Decimal(quote["bidPrice"])) / price <= Decimal("0.005")
        assert len(bench.public("/fapi/v1/klines", symbol=symbol, interval="1m", limit=501)) == 501


def test_clients_of_other_markets_get_harmless_answers(bench: Bench) -> None:
    assert bench.ok("GET", "/sapi/v1/capital/config/getall") == []
    assert bench.public("/dapi/v1/exchangeInfo")["symbols"] == []
    assert bench.ok("GET", "/sapi/v1/account/apiRestrictions")["enableWithdrawals"] is False


@pytest.mark.parametrize(
    ("method", "path", "params", "lane", "symbol", "ids"),
    [
        ("POST", "/fapi/v1/order", {"symbol": "BTCUSDT", "newClientOrderId": "a"}, Lane.ORDER, "BTCUSDT", ("a",)),
        ("POST", "/fapi/v1/algoOrder", {"symbol": "BTCUSDT", "clientAlgoId": "b"}, Lane.STOP, "BTCUSDT", ("b",)),
        ("DELETE", "/fapi/v1/algoOrder", {"clientAlgoId": "b"}, Lane.CANCEL, None, ("b",)),
        ("PUT", "/fapi/v1/order", {"origClientOrderId": "a"}, Lane.AMEND, None, ("a",)),
        ("GET", "/fapi/v1/openOrders", {}, Lane.QUERY, None, ()),
        ("POST", "/fapi/v1/leverage", {"symbol": "BTCUSDT"}, Lane.ACCOUNT, "BTCUSDT", ()),
        ("GET", "/fapi/v1/klines", {"symbol": "BTCUSDT"}, Lane.MARKET, "BTCUSDT", ()),
        ("POST", "/fapi/v1/listenKey", {}, Lane.SESSION, None, ()),
        (
            "POST",
            "/fapi/v1/batchOrders",
            {"batchOrders": '[{"symbol":"BTCUSDT","newClientOrderId":"a"},{"newClientOrderId":"b"}]'},
            Lane.ORDER,
            "BTCUSDT",
            ("a", "b"),
        ),
        ("POST", "/fapi/v1/batchOrders", {"batchOrders": "[{"}, Lane.ORDER, None, ()),
        ("GET", "/nowhere", {}, Lane.QUERY, None, ()),
    ],
)
def test_requests_are_described_for_the_log(
    bench: Bench, method: str, path: str, params: dict[str, str], lane: Lane, symbol: str | None, ids: tuple[str, ...]
) -> None:
    text = urlencode(params)
    in_body = method in ("POST", "PUT")
    query, body = ("", text.encode()) if in_body else (text, b"")
    info = bench.facade.describe(Request(method=method, path=path, query=query, body=body))
    assert (info.lane, info.symbol, info.client_ids) == (lane, symbol, ids)


def test_a_signature_over_escaped_parameters_is_accepted(bench: Bench) -> None:
    text = f"timestamp={bench.now_ms()}&symbol=BTCUSDT&origClientOrderId={quote('a:b/c', safe='')}"
    answer = bench.raw("GET", "/fapi/v1/order", f"{text}&signature={signing.signature('sim', text)}")
    assert answer.code == -2013


def test_a_batch_of_amendments_answers_row_by_row(bench: Bench) -> None:
    order = bench.order(**FAR)
    change = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.02", "price": "73000"}
    rows = [{**change, "orderId": order["orderId"]}, {**change, "orderId": 1}]
    changed, unknown = bench.ok("PUT", "/fapi/v1/batchOrders", batchOrders=json.dumps(rows))
    assert (changed["origQty"], changed["price"], unknown["code"]) == ("0.020", "73000.00", -2013)


def test_amendments_are_listed_newest_first(bench: Bench) -> None:
    order = bench.order(**FAR)
    change = {"symbol": "BTCUSDT", "side": "BUY", "orderId": order["orderId"], "quantity": "0.010"}
    for price in ("73000", "72000"):
        bench.ok("PUT", "/fapi/v1/order", price=price, **change)
    rows = bench.ok("GET", "/fapi/v1/orderAmendment", symbol="BTCUSDT", orderId=order["orderId"])
    assert [row["amendment"]["price"] for row in rows] == [
        {"before": "73000", "after": "72000"},
        {"before": "74000", "after": "73000"},
    ]
    assert [row["amendment"]["count"] for row in rows] == [2, 1]
    assert bench.ok("GET", "/fapi/v1/orderAmendment", symbol="BTCUSDT", origClientOrderId="other") == []


def test_an_amendment_may_follow_the_book(bench: Bench) -> None:
    order = bench.order(**FAR)
    change = {"symbol": "BTCUSDT", "side": "BUY", "orderId": order["orderId"], "quantity": "0.010"}
    changed = bench.ok("PUT", "/fapi/v1/order", priceMatch="QUEUE_5", **change)
    bids = bench.public("/fapi/v1/depth", symbol="BTCUSDT", limit=5)["bids"]
    assert changed["price"] == bids[4][0]


def test_ended_orders_are_forgotten_sooner_when_nothing_was_filled(bench: Bench) -> None:
    cancelled = bench.order(**FAR)
    bench.ok("DELETE", "/fapi/v1/order", symbol="BTCUSDT", orderId=cancelled["orderId"])
    filled = bench.order()
    day_ms = 86_400_000
    bench.leap(4 * day_ms)
    assert bench.code("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId=cancelled["orderId"]) == -2013
    assert bench.ok("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId=filled["orderId"])["status"] == "FILLED"
    bench.leap(90 * day_ms)
    assert bench.code("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId=filled["orderId"]) == -2013


def test_a_test_order_is_checked_and_not_placed(bench: Bench) -> None:
    assert bench.ok("POST", "/fapi/v1/order/test", **order_params()) == {}
    assert bench.code("POST", "/fapi/v1/order/test", **order_params(quantity="100")) == -2019
    assert bench.ok("GET", "/fapi/v1/allOrders") == []


def test_other_candles_and_older_trades_are_answered(bench: Bench) -> None:
    asked = {"interval": "1m", "limit": 3}
    candles = bench.public("/fapi/v1/klines", symbol="BTCUSDT", **asked)
    pair = bench.public("/fapi/v1/continuousKlines", pair="BTCUSDT", contractType="PERPETUAL", **asked)
    assert pair == candles
    for name, key in (("markPriceKlines", "symbol"), ("indexPriceKlines", "pair"), ("premiumIndexKlines", "symbol")):
        rows = bench.public(f"/fapi/v1/{name}", **{key: "BTCUSDT"}, **asked)
        assert [(len(row), row[0], row[5]) for row in rows] == [(12, row[0], "0") for row in candles]
    bench.run(5_000)
    trades = json.loads(bench.raw("GET", "/fapi/v1/historicalTrades", "symbol=BTCUSDT&limit=3").body)
    later = json.loads(
        bench.raw("GET", "/fapi/v1/historicalTrades", f"symbol=BTCUSDT&fromId={trades[1]['id']}&limit=1").body
    )
    assert later == [trades[1]]
    history = bench.public("/futures/data/openInterestHist", symbol="BTCUSDT", period="5m", limit=2)
    assert [row["symbol"] for row in history] == ["BTCUSDT"] * 2
    assert bench.public("/fapi/v1/rpiDepth", symbol="BTCUSDT", limit=5)["bids"]
