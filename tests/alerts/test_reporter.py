"""The daily and the weekly report: when they come, what they say, what a restart changes."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import cast

from msgspec.structs import replace

from core.alerts.reporter import KEY, Figures, Reporter
from core.domain.alerts import AlertKind
from core.domain.day import MS_PER_DAY, DayAccount, day_of
from core.domain.ids import Asset, VenueName
from core.domain.money import Quantity
from core.domain.position import Position
from core.engine.money_ledger import MoneyRow
from core.engine.past import Past
from core.engine.performance import Performance, performance
from core.engine.records import StateRecord
from core.errors import JournalUnreadable
from tests.builders import NOW_MS, a_position
from tests.fakes.diary import Diary
from tests.fakes.fake_journal import FakeJournal
from tests.fakes.fake_notifier import FakeNotifier
from tests.fakes.virtual_loop import VirtualClock

HASH = "ab" * 32


class FakePast:
    def __init__(self) -> None:
        self.closed: list[Position] = []
        self.refused: list[tuple[int, str]] = []
        self.broken = False
        self.longest_ms = 400 * MS_PER_DAY

    async def performance(self, since_ms: int, until_ms: int) -> Performance:
        if self.broken or until_ms - since_ms > self.longest_ms:
            raise JournalUnreadable("busy")
        return performance(self.closed, since_ms, until_ms)

    async def refusals(self, since_ms: int) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for at_ms, reason in self.refused:
            if at_ms >= since_ms:
                found[reason] = found.get(reason, 0) + 1
        return found


class Rig:
    """A daemon as the reporter sees it. `values` are what it wrote down."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self.past, self.notifier, self.journal = FakePast(), FakeNotifier(), FakeJournal(Diary())
        self.waves, self.naked, self.over = 0, 0, cast("DayAccount | None", None)
        self.money: list[MoneyRow] = []
        self.clock = VirtualClock()
        self.reporter = Reporter(
            past=cast("Past", self.past),
            figures=Figures(
                day_over=lambda: self.over,
                longest_unprotected=self._take,
                waves=lambda: self.waves,
                open_positions=lambda: 2,
                money=lambda: self.money,
            ),
            audit_head=self._head,
            journal=self.journal,
            clock=self.clock,
            notifier=self.notifier,
            values=values or {},
        )

    def _take(self) -> int:
        taken, self.naked = self.naked, 0
        return taken

    async def _head(self) -> tuple[int, str]:
        return 77, HASH

    @property
    def values(self) -> dict[str, str]:
        return {r.key: r.value for r in self.journal.posted if isinstance(r, StateRecord)}

    @property
    def reports(self) -> list[str]:
        assert set(self.notifier.kinds) <= {AlertKind.REPORT}
        return [text for _, text in self.notifier.messages]

    async def lives(self, seconds: float) -> None:
        task = asyncio.create_task(self.reporter.run())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _closed(realized: str, at_ms: int) -> Position:
    gone = Quantity(Decimal(0))
    return replace(
        a_position(), realized=Decimal(realized), fees=Decimal(1), quantity=gone, opened_ms=at_ms - 1, closed_ms=at_ms
    )


def _until(day: int) -> float:
    """Seconds until one minute after this UTC day has begun."""
    return (day * MS_PER_DAY - VirtualClock().now_ms()) / 1000 + 60


async def test_a_day_is_reported_shortly_after_its_end_with_what_was_closed_in_it() -> None:
    rig, today = Rig(), day_of(NOW_MS)
    end = (today + 1) * MS_PER_DAY
    rig.past.closed = [_closed("11", end - 5_000), _closed("-4", end - 1), _closed("1000", end)]
    rig.past.refused = [(end - 10, "score"), (end - 10, "score"), (end + 10, "score"), (end + 10, "spread")]
    rig.over = DayAccount(day=today, closed=Decimal("4.5"), funding=Decimal("-0.25"))
    rig.money = [
        MoneyRow(venue=VenueName.BINANCE, asset=Asset("USDT"), residual=Decimal("0.5"), balanced=False),
        MoneyRow(venue=VenueName.OKX, asset=Asset("USDT"), residual=None),
        MoneyRow(venue=VenueName.BYBIT, asset=Asset("USDT"), residual=Decimal(0)),
    ]
    rig.naked, rig.waves = 321, 4
    await rig.lives(_until(today + 1))
    (report,) = rig.reports
    lines = report.splitlines()
    assert lines[0] == "daily report"
    assert lines[1].endswith("UTC: +5 from 2 closed trades")
    assert lines[2] == "account +4.25 with what is open and funding (2 open)"
    assert "won 1, lost 1 (50 %), profit factor 2" in lines
    assert "fees 2, funding -0.25" in lines
    assert "signals refused: 2 score" in lines
    assert "longest without a stop 321 ms" in report
    assert "4 waves" in report
    assert "unexplained: 0.5 USDT at binance; okx USDT was not read" in lines
    assert lines[-1] == f"audit 77: {HASH}"


async def test_each_day_is_reported_once_and_each_week_on_its_monday() -> None:
    rig, today = Rig(), day_of(NOW_MS)
    await rig.lives(_until(today + 7))
    assert len([text for text in rig.reports if text.startswith("daily")]) == 7
    (weekly,) = [text for text in rig.reports if text.startswith("weekly")]
    assert " to " in weekly.splitlines()[1]


async def test_a_restart_reports_the_day_that_ended_meanwhile_and_no_day_twice() -> None:
    first, today = Rig(), day_of(NOW_MS)
    await first.lives(600)
    assert first.reports == []
    asyncio.get_running_loop().jump(_until(today + 1) + 3_600)  # type: ignore[attr-defined]
    second = Rig(first.values)
    await second.lives(60)
    (report,) = second.reports
    assert "up 0.7 %" in report
    assert "account" not in report, "the day was not seen to its end"
    third = Rig(second.values)
    await third.lives(3_600)
    assert third.reports == []


async def test_a_day_in_which_no_daemon_ran_is_not_reported() -> None:
    first, today = Rig(), day_of(NOW_MS)
    await first.lives(600)
    asyncio.get_running_loop().jump(_until(today + 5))  # type: ignore[attr-defined]
    second = Rig(first.values)
    await second.lives(60)
    assert second.reports == []


async def test_a_week_is_reported_though_no_daemon_ran_on_its_last_day() -> None:
    today = day_of(NOW_MS)
    monday = next(day for day in range(today + 1, today + 8) if (day + 3) % 7 == 0)
    asyncio.get_running_loop().jump(_until(monday))  # type: ignore[attr-defined]
    first = Rig()
    first.past.closed = [_closed("11", (monday + 1) * MS_PER_DAY)]
    await first.lives(5 * MS_PER_DAY / 1000)
    asyncio.get_running_loop().jump(2 * MS_PER_DAY / 1000)  # type: ignore[attr-defined]
    second = Rig(first.values)
    second.past.closed = first.past.closed
    await second.lives(3_600)
    (report,) = second.reports
    lines = report.splitlines()
    assert lines[0] == "weekly report"
    assert lines[1].endswith("UTC: +10 from 1 closed trade")
    assert "up 71.4 %" in report
    assert "account" not in report, "not all of its days were seen"


async def test_a_week_in_which_no_daemon_ran_is_not_reported() -> None:
    first, today = Rig(), day_of(NOW_MS)
    await first.lives(600)
    monday = next(day for day in range(today + 8, today + 16) if (day + 3) % 7 == 0)
    asyncio.get_running_loop().jump(_until(monday))  # type: ignore[attr-defined]
    second = Rig(first.values)
    await second.lives(3_600)
    assert second.reports == []


async def test_a_journal_that_cannot_be_read_just_now_delays_the_report() -> None:
    rig, today = Rig(), day_of(NOW_MS)
    rig.past.broken = True
    await rig.lives(_until(today + 1) + 600)
    assert rig.reports == []
    again = Rig(rig.values)
    await again.lives(60)
    assert len(again.reports) == 1


async def test_a_day_is_told_once_though_its_week_cannot_be_read_with_it() -> None:
    rig, today = Rig(), day_of(NOW_MS)
    rig.past.longest_ms = MS_PER_DAY
    await rig.lives(_until(today + 7) + 1200)
    days = [text.splitlines()[1] for text in rig.reports]
    assert len(days) == len(set(days)) >= 5


async def test_a_record_that_cannot_be_read_begins_anew() -> None:
    for text in ("{", '{"reported": 1}', '{"reported": 1, "days": [{"no": 1}]}'):
        rig = Rig({KEY: text})
        await rig.lives(60)
        assert rig.reports == []
