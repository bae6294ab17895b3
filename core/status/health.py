"""How well the daemon stands, judged from a picture of it: pure, so that the status page, Telegram and the watchdog of
the service manager say the same.

`unhealthy` is what starting anew may cure, and what stops the pings to the service manager: a loop that does not turn,
protection that has ended, a position past its deadline though its venue serves, no private stream at all for long. All
else that people should know is `degraded`: a venue in maintenance does not come back because we start again, and
meanwhile its positions rest on their stops there. So is what has been so since the start: starting anew has been tried,
has not cured it, and would not the next time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from core.domain.risk import TradingState
from core.engine.queries import PositionRow, StatusReport, VenueRow
from core.engine.vitals import VITAL, LagRow, TaskRow

GIB: Final = 1024**3
START_SECONDS: Final = 30.0
"""A position that was found without a stop so soon after the start had none before it."""


class HealthLevel(StrEnum):
    """Worse ones come later."""

    OK = "ok"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class Finding(Struct, frozen=True):
    """`about` is one word of a small set, for counting; `text` is for people."""

    level: HealthLevel
    about: str
    text: str


class Health(Struct, frozen=True):
    """`findings` are the worst first; none of them is `ok`."""

    findings: tuple[Finding, ...] = ()

    @property
    def level(self) -> HealthLevel:
        return self.findings[0].level if self.findings else HealthLevel.OK

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(finding.text for finding in self.findings)

    @property
    def healthy(self) -> bool:
        """Whether the service manager may be told that all is as it should be: `degraded` counts as well."""
        return self.level is not HealthLevel.UNHEALTHY


def health_facts(health: Health) -> dict[str, Any]:
    """As JSON shows it, on the page and over the control socket."""
    findings = [{"level": one.level.value, "about": one.about, "text": one.text} for one in health.findings]
    return {"health": health.level.value, "reasons": list(health.reasons), "findings": findings}


class HealthLimits(Struct, frozen=True, kw_only=True):
    """`deadline_seconds` a position may be without a stop (PROTECTION_DEADLINE_MS). Past it the position is flattened;
    where that has not come about `stuck_seconds` later, it will not. Bytes, milliseconds and seconds."""

    deadline_seconds: float
    stuck_seconds: float = 30.0
    streams_seconds: float = 60.0
    """All private streams down for so long is unhealthy."""
    late_ms: float = 250.0
    hung_ms: float = 10_000.0
    clock_error_ms: int = 1_000
    """MAX_CLOCK_ERROR_MS."""
    disk_bytes: int = GIB


def judge(report: StatusReport, limits: HealthLimits, free_bytes: int | None = None) -> Health:
    """Worst first, in the order they are looked at otherwise. `free_bytes`: on the fullest disk of DATA_DIR and
    LOG_DIR; None = not known."""
    found = [
        *_loop(report.lag, limits),
        *_tasks(report.tasks),
        *_positions(report, limits),
        *_streams(report.venues, limits, report.uptime_s),
        *_venues(report.venues, limits),
        *_books(report),
        *_disk(free_bytes, limits),
    ]
    order = list(HealthLevel)
    return Health(tuple(sorted(found, key=lambda finding: -order.index(finding.level))))


def _loop(lag: LagRow, limits: HealthLimits) -> Iterator[Finding]:
    where = f", in {lag.culprit}" if lag.culprit else ""
    if lag.now_ms >= limits.hung_ms:
        yield Finding(HealthLevel.UNHEALTHY, "loop", f"the event loop stood still for {lag.now_ms / 1000:.1f} s{where}")
    elif lag.now_ms >= limits.late_ms:
        yield Finding(HealthLevel.DEGRADED, "loop", f"the event loop was late by {lag.now_ms:.0f} ms{where}")


def _tasks(rows: Collection[TaskRow]) -> Iterator[Finding]:
    for row in rows:
        if not row.running:
            level = HealthLevel.UNHEALTHY if row.name in VITAL else HealthLevel.DEGRADED
            why = f" ({row.why})" if row.why else ""
            yield Finding(level, "task", f"the task {row.name} has ended and is not running{why}")


def _positions(report: StatusReport, limits: HealthLimits) -> Iterator[Finding]:
    serving = {venue.venue for venue in report.venues if venue.connected}
    for position in report.positions:
        if position.naked_s is not None and position.naked_s > limits.deadline_seconds:
            stuck = position.naked_s > limits.deadline_seconds + limits.stuck_seconds
            new = report.uptime_s - position.naked_s >= START_SECONDS
            curable = stuck and new and position.instrument.venue in serving
            yield Finding(
                HealthLevel.UNHEALTHY if curable else HealthLevel.DEGRADED, "position", _naked(position, limits)
            )


def _naked(position: PositionRow, limits: HealthLimits) -> str:
    allowed = f"{limits.deadline_seconds:g} s are allowed (PROTECTION_DEADLINE_MS)"
    return f"{position.instrument} {position.side} is without a stop for {position.naked_s:.0f} s; {allowed}"


def _streams(venues: Collection[VenueRow], limits: HealthLimits, uptime_s: float) -> Iterator[Finding]:
    down = [venue for venue in venues if not venue.connected]
    since = min((venue.down_s or 0.0 for venue in down), default=0.0)
    if venues and len(down) == len(venues) and since >= limits.streams_seconds:
        text = f"no private stream is up, for {since:.0f} s now; {limits.streams_seconds:g} s are allowed"
        new = since < uptime_s  # one that never came up is down since before the start
        yield Finding(HealthLevel.UNHEALTHY if new else HealthLevel.DEGRADED, "stream", text)
    for venue in down:
        yield Finding(
            HealthLevel.DEGRADED, "stream", f"{venue.venue}: private stream down for {venue.down_s or 0:.0f} s"
        )


def _venues(venues: Collection[VenueRow], limits: HealthLimits) -> Iterator[Finding]:
    for venue in venues:
        if venue.off_because is not None:
            yield Finding(HealthLevel.DEGRADED, "venue", f"{venue.venue}: no entries, {venue.off_because}")
        if venue.paused is not None:
            yield Finding(HealthLevel.DEGRADED, "venue", f"{venue.venue}: entries pause, {venue.paused}")
        if venue.clock_error_ms is None:
            text = f"{venue.venue}: its clock could not be measured for too long"
            yield Finding(HealthLevel.DEGRADED, "clock", text)
        elif abs(venue.clock_error_ms) > limits.clock_error_ms:
            jumped = f"this host's clock jumped by {venue.clock_error_ms} ms since it was measured"
            text = f"{venue.venue}: {jumped}; {limits.clock_error_ms} are allowed (MAX_CLOCK_ERROR_MS)"
            yield Finding(HealthLevel.DEGRADED, "clock", text)


def _books(report: StatusReport) -> Iterator[Finding]:
    if not report.journal_writable:
        yield Finding(HealthLevel.DEGRADED, "journal", "the journal cannot be written: no entries until it can")
    if report.trading_state == TradingState.HALTED:
        yield Finding(HealthLevel.DEGRADED, "halted", f"halted: {report.reason}")
    for row in report.money:
        if not row.balanced:
            yield Finding(HealthLevel.DEGRADED, "money", f"{row.venue}: {row.residual} {row.asset} are not explained")


def _disk(free_bytes: int | None, limits: HealthLimits) -> Iterator[Finding]:
    if free_bytes is not None and free_bytes < limits.disk_bytes:
        free, wished = free_bytes / GIB, limits.disk_bytes / GIB
        yield Finding(HealthLevel.DEGRADED, "disk", f"{free:.2f} GiB free for data and logs, less than {wished:g}")
