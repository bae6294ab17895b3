"""Who may what, what is asked about first, and that nothing is done twice: with a desk that only notes its orders."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from core.domain.alerts import AlertKind
from core.domain.ids import InstrumentId, VenueName
from core.engine.operator_desk import LogLine
from core.engine.past import Account
from core.engine.ports import Level
from core.errors import JournalUnreadable
from core.redaction import Redactor
from core.supervision.tasks import Supervisor
from tests.fakes.fake_notifier import FakeNotifier
from tests.tgbot.desks import POSITION, SHORT, a_risk, a_status
from tests.tgbot.rig import LISTED, OPERATOR, OWNER, STRANGER, VIEWER, Rig
from tgbot.confirmations import EXPIRE_S
from tgbot.page import Page
from tgbot.registry import Draw
from tgbot.roles import Role, Roster
from tools.bot_account import BotAccount, Fault, FaultKind

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])

GROUP = -500
READING = ("status", "positions", "balance", "orders", "risk", "signals", "health", "version", "pnl", "daily", "weekly")
ACTING = ("pause", "reduce", "close BTCUSDT", "closeall", "panic", "cancel bw1")


async def test_every_command_is_answered() -> None:
    async with Rig().running() as rig:
        for command in rig.bot._talk._registry.commands:
            asked = {"why": "/why BTC", "chart": "/chart BTCUSDT", "close": "/close BTC", "cancel": "/cancel x"}
            before = len(rig.phone.shown)
            rig.phone.write(asked.get(command.name, f"/{command.name}"), user=OWNER)
            await rig.phone.settled(before + 1) if command.name != "chart" else await asyncio.sleep(5)
        told = rig.phone.shown
    assert not [text for text in told if "could not be answered" in text]
    assert len(told) >= 26


@pytest.mark.failure("TEL-04")
async def test_a_viewer_looks_and_orders_nothing() -> None:
    async with Rig().running() as rig:
        for command in READING:
            assert "needs the role" not in await rig.phone.ask(f"/{command}", user=VIEWER)
        for command in (*ACTING, "resume", "config", "logs"):
            said = await rig.phone.ask(f"/{command}", "needs the role", user=VIEWER)
            assert "you are viewer" in said
        assert "/panic" not in await rig.phone.ask("/help", "Breakwater", user=VIEWER)
    assert rig.done == []
    assert ("telegram:3", "panic", "refused") in rig.audited


@pytest.mark.failure("TEL-04")
async def test_a_viewer_who_presses_an_operators_button_does_nothing_and_takes_nothing_away() -> None:
    async with Rig().running() as rig:
        await rig.phone.ask("/positions", "position", user=OPERATOR)
        rig.phone.press("Close BTC", user=VIEWER)
        assert "needs the role operator" in await rig.phone.popup()
        await rig.phone.ask("/panic", "PANIC", user=OPERATOR)
        rig.phone.press("PANIC", user=VIEWER)
        await asyncio.sleep(5)
        assert rig.phone.popups[-1] == "Only who asked may confirm"
        assert rig.done == []
        rig.phone.press("PANIC", user=OPERATOR)
        await rig.phone.read("HALTED")
    assert rig.done[0] == ("panic", "telegram:2")


@pytest.mark.failure("TEL-04")
async def test_strangers_hear_nothing_and_are_told_of_once_each() -> None:
    async with Rig().running() as rig:
        for _ in range(3):
            rig.phone.write("/panic", user=STRANGER)
            rig.phone.write("/status", user=STRANGER, chat=666)
        rig.phone.account.press(rig.phone.chat_id, "r:status", user_id=STRANGER)
        await rig.phone.ask("/version", "Breakwater", user=VIEWER)
    assert len(rig.phone.account.outbox) == 1, "also no popup for the press"
    assert len(rig.handled) <= 3, "a stranger does not make us write for each of their messages"
    refused = [facts for kind, facts in rig.desk.audit.records if kind == "telegram.stranger_refused"]
    assert refused == [{"chat_id": 42, "user_id": STRANGER}, {"chat_id": 666, "user_id": STRANGER}]


@pytest.mark.parametrize("asked", ["/resume", "/pause"])
async def test_an_operator_makes_it_safer_and_only_an_owner_takes_risk_on_again(asked: str) -> None:
    async with Rig().running() as rig:
        said = await rig.phone.ask(asked, user=OPERATOR)
    assert ("needs the role owner" in said) is (asked == "/resume")


@pytest.mark.parametrize(
    ("roster", "chat", "user", "role"),
    [
        (Roster(chat_id=42), 42, 42, Role.OWNER),
        (Roster(chat_id=42), 42, 43, None),
        (Roster(chat_id=42), 43, 42, None),
        (Roster(chat_id=42), 42, None, None),
        (Roster(chat_id=GROUP), GROUP, 7, None),
        (Roster(chat_id=GROUP), GROUP, GROUP, None),
        (Roster(chat_id=GROUP, owners={7}), GROUP, 7, Role.OWNER),
        (Roster(chat_id=GROUP, owners={7}), 7, 7, None),
        (Roster(chat_id=GROUP, operators={7}, viewers={8}), GROUP, 8, Role.VIEWER),
        (Roster(chat_id=42, viewers={8}), 42, 42, None),
    ],
)
async def test_the_role_follows_from_chat_and_user_together(
    roster: Roster, chat: int, user: int | None, role: Role | None
) -> None:
    assert roster.role(chat, user) is role


@pytest.mark.parametrize(
    ("roster", "user", "remedy"),
    [
        (Roster(chat_id=GROUP), 7, "list users in TELEGRAM_OWNERS: the chat is a group"),
        (Roster(chat_id=42, viewers={7}), 42, "list user 42 in TELEGRAM_OWNERS: it is the one of the private chat"),
    ],
)
async def test_where_nobody_can_be_answered_the_log_says_what_to_do(roster: Roster, user: int, remedy: str) -> None:
    with capture_logs() as logs:
        async with Rig(roster).running() as rig:
            rig.phone.write("/status", user=user)
            await asyncio.sleep(5)
    assert rig.phone.account.outbox == []
    assert [log["remedy"] for log in logs if log["event"] == "telegram.nobody_is_answered"] == [remedy]


@pytest.mark.parametrize(
    "roster", [Roster(chat_id=42), Roster(chat_id=42, viewers={42}), Roster(chat_id=GROUP, viewers={7})]
)
async def test_where_somebody_can_be_answered_nothing_of_it_is_logged(roster: Roster) -> None:
    with capture_logs() as logs:
        async with Rig(roster).running():
            await asyncio.sleep(5)
    assert "telegram.nobody_is_answered" not in [log["event"] for log in logs]


# confirmations


@pytest.mark.failure("TEL-05")
@pytest.mark.parametrize("command", ["close BTCUSDT", "closeall", "panic", "cancel bw1", "resume"])
async def test_nothing_is_done_before_the_second_press_and_then_once(command: str) -> None:
    async with Rig().running() as rig:
        since = len(rig.phone.shown)
        rig.phone.write(f"/{command}", user=OWNER)
        await rig.phone.read("Press within 30 s", since=since)
        await asyncio.sleep(10)
        assert rig.done == []
        rig.phone.press("✅", user=OWNER, times=3)
        await asyncio.sleep(20)
        shown = rig.phone.shown
    assert "nothing was done" not in shown[-1], "the answer stands, whoever presses after it"
    assert [one[0] for one in rig.done][:1] == [command.split(maxsplit=1)[0].replace("closeall", "close")]
    assert len({one[0] for one in rig.done}) == len(rig.done), "each once"
    assert rig.phone.popups == ["Done already, once"] * 2
    line = (f"telegram:{OWNER}", command)
    assert [what for who, asked, what in rig.audited if (who, asked) == line] == ["asked", "confirmed"]


async def test_a_coin_alone_means_its_swap() -> None:
    async with Rig().running() as rig:
        assert "Close BTC binance at market?" in await rig.phone.ask("/close btc", "Press within", user=OWNER)


@pytest.mark.failure("TEL-05")
async def test_an_expired_confirmation_does_nothing() -> None:
    async with Rig().running() as rig:
        await rig.phone.ask("/closeall", "Press within", user=OWNER)
        await asyncio.sleep(EXPIRE_S)
        rig.phone.press("✅", user=OWNER)
        assert await rig.phone.popup() == "Expired; ask again"
        await rig.phone.read("nothing was done by this press")
    assert rig.done == []


async def test_a_confirmation_of_an_earlier_run_does_nothing() -> None:
    async with Rig().running() as first:
        await first.phone.ask("/panic", "Press within", user=OWNER)
        message, data = first.phone.button("✅")
    async with Rig().running() as second:
        second.phone.account.press(second.phone.chat_id, data, user_id=OWNER, message_id=message)
        second.phone.api.wake()
        await second.phone.popup()
    assert second.done == []


async def test_what_is_declined_is_left_as_it_was() -> None:
    async with Rig().running() as rig:
        await rig.phone.ask("/panic", "Press within", user=OWNER)
        rig.phone.press("Leave it", user=OWNER)
        await rig.phone.read("left as it was")
        rig.phone.account.press(rig.phone.chat_id, rig.phone.button("✅")[1], user_id=OWNER)
        rig.phone.api.wake()
        await rig.phone.popup()
    assert rig.done == []


async def test_the_question_shows_what_would_happen() -> None:
    rig = Rig()
    rig.desk.queries.report = a_status(positions=(POSITION, SHORT))
    async with rig.running():
        asked = await rig.phone.ask("/closeall", "Press within", user=OWNER)
    assert "Close 2 positions at market?" in asked
    for words in ("BTC binance L 0.01  +0.33", "ETH okx     S  0.5 -10.00", "together"):
        assert words in asked


async def test_a_slow_close_shows_its_progress_and_holds_up_no_other_question() -> None:
    rig = Rig()
    rig.desk.commands.gate = asyncio.Event()
    async with rig.running():
        await rig.phone.ask("/close BTCUSDT", "Press within", user=OWNER)
        rig.phone.press("✅", user=OWNER)
        await rig.phone.read("⏳ Closing BTC binance…\n1 still open")
        assert "up 1d01h" in await rig.phone.ask("/version", "Breakwater", user=VIEWER)
        rig.desk.commands.gate.set()
        await rig.phone.read("✅ 1 of 1 flat by the venue's word")
    changed = [s["message_id"] for s in rig.phone.account.outbox if s["method"] == "editMessageText"]
    assert len(set(changed)) == 1, "question, progress and answer are one message"


async def test_what_came_of_a_deed_is_told_as_an_alert_where_telegram_does_not_take_it() -> None:
    async with Rig().running() as rig:
        await rig.phone.ask("/close BTCUSDT", "Press within", user=OWNER)
        for method in ("sendMessage", "editMessageText"):
            rig.phone.account.add_fault(Fault(kind=FaultKind.DOWN, method=method, count=-1))
        rig.phone.press("✅", user=OWNER)
        await asyncio.sleep(1_000)
    (notice,) = rig.desk.notices
    assert "/close BTCUSDT: ✅ 1 of 1 flat" in notice
    assert rig.done == [("close", "telegram:1", "BTCUSDT")]


async def test_orders_during_the_start_are_refused_and_questions_answered() -> None:
    rig = Rig()
    rig.desk.is_ready = False
    async with rig.running():
        assert "Still starting" in await rig.phone.ask("/pause", user=OWNER)
        assert "ACTIVE" in await rig.phone.ask("/status", user=OWNER)
        assert rig.done == []
        await rig.phone.ask("/panic", "Press within", user=OWNER)
        rig.phone.press("✅", user=OWNER)
        await rig.phone.read("flat by the venue's word")
    assert rig.done[0] == ("panic", "telegram:1")


async def test_before_a_venue_can_be_used_nothing_can_be_ordered_and_questions_are_answered() -> None:
    rig = Rig()
    rig.desk.is_ready = rig.desk.is_opened = False
    async with rig.running():
        for order in ("/panic", "/pause", "/close BTCUSDT"):
            assert "emergency_flat" in await rig.phone.ask(order, "No venue can be used yet", user=OWNER)
        assert "ACTIVE" in await rig.phone.ask("/status", user=OWNER)
    assert rig.done == []


async def test_a_resume_is_not_done_where_something_else_stops_entries_by_then() -> None:
    async with Rig().running() as rig:
        rig.desk.queries.figures = a_risk(state="reducing", reason="paused")
        await rig.phone.ask("/resume", "Press within", user=OWNER)
        rig.desk.queries.figures = a_risk(state="reducing", reason="paused", reached={"MAX_DAILY_LOSS": "101 lost"})
        rig.phone.press("✅", user=OWNER)
        assert "101 lost" in await rig.phone.read("ask again")
        assert rig.done == []
        rig.desk.queries.figures = a_risk(state="halted", reason="panic")
        await rig.phone.ask("/resume", "Press within", user=OWNER)
        rig.phone.press("✅", user=OWNER)
        await rig.phone.read("Entries are taken again")
    assert rig.done == [("resume", "telegram:1")]


async def test_a_close_is_not_done_where_another_position_than_the_one_shown_would_go_with_it() -> None:
    async with Rig().running() as rig:
        rig.desk.queries.report = a_status(positions=(POSITION,))
        await rig.phone.ask("/close BTCUSDT", "Press within", user=OWNER)
        elsewhere = replace(POSITION, instrument=InstrumentId(VenueName.OKX, POSITION.instrument.symbol))
        rig.desk.queries.report = a_status(positions=(POSITION, elsewhere))
        rig.phone.press("✅", user=OWNER)
        assert "okx:BTC/USDT:USDT was opened" in await rig.phone.read("ask again")
    assert rig.done == []


@pytest.mark.may_block("without our logging a trace is drawn where it happens")
async def test_a_close_goes_on_though_an_answer_or_the_alerts_fail_by_a_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig()
    gate = rig.desk.commands.gate = asyncio.Event()
    people = FakeNotifier()
    async with Supervisor(rig.clock, people) as supervisor:
        supervisor.start("telegram", rig.bot.run)
        await rig.phone.ask("/close BTCUSDT", "Press within", user=OWNER)
        rig.phone.press("✅", user=OWNER)
        await rig.phone.read("Closing")
        with monkeypatch.context() as broken:
            broken.setattr(Page, "masked", _fails)
            rig.phone.write("/version", user=OWNER)
            await asyncio.sleep(1)
        rig.bot._sender._pace = None  # type: ignore[assignment]
        rig.alerts.notify(Level.CRITICAL, "something", kind=AlertKind.STATE)
        await asyncio.sleep(5)
        gate.set()
        assert "1 of 1 flat" in await rig.phone.read("flat by the venue's word")
        assert [row.failures for row in supervisor.rows()] == [2]
        await supervisor.end("telegram")
    assert people.critical()[0].startswith("the task telegram failed by a fault of the program (telegram/version")


def _fails(*_: object) -> None:
    raise RuntimeError("a fault of the program")


# what is written


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/nosuch", "There is no /nosuch"),
        ("/close", "which symbol?"),
        ("/close BTCUSDT kraken", "is not traded here; it is binance, okx"),
        ("/close DOGEUSDT", "no open position in DOGEUSDT"),
        ("/pnl many", "give one number from 1 to 90"),
        ("/pnl 0", "give one number"),
        ("/trades 99999999999999999999", "give one number"),
        ("/status now", "takes nothing"),
        ("/positions graph", "the word table"),
        ("/chart ../../etc/passwd", "no swap ../../etc/passwd is listed"),
        ("/why", "which symbol?"),
        ("/logs all", "give a number"),
    ],
)
async def test_what_cannot_be_meant_is_answered_with_a_reason_and_changes_nothing(text: str, words: str) -> None:
    async with Rig().running() as rig:
        assert words in await rig.phone.ask(text, user=OWNER)
    assert rig.done == []


async def test_a_command_for_another_bot_in_the_group_is_not_ours() -> None:
    async with Rig().running() as rig:
        rig.phone.write("/panic@other_bot", user=OWNER)
        await rig.phone.ask("/version@breakwater_bot", "Breakwater", user=OWNER)
    assert len(rig.phone.shown) == 1


async def test_words_without_a_slash_do_nothing_and_say_so() -> None:
    async with Rig().running() as rig:
        await rig.phone.ask("panic", "begin with a slash", user=OWNER)
    assert rig.done == []


async def test_what_people_say_to_each_other_in_a_group_is_not_answered() -> None:
    async with Rig(Roster(chat_id=GROUP, owners={OWNER})).running() as rig:
        rig.phone.write("good morning", user=OWNER)
        await rig.phone.ask("/version", "Breakwater", user=OWNER)
        await asyncio.sleep(5)
    assert len(rig.phone.shown) == 1


@pytest.mark.failure("TEL-04")
async def test_old_and_handled_messages_do_nothing_also_for_a_listed_owner() -> None:
    async with Rig().running() as first:
        first.phone.write("/pause", user=OWNER, age_s=61)
        await first.phone.ask("/version", "Breakwater", user=OWNER)
    assert first.done == []
    assert len(first.phone.shown) == 1


@pytest.mark.failure("TEL-04", "TEL-05")
async def test_an_update_told_again_does_nothing_again_also_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever offset is asked for, this Telegram tells all it has ever told."""
    told: list[dict[str, Any]] = []

    def everything(_account: BotAccount, _offset: int, _limit: int) -> list[dict[str, Any]]:
        told.extend(update for update in _account.updates if update not in told)
        return told

    monkeypatch.setattr(BotAccount, "pending", everything)
    async with Rig().running() as first:
        first.phone.write("/pause", user=OWNER)
        await asyncio.sleep(60)
    assert first.done == [("pause", "telegram:1")]
    async with Rig(first_update=first.handled[-1]).running() as second:
        await asyncio.sleep(60)
    assert second.done == []


async def test_an_answer_does_not_wait_behind_alerts() -> None:
    async with Rig().running() as rig:
        for number in range(3_000):
            rig.alerts.notify(Level.CRITICAL, f"alert {number} " + "x" * 100, kind=AlertKind.STREAM)
        await asyncio.sleep(10)
        started = rig.clock.monotonic()
        await rig.phone.ask("/version", "Breakwater 0", user=OWNER)
        assert rig.clock.monotonic() - started <= 2.1


async def test_refresh_changes_the_message_in_its_place_and_acting_commands_cannot_be_refreshed() -> None:
    async with Rig().running() as rig:
        await rig.phone.ask("/positions", "open result +0.33", user=VIEWER)
        rig.desk.queries.report = a_status(positions=(replace(POSITION, unrealized=SHORT.unrealized),))
        rig.phone.press("Refresh", user=VIEWER)
        await rig.phone.read("open result -10.00")
        rig.phone.account.press(rig.phone.chat_id, "r:pause", user_id=OWNER)
        rig.phone.account.press(rig.phone.chat_id, "x" * 300, user_id=OWNER)
        rig.phone.api.wake()
        await asyncio.sleep(5)
    assert [s["method"] for s in rig.phone.account.outbox][:3] == [
        "sendMessage",
        "answerCallbackQuery",
        "editMessageText",
    ]
    assert rig.done == []


async def test_more_questions_than_can_be_answered_at_a_time_wait_for_nobody_and_orders_are_kept() -> None:
    async with Rig().running() as rig:
        rig.phone.account.add_fault(Fault(kind=FaultKind.SLOW, method="sendMessage", count=-1, delay_ms=60_000))
        for _ in range(50):
            rig.phone.write("/version", user=VIEWER)
        rig.phone.write("/pause", user=OWNER)
        await asyncio.sleep(5)
        assert rig.done == [("pause", "telegram:1")]
        assert rig.bot._talk._reads == 8


# what goes wrong


async def test_a_journal_that_cannot_be_read_is_said_and_stops_nothing() -> None:
    rig = Rig()

    async def broken(*_: Any) -> Any:
        raise JournalUnreadable("the journal cannot be read")

    rig.desk.past.waves = broken  # type: ignore[method-assign, assignment]
    async with rig.running():
        assert "the journal cannot be read" in await rig.phone.ask("/waves", user=OWNER)
        await rig.phone.ask("/version", "Breakwater", user=OWNER)


@pytest.mark.failure("TEL-07")
async def test_a_message_refused_for_its_markup_goes_out_as_plain_text() -> None:
    async with Rig().running() as rig:
        rig.phone.account.add_fault(Fault(kind=FaultKind.MARKUP, count=-1))
        assert "🟢 ACTIVE" in await rig.phone.ask("/status", user=OWNER)
    assert "entities" not in rig.phone.account.outbox[0]


async def test_answers_keep_to_one_message_a_second_and_wait_out_a_flood() -> None:
    async with Rig().running() as rig:
        rig.phone.account.add_fault(Fault(kind=FaultKind.FLOOD, method="sendMessage", retry_after=30))
        started = rig.clock.monotonic()
        for _ in range(5):
            rig.phone.write("/version", user=OWNER)
        await rig.phone.settled(5)
        assert rig.clock.monotonic() - started >= 30 + 4


async def test_a_picture_that_cannot_be_drawn_is_a_sentence() -> None:
    from tgbot.drawing import PictureFailed

    async def fails(_: Any) -> bytes:
        raise PictureFailed("it was not drawn within 30 s")

    draw: Draw = fails
    async with Rig(LISTED, draw=draw).running() as rig:
        assert "it was not drawn" in await rig.phone.ask("/chart BTCUSDT", user=OWNER)


async def test_what_was_asked_wrongly_has_no_button_to_ask_it_again() -> None:
    async with Rig().running() as rig:
        await rig.phone.ask("/pnl abc", "give one number", user=OWNER)
        assert "Refresh" not in str(rig.phone.account.outbox[-1].get("reply_markup", ""))
        await rig.phone.ask("/pnl 7", "days", user=OWNER)
        assert "Refresh" in str(rig.phone.account.outbox[-1].get("reply_markup", ""))


async def test_no_secret_of_the_daemon_is_in_any_answer() -> None:
    rig = Rig(mask=Redactor(["CANARY-secret"]).text)
    rig.desk.log = [LogLine("2026-11-21T00:00:00", "info", "e", "key=CANARY-secret")]
    rig.desk.past.accounts["BTC"] = Account(wave=None, said="the venue said CANARY-secret")
    async with rig.running():
        assert "***" in await rig.phone.ask("/logs", "Last 1 lines", user=OWNER)
        assert "***" in await rig.phone.ask("/why BTC", "The venue said", user=OWNER)
    assert "CANARY-secret" not in repr(rig.phone.account.outbox)


async def test_a_bot_that_is_started_again_answers_again() -> None:
    rig = Rig()
    for _ in range(2):
        async with rig.running():
            await rig.phone.ask("/version", "Breakwater", user=OWNER)
