"""What goes over the wire: exactly the keys and values each endpoint documents, and what each request is counted as."""

import hashlib
import hmac
import json
from typing import Any

import pytest
from msgspec.structs import replace

from core.domain.order import Order, OrderIntent, OrderStatus, OrderType, TriggerReference
from core.domain.signal import Side
from core.venues.bybit import orders
from core.venues.bybit.facts import PRODUCTION, TESTNET, hosts_of
from core.venues.bybit.limits import ADDRESS, LIMITS, charge_of
from core.venues.request_budget import Lane
from tests.builders import price
from tests.venues.bybit.desk import a_desk, a_stop, an_intent, with_stop

CLOSE = replace(an_intent(side=Side.SELL, name="close"), reduce_only=True)


@pytest.mark.parametrize(
    ("intent", "index", "expected"),
    [
        (an_intent(), 0, {"side": "Buy", "orderType": "Market", "qty": "0.002", "positionIdx": 0}),
        (
            an_intent(OrderType.LIMIT_IOC, side=Side.SELL, limit="80000.50"),
            2,
            {
                "side": "Sell",
                "orderType": "Limit",
                "qty": "0.002",
                "positionIdx": 2,
                "price": "80000.5",
                "timeInForce": "IOC",
            },
        ),
        (
            an_intent(OrderType.POST_ONLY, limit="70000"),
            0,
            {
                "side": "Buy",
                "orderType": "Limit",
                "qty": "0.002",
                "positionIdx": 0,
                "price": "70000",
                "timeInForce": "PostOnly",
            },
        ),
        (
            CLOSE,
            1,
            {"side": "Sell", "orderType": "Market", "qty": "0.002", "positionIdx": 1, "reduceOnly": True},
        ),
    ],
    ids=["market", "limit ioc, hedge", "post-only", "close, hedge"],
)
def test_an_order_has_the_documented_parameters(intent: OrderIntent, index: int, expected: dict[str, Any]) -> None:
    named = {"category": "linear", "symbol": "BTCUSDT", "orderLinkId": intent.client_order_id}
    assert orders.placement(intent, "BTCUSDT", index) == named | expected


@pytest.mark.parametrize(
    ("reference", "trigger"),
    [(TriggerReference.MARK_PRICE, "MarkPrice"), (TriggerReference.CONTRACT_PRICE, "LastPrice")],
)
def test_the_stop_that_travels_along_says_which_price_fires_it(reference: TriggerReference, trigger: str) -> None:
    stop = a_stop("72000.10", reference=reference)
    told = orders.order_row(an_intent(), "BTCUSDT", 0, stop)
    attached = {"tpslMode": "Full", "stopLoss": "72000.1", "slTriggerBy": trigger, "slOrderType": "Market"}
    assert told == orders.order_row(an_intent(), "BTCUSDT", 0) | attached


def test_the_stop_of_a_position_is_set_moved_and_taken_away_by_its_level() -> None:
    place = {"category": "linear", "symbol": "BTCUSDT", "positionIdx": 2, "tpslMode": "Full"}
    set_to = {"slTriggerBy": "MarkPrice", "slOrderType": "Market"}
    stop = a_stop("80000", side=Side.BUY)
    assert orders.position_stop(stop, "BTCUSDT", 2) == place | set_to | {"stopLoss": "80000"}
    assert orders.position_stop(stop, "BTCUSDT", 2, price("79000")) == place | set_to | {"stopLoss": "79000"}
    assert orders.no_position_stop("BTCUSDT", 2) == place | {"stopLoss": "0"}


def test_an_order_is_cancelled_by_our_name_and_a_stop_that_fired_by_the_venues() -> None:
    assert orders.cancellation(Order(intent=CLOSE), "BTCUSDT") == {
        "category": "linear",
        "symbol": "BTCUSDT",
        "orderLinkId": CLOSE.client_order_id,
    }
    fired = Order(intent=a_stop("1"), status=OrderStatus.TRIGGERED, venue_order_id="uuid")  # type: ignore[arg-type]
    assert orders.cancellation(fired, "BTCUSDT") == {"category": "linear", "symbol": "BTCUSDT", "orderId": "uuid"}


def test_an_order_without_the_price_it_needs_is_never_built() -> None:
    with pytest.raises(ValueError, match="without a price"):
        orders.placement(an_intent(OrderType.LIMIT_IOC), "BTCUSDT", 0)
    with pytest.raises(ValueError, match="without a trigger price"):
        orders.position_stop(an_intent(OrderType.STOP_MARKET), "BTCUSDT", 0)


async def test_an_entry_goes_out_signed_over_its_very_bytes() -> None:
    async with a_desk() as desk:
        await desk.send(with_stop(an_intent(), desk.level("90")))
        (asked,) = desk.tap.of("POST", "/v5/order/create")
        headers = {name.lower(): value for name, value in asked.headers.items()}
        stamp, window = headers["x-bapi-timestamp"], headers["x-bapi-recv-window"]
        text = f"{stamp}sim{window}{asked.body}"
        assert headers["x-bapi-sign"] == hmac.new(b"sim", text.encode(), hashlib.sha256).hexdigest()
        assert json.loads(asked.body)["slTriggerBy"] == "MarkPrice"


async def test_several_entries_go_out_in_one_request() -> None:
    async with a_desk() as desk:
        departures = [with_stop(an_intent(name=f"n{n}"), desk.level("90")) for n in range(3)]
        await desk.client.submit_together(departures)
        (asked,) = desk.tap.asked
        body = json.loads(asked.body)
        assert (asked.path, body["category"]) == ("/v5/order/create-batch", "linear")
        assert [row["orderLinkId"] for row in body["request"]] == [d.intent.client_order_id for d in departures]
        assert all("category" not in row and row["stopLoss"] for row in body["request"])


async def test_the_leverage_is_set_for_both_sides() -> None:
    async with a_desk() as desk:
        await desk.client.set_leverage(an_intent().instrument.symbol, 7)
        assert desk.body("position/set-leverage") == {
            "category": "linear",
            "symbol": "BTCUSDT",
            "buyLeverage": "7",
            "sellLeverage": "7",
        }


async def test_opening_asks_for_no_more_than_it_needs() -> None:
    async with a_desk(opened=False, symbols=40) as desk:
        await desk.client.open()
        paths = [asked.path.removeprefix("/v5/") for asked in desk.tap.asked]
        assert set(paths) == {"market/time", "market/instruments-info", "market/risk-limit", "position/symbol-info"}
        assert paths.count("market/risk-limit") == 3, "forty contracts, fifteen a page"


@pytest.mark.parametrize(
    ("method", "path", "params", "lane", "costs", "commands"),
    [
        ("POST", "order/create", {}, Lane.ENTRY, {"order/create": 1}, True),
        ("POST", "order/create", {"reduceOnly": True}, Lane.CLOSE, {"order/create": 1}, True),
        ("POST", "order/create-batch", {"request": [{}] * 7}, Lane.ENTRY, {"order/create-batch": 7}, True),
        ("POST", "position/trading-stop", {}, Lane.PROTECTION, {"position/trading-stop": 1}, True),
        ("POST", "order/cancel", {}, Lane.CANCEL, {"order/cancel": 1}, True),
        ("GET", "order/realtime", {}, Lane.CANCEL, {"order/realtime": 1}, False),
        ("GET", "position/list", {}, Lane.CANCEL, {"position/list": 1}, False),
        ("POST", "position/set-leverage", {}, Lane.ENTRY, {"position/set-leverage": 1}, False),
        ("GET", "market/kline", {}, Lane.DATA, {}, False),
        ("GET", "market/time", {}, Lane.PROTECTION, {}, False),
    ],
)
def test_a_request_is_counted_by_its_endpoint_and_by_the_address(
    method: str, path: str, params: dict[str, Any], lane: Lane, costs: dict[str, int], commands: bool
) -> None:
    charge = charge_of(method, f"v5/{path}", params, 1.0)
    assert (charge.lane, dict(charge.costs), charge.commands) == (lane, costs | {ADDRESS: 1}, commands)
    assert set(charge.costs) <= {limit.bucket for limit in LIMITS}


def test_hosts_are_the_venues_own_unless_another_root_is_given() -> None:
    assert hosts_of(None, testnet=False) == PRODUCTION
    assert hosts_of(None, testnet=True) == TESTNET
    assert hosts_of("http://127.0.0.1:7/", testnet=True).stream == "ws://127.0.0.1:7"
    with pytest.raises(ValueError, match="http"):
        hosts_of("ftp://x", testnet=False)


@pytest.mark.parametrize(
    ("root", "stream"),
    [
        ("https://api.bybit.nl", "wss://stream.bybit.nl"),
        ("https://api.bybitgeorgia.ge", "wss://stream.bybitgeorgia.ge"),
        ("https://api-testnet.bybit.com", "wss://stream-testnet.bybit.com"),
        ("https://api.example.org", "wss://api.example.org"),
    ],
)
def test_each_site_of_the_venue_has_sockets_of_its_own(root: str, stream: str) -> None:
    assert hosts_of(root, testnet=False).stream == stream
