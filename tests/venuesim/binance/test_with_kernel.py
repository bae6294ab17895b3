"""The façade inside the simulation: latency, faults and jumps of the clock, in the venue's own words."""

from __future__ import annotations

import json

import pytest

from tests.venuesim.binance.bench import order_params, stop_params
from tests.venuesim.binance.desk import Desk
from tools.venuesim.control import Control
from tools.venuesim.wire import Dropped


def test_an_order_is_answered_a_round_trip_later_and_its_events_come_with_it() -> None:
    desk = Desk(latency_ms=200)
    desk.submit("POST", "/fapi/v1/order", order_params())
    desk.run(1_000)
    assert [when - desk.begun for when, _ in desk.frames] == [200] * 4
    assert desk.answers[0][0] - desk.begun == 200
    assert {payload["E"] for _, payload in desk.frames} == {int(desk.begun) + 100}


def test_a_lost_answer_leaves_the_order_executed_and_findable() -> None:
    desk = Desk()
    desk.simulation.arm({"kind": "drop_response", "match": {"path": "/fapi/v1/order", "method": "POST"}})
    desk.submit("POST", "/fapi/v1/order", order_params(newClientOrderId="lost"))
    desk.run(1_000)
    assert isinstance(desk.answers[-1][1], Dropped)
    found = desk.ask("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="lost")
    assert found["status"] == "FILLED"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (None, "New order rejected."),
        (-2019, "Margin is insufficient."),
        (-4164, "Order's notional must be no smaller than 50.0 (unless you choose reduce only)"),
    ],
)
def test_an_injected_refusal_reads_like_the_venues(code: int | None, text: str) -> None:
    desk = Desk()
    desk.simulation.arm({"kind": "reject_order", "code": code})
    answer = desk.ask("POST", "/fapi/v1/order", **order_params())
    assert answer == {"code": code or -2010, "msg": text}
    assert desk.ask("POST", "/fapi/v1/order", **order_params())["status"] == "FILLED"


def test_an_injected_partial_fill_ends_a_market_order_expired() -> None:
    desk = Desk()
    desk.simulation.arm({"kind": "partial_fill", "fraction": 0.5})
    answer = desk.ask("POST", "/fapi/v1/order", **order_params())
    assert (answer["status"], answer["executedQty"]) == ("EXPIRED", "0.005")
    last = desk.frames[-1][1]["o"]
    assert (last["x"], last["X"], last["er"]) == ("EXPIRED", "EXPIRED", "9")


def test_a_stop_refused_at_its_trigger_is_told_rejected() -> None:
    desk = Desk()
    desk.simulation.arm({"kind": "reject_stop", "phase": "after"})
    desk.ask("POST", "/fapi/v1/order", **order_params())
    desk.ask("POST", "/fapi/v1/algoOrder", **stop_params())
    desk.simulation.engine.set_price("BTCUSDT", desk.simulation.engine.quote("BTCUSDT").last * 9 // 10, hold_ms=1e9)
    desk.run(1_000)
    told = [payload["o"] for _, payload in desk.frames if payload["e"] == "ALGO_UPDATE"]
    assert [row["X"] for row in told] == ["NEW", "TRIGGERING", "REJECTED"]
    assert told[-1]["rm"]


def test_limits_and_keys_obey_faults() -> None:
    desk = Desk()
    desk.simulation.arm({"kind": "rate_limit", "duration_ms": 3_000})
    assert desk.ask("GET", "/fapi/v1/openOrders")["code"] == -1003
    desk.run(2_000)
    assert desk.ask("GET", "/fapi/v1/openOrders") == []
    desk.simulation.arm({"kind": "listen_key_expired"})
    desk.run(1)
    assert desk.events[-1] == "listenKeyExpired"


def test_an_unknown_outcome_after_execution_is_status_503() -> None:
    desk = Desk()
    desk.simulation.arm({"kind": "timeout_after_execution", "match": {"path": "/fapi/v1/order"}})
    answer = desk.ask("POST", "/fapi/v1/order", **order_params(newClientOrderId="maybe"))
    assert answer["msg"].startswith("Unknown error")
    assert desk.ask("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="maybe")["status"] == "FILLED"


def test_a_jump_of_an_hour_ends_the_key_and_skips_old_frames() -> None:
    desk = Desk()
    desk.open("/market/ws", "streams=btcusdt@markPrice@1s")
    desk.simulation.advance(3_700_000)
    desk.run(3_000)
    assert desk.events.count("listenKeyExpired") == 1
    assert 3 <= desk.events.count("markPriceUpdate") <= 70


def test_the_control_interface_can_fund_fees_in_bnb() -> None:
    desk = Desk()
    control = Control(desk.simulation)
    body = json.dumps({"asset": "BNB", "wallet": "2"}).encode()
    state = json.loads(control.handle("POST", "/_sim/account", "", body).body)
    assert state["balances"]["BNB"] == {"wallet": "2", "available": "2"}
    assert [payload["a"]["B"][0]["a"] for _, payload in desk.frames] == ["BNB"]
    desk.ask("POST", "/fapi/v1/feeBurn", feeBurn="true")
    desk.ask("POST", "/fapi/v1/order", **order_params())
    fills = json.loads(control.handle("GET", "/_sim/state", "", b"").body)["fills"]
    assert [row["fee_asset"] for row in fills] == ["BNB"]
    assert control.handle("POST", "/_sim/account", "", b'{"asset":"DOGE","wallet":"1"}').status == 400


def test_the_fill_of_a_child_can_overtake_the_news_of_its_trigger() -> None:
    desk = Desk()
    desk.ask("POST", "/fapi/v1/order", **order_params())
    desk.ask("POST", "/fapi/v1/algoOrder", **stop_params(clientAlgoId="stop-1"))
    desk.simulation.arm({"kind": "delay_event", "match": {"event": "ALGO_UPDATE"}, "count": -1, "delay_ms": 50})
    desk.simulation.engine.set_price("BTCUSDT", desk.simulation.engine.quote("BTCUSDT").last * 8 // 10, hold_ms=1e9)
    desk.run(100)
    told = [(row["e"], row["o"]["X"]) for _, row in desk.frames if "o" in row]
    assert told[-4:] == [
        ("ORDER_TRADE_UPDATE", "FILLED"),
        ("ALGO_UPDATE", "TRIGGERING"),
        ("ALGO_UPDATE", "TRIGGERED"),
        ("ALGO_UPDATE", "FINISHED"),
    ]
