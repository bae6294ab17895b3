"""What leaves for each venue, byte for byte, as docs/FAILURES.md demands it (ORD-12, ORD-13, STP-11).

Every request goes through the venue's client, its signing and whatever the library does to it: an upgrade that changes
a body fails here.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest

from core.domain.ids import Leg, VenueName
from core.domain.order import Order, OrderIntent, OrderStatus, OrderType
from core.domain.signal import Side
from core.engine.ports import Accepted, Departure
from core.errors import VenueError
from tests.builders import price
from tests.venues.binance_rig import Asked
from tests.venues.rigs import VENUES, VenueRig, a_venue_rig, sent

BINANCE, BYBIT, OKX = VenueName.BINANCE, VenueName.BYBIT, VenueName.OKX
ID = "<our id>"
STOP_ID = "<our stop's id>"
Params = dict[str, Any]

_BINANCE = {"symbol": "BTCUSDT", "quantity": "0.002", "newOrderRespType": "RESULT", "newClientOrderId": ID}
_BINANCE_STOP = {
    "symbol": "BTCUSDT",
    "quantity": "0.002",
    "algoType": "CONDITIONAL",
    "type": "STOP_MARKET",
    "triggerPrice": "60000.5",
    "workingType": "MARK_PRICE",
    "clientAlgoId": ID,
}
_BYBIT = {"category": "linear", "symbol": "BTCUSDT", "qty": "0.002", "orderLinkId": ID}
_BYBIT_STOP = {"tpslMode": "Full", "stopLoss": "60000.5", "slTriggerBy": "MarkPrice", "slOrderType": "Market"}
_OKX = {"instId": "BTC-USDT-SWAP", "tdMode": "cross", "sz": "0.2", "clOrdId": ID}
_OKX_ATTACHED = {
    "attachAlgoOrds": [
        {"attachAlgoClOrdId": STOP_ID, "slTriggerPx": "60000.5", "slOrdPx": "-1", "slTriggerPxType": "mark"}
    ]
}
_OKX_STOP = {
    "instId": "BTC-USDT-SWAP",
    "tdMode": "cross",
    "sz": "0.2",
    "ordType": "conditional",
    "slTriggerPx": "60000.5",
    "slOrdPx": "-1",
    "slTriggerPxType": "mark",
    "cxlOnClosePos": True,
    "algoClOrdId": ID,
    "reduceOnly": True,
}

ORDER = {BINANCE: "/fapi/v1/order", BYBIT: "/v5/order/create", OKX: "/api/v5/trade/order"}
STOP = {BINANCE: "/fapi/v1/algoOrder", BYBIT: "/v5/position/trading-stop", OKX: "/api/v5/trade/order-algo"}

ENTRIES: Mapping[tuple[VenueName, bool], Params] = {
    (BINANCE, False): _BINANCE | {"type": "MARKET", "side": "BUY"},
    (BINANCE, True): _BINANCE | {"type": "MARKET", "side": "BUY", "positionSide": "LONG"},
    (BYBIT, False): _BYBIT | _BYBIT_STOP | {"side": "Buy", "orderType": "Market", "positionIdx": 0},
    (BYBIT, True): _BYBIT | _BYBIT_STOP | {"side": "Buy", "orderType": "Market", "positionIdx": 1},
    (OKX, False): _OKX | _OKX_ATTACHED | {"ordType": "market", "side": "buy"},
    (OKX, True): _OKX | _OKX_ATTACHED | {"ordType": "market", "side": "buy", "posSide": "long"},
}
"""A market entry, with the stop that travels along where stops do."""
LIMITS: Mapping[tuple[VenueName, bool], Params] = {
    (BINANCE, False): _BINANCE | {"type": "LIMIT", "timeInForce": "IOC", "price": "70000.1", "side": "SELL"},
    (BINANCE, True): _BINANCE
    | {"type": "LIMIT", "timeInForce": "IOC", "price": "70000.1", "side": "SELL", "positionSide": "SHORT"},
    (BYBIT, False): _BYBIT
    | {"orderType": "Limit", "timeInForce": "IOC", "price": "70000.1", "side": "Sell", "positionIdx": 0},
    (BYBIT, True): _BYBIT
    | {"orderType": "Limit", "timeInForce": "IOC", "price": "70000.1", "side": "Sell", "positionIdx": 2},
    (OKX, False): _OKX | {"ordType": "ioc", "px": "70000.1", "side": "sell"},
    (OKX, True): _OKX | {"ordType": "ioc", "px": "70000.1", "side": "sell", "posSide": "short"},
}
CLOSES: Mapping[tuple[VenueName, bool], Params] = {
    (BINANCE, False): _BINANCE | {"type": "MARKET", "side": "SELL", "reduceOnly": "true"},
    (BINANCE, True): _BINANCE | {"type": "MARKET", "side": "SELL", "positionSide": "LONG"},
    (BYBIT, False): _BYBIT | {"side": "Sell", "orderType": "Market", "positionIdx": 0, "reduceOnly": True},
    (BYBIT, True): _BYBIT | {"side": "Sell", "orderType": "Market", "positionIdx": 1, "reduceOnly": True},
    (OKX, False): _OKX | {"ordType": "market", "side": "sell", "reduceOnly": True},
    (OKX, True): _OKX | {"ordType": "market", "side": "sell", "posSide": "long"},
}
"""Of a long; in hedge mode the two venues that have a side for it take no reduce-only beside it."""
STOPS: Mapping[tuple[VenueName, bool], Params] = {
    (BINANCE, False): _BINANCE_STOP | {"side": "SELL", "reduceOnly": "true"},
    (BINANCE, True): _BINANCE_STOP | {"side": "SELL", "positionSide": "LONG"},
    (BYBIT, False): {"category": "linear", "symbol": "BTCUSDT", "positionIdx": 0} | _BYBIT_STOP,
    (BYBIT, True): {"category": "linear", "symbol": "BTCUSDT", "positionIdx": 1} | _BYBIT_STOP,
    (OKX, False): _OKX_STOP | {"side": "sell"},
    (OKX, True): _OKX_STOP | {"side": "sell", "posSide": "long"},
}
"""Of a long: a market order, fired by the mark price, that can only close."""

EVERYWHERE = pytest.mark.parametrize(("venue", "hedge"), list(ENTRIES), ids=str)


def named(params: Params, intent: OrderIntent, stop: OrderIntent | None = None) -> Any:
    """A golden table with the ids in their places."""
    text = json.dumps(params).replace(ID, intent.client_order_id)
    return json.loads(text if stop is None else text.replace(STOP_ID, stop.client_order_id))


def only(rig: VenueRig) -> Asked:
    """The one command that left; a refused close may be followed by a look at the account."""
    (asked,) = [asked for asked in rig.tap.asked if asked.method != "GET"]
    return asked


@pytest.mark.failure("ORD-12")
@EVERYWHERE
async def test_an_entry_says_exactly_this_and_brings_its_stop(venue: VenueName, hedge: bool) -> None:
    async with a_venue_rig(venue, hedge=hedge) as rig:
        departure = rig.departing(rig.entry(), level="60000.5")
        assert isinstance(await rig.client.submit(departure), Accepted)
        asked = only(rig)
        assert (asked.method, asked.path) == ("POST", ORDER[venue])
        assert sent(asked) == named(ENTRIES[venue, hedge], departure.intent, departure.stop)


@pytest.mark.failure("ORD-12")
@EVERYWHERE
async def test_a_limit_entry_says_exactly_this(venue: VenueName, hedge: bool) -> None:
    async with a_venue_rig(venue, hedge=hedge) as rig:
        entry = rig.entry(side=Side.SELL, type=OrderType.LIMIT_IOC, price=price("70000.1"))
        await rig.client.submit(Departure(intent=entry))
        assert only(rig).path == ORDER[venue]
        assert sent(only(rig)) == named(LIMITS[venue, hedge], entry)


@pytest.mark.failure("ORD-12")
@EVERYWHERE
async def test_a_close_says_exactly_this_and_can_only_reduce(venue: VenueName, hedge: bool) -> None:
    async with a_venue_rig(venue, hedge=hedge) as rig:
        await rig.taken(rig.entry())
        rig.tap.asked.clear()
        close = rig.close()
        assert isinstance(await rig.client.submit(Departure(intent=close)), Accepted)
        assert only(rig).path == ORDER[venue]
        assert sent(only(rig)) == named(CLOSES[venue, hedge], close)


@pytest.mark.failure("ORD-12")
@pytest.mark.failure("STP-11")
@pytest.mark.failure("STP-18")
@EVERYWHERE
async def test_a_stop_says_exactly_this_market_order_fired_by_the_mark(venue: VenueName, hedge: bool) -> None:
    async with a_venue_rig(venue, hedge=hedge) as rig:
        await rig.taken(rig.entry())
        rig.tap.asked.clear()
        stop = rig.stop(level="60000.5")
        assert isinstance(await rig.client.submit(Departure(intent=stop)), Accepted)
        assert (only(rig).method, only(rig).path) == ("POST", STOP[venue])
        assert sent(only(rig)) == named(STOPS[venue, hedge], stop)


def test_every_venue_has_its_golden_requests() -> None:
    for table in (ENTRIES, LIMITS, CLOSES, STOPS):
        assert set(table) == {(venue, hedge) for venue in VenueName for hedge in (False, True)}


CANCELS: Mapping[VenueName, tuple[str, str, Any]] = {
    BINANCE: ("DELETE", STOP[BINANCE], {"symbol": "BTCUSDT", "clientAlgoId": ID}),
    BYBIT: (
        "POST",
        STOP[BYBIT],
        {"category": "linear", "symbol": "BTCUSDT", "positionIdx": 0, "tpslMode": "Full", "stopLoss": "0"},
    ),
    OKX: ("POST", "/api/v5/trade/cancel-algos", [{"instId": "BTC-USDT-SWAP", "algoClOrdId": ID}]),
}
PLAIN_CANCELS: Mapping[VenueName, tuple[str, str, Any]] = {
    BINANCE: ("DELETE", ORDER[BINANCE], {"symbol": "BTCUSDT", "origClientOrderId": ID}),
    BYBIT: ("POST", "/v5/order/cancel", {"category": "linear", "symbol": "BTCUSDT", "orderLinkId": ID}),
    OKX: ("POST", "/api/v5/trade/cancel-order", {"instId": "BTC-USDT-SWAP", "clOrdId": ID}),
}


@pytest.mark.failure("ORD-12")
@pytest.mark.failure("STP-09")
@pytest.mark.parametrize("venue", VENUES)
async def test_a_cancel_goes_to_the_store_where_the_order_is(venue: VenueName) -> None:
    async with a_venue_rig(venue) as rig:
        await rig.taken(rig.entry())
        stop = await rig.taken(rig.stop())
        probe = await rig.taken(rig.entry(type=OrderType.POST_ONLY, price=price(rig.level(97)), leg=Leg.PROBE))
        for order, (method, path, params) in ((stop, CANCELS[venue]), (probe, PLAIN_CANCELS[venue])):
            rig.tap.asked.clear()
            assert isinstance(await rig.client.cancel(order), Accepted)
            assert (only(rig).method, only(rig).path) == (method, path)
            assert sent(only(rig)) == named(params, order.intent)
        assert await rig.resting() == []


MOVES: Mapping[VenueName, tuple[str, Any]] = {
    BYBIT: (STOP[BYBIT], {"category": "linear", "symbol": "BTCUSDT", "positionIdx": 0} | _BYBIT_STOP),
    OKX: (
        "/api/v5/trade/amend-algos",
        {"instId": "BTC-USDT-SWAP", "algoClOrdId": ID, "newSlTriggerPx": "60000.5", "newSlOrdPx": "-1"},
    ),
}


@pytest.mark.failure("ORD-12")
@pytest.mark.parametrize("venue", list(MOVES))
async def test_a_stop_is_moved_by_exactly_this(venue: VenueName) -> None:
    async with a_venue_rig(venue) as rig:
        await rig.taken(rig.entry())
        stop = await rig.taken(rig.stop())
        rig.tap.asked.clear()
        moved = await rig.client.amend_stop(stop, trigger_price=price("60000.5"), quantity=stop.quantity)
        assert isinstance(moved, Accepted), moved
        path, params = MOVES[venue]
        assert only(rig).path == path
        assert sent(only(rig)) == named(params, stop.intent)


LEVERAGES: Mapping[VenueName, tuple[str, Any]] = {
    BINANCE: ("/fapi/v1/leverage", {"symbol": "BTCUSDT", "leverage": "7"}),
    BYBIT: (
        "/v5/position/set-leverage",
        {"category": "linear", "symbol": "BTCUSDT", "buyLeverage": "7", "sellLeverage": "7"},
    ),
    OKX: ("/api/v5/account/set-leverage", {"instId": "BTC-USDT-SWAP", "lever": "7", "mgnMode": "cross"}),
}


@pytest.mark.failure("ORD-12")
@pytest.mark.parametrize("venue", VENUES)
async def test_leverage_is_set_by_exactly_this(venue: VenueName) -> None:
    async with a_venue_rig(venue) as rig:
        await rig.client.set_leverage(rig.btc.symbol, 7)
        path, params = LEVERAGES[venue]
        assert (only(rig).method, only(rig).path, sent(only(rig))) == ("POST", path, params)


BATCHES = {BYBIT: "/v5/order/create-batch", OKX: "/api/v5/trade/batch-orders"}


@pytest.mark.failure("ORD-12")
@pytest.mark.parametrize("hedge", [False, True], ids=["one-way", "hedge"])
@pytest.mark.parametrize("venue", list(BATCHES))
async def test_entries_that_leave_together_say_what_each_says_alone(venue: VenueName, hedge: bool) -> None:
    async with a_venue_rig(venue, hedge=hedge) as rig:
        group = [rig.departing(rig.entry(name=f"n{n}"), level="60000.5") for n in range(3)]
        assert {type(outcome) for outcome in await rig.client.submit_together(group)} == {Accepted}
        told = sent(only(rig))
        rows = told["request"] if venue is BYBIT else told
        alone = [named(ENTRIES[venue, hedge], departure.intent, departure.stop) for departure in group]
        if venue is BYBIT:
            assert {key: value for key, value in told.items() if key != "request"} == {"category": "linear"}
            alone = [{key: value for key, value in row.items() if key != "category"} for row in alone]
        assert only(rig).path == BATCHES[venue]
        assert rows == alone


@pytest.mark.failure("ORD-12")
async def test_okx_counts_contracts_and_the_others_coins() -> None:
    said = {}
    for venue in VENUES:
        async with a_venue_rig(venue) as rig:
            await rig.client.submit(Departure(intent=rig.entry(size="0.03")))
            said[venue] = sent(only(rig))
            assert await rig.held() == Decimal("0.03")
    assert (said[BINANCE]["quantity"], said[BYBIT]["qty"], said[OKX]["sz"]) == ("0.03", "0.03", "3")


# --- ORD-13: signatures -----------------------------------------------------------------------------------------------


def _signed_at_binance(asked: Asked) -> None:
    text, _, signature = asked.signed_text.rpartition("&signature=")
    assert hmac.new(b"sim", text.encode(), hashlib.sha256).hexdigest() == signature


def _signed_at_bybit(asked: Asked) -> None:
    headers = {name.lower(): value for name, value in asked.headers.items()}
    text = headers["x-bapi-timestamp"] + "sim" + headers["x-bapi-recv-window"] + (asked.query or asked.body)
    assert hmac.new(b"sim", text.encode(), hashlib.sha256).hexdigest() == headers["x-bapi-sign"]


def _signed_at_okx(asked: Asked) -> None:
    target = asked.path + (f"?{asked.query}" if asked.query else "")
    text = asked.headers["OK-ACCESS-TIMESTAMP"] + asked.method + target + asked.body
    digest = hmac.new(b"sim", text.encode(), hashlib.sha256).digest()
    assert b64encode(digest).decode() == asked.headers["OK-ACCESS-SIGN"]


SIGNED: Mapping[VenueName, Callable[[Asked], None]] = {
    BINANCE: _signed_at_binance,
    BYBIT: _signed_at_bybit,
    OKX: _signed_at_okx,
}
"""Written anew from the venues' rules: nothing of ours is asked what is signed."""
CALLS: Mapping[VenueName, Mapping[str, str]] = {
    BINANCE: {"GET": "fapiPrivateGetOrder", "POST": "fapiPrivatePostOrder"},
    BYBIT: {"GET": "privateGetV5OrderRealtime", "POST": "privatePostV5OrderCreate"},
    OKX: {"GET": "privateGetTradeOrder", "POST": "privatePostTradeOrder"},
}
ODD = {"empty": "", "other scripts": "ÜBER 価格", "delimiters": "a b&c=d+e", "percent": "50%", "quote": 'a"b\\c'}


@pytest.mark.failure("ORD-13")
@pytest.mark.parametrize("value", ODD.values(), ids=list(ODD))
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("venue", VENUES)
async def test_odd_values_are_signed_as_they_are_sent(venue: VenueName, method: str, value: str) -> None:
    """What arrives is what was meant, its signature is over the very text that is sent, and the venue takes it: it
    refuses the order for what is in it and not for the signature."""
    async with a_venue_rig(venue, streaming=False) as rig:
        call: Callable[[Params], Awaitable[Any]] = getattr(rig.client._ccxt, CALLS[venue][method])  # type: ignore[attr-defined]
        told = ""
        try:
            await call({"symbol": "BTCUSDT", "instId": "BTC-USDT-SWAP", "category": "linear", "note": value})
        except VenueError as error:
            told = str(error).lower()
        assert "sign" not in told
        (asked,) = rig.tap.asked
        assert asked.query.isascii()
        assert _fields(asked)["note"] == value
        SIGNED[venue](asked)


def _fields(asked: Asked) -> Mapping[str, Any]:
    if asked.body.startswith("{"):
        return json.loads(asked.body)  # type: ignore[no-any-return]
    return dict(parse_qsl(asked.query or asked.body, keep_blank_values=True))


@pytest.mark.failure("ORD-13")
@pytest.mark.parametrize("venue", VENUES)
async def test_everything_private_is_signed_over_what_is_sent(venue: VenueName) -> None:
    async with a_venue_rig(venue) as rig:
        await rig.taken(rig.departing(rig.entry()))
        order = Order(intent=rig.entry(), status=OrderStatus.ACCEPTED)
        await rig.client.query_order(order.intent)
        await rig.client.positions()
        await rig.client.fills(rig.btc, rig.clock.now_ms() - 60_000)
        await rig.client.cancel(order)
        queries = set()
        for asked in rig.tap.asked:
            SIGNED[venue](asked)
            queries.add((asked.method, bool(asked.query)))
        assert ("GET", True) in queries
        assert {method for method, _ in queries} > {"GET"}


# --- what else is said ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("venue", VENUES)
async def test_nobody_else_is_named_as_the_source_of_our_orders(venue: VenueName) -> None:
    """The library signs orders with a broker's name of its own where it may."""
    async with a_venue_rig(venue) as rig:
        await rig.client.submit(rig.departing(rig.entry()))
        (asked,) = rig.tap.asked
        said = json.dumps([asked.signed_text, dict(asked.headers)]).lower()
        assert "ccxt" not in said
        assert not {"referer", "x-referer", "broker", "brokerid", "tag"} & {name.lower() for name in asked.headers}


WINDOWS: Mapping[VenueName, Callable[[Asked], str]] = {
    BINANCE: lambda asked: dict(parse_qsl(asked.signed_text))["recvWindow"],
    BYBIT: lambda asked: asked.headers["X-BAPI-RECV-WINDOW"],
}
"""OKX has a window of its own: 30 s, the same for everybody."""


@pytest.mark.failure("NET-01")
@pytest.mark.parametrize("venue", list(WINDOWS))
async def test_a_request_may_travel_ten_seconds(venue: VenueName) -> None:
    async with a_venue_rig(venue) as rig:
        await rig.client.submit(Departure(intent=rig.entry()))
        await rig.client.positions()
        assert {WINDOWS[venue](asked) for asked in rig.tap.asked} == {"10000"}
