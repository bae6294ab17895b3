"""Every kind of fault of the vocabulary against this venue, from the armed table to what a client meets."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.venuesim.bybit.desk import ALL_TOPICS, BTC, START_MS, Desk
from tools.venuesim.faults import KINDS
from tools.venuesim.wire import Dropped, Response

CREATE = "/v5/order/create"
POST = {"method": "POST", "path": CREATE}
ENTRY = {"category": "linear", "symbol": BTC, "side": "Buy", "orderType": "Market", "qty": "0.010"}
ENTRY |= {"orderLinkId": "mine"}
MINE = {"category": "linear", "symbol": BTC, "orderLinkId": "mine"}
TOLD = ["order:Filled", "execution:Trade", "position:Buy0.010", "wallet:USDT"]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def buy(desk: Desk, **params: Any) -> Any:
    """The whole answer, once it is there."""
    desk.submit("POST", CREATE, {**ENTRY, **params})
    desk.run(2_000)
    answer = desk.responses[-1][1]
    assert isinstance(answer, Response), answer
    return json.loads(answer.body)


def held(desk: Desk) -> Decimal:
    return sum((Decimal(row["qty"]) for row in desk.look("state")["positions"]), Decimal(0))


def near(desk: Desk, share: str) -> str:
    return f"{desk.price() * Decimal(share):.1f}"


def test_latency_delays_an_answer_and_its_matching(desk: Desk) -> None:
    wire = desk.private_stream()
    desk.fault("latency", POST, delay_ms=400)
    buy(desk)
    assert desk.responses[-1][0] - START_MS == 400
    assert min(wire.times[-4:]) == 200


def test_drop_request_loses_the_order_before_it_arrives(desk: Desk) -> None:
    desk.fault("drop_request", POST)
    desk.submit("POST", CREATE, ENTRY)
    desk.run(1_000)
    assert isinstance(desk.responses[-1][1], Dropped)
    assert held(desk) == 0


def test_drop_response_executes_and_a_repetition_proves_it(desk: Desk) -> None:
    desk.fault("drop_response", POST)
    desk.submit("POST", CREATE, ENTRY)
    desk.run(1_000)
    assert isinstance(desk.responses[-1][1], Dropped)
    assert buy(desk)["retCode"] == 110072
    assert held(desk) == Decimal("0.010")


@pytest.mark.parametrize("code", [10000, 10016, 10019, 40004, 110079])
def test_http_error_before_executes_nothing(desk: Desk, code: int) -> None:
    desk.fault("http_error", POST, code=code)
    desk.submit("POST", CREATE, ENTRY)
    desk.run(1_000)
    answer = desk.responses[-1][1]
    assert isinstance(answer, Response)
    # The venue's own codes come with status 200.
    assert (answer.status, json.loads(answer.body)["retCode"]) == (200, code)
    assert held(desk) == 0


@pytest.mark.parametrize("status", [403, 502, 504])
def test_http_error_after_executes_all_the_same_behind_a_page_that_is_no_json(desk: Desk, status: int) -> None:
    desk.fault("http_error", POST, status=status, phase="after")
    desk.submit("POST", CREATE, ENTRY)
    desk.run(1_000)
    answer = desk.responses[-1][1]
    assert isinstance(answer, Response)
    assert (answer.status, answer.headers["content-type"]) == (status, "text/html")
    assert held(desk) == Decimal("0.010")


def test_timeout_after_execution_leaves_the_outcome_unknown(desk: Desk) -> None:
    desk.fault("timeout_after_execution", POST)
    assert buy(desk)["retCode"] == 10000
    assert desk.ok("GET", "/v5/order/realtime", **MINE)["list"][0]["orderStatus"] == "Filled"


def test_event_before_reply_lets_the_stream_overtake_the_answer(desk: Desk) -> None:
    wire = desk.private_stream()
    desk.fault("event_before_reply", POST, delay_ms=150)
    buy(desk)
    assert desk.responses[-1][0] - START_MS - wire.times[-1] == 150


def test_stale_rest_answers_as_before_or_that_there_is_nothing(desk: Desk) -> None:
    desk.fault("stale_rest", duration_ms=5_000)
    buy(desk, orderType="Limit", price=near(desk, "0.95"))
    assert desk.ok("GET", "/v5/order/realtime", **MINE)["list"] == []
    desk.run(5_000)
    assert desk.ok("GET", "/v5/order/realtime", **MINE)["list"][0]["orderStatus"] == "New"


def test_empty_rest_answers_an_empty_list(desk: Desk) -> None:
    buy(desk)
    desk.fault("empty_rest", {"path": "/v5/position/list"})
    ask = {"category": "linear", "settleCoin": "USDT"}
    assert [len(desk.ok("GET", "/v5/position/list", **ask)["list"]) for _ in range(2)] == [0, 1]


def test_maintenance_answers_errors_and_refuses_sockets(desk: Desk) -> None:
    desk.fault("maintenance", duration_ms=3_000, code=10016)
    assert buy(desk)["retCode"] == 10016
    with pytest.raises(AssertionError, match="503"):
        desk.connect("/v5/private")
    desk.run(3_000)
    assert buy(desk)["retCode"] == 0


def test_duplicate_event_tells_a_frame_twice(desk: Desk) -> None:
    wire = desk.private_stream()
    desk.fault("duplicate_event", {"event": "execution", "client_id": "mine"})
    buy(desk)
    first, second = wire.of("execution")
    assert first == second


def test_reorder_events_lets_the_next_frame_overtake(desk: Desk) -> None:
    wire = desk.private_stream()
    desk.fault("reorder_events", {"event": "order"})
    buy(desk)
    assert wire.story == [TOLD[1], TOLD[0], *TOLD[2:]]


def test_delay_event_holds_one_frame_back(desk: Desk) -> None:
    wire = desk.private_stream()
    desk.fault("delay_event", {"event": "order"}, delay_ms=700)
    buy(desk)
    assert wire.story == [*TOLD[1:], TOLD[0]]
    assert wire.times[-1] - wire.times[-2] == 700


def test_lose_event_never_tells_it(desk: Desk) -> None:
    wire = desk.private_stream()
    desk.fault("lose_event", {"event": "execution"}, count=-1)
    buy(desk)
    assert wire.story == [TOLD[0], *TOLD[2:]]


def test_garbage_frame_and_huge_frame_come_in_between(desk: Desk) -> None:
    wire = desk.private_stream()
    desk.fault("garbage_frame", {"event": "position"})
    desk.fault("huge_frame", {"event": "position"})
    buy(desk)
    assert wire.story == TOLD
    garbage, huge = (text for text in wire.texts if not text.startswith("{"))
    assert len(huge) > 4_000_000
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(garbage)


def test_disconnect_stream_cuts_the_private_stream_only(desk: Desk) -> None:
    private, public = desk.private_stream(), desk.public_stream(f"tickers.{BTC}")
    desk.fault("disconnect_stream", {"stream": "/v5/private"})
    buy(desk)
    assert (private.closed, private.pushed, public.closed) == (1006, [], None)


def test_half_open_stream_says_nothing_more_and_stays_open(desk: Desk) -> None:
    wire = desk.private_stream()
    desk.fault("half_open_stream", {"stream": "/v5/private"})
    buy(desk)
    before = len(wire.answers)
    wire.say({"op": "ping"})
    assert (wire.pushed, wire.closed, len(wire.answers)) == ([], None, before)


def test_listen_key_expired_has_no_meaning_here_and_says_so(desk: Desk) -> None:
    with pytest.raises(AssertionError, match="listen_key_expired is not implemented for this venue"):
        desk.fault("listen_key_expired")


def test_rate_limit_refuses_until_its_time_is_over_with_the_venues_headers(desk: Desk) -> None:
    desk.fault("rate_limit", duration_ms=4_000)
    desk.run(0)
    desk.submit("POST", CREATE, ENTRY)
    refused = desk.responses[-1][1]
    assert isinstance(refused, Response)
    headers = {name.lower(): value for name, value in refused.headers.items()}
    assert (refused.status, refused.code, headers["x-bapi-limit-status"]) == (200, 10006, "0")
    assert int(headers["x-bapi-limit-reset-timestamp"]) == START_MS + 4_000
    desk.run(4_000)
    assert buy(desk)["retCode"] == 0


def test_rate_limit_of_an_address_is_a_page_with_status_403(desk: Desk) -> None:
    desk.fault("rate_limit", status=403, duration_ms=600_000)
    desk.run(0)
    desk.submit("GET", "/v5/order/realtime", MINE)
    answer = desk.responses[-1][1]
    assert isinstance(answer, Response)
    assert (answer.status, b"access too frequent" in answer.body) == (403, True)


def test_clock_skew_puts_honest_stamps_outside_the_window(desk: Desk) -> None:
    desk.fault("clock_skew", delay_ms=-3_000, duration_ms=10_000)
    desk.run(0)
    told = int(desk.public("/v5/market/time")["result"]["timeSecond"])
    assert told == (START_MS - 3_000) // 1_000
    trading = desk.connect("/v5/trade")
    assert trading.log_in()["retCode"] == 0
    honest = {"X-BAPI-TIMESTAMP": str(int(desk.now))}
    assert trading.ask("order.create", ENTRY, reqId="1", header=honest)["retCode"] == 10002
    desk.run(10_000)
    honest = {"X-BAPI-TIMESTAMP": str(int(desk.now))}
    assert trading.ask("order.create", ENTRY, reqId="2", header=honest)["retCode"] == 0


@pytest.mark.parametrize("code", [110007, 110017, 110094, 110090, 110120])
def test_reject_order_answers_the_prescribed_code_once(desk: Desk, code: int) -> None:
    desk.fault("reject_order", {"symbol": BTC}, code=code)
    assert buy(desk)["retCode"] == code
    assert buy(desk)["retCode"] == 0


def test_reject_stop_at_placement_and_at_its_trigger(desk: Desk) -> None:
    buy(desk)
    stop = {**ENTRY, "side": "Sell", "triggerPrice": near(desk, "0.9"), "triggerDirection": 2, "reduceOnly": True}
    desk.fault("reject_stop", code=110092)
    assert desk.post(CREATE, **{**stop, "orderLinkId": "stop-1"})["retCode"] == 110092
    desk.fault("reject_stop", phase="after")
    wire = desk.private_stream()
    assert desk.post(CREATE, **{**stop, "orderLinkId": "stop-2"})["retCode"] == 0
    desk.move(near(desk, "0.85"))
    assert [row["orderStatus"] for row in wire.rows("order")] == ["Untriggered", "Rejected"]
    assert held(desk) == Decimal("0.010")


def test_partial_fill_ends_a_market_order_half_done(desk: Desk) -> None:
    wire = desk.private_stream()
    desk.fault("partial_fill", fraction=0.3)
    assert buy(desk)["retCode"] == 0
    (row,) = wire.rows("order")
    assert (row["orderStatus"], row["cumExecQty"], row["rejectReason"]) == (
        "Cancelled", "0.003", "EC_NoImmediateQtyToFill",
    )  # fmt: skip


def test_slow_fill_comes_in_parts(desk: Desk) -> None:
    wire = desk.private_stream()
    desk.fault("slow_fill", fraction=0.5, delay_ms=300)
    buy(desk)
    assert [(row["orderStatus"], row["cumExecQty"]) for row in wire.rows("order")] == [
        ("PartiallyFilled", "0.005"),
        ("Filled", "0.010"),
    ]
    assert [row["leavesQty"] for row in wire.rows("execution")] == ["0.005", "0.000"]


def test_gap_price_fires_stops_beyond_their_trigger(desk: Desk) -> None:
    buy(desk)
    level = near(desk, "0.9")
    desk.post(CREATE, **{**ENTRY, "orderLinkId": "stop", "side": "Sell", "triggerPrice": level, "triggerDirection": 2})
    wire = desk.private_stream()
    desk.fault("gap_price", {"symbol": BTC}, fraction=-0.15, duration_ms=1_000)
    desk.run(100)
    assert held(desk) == 0
    assert Decimal(wire.rows("order")[-1]["avgPrice"]) < Decimal(level) * Decimal("0.97")


def test_liquidate_takes_the_position_and_refuses_orders_for_its_duration(desk: Desk) -> None:
    buy(desk)
    desk.fault("liquidate", {"symbol": BTC}, duration_ms=3_000)
    desk.run(0)
    assert held(desk) == 0
    assert desk.post(CREATE, **{**ENTRY, "orderLinkId": "next"})["retCode"] == 110005
    desk.run(3_000)
    assert buy(desk, orderLinkId="after")["retCode"] == 0


def test_adl_closes_a_part(desk: Desk) -> None:
    buy(desk)
    desk.fault("adl", {"symbol": BTC}, fraction=0.4)
    desk.run(0)
    assert held(desk) == Decimal("0.006")


@pytest.mark.parametrize(("body", "listed"), [(None, "Trading"), ("settling", "Delivering"), ("closed", "Closed")])
def test_halt_symbol_refuses_orders_and_shows_what_the_venue_shows(desk: Desk, body: str | None, listed: str) -> None:
    desk.fault("halt_symbol", {"symbol": BTC}, body=body, duration_ms=3_000)
    desk.run(0)
    assert desk.post(CREATE, **ENTRY)["retCode"] != 0
    rows = desk.public("/v5/market/instruments-info", category="linear", symbol=BTC)["result"]["list"]
    assert [row["status"] for row in rows] == [listed]
    trading = desk.public("/v5/market/instruments-info", category="linear")["result"]["list"]
    assert (BTC in {row["symbol"] for row in trading}) is (listed == "Trading")
    desk.run(3_000)
    assert buy(desk, orderLinkId="after")["retCode"] == 0


def test_change_filters_moves_book_and_rules_onto_the_new_grid(desk: Desk) -> None:
    wire = desk.public_stream(f"orderbook.50.{BTC}", f"tickers.{BTC}")
    desk.fault("change_filters", {"symbol": BTC}, body={"tick": "10", "step": "0.01"})
    desk.run(1_000)
    book = desk.public("/v5/market/orderbook", category="linear", symbol=BTC)["result"]
    assert all(Decimal(price) % 10 == 0 for price, _ in book["b"] + book["a"])
    row = desk.public("/v5/market/instruments-info", category="linear", symbol=BTC)["result"]["list"][0]
    assert (row["priceFilter"]["tickSize"], row["lotSizeFilter"]["qtyStep"]) == ("10", "0.01")
    assert desk.post(CREATE, **{**ENTRY, "orderType": "Limit", "price": "70005"})["retCode"] == 10001
    # Prices of the old grid cannot be taken back one by one: the book is told anew.
    frames = wire.of(f"orderbook.50.{BTC}")
    anew = [frame["data"] for frame in frames if frame["type"] == "snapshot"][-1]
    assert frames[0]["data"]["u"] < anew["u"]
    assert all(Decimal(price) % 10 == 0 for price, _ in anew["b"] + anew["a"])


def test_revoke_key_refuses_the_key_for_its_duration(desk: Desk) -> None:
    desk.fault("revoke_key", duration_ms=3_000)
    desk.run(0)
    assert desk.post(CREATE, **ENTRY)["retCode"] == 10003
    desk.run(3_000)
    assert buy(desk)["retCode"] == 0
    assert desk.private_stream(*ALL_TOPICS).closed is None


def test_every_kind_of_fault_has_a_test_here() -> None:
    names = " ".join(name for name in globals() if name.startswith("test_"))
    assert [kind for kind in KINDS if kind not in names] == []
