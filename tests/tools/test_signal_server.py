"""The scripted signal server: its conversation without a socket, and the program around it."""

import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tools.signal_feed import (
    Action,
    Close,
    Form,
    Line,
    ScriptError,
    Send,
    Session,
    SignalFeed,
    candle_open,
    parse_script,
)
from tools.signal_server import serving

NOW = datetime(2026, 9, 19, 12, 6, 30, 500_000, UTC)
BTC = {"id": 1, "pair_symbol": "BTCUSDT", "direction": "LONG"}
ETH = {"id": 2, "pair_symbol": "ETHUSDT", "direction": "SHORT"}
AUTH = '{"type":"auth","token":"t"}'


def a_feed(*lines: Line, form: Form = Form.PUSHED) -> SignalFeed:
    return SignalFeed(lines, form, token="t", utc_now=lambda: NOW)


def frames(actions: Sequence[Action]) -> list[dict[str, Any]]:
    return [json.loads(action.text) for action in actions if isinstance(action, Send)]


def kinds(actions: Sequence[Action]) -> list[str]:
    return [frame["type"] for frame in frames(actions)]


def logged_in(feed: SignalFeed, now_ms: int = 0) -> Session:
    session = feed.connect(now_ms)
    session.due(now_ms)
    session.receive(AUTH, now_ms)
    return session


def test_the_handshake_asks_for_a_token_and_welcomes_the_right_one() -> None:
    session = a_feed().connect(0)
    assert kinds(session.due(0)) == ["auth_required"]
    assert kinds(session.receive(AUTH, 1)) == ["auth_success", "signals_snapshot"]


@pytest.mark.parametrize("answer", ['{"type":"auth","token":"x"}', '{"type":"auth"}', '{"type":"ping"}'])
def test_anything_but_the_token_is_refused_and_the_connection_ends(answer: str) -> None:
    session = a_feed().connect(0)
    session.due(0)
    *spoken, last = session.receive(answer, 1)
    assert (kinds(spoken), last, session.closed) == (["auth_failed"], Close(1008), True)


def test_a_client_that_says_nothing_is_sent_away_after_five_seconds() -> None:
    session = a_feed().connect(100)
    session.due(100)
    assert session.next_ms(100) == 5100
    assert session.due(5099) == []
    assert isinstance(session.due(5100)[-1], Close)


def test_pushed_signals_follow_each_other_and_earlier_ones_are_in_the_snapshot() -> None:
    feed = a_feed(Line(at_ms=10, signals=(BTC,)), Line(at_ms=50, signals=(BTC, ETH)))
    session = feed.connect(20)
    session.due(20)
    snapshot = frames(session.receive(AUTH, 30))[1]
    assert (snapshot["count"], snapshot["data"]) == (1, [BTC])
    assert session.next_ms(30) == 50
    assert frames(session.due(50)) == [{**BTC, "type": "signal"}, {**ETH, "type": "signal"}]
    assert session.due(51) == []


def test_a_reconnecting_client_gets_everything_again_in_the_snapshot() -> None:
    feed = a_feed(Line(at_ms=10, signals=(BTC,)))
    assert kinds(logged_in(feed).due(10)) == ["signal"]
    session = feed.connect(20)
    session.due(20)
    assert frames(session.receive(AUTH, 20))[1]["count"] == 1


def test_a_heartbeat_comes_every_thirty_seconds_in_the_pushed_form_only() -> None:
    session = logged_in(a_feed())
    beats = [now for now in range(0, 100_000, 1000) if kinds(session.due(now)) == ["heartbeat"]]
    assert beats == [30_000, 60_000, 90_000]
    assert logged_in(a_feed(form=Form.POLLED)).next_ms(0) is None


def test_polling_gives_the_newest_due_line_and_none_before() -> None:
    lines = (Line(at_ms=10, signals=(BTC,)), Line(at_ms=20, signals=(ETH, BTC)), Line(at_ms=90, signals=()))
    session = logged_in(a_feed(*lines, form=Form.POLLED))
    counts = [frames(session.receive('{"type":"get_signals"}', now))[0]["count"] for now in (0, 10, 25, 95)]
    assert counts == [0, 1, 2, 0]
    assert session.due(30) == []


@pytest.mark.parametrize(
    ("asked", "answered"),
    [("ping", "pong"), ("get_stats", "stats"), ("get_signals", "signals"), ("dance", "error")],
)
def test_each_request_of_the_polled_form_is_answered(asked: str, answered: str) -> None:
    session = logged_in(a_feed(form=Form.POLLED))
    assert kinds(session.receive(json.dumps({"type": asked}), 0)) == [answered]


@pytest.mark.parametrize("text", ["", "[]", "nonsense", "[" * 100_000])
def test_a_frame_that_is_no_request_is_answered_with_an_error(text: str) -> None:
    assert kinds(logged_in(a_feed()).receive(text, 0)) == ["error"]


def test_a_raw_frame_goes_out_as_it_is_once_and_waits_for_a_first_listener() -> None:
    feed = a_feed(Line(at_ms=0, raw="{broken"), Line(at_ms=50, raw="live"))
    first = feed.connect(5)
    first.due(5)
    assert Send("{broken") in first.receive(AUTH, 5)
    second = logged_in(feed, 10)
    assert second.due(50) == first.due(50) == [Send("live")]
    third = feed.connect(60)
    assert not [a for a in [*third.due(60), *third.receive(AUTH, 60)] if a in (Send("live"), Send("{broken"))]


def test_a_close_ends_the_connections_of_its_moment_only() -> None:
    feed = a_feed(Line(at_ms=50, close=1006))
    assert logged_in(feed).due(50) == [Close(1006)]
    assert logged_in(feed, 60).due(61) == []


def test_nothing_is_said_during_a_silence_and_everything_after_it() -> None:
    feed = a_feed(Line(at_ms=10, silence_ms=40), Line(at_ms=20, signals=(BTC,)))
    session = logged_in(feed)
    assert session.due(20) == []
    assert session.receive('{"type":"ping"}', 30) == []
    assert session.next_ms(30) == 50
    assert kinds(session.due(50)) == ["signal", "pong"]


def test_a_silence_covers_the_handshake_too() -> None:
    session = a_feed(Line(at_ms=0, silence_ms=9_000)).connect(0)
    assert session.due(0) == session.due(5_000) == session.due(8_999) == []
    assert kinds(session.due(9_000)) == ["auth_required", "auth_failed"]


def test_placeholders_become_the_moment_and_candle_of_sending() -> None:
    signal_line = {**BTC, "timestamp": "$candle", "created_at": "$now", "strategy": "$now"}
    (sent,) = frames(logged_in(a_feed(Line(at_ms=1, signals=(signal_line,)))).due(1))
    assert sent["timestamp"] == "2026-09-19T11:45:00+00:00"
    assert sent["created_at"] == "2026-09-19T12:06:30.500+00:00"
    assert sent["strategy"] == "$now"


@pytest.mark.parametrize(
    ("minutes", "opened"),
    [(range(16), "11:45"), (range(16, 31), "12:00"), (range(31, 46), "12:15"), (range(46, 60), "12:30")],
)
def test_the_expected_candle_of_every_minute(minutes: range, opened: str) -> None:
    noon = datetime(2026, 9, 19, 12, tzinfo=UTC)
    assert {candle_open(noon + timedelta(minutes=minute)).strftime("%H:%M") for minute in minutes} == {opened}


@pytest.mark.parametrize(
    "line",
    ["{", "[]", "{}", '{"at_ms":0}', '{"at_ms":0,"dance":1}', '{"at_ms":"0","raw":""}', '{"at_ms":0,"signals":[1]}',
     '{"at_ms":0,"raw":"a","close":1000}', '{"at_ms":0,"close":true}'],
)  # fmt: skip
def test_a_line_that_cannot_be_used_is_named(line: str) -> None:
    with pytest.raises(ScriptError, match="line 2"):
        parse_script('{"at_ms":0,"raw":"x"}\n' + line)


def test_a_script_is_played_in_order_of_time_whatever_its_lines_order() -> None:
    lines = parse_script('{"at_ms":9,"raw":"b"}\n\n{"at_ms":1,"silence_ms":2}\n')
    assert [line.at_ms for line in lines] == [1, 9]


async def test_over_a_socket_signals_arrive_and_a_drop_is_a_drop() -> None:
    feed = SignalFeed((Line(at_ms=0, signals=(BTC,)), Line(at_ms=300, close=1006)), Form.PUSHED, token="t")
    async with serving(feed) as url, connect(url) as client:
        assert json.loads(await client.recv())["type"] == "auth_required"
        await client.send(AUTH)
        assert json.loads(await client.recv())["type"] == "auth_success"
        assert json.loads(await client.recv())["data"] == [BTC]
        with pytest.raises(ConnectionClosed) as ended:
            await client.recv()
    assert ended.value.rcvd is None


async def test_only_loopback_is_served() -> None:
    with pytest.raises(ValueError, match="loopback"):
        async with serving(a_feed(), host="0.0.0.0"):
            pass


@pytest.mark.parametrize("program", [["tools/signal_server.py"], ["-m", "tools.signal_server"]])
async def test_the_program_says_where_it_listens_and_ends_cleanly_on_sigterm(
    project_root: Path, tmp_path: Path, program: list[str]
) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text(json.dumps({"at_ms": 0, "signals": [BTC]}))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", *program, "--script", str(script), "--form", "polled",
        cwd=project_root, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    url = json.loads(await process.stdout.readline())["url"]
    async with connect(url) as client:
        await client.recv()
        await client.send('{"type":"auth"}')
        await client.recv()
        await client.send('{"type":"get_signals"}')
        assert json.loads(await client.recv())["count"] == 1
        process.send_signal(signal.SIGTERM)
        _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")


async def test_an_unusable_script_is_exit_status_2(project_root: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text("nonsense")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "tools/signal_server.py", "--script", str(script),
        cwd=project_root, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert b"line 1" in errors
