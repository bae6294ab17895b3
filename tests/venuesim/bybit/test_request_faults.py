"""Injected refusals and the risk engine's hand, as the requests and histories of this venue show them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.venuesim.bybit.desk import BTC, Desk
from tools.venuesim.wire import Response

ONE = {"category": "linear", "symbol": BTC}
ORDER = {**ONE, "side": "Buy", "orderType": "Market", "qty": "0.010"}
CREATE = "/v5/order/create"


def near(desk: Desk, share: str) -> str:
    return f"{desk.price() * Decimal(share):.1f}0"


def last(desk: Desk) -> Response:
    found = desk.responses[-1][1]
    assert isinstance(found, Response)
    return found


def found(desk: Desk, name: str) -> list[dict[str, Any]]:
    return [dict(row) for row in desk.ok("GET", "/v5/order/realtime", **ONE, orderLinkId=name)["list"]]


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
