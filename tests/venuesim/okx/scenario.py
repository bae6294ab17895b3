"""Drives sockets and public questions through everything whose payload a fixture exists for."""

from __future__ import annotations

from typing import Any

from tests.venuesim.okx.desk import BTC
from tests.venuesim.okx.streams import BUSINESS, PRIVATE, PUBLIC, SWAPS, StreamDesk, Wire

ONE = {"instId": BTC}
CODE = 10459
Found = dict[str, Any]


def collect() -> Found:
    """Name -> payload, as parsed JSON."""
    found: Found = {}
    _questions(found)
    _sessions(found)
    _markets(found)
    _account(found)
    _forced(found)
    _commands(found)
    return found


def _questions(found: Found) -> None:
    desk = StreamDesk(symbols=40)
    desk.run(10_000)
    kinds = {"instType": "SWAP"}
    for name in ("instruments", "mark-price", "open-interest"):
        found[name] = desk.get(f"public/{name}", **kinds)
    for name in ("funding-rate", "funding-rate-history", "price-limit", "time"):
        found[name] = desk.get(f"public/{name}", **ONE)
    found["position-tiers"] = desk.get("public/position-tiers", **kinds, tdMode="cross", instFamily="BTC-USDT")
    found["tickers"] = desk.get("market/tickers", **kinds)
    for name in ("books", "trades", "candles", "mark-price-candles"):
        found[name] = desk.get(f"market/{name}", **ONE)


def _sessions(found: Found) -> None:
    desk = StreamDesk()
    wire = desk.connect(PRIVATE)
    found["login ok"] = wire.log_in()
    wire.subscribe("orders", **SWAPS)
    found["count"] = wire.answers[-1]
    public = desk.connect(PUBLIC)
    found["ack"] = public.subscribe("tickers", **ONE)
    found["unsubscribed"] = public.ask("unsubscribe", {"channel": "tickers", **ONE})
    found["error"] = wire.say({"id": "1512", "op": "subscribe", "argss": []})
    found["login error"] = desk.connect(PRIVATE).log_in(secret="other")


def _markets(found: Found) -> None:
    desk = StreamDesk()
    names = ("tickers", "trades", "mark-price", "price-limit", "funding-rate", "bbo-tbt", "books5", "books")
    public = desk.public(*names, **ONE)
    public.subscribe("instruments", **SWAPS)
    business = desk.public("candle1Dutc", place=BUSINESS, **ONE)
    desk.run(2_000)
    desk.fault("change_filters", {"symbol": BTC}, at_ms=0, body={"tick": "0.2"})
    desk.run(10)
    for name in (*names, "instruments"):
        found[f"stream {name}"] = public.of(name)[0]
    found["stream books again"] = public.of("books")[-1]
    found["stream candle"] = business.of("candle1Dutc")[0]


def _account(found: Found) -> None:
    desk = StreamDesk()
    private, business = desk.everything()
    legs = {"attachAlgoClOrdId": "sl1", "slTriggerPx": desk.off("0.9"), "slOrdPx": "-1"}
    desk.order(attachAlgoOrds=[legs])
    desk.algo(sz=None, closeFraction="1", slTriggerPx=desk.off("0.9"), slOrdPx="-1")
    desk.order(ordType="optimal_limit_ioc")
    desk.algo(ordType="trigger", triggerPx=desk.off("0.95"), orderPx="-1", reduceOnly=None)
    desk.algo(ordType="move_order_stop", callbackRatio="0.1")
    for frame in private.of("orders"):
        found[f"orders {frame['data'][0]['state']} {frame['data'][0]['ordType']}"] = frame
    for channel in ("positions", "balance_and_position", "account"):
        found[channel] = private.of(channel)[-1]
    found["algo-advance"] = business.of("algo-advance")[0]
    _by_type(found, business)
    private.forget()
    desk.move(desk.off("0.94"))
    found["orders by trigger"] = next(row for row in private.of("orders") if row["data"][0]["state"] == "filled")
    found["account snapshot"] = _first(desk, "account")
    found["positions snapshot"] = _first(desk, "positions")


def _by_type(found: Found, business: Wire) -> None:
    for frame in business.of("orders-algo"):
        found[f"orders-algo {frame['data'][0]['ordType']}"] = frame


def _first(desk: StreamDesk, channel: str) -> Any:
    desk.run(1_000)
    wire = desk.connect(PRIVATE)
    wire.log_in()
    wire.subscribe(channel, **({} if channel == "account" else SWAPS))
    return wire.of(channel)[0]


def _forced(found: Found) -> None:
    for kind in ("adl", "liquidate"):
        desk = StreamDesk()
        private = desk.private("orders")
        desk.order(sz="2")
        private.forget()
        desk.fault(kind, {"symbol": BTC}, at_ms=0)
        desk.run(10)
        found[f"orders {kind}"] = private.of("orders")[-1]
    desk = StreamDesk(balance=60)
    private = desk.private("liquidation-warning")
    desk.order(sz="1")
    for step in range(60):
        desk.move(desk.off(f"{1 - step / 5000:.4f}"))
        if private.pushed:
            break
    found["liquidation-warning"] = private.pushed[0]


def _commands(found: Found) -> None:
    desk = StreamDesk()
    wire = desk.private()
    order = {"instIdCode": CODE, "side": "buy", "tdMode": "cross", "ordType": "limit", "sz": "1", "px": desk.off("0.9")}
    wrong = {**order, "side": "sell", "reduceOnly": True}
    found["op order"] = wire.ask("order", {**order, "clOrdId": "mine1"}, id="1")
    found["op order refused"] = wire.ask("order", wrong, id="2")
    found["op batch"] = wire.ask("batch-orders", order, order, id="3")
    found["op batch partial"] = wire.ask("batch-orders", order, wrong, id="4")
    found["op batch refused"] = wire.ask("batch-orders", wrong, wrong, id="5")
    found["op malformed"] = wire.ask("order", "what", id="6")
    named = {"instIdCode": CODE, "clOrdId": "mine1"}
    found["op amend"] = wire.ask("amend-order", {**named, "newSz": "2", "reqId": "b1"}, id="7")
    found["op cancel"] = wire.ask("cancel-order", named, id="8")
    found["op amend refused"] = wire.ask("amend-order", {**named, "newSz": "2", "reqId": "b1"}, id="9")
    found["op cancel refused"] = wire.ask("cancel-order", named, id="10")
