"""Connections: login, subscriptions and their errors, silence, limits, and the key that is taken away."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.venuesim.okx.desk import BTC, START_MS
from tests.venuesim.okx.streams import BUSINESS, PRIVATE, PUBLIC, QUIET, SWAPS, StreamDesk
from tools.venuesim.wire import Response

SECOND_S = START_MS // 1000


def errors(answer: dict[str, Any]) -> tuple[str, str]:
    return answer["event"], answer["code"]


# login


@pytest.mark.parametrize("place", [PRIVATE, BUSINESS])
def test_a_login_is_acknowledged_with_the_connections_name(place: str) -> None:
    answer = StreamDesk().connect(place).log_in()
    assert answer == {"event": "login", "code": "0", "msg": "", "connId": answer["connId"]}
    assert len(answer["connId"]) == 8


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"key": "other"}, "60005"),
        ({"secret": "other"}, "60007"),
        ({"passphrase": "other"}, "60024"),
        ({"timestamp": SECOND_S - 31}, "60006"),
        ({"timestamp": "soon"}, "60004"),
    ],
)
def test_a_wrong_login_is_refused_and_ends_the_connection(wrong: dict[str, Any], code: str) -> None:
    wire = StreamDesk().connect(PRIVATE)
    assert errors(wire.log_in(**wrong)) == ("error", code)
    assert wire.closed == 4001


def test_a_second_login_is_refused_and_the_first_one_stays() -> None:
    desk = StreamDesk()
    wire = desk.private("orders")
    assert errors(wire.log_in()) == ("error", "60031")
    desk.order()
    assert wire.rows("orders")


@pytest.mark.parametrize(("place", "channel"), [(PRIVATE, "orders"), (BUSINESS, "orders-algo")])
def test_accounts_channels_need_a_login(place: str, channel: str) -> None:
    desk = StreamDesk()
    wire = desk.connect(place)
    assert errors(wire.subscribe(channel, **SWAPS)) == ("error", "60011")
    desk.order()
    assert wire.pushed == []


def test_each_address_wants_a_login_of_its_own() -> None:
    desk = StreamDesk()
    desk.private("orders")
    assert errors(desk.connect(BUSINESS).subscribe("orders-algo", **SWAPS)) == ("error", "60011")


# subscriptions


def test_every_argument_is_acknowledged_by_itself_with_the_commands_id() -> None:
    wire = StreamDesk().connect(PUBLIC)
    names = ({"channel": "tickers", "instId": BTC}, {"channel": "nothing"}, {"channel": "trades", "instId": BTC})
    wire.ask("subscribe", *names, id="1512")
    assert [(row["id"], row["event"]) for row in wire.answers] == [
        ("1512", "subscribe"), ("1512", "error"), ("1512", "subscribe"),
    ]  # fmt: skip
    assert wire.answers[0]["arg"] == names[0]


def test_the_acknowledgement_comes_before_the_first_message() -> None:
    wire = StreamDesk().public("tickers", instId=BTC)
    assert [("event" in row) for row in wire.all] == [True, False]


def test_channels_with_few_connections_tell_how_many_there_are() -> None:
    desk = StreamDesk()
    desk.private("orders")
    wire = desk.connect(PRIVATE)
    wire.log_in()
    wire.subscribe("orders", **SWAPS)
    count = wire.answers[-1]
    assert (count["event"], count["channel"], count["connCount"]) == ("channel-conn-count", "orders", "2")
    wire.subscribe("orders", instType="ANY")
    assert wire.answers[-1]["connCount"] == "2"


def test_the_thirty_first_connection_of_a_channel_is_refused() -> None:
    desk = StreamDesk()
    for _ in range(30):
        desk.run(400)
        desk.private("balance_and_position")
    desk.run(400)
    wire = desk.connect(PRIVATE)
    wire.log_in()
    wire.subscribe("balance_and_position")
    assert (wire.answers[-1]["event"], wire.answers[-1]["connCount"]) == ("channel-conn-count-error", "30")
    desk.order()
    assert wire.pushed == []


@pytest.mark.parametrize(
    ("place", "argument", "code"),
    [
        (PUBLIC, {"channel": "tickers", "instId": "NOPE-USDT-SWAP"}, "60018"),
        (PUBLIC, {"channel": "tickers"}, "60018"),
        (PUBLIC, {"channel": "ticker", "instId": BTC}, "60018"),
        (PUBLIC, {"instId": BTC}, "60018"),
        (PUBLIC, {"channel": "orders", "instType": "SWAP"}, "60018"),
        (PUBLIC, {"channel": "candle1m", "instId": BTC}, "64001"),
        (PUBLIC, {"channel": "books-l2-tbt", "instId": BTC}, "60029"),
        (PUBLIC, {"channel": "books50-l2-tbt", "instId": BTC}, "60030"),
        (PUBLIC, "tickers", "60013"),
        (BUSINESS, {"channel": "tickers", "instId": BTC}, "64002"),
        (BUSINESS, {"channel": "candle7m", "instId": BTC}, "60018"),
        (PRIVATE, {"channel": "orders-algo", "instType": "SWAP"}, "64001"),
        (PRIVATE, {"channel": "orders"}, "60018"),
        (PRIVATE, {"channel": "orders", "instType": "SWAPS"}, "60018"),
        (PRIVATE, {"channel": "orders", "instType": "SWAP", "uly": "BTC-USDT"}, "64000"),
        (PRIVATE, {"channel": "orders", "instType": "SWAP", "instId": "NOPE-USDT-SWAP"}, "60018"),
        (PRIVATE, {"channel": "fills"}, "64003"),
        (PRIVATE, {"channel": "account", "extraParams": '{"updateInterval": "1"}'}, "60013"),
        (PRIVATE, {"channel": "positions", "instType": "ANY", "extraParams": "soon"}, "60013"),
    ],
)
def test_what_cannot_be_subscribed_is_refused_by_its_code(place: str, argument: Any, code: str) -> None:
    wire = StreamDesk().connect(place)
    if place != PUBLIC:
        wire.log_in()
    assert errors(wire.ask("subscribe", argument)) == ("error", code)
    assert wire.pushed == []


def test_the_text_of_a_wrong_channel_names_it() -> None:
    answer = StreamDesk().connect(PUBLIC).subscribe("ticker", instId=BTC)
    assert answer["msg"].startswith("Wrong URL or channel:ticker,instId:BTC-USDT-SWAP doesn't exist.")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("{", "60012"),
        ("[]", "60012"),
        ({"op": "subscribe"}, "60012"),
        ({"op": "subscribe", "args": {}}, "60012"),
        ({"args": []}, "60012"),
        ({"op": "subscribe", "args": [{"channel": "status"}], "id": "no-dashes"}, "60012"),
        ({"op": "subscribe", "args": [{"channel": "status"}], "id": "x" * 33}, "60012"),
        ({"op": "subscribe", "args": [{"channel": "status"}] * 3_000}, "60012"),
        ({"op": "upgrade", "args": []}, "60019"),
    ],
)
def test_malformed_commands_are_answered_with_an_error(command: object, code: str) -> None:
    wire = StreamDesk().connect(PUBLIC)
    assert errors(wire.say(command)) == ("error", code)


def test_an_error_repeats_the_id_so_that_clients_know_what_failed() -> None:
    text = json.dumps({"op": "subscribe", "argss": [], "id": "1512"})
    answer = StreamDesk().connect(PUBLIC).say(text)
    assert (answer["id"], answer["msg"]) == ("1512", f"Invalid request: {text}")


def test_an_unsubscribed_channel_is_silent() -> None:
    desk = StreamDesk()
    wire = desk.public("tickers", "trades", instId=BTC)
    answer = wire.ask("unsubscribe", {"channel": "tickers", "instId": BTC})
    assert answer == {"event": "unsubscribe", "arg": {"channel": "tickers", "instId": BTC}, "connId": answer["connId"]}
    wire.forget()
    desk.run(3_000)
    assert wire.of("tickers") == []
    assert wire.of("trades")


def test_a_market_is_watched_only_while_somebody_listens() -> None:
    desk = StreamDesk()
    first, second = (desk.public("tickers", instId=BTC) for _ in range(2))
    assert first.socket is not None
    assert second.socket is not None
    first.socket.gone()
    desk.run(1_000)
    assert len(second.of("tickers")) > 1
    second.socket.gone()
    seen: list[object] = []
    desk.simulation.facade.on_events = seen.append  # type: ignore[method-assign,assignment]
    desk.run(5_000)
    assert seen == []


# keeping alive


def test_a_text_ping_is_answered_and_keeps_the_connection() -> None:
    desk = StreamDesk()
    wire = desk.connect(PRIVATE)
    for _ in range(5):
        desk.run(29_000)
        wire.say("ping")
    assert (wire.texts, wire.closed) == (["pong"] * 5, None)
    assert desk.look("requests?since=0") == []


def test_a_connection_on_which_nothing_passes_is_ended_after_thirty_seconds() -> None:
    desk = StreamDesk()
    wire = desk.private("orders")
    desk.run(29_900)
    assert wire.closed is None
    desk.run(200)
    assert wire.closed == 4004


def test_pushes_keep_a_connection_too() -> None:
    desk = StreamDesk()
    wire = desk.public("tickers", instId=BTC)
    desk.run(120_000)
    assert wire.closed is None


def test_a_jump_of_the_clock_is_no_silence() -> None:
    desk = StreamDesk()
    wire = desk.private("account", "positions")
    desk.sim("clock", advance_ms=8 * 3_600_000)
    assert wire.closed is None
    desk.run(29_000)
    assert wire.closed is None
    desk.run(2_000)
    assert wire.closed == 4004


# limits and ends


def test_the_fourth_connection_within_a_second_is_turned_away() -> None:
    desk = StreamDesk()
    for place in (PUBLIC, PRIVATE, BUSINESS):
        desk.connect(place)
    refused = desk.simulation.connect("/ws/v5/public", "", {}, lambda _: None)
    assert isinstance(refused, Response)
    assert refused.status == 429
    desk.run(1_000)
    desk.connect(PUBLIC)


def test_other_addresses_are_no_sockets() -> None:
    refused = StreamDesk().simulation.connect("/ws/v5/secret", "", {}, lambda _: None)
    assert isinstance(refused, Response)
    assert refused.status == 404


def test_a_connection_has_480_commands_an_hour() -> None:
    desk = StreamDesk()
    wire = desk.public("status")
    for _ in range(479):
        assert wire.subscribe("status")["event"] == "subscribe"
    assert errors(wire.subscribe("status")) == ("error", "60014")
    for _ in range(121):
        wire.say("ping")
        desk.run(29_900)
    assert wire.subscribe("status")["event"] == "subscribe"


def test_a_revoked_key_ends_the_sessions_that_were_logged_in_with_it() -> None:
    desk = StreamDesk()
    private, public = desk.private("orders"), desk.public("tickers", instId=BTC)
    desk.fault("revoke_key", duration_ms=5_000)
    desk.run(1_000)
    assert (private.closed, public.closed) == (4007, None)
    again = desk.connect(PRIVATE)
    assert errors(again.log_in()) == ("error", "60005")
    desk.run(5_000)
    assert desk.connect(PRIVATE).log_in()["event"] == "login"


def test_the_log_of_requests_shows_commands_by_their_ops() -> None:
    desk = StreamDesk()
    wire = desk.private()
    wire.subscribe("account", **QUIET)
    rows = [(row["method"], row["path"], row["lane"]) for row in desk.look("requests?since=0")]
    assert rows == [("WS", "login", "session"), ("WS", "subscribe", "session")]
