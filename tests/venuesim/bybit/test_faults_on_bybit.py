"""Injected faults in this venue's own words."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.venuesim.bybit.desk import BTC, Desk
from tools.venuesim.wire import Dropped, Response

ONE = {"category": "linear", "symbol": BTC}
ORDER = {**ONE, "side": "Buy", "orderType": "Market", "qty": "0.010"}
CREATE = "/v5/order/create"
MINUTE_MS = 60_000


def near(desk: Desk, share: str) -> str:
    return f"{desk.price() * Decimal(share):.1f}0"


def last(desk: Desk) -> Response:
    found = desk.responses[-1][1]
    assert isinstance(found, Response)
    return found


def found(desk: Desk, name: str) -> list[dict[str, Any]]:
    return [dict(row) for row in desk.ok("GET", "/v5/order/realtime", **ONE, orderLinkId=name)["list"]]


@pytest.mark.parametrize("kind", ["drop_response", "timeout_after_execution"])
def test_an_order_whose_answer_says_nothing_was_executed_and_a_repetition_proves_it(kind: str) -> None:
    desk = Desk()
    desk.fault(kind, {"path": CREATE})
    desk.submit("POST", CREATE, {**ORDER, "orderLinkId": "lost"})
    desk.run(1)
    if kind == "drop_response":
        assert isinstance(desk.responses[-1][1], Dropped)
    else:
        assert (last(desk).status, last(desk).code) == (200, 10000)
    assert found(desk, "lost")[0]["orderStatus"] == "Filled"
    assert desk.post(CREATE, **ORDER, orderLinkId="lost")["retCode"] == 110072


def test_a_dropped_request_never_happened() -> None:
    desk = Desk()
    desk.fault("drop_request", {"path": CREATE})
    desk.submit("POST", CREATE, {**ORDER, "orderLinkId": "lost"})
    desk.run(1)
    assert found(desk, "lost") == []
    assert desk.post(CREATE, **ORDER, orderLinkId="lost")["retCode"] == 0


@pytest.mark.parametrize(
    ("fault", "status", "content", "code"),
    [
        ({"status": 502}, 502, "text/html", None),
        ({"status": 403}, 403, "text/html", None),
        ({"status": 429}, 429, "application/json; charset=utf-8", 429),
        ({"code": 10016}, 200, "application/json; charset=utf-8", 10016),
        ({"code": 110079}, 200, "application/json; charset=utf-8", 110079),
        ({"status": 500, "code": 10016}, 500, "application/json; charset=utf-8", 10016),
        ({}, 503, "text/html", None),
    ],
)
def test_errors_have_the_form_the_venue_gives_them(
    fault: dict[str, int], status: int, content: str, code: int | None
) -> None:
    desk = Desk()
    desk.fault("http_error", {"path": CREATE}, **fault)
    desk.submit("POST", CREATE, {**ORDER, "orderLinkId": "never"})
    desk.run(1)
    assert (last(desk).status, last(desk).headers["content-type"], last(desk).code) == (status, content, code)
    if code is not None:
        assert json.loads(last(desk).body)["retMsg"]
    assert found(desk, "never") == []


@pytest.mark.parametrize("code", [None, 110007, 110079, 10016, 170001])
def test_a_refusal_carries_the_code_it_was_given(code: int | None) -> None:
    desk = Desk()
    desk.fault("reject_order", code=code)
    answer = desk.post(CREATE, **ORDER)
    assert answer["retCode"] == (code or 110007)
    assert answer["retMsg"]
    assert desk.post(CREATE, **ORDER)["retCode"] == 0


def test_a_refused_stop_is_refused_at_trading_stop_too() -> None:
    desk = Desk()
    desk.order()
    desk.fault("reject_stop", code=10001, count=2)
    stop = {**ORDER, "side": "Sell", "triggerPrice": near(desk, "0.9"), "triggerDirection": 2}
    assert desk.post(CREATE, **stop)["retCode"] == 10001
    given = {"tpslMode": "Full", "positionIdx": 0, "stopLoss": near(desk, "0.9")}
    assert desk.post("/v5/position/trading-stop", **ONE, **given)["retCode"] == 10001
    assert desk.post("/v5/position/trading-stop", **ONE, **given)["retCode"] == 0


def test_a_stop_whose_order_is_refused_when_it_fires_is_told_rejected() -> None:
    desk = Desk()
    wire = desk.private_stream("order")
    trigger = near(desk, "0.95")
    desk.order()
    desk.fault("reject_stop", phase="after")
    desk.order(side="Sell", triggerPrice=trigger, triggerDirection=2, orderLinkId="stop")
    desk.move(trigger)
    told = [row for row in wire.rows("order") if row["orderLinkId"] == "stop"]
    assert told[-1]["orderStatus"] == "Rejected"
    assert told[-1]["rejectReason"].startswith("EC_")


def test_a_stale_answer_does_not_know_the_order_yet() -> None:
    desk = Desk()
    desk.fault("stale_rest", {"path": "/v5/order/realtime"})
    desk.order(orderLinkId="new")
    assert found(desk, "new") == []
    assert len(found(desk, "new")) == 1


def test_an_empty_answer_keeps_its_form() -> None:
    desk = Desk()
    desk.order()
    desk.fault("empty_rest", {"path": "/v5/position/list"})
    assert desk.ok("GET", "/v5/position/list", category="linear", settleCoin="USDT")["list"] == []


def test_a_partial_fill_of_a_market_order_ends_cancelled_with_what_it_has() -> None:
    desk = Desk()
    desk.fault("partial_fill", fraction=0.5)
    desk.order(orderLinkId="part")
    (row,) = found(desk, "part")
    assert (row["orderStatus"], row["cumExecQty"]) == ("Cancelled", "0.005")
    assert row["rejectReason"] == "EC_NoImmediateQtyToFill"


def test_a_slow_fill_is_told_part_by_part() -> None:
    desk = Desk()
    wire = desk.private_stream("order")
    desk.fault("slow_fill", fraction=0.25, delay_ms=100)
    desk.order(qty="0.040")
    desk.run(1_000)
    assert [row["orderStatus"] for row in wire.rows("order")] == [*["PartiallyFilled"] * 3, "Filled"]


def test_a_halted_contract_takes_no_orders_and_others_do() -> None:
    desk = Desk()
    desk.fault("halt_symbol", {"symbol": BTC}, duration_ms=MINUTE_MS)
    desk.run(1)
    assert desk.post(CREATE, **ORDER)["retCode"] == 110066
    assert desk.post(CREATE, **{**ORDER, "symbol": "ETHUSDT", "qty": "0.10"})["retCode"] == 0
    desk.run(MINUTE_MS)
    assert desk.post(CREATE, **ORDER)["retCode"] == 0


def test_changed_filters_are_told_and_applied() -> None:
    desk = Desk()
    fields = ("step", "min_qty", "market_step", "market_min_qty")
    desk.fault("change_filters", {"symbol": BTC}, body=dict.fromkeys(fields, "0.1"))
    desk.run(1)
    (row,) = desk.public("/v5/market/instruments-info", **ONE)["result"]["list"]
    assert row["lotSizeFilter"]["qtyStep"] == "0.1"
    assert desk.post(CREATE, **ORDER)["retCode"] == 10001


def test_maintenance_closes_everything_but_the_simulators_own_door() -> None:
    desk = Desk()
    desk.fault("maintenance", duration_ms=1_000)
    desk.submit("GET", "/v5/market/time", {})
    desk.run(1)
    assert last(desk).status == 503
    assert desk.look("state")["positions"] == []
    desk.run(1_000)
    assert desk.public("/v5/market/time")["retCode"] == 0


def test_liquidation_leaves_its_marks_in_every_history() -> None:
    desk = Desk()
    desk.order()
    desk.order(orderType="Limit", price=near(desk, "0.6"), orderLinkId="rest")
    desk.fault("liquidate", {"symbol": BTC})
    desk.run(1)
    assert desk.look("state")["positions"] == []
    (rest,) = found(desk, "rest")
    assert (rest["orderStatus"], rest["cancelType"]) == ("Cancelled", "CancelByPrepareLiq")
    bust = desk.ok("GET", "/v5/execution/list", **ONE, execType="BustTrade")["list"]
    assert [(row["side"], row["orderLinkId"], row["createType"]) for row in bust] == [("Sell", "", "CreateByLiq")]


def test_deleveraging_leaves_its_marks() -> None:
    desk = Desk()
    desk.order()
    desk.fault("adl", {"symbol": BTC}, fraction=0.5)
    desk.run(1)
    (row,) = desk.ok("GET", "/v5/execution/list", **ONE, execType="AdlTrade")["list"]
    assert (row["createType"], row["execQty"]) == ("CreateByAdl_PassThrough", "0.005")


def test_there_is_no_listen_key_to_expire() -> None:
    response = Desk().control.handle("POST", "/_sim/fault", "", b'{"kind": "listen_key_expired"}')
    assert response.status == 400
    assert b"not implemented for this venue" in response.body


def test_the_event_may_come_before_the_answer() -> None:
    desk = Desk()
    wire = desk.private_stream("order")
    desk.fault("event_before_reply", {"path": CREATE}, delay_ms=100)
    desk.submit("POST", CREATE, ORDER)
    assert len(wire.rows("order")) == 1
    before = len(desk.responses)
    desk.run(100)
    assert len(desk.responses) == before + 1
