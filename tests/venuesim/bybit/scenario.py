"""Drives the façade through everything whose payload a fixture exists for, and collects what it really sends."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.venuesim.bybit.desk import BTC, Desk, Wire

LINEAR = {"category": "linear"}
ONE = {**LINEAR, "symbol": BTC}
HOUR_MS = 3_600_000
Found = dict[str, Any]


def collect() -> Found:
    """Name -> payload, as parsed JSON."""
    found: Found = {}
    _market_rest(found)
    _public_streams(found)
    desk = Desk()
    wire = desk.private_stream("order", "execution", "execution.fast", "position", "wallet")
    _orders(desk, found)
    _account(desk, found)
    _batches(desk, found)
    _private_stream(desk, wire, found)
    _sessions(found)
    _deleveraged(found)
    _trading_socket(found)
    return found


def _near(desk: Desk, percent: str) -> str:
    return f"{desk.price() * Decimal(percent) / 100:.1f}"


def _market_rest(found: Found) -> None:
    desk = Desk(symbols=40)
    desk.run(10_000)
    for name in ("instruments-info", "tickers", "risk-limit"):
        found[name] = desk.public(f"/v5/market/{name}", **LINEAR)
    for name in ("orderbook", "recent-trade", "funding/history", "price-limit"):
        found[name] = desk.public(f"/v5/market/{name}", **ONE)
    for name in ("kline", "mark-price-kline"):
        found[name] = desk.public(f"/v5/market/{name}", **ONE, interval="1")
    found["time"] = desk.public("/v5/market/time")


def _public_streams(found: Found) -> None:
    desk = Desk()
    names = ("tickers", "publicTrade", "kline.5", "orderbook.50", "allLiquidation", "priceLimit")
    wire = desk.public_stream()
    found["public ack"] = wire.ask("subscribe", *(f"{name}.{BTC}" for name in names), req_id="a")
    found["public failure"] = wire.ask("subscribe", "invalid.topic")
    found["public pong"] = wire.ask("ping", req_id="p")
    desk.order()
    desk.fault("liquidate", {"symbol": BTC}, at_ms=0)
    desk.run(3_000)
    for name in names:
        frames = wire.of(f"{name}.{BTC}")
        found[f"stream {name}"] = frames[0]
        found[f"stream {name} again"] = frames[-1]


def _orders(desk: Desk, found: Found) -> None:
    order = {**ONE, "side": "Buy", "qty": "0.010"}
    found["order/create"] = desk.post("/v5/order/create", **order, orderType="Market", orderLinkId="open-1")
    limit = {**order, "orderType": "Limit", "price": _near(desk, "97"), "orderLinkId": "rest-1"}
    limit |= {"stopLoss": _near(desk, "90"), "takeProfit": _near(desk, "110")}
    placed = desk.post("/v5/order/create", **limit)["result"]["orderId"]
    found["order/amend"] = desk.post("/v5/order/amend", **ONE, orderId=placed, qty="0.020")
    found["order/pre-check"] = desk.post("/v5/order/pre-check", **{**limit, "orderLinkId": "rest-2"})
    stop = {**ONE, "side": "Sell", "qty": "0.010", "orderType": "Market", "reduceOnly": True, "orderLinkId": "stop-1"}
    desk.ok("POST", "/v5/order/create", **stop, triggerPrice=_near(desk, "95"), triggerDirection=2)
    levels = {"stopLoss": _near(desk, "92"), "takeProfit": _near(desk, "108")}
    found["trading-stop"] = desk.post("/v5/position/trading-stop", **ONE, tpslMode="Full", positionIdx=0, **levels)
    found["order/realtime"] = desk.get("/v5/order/realtime", **ONE)
    found["order/realtime stops"] = desk.get("/v5/order/realtime", **ONE, orderFilter="StopOrder")
    found["position/list"] = desk.get("/v5/position/list", **ONE)
    found["position/symbol-info"] = desk.get("/v5/position/symbol-info", **ONE)
    found["order/cancel"] = desk.post("/v5/order/cancel", **ONE, orderId=placed)
    found["order/cancel-all"] = desk.post("/v5/order/cancel-all", **ONE)
    desk.ok("POST", "/v5/order/create", **{**stop, "orderLinkId": "close-1"})
    desk.run(9 * HOUR_MS)
    for name in ("order/history", "execution/list", "position/closed-pnl"):
        found[name] = desk.get(f"/v5/{name}", **ONE)


def _account(desk: Desk, found: Found) -> None:
    for name in ("account/info", "user/query-api", "account/query-dcp-info"):
        found[name] = desk.get(f"/v5/{name}")
    found["wallet-balance"] = desk.get("/v5/account/wallet-balance", accountType="UNIFIED")
    found["transaction-log"] = desk.get("/v5/account/transaction-log", accountType="UNIFIED", **LINEAR)
    found["fee-rate"] = desk.get("/v5/account/fee-rate", **LINEAR)
    found["account/instruments-info"] = desk.get("/v5/account/instruments-info", **LINEAR)
    leverage = {"buyLeverage": "5", "sellLeverage": "5"}
    found["set-leverage"] = desk.post("/v5/position/set-leverage", **ONE, **leverage)
    found["error"] = desk.post("/v5/position/set-leverage", **ONE, **leverage)
    found["switch-mode"] = desk.post("/v5/position/switch-mode", **LINEAR, coin="USDT", mode=3)
    desk.ok("POST", "/v5/position/switch-mode", **LINEAR, coin="USDT", mode=0)
    dead = {"product": "DERIVATIVES", "timeWindow": 40}
    found["disconnected-cancel-all"] = desk.post("/v5/order/disconnected-cancel-all", **dead)
    desk.order(orderLinkId="open-2")
    found["set-margin-mode refused"] = desk.post("/v5/account/set-margin-mode", setMarginMode="PORTFOLIO_MARGIN")


def _batches(desk: Desk, found: Found) -> None:
    desk.run(2_000)
    row = {"symbol": BTC, "side": "Buy", "qty": "0.010", "orderType": "Limit", "price": _near(desk, "97")}
    made = [{**row, "orderLinkId": f"batch-{number}"} for number in range(2)]
    found["order/create-batch"] = desk.post("/v5/order/create-batch", **LINEAR, request=made)
    named = [{"symbol": BTC, "orderLinkId": entry["orderLinkId"]} for entry in made]
    changed = [{**entry, "qty": "0.020"} for entry in named]
    found["order/amend-batch"] = desk.post("/v5/order/amend-batch", **LINEAR, request=changed)
    found["order/cancel-batch"] = desk.post("/v5/order/cancel-batch", **LINEAR, request=named)


def _private_stream(desk: Desk, wire: Wire, found: Found) -> None:
    desk.order(orderLinkId="open-3")
    levels = {"stopLoss": _near(desk, "92"), "takeProfit": _near(desk, "108")}
    desk.ok("POST", "/v5/position/trading-stop", **ONE, tpslMode="Full", positionIdx=0, **levels)
    for frame in wire.of("order"):
        row = frame["data"][0]
        found.setdefault(f"order {row['orderStatus']} {row['stopOrderType']}".rstrip(), frame)
    for topic in ("execution", "execution.fast", "wallet"):
        found[topic] = next(frame for frame in wire.of(topic) if frame["data"][0].get("execType") != "Funding")
    found["position"] = next(frame for frame in wire.of("position") if frame["data"][0]["side"])
    found["position flat"] = next(frame for frame in wire.of("position") if not frame["data"][0]["side"])
    found["position row"] = found["position"]["data"][0]


def _sessions(found: Found) -> None:
    desk = Desk()
    wire = desk.connect("/v5/private")
    found["private auth"] = wire.log_in()
    found["private ack"] = wire.ask("subscribe", "order")
    found["private pong"] = wire.ask("ping", req_id="test")
    found["trade auth failure"] = desk.connect("/v5/trade").log_in(key="other")


def _deleveraged(found: Found) -> None:
    desk = Desk()
    wire = desk.private_stream("execution")
    desk.order()
    desk.fault("adl", {"symbol": BTC}, at_ms=0, fraction=0.5)
    desk.run(10)
    found["execution adl"] = wire.of("execution")[-1]


def _trading_socket(found: Found) -> None:
    desk = Desk()
    wire = desk.connect("/v5/trade")
    found["trade auth"] = wire.log_in()
    found["trade pong"] = wire.ask("ping")
    head = {"header": {"X-BAPI-TIMESTAMP": str(desk.simulation.now_ms()), "X-BAPI-RECV-WINDOW": "5000"}}
    row = {"symbol": BTC, "side": "Buy", "qty": "0.010", "orderType": "Limit", "price": _near(desk, "97")}
    found["order.create"] = wire.ask("order.create", {**LINEAR, **row}, reqId="a", **head)
    # A position index of the other mode is what the fixture's rows are refused for.
    rows = [{**row, "positionIdx": 1, "orderLinkId": f"ws-{number}"} for number in range(3)]
    found["order.create-batch"] = wire.ask("order.create-batch", {**LINEAR, "request": rows}, **head)
