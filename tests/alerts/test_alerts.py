"""Alerts are kept until each channel has told them: over outages, restarts and a journal that refuses."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from core.alerts.alerts import KEPT_MS, Alerts
from core.alerts.feed import TOLD_AFTER_SECONDS
from core.alerts.notices import Notices
from core.domain.alerts import AlertKind, Noise
from core.engine.ports import Level
from core.engine.records import AlertRecord, JournalState
from core.storage.journal import SqliteJournal
from tests.alerts.rows import NOTHING, Recipient, listening
from tests.fakes.diary import Diary
from tests.fakes.fake_journal import FakeJournal
from tests.fakes.virtual_loop import VirtualClock
from tests.storage.records import a_journal, table

LOUD = dict.fromkeys(AlertKind, Noise.ON)


def some_alerts(
    journal: FakeJournal | SqliteJournal, held: JournalState = NOTHING, noise: dict[AlertKind, Noise] | None = None
) -> Alerts:
    return Alerts(journal=journal, clock=VirtualClock(), noise={**LOUD, **(noise or {})}, held=held)


async def test_what_is_not_critical_waits_a_second_for_company_and_the_critical_takes_it_along() -> None:
    alerts = some_alerts(FakeJournal(Diary()))
    heard = Recipient(alerts.feed("telegram"))
    async with listening(heard):
        start = asyncio.get_running_loop().time()
        for number in range(3):
            alerts.notify(Level.INFO, f"wave {number}", kind=AlertKind.WAVE)
        await asyncio.sleep(5)
        alerts.notify(Level.INFO, "quiet", kind=AlertKind.WAVE)
        alerts.notify(Level.CRITICAL, "loud", kind=AlertKind.STREAM)
        await asyncio.sleep(5)
    assert [message.text for message in heard.messages] == ["wave 0\nwave 1\nwave 2", "quiet\n🔴 loud"]
    assert [at - start for at in heard.at] == [1, 5]


async def test_kinds_that_are_off_are_kept_nowhere_but_what_may_not_be_off_is_told() -> None:
    journal = FakeJournal(Diary())
    alerts = some_alerts(journal, noise={AlertKind.WAVE: Noise.OFF, AlertKind.FILL: Noise.SILENT})
    heard = Recipient(alerts.feed("telegram"))
    async with listening(heard):
        alerts.notify(Level.INFO, "wave", kind=AlertKind.WAVE)
        alerts.notify(Level.INFO, "fill", kind=AlertKind.FILL)
        await asyncio.sleep(5)
    assert [(message.text, message.silent) for message in heard.messages] == [("fill", True)]
    assert [record.text for record in journal.posted if isinstance(record, AlertRecord)] == ["fill"]


async def test_without_a_channel_nothing_is_kept() -> None:
    journal = FakeJournal(Diary())
    alerts = some_alerts(journal)
    alerts.notify(Level.CRITICAL, "nobody listens", kind=AlertKind.DISK)
    assert journal.posted == []
    assert alerts.counts[AlertKind.DISK, Level.CRITICAL] == 1


async def test_critical_alerts_are_synced_while_nobody_waits_for_it() -> None:
    journal = FakeJournal(Diary())
    alerts = some_alerts(journal)
    alerts.feed("telegram")
    task = asyncio.create_task(alerts.run())
    await asyncio.sleep(0)
    alerts.notify(Level.CRITICAL, "first", kind=AlertKind.STREAM)
    await asyncio.sleep(1)
    journal.broken = True
    alerts.notify(Level.CRITICAL, "second", kind=AlertKind.STREAM)
    await asyncio.sleep(1)
    journal.broken, journal.seconds = False, 60
    alerts.notify(Level.CRITICAL, "third", kind=AlertKind.STREAM)
    await asyncio.sleep(1)
    alerts.notify(Level.CRITICAL, "fourth", kind=AlertKind.STREAM)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [record.text for record in journal.durable if isinstance(record, AlertRecord)] == ["first"]
    posted = [record.text for record in journal.posted if isinstance(record, AlertRecord)]
    assert [text for text in ("second", "third", "fourth") if text not in posted] == []


async def test_an_hour_without_a_channel_loses_nothing_critical_and_tells_all_in_order_once() -> None:
    alerts = some_alerts(FakeJournal(Diary()))
    heard = Recipient(alerts.feed("telegram"))
    heard.down = True
    async with listening(heard):
        for minute in range(60):
            for number in range(20):
                alerts.notify(Level.INFO, f"wave {minute}.{number}", kind=AlertKind.WAVE)
            alerts.notify(Level.CRITICAL, f"stop missing {minute}", kind=AlertKind.UNPROTECTED)
            await asyncio.sleep(60)
        assert heard.feed.statistics().waiting <= 600
        heard.down = False
        await asyncio.sleep(120)
    critical = [int(line.split()[-1]) for line in heard.lines if "stop missing" in line]
    assert critical == list(range(60))
    waves = [line.split()[-1] for line in heard.lines if "wave" in line and "earlier" not in line]
    assert len(waves) == len(set(waves))
    assert waves == sorted(waves, key=lambda text: [int(part) for part in text.split(".")])
    assert any("earlier messages are only in the log" in line for line in heard.lines)
    assert len(heard.messages) <= 6
    assert all(after - before > 0.999 for before, after in zip(heard.at, heard.at[1:], strict=False))


@pytest.mark.failure("TEL-03")
async def test_a_thousand_alerts_in_a_minute_end_as_a_few_summaries_and_calm_is_told_at_once_again() -> None:
    alerts = some_alerts(FakeJournal(Diary()))
    heard = Recipient(alerts.feed("telegram"))
    async with listening(heard):
        for number in range(1000):
            alerts.notify(Level.INFO, f"wave {number}", kind=AlertKind.WAVE)
            await asyncio.sleep(0.06)
        await asyncio.sleep(60)
        assert len(heard.messages) <= 8
        assert heard.lines[-1] == "wave 999"
        assert sum("earlier messages are only in the log" in line for line in heard.lines) >= 3
        told = 0.0
        for _ in range(2):
            await asyncio.sleep(60)
            alerts.notify(Level.INFO, "calm", kind=AlertKind.WAVE)
            told = asyncio.get_running_loop().time()
        await asyncio.sleep(5)
    assert heard.at[-1] - told == pytest.approx(1)


async def test_an_outage_is_told_once_when_it_lasts_and_once_when_it_is_over_by_the_other_channel() -> None:
    alerts = some_alerts(FakeJournal(Diary()))
    broken, other = Recipient(alerts.feed("telegram")), Recipient(alerts.feed("webhook", mixed=False))
    broken.down = True
    async with listening(broken, other):
        alerts.notify(Level.CRITICAL, "first", kind=AlertKind.STREAM)
        await asyncio.sleep(TOLD_AFTER_SECONDS + 3_600)
        assert [line for line in other.lines if "telegram" in line] == [
            "⚠️ telegram: messages do not get through (no answer); they are kept and told on return"
        ]
        broken.down = False
        await asyncio.sleep(120)
    assert other.lines[-1] == "telegram: messages get through again"
    assert len([line for line in broken.lines if "first" in line]) == 1


@pytest.mark.may_block
async def test_a_restart_goes_on_where_each_channel_stopped(tmp_path: Path) -> None:
    journal = await a_journal(tmp_path)
    alerts = some_alerts(journal, await journal.load())
    heard, late = Recipient(alerts.feed("telegram")), Recipient(alerts.feed("webhook", mixed=False))
    late.down = True
    async with listening(heard, late):
        for number in range(3):
            alerts.notify(Level.CRITICAL, f"alert {number}", kind=AlertKind.STREAM)
            await asyncio.sleep(5)
        heard.down = True
        alerts.notify(Level.CRITICAL, "in the outage", kind=AlertKind.STREAM)
        await asyncio.sleep(5)
    await journal.close()

    journal = await a_journal(tmp_path)
    again = some_alerts(journal, await journal.load())
    telegram, webhook = Recipient(again.feed("telegram")), Recipient(again.feed("webhook", mixed=False))
    again.notify(Level.INFO, "after the restart", kind=AlertKind.START)
    async with listening(telegram, webhook):
        await asyncio.sleep(30)
    await journal.close()
    assert heard.lines == [f"🔴 alert {number}" for number in range(3)]
    assert telegram.lines == ["🔴 in the outage", "after the restart"]
    assert webhook.lines[:4] == [*heard.lines, "🔴 in the outage"]
    assert webhook.lines[-1] == "after the restart"


@pytest.mark.may_block
async def test_what_was_summarised_is_not_told_again_after_a_restart(tmp_path: Path) -> None:
    journal = await a_journal(tmp_path)
    alerts = some_alerts(journal, await journal.load())
    feed = alerts.feed("telegram")
    for number in range(40):
        alerts.notify(Level.CRITICAL, f"{number} " + "x" * 3_000, kind=AlertKind.STREAM)
        alerts.notify(Level.INFO, f"wave {number}", kind=AlertKind.WAVE)
    message = feed.take()
    assert message is not None
    assert "35 earlier messages" in message.text
    feed.done(message)
    await journal.close()
    journal = await a_journal(tmp_path)
    again = some_alerts(journal, await journal.load())
    heard = Recipient(again.feed("telegram"))
    async with listening(heard):
        await asyncio.sleep(120)
    await journal.close()
    assert not [line for line in heard.lines if "earlier" in line]
    assert [line for line in heard.lines if "wave" in line] == [f"wave {number}" for number in range(35, 40)]
    assert len([line for line in heard.lines if "🔴" in line]) == 39


@pytest.mark.may_block
async def test_a_new_channel_begins_with_what_comes_now(tmp_path: Path) -> None:
    journal = await a_journal(tmp_path)
    alerts = some_alerts(journal, await journal.load())
    alerts.feed("telegram")
    alerts.notify(Level.CRITICAL, "long ago", kind=AlertKind.STREAM)
    await journal.close()
    journal = await a_journal(tmp_path)
    again = some_alerts(journal, await journal.load())
    heard = Recipient(again.feed("webhook"))
    again.notify(Level.CRITICAL, "now", kind=AlertKind.STREAM)
    async with listening(heard):
        await asyncio.sleep(5)
    await journal.close()
    assert heard.lines == ["🔴 now"]


@pytest.mark.may_block
async def test_old_alerts_go_but_not_critical_ones_that_nobody_was_told(tmp_path: Path) -> None:
    journal = await a_journal(tmp_path)
    alerts = some_alerts(journal, await journal.load())
    heard = Recipient(alerts.feed("telegram"))
    async with listening(heard):
        alerts.notify(Level.CRITICAL, "told", kind=AlertKind.STREAM)
        alerts.notify(Level.INFO, "told as well", kind=AlertKind.WAVE)
        await asyncio.sleep(5)
    alerts.notify(Level.CRITICAL, "untold", kind=AlertKind.STREAM)
    alerts.notify(Level.INFO, "untold too", kind=AlertKind.WAVE)
    asyncio.get_running_loop().jump(KEPT_MS / 1000 + 60)  # type: ignore[attr-defined]
    for number in range(100):
        alerts.notify(Level.INFO, f"new {number}", kind=AlertKind.WAVE)
    await journal.close()
    texts = [row[0] for row in table(tmp_path, "SELECT text FROM alerts ORDER BY seq")]
    assert texts[0] == "untold"
    assert len([text for text in texts if not str(text).startswith("new")]) == 1


@pytest.mark.may_block
async def test_numbers_rise_over_restarts_even_when_the_clock_was_set_back(tmp_path: Path) -> None:
    journal = await a_journal(tmp_path)
    alerts = some_alerts(journal, await journal.load())
    alerts.feed("telegram")
    alerts._clock.skew_ms = 3_600_000  # type: ignore[attr-defined]
    alerts.notify(Level.CRITICAL, "in the future", kind=AlertKind.CLOCK)
    await journal.close()
    journal = await a_journal(tmp_path)
    again = some_alerts(journal, await journal.load())
    heard = Recipient(again.feed("telegram"))
    again.notify(Level.CRITICAL, "back", kind=AlertKind.CLOCK)
    async with listening(heard):
        await asyncio.sleep(5)
    await journal.close()
    assert heard.lines == ["🔴 in the future", "🔴 back"]


async def test_the_last_words_wait_for_no_company() -> None:
    alerts = some_alerts(FakeJournal(Diary()))
    heard = Recipient(alerts.feed("telegram"))
    async with listening(heard):
        await asyncio.sleep(1)
        alerts.notify(Level.INFO, "stopped", kind=AlertKind.STOP)
        before = asyncio.get_running_loop().time()
        assert await heard.feed.drain(5)
        assert asyncio.get_running_loop().time() == before
    assert heard.lines == ["stopped"]


@pytest.mark.parametrize("text", ["{", "[]", '{"sent": "x"}', "null"])
async def test_a_progress_that_cannot_be_read_tells_nothing_twice(text: str) -> None:
    held = JournalState(
        orders=(), positions=(), seen_signals=frozenset(), unfinished_waves=(), values={"alerts/telegram": text}
    )
    with capture_logs() as logs:
        assert some_alerts(FakeJournal(Diary()), held).feed("telegram").statistics().waiting == 0
    assert [log["event"] for log in logs] == ["alerts.progress_unreadable"]


def test_a_condition_is_told_when_it_begins_and_when_it_ends() -> None:
    notices, told = Notices(), _Told()
    notices.attach(told)
    for venue in ("binance", "binance", "okx"):
        notices.notify(Level.CRITICAL, f"{venue} down", kind=AlertKind.STREAM, begins=venue)
    notices.notify(Level.INFO, "binance up", kind=AlertKind.STREAM, ends="binance")
    notices.notify(Level.CRITICAL, "binance down", kind=AlertKind.STREAM, begins="binance")
    notices.notify(Level.CRITICAL, "binance slow", kind=AlertKind.VENUE, begins="binance")
    assert told.texts == ["binance down", "okx down", "binance up", "binance down", "binance slow"]


class _Told:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def notify(self, level: Level, text: str, *, kind: AlertKind, begins: str = "", ends: str = "") -> None:
        self.texts.append(text)
