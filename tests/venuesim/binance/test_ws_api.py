"""The trading socket: the answers of REST, its own weights, and sessions that are logged on."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.venuesim.binance.bench import Bench, Fault, sign
from tools.venuesim.binance import signing
from tools.venuesim.wire import Lane, Response

FAR: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "price": "74000",
    "quantity": "0.01",
}
ED = signing.ED25519_KEY


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_orders_are_placed_amended_queried_and_cancelled_like_over_rest(bench: Bench) -> None:
    api = bench.api()
    placed = api.ask("order.place", newClientOrderId="ws-1", **FAR)
    one = {"symbol": "BTCUSDT", "origClientOrderId": "ws-1"}
    changed = api.ask("order.modify", side="BUY", quantity="0.02", price="73999", modifyId=5, **one)
    status = api.ask("order.status", **one)
    cancelled = api.ask("order.cancel", **one)
    gone = api.ask("order.cancel", **one)
    assert (placed["id"], placed["status"], placed["result"]["status"]) == ("0", 200, "NEW")
    assert {row["rateLimitType"] for row in placed["rateLimits"]} == {"ORDERS"}
    assert (changed["result"]["origQty"], changed["result"]["modifyId"]) == ("0.020", 5)
    assert (status["result"]["clientOrderId"], status["result"]["price"]) == ("ws-1", "73999.00")
    assert cancelled["result"]["status"] == "CANCELED"
    assert (gone["status"], gone["error"]["code"]) == (400, -2011)


def test_requests_are_described_for_the_log(bench: Bench) -> None:
    text = json.dumps({"id": 1, "method": "order.place", "params": {**FAR, "newClientOrderId": "ws-1"}})
    info = bench.api().session.describe(text)
    assert info is not None
    assert (info.lane, info.symbol, info.client_ids, info.op) == (Lane.ORDER, "BTCUSDT", ("ws-1",), "order.place")


def test_a_forged_signature_and_a_stale_time_are_refused(bench: Bench) -> None:
    api = bench.api()
    values = api.signed("sim", FAR)
    assert api.plain("order.place", **{**values, "signature": "00"})["error"]["code"] == -1022
    assert api.plain("order.place", **FAR)["error"]["code"] == -2014
    assert api.ask("order.place", **{**FAR, "timestamp": bench.now_ms() - 6_000})["error"]["code"] == -1021
    assert bench.ok("GET", "/fapi/v1/openOrders") == []


def test_weight_is_counted_apart_from_rest_and_orders_together(bench: Bench) -> None:
    api = bench.api()
    before = int(bench.send("GET", "/fapi/v1/openOrders", symbol="BTCUSDT").headers["x-mbx-used-weight-1m"])
    first = api.ask("account.balance")["rateLimits"][0]
    second = api.ask("v2/account.position")["rateLimits"][0]
    assert (first["rateLimitType"], first["count"], second["count"]) == ("REQUEST_WEIGHT", 10, 15)
    placed = api.ask("order.place", **FAR)
    assert [row["count"] for row in placed["rateLimits"]] == [1, 1]
    headers = bench.send("GET", "/fapi/v1/openOrders", symbol="BTCUSDT").headers
    assert int(headers["x-mbx-used-weight-1m"]) == before + 1


def test_the_weight_of_the_socket_runs_out_on_its_own(bench: Bench) -> None:
    api = bench.api()
    answers = [api.plain("depth", symbol="BTCUSDT", limit=1000) for _ in range(120)]
    assert [row["status"] for row in answers[-2:]] == [200, 429]
    assert answers[-1]["error"]["code"] == -1003
    assert bench.send("GET", "/fapi/v1/time").status == 200


def test_rate_limits_are_left_out_on_request(bench: Bench) -> None:
    assert "rateLimits" not in bench.api("returnRateLimits=false").plain("ticker.price", symbol="BTCUSDT")
    assert "rateLimits" not in bench.api().plain("ticker.price", symbol="BTCUSDT", returnRateLimits=False)


def test_a_session_is_logged_on_with_an_ed25519_key_and_then_needs_no_signature(bench: Bench) -> None:
    api = bench.api()
    assert api.plain("session.status")["result"]["apiKey"] is None
    logged_on = api.ask("session.logon", key=ED)
    assert logged_on["result"]["apiKey"] == ED
    assert logged_on["result"]["authorizedSince"] == bench.now_ms()
    placed = api.plain("order.place", timestamp=bench.now_ms(), **FAR)
    assert placed["result"]["status"] == "NEW"
    assert api.plain("order.place", **FAR)["error"]["code"] == -1102
    assert api.plain("userDataStream.start")["status"] == 200
    assert api.plain("session.logout")["result"]["authorizedSince"] is None
    assert api.plain("order.place", timestamp=bench.now_ms(), **FAR)["error"]["code"] == -2014


def test_an_hmac_key_cannot_log_a_session_on(bench: Bench) -> None:
    assert bench.api().ask("session.logon")["error"]["code"] == -4056
    api = bench.api()
    forged = {**api.signed(ED, {}), "signature": base64.b64encode(bytes(64)).decode()}
    assert api.plain("session.logon", **forged)["error"]["code"] == -1022


def test_the_ed25519_key_signs_rest_requests_too(bench: Bench) -> None:
    text = f"timestamp={bench.now_ms()}"
    signature = quote(sign(ED, text), safe="")
    answer = bench.raw("GET", "/fapi/v1/openOrders", f"{text}&signature={signature}", key=ED)
    assert (answer.status, answer.body) == (200, b"[]")
    assert bench.raw("GET", "/fapi/v1/openOrders", f"{text}&signature=not+base64", key=ED).code == -1022


def test_a_revoked_key_ends_the_session_and_says_so(bench: Bench) -> None:
    api = bench.api()
    api.ask("session.logon", key=ED)
    bench.facade.inject(Fault("revoke_key", duration_ms=1_000))
    assert api.sent.frames[-1] == {
        "id": None,
        "status": 401,
        "error": {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."},
    }
    assert api.ask("order.place", **FAR)["status"] == 401
    bench.run(1_500)
    assert api.ask("order.place", **FAR)["status"] == 200


def test_a_ban_refuses_the_handshake(bench: Bench) -> None:
    bench.facade.inject(Fault("rate_limit", status=418, duration_ms=1_000))
    answer = bench.facade.open_stream("/ws-fapi/v1", "", {}, bench.open("/public/ws")[1])
    assert isinstance(answer, Response)
    assert answer.status == 418


@pytest.mark.parametrize(
    "text", ["", "[]", "nonsense", '{"method":"order.fly"}', '{"method":"order.place","params":[]}']
)
def test_garbage_is_answered_with_an_error(bench: Bench, text: str) -> None:
    api = bench.api()
    api.session.describe(text)
    api.session.receive(text)
    assert api.sent.replies[0]["status"] >= 400


def test_a_socket_that_is_gone_is_told_nothing_more(bench: Bench) -> None:
    api = bench.api()
    api.ask("session.logon", key=ED)
    api.session.closed()
    bench.facade.inject(Fault("revoke_key"))
    assert api.sent.frames == []
