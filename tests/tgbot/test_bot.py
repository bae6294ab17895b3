"""The bot against a Bot API server on loopback: who is answered, what outages cost, what never leaks."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from core.domain.alerts import AlertKind
from core.engine.ports import Level, Notifier
from core.engine.queries import StatusReport
from tests.fakes.bot_api import CHAT, TOKEN, LoopbackBotApi, bot_api
from tests.tgbot.test_format import a_status
from tgbot.bot import TelegramAccount, TelegramBot
from tools.bot_account import BotAccount, Fault, FaultKind


class FakeClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class FakeAudit:
    def __init__(self) -> None:
        self.records: list[tuple[str, Mapping[str, Any]]] = []

    def record(self, kind: str, data: Mapping[str, Any]) -> None:
        self.records.append((kind, data))


class FakeQueries:
    def __init__(self) -> None:
        self.fails = False

    def status(self) -> StatusReport:
        if self.fails:
            raise RuntimeError("no picture")
        return a_status()


class Rig:
    """A bot, what it depends on, and the pauses it would have made (they cost nothing here)."""

    def __init__(self, url: str, **kwargs: Any) -> None:
        self.pauses: list[float] = []
        self.audit = FakeAudit()
        self.queries = FakeQueries()
        self.handled: list[int] = []
        self.bot = TelegramBot(
            account=TelegramAccount(token=TOKEN, chat_id=CHAT, api_url=url),
            queries=self.queries,
            audit=self.audit,
            clock=FakeClock(),
            on_update=self.handled.append,
            sleep=self.sleep,
            **kwargs,
        )

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
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


def test_it_is_the_notifier_the_engine_asks_for() -> None:
    _: Notifier = Rig("http://127.0.0.1:1").bot


@pytest.mark.parametrize(("command", "answer"), [("/status", "ACTIVE"), ("/help", "/status"), ("/start", "/status")])
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
    assert first.handled == [handled - 2, handled - 1, handled]
    pending = list(server.account.updates)
    async with Rig(server.url, first_update=first.handled[-1]).running() as second:
        server.account.updates[:0] = [update for update in pending if update not in server.account.updates]
        server.say("/help")
        await server.sent(2)
    assert [text.split("\n")[0] for text in texts(server)][1:] == ["/status: trading state, venues and positions"]
    assert len(second.handled) == 1


async def test_other_text_in_the_chat_is_ignored(server: LoopbackBotApi) -> None:
    async with Rig(server.url).running():
        server.say("good morning")
        server.say("/help")
        await server.sent(1)
    assert len(texts(server)) == 1


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
    assert texts(server)[1].startswith("ACTIVE")
    assert "telegram.answer_failed" in [log["event"] for log in logs]


async def test_the_menu_of_the_phone_lists_the_commands(server: LoopbackBotApi) -> None:
    async with Rig(server.url).running():
        server.say("/help")
        await server.sent(1)
    assert [command["command"] for command in server.account.commands] == ["status", "help"]


# --- outages --------------------------------------------------------------------------------------------------------


@pytest.mark.failure("TEL-02")
async def test_critical_messages_survive_an_outage_and_the_rest_is_summarised(server: LoopbackBotApi) -> None:
    for number, method in enumerate(("sendMessage", "getMe", "getUpdates")):
        server.account.add_fault(Fault(kind=FaultKind.DOWN, method=method, count=-1, id=number))
    rig = Rig(server.url)
    with capture_logs() as logs:
        async with rig.running():
            rig.bot.notify(Level.CRITICAL, "first", kind=AlertKind.START)
            await until(lambda: len(rig.pauses) >= 20)
            for number in range(5000):
                rig.bot.notify(Level.INFO, f"noise {number}", kind=AlertKind.START)
                if number % 1000 == 0:
                    rig.bot.notify(Level.CRITICAL, f"stop missing {number}", kind=AlertKind.START)
            assert rig.bot.statistics().waiting <= 500
            assert rig.bot.statistics().failing
            server.account.faults.clear()
            assert await rig.bot.drain(20)
            server.say("/status")
            await server.sent(len(server.account.outbox) + 1)
    everything = "\n".join(texts(server))
    assert [word for number in range(0, 5000, 1000) if (word := f"🔴 stop missing {number}") not in everything] == []
    assert "🔴 first" in everything
    assert "earlier messages are only in the log" in everything
    assert [log["event"] for log in logs].count("telegram.unreachable") == 1
    assert max(rig.pauses) <= 60


async def test_a_server_that_comes_back_is_found_again(server: LoopbackBotApi) -> None:
    account = BotAccount(TOKEN, {CHAT})
    async with bot_api(account) as first:
        port = first.port
    rig = Rig(first.url)
    async with rig.running():
        rig.bot.notify(Level.CRITICAL, "while it was down", kind=AlertKind.START)
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
    assert texts(server)[0].startswith("/status")


async def test_a_flood_limit_is_waited_out(server: LoopbackBotApi) -> None:
    server.account.add_fault(Fault(kind=FaultKind.FLOOD, method="sendMessage", count=2, retry_after=7))
    server.account.add_fault(Fault(kind=FaultKind.FLOOD, method="getUpdates", count=1, retry_after=11))
    async with Rig(server.url).running() as rig:
        rig.bot.notify(Level.CRITICAL, "told at last", kind=AlertKind.START)
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
            rig.bot.notify(
                Level.CRITICAL if number % 50 == 0 else Level.WARNING, f"alert {number}.", kind=AlertKind.START
            )
            if number % 100 == 0:
                await asyncio.sleep(0.001)
        assert await rig.bot.drain(20)
    everything = "\n".join(texts(server))
    assert [number for number in range(0, 1000, 50) if f"🔴 alert {number}." not in everything] == []
    assert len(texts(server)) <= 11
    assert 30 in rig.pauses
    assert len([pause for pause in rig.pauses if 0.5 < pause <= 1]) >= len(texts(server)) - 1


async def test_a_message_refused_for_good_does_not_hold_up_the_next(server: LoopbackBotApi) -> None:
    server.account.chats.clear()
    async with Rig(server.url).running() as rig:
        rig.bot.notify(Level.CRITICAL, "to nobody", kind=AlertKind.START)
        await until(lambda: bool(rig.bot.statistics().refused))
        server.account.chats.add(CHAT)
        rig.bot.notify(Level.INFO, "heard", kind=AlertKind.START)
        await server.sent(1)
    assert texts(server) == ["heard"]


@pytest.mark.failure("TEL-07")
async def test_long_texts_are_split_and_markup_in_symbols_is_only_text(server: LoopbackBotApi) -> None:
    symbol = "1000_PEPE*[x](y) <b>&`~"
    long_text = "\n".join(f"{number} {symbol} 🔴" for number in range(500))
    async with Rig(server.url).running() as rig:
        rig.bot.notify(Level.INFO, long_text, kind=AlertKind.START)
        assert await rig.bot.drain(20)
    assert len(texts(server)) > 3
    assert "\n".join(texts(server)) == long_text
    assert rig.bot.statistics().refused == 0


async def test_what_is_said_last_is_sent_before_the_end(server: LoopbackBotApi) -> None:
    rig = Rig(server.url)
    async with rig.running():
        rig.bot.notify(Level.INFO, "stopped", kind=AlertKind.START)
        assert await rig.bot.drain(5)
    assert texts(server) == ["stopped"]


async def test_draining_into_an_outage_gives_up_at_its_deadline() -> None:
    rig = Rig("http://127.0.0.1:1")
    async with rig.running():
        rig.bot.notify(Level.INFO, "stopped", kind=AlertKind.START)
        assert not await rig.bot.drain(0.01)


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
                rig.bot.notify(Level.CRITICAL, "x", kind=AlertKind.START)
                await until(lambda: len(rig.pauses) >= 6)
    out, err = capsys.readouterr()
    said = "\n".join(
        [repr(logs), caplog.text, out, err, repr(rig.bot), repr(rig.bot._account), repr(rig.bot.statistics())]
    )
    assert "CANARY" not in said
    assert logs
