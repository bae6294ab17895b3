"""Golden requests: exactly these parameters leave for each order, signed as the venue checks it (ORD-12, ORD-13)."""

import hmac
import json
from base64 import b64encode
from hashlib import sha256
from typing import Any

import pytest
from msgspec.structs import replace

from core.domain.ids import Leg, VenueOrderId
from core.domain.order import Order, OrderStatus, OrderType, TriggerReference
from core.domain.signal import Side
from core.venues.okx import facts, limits, signing
from core.venues.okx.orders import AccountMode, amendment, cancellation, placement, stop_placement
from core.venues.request_budget import Lane
from tests.builders import price, quantity
from tests.venues.okx.builders import a_contract
from tests.venues.okx.intents import an_order_intent, with_stop

BTC = a_contract()
ONE_WAY, HEDGE = AccountMode(), AccountMode(hedge_mode=True)
S = OrderStatus
_ENTRY = {"instId": "BTC-USDT-SWAP", "tdMode": "cross", "sz": "0.2", "ordType": "market"}
_STOP = {
    "instId": "BTC-USDT-SWAP",
    "tdMode": "cross",
    "sz": "0.2",
    "ordType": "conditional",
    "slTriggerPx": "70000.5",
    "slOrdPx": "-1",
    "slTriggerPxType": "mark",
    "reduceOnly": True,
    "cxlOnClosePos": True,
}
PLAIN = [
    ("market entry", ONE_WAY, {}, _ENTRY | {"side": "buy"}),
    ("market entry short", ONE_WAY, {"side": Side.SELL}, _ENTRY | {"side": "sell"}),
    ("market entry", HEDGE, {}, _ENTRY | {"side": "buy", "posSide": "long"}),
    ("market entry short", HEDGE, {"side": Side.SELL}, _ENTRY | {"side": "sell", "posSide": "short"}),
    (
        "limit ioc entry",
        ONE_WAY,
        {"kind": OrderType.LIMIT_IOC, "limit": "77000.1"},
        _ENTRY | {"side": "buy", "ordType": "ioc", "px": "77000.1"},
    ),
    (
        "probe",
        HEDGE,
        {"kind": OrderType.POST_ONLY, "limit": "60000"},
        _ENTRY | {"side": "buy", "ordType": "post_only", "px": "60000", "posSide": "long"},
    ),
    (
        "close of a long",
        ONE_WAY,
        {"side": Side.SELL, "leg": Leg.FLATTEN},
        _ENTRY | {"side": "sell", "reduceOnly": True},
    ),
    ("close of a long", HEDGE, {"side": Side.SELL, "leg": Leg.FLATTEN}, _ENTRY | {"side": "sell", "posSide": "long"}),
    ("close of a short", HEDGE, {"leg": Leg.FLATTEN}, _ENTRY | {"side": "buy", "posSide": "short"}),
]


@pytest.mark.parametrize(("mode", "given", "expected"), [row[1:] for row in PLAIN], ids=[row[0] for row in PLAIN])
def test_an_order_has_exactly_these_parameters(
    mode: AccountMode, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    intent = an_order_intent(**given)
    params = placement(intent, BTC, mode, margin="cross")
    assert params == expected | {"clOrdId": intent.client_order_id}
    assert len(params["clOrdId"]) == 32
    assert params["clOrdId"].isalnum()


STOPS = [
    ("of a long", ONE_WAY, {"side": Side.SELL}, _STOP | {"side": "sell"}),
    ("of a short", ONE_WAY, {"side": Side.BUY}, _STOP | {"side": "buy"}),
    ("of a long", HEDGE, {"side": Side.SELL}, _STOP | {"side": "sell", "posSide": "long"}),
    ("of a short", HEDGE, {"side": Side.BUY}, _STOP | {"side": "buy", "posSide": "short"}),
    (
        "by the last price",
        ONE_WAY,
        {"side": Side.SELL, "reference": TriggerReference.CONTRACT_PRICE},
        _STOP | {"side": "sell", "slTriggerPxType": "last"},
    ),
]


@pytest.mark.parametrize(("mode", "given", "expected"), [row[1:] for row in STOPS], ids=[row[0] for row in STOPS])
def test_a_stop_closes_only_and_goes_with_its_position(
    mode: AccountMode, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    intent = an_order_intent(OrderType.STOP_MARKET, trigger="70000.5", **given)
    params = stop_placement(intent, BTC, mode, margin="cross")
    assert params == expected | {"algoClOrdId": intent.client_order_id}


def test_in_portfolio_margin_a_stop_cannot_be_tied_to_its_position() -> None:
    intent = an_order_intent(OrderType.STOP_MARKET, side=Side.SELL, trigger="70000.5")
    params = stop_placement(intent, BTC, AccountMode(ties_stops=False), margin="isolated")
    assert "cxlOnClosePos" not in params
    assert (params["reduceOnly"], params["tdMode"]) == (True, "isolated")


def test_an_entry_brings_its_stop_along() -> None:
    departure = with_stop(an_order_intent(), "70000.5")
    params = placement(departure.intent, BTC, ONE_WAY, margin="cross", stop=departure.stop)
    assert departure.stop is not None
    assert params["attachAlgoOrds"] == [
        {
            "attachAlgoClOrdId": departure.stop.client_order_id,
            "slTriggerPx": "70000.5",
            "slOrdPx": "-1",
            "slTriggerPxType": "mark",
        }
    ]


def test_an_intent_without_the_price_its_type_needs_is_refused() -> None:
    with pytest.raises(ValueError, match="without a price"):
        placement(an_order_intent(OrderType.LIMIT_IOC), BTC, ONE_WAY, margin="cross")
    with pytest.raises(ValueError, match="without a trigger price"):
        stop_placement(an_order_intent(OrderType.STOP_MARKET), BTC, ONE_WAY, margin="cross")


def test_moving_a_stop_says_a_size_only_where_it_changes() -> None:
    order = Order(intent=an_order_intent(OrderType.STOP_MARKET, side=Side.SELL, trigger="70000"), status=S.ACCEPTED)
    level = {"instId": "BTC-USDT-SWAP", "algoClOrdId": order.client_order_id, "newSlOrdPx": "-1"}
    kept = amendment(order, BTC, trigger_price=price("70100"), quantity=order.quantity)
    smaller = amendment(order, BTC, trigger_price=price("70100"), quantity=quantity("0.001"))
    assert kept == level | {"newSlTriggerPx": "70100"}
    assert smaller == level | {"newSlTriggerPx": "70100", "newSz": "0.1"}


def test_what_a_stop_became_is_cancelled_by_the_venues_id() -> None:
    stop = an_order_intent(OrderType.STOP_MARKET, side=Side.SELL, trigger="70000")
    resting = Order(intent=stop, status=S.ACCEPTED, venue_order_id=None)
    assert cancellation(resting, BTC) == {"instId": "BTC-USDT-SWAP", "algoClOrdId": stop.client_order_id}
    fired = replace(resting, status=S.TRIGGERED, venue_order_id=VenueOrderId("4711"))
    assert cancellation(fired, BTC) == {"instId": "BTC-USDT-SWAP", "ordId": "4711"}
    entry = Order(intent=an_order_intent(), status=S.ACCEPTED)
    assert cancellation(entry, BTC) == {"instId": "BTC-USDT-SWAP", "clOrdId": entry.client_order_id}


CREDENTIALS = signing.Credentials(key="k", secret="s", passphrase="p")


def test_a_request_is_signed_over_the_text_that_is_sent() -> None:
    now_ms = 1_607_418_537_715
    post = signing.request("trade/order", "POST", {"sz": "0.1"}, credentials=CREDENTIALS, now_ms=now_ms)
    get = signing.request("trade/order", "GET", {"instId": "A", "ordId": "1"}, credentials=CREDENTIALS, now_ms=now_ms)
    assert (post.path, post.body) == ("/api/v5/trade/order", '{"sz":"0.1"}')
    assert (get.path, get.body) == ("/api/v5/trade/order?instId=A&ordId=1", "")
    for signed, method in ((post, "POST"), (get, "GET")):
        assert signed.headers["OK-ACCESS-TIMESTAMP"] == "2020-12-08T09:08:57.715Z"
        text = f"2020-12-08T09:08:57.715Z{method}{signed.path}{signed.body}"
        expected = b64encode(hmac.new(b"s", text.encode(), sha256).digest()).decode()
        assert signed.headers["OK-ACCESS-SIGN"] == expected
    assert "secret" not in repr(CREDENTIALS)
    assert "'s'" not in repr(CREDENTIALS)


@pytest.mark.parametrize(
    ("method", "params", "target", "body"),
    [
        ("GET", {"tag": "", "note": "é&="}, "/api/v5/x?tag=&note=%C3%A9%26%3D", ""),
        ("GET", {}, "/api/v5/x", ""),
        ("POST", {"tag": "", "note": "é"}, "/api/v5/x", '{"tag":"","note":"é"}'),
        ("POST", [{"note": '"'}], "/api/v5/x", '[{"note":"\\""}]'),
    ],
)
def test_empty_and_foreign_letters_are_signed_as_they_are_sent(
    method: str, params: Any, target: str, body: str
) -> None:
    signed = signing.request("x", method, params, credentials=CREDENTIALS, now_ms=0)
    assert (signed.path, signed.body) == (target, body)
    text = f"1970-01-01T00:00:00.000Z{method}{target}{body}"
    assert signed.headers["OK-ACCESS-SIGN"] == b64encode(hmac.new(b"s", text.encode(), sha256).digest()).decode()


def test_public_requests_carry_no_key_and_rows_go_as_a_list() -> None:
    public = signing.request("public/time", "GET", {}, credentials=None, now_ms=0)
    assert (public.path, dict(public.headers), public.body) == ("/api/v5/public/time", {}, "")
    rows = signing.request("trade/cancel-algos", "POST", [{"algoId": "1"}], credentials=CREDENTIALS, now_ms=0)
    assert rows.body == '[{"algoId":"1"}]'


def test_a_login_is_stamped_in_seconds() -> None:
    (row,) = json.loads(signing.login(CREDENTIALS, 1_704_876_947_500))["args"]
    expected = b64encode(hmac.new(b"s", b"1704876947GET/users/self/verify", sha256).digest()).decode()
    assert row == {"apiKey": "k", "passphrase": "p", "timestamp": "1704876947", "sign": expected}


def test_orders_are_counted_per_instrument_and_a_batch_of_one_as_a_single_one() -> None:
    row = {"instId": "BTC-USDT-SWAP", "side": "buy"}
    single = limits.charge_of("POST", "trade/order", row, 0)
    one = limits.charge_of("POST", "trade/batch-orders", [row], 0)
    many = limits.charge_of("POST", "trade/batch-orders", [row, row, row | {"instId": "ETH-USDT-SWAP"}], 0)
    assert single.costs == one.costs == {"POST trade/order:BTC-USDT-SWAP": 1, "orders": 1}
    assert many.costs == {
        "POST trade/batch-orders:BTC-USDT-SWAP": 2,
        "POST trade/batch-orders:ETH-USDT-SWAP": 1,
        "orders": 3,
    }
    assert single.lane is many.lane is Lane.ENTRY
    assert all(charge.commands for charge in (single, one, many))


@pytest.mark.parametrize(
    ("row", "lane"),
    [
        ({"reduceOnly": True, "side": "sell"}, Lane.CLOSE),
        ({"posSide": "long", "side": "sell"}, Lane.CLOSE),
        ({"posSide": "short", "side": "sell"}, Lane.ENTRY),
    ],
)
def test_what_closes_goes_before_what_opens(row: dict[str, Any], lane: Lane) -> None:
    assert limits.charge_of("POST", "trade/order", row, 0).lane is lane
    assert limits.charge_of("POST", "trade/order-algo", row, 0).lane is Lane.PROTECTION


def test_a_venues_address_serves_requests_and_sockets_alike() -> None:
    assert facts.hosts_of("http://127.0.0.1:9/", testnet=False).stream == "ws://127.0.0.1:9"
    assert facts.hosts_of("https://okx.test", testnet=True).stream == "wss://okx.test"
    assert (facts.hosts_of(None, testnet=True).simulated, facts.hosts_of(None, testnet=False).simulated) == (
        True,
        False,
    )
    with pytest.raises(ValueError, match="http"):
        facts.hosts_of("okx.com", testnet=False)


def test_each_site_of_the_venue_has_sockets_of_its_own() -> None:
    live, demo = (facts.hosts_of("https://eea.okx.com/", testnet=testnet) for testnet in (False, True))
    assert (live.rest, live.stream, live.simulated) == ("https://eea.okx.com", "wss://wseea.okx.com:8443", False)
    assert (demo.rest, demo.stream, demo.simulated) == ("https://eea.okx.com", "wss://wseeapap.okx.com:8443", True)
    assert facts.hosts_of("https://www.okx.com", testnet=False) == facts.PRODUCTION
    assert facts.hosts_of("https://www.okx.com", testnet=True) == facts.DEMO
