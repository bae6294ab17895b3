"""What OKX's sockets say of the conversation itself, and how two public channels become one price."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.domain.ids import Symbol
from core.domain.reports import Report
from core.errors import MalformedPayload, Refused
from core.venues.market_stream import Tick
from core.venues.okx.codes import ERRORS
from core.venues.okx.margin import MarginBook
from core.venues.okx.market_feed import PriceRoute
from core.venues.okx.signing import Credentials
from core.venues.okx.user_feed import SOCKETS, OkxSession, UserFrames
from core.venues.private_session import Leave, LoggedIn, LoginRefused, Notice, Pictured, Subscribed, SubscriptionRefused
from core.venues.subscriptions import Answered
from core.venues.venue_clock import VenueClock
from tests.fakes.virtual_loop import VirtualClock
from tests.venues.okx.builders import every_contract

BTC = Symbol("BTC/USDT:USDT")


@pytest.fixture
def fixtures(shared: Path) -> Path:
    return shared / "venues" / "fixtures" / "okx_swap"


class _Still(VirtualClock):
    def now_ms(self) -> int:
        return 1_704_876_947_500


def a_session(number: int = 0) -> OkxSession:
    frames = UserFrames(every_contract(), MarginBook())
    credentials = Credentials(key="k", secret="s", passphrase="p")
    return OkxSession(SOCKETS[number], "ws://okx.test", credentials, frames, VenueClock(_Still()))


def _frame(folder: Path, name: str) -> bytes:
    return (folder / f"{name}.json").read_bytes()


def _said(session: OkxSession, document: Any) -> Any:
    return session.decode(json.dumps(document).encode())


def test_the_two_sockets_ask_for_what_they_have_and_the_stops_are_on_the_second() -> None:
    private, business = a_session(0), a_session(1)
    assert (private.url, business.url) == ("ws://okx.test/ws/v5/private", "ws://okx.test/ws/v5/business")
    assert business.topics == ("orders-algo", "algo-advance")
    asked = [json.loads(frame) for frame in private.subscription()]
    assert [frame["args"][0]["channel"] for frame in asked] == list(private.topics)
    assert all(len(frame["args"]) == 1 and frame["op"] == "subscribe" for frame in asked)
    quiet = {
        f["args"][0]["channel"]: json.loads(f["args"][0]["extraParams"]) for f in asked if "extraParams" in f["args"][0]
    }
    assert quiet == {"positions": {"updateInterval": "0"}, "account": {"updateInterval": "0"}}
    assert private.pictured == {"account", "balance_and_position"}
    assert business.pictured == frozenset()
    assert private.ping is not None
    assert (private.ping.text(), private.ping.every) == ("ping", 18)
    assert private.ping.every + private.ping.within < 30


def test_a_login_is_taken_or_refused_by_the_venues_own_table(fixtures: Path) -> None:
    session = a_session()
    assert session.decode(_frame(fixtures, "ws_login_ok")) == LoggedIn()
    refused = a_session().decode(_frame(fixtures, "ws_login_error"))
    assert isinstance(refused, LoginRefused)
    for code, key, clock in (("60005", True, False), ("60024", True, False), ("60006", False, True)):
        told = _said(a_session(), {"event": "error", "code": code, "msg": "words", "connId": "a"})
        assert isinstance(told, LoginRefused)
        assert isinstance(told.error, Refused)
        assert (ERRORS.is_key(told.error), ERRORS.is_clock(told.error)) == (key, clock)


def test_each_topic_is_acknowledged_and_a_refusal_names_the_one_it_is_about(fixtures: Path) -> None:
    session = a_session()
    session.decode(_frame(fixtures, "ws_login_ok"))
    ack = {"id": "0", "event": "subscribe", "arg": {"channel": "orders", "instType": "SWAP"}, "connId": "a"}
    assert _said(session, ack) == Subscribed(("orders",))
    error = {"id": "1", "event": "error", "code": "60018", "msg": "wrong", "connId": "a"}
    assert _said(session, error) == SubscriptionRefused(("positions",), "60018", "wrong")
    assert _said(session, error | {"id": ""}) == SubscriptionRefused((), "60018", "wrong")
    told = session.decode(_frame(fixtures, "ws_channel_conn_count_error"))
    assert isinstance(told, SubscriptionRefused)
    assert told.topics == ("orders",)
    assert session.decode(_frame(fixtures, "ws_channel_conn_count")) == ()
    assert session.decode(_frame(fixtures, "ws_unsubscribe_ack")) == ()


def test_the_venue_may_ask_us_to_leave(fixtures: Path) -> None:
    session = a_session()
    told = session.decode(_frame(fixtures, "ws_notice_64008"))
    assert isinstance(told, Leave)
    assert "upgrade" in told.why
    assert _said(session, {"event": "notice", "code": "64999", "msg": "tea time"}) is None
    assert session.decode(b"pong") == ()


def test_a_picture_in_pages_is_complete_with_its_last(fixtures: Path) -> None:
    session, push = a_session(), json.loads(_frame(fixtures, "ws_account_captured"))
    first = _said(session, push | {"eventType": "snapshot", "curPage": 1, "lastPage": False})
    last = _said(session, push | {"eventType": "snapshot", "curPage": 2, "lastPage": True})
    assert not isinstance(first, Notice)
    assert len(first) == 3
    assert isinstance(last, Pictured)
    assert (last.topics, len(last.reports)) == (("account",), 3)


@pytest.mark.parametrize("frame", [b"{", b'{"event":7}', b'{"arg":{"channel":"orders"},"data":[{}]}', b'{"data":[]}'])
def test_a_frame_nobody_can_read_is_set_aside(frame: bytes) -> None:
    with pytest.raises(MalformedPayload, match="okx private stream"):
        a_session().decode(frame)


def test_a_channel_nobody_asked_for_is_no_fault() -> None:
    assert a_session().decode(b'{"arg":{"channel":"weather"},"data":[{}]}') is None


def test_spaces_and_another_order_of_keys_change_nothing(fixtures: Path) -> None:
    push = json.loads(_frame(fixtures, "ws_orders"))
    session = a_session()

    def reports(text: str) -> list[Report]:
        told = session.decode(text.encode())
        assert told is not None
        assert not isinstance(told, Notice)
        return list(told)

    assert reports(json.dumps(push)) == reports(json.dumps({"data": push["data"], "arg": push["arg"]}))


# --- prices -----------------------------------------------------------------------------------------------------------


def a_route() -> PriceRoute:
    return PriceRoute("ws://okx.test", every_contract())


def _one(route: PriceRoute, frame: bytes) -> Tick:
    told = route.decode(frame)
    assert not isinstance(told, Answered)
    assert told is not None
    (tick,) = told
    return tick


def _ticker(**row: str) -> bytes:
    document = {
        "arg": {"channel": "tickers", "instId": "BTC-USDT-SWAP"},
        "data": [{"instType": "SWAP", "instId": "BTC-USDT-SWAP", "bidPx": "99", "askPx": "101", "ts": "1000", **row}],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _mark(**row: str) -> bytes:
    document = {
        "arg": {"channel": "mark-price", "instId": "BTC-USDT-SWAP"},
        "data": [{"instType": "SWAP", "instId": "BTC-USDT-SWAP", "markPx": "100", "ts": "900", **row}],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def test_touch_and_mark_are_one_price_and_neither_takes_the_other_back() -> None:
    route = a_route()
    route.connected()
    frames = (_ticker(), _mark(), _ticker(bidPx="98", ts="1100"), _mark(markPx="97", ts="1050"))
    ticks = [_one(route, frame) for frame in frames]
    assert [(t.symbol, t.mark, t.bid, t.ask, t.venue_time_ms) for t in ticks] == [
        (BTC, None, 99, 101, 1000),
        (BTC, 100, 99, 101, 1000),
        (BTC, 100, 98, 101, 1100),
        (BTC, 97, 98, 101, 1100),
    ]


def test_a_new_connection_and_a_dropped_symbol_forget_what_was_said() -> None:
    route = a_route()
    route.decode(_mark())
    route.connected()
    tick = _one(route, _ticker())
    assert tick.mark is None
    route.decode(_mark())
    route.cancellation(["mark-price:BTC-USDT-SWAP"], 7)
    tick = _one(route, _ticker())
    assert tick.mark is None


def test_an_empty_side_of_the_book_is_no_price_and_nonsense_is_set_aside() -> None:
    tick = _one(a_route(), _ticker(bidPx="", askPx="0"))
    assert (tick.bid, tick.ask) == (None, None)
    for frame in (_ticker(bidPx="-1"), _mark(markPx="NaN"), _ticker(ts="soon"), b'{"arg":{"channel":"tickers"}}'):
        with pytest.raises(MalformedPayload, match="okx market stream"):
            a_route().decode(frame)


def test_two_channels_are_asked_for_each_wanted_swap_and_answered_one_by_one(fixtures: Path) -> None:
    route = a_route()
    channels = route.channels([BTC, Symbol("NOT/LISTED:USDT")])
    assert channels == ["tickers:BTC-USDT-SWAP", "mark-price:BTC-USDT-SWAP"]
    asked = json.loads(route.subscription(channels, 3))
    assert asked == {
        "id": "3",
        "op": "subscribe",
        "args": [
            {"channel": "tickers", "instId": "BTC-USDT-SWAP"},
            {"channel": "mark-price", "instId": "BTC-USDT-SWAP"},
        ],
    }
    ack = {"id": "3", "event": "subscribe", "arg": {"channel": "tickers", "instId": "BTC-USDT-SWAP"}}
    assert route.decode(json.dumps(ack).encode()) == Answered(channels=("tickers:BTC-USDT-SWAP",))
    error = {
        "id": "3",
        "event": "error",
        "code": "60018",
        "msg": "Wrong URL or channel:tickers,instId:X-USDT-SWAP doesn't exist.",
    }
    told = route.decode(json.dumps(error).encode())
    assert isinstance(told, Answered)
    assert (told.number, told.channels, told.refused) == (3, ("tickers:X-USDT-SWAP",), True)
    turned = {"event": "error", "code": "60018", "msg": error["msg"], "connId": "a", "id": "3"}
    for frame in (turned, dict(reversed(turned.items()))):
        told = route.decode(json.dumps(frame).encode())
        assert isinstance(told, Answered), "whatever stands first in it"
    assert route.decode(b"pong") is None
    assert route.decode(_frame(fixtures, "ws_notice_64008")) is None


def test_the_venues_own_pushes_are_prices(fixtures: Path) -> None:
    for name, field in (("ws_tickers_session", "bid"), ("ws_mark_price_session", "mark")):
        push = json.loads(_frame(fixtures, name))[-1]["push"]
        push["data"][0]["instId"] = "BTC-USDT-SWAP"
        tick = _one(a_route(), json.dumps(push, separators=(",", ":")).encode())
        assert getattr(tick, field) > Decimal(0)
