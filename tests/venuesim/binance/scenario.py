"""Drives the façade through everything whose payload a fixture exists for, and collects what it really sends."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from tests.venuesim.binance.bench import Bench, Sent
from tools.venuesim.exchange.model import PositionMode

GTC = {"type": "LIMIT", "timeInForce": "GTC"}
GTC_ONLY = {"timeInForce": "GTC"}


def collect() -> dict[str, Any]:
    """Name -> payload or list of payloads, as parsed JSON."""
    found: dict[str, Any] = {}
    bench = Bench(symbols=20)
    sent = bench.user_stream()
    _market_rest(bench, found)
    _orders(bench, found)
    _algo_orders(bench, found)
    _account(bench, found)
    _user_stream(sent, found)
    _market_streams(bench, found)
    _sessions(bench, found)
    _liquidation(found)
    _changed_brackets(found)
    _trading_socket(found)
    return found


def _market_rest(bench: Bench, found: dict[str, Any]) -> None:
    for path in ("time", "exchangeInfo", "fundingInfo"):
        found[path] = bench.public(f"/fapi/v1/{path}")
    for path in ("aggTrades", "depth", "fundingRate", "openInterest", "premiumIndex", "trades", "ticker/24hr"):
        found[path] = bench.public(f"/fapi/v1/{path}", symbol="BTCUSDT")
    found["ticker/bookTicker"] = bench.public("/fapi/v1/ticker/bookTicker", symbol="BTCUSDT")
    found["v2/ticker/price"] = bench.public("/fapi/v2/ticker/price", symbol="BTCUSDT")
    found["klines"] = bench.public("/fapi/v1/klines", symbol="BTCUSDT", interval="1h", limit=2)


def _orders(bench: Bench, found: dict[str, Any]) -> None:
    found["order_post_market"] = bench.order(symbol="DOTUSDT", quantity="50", newClientOrderId="open-1")
    order_id = found["order_post_market"]["orderId"]
    found["order_get_market"] = bench.ok("GET", "/fapi/v1/order", symbol="DOTUSDT", orderId=order_id)
    price = f"{bench.price('DOTUSDT') * 97 / 100:.3f}"
    resting = bench.order(symbol="DOTUSDT", quantity="50", price=price, newClientOrderId="rest-1", **GTC)
    found["order_post_limit"] = resting
    amended = {"symbol": "DOTUSDT", "side": "BUY", "quantity": "60", "price": price, "orderId": resting["orderId"]}
    found["order_put"] = bench.ok("PUT", "/fapi/v1/order", modifyId=7, **amended)
    found["orderAmendment"] = bench.ok("GET", "/fapi/v1/orderAmendment", symbol="DOTUSDT")
    one = {"symbol": "DOTUSDT", "orderId": resting["orderId"]}
    found["openOrder"] = bench.ok("GET", "/fapi/v1/openOrder", **one)
    found["openOrders"] = bench.ok("GET", "/fapi/v1/openOrders")
    found["positionRisk_v3"] = bench.ok("GET", "/fapi/v3/positionRisk")
    found["account_v3"] = bench.ok("GET", "/fapi/v3/account")
    found["order_delete"] = bench.ok("DELETE", "/fapi/v1/order", **one)
    found["allOrders"] = bench.ok("GET", "/fapi/v1/allOrders", symbol="DOTUSDT")
    found["userTrades"] = bench.ok("GET", "/fapi/v1/userTrades", symbol="DOTUSDT")
    found["allOpenOrders_delete"] = bench.ok("DELETE", "/fapi/v1/allOpenOrders", symbol="DOTUSDT")
    countdown = {"symbol": "DOTUSDT", "countdownTime": 100_000}
    found["countdownCancelAll"] = bench.ok("POST", "/fapi/v1/countdownCancelAll", **countdown)


def _algo_orders(bench: Bench, found: dict[str, Any]) -> None:
    low = f"{bench.price('DOTUSDT') * 90 / 100:.3f}"
    dot = {"symbol": "DOTUSDT", "quantity": "50", "triggerPrice": low}
    found["algo_post"] = bench.stop(clientAlgoId="stop-1", **dot)
    found["algo_post_trailing"] = bench.stop(
        symbol="DOTUSDT", quantity="50", type="TRAILING_STOP_MARKET", triggerPrice=None, callbackRate="5"
    )
    found["openAlgoOrders"] = bench.ok("GET", "/fapi/v1/openAlgoOrders", symbol="DOTUSDT")
    trailing = found["algo_post_trailing"]["algoId"]
    found["algo_delete"] = bench.ok("DELETE", "/fapi/v1/algoOrder", algoId=trailing)
    bench.move(f"{bench.price('DOTUSDT') * 89 / 100:.3f}", "DOTUSDT")
    found["algo_get"] = bench.ok("GET", "/fapi/v1/algoOrder", clientAlgoId="stop-1")
    found["allAlgoOrders"] = bench.ok("GET", "/fapi/v1/allAlgoOrders", symbol="DOTUSDT")
    found["algoOpenOrders_delete"] = bench.ok("DELETE", "/fapi/v1/algoOpenOrders", symbol="DOTUSDT")
    # Nothing to reduce: the trigger is refused.
    bench.order(symbol="DOTUSDT", quantity="50", newClientOrderId="open-2")
    high = f"{bench.price('DOTUSDT') * 105 / 100:.3f}"
    bench.stop(symbol="DOTUSDT", quantity="50", type="TAKE_PROFIT_MARKET", triggerPrice=high)
    bench.order(symbol="DOTUSDT", side="SELL", quantity="50", reduceOnly="true")
    bench.move(f"{bench.price('DOTUSDT') * 106 / 100:.3f}", "DOTUSDT")


def _account(bench: Bench, found: dict[str, Any]) -> None:
    bench.ok("POST", "/fapi/v1/multiAssetsMargin", multiAssetsMargin="true")
    bench.ok("POST", "/fapi/v1/multiAssetsMargin", multiAssetsMargin="false")
    for path in ("accountConfig", "rateLimit/order", "apiTradingStatus", "multiAssetsMargin", "feeBurn"):
        found[path] = bench.ok("GET", f"/fapi/v1/{path}")
    found["positionSide/dual"] = bench.ok("GET", "/fapi/v1/positionSide/dual")
    found["symbolConfig"] = bench.ok("GET", "/fapi/v1/symbolConfig")
    found["leverageBracket"] = bench.ok("GET", "/fapi/v1/leverageBracket")
    found["commissionRate"] = bench.ok("GET", "/fapi/v1/commissionRate", symbol="BTCUSDT")
    found["income"] = bench.ok("GET", "/fapi/v1/income")
    found["balance_v3"] = bench.ok("GET", "/fapi/v3/balance")
    found["account_v2"] = bench.ok("GET", "/fapi/v2/account")
    found["positionRisk_v2"] = bench.ok("GET", "/fapi/v2/positionRisk")
    found["leverage_post"] = bench.ok("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=10)
    found["marginType_post"] = bench.ok("POST", "/fapi/v1/marginType", symbol="ETHUSDT", marginType="ISOLATED")
    bench.order(symbol="ETHUSDT", quantity="0.1")
    margin = {"symbol": "ETHUSDT", "amount": "100", "type": 1}
    found["positionMargin_post"] = bench.ok("POST", "/fapi/v1/positionMargin", **margin)
    found["positionMargin/history"] = bench.ok("GET", "/fapi/v1/positionMargin/history", symbol="ETHUSDT")
    found["symbolAdlRisk"] = bench.ok("GET", "/fapi/v1/symbolAdlRisk", symbol="BTCUSDT")


def _user_stream(sent: Sent, found: dict[str, Any]) -> None:
    found["TRADE_LITE"] = sent.of("TRADE_LITE")[0]
    for row in sent.of("ORDER_TRADE_UPDATE"):
        found.setdefault(f"ORDER_TRADE_UPDATE:{row['o']['x']}", row)
    for row in sent.of("ALGO_UPDATE"):
        found.setdefault(f"ALGO_UPDATE:{row['o']['X']}", row)
    found["ACCOUNT_UPDATE"] = next(row for row in sent.of("ACCOUNT_UPDATE") if row["a"]["m"] == "ORDER")
    for row in sent.of("ACCOUNT_CONFIG_UPDATE"):
        found[f"ACCOUNT_CONFIG_UPDATE:{'ac' if 'ac' in row else 'ai'}"] = row


def _market_streams(bench: Bench, found: dict[str, Any]) -> None:
    session, public = bench.open("/public/ws/btcusdt@bookTicker/btcusdt@trade/btcusdt@depth/ethusdt@depth5@100ms")
    names = "btcusdt@aggTrade/btcusdt@markPrice@1s/btcusdt@kline_1m/btcusdt@miniTicker/btcusdt@ticker"
    market_session, market = bench.open(f"/market/ws/{names}")
    array_session, arrays = bench.open("/market/ws/!miniTicker@arr/!ticker@arr/!markPrice@arr@1s")
    wrapped_session, wrapped = bench.open("/public/stream", "streams=btcusdt@bookTicker")
    wrapped_market_session, wrapped_market = bench.open("/market/stream", "streams=btcusdt@markPrice@1s")
    bench.run(3_000)
    for opened in (session, market_session, array_session, wrapped_session, wrapped_market_session):
        opened.closed()
    for row in public.frames + market.frames:
        assert isinstance(row, dict)
        partial = row["e"] == "depthUpdate" and row["s"] == "ETHUSDT"
        found.setdefault("stream:depth5" if partial else f"stream:{row['e']}", row)
    for rows in arrays.frames:
        assert isinstance(rows, list)
        found.setdefault(f"stream:{rows[0]['e']}[]", rows)
    found["stream:bookTicker wrapped"] = wrapped.frames[0]
    found["stream:markPriceUpdate wrapped"] = wrapped_market.frames[0]


def _sessions(bench: Bench, found: dict[str, Any]) -> None:
    found["listenKey_post"] = json.loads(bench.raw("POST", "/fapi/v1/listenKey").body)
    found["listenKey_put"] = json.loads(bench.raw("PUT", "/fapi/v1/listenKey").body)
    sent = bench.user_stream()
    bench.leap(61 * 60_000)
    found["listenKeyExpired"] = sent.of("listenKeyExpired")[0]


def _liquidation(found: dict[str, Any]) -> None:
    bench = Bench(balance="1000", mode=PositionMode.HEDGE)
    sent = bench.user_stream()
    forced = bench.open("/market/ws/btcusdt@forceOrder")[1]
    bench.order(quantity="0.200", positionSide="LONG")
    limit = Decimal(bench.ok("GET", "/fapi/v3/positionRisk")[0]["liquidationPrice"])
    bench.move(f"{limit * Decimal('1.0005'):.1f}")
    found["MARGIN_CALL"] = sent.of("MARGIN_CALL")[0]
    bench.move(f"{limit * Decimal('0.99'):.1f}")
    bench.run(2_000)
    found["stream:forceOrder"] = forced.of("forceOrder")[0]
    rows = [row for row in sent.of("ORDER_TRADE_UPDATE") if row["o"]["x"] == "CALCULATED"]
    found["ORDER_TRADE_UPDATE:CALCULATED"] = rows[0]
    found["forceOrders"] = bench.ok("GET", "/fapi/v1/forceOrders")


def _changed_brackets(found: dict[str, Any]) -> None:
    bench = Bench()
    sent = bench.open("/market/ws/!contractInfo")[1]
    instrument = bench.exchange.instrument("BTCUSDT")
    bench.exchange.operator.change_instrument(replace(instrument, brackets=instrument.brackets[1:]))
    found["stream:contractInfo"] = sent.of("contractInfo")[0]


def _trading_socket(found: dict[str, Any]) -> None:
    bench = Bench()
    api = bench.api()
    order = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.01", "price": "74000", **GTC}
    found["ws:order.place"] = api.ask("order.place", newClientOrderId="ws-1", **order)
    one = {"symbol": "BTCUSDT", "origClientOrderId": "ws-1"}
    found["ws:order.modify"] = api.ask("order.modify", side="BUY", quantity="0.02", price="74000", modifyId=1, **one)
    found["ws:order.status"] = api.ask("order.status", **one)
    found["ws:order.cancel"] = api.ask("order.cancel", **one)
    bench.order()
    stop = {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "quantity": "0.01", "reduceOnly": "true"}
    placed = api.ask("algoOrder.place", type="TAKE_PROFIT", triggerPrice="90000", price="90000", **{**stop, **GTC_ONLY})
    found["ws:algoOrder.place"] = placed
    found["ws:algoOrder.cancel"] = api.ask("algoOrder.cancel", algoId=placed["result"]["algoId"])
    for name in ("balance", "position", "status"):
        found[f"ws:v2/account.{name}"] = api.ask(f"v2/account.{name}")
    for name in ("start", "ping", "stop"):
        found[f"ws:userDataStream.{name}"] = api.plain(f"userDataStream.{name}", apiKey="sim")
    found["ws:ticker.price"] = api.plain("ticker.price", symbol="BTCUSDT")
    found["ws:ticker.book"] = api.plain("ticker.book", symbol="BTCUSDT")
    found["ws:error"] = api.ask("order.cancel", **one)
