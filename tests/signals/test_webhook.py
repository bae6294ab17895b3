"""Signals posted to the webhook: who is heard, what is understood, and what a repeated or hostile message does."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from core.domain.ids import InstrumentId, SignalId, Symbol, VenueName
from core.domain.signal import Side
from core.domain.verdict import Reason
from core.engine.ports import SignalBatch
from core.listener import HttpAnswer, HttpRequest
from core.signals.webhook import MAX_BODY, SignalWebhook, WebhookRules
from tests.builders import NOW_MS
from tests.fakes.virtual_loop import VirtualClock
from tests.signals.test_parsing import a_reader

TOKEN = "correct-horse-battery"
KEY = "another-long-secret"
ALERT: dict[str, Any] = {
    "ticker": "BINANCE:BTCUSDT.P",
    "action": "buy",
    "price": 60_000.5,
    "time": "2026-09-21T14:13:19Z",
    "strategy": "ema cross",
}
"""As a TradingView alert is written, its placeholders filled in. NOW_MS is 14:13:20."""


class Posts:
    """A webhook and the waves that came out of it."""

    def __init__(self, **rules: Any) -> None:
        self.waves: list[SignalBatch] = []
        seen = rules.pop("seen", ())
        self.webhook = SignalWebhook(
            reader=a_reader(),
            rules=WebhookRules(**({"token": TOKEN} | rules)),
            listen=self._listen,
            collect_seconds=0.05,
            clock=VirtualClock(),
            seen=seen,
        )

    async def _listen(self, _answer: Any) -> None:
        await asyncio.Event().wait()

    def post(self, body: object, **headers: str) -> HttpAnswer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.webhook.answer(HttpRequest(method="POST", path="/signals", headers=headers, body=raw))

    def send(self, body: object, **headers: str) -> tuple[int, Any]:
        answer = self.post(body, **{"x-breakwater-token": TOKEN, **headers})
        return answer.status, json.loads(answer.body)


@asynccontextmanager
async def posts(**rules: Any) -> AsyncIterator[Posts]:
    """Taking messages; left once what was collected has become a wave."""
    made = Posts(**rules)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(made.webhook.run(made.waves.append, lambda: None))
        await asyncio.sleep(0)
        yield made
        await asyncio.sleep(0.5)
        running.cancel()


# what is understood


async def test_an_alert_of_tradingview_becomes_a_signal_like_any_other() -> None:
    async with posts() as made:
        status, told = made.send(ALERT)
    assert (status, told["refused"]) == (202, [])
    ((signal,),) = (wave.signals for wave in made.waves)
    assert told["accepted"] == [signal.id]
    assert signal.instrument == InstrumentId(VenueName.BINANCE, Symbol("BTC/USDT:USDT"))
    assert (signal.side, signal.price, signal.score) == (Side.BUY, Decimal("60000.5"), Decimal(0))
    assert signal.event_time_ms == NOW_MS - 1_000
    assert signal.features == {"strategy": "ema cross"}


@pytest.mark.parametrize(
    ("action", "left"), [("buy", "short"), ("long", " Short"), ("sell", "long"), ("SHORT", "long")]
)
async def test_an_order_that_closes_a_part_opens_nothing_on_the_other_side(action: str, left: str) -> None:
    """A part of a short is bought back: TradingView says buy, and that the strategy is short still."""
    async with posts() as made:
        status, told = made.send(ALERT | {"action": action, "market_position": left, "prev_market_position": left})
    assert status == 400
    assert not any(wave.signals for wave in made.waves)
    assert "closes a part" in told["refused"][0]["detail"]


@pytest.mark.parametrize(("action", "left"), [("buy", "long"), ("sell", "short")])
async def test_an_order_that_opens_or_adds_is_taken(action: str, left: str) -> None:
    async with posts() as made:
        assert made.send(ALERT | {"action": action, "market_position": left})[0] == 202


async def test_of_the_bars_time_and_the_alerts_own_the_latter_counts() -> None:
    async with posts() as made:
        status, _ = made.send(ALERT | {"time": "2026-09-21T14:12:00Z", "timenow": "2026-09-21T14:13:19Z"})
    ((signal,),) = (wave.signals for wave in made.waves)
    assert (status, signal.event_time_ms) == (202, NOW_MS - 1_000)


async def test_our_own_field_names_are_understood_as_they_are() -> None:
    body = {
        "id": "mine-1",
        "pair_symbol": "ETHUSDT",
        "direction": "SHORT",
        "total_score": "77.5",
        "timestamp": NOW_MS,
        "stop_loss_filter": "1.5",
    }
    async with posts() as made:
        assert made.send(body) == (202, {"accepted": ["mine-1"], "seen_before": [], "refused": []})
    (signal,) = made.waves[0].signals
    assert (signal.side, signal.score) == (Side.SELL, Decimal("77.5"))
    assert signal.parameters.stop_loss_percent == Decimal("1.5")


async def test_the_score_of_a_signal_that_names_none_is_a_setting() -> None:
    async with posts(score=Decimal(50)) as made:
        made.send(ALERT)
        made.send(ALERT | {"score": 81, "ticker": "BINANCE:ETHUSDT"})
    assert [signal.score for signal in made.waves[0].signals] == [50, 81]


async def test_what_is_posted_together_in_time_is_one_wave() -> None:
    async with posts() as made:
        made.send(ALERT)
        await asyncio.sleep(0.02)
        made.send(ALERT | {"ticker": "ETHUSDT"})
        await asyncio.sleep(1.0)
        made.send(ALERT | {"action": "sell"})
    assert [len(wave.signals) for wave in made.waves] == [2, 1]


async def test_several_signals_in_one_message_are_one_wave_and_each_has_its_word() -> None:
    listed = [ALERT, ALERT | {"ticker": "DOGEUSDT"}, ALERT | {"ticker": "ETHUSDT"}]
    async with posts() as made:
        status, told = made.send({"signals": listed})
    assert status == 202
    assert len(told["accepted"]) == 2
    assert [one["code"] for one in told["refused"]] == [Reason.SYMBOL_UNKNOWN]
    assert [(len(wave.signals), len(wave.unusable)) for wave in made.waves] == [(2, 1)]


@pytest.mark.parametrize(
    ("changes", "code", "word"),
    [
        ({"ticker": None}, Reason.MALFORMED, "ticker"),
        ({"ticker": "KRAKEN:BTCUSDT"}, Reason.VENUE_UNKNOWN, "exchange"),
        ({"ticker": "BINANCE:"}, Reason.MALFORMED, "pair_symbol"),
        ({"ticker": "BINANCE:BTCUSDT", "exchange": "okx"}, Reason.VENUE_CONFLICT, "exchange"),
        ({"ticker": "BTCUSDT", "symbol": "ETHUSDT"}, Reason.MALFORMED, "symbol"),
        ({"action": None}, Reason.SIDE_MISSING, "action: missing"),
        ({"action": "close"}, Reason.SIDE_MISSING, "action"),
        ({"action": "buy", "direction": "SHORT"}, Reason.SIDE_CONFLICT, "direction"),
        ({"market_position": "flat"}, Reason.SIDE_MISSING, "market_position"),
        ({"time": None}, Reason.TIME_INVALID, "time: missing"),
        ({"timestamp": "2026-09-21T14:00:00Z"}, Reason.MALFORMED, "timestamp and time"),
        ({"price": "{{close}}"}, Reason.PRICE_INVALID, "price"),
        ({"price": -1}, Reason.PRICE_INVALID, "price"),
        ({"score": "much"}, Reason.SCORE_INVALID, "total_score"),
        ({"id": ["a"]}, Reason.MALFORMED, "id"),
    ],
)
async def test_what_cannot_be_understood_is_400_and_names_the_field(changes: Any, code: Reason, word: str) -> None:
    body = {name: value for name, value in {**ALERT, **changes}.items() if value is not None}
    async with posts() as made:
        status, told = made.send(body)
    assert status == 400
    assert [one["code"] for one in told["refused"]] == [code]
    assert word in told["refused"][0]["detail"]
    assert [(len(wave.signals), len(wave.unusable)) for wave in made.waves] == [(0, 1)]  # `why` can tell it later
    assert made.waves[0].unusable[0].symbol in {"BTCUSDT", "DOGEUSDT", "", "?"}


# once only


async def test_a_message_that_comes_twice_does_nothing_the_second_time() -> None:
    async with posts() as made:
        first = made.send(ALERT)[1]["accepted"]
        await asyncio.sleep(1.0)
        assert made.send(ALERT) == (200, {"accepted": [], "seen_before": first, "refused": []})
        assert made.send({**ALERT, "time": "2026-09-21T14:13:20Z"})[0] == 202  # another candle, another signal
    assert [len(wave.signals) for wave in made.waves] == [1, 1]


async def test_what_was_handled_before_a_restart_is_known() -> None:
    async with posts(seen=[SignalId("mine-1")]) as made:
        status, told = made.send(ALERT | {"id": "mine-1"})
    assert (status, told["seen_before"], made.waves) == (200, ["mine-1"], [])


# who is heard


async def test_the_token_may_stand_in_the_message_where_no_header_can_be_set() -> None:
    async with posts() as made:
        for name in ("token", "secret"):
            assert made.post(ALERT | {name: TOKEN, "id": name}).status == 202
    assert TOKEN not in repr(made.waves)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (ALERT, {}),
        (ALERT, {"x-breakwater-token": ""}),
        (ALERT, {"x-breakwater-token": TOKEN[:-1]}),
        (ALERT, {"x-breakwater-token": TOKEN + "x"}),
        (ALERT, {"x-breakwater-token": "caf\udcff"}),
        (ALERT, {"authorization": f"Bearer {TOKEN}"}),
        (ALERT | {"token": TOKEN}, {"x-breakwater-token": "wrong"}),
        (ALERT | {"token": TOKEN, "secret": TOKEN}, {}),
        (ALERT | {"token": [TOKEN]}, {}),
        (ALERT | {"token": "caf\ud800"}, {}),
        (b"no JSON at all", {}),
        (b"", {}),
        (b"[1, 2]", {}),
    ],
)
async def test_who_is_not_known_learns_nothing_and_does_nothing(body: object, headers: dict[str, str]) -> None:
    async with posts() as made:
        answer = made.post(body, **headers)
    assert (answer.status, json.loads(answer.body)) == (401, {"error": "unknown sender"})
    assert made.waves == []


async def test_with_a_key_every_message_must_be_signed_over_exactly_its_bytes() -> None:
    body = json.dumps(ALERT).encode()
    signature = hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest()
    async with posts(hmac_key=KEY) as made:
        assert made.send(body)[0] == 401
        assert made.send(body, **{"x-breakwater-signature": "0" * 64})[0] == 401
        assert made.send(body + b" ", **{"x-breakwater-signature": signature})[0] == 401
        assert made.post(body, **{"x-breakwater-signature": signature}).status == 401  # the token as well
        assert made.send(body, **{"x-breakwater-signature": f"sha256={signature}"})[0] == 202


# bounds


async def test_more_than_the_allowed_number_a_minute_waits_and_strangers_use_nothing_of_it() -> None:
    async with posts(per_minute=2) as made:
        for _ in range(50):
            made.post(ALERT)
        assert [made.send(ALERT | {"id": name})[0] for name in "abc"] == [202, 202, 429]
        late = made.post(ALERT | {"id": "c"}, **{"x-breakwater-token": TOKEN})
        assert late.headers["Retry-After"] == "61"
        await asyncio.sleep(60.5)
        assert made.send(ALERT | {"id": "c"})[0] == 202


@pytest.mark.parametrize(
    "body",
    [
        b"{" * 10_000,
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b'{"price": 1e999999}',
        b"\xff\xfe",
        b'{"signals": []}',
        b'{"signals": [1]}',
        b'{"signals": {}}',
        json.dumps({"signals": [ALERT] * 101}).encode(),
        json.dumps({"signals": [ALERT], "ticker": "BTCUSDT"}).encode(),
        b'{"ticker": NaN, "action": Infinity, "time": -Infinity}',
    ],
)
async def test_hostile_bodies_are_400_and_nothing_more(body: bytes) -> None:
    async with posts() as made:
        assert made.send(body)[0] == 400
    assert not [wave.signals for wave in made.waves if wave.signals]


async def test_there_is_one_path_one_method_and_a_longest_message() -> None:
    made = Posts()
    for method, path, status in (("GET", "/signals", 405), ("POST", "/", 404), ("POST", "/signals/../status", 404)):
        assert made.webhook.answer(HttpRequest(method=method, path=path, headers={})).status == status
    assert made.send(b" " * (MAX_BODY + 1))[0] == 413


async def test_before_the_daemon_trades_and_after_it_stops_nothing_is_taken() -> None:
    made = Posts()
    assert made.send(ALERT)[0] == 503
    async with posts() as running:
        pass
    assert running.send(ALERT)[0] == 503
