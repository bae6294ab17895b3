"""What each injected fault does, and which occasions it picks."""

from pathlib import Path

import pytest

from tests.venuesim.builders import BTC, START_MS, d
from tests.venuesim.rig import Rig
from tools.venuesim.exchange.model import AmendRequest, OrderRequest, OrderType, Side, TimeInForce
from tools.venuesim.faults import FaultError, load
from tools.venuesim.wire import Response

# which occasions


def statuses(rig: Rig, number: int) -> list[int]:
    return [rig.call("GET", "/time").status for _ in range(number)]


def test_after_and_count_pick_a_stretch_of_the_occasions() -> None:
    rig = Rig()
    rig.fault("http_error", after=1, count=2)
    assert statuses(rig, 5) == [200, 503, 503, 200, 200]


def test_every_second_occasion_by_fraction_or_by_several_faults() -> None:
    rig = Rig()
    share = rig.fault("http_error", fraction=0.5, count=-1)
    assert statuses(rig, 6) == [200, 503, 200, 503, 200, 503]
    rig.delete(f"fault?id={share}")
    for number in (1, 3):
        rig.fault("http_error", after=number)
    assert statuses(rig, 5) == [200, 503, 200, 503, 200]


def test_a_share_with_a_seed_is_random_and_repeatable() -> None:
    def run(seed: int) -> list[int]:
        rig = Rig()
        rig.fault("http_error", fraction=0.5, count=-1, seed=seed)
        return statuses(rig, 30)

    assert run(1) == run(1) != run(2)
    assert 5 < run(1).count(503) < 25


def test_matches_are_exact_or_patterns() -> None:
    rig = Rig()
    rig.fault("http_error", {"method": "POST", "client_id": "x*"}, count=-1)
    assert rig.order(client_id="y1").status == 200
    assert rig.order(client_id="x1").status == 503
    assert rig.call("GET", "/time").status == 200


def test_a_fault_runs_from_its_moment_for_its_duration() -> None:
    rig = Rig()
    rig.fault("http_error", at_ms=1000, duration_ms=500)
    assert statuses(rig, 1) == [200]
    rig.pass_ms(1000)
    assert statuses(rig, 2) == [503, 503]
    rig.pass_ms(500)
    assert statuses(rig, 1) == [200]


def test_a_moment_may_be_given_on_the_clock() -> None:
    rig = Rig()
    rig.fault("http_error", at_ms=START_MS + 10)
    assert statuses(rig, 1) == [200]
    rig.pass_ms(10)
    assert statuses(rig, 1) == [503]


# requests


def test_latency_delays_one_request_and_not_the_next() -> None:
    rig = Rig()
    rig.fault("latency", delay_ms=200, phase="after")
    slow, fast = rig.order(), rig.call("GET", "/time")
    assert (slow.result, fast.status) == (None, 200)
    assert rig.held() == "0.1"
    rig.pass_ms(200)
    assert slow.answered_ms == 200


def test_latency_before_delays_the_matching() -> None:
    rig = Rig()
    rig.fault("latency", delay_ms=200, phase="before")
    rig.order()
    rig.pass_ms(199)
    assert rig.held() == "0"
    rig.pass_ms(1)
    assert rig.held() == "0.1"


def test_a_dropped_request_is_not_executed_and_a_dropped_response_is() -> None:
    rig = Rig()
    rig.fault("drop_request", {"path": "/order"})
    assert rig.order().dropped
    assert rig.held() == "0"
    rig.fault("drop_response", {"path": "/order"}, delay_ms=50)
    call = rig.order()
    rig.pass_ms(50)
    assert call.dropped
    assert rig.held() == "0.1"
    assert [row["answered"] for row in rig.get("requests")] == [None, None]


def test_an_error_before_is_not_executed_and_after_is() -> None:
    rig = Rig()
    rig.fault("http_error", {"path": "/order"}, status=500, code=-1000)
    call = rig.order()
    assert (call.status, call.json["code"], rig.held()) == (500, -1000, "0")
    rig.fault("http_error", {"path": "/order"}, status=502, body="<html>", phase="after")
    call = rig.order()
    assert (call.status, rig.held()) == (502, "0.1")
    assert isinstance(call.result, Response)
    assert call.result.body == b"<html>"


def test_a_timeout_after_execution_answers_that_nobody_knows() -> None:
    rig = Rig()
    rig.fault("timeout_after_execution", {"path": "/order"}, delay_ms=30)
    call = rig.order()
    rig.pass_ms(30)
    assert (call.status, call.json["error"], rig.held()) == (503, "unknown", "0.1")


def test_events_can_be_made_to_come_before_the_reply() -> None:
    rig = Rig(latency_ms=20)
    client = rig.client()
    rig.fault("event_before_reply", delay_ms=40)
    call = rig.order()
    rig.pass_ms(100)
    assert (client.times[0], call.answered_ms) == (20, 60)


def test_stale_answers_are_what_was_true_before() -> None:
    rig = Rig()
    assert rig.call("GET", "/orders").json == []
    rig.fault("stale_rest", {"path": "/orders"}, count=2)
    rig.order(price="990", client_id="a")
    assert rig.call("GET", "/orders", timestamp=1).json == []
    assert rig.call("GET", "/orders", timestamp=2).json == []
    assert rig.call("GET", "/orders", timestamp=3).json == ["a"]


def test_empty_answers_keep_their_shape() -> None:
    rig = Rig()
    rig.order(price="990", client_id="a")
    rig.fault("empty_rest", {"path": "/orders"})
    assert rig.call("GET", "/orders").json == []
    assert rig.call("GET", "/orders").json == ["a"]


def test_maintenance_refuses_requests_and_sockets_for_a_while() -> None:
    rig = Rig()
    rig.fault("maintenance", duration_ms=1000)
    assert rig.order().status == 503
    assert isinstance(rig.connect(), Response)
    rig.pass_ms(1000)
    assert rig.order().status == 200
    assert not isinstance(rig.connect(), Response)


# frames and sockets

ALL = ["OrderNew", "OrderTrade", "AccountChanged"]


def test_events_can_be_lost_doubled_delayed_and_turned_round() -> None:
    def heard(kind: str, **keys: float) -> list[str]:
        rig = Rig()
        client = rig.client()
        rig.fault(kind, {"event": "OrderTrade"}, **keys)
        rig.order()
        rig.pass_ms(2000)
        return client.texts

    assert heard("lose_event") == ["OrderNew", "AccountChanged"]
    assert heard("duplicate_event") == ["OrderNew", "OrderTrade", "OrderTrade", "AccountChanged"]
    assert heard("duplicate_event", delay_ms=5) == [*ALL, "OrderTrade"]
    assert heard("delay_event", delay_ms=100) == ["OrderNew", "AccountChanged", "OrderTrade"]
    assert heard("reorder_events") == ["OrderNew", "AccountChanged", "OrderTrade"]


def test_a_turned_round_event_with_none_after_it_still_comes() -> None:
    rig = Rig()
    client = rig.client()
    rig.fault("reorder_events", {"event": "AccountChanged"}, delay_ms=100)
    rig.order()
    assert client.texts == ALL[:2]
    rig.pass_ms(100)
    assert client.texts == ALL


def test_garbage_and_huge_frames_come_in_between() -> None:
    rig = Rig()
    client = rig.client()
    rig.fault("garbage_frame", {"event": "OrderTrade"})
    rig.fault("huge_frame", {"event": "AccountChanged"})
    rig.order()
    assert [len(text) > 10**6 for text in client.texts] == [False, False, False, True, False]
    assert client.texts[1].startswith("\x00")


def test_frames_match_by_client_id_and_symbol() -> None:
    rig = Rig()
    client = rig.client()
    rig.fault("lose_event", {"client_id": "a", "symbol": BTC}, count=-1)
    rig.order(client_id="a")
    assert client.texts == ["AccountChanged"]


def test_a_stream_is_cut_now_or_at_an_event() -> None:
    rig = Rig()
    client = rig.client()
    rig.fault("disconnect_stream", {"stream": "/ws"})
    assert client.closed_with == 1006
    second = rig.client()
    rig.fault("disconnect_stream", {"event": "OrderTrade"}, code=1001)
    rig.order()
    assert second.texts == ["OrderNew"]
    assert second.closed_with == 1001
    rig.pass_ms(0)
    assert not any(session.is_open for session in rig.facade.sessions)


def test_a_cut_with_a_duration_keeps_clients_out() -> None:
    rig = Rig()
    clients = [rig.client(), rig.client()]
    rig.fault("disconnect_stream", duration_ms=300)
    assert [client.closed_with for client in clients] == [1006, 1006]
    assert isinstance(rig.connect(), Response)
    rig.pass_ms(300)
    assert not isinstance(rig.connect(), Response)


def test_a_half_open_stream_says_nothing_and_answers_no_ping() -> None:
    rig = Rig()
    client = rig.client()
    rig.fault("half_open_stream")
    rig.order()
    assert client.socket is not None
    client.socket.ping()
    client.say("echo")
    rig.pass_ms(100)
    assert not client.frames


def test_socket_commands_can_be_lost_on_either_way() -> None:
    rig = Rig()
    client = rig.client()
    rig.fault("drop_request", {"method": "WS"})
    rig.fault("drop_response", {"method": "WS", "path": "echo"})
    client.say("echo 1")
    client.say("echo 2")
    client.say("echo 3")
    assert client.texts == ["echo 3"]
    assert [row["answered"] is None for row in rig.get("requests")] == [True, True, False]


# orders


def test_an_order_is_rejected_with_the_venues_code() -> None:
    rig = Rig()
    rig.fault("reject_order", {"symbol": BTC}, code=-2019)
    call = rig.order()
    assert (call.status, call.json["code"], rig.held()) == (400, -2019, "0")
    assert rig.order().status == 200


def test_a_stop_is_rejected_at_placement_or_at_its_trigger() -> None:
    rig = Rig()
    rig.order()
    rig.fault("reject_stop", code=-4120)
    assert rig.stop(900).json["code"] == -4120
    rig.fault("reject_stop", phase="after")
    assert rig.stop(900).status == 200
    rig.post("price", symbol=BTC, price="890")
    assert [row["status"] for row in rig.get("state?all=1")["orders"] if row["type"] == "stop"] == ["rejected"]
    assert rig.held() == "0.1"


def test_a_partial_fill_ends_a_market_order_and_leaves_a_limit_order_waiting() -> None:
    rig = Rig()
    rig.fault("partial_fill", fraction=0.25, count=2)
    call = rig.order(qty="0.1")
    assert (call.json["status"], call.json["filled"]) == ("expired", "0.025")
    limit = rig.order(qty="0.1", price="1001")
    assert (limit.json["status"], limit.json["filled"]) == ("partially_filled", "0.025")
    rig.pass_ms(5000)
    assert rig.held() == "0.05"
    engine = rig.simulation.engine
    done = engine.amend(AmendRequest(symbol=BTC, order_id=limit.json["id"], price=d(1002)))
    assert done.filled == d("0.1")


def test_a_slow_fill_comes_in_parts() -> None:
    rig = Rig()
    rig.fault("slow_fill", fraction=0.5, delay_ms=100)
    call = rig.order(qty="0.1")
    assert (call.json["status"], rig.held()) == ("partially_filled", "0.05")
    rig.pass_ms(100)
    assert rig.held() == "0.1"
    assert rig.get("state")["orders"] == []


def test_a_slow_fill_keeps_no_order_open_that_must_fill_at_once_and_finds_nobody() -> None:
    rig = Rig()
    rig.fault("slow_fill", fraction=0.5, delay_ms=100)
    request = OrderRequest(
        symbol=BTC, side=Side.BUY, type=OrderType.LIMIT, qty=d("0.1"), price=d(990), tif=TimeInForce.IOC, client_id="i"
    )
    rig.simulation.engine.place(request)
    assert rig.get("state")["orders"] == []
    assert rig.held() == "0"


def test_a_slow_close_of_a_position_that_is_gone_expires() -> None:
    rig = Rig()
    rig.order()
    rig.fault("slow_fill", {"client_id": "s"}, fraction=0.5, delay_ms=100)
    rig.stop(900, client_id="s")
    rig.post("price", symbol=BTC, price="890", hold_ms=10**9)
    rig.post("account", position={"symbol": BTC, "qty": 0, "entry": 0})
    rig.pass_ms(1000)
    assert rig.get("state")["orders"] == []
    assert rig.held() == "0"


# happenings


def test_a_gap_moves_the_price_at_its_moment_and_fires_stops() -> None:
    rig = Rig()
    rig.order()
    rig.stop(970)
    rig.fault("gap_price", {"symbol": BTC}, fraction=-0.04, at_ms=100)
    assert rig.held() == "0.1"
    rig.pass_ms(100)
    assert rig.held() == "0"


def test_a_halted_symbol_refuses_orders_until_it_is_over() -> None:
    rig = Rig()
    rig.fault("halt_symbol", {"symbol": BTC}, duration_ms=100)
    assert rig.order().json["error"] == "symbol_not_trading"
    rig.pass_ms(100)
    assert rig.order().status == 200


def test_filters_can_change_and_change_back() -> None:
    rig = Rig()
    rig.fault("change_filters", {"symbol": BTC}, body={"min_qty": "1", "market_min_qty": "1"}, duration_ms=100)
    assert rig.order().json["error"] == "qty_min"
    rig.pass_ms(100)
    assert rig.order().status == 200
    assert "unknown filter 'colour'" in rig.refuses(
        "fault", kind="change_filters", match={"symbol": BTC}, body={"colour": 1}
    )


def test_a_position_can_be_liquidated_or_deleveraged() -> None:
    rig = Rig()
    rig.order(qty="0.4")
    rig.fault("adl", {"symbol": BTC}, fraction=0.25)
    assert rig.held() == "0.3"
    rig.fault("liquidate", {"symbol": BTC})
    assert rig.held() == "0"
    names = [row["client_id"] for row in rig.get("state")["fills"]]
    assert names[1] == "adl_autoclose"
    assert names[2].startswith("autoclose-")


def test_the_venues_clock_can_be_skewed_for_a_while() -> None:
    rig = Rig()
    rig.fault("clock_skew", delay_ms=-3000, duration_ms=1000)
    assert rig.call("GET", "/time").json["time"] == START_MS - 3000
    rig.pass_ms(1000)
    assert rig.call("GET", "/time").json["time"] == START_MS + 1000


def test_faults_of_the_protocol_are_the_facades() -> None:
    rig = Rig()
    rig.fault("listen_key_expired")
    assert rig.facade.injected == ["listen_key_expired"]
    assert "not implemented" in rig.refuses("fault", kind="rate_limit")
    rig.fault("rate_limit", at_ms=10)
    rig.pass_ms(10)
    assert "not implemented" in rig.get("fault")[-1]["trouble"]


# files


def test_faults_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    file.write_text('[[fault]]\nkind = "http_error"\nafter = 1\nmatch = { path = "/time" }\n')
    rig = Rig(faults=load(file))
    assert statuses(rig, 3) == [200, 503, 200]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[fault]]\nkind = "x"\n', "fault 1: unknown kind 'x'"),
        ('[[faults]]\nkind = "latency"\n', "unknown table 'faults'"),
        ("[[fault]\n", "faults.toml"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(text)
    with pytest.raises(FaultError, match=message):
        load(file)
