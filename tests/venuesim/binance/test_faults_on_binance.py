"""Every kind of fault of the vocabulary against this venue, from the armed table to what a client meets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.venuesim.binance.bench import order_params, stop_params
from tests.venuesim.binance.desk import Desk
from tools.venuesim.faults import KINDS, FaultError
from tools.venuesim.wire import Dropped, Response

ORDER = "/fapi/v1/order"
POST = {"method": "POST", "path": ORDER}
MINE = {"symbol": "BTCUSDT", "origClientOrderId": "mine"}
MARKET = ["TRADE_LITE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE"]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def arm(desk: Desk, kind: str, match: dict[str, str] | None = None, **keys: Any) -> None:
    desk.simulation.arm({"kind": kind, "match": match or {}, **keys})


def buy(desk: Desk, **params: Any) -> Any:
    return desk.ask("POST", ORDER, **order_params(newClientOrderId="mine", **params))


def held(desk: Desk) -> list[str]:
    return [row["positionAmt"] for row in desk.ask("GET", "/fapi/v3/positionRisk")]


def told(desk: Desk) -> list[str]:
    """Events of the private stream; desk.frames also hold what other sockets get."""
    return [payload["e"] for _, payload in desk.frames if isinstance(payload, dict) and "e" in payload]


def test_latency_delays_an_answer_and_its_matching(desk: Desk) -> None:
    arm(desk, "latency", POST, delay_ms=400)
    desk.submit("POST", ORDER, order_params())
    desk.run(1_000)
    assert desk.answers[-1][0] - desk.begun == 400
    assert desk.frames[0][0] - desk.begun == 200


def test_drop_request_loses_the_order_before_it_arrives(desk: Desk) -> None:
    arm(desk, "drop_request", POST)
    desk.submit("POST", ORDER, order_params())
    desk.run(1_000)
    assert isinstance(desk.answers[-1][1], Dropped)
    assert held(desk) == []


def test_drop_response_executes_and_answers_nothing(desk: Desk) -> None:
    arm(desk, "drop_response", POST)
    desk.submit("POST", ORDER, order_params())
    desk.run(1_000)
    assert isinstance(desk.answers[-1][1], Dropped)
    assert held(desk) == ["0.010"]


@pytest.mark.parametrize(
    ("status", "code", "body"),
    [
        (503, None, {"msg": "Service Unavailable."}),
        (503, -1008, {"code": -1008, "msg": "Request throttled by system-level protection. "
                      "Reduce-only/close-position orders are exempt. Please try again."}),
        (400, -1007, {"code": -1007, "msg": "Timeout waiting for response from backend server. "
                      "Send status unknown; execution status unknown."}),
    ],
)  # fmt: skip
def test_http_error_before_executes_nothing(desk: Desk, status: int, code: int | None, body: Any) -> None:
    arm(desk, "http_error", POST, status=status, code=code)
    assert buy(desk) == body
    assert held(desk) == []


def test_http_error_after_executes_all_the_same(desk: Desk) -> None:
    arm(desk, "http_error", POST, status=502, phase="after")
    desk.submit("POST", ORDER, order_params())
    desk.run(1_000)
    answer = desk.answers[-1][1]
    assert isinstance(answer, Response)
    assert (answer.status, answer.headers["content-type"]) == (502, "text/html")
    assert held(desk) == ["0.010"]


def test_timeout_after_execution_leaves_the_outcome_unknown(desk: Desk) -> None:
    arm(desk, "timeout_after_execution", POST)
    assert buy(desk)["msg"].startswith("Unknown error")
    assert desk.ask("GET", ORDER, **MINE)["status"] == "FILLED"


def test_event_before_reply_lets_the_stream_overtake_the_answer(desk: Desk) -> None:
    arm(desk, "event_before_reply", POST, delay_ms=150)
    desk.submit("POST", ORDER, order_params())
    desk.run(1_000)
    assert desk.answers[-1][0] - desk.frames[-1][0] == 150


def test_stale_rest_answers_as_before_or_that_there_is_no_such_order(desk: Desk) -> None:
    assert desk.ask("GET", "/fapi/v1/openOrders") == []
    arm(desk, "stale_rest", duration_ms=5_000)
    buy(desk, type="LIMIT", timeInForce="GTC", price="74000")
    assert desk.ask("GET", ORDER, **MINE)["code"] == -2013
    assert desk.ask("GET", "/fapi/v1/openOrders") == []
    desk.run(5_000)
    assert desk.ask("GET", ORDER, **MINE)["status"] == "NEW"
    assert len(desk.ask("GET", "/fapi/v1/openOrders")) == 1


def test_stale_rest_does_not_excuse_a_missing_signature(desk: Desk) -> None:
    arm(desk, "stale_rest")
    assert desk.plain("GET", "/fapi/v1/openAlgoOrders", key=None).code == -2014


def test_the_live_quirk_of_a_conditional_order_that_cannot_be_queried(desk: Desk) -> None:
    buy(desk)
    stop = desk.ask("POST", "/fapi/v1/algoOrder", **stop_params())
    arm(desk, "http_error", {"method": "GET", "path": "/fapi/v1/algoOrder"}, status=400, code=-2013, count=-1)
    assert desk.ask("GET", "/fapi/v1/algoOrder", algoId=stop["algoId"])["code"] == -2013
    assert [row["algoId"] for row in desk.ask("GET", "/fapi/v1/openAlgoOrders")] == [stop["algoId"]]


def test_empty_rest_answers_an_empty_list(desk: Desk) -> None:
    buy(desk)
    arm(desk, "empty_rest", {"path": "/fapi/v3/positionRisk"})
    assert (held(desk), held(desk)) == ([], ["0.010"])


def test_maintenance_answers_503_and_refuses_sockets(desk: Desk) -> None:
    arm(desk, "maintenance", duration_ms=3_000, code=-1016)
    assert buy(desk)["code"] == -1016
    refused = desk.simulation.connect("/private/ws", "", {}, lambda _: None)
    assert isinstance(refused, Response)
    assert refused.status == 503
    desk.run(3_000)
    assert buy(desk)["status"] == "FILLED"


def test_duplicate_event_tells_a_frame_twice(desk: Desk) -> None:
    arm(desk, "duplicate_event", {"event": "ORDER_TRADE_UPDATE", "client_id": "mine"}, after=1)
    buy(desk)
    assert told(desk) == [*MARKET, "ORDER_TRADE_UPDATE"]
    assert desk.frames[-1][1] == desk.frames[-2][1]


def test_reorder_events_lets_the_next_frame_overtake(desk: Desk) -> None:
    arm(desk, "reorder_events", {"event": "ACCOUNT_UPDATE"})
    buy(desk)
    assert told(desk) == ["TRADE_LITE", "ORDER_TRADE_UPDATE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE"]


def test_delay_event_holds_one_frame_back(desk: Desk) -> None:
    arm(desk, "delay_event", {"event": "TRADE_LITE"}, delay_ms=700)
    buy(desk)
    assert told(desk)[-1] == "TRADE_LITE"
    assert desk.frames[-1][0] - desk.frames[0][0] == 700


def test_lose_event_never_tells_it(desk: Desk) -> None:
    arm(desk, "lose_event", {"event": "ORDER_TRADE_UPDATE"}, count=-1)
    buy(desk)
    assert told(desk) == ["TRADE_LITE", "ACCOUNT_UPDATE"]


def test_garbage_frame_and_huge_frame_come_in_between(desk: Desk) -> None:
    arm(desk, "garbage_frame", {"event": "ACCOUNT_UPDATE"})
    arm(desk, "huge_frame", {"event": "ACCOUNT_UPDATE"})
    buy(desk)
    assert told(desk) == MARKET
    garbage, huge = (payload for payload in desk.raw if not payload.startswith(b"{"))
    assert len(huge) > 4_000_000
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(garbage)


def test_disconnect_stream_cuts_the_private_stream_only(desk: Desk) -> None:
    desk.open("/public/ws/btcusdt@bookTicker", "")
    arm(desk, "disconnect_stream", {"stream": "private"})
    buy(desk)
    assert desk.closes == [1006]
    assert set(told(desk)) == {"bookTicker"}


def test_half_open_stream_says_nothing_more_and_stays_open(desk: Desk) -> None:
    arm(desk, "half_open_stream", {"stream": "private"})
    buy(desk)
    assert (told(desk), desk.closes) == ([], [])


def test_listen_key_expired_is_announced_and_ends_the_stream(desk: Desk) -> None:
    arm(desk, "listen_key_expired")
    desk.run(1)
    buy(desk)
    assert told(desk) == ["listenKeyExpired"]
    assert desk.plain("PUT", "/fapi/v1/listenKey").code == -1125
    desk.reconnect()
    buy(desk)
    assert told(desk)[1:] == MARKET


@pytest.mark.parametrize(("status", "seen"), [(None, 429), (429, 429), (418, 418)])
def test_rate_limit_refuses_everything_until_its_time_is_over(desk: Desk, status: int | None, seen: int) -> None:
    arm(desk, "rate_limit", status=status, duration_ms=4_000)
    answer = desk.plain("GET", "/fapi/v1/time")
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (seen, -1003, "4")
    desk.run(4_000)
    assert desk.plain("GET", "/fapi/v1/time").status == 200


def test_clock_skew_puts_honest_timestamps_outside_the_window(desk: Desk) -> None:
    arm(desk, "clock_skew", delay_ms=-3_000, duration_ms=10_000)
    honest = int(desk.now)
    assert desk.ask("GET", "/fapi/v1/openOrders", timestamp=honest)["code"] == -1021
    assert desk.ask("GET", "/fapi/v1/time")["serverTime"] < desk.now - 2_000
    desk.run(10_000)
    assert desk.ask("GET", "/fapi/v1/openOrders", timestamp=int(desk.now)) == []


def test_reject_order_answers_the_prescribed_code_once(desk: Desk) -> None:
    arm(desk, "reject_order", {"symbol": "BTCUSDT"}, code=-2019)
    assert buy(desk)["code"] == -2019
    assert buy(desk)["status"] == "FILLED"


def test_reject_stop_at_placement_and_at_its_trigger(desk: Desk) -> None:
    buy(desk)
    arm(desk, "reject_stop", code=-4045)
    assert desk.ask("POST", "/fapi/v1/algoOrder", **stop_params())["code"] == -4045
    arm(desk, "reject_stop", phase="after")
    desk.ask("POST", "/fapi/v1/algoOrder", **stop_params())
    desk.simulation.engine.set_price("BTCUSDT", desk.simulation.engine.quote("BTCUSDT").last * 8 // 10, hold_ms=1e9)
    assert [row["o"]["X"] for _, row in desk.frames if row["e"] == "ALGO_UPDATE"] == ["NEW", "TRIGGERING", "REJECTED"]
    assert held(desk) == ["0.010"]


def test_partial_fill_ends_a_market_order_half_done(desk: Desk) -> None:
    arm(desk, "partial_fill", fraction=0.3)
    answer = buy(desk)
    assert (answer["status"], answer["executedQty"]) == ("EXPIRED", "0.003")


def test_slow_fill_comes_in_parts(desk: Desk) -> None:
    arm(desk, "slow_fill", fraction=0.5, delay_ms=300)
    desk.submit("POST", ORDER, order_params(newClientOrderId="mine"))
    desk.run(100)
    answer = desk.answers[-1][1]
    assert isinstance(answer, Response)
    assert json.loads(answer.body)["status"] == "PARTIALLY_FILLED"
    desk.run(300)
    fills = [row["o"] for _, row in desk.frames if row["e"] == "ORDER_TRADE_UPDATE" and row["o"]["x"] == "TRADE"]
    assert [(row["X"], row["l"], row["z"]) for row in fills] == [
        ("PARTIALLY_FILLED", "0.005", "0.005"),
        ("FILLED", "0.005", "0.01"),
    ]


def test_gap_price_fires_stops_beyond_their_trigger(desk: Desk) -> None:
    buy(desk)
    desk.ask("POST", "/fapi/v1/algoOrder", **stop_params())
    arm(desk, "gap_price", {"symbol": "BTCUSDT"}, fraction=-0.15, duration_ms=1_000)
    assert held(desk) == []
    child = desk.ask("GET", "/fapi/v1/allOrders", symbol="BTCUSDT")[-1]
    assert float(child["avgPrice"]) < 67_000


def test_liquidate_takes_the_position_and_refuses_orders_for_its_duration(desk: Desk) -> None:
    buy(desk)
    arm(desk, "liquidate", {"symbol": "BTCUSDT"}, duration_ms=3_000)
    assert held(desk) == []
    assert buy(desk)["code"] == -2023
    desk.run(3_000)
    assert buy(desk)["status"] == "FILLED"


def test_adl_closes_a_part(desk: Desk) -> None:
    buy(desk)
    arm(desk, "adl", {"symbol": "BTCUSDT"}, fraction=0.4)
    assert held(desk) == ["0.006"]
    assert [row["o"]["c"] for _, row in desk.frames if row["e"] == "ORDER_TRADE_UPDATE"][-1] == "adl_autoclose"


@pytest.mark.parametrize(
    ("body", "shown", "code"),
    [(None, "TRADING_HALT", -4140), ("settling", "SETTLING", -4140), ("closed", "CLOSE", -4141)],
)
def test_halt_symbol_shows_its_status_and_refuses_orders(desk: Desk, body: str | None, shown: str, code: int) -> None:
    desk.open("/market/ws/!contractInfo", "")
    arm(desk, "halt_symbol", {"symbol": "BTCUSDT"}, body=body, duration_ms=3_000)
    assert buy(desk)["code"] == code
    rows = {row["symbol"]: row["status"] for row in desk.ask("GET", "/fapi/v1/exchangeInfo")["symbols"]}
    assert rows["BTCUSDT"] == shown
    desk.run(3_000)
    assert buy(desk)["status"] == "FILLED"
    assert [row["cs"] for _, row in desk.frames if row["e"] == "contractInfo"] == [shown, "TRADING"]


def test_halt_symbol_refuses_a_status_it_does_not_know(desk: Desk) -> None:
    with pytest.raises(FaultError, match="unknown status 'asleep'"):
        arm(desk, "halt_symbol", {"symbol": "BTCUSDT"}, body="asleep")


def test_change_filters_moves_the_book_onto_the_new_grid_and_is_told(desk: Desk) -> None:
    desk.open("/market/ws/!contractInfo", "")
    brackets = [{"leverage": 10, "cap": 50_000, "rate": "0.01"}, {"leverage": 5, "cap": 100_000, "rate": "0.02"}]
    arm(desk, "change_filters", {"symbol": "BTCUSDT"}, body={"tick": "10", "step": "0.01", "brackets": brackets})
    depth = desk.ask("GET", "/fapi/v1/depth", symbol="BTCUSDT", limit=5)
    assert all(float(price) % 10 == 0 for price, _ in depth["bids"] + depth["asks"])
    assert desk.ask("POST", ORDER, **order_params(type="LIMIT", timeInForce="GTC", price="74005"))["code"] == -4014
    (entry,) = desk.ask("GET", "/fapi/v1/leverageBracket", symbol="BTCUSDT")
    assert [(row["initialLeverage"], row["cum"]) for row in entry["brackets"]] == [(10, 0.0), (5, 500.0)]
    row = next(row for _, row in desk.frames if row["e"] == "contractInfo")
    assert [(bracket["mi"], bracket["ma"]) for bracket in row["bks"]] == [(6, 10), (1, 5)]


@pytest.mark.parametrize("body", [{"tick": 0}, {"brackets": []}, {"brackets": [{"leverage": 5}]}, {"colour": 1}])
def test_change_filters_refuses_what_cannot_be(desk: Desk, body: dict[str, Any]) -> None:
    with pytest.raises(FaultError):
        arm(desk, "change_filters", {"symbol": "BTCUSDT"}, body=body)


def test_revoke_key_refuses_the_key_for_its_duration(desk: Desk) -> None:
    arm(desk, "revoke_key", duration_ms=3_000)
    assert buy(desk)["code"] == -2015
    desk.run(3_000)
    assert buy(desk)["status"] == "FILLED"


def test_every_kind_of_fault_has_a_test_here() -> None:
    names = " ".join(name for name in globals() if name.startswith("test_"))
    assert [kind for kind in KINDS if kind not in names] == []


def test_commands_of_the_trading_socket_meet_the_faults_of_rest(desk: Desk) -> None:
    api = desk.trading_socket()
    arm(desk, "http_error", {"path": "order.place"}, status=503)
    refused = api("order.place", **order_params())
    assert (refused["status"], "error" in refused, held(desk)) == (503, True, [])
    arm(desk, "timeout_after_execution", {"path": "order.place"})
    unknown = api("order.place", **order_params())
    assert (unknown["status"], unknown["error"]["msg"].startswith("Unknown error")) == (503, True)
    assert held(desk) == ["0.010"]
    arm(desk, "http_error", {"path": "order.cancel"}, status=400, code=-2011, phase="after")
    assert api("order.cancel", symbol="BTCUSDT", orderId=1)["error"]["code"] == -2011
    arm(desk, "maintenance", {"path": "order.*"}, code=-1016)
    assert api("order.status", symbol="BTCUSDT", orderId=1)["error"]["code"] == -1016
    log = [(row["path"], row["status"], row["code"]) for row in desk.simulation.log.since(0) if row["method"] == "WS"]
    assert log == [
        ("order.place", 503, -1000),
        ("order.place", 503, -1000),
        ("order.cancel", 400, -2011),
        ("order.status", 503, -1016),
    ]


def test_a_command_can_be_answered_after_its_events(desk: Desk) -> None:
    api = desk.trading_socket()
    arm(desk, "event_before_reply", {"path": "order.place"}, delay_ms=200)
    answer = api("order.place", **order_params())
    assert answer["status"] == 200
    assert desk.replied_ms - desk.frames[-1][0] == 200


def test_a_handshake_takes_the_latency() -> None:
    desk = Desk(latency_ms=100)
    opened: list[float] = []
    desk.simulation.handshake("/public/ws", "", {}, lambda _: None, lambda _: opened.append(desk.now))
    begun = desk.now
    desk.run(1_000)
    assert [when - begun for when in opened] == [100]
