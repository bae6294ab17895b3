"""Who may ask, and how often: signatures, the clock's window, permissions, limits and bans."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.venuesim.bybit.desk import BTC, START_MS, Desk, signed
from tools.venuesim.wire import Request, Response

INFO = "/v5/account/info"
ORDER = {"category": "linear", "symbol": BTC, "side": "Buy", "orderType": "Market", "qty": "0.001"}


def send(desk: Desk, method: str, path: str, *, query: str = "", body: str = "", **headers: str) -> Response:
    """Exactly these bytes, signed unless a header says otherwise."""
    stamp = headers.get("timestamp", str(desk.simulation.now_ms()))
    key, window = headers.get("key", "sim"), headers.get("window", "5000")
    sign = headers.get("sign", signed(f"{stamp}{key}{window}{query or body}"))
    sent = {
        "x-bapi-api-key": key,
        "x-bapi-timestamp": stamp,
        "x-bapi-recv-window": window,
        "x-bapi-sign": sign,
    }
    request = Request(method=method, path=path, query=query, body=body.encode(), headers=sent)
    return desk.simulation.facade.handle(request)


def code(response: Response) -> int:
    found = json.loads(response.body)["retCode"]
    assert found == response.code
    return int(found)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, 0),
        ({"key": "other"}, 10003),
        ({"sign": "0" * 64}, 10004),
        ({"sign": ""}, 10001),
        ({"timestamp": "soon"}, 10001),
        ({"timestamp": str(START_MS - 5_000)}, 0),
        ({"timestamp": str(START_MS - 5_001)}, 10002),
        ({"timestamp": str(START_MS + 999)}, 0),
        ({"timestamp": str(START_MS + 1_000)}, 10002),
        ({"timestamp": str(START_MS - 5_001), "window": "10000"}, 0),
    ],
)
def test_a_request_is_checked_for_key_time_and_signature(given: dict[str, str], expected: int) -> None:
    assert code(send(Desk(), "GET", INFO, **given)) == expected


def test_the_signature_covers_the_bytes_as_they_came() -> None:
    desk = Desk()
    spaced = json.dumps(ORDER)
    compact = json.dumps(ORDER, separators=(",", ":"))
    assert code(send(desk, "POST", "/v5/order/create", body=spaced)) == 0
    assert code(send(desk, "POST", "/v5/order/create", body=compact)) == 0
    other = signed(f"{START_MS}sim5000{compact}")
    assert code(send(desk, "POST", "/v5/order/create", body=spaced, sign=other)) == 10004
    assert code(send(desk, "GET", "/v5/order/realtime", query="category=linear&symbol=BTCUSDT&x=a%20b")) == 0


def test_a_stamp_out_of_the_window_is_told_with_both_clocks() -> None:
    body = json.loads(send(Desk(), "GET", INFO, timestamp=str(START_MS - 9_000)).body)
    assert f"req_timestamp[{START_MS - 9_000}],server_timestamp[{START_MS}],recv_window[5000]" in body["retMsg"]


def test_a_clock_that_went_wrong_refuses_stamps_that_are_right() -> None:
    desk = Desk()
    desk.fault("clock_skew", delay_ms=10_000, duration_ms=1_000)
    assert code(send(desk, "GET", INFO, timestamp=str(START_MS))) == 10002
    desk.run(1_000)
    assert code(send(desk, "GET", INFO, timestamp=str(START_MS))) == 0


def test_a_get_with_a_body_and_a_body_that_is_no_object_are_refused() -> None:
    desk = Desk()
    assert send(desk, "GET", INFO, body="{}").status == 403
    assert code(send(desk, "POST", "/v5/order/create", body="[1]")) == 10001
    assert code(send(desk, "POST", "/v5/order/create", body="{")) == 10001


@pytest.mark.parametrize(("method", "path"), [("HEAD", INFO), ("GET", "/v5/nothing"), ("DELETE", "/v5/order/create")])
def test_unknown_routes_say_so(method: str, path: str) -> None:
    assert code(send(Desk(), method, path)) == 10017


def test_a_key_that_may_only_read_cannot_trade() -> None:
    desk = Desk()
    desk.sim("account", permissions=["read"])
    assert desk.get(INFO)["retCode"] == 0
    assert desk.post("/v5/order/create", **ORDER)["retCode"] == 10005
    assert desk.ok("GET", "/v5/user/query-api")["readOnly"] == 1
    wire = desk.trading_stream()
    head = {"header": {"X-BAPI-TIMESTAMP": str(START_MS), "X-BAPI-RECV-WINDOW": "5000"}}
    assert wire.ask("order.create", ORDER, reqId="a", **head)["retCode"] == 10005


def test_a_revoked_key_is_told_invalid_and_its_sessions_end() -> None:
    desk = Desk()
    private, trading = desk.private_stream(), desk.trading_stream()
    desk.fault("revoke_key", duration_ms=5_000)
    desk.run(1)
    assert desk.get(INFO)["retCode"] == 10003
    assert private.closed is not None
    assert trading.closed is not None
    assert desk.connect("/v5/private").log_in()["success"] is False
    desk.run(5_000)
    assert desk.get(INFO)["retCode"] == 0


def test_private_answers_carry_the_limit_and_what_is_left_of_it() -> None:
    desk = Desk()
    for left in ("9", "8"):
        headers = send(desk, "POST", "/v5/order/create", body=json.dumps(ORDER)).headers
        assert (headers["X-Bapi-Limit"], headers["X-Bapi-Limit-Status"]) == ("10", left)
        assert headers["X-Bapi-Limit-Reset-Timestamp"] == headers["Timenow"] == str(START_MS)
        assert len(headers["Traceid"]) == 32
    assert "X-Bapi-Limit" not in send(desk, "GET", "/v5/market/time").headers


def test_an_endpoint_is_closed_until_its_oldest_call_is_a_second_old() -> None:
    desk = Desk()
    for _ in range(10):
        assert desk.post("/v5/order/create", **ORDER)["retCode"] == 0
        desk.run(50)
    refused = send(desk, "POST", "/v5/order/create", body=json.dumps(ORDER))
    assert (refused.status, code(refused)) == (200, 10006)
    assert refused.headers["X-Bapi-Limit-Status"] == "0"
    reset_ms = int(refused.headers["X-Bapi-Limit-Reset-Timestamp"])
    assert reset_ms == START_MS + 1_000
    assert desk.post("/v5/order/cancel", category="linear", symbol=BTC, orderLinkId="x")["retCode"] == 110001
    desk.run(reset_ms - desk.now)
    assert desk.post("/v5/order/create", **ORDER)["retCode"] == 0
    assert desk.post("/v5/order/create", **ORDER)["retCode"] == 10006


def test_the_trading_socket_shares_the_limits() -> None:
    desk = Desk()
    for _ in range(9):
        desk.post("/v5/order/create", **ORDER)
    wire = desk.trading_stream()
    head = {"header": {"X-BAPI-TIMESTAMP": str(START_MS), "X-BAPI-RECV-WINDOW": "5000"}}
    assert wire.ask("order.create", ORDER, reqId="a", **head)["retCode"] == 0
    assert wire.ask("order.create", ORDER, reqId="b", **head)["retCode"] == 10006
    assert desk.post("/v5/order/create", **ORDER)["retCode"] == 10006


def test_too_many_calls_of_one_address_ban_it_for_ten_minutes() -> None:
    desk = Desk()
    for _ in range(600):
        assert send(desk, "GET", "/v5/market/time").status == 200
    banned = send(desk, "GET", "/v5/market/time")
    assert (banned.status, banned.headers["content-type"]) == (403, "text/html")
    assert b"access too frequent" in banned.body
    desk.run(599_999)
    assert send(desk, "GET", "/v5/market/time").status == 403
    desk.run(1)
    assert send(desk, "GET", "/v5/market/time").status == 200


@pytest.mark.parametrize(
    ("fault", "status", "expected"), [({}, 200, 10006), ({"status": 403}, 403, None), ({"status": 418}, 403, None)]
)
def test_an_injected_limit_lasts_as_long_as_it_says(fault: dict[str, Any], status: int, expected: int | None) -> None:
    desk = Desk()
    desk.fault("rate_limit", duration_ms=3_000, **fault)
    desk.run(1)
    refused = send(desk, "GET", INFO)
    assert (refused.status, refused.code) == (status, expected)
    if expected is not None:
        assert refused.headers["X-Bapi-Limit-Reset-Timestamp"] == str(START_MS + 3_000)
    desk.run(3_000)
    assert code(send(desk, "GET", INFO)) == 0
