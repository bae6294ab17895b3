"""Golden requests: exactly these bytes' worth of parameters leave for each kind of order (ORD-12, ORD-13)."""

import hashlib
import hmac
from typing import Any

import pytest

from core.domain.ids import Leg, Symbol
from core.domain.order import Order, OrderIntent, OrderStatus, OrderType
from core.domain.signal import Side
from core.engine.ports import Accepted, Departure
from core.errors import VenueError
from tests.venues.binance_rig import Asked, a_rig, an_order_intent

ORDER, ALGO = "/fapi/v1/order", "/fapi/v1/algoOrder"
_ENTRY = {"symbol": "BTCUSDT", "quantity": "0.002", "newOrderRespType": "RESULT", "type": "MARKET"}
_STOP = {
    "symbol": "BTCUSDT",
    "quantity": "0.002",
    "algoType": "CONDITIONAL",
    "type": "STOP_MARKET",
    "triggerPrice": "70000.5",
    "workingType": "MARK_PRICE",
}
LONG_STOP: dict[str, Any] = {"kind": OrderType.STOP_MARKET, "side": Side.SELL, "trigger": "70000.5"}

GOLDEN = [
    ("market entry", False, {}, ORDER, _ENTRY | {"side": "BUY"}),
    ("market entry short", False, {"side": Side.SELL}, ORDER, _ENTRY | {"side": "SELL"}),
    ("market entry", True, {}, ORDER, _ENTRY | {"side": "BUY", "positionSide": "LONG"}),
    ("market entry short", True, {"side": Side.SELL}, ORDER, _ENTRY | {"side": "SELL", "positionSide": "SHORT"}),
    (
        "limit ioc entry",
        False,
        {"kind": OrderType.LIMIT_IOC, "limit": "77000.1"},
        ORDER,
        _ENTRY | {"side": "BUY", "type": "LIMIT", "timeInForce": "IOC", "price": "77000.1"},
    ),
    (
        "limit ioc entry",
        True,
        {"kind": OrderType.LIMIT_IOC, "limit": "77000.1"},
        ORDER,
        _ENTRY | {"side": "BUY", "type": "LIMIT", "timeInForce": "IOC", "price": "77000.1", "positionSide": "LONG"},
    ),
    (
        "close of a long",
        False,
        {"side": Side.SELL, "leg": Leg.FLATTEN},
        ORDER,
        _ENTRY | {"side": "SELL", "reduceOnly": "true"},
    ),
    (
        "close of a long",
        True,
        {"side": Side.SELL, "leg": Leg.FLATTEN},
        ORDER,
        _ENTRY | {"side": "SELL", "positionSide": "LONG"},
    ),
    ("stop of a long", False, LONG_STOP, ALGO, _STOP | {"side": "SELL", "reduceOnly": "true"}),
    ("stop of a long", True, LONG_STOP, ALGO, _STOP | {"side": "SELL", "positionSide": "LONG"}),
    (
        "stop of a short",
        False,
        LONG_STOP | {"side": Side.BUY},
        ALGO,
        _STOP | {"side": "BUY", "reduceOnly": "true"},
    ),
    ("stop of a short", True, LONG_STOP | {"side": Side.BUY}, ALGO, _STOP | {"side": "BUY", "positionSide": "SHORT"}),
]


@pytest.mark.parametrize(("hedge", "given", "path", "expected"), [row[1:] for row in GOLDEN], ids=lambda value: None)
async def test_an_order_has_exactly_these_parameters(
    hedge: bool, given: dict[str, Any], path: str, expected: dict[str, str]
) -> None:
    async with a_rig(hedge=hedge) as rig:
        intent = an_order_intent(**given)
        await rig.client.submit(Departure(intent=intent))
        (asked,) = rig.tap.asked
        assert (asked.method, asked.path, asked.query) == ("POST", path, "")
        id_name = "clientAlgoId" if path == ALGO else "newClientOrderId"
        assert asked.params == expected | {id_name: str(intent.client_order_id)}


async def test_every_golden_order_is_one_the_venue_understands() -> None:
    """A golden request nobody would take proves nothing: the simulator checks it as the venue does."""
    async with a_rig() as rig:
        entry = an_order_intent()
        mark = rig.venue.simulation.engine.quote("BTCUSDT").mark
        stop = an_order_intent(OrderType.STOP_MARKET, side=Side.SELL, trigger=str(round(mark * 9 / 10)))
        close = an_order_intent(side=Side.SELL, leg=Leg.FLATTEN)
        for intent in (entry, stop, close):
            assert isinstance(await rig.client.submit(Departure(intent=intent)), Accepted), intent


@pytest.mark.parametrize(
    ("intent", "status", "path", "expected"),
    [
        (an_order_intent(**LONG_STOP), OrderStatus.ACCEPTED, ALGO, "clientAlgoId"),
        (an_order_intent(**LONG_STOP), OrderStatus.TRIGGERED, ORDER, "origClientOrderId"),
        (an_order_intent(**LONG_STOP), OrderStatus.PARTIALLY_FILLED, ORDER, "origClientOrderId"),
        (an_order_intent(), OrderStatus.ACCEPTED, ORDER, "origClientOrderId"),
    ],
    ids=["resting stop", "fired stop", "fired and half filled stop", "plain order"],
)
async def test_a_cancel_goes_to_the_store_where_the_order_lives(
    intent: OrderIntent, status: OrderStatus, path: str, expected: str
) -> None:
    async with a_rig() as rig:
        await rig.client.cancel(Order(intent=intent, status=status))
        (asked,) = rig.tap.asked
        assert (asked.method, asked.path) == ("DELETE", path)
        assert asked.params == {"symbol": "BTCUSDT", expected: str(intent.client_order_id)}


async def test_leverage_is_set_with_symbol_and_number() -> None:
    async with a_rig() as rig:
        await rig.client.set_leverage(Symbol("BTC/USDT:USDT"), 7)
        (asked,) = rig.tap.asked
        assert (asked.method, asked.path, asked.params) == (
            "POST",
            "/fapi/v1/leverage",
            {"symbol": "BTCUSDT", "leverage": "7"},
        )


async def test_signed_requests_carry_key_window_and_a_signature_of_exactly_what_was_sent() -> None:
    async with a_rig(secret="sim") as rig:
        await rig.client.submit(Departure(intent=an_order_intent()))
        await rig.client.query_order(an_order_intent())
        await rig.client.positions()
        await rig.client.cancel(Order(intent=an_order_intent(), status=OrderStatus.ACCEPTED))
        methods = set()
        for asked in rig.tap.asked:
            methods.add(asked.method)
            assert asked.headers["X-MBX-APIKEY"] == "sim"
            assert "recvWindow=10000" in asked.signed_text
            _check_signature(asked, b"sim")
        assert methods == {"GET", "POST", "DELETE"}


@pytest.mark.parametrize("value", ["", "ÜBER", "a b&c=d", "50%"], ids=["empty", "non-ascii", "delimiters", "percent"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_odd_values_are_signed_as_they_are_sent(method: str, value: str) -> None:
    async with a_rig() as rig:
        call = rig.client._ccxt.fapiPrivateGetOrder if method == "GET" else rig.client._ccxt.fapiPrivatePostOrder
        with pytest.raises(VenueError):
            await call({"symbol": "BTCUSDT", "newClientOrderId": "x", "note": value})
        (asked,) = rig.tap.asked
        assert asked.params["note"] == value
        assert asked.signed_text.isascii()
        _check_signature(asked, b"sim")


async def test_a_stamp_is_the_venues_time_not_ours() -> None:
    async with a_rig(opened=False) as rig:
        await rig.venue.tell("fault", kind="clock_skew", delay_ms=7_000)
        await rig.client.open()
        rig.tap.asked.clear()
        await rig.client.positions()
        (asked,) = rig.tap.asked
        (stamp,) = [part for part in asked.query.split("&") if part.startswith("timestamp=")]
        assert abs(int(stamp.removeprefix("timestamp=")) - rig.clock.now_ms() - 7_000) < 50


async def test_nothing_outside_the_futures_api_is_ever_asked() -> None:
    async with a_rig(opened=False) as rig:
        await rig.client.open()
        await rig.client.mass_status()
        await rig.client.account_settings()
        assert {asked.path.split("/")[1] for asked in rig.tap.asked} == {"fapi"}


def _check_signature(asked: Asked, secret: bytes) -> None:
    text, _, signature = asked.signed_text.rpartition("&signature=")
    assert hmac.new(secret, text.encode(), hashlib.sha256).hexdigest() == signature
