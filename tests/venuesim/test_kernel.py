"""Time and order: when requests are matched and answered, and when frames leave."""

import json

from tests.venuesim.builders import BTC, START_MS
from tests.venuesim.rig import Client, Rig
from tools.venuesim.wire import FrameKind, Response


def test_without_latency_everything_happens_inside_the_call_and_events_come_first() -> None:
    rig = Rig()
    client = rig.client()
    call = rig.order()
    assert call.json["status"] == "filled"
    assert client.texts == ["OrderNew", "OrderTrade", "AccountChanged"]
    assert call.answered_ms == 0


def test_a_request_is_matched_half_way_and_answered_after_the_latency() -> None:
    rig = Rig(latency_ms=100)
    client = rig.client()
    call = rig.order()
    rig.pass_ms(49)
    assert rig.held() == "0"
    rig.pass_ms(1)
    assert rig.held() == "0.1"
    rig.pass_ms(49)
    assert call.result is None
    rig.pass_ms(1)
    assert call.answered_ms == 100
    assert client.times == [100, 100, 100]


def test_frames_leave_half_the_latency_after_their_event() -> None:
    rig = Rig(latency_ms=100)
    client = rig.client()
    rig.order()
    rig.pass_ms(50)
    rig.stop(900)
    rig.pass_ms(100)
    client.frames.clear()
    rig.post("price", symbol=BTC, price="890", hold_ms=10**9)
    assert rig.held() == "0"
    assert not client.frames
    rig.pass_ms(50)
    assert set(client.times) == {200}


def test_jitter_spreads_the_times_but_never_turns_frames_of_one_socket_round() -> None:
    rig = Rig(latency_ms=20, jitter_ms=50)
    client = rig.client()
    for number in range(30):
        client.say(f"echo {number}")
        rig.pass_ms(1)
    rig.pass_ms(500)
    assert client.texts == [f"echo {number}" for number in range(30)]
    assert client.times == sorted(client.times)
    assert len(set(client.times)) > 3


def test_the_same_seed_gives_the_same_jitter() -> None:
    def run(seed: int) -> list[float | None]:
        rig = Rig(jitter_ms=50, seed=seed)
        calls = [rig.call("GET", "/time") for _ in range(5)]
        rig.pass_ms(200)
        return [call.answered_ms for call in calls]

    assert run(1) == run(1) != run(2)


def test_socket_commands_are_logged_and_answered_after_the_latency() -> None:
    rig = Rig(latency_ms=100)
    client = rig.client()
    client.say("echo 1")
    client.say("heartbeat")
    rig.pass_ms(100)
    assert client.frames[0][0] == 100
    (row,) = rig.get("requests")
    assert (row["method"], row["path"], row["lane"], row["status"], row["code"]) == ("WS", "echo", "session", 200, 0)
    assert row["answered"] - row["received"] == 100


def test_pings_are_answered_and_closes_carry_their_code() -> None:
    rig = Rig(latency_ms=10)
    client = rig.client()
    assert client.socket is not None
    client.socket.ping(b"x")
    client.say("bye")
    rig.pass_ms(10)
    assert [(when, frame.kind) for when, frame in client.frames] == [(10, FrameKind.PONG), (10, FrameKind.CLOSE)]
    assert client.closed_with == 4001
    assert not rig.facade.sessions[0].is_open


def test_a_client_that_left_is_told_nothing_more() -> None:
    rig = Rig(latency_ms=10)
    client = rig.client()
    assert client.socket is not None
    rig.order()
    rig.pass_ms(5)
    client.socket.gone()
    rig.pass_ms(50)
    assert not client.frames
    assert not rig.facade.sessions[0].is_open


def test_a_refused_handshake_is_an_answer() -> None:
    refused = Rig().connect("/nowhere")
    assert isinstance(refused, Response)
    assert refused.status == 404


def test_the_request_log_names_times_lanes_and_ids_and_is_written_as_lines() -> None:
    rig = Rig(latency_ms=100)
    rig.order(client_id="a")
    rig.stop(1, client_id="b", qty="0")
    rig.call("GET", "/orders")
    rig.pass_ms(99)
    assert [row["answered"] for row in rig.get("requests")] == [None] * 3
    rig.pass_ms(1)
    first, second, third = rig.get("requests")
    assert first == {
        "n": 1, "received": START_MS, "answered": START_MS + 100, "method": "POST", "path": "/order",
        "lane": "order", "client_id": "a", "client_ids": ["a"], "status": 200, "code": None,
    }  # fmt: skip
    assert (second["lane"], second["status"], second["code"]) == ("stop", 400, "qty_not_positive")
    assert (third["lane"], third["client_id"]) == ("query", None)
    assert rig.get("requests?since=2") == [third]
    assert [json.loads(line) for line in rig.log] == [first, second, third]


def test_the_clock_can_be_moved_and_timers_run() -> None:
    rig = Rig()
    rig.post("clock", advance_ms=3_600_000)
    assert rig.call("GET", "/time").json["time"] == START_MS + 3_600_000
    due = rig.simulation.next_due()
    assert due is not None
    assert due <= rig.now + 1000
    assert "never runs backwards" in rig.refuses("clock", advance_ms=-1)


def test_time_given_out_of_order_does_not_run_backwards() -> None:
    rig = Rig()
    rig.simulation.run_until(START_MS + 1000)
    rig.simulation.run_until(START_MS + 500)
    assert rig.simulation.now_ms() == START_MS + 1000


def test_funding_is_paid_at_the_full_hour() -> None:
    rig = Rig()
    rig.order()
    before = rig.get("state")["balances"]["USDT"]["wallet"]
    rig.post("clock", advance_ms=8 * 3_600_000)
    assert rig.get("state")["balances"]["USDT"]["wallet"] < before


def test_two_sockets_hear_the_same() -> None:
    rig = Rig()
    clients: list[Client] = [rig.client(), rig.client()]
    rig.order()
    assert clients[0].texts == clients[1].texts != []
