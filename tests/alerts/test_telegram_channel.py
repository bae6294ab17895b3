"""Alerts on their way through Telegram: floods, outages, refusals, long texts."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any, Self, cast

import pytest
from structlog.testing import capture_logs
from telegram import Bot
from telegram.error import BadRequest, NetworkError, RetryAfter, TelegramError

from core.alerts.alerts import Alerts
from core.alerts.wording import MAX_UNITS
from core.domain.alerts import AlertKind, Noise
from core.engine.ports import Level
from tests.alerts.rows import NOTHING
from tests.fakes.diary import Diary
from tests.fakes.fake_journal import FakeJournal
from tests.fakes.virtual_loop import VirtualClock
from tgbot.pace import Pace
from tgbot.sender import Sender

TOKEN = "7000000001:CANARY"
NOISE = {**dict.fromkeys(AlertKind, Noise.ON), AlertKind.FILL: Noise.SILENT}


class FakeBot:
    """`answers` are raised, oldest first; then everything is taken."""

    def __init__(self) -> None:
        self.answers: list[TelegramError] = []
        self.refuses: Callable[[str], TelegramError | None] = lambda _: None
        self.sent: list[dict[str, Any]] = []
        self.tries: list[float] = []

    async def send_message(self, chat_id: int, text: str, **kwargs: Any) -> None:
        self.tries.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.05)
        if self.answers:
            raise self.answers.pop(0)
        if (error := self.refuses(text)) is not None:
            raise error
        self.sent.append({"chat_id": chat_id, "text": text, **kwargs})

    @property
    def texts(self) -> list[str]:
        return [sent["text"] for sent in self.sent]


class Rig:
    """Alerts, their Telegram feed and a bot; run with `async with`."""

    def __init__(self) -> None:
        self.bot = FakeBot()
        self.alerts = Alerts(journal=FakeJournal(Diary()), clock=VirtualClock(), noise=NOISE, held=NOTHING)
        self.feed = self.alerts.feed("telegram")
        self.pace = Pace()
        self.sender = Sender(
            cast("Bot", self.bot), 42, feed=self.feed, pace=self.pace, redact=lambda text: text.replace(TOKEN, "***")
        )

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.sender.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def tell(self, text: str, level: Level = Level.CRITICAL, kind: AlertKind = AlertKind.STREAM) -> None:
        self.alerts.notify(level, text, kind=kind)


@pytest.mark.failure("TEL-03")
async def test_a_flood_limit_is_waited_out_to_the_second() -> None:
    async with Rig() as rig:
        rig.bot.answers = [RetryAfter(timedelta(seconds=7)), RetryAfter(timedelta(seconds=11))]
        rig.tell("told at last")
        assert await rig.feed.drain(60)
    first, second, third = rig.bot.tries
    assert 7 <= second - first <= 7.2
    assert 11 <= third - second <= 11.2
    assert rig.bot.texts == ["🔴 told at last"]


@pytest.mark.parametrize("met_by", ["an alert", "an answer", "an answer while an alert waits"])
async def test_a_flood_of_an_hour_is_an_outage_that_the_other_channel_tells_at_once(met_by: str) -> None:
    async with Rig() as rig:
        other = rig.alerts.feed("webhook")
        if met_by == "an alert":
            rig.bot.answers = [RetryAfter(timedelta(seconds=3600))]
        else:
            await rig.pace.turn()
            asyncio.get_running_loop().call_later(0.5 if "while" in met_by else 0, rig.pace.hold, 3600)
            await asyncio.sleep(0.1)
        rig.tell("stop missing")
        await asyncio.sleep(10)
        assert rig.feed.statistics().failing.startswith("flood limit, nothing is taken for 36")
        message = other.take()
        assert message is not None
        assert "telegram: messages do not get through (flood limit" in message.text
        assert await rig.feed.drain(3_700)
        assert rig.feed.statistics().failing == ""
    lines = "\n".join(rig.bot.texts).split("\n")
    assert [line for line in lines if "stop missing" in line] != []
    assert lines[-1] == "telegram: messages get through again"


async def test_floods_of_seconds_are_told_on_no_other_channel_unless_they_go_on_for_minutes() -> None:
    async with Rig() as rig:
        other = rig.alerts.feed("webhook")
        for _ in range(40):
            rig.bot.answers = [RetryAfter(timedelta(seconds=30))]
            rig.tell("stop missing")
            assert await rig.feed.drain(60)
        assert rig.feed.statistics().failing == ""
        message = other.take()
        assert message is not None
        assert message.text.endswith("stop missing (×40)"), "and nothing else"
        rig.bot.answers = [RetryAfter(timedelta(seconds=30))] * 12
        rig.tell("stop missing again")
        assert await rig.feed.drain(500)
    assert [text for text in rig.bot.texts if "messages do not get through (flood limit" in text] != []


async def test_an_alert_that_is_tried_again_waits_out_the_flood_that_an_answer_has_met() -> None:
    async with Rig() as rig:
        rig.bot.answers = [NetworkError("down")]
        rig.tell("stop missing")
        await asyncio.sleep(0.5)
        rig.pace.hold(30)
        assert await rig.feed.drain(60)
    first, second = rig.bot.tries
    assert 30.4 <= second - first <= 30.6


async def test_a_flood_without_an_alert_that_waits_is_no_outage() -> None:
    async with Rig() as rig:
        rig.pace.hold(3600)
        await asyncio.sleep(10)
        assert rig.feed.statistics().failing == ""


@pytest.mark.failure("TEL-03")
async def test_a_thousand_alerts_in_a_minute_are_one_message_a_second_at_most_and_lose_nothing_critical() -> None:
    async with Rig() as rig:
        for number in range(1000):
            rig.tell(f"alert {number}.", Level.CRITICAL if number % 10 == 0 else Level.WARNING)
            await asyncio.sleep(0.06)
        assert await rig.feed.drain(60)
    lines = "\n".join(rig.bot.texts).split("\n")
    critical = [line for line in lines if line.startswith("🔴")]
    assert critical == [f"🔴 alert {number}." for number in range(0, 1000, 10)]
    assert all(after - before > 0.999 for before, after in pairwise(rig.bot.tries))
    assert len(rig.bot.sent) <= 62


@pytest.mark.failure("TEL-02")
async def test_an_hour_without_telegram_keeps_what_is_critical_and_summarises_the_rest_on_return() -> None:
    async with Rig() as rig:
        rig.bot.refuses = lambda _: NetworkError(f"no route to {TOKEN}")
        with capture_logs() as logs:
            for minute in range(60):
                for number in range(30):
                    rig.tell(f"wave {minute}.{number}", Level.INFO, AlertKind.WAVE)
                rig.tell(f"stop missing {minute}", kind=AlertKind.UNPROTECTED)
                await asyncio.sleep(60)
            assert rig.feed.statistics().waiting <= 600
            rig.bot.refuses = lambda _: None
            assert await rig.feed.drain(120)
    lines = "\n".join(rig.bot.texts).split("\n")
    assert [int(line.split()[-1]) for line in lines if "stop missing" in line] == list(range(60))
    assert [line for line in lines if "earlier messages are only in the log" in line]
    assert len(rig.bot.sent) < 10
    assert len(rig.bot.tries) < 100
    unreachable = [log for log in logs if log["event"] == "alerts.unreachable"]
    assert len(unreachable) == 1
    assert "CANARY" not in repr(logs) + repr(rig.feed.statistics())


async def test_a_message_that_was_made_before_an_outage_says_afterwards_when_it_was() -> None:
    async with Rig() as rig:
        rig.bot.answers = [NetworkError("down")] * 9
        rig.alerts.notify(Level.INFO, "entered", kind=AlertKind.ENTRY)
        await asyncio.sleep(600)
        rig.alerts.notify(Level.INFO, "closed", kind=AlertKind.CLOSE)
        await asyncio.sleep(60)
    first, second = rig.bot.texts
    assert first.startswith("[")
    assert first.endswith(" UTC]\nentered")
    assert second == "closed"


@pytest.mark.parametrize(
    "why",
    [
        "Message is too long",
        "MESSAGE_TOO_LONG",
        "Message text is empty",
        "MESSAGE_EMPTY",
        "Text must be non-empty",
        "Can't parse entities: unsupported start tag",
        "ENTITY_BOUNDS_INVALID",
        "Text must be encoded in utf-8",
    ],
)
async def test_a_message_refused_for_its_text_is_counted_and_does_not_hold_up_the_next(why: str) -> None:
    async with Rig() as rig:
        rig.bot.refuses = lambda text: BadRequest(why) if "odd" in text else None
        rig.tell("odd")
        await asyncio.sleep(2)
        rig.tell("heard")
        assert await rig.feed.drain(60)
    assert rig.bot.texts == ["🔴 heard"]
    assert (rig.feed.statistics().refused, rig.feed.statistics().sent) == (1, 1)


@pytest.mark.parametrize(
    "why",
    [
        "Chat not found",
        "Not enough rights to send text messages to the chat",
        "Have no rights to send a message",
        "CHAT_WRITE_FORBIDDEN",
        "TOPIC_CLOSED",
        "Message thread not found",
    ],
)
async def test_a_chat_in_which_the_bot_may_not_write_now_keeps_every_message_in_order_until_it_may(why: str) -> None:
    async with Rig() as rig:
        rig.bot.refuses = lambda _: BadRequest(why)
        for text in ("first", "second"):
            rig.tell(text)
            await asyncio.sleep(1_800)
        assert rig.feed.statistics().failing == f"BadRequest: {why}"
        rig.bot.refuses = lambda _: None
        assert await rig.feed.drain(120)
    lines = "\n".join(rig.bot.texts).split("\n")
    assert [line.split()[-1] for line in lines if line.startswith("🔴")] == ["first", "second"]
    assert rig.bot.texts[0].endswith(" UTC]\n🔴 first")
    assert rig.feed.statistics().refused == 0


@pytest.mark.failure("TEL-07")
@pytest.mark.failure("SEC-09")
async def test_a_long_text_is_split_and_paced_and_markup_in_it_is_only_text() -> None:
    line = "1000_PEPE*[x](y) <b>&`~ 🔴"
    text = "\n".join(f"{number} {line}" for number in range(400))
    async with Rig() as rig:
        rig.tell(text)
        assert await rig.feed.drain(60)
    assert len(rig.bot.sent) > 3
    assert "\n".join(rig.bot.texts) == f"🔴 {text}"
    assert all(len(part.encode("utf-16-le")) // 2 <= MAX_UNITS for part in rig.bot.texts)
    assert all(after - before > 0.999 for before, after in pairwise(rig.bot.tries))
    assert not any("parse_mode" in sent for sent in rig.bot.sent)


async def test_what_is_silent_comes_without_a_sound() -> None:
    async with Rig() as rig:
        rig.tell("filled", Level.INFO, AlertKind.FILL)
        await asyncio.sleep(5)
        rig.tell("gone")
        assert await rig.feed.drain(60)
    assert [(sent["text"], sent["disable_notification"]) for sent in rig.bot.sent] == [
        ("filled", True),
        ("🔴 gone", False),
    ]
