"""The bot against a Bot API server on loopback: who is answered, what outages cost, what never leaks."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from core.alerts.alerts import Alerts
from core.domain.alerts import AlertKind, Noise
from core.engine.ports import Level
from core.engine.records import JournalState
from tests.fakes.bot_api import CHAT, TOKEN, LoopbackBotApi, bot_api
from tests.fakes.diary import Diary
from tests.fakes.fake_journal import FakeJournal
from tests.tgbot.desks import FakeDesk, no_picture
from tgbot.bot import TelegramAccount, TelegramBot
from tgbot.roles import Roster
from tools.bot_account import BotAccount, Fault, FaultKind

NOTHING = JournalState(orders=(), positions=(), seen_signals=frozenset(), unfinished_waves=(), values={})


class FakeClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class Rig:
    """A bot, what it depends on, and the pauses it would have made (they cost nothing here)."""

    def __init__(self, url: str, **kwargs: Any) -> None:
        self.pauses: list[float] = []
        self.desk = FakeDesk()
        self.audit, self.queries = self.desk.audit, self.desk.queries
        self.handled: list[int] = []
        self.alerts = Alerts(
            journal=FakeJournal(Diary()), clock=FakeClock(), noise=dict.fromkeys(AlertKind, Noise.ON), held=NOTHING
        )
        self.feed = self.alerts.feed("telegram")
        self.bot = TelegramBot(
            account=TelegramAccount(token=TOKEN, roster=Roster(chat_id=CHAT), api_url=url),
            desk=self.desk.desk,
            clock=FakeClock(),
            feed=self.feed,
            on_update=self.handled.append,
            sleep=self.sleep,
            draw=no_picture,
            **kwargs,
        )

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(round(seconds, 2))
        await asyncio.sleep(0.001)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Rig"]:
        task = asyncio.create_task(self.bot.run())
        try:
            async with asyncio.timeout(20):
                yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def server() -> AsyncIterator[LoopbackBotApi]:
    async with bot_api() as api:
        yield api


def texts(server: LoopbackBotApi) -> list[str]:
    return [sent["text"] for sent in server.account.outbox]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for happens in the bot, which has no event for it
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("command", "answer"), [("/status", "🟢 ACTIVE"), ("/help", "Breakwater"), ("/start", "Breakwater")]
)
async def test_the_operator_is_answered(server: LoopbackBotApi, command: str, answer: str) -> None:
    async with Rig(server.url).running():
        server.say(command)
        (sent,) = await server.sent(1)
    assert (sent["chat_id"], sent["text"].startswith(answer)) == (CHAT, True)
    assert "parse_mode" not in sent


async def test_a_stranger_is_refused_without_an_answer_or_an_echo(server: LoopbackBotApi) -> None:
    with capture_logs() as logs:
        async with Rig(server.url).running() as rig:
            server.say("/status evil-words", chat_id=666)
            server.say("/status evil-words", chat_id=666)
            server.say("/help")
            (sent,) = await server.sent(1)
    assert sent["chat_id"] == CHAT
    assert rig.audit.records == [("telegram.stranger_refused", {"chat_id": 666, "user_id": 666})]
    assert [log["event"] for log in logs if log["log_level"] == "warning"] == ["telegram.stranger_refused"]
    assert "evil" not in repr(logs)


@pytest.mark.failure("TEL-04")
async def test_old_handled_and_foreign_commands_are_ignored_also_after_a_restart(server: LoopbackBotApi) -> None:
    server.say("/status", date=int(time.time()) - 120)
    server.say("/status", chat_id=666)
    async with Rig(server.url).running() as first:
        handled = server.say("/status")
        await server.sent(1)
    assert first.handled[-1] == handled
    pending = list(server.account.updates)
    async with Rig(server.url, first_update=first.handled[-1]).running() as second:
        server.account.updates[:0] = [update for update in pending if update not in server.account.updates]
        server.say("/help")
        await server.sent(2)
    assert [text.split("\n")[0] for text in texts(server)][1:] == ["Breakwater. You are owner."]
    assert len(second.handled) == 1


async def test_a_question_that_fails_is_answered_with_an_apology_and_the_next_one_works(
    server: LoopbackBotApi,
) -> None:
    rig = Rig(server.url)
    rig.queries.fails = True
    with capture_logs() as logs:
        async with rig.running():
            server.say("/status")
            await server.sent(1)
            rig.queries.fails = False
            server.say("/status")
            await server.sent(2)
    assert "could not be answered (RuntimeError)" in texts(server)[0]
    assert texts(server)[1].startswith("🟢 ACTIVE")
    assert "telegram.answer_failed" in [log["event"] for log in logs]


async def test_the_menu_of_the_phone_lists_the_commands(server: LoopbackBotApi) -> None:
    async with Rig(server.url).running():
        server.say("/help")
        await server.sent(1)
        await until(lambda: bool(server.account.commands))
    listed = [command["command"] for command in server.account.commands]
    assert {"status", "why", "chart", "panic", "help"} <= set(listed)
    assert len(listed) == len(set(listed)) == 27


# --- outages --------------------------------------------------------------------------------------------------------


@pytest.mark.failure("TEL-02")
async def test_critical_messages_survive_an_outage_and_the_rest_is_summarised(server: LoopbackBotApi) -> None:
    for number, method in enumerate(("sendMessage", "getMe", "getUpdates")):
        server.account.add_fault(Fault(kind=FaultKind.DOWN, method=method, count=-1, id=number))
    rig = Rig(server.url)
    with capture_logs() as logs:
        async with rig.running():
            rig.alerts.notify(Level.CRITICAL, "first", kind=AlertKind.START)
            await until(lambda: len(rig.pauses) >= 20)
            for number in range(5000):
                rig.alerts.notify(Level.INFO, f"noise {number}", kind=AlertKind.START)
                if number % 1000 == 0:
                    rig.alerts.notify(Level.CRITICAL, f"stop missing {number}", kind=AlertKind.START)
            assert rig.feed.statistics().waiting <= 500 + 6, "the critical ones are kept beside the others"
            assert rig.feed.statistics().failing
            server.account.faults.clear()
            assert await rig.feed.drain(20)
            server.say("/status")
            await server.sent(len(server.account.outbox) + 1)
    everything = "\n".join(texts(server))
    assert [word for number in range(0, 5000, 1000) if (word := f"🔴 stop missing {number}") not in everything] == []
    assert "🔴 first" in everything
    assert "earlier messages are only in the log" in everything
    assert [log["event"] for log in logs].count("alerts.unreachable") == 1
    assert max(rig.pauses) <= 60


async def test_a_server_that_comes_back_is_found_again(server: LoopbackBotApi) -> None:
    account = BotAccount(TOKEN, {CHAT})
    async with bot_api(account) as first:
        port = first.port
    rig = Rig(first.url)
    async with rig.running():
        rig.alerts.notify(Level.CRITICAL, "while it was down", kind=AlertKind.START)
        await until(lambda: len(rig.pauses) >= 4)
        async with bot_api(account, port) as back:
            await back.sent(1)
            back.say("/status")
            await back.sent(2)
    assert account.outbox[0]["text"] == "🔴 while it was down"


@pytest.mark.parametrize("kind", [FaultKind.GARBAGE, FaultKind.HTTP_ERROR, FaultKind.DOWN])
async def test_nonsense_answers_are_survived(server: LoopbackBotApi, kind: FaultKind) -> None:
    for method in ("getMe", "getUpdates", "sendMessage", "setMyCommands"):
        server.account.add_fault(Fault(kind=kind, method=method, count=2))
    async with Rig(server.url).running():
        server.say("/help")
        await server.sent(1)
    assert texts(server)[0].startswith("Breakwater")


async def test_a_flood_limit_is_waited_out(server: LoopbackBotApi) -> None:
    server.account.add_fault(Fault(kind=FaultKind.FLOOD, method="sendMessage", count=2, retry_after=7))
    server.account.add_fault(Fault(kind=FaultKind.FLOOD, method="getUpdates", count=1, retry_after=11))
    async with Rig(server.url).running() as rig:
        rig.alerts.notify(Level.CRITICAL, "told at last", kind=AlertKind.START)
        await server.sent(1)
        server.say("/help")
        await server.sent(2)
    assert rig.pauses.count(7) == 2
    assert rig.pauses.count(11) == 1
    assert texts(server)[0] == "🔴 told at last"


@pytest.mark.failure("TEL-03")
async def test_a_thousand_alerts_end_as_few_paced_messages_with_every_critical_one(server: LoopbackBotApi) -> None:
    server.account.add_fault(Fault(kind=FaultKind.FLOOD, method="sendMessage", count=1, retry_after=30))
    async with Rig(server.url).running() as rig:
        for number in range(1000):
            rig.alerts.notify(
                Level.CRITICAL if number % 50 == 0 else Level.WARNING, f"alert {number}.", kind=AlertKind.START
            )
            if number % 100 == 0:
                await asyncio.sleep(0.001)
        assert await rig.feed.drain(20)
    everything = "\n".join(texts(server))
    assert [number for number in range(0, 1000, 50) if f"🔴 alert {number}." not in everything] == []
    assert len(texts(server)) <= 11
    assert 30 in rig.pauses
    assert len([pause for pause in rig.pauses if 0.5 < pause <= 1]) >= len(texts(server)) - 1


async def test_a_message_refused_for_its_text_does_not_hold_up_the_next(
    server: LoopbackBotApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tgbot.sender.split", lambda text: (text,))
    async with Rig(server.url).running() as rig:
        rig.alerts.notify(Level.CRITICAL, "taken by nobody " * 300, kind=AlertKind.START)
        await until(lambda: bool(rig.feed.statistics().refused))
        rig.alerts.notify(Level.INFO, "heard", kind=AlertKind.START)
        await server.sent(1)
    assert texts(server) == ["heard"]


@pytest.mark.failure("TEL-07")
async def test_long_texts_are_split_and_markup_in_symbols_is_only_text(server: LoopbackBotApi) -> None:
    symbol = "1000_PEPE*[x](y) <b>&`~"
    long_text = "\n".join(f"{number} {symbol} 🔴" for number in range(500))
    async with Rig(server.url).running() as rig:
        rig.alerts.notify(Level.INFO, long_text, kind=AlertKind.START)
        assert await rig.feed.drain(20)
    assert len(texts(server)) > 3
    assert "\n".join(texts(server)) == long_text
    assert rig.feed.statistics().refused == 0


async def test_what_is_said_last_is_sent_before_the_end(server: LoopbackBotApi) -> None:
    rig = Rig(server.url)
    async with rig.running():
        rig.alerts.notify(Level.INFO, "stopped", kind=AlertKind.START)
        assert await rig.feed.drain(5)
    assert texts(server) == ["stopped"]


async def test_draining_into_an_outage_gives_up_at_its_deadline() -> None:
    rig = Rig("http://127.0.0.1:1")
    async with rig.running():
        rig.alerts.notify(Level.INFO, "stopped", kind=AlertKind.START)
        assert not await rig.feed.drain(0.01)


# --- secrets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["refused", "down", "garbage"])
async def test_the_token_is_in_no_log_and_no_exception(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    caplog.set_level(logging.DEBUG, "core")
    account = BotAccount("7000000001:another-token" if answer == "refused" else TOKEN, {CHAT})
    if answer != "refused":
        account.add_fault(Fault(kind=FaultKind(answer), count=-1))
    async with bot_api(account) as server:
        rig = Rig(server.url)
        with capture_logs() as logs:
            async with rig.running():
                rig.alerts.notify(Level.CRITICAL, "x", kind=AlertKind.START)
                await until(lambda: len(rig.pauses) >= 6)
    out, err = capsys.readouterr()
    said = "\n".join(
        [repr(logs), caplog.text, out, err, repr(rig.bot), repr(rig.bot._account), repr(rig.feed.statistics())]
    )
    assert "CANARY" not in said
    assert logs
