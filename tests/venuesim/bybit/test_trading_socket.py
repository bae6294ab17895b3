"""The trading socket: login, commands with their REST answers, and what it refuses by itself."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.venuesim.bybit.desk import BTC, Desk, Wire

ENTRY = {"category": "linear", "symbol": BTC, "side": "Buy", "orderType": "Market", "qty": "0.010"}


def send(wire: Wire, op: str, args: Any, number: str | None = None, **more: Any) -> Any:
    """One command; stamps are texts, as ccxt sends them."""
    header = {"X-BAPI-TIMESTAMP": str(wire.desk.simulation.now_ms()), "X-BAPI-RECV-WINDOW": "5000"}
    command = {"header": header, "op": op, "args": [args], **more}
    return wire.say(command if number is None else {"reqId": number, **command})


def resting(desk: Desk, share: int = 95, **more: Any) -> dict[str, Any]:
    price = f"{desk.price() * share / 100:.1f}"
    return {**ENTRY, "orderType": "Limit", "timeInForce": "GTC", "price": price, **more}


def test_login_is_acknowledged_in_the_trading_form_and_not_repeated() -> None:
    wire = Desk().connect("/v5/trade")
    answer = wire.log_in()
    assert answer == {"retCode": 0, "retMsg": "OK", "op": "auth", "connId": answer["connId"]}
    assert wire.log_in()["retCode"] == 20001
    assert wire.closed is None


def test_a_wrong_login_ends_the_connection() -> None:
    desk = Desk()
    wire = desk.connect("/v5/trade")
    assert wire.log_in(secret="other")["retCode"] != 0
    desk.run(1)
    assert wire.closed is not None


def test_commands_need_a_login() -> None:
    desk = Desk()
    wire = desk.connect("/v5/trade")
    assert send(wire, "order.create", ENTRY, "1")["retCode"] != 0
    assert desk.look("state")["positions"] == []


def test_an_order_is_created_amended_and_cancelled_with_limits_in_the_header() -> None:
    desk = Desk()
    wire = desk.trading_stream()
    placed = send(wire, "order.create", resting(desk, orderLinkId="ws-1"), "a")
    assert (placed["reqId"], placed["retCode"], placed["retMsg"], placed["op"]) == ("a", 0, "OK", "order.create")
    assert placed["data"]["orderLinkId"] == "ws-1"
    assert set(placed["header"]) >= {"X-Bapi-Limit", "X-Bapi-Limit-Status", "X-Bapi-Limit-Reset-Timestamp", "Timenow"}
    one = {"category": "linear", "symbol": BTC, "orderLinkId": "ws-1"}
    assert send(wire, "order.amend", {**one, "qty": "0.020"}, "b")["retCode"] == 0
    assert [Decimal(row["qty"]) for row in desk.look("state")["orders"]] == [Decimal("0.02")]
    assert send(wire, "order.cancel", one, "c")["data"]["orderId"] == placed["data"]["orderId"]
    assert desk.look("state")["orders"] == []


def test_rest_and_socket_share_their_order_limits() -> None:
    desk = Desk()
    wire = desk.trading_stream()
    answers = [send(wire, "order.create", resting(desk), f"r{number}") for number in range(3)]
    left = [int(answer["header"]["X-Bapi-Limit-Status"]) for answer in answers]
    desk.submit("POST", "/v5/order/create", resting(desk))
    response: Any = desk.responses[-1][1]
    status = {name.lower(): value for name, value in response.headers.items()}["x-bapi-limit-status"]
    assert [*left, int(status)] == [left[0], left[0] - 1, left[0] - 2, left[0] - 3]


def test_too_many_commands_are_refused_like_requests() -> None:
    desk = Desk()
    wire = desk.trading_stream()
    codes = [send(wire, "order.create", resting(desk), f"r{number}")["retCode"] for number in range(12)]
    assert codes == [0] * 10 + [10006] * 2


def test_a_batch_answers_row_by_row() -> None:
    desk = Desk()
    wire = desk.trading_stream()
    good, bad = resting(desk, orderLinkId="good"), resting(desk, orderLinkId="bad", qty="0.0001")
    rows = [{key: value for key, value in row.items() if key != "category"} for row in (good, bad)]
    answer = send(wire, "order.create-batch", {"category": "linear", "request": rows}, "b")
    assert answer["retCode"] == 0
    assert [bool(row["orderId"]) for row in answer["data"]["list"]] == [True, False]
    codes = [row["code"] for row in answer["retExtInfo"]["list"]]
    assert (codes[0], codes[1] != 0) == (0, True)
    cancelled = send(
        wire, "order.cancel-batch", {"category": "linear", "request": [{"symbol": BTC, "orderLinkId": "good"}]}, "c"
    )
    assert [row["code"] for row in cancelled["retExtInfo"]["list"]] == [0]


def test_a_request_id_is_used_once() -> None:
    desk = Desk()
    wire = desk.trading_stream()
    assert send(wire, "order.create", resting(desk), "same")["retCode"] == 0
    assert send(wire, "order.create", resting(desk), "same")["retCode"] == 20006
    assert len(desk.look("state")["orders"]) == 1
    other = desk.trading_stream()
    assert send(other, "order.create", resting(desk), "same")["retCode"] == 0


@pytest.mark.parametrize(
    ("op", "args", "code"),
    [
        ("order.dance", ENTRY, 10404),
        ("order.create", "text", 10001),
        ("order.create", {**ENTRY, "symbol": "NOSUCH"}, 10001),
    ],
)
def test_what_is_no_command_is_refused(op: str, args: Any, code: int) -> None:
    assert send(Desk().trading_stream(), op, args, "1")["retCode"] == code


def test_a_command_stamped_outside_the_window_is_not_carried_out() -> None:
    desk = Desk()
    wire = desk.trading_stream()
    answer = wire.say({"reqId": "1", "header": {"X-BAPI-TIMESTAMP": 1_000}, "op": "order.create", "args": [ENTRY]})
    assert answer["retCode"] == 10002
    assert desk.look("state")["positions"] == []


def test_the_events_of_a_command_come_on_the_private_socket() -> None:
    desk = Desk()
    private, trading = desk.private_stream(), desk.trading_stream()
    send(trading, "order.create", ENTRY, "1")
    assert private.story[0] == "order:Filled"
    assert trading.pushed == []


def test_commands_are_logged_by_lane_and_client_id() -> None:
    desk = Desk()
    wire = desk.trading_stream()
    send(wire, "order.create", resting(desk, orderLinkId="mine"), "1")
    (row,) = [row for row in desk.look("requests") if row["path"] == "order.create"]
    assert (row["method"], row["lane"], row["client_id"], row["code"]) == ("WS", "order", "mine", 0)


@pytest.mark.parametrize(
    ("kind", "keys", "executed"),
    [
        ("http_error", {"status": 503}, False),
        ("http_error", {"status": 200, "code": 10016}, False),
        ("timeout_after_execution", {}, True),
        ("maintenance", {"duration_ms": 1_000}, False),
    ],
)
def test_faults_of_requests_apply_to_commands(kind: str, keys: dict[str, Any], executed: bool) -> None:
    desk = Desk()
    wire = desk.trading_stream()
    if kind == "maintenance":
        desk.fault(kind, at_ms=0, **keys)
    else:
        desk.fault(kind, {"path": "order.create"}, **keys)
    answer = send(wire, "order.create", ENTRY, "1")
    assert (answer["reqId"], answer["retCode"] != 0) == ("1", True)
    assert bool(desk.look("state")["positions"]) is executed


def test_ping_is_answered_in_the_trading_form() -> None:
    wire = Desk().trading_stream()
    answer = wire.say({"op": "ping"})
    assert (answer["retCode"], answer["op"], len(answer["data"])) == (0, "pong", 1)
