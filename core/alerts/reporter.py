"""Reporter: the daily report shortly after 00:00 UTC, and on Mondays that of the week before it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Final

import structlog
from msgspec import Struct
from msgspec.structs import asdict, replace

from core.clock import Clock
from core.domain.alerts import AlertKind
from core.domain.day import MS_PER_DAY, DayAccount, day_of
from core.domain.money import ZERO, plain
from core.engine.money_ledger import MoneyRow
from core.engine.past import Past
from core.engine.ports import Level, Notifier
from core.engine.records import Journal, StateRecord
from core.engine.reports import Report, report_text
from core.errors import JournalUnreadable

KEY: Final = "reports"
"""Among the journal's values: what was collected of the last days, and which was reported."""
DUE_MS: Final = 30_000
"""After 00:00 UTC: the day's last trades and funding are told by then."""
COLLECT_SECONDS: Final = 300.0
"""A crash loses no more than this of a day's uptime."""
DAYS_KEPT: Final = 8
WEEK: Final = 7
_EPOCH_WEEKDAY: Final = 3
"""1970-01-01 was a Thursday; Monday is 0."""

_log = structlog.get_logger(__name__)


class DayFacts(Struct, frozen=True, kw_only=True):
    """What the journal's rows do not tell of one UTC day. `result` and `funding` of the day's account, as text; "" =
    the day was not seen to its end. `unprotected_ms` the longest time without a stop."""

    day: int
    uptime_s: int = 0
    unprotected_ms: int = 0
    waves: int = 0
    result: str = ""
    funding: str = ""


class Figures(Struct, frozen=True, kw_only=True):
    """Where the reporter looks, each now and without waiting. `day_over` is the account of the day that ended last;
    `longest_unprotected` forgets what it has told."""

    day_over: Callable[[], DayAccount | None]
    longest_unprotected: Callable[[], int]
    waves: Callable[[], int]
    open_positions: Callable[[], int]
    money: Callable[[], Iterable[MoneyRow]]


@dataclass(slots=True)
class _Kept:
    reported: int
    days: dict[int, DayFacts] = field(default_factory=dict)


class Reporter:
    """`audit_head` answers the number and the hash of the newest record of the audit log: once it is out of this host,
    nothing before it can be changed unseen."""

    def __init__(
        self,
        *,
        past: Past,
        figures: Figures,
        audit_head: Callable[[], Awaitable[tuple[int, str]]],
        journal: Journal,
        clock: Clock,
        notifier: Notifier,
        values: Mapping[str, str],
    ) -> None:
        self._past = past
        self._figures = figures
        self._audit_head = audit_head
        self._journal = journal
        self._clock = clock
        self._notifier = notifier
        self._seen_at = clock.monotonic()
        self._waves = 0
        self._kept = _recalled(values.get(KEY), day_of(clock.now_ms()))

    async def run(self) -> None:
        """Until cancelled. A day that ended while no daemon ran is reported at the start, the newest one only. A day or
        a week in which none ran at all is not reported."""
        try:
            while True:
                self._collect()
                await self._report_what_is_due()
                await asyncio.sleep(self._pause())
        finally:
            self._collect()

    def _pause(self) -> float:
        now = self._clock.now_ms()
        due = day_of(now) * MS_PER_DAY + DUE_MS
        if due <= now:
            due += MS_PER_DAY
        return min(COLLECT_SECONDS, (due - now) / 1000)

    def _collect(self) -> None:
        """Into the day that it is now: a stretch over midnight counts for the day it ends in."""
        now, day = self._clock.monotonic(), day_of(self._clock.now_ms())
        facts = self._kept.days.get(day, DayFacts(day=day))
        waves = self._figures.waves()
        self._kept.days[day] = replace(
            facts,
            uptime_s=facts.uptime_s + round(now - self._seen_at),
            unprotected_ms=max(facts.unprotected_ms, self._figures.longest_unprotected()),
            waves=facts.waves + waves - self._waves,
        )
        self._seen_at, self._waves = now, waves
        if (over := self._figures.day_over()) is not None and over.day in self._kept.days:
            ended = self._kept.days[over.day]
            self._kept.days[over.day] = replace(ended, result=plain(over.result), funding=plain(over.funding))
        self._kept.days = dict(sorted(self._kept.days.items())[-DAYS_KEPT:])
        self._save()

    async def _report_what_is_due(self) -> None:
        now = self._clock.now_ms()
        ended = day_of(now - DUE_MS) - 1
        if ended <= self._kept.reported:
            return
        monday = (ended + 1 + _EPOCH_WEEKDAY) % WEEK == 0
        spans = [days for days in ((1, WEEK) if monday else (1,)) if self._facts(ended, days)]
        try:
            texts = [await self._report(ended, days) for days in spans]
        except (JournalUnreadable, OSError) as error:  # all of it is tried again with the next look
            _log.warning("report.unreadable", reason=str(error))
            return
        for text in texts:
            self._notifier.notify(Level.INFO, text, kind=AlertKind.REPORT)
        self._kept.reported = ended
        self._save()

    def _facts(self, last: int, days: int) -> list[DayFacts]:
        """Of those of so many days up to `last` in which a daemon ran."""
        return [one for day in range(last - days + 1, last + 1) if (one := self._kept.days.get(day)) is not None]

    async def _report(self, last: int, days: int) -> str:
        """Of so many days up to `last`. Raises JournalUnreadable, and OSError where the audit log cannot be read."""
        since, until = (last - days + 1) * MS_PER_DAY, (last + 1) * MS_PER_DAY
        facts = self._facts(last, days)
        whole = len(facts) == days
        refusals, later = await self._past.refusals(since), await self._past.refusals(until)
        seq, digest = await self._audit_head()
        report = Report(
            performance=await self._past.performance(since, until),
            result=_sum(one.result for one in facts) if whole else None,
            funding=_sum(one.funding for one in facts) if whole else None,
            open_positions=self._figures.open_positions(),
            waves=sum(one.waves for one in facts),
            refusals={reason: left for reason, count in refusals.items() if (left := count - later.get(reason, 0))},
            uptime_s=sum(one.uptime_s for one in facts),
            longest_unprotected_ms=max((one.unprotected_ms for one in facts), default=None),
            residuals=tuple(residuals(self._figures.money())),
            audit_seq=seq,
            audit_hash=digest,
        )
        title = "daily report" if days == 1 else "weekly report"
        return f"{title}\n{report_text(report)}"

    def _save(self) -> None:
        days = [asdict(facts) for facts in self._kept.days.values()]
        value = json.dumps({"reported": self._kept.reported, "days": days}, separators=(",", ":"))
        self._journal.append_nowait([StateRecord(key=KEY, value=value, time_ms=self._clock.now_ms())])


def residuals(rows: Iterable[MoneyRow]) -> Iterable[str]:
    """What of the wallets' changes nothing explains, and which wallets could not be read."""
    for row in rows:
        if row.residual is None:
            yield f"{row.venue} {row.asset} was not read"
        elif not row.balanced:
            yield f"{plain(row.residual)} {row.asset} at {row.venue}"


def _sum(texts: Iterable[str]) -> Decimal | None:
    """None when one of them is not known."""
    try:
        return sum((Decimal(text) for text in texts), ZERO)
    except InvalidOperation:
        return None


def _recalled(text: str | None, today: int) -> _Kept:
    """Of a first start, or of what cannot be read, nothing: the first report is that of today."""
    if text is None:
        return _Kept(reported=today - 1)
    try:
        told = json.loads(text)
        days = [DayFacts(**row) for row in told["days"]]
        return _Kept(reported=int(told["reported"]), days={facts.day: facts for facts in days})
    except (ValueError, TypeError, KeyError):
        _log.warning("report.record_unreadable")
        return _Kept(reported=today - 1)
