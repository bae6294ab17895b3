"""Faults between client and venue, in the venue's own words."""

from __future__ import annotations

import json

import pytest

from tests.venuesim.okx.desk import BTC, Desk
from tools.venuesim.wire import DROPPED, Lane

ORDER = {"instId": BTC, "tdMode": "cross", "side": "buy", "ordType": "market", "sz": "1", "clOrdId": "lost"}


def test_an_unknown_outcome_is_50004_and_the_order_exists() -> None:
    desk = Desk()
    desk.fault("timeout_after_execution", {"client_id": "lost"}, delay_ms=0)
    answer = desk.submit("POST", "/api/v5/trade/order", ORDER)
    assert (answer.status, answer.code) == (400, "50004")
    assert desk.one("GET", "trade/order", instId=BTC, clOrdId="lost")["state"] == "filled"


@pytest.mark.parametrize(("kind", "held"), [("drop_request", 0), ("drop_response", 1)])
def test_lost_requests_are_told_from_lost_answers(kind: str, held: int) -> None:
    desk = Desk()
    desk.fault(kind, {"client_id": "lost"})
    with pytest.raises(AssertionError):
        desk.submit("POST", "/api/v5/trade/order", ORDER)
    assert desk.responses[-1] is DROPPED
    assert len(desk.ok("GET", "account/positions")) == held


def test_an_order_is_not_there_yet_and_then_it_is() -> None:
    desk = Desk()
    desk.order(clOrdId="new1")
    desk.fault("stale_rest", {"path": "/api/v5/trade/order"})
    assert desk.get("trade/order", instId=BTC, clOrdId="new1")["code"] == "51603"
    assert desk.get("trade/order", instId=BTC, clOrdId="new1")["code"] == "0"
    desk.fault("stale_rest", {"path": "*fills"})
    assert desk.ok("GET", "trade/fills") == []
    desk.fault("empty_rest", {"path": "*positions"})
    assert desk.ok("GET", "account/positions") == []
    assert len(desk.ok("GET", "account/positions")) == 1


@pytest.mark.parametrize(
    ("status", "code"), [(429, "50011"), (500, "50026"), (503, "50001"), (400, "50004"), (401, "50113"), (502, None)]
)
def test_errors_by_status_have_the_usual_code(status: int, code: str | None) -> None:
    desk = Desk()
    desk.fault("http_error", status=status)
    answer = desk.submit("GET", "/api/v5/account/balance", {})
    assert answer.status == status
    assert (answer.body.startswith(b"<html>") if code is None else json.loads(answer.body)["code"] == code) is True


def test_maintenance_is_50001() -> None:
    desk = Desk()
    desk.fault("maintenance", duration_ms=1_000)
    answer = desk.submit("POST", "/api/v5/trade/order", ORDER)
    assert (answer.status, answer.code) == (503, "50001")
    desk.run(1_001)
    assert desk.submit("POST", "/api/v5/trade/order", ORDER).code == "0"


def test_a_skewed_clock_shows_in_signatures() -> None:
    desk = Desk()
    desk.fault("clock_skew", delay_ms=40_000)
    assert desk.get("account/balance")["code"] == "0"
    assert desk.submit("GET", "/api/v5/account/balance", {}, {"ok-access-timestamp": "1790000000"}).code == "50102"


def test_the_request_log_names_lanes_contracts_and_clients() -> None:
    desk = Desk()
    order = {**ORDER, "ordType": "limit", "px": desk.off("0.9"), "clOrdId": "b1"}
    legs = [{"attachAlgoClOrdId": "s1", "slTriggerPx": desk.off("0.8"), "slOrdPx": "-1"}]
    desk.many("trade/batch-orders", [order, {**order, "clOrdId": "b2", "attachAlgoOrds": legs}])
    desk.stop(slTriggerPx=desk.off("0.9"), slOrdPx="-1", algoClOrdId="a1")
    desk.post("trade/amend-order", instId=BTC, clOrdId="b1", newSz="2")
    desk.many("trade/cancel-batch-orders", [{"instId": BTC, "clOrdId": "b1"}])
    desk.get("trade/orders-pending")
    desk.place(sz="0.001")
    rows = desk.look("requests?since=0")
    lanes = [Lane.ORDER, Lane.STOP, Lane.AMEND, Lane.CANCEL, Lane.QUERY, Lane.ORDER]
    assert [row["lane"] for row in rows] == [lane.value for lane in lanes]
    assert rows[0]["client_ids"] == ["b1", "b2", "s1"]
    assert [row["client_id"] for row in rows[1:4]] == ["a1", "b1", "b1"]
    assert [row["code"] for row in rows] == ["0", "0", "0", "0", "0", "51020"]


def test_kinds_this_venue_has_not_got_are_refused() -> None:
    desk = Desk()
    response = desk.control.handle("POST", "/_sim/fault", "", b'{"kind":"listen_key_expired"}')
    assert response.status == 400
