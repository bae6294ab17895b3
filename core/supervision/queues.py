"""Every queue of the daemon as a figure. What each does when it is full stands in docs/ARCHITECTURE.md, "Queues"."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from core.alerts.feed import Feed
from core.alerts.grouping import CAPACITY as ALERTS_KEPT
from core.alerts.grouping import MOST_CRITICAL
from core.domain.ids import VenueName
from core.engine.order_manager import REPORT_QUEUE_SIZE
from core.engine.vitals import QueueRow
from core.engine.waiting_batches import MOST_WAITING as MOST_BATCHES
from core.engine.waiting_batches import WaitingBatches
from core.logs import QUEUE_SIZE, LogHealth
from core.storage.audit_log import CAPACITY as AUDIT_KEPT
from core.storage.audit_log import AuditLog
from core.storage.journal import CAPACITY as JOURNAL_KEPT
from core.storage.journal import SqliteJournal
from core.venues.request_budget import MOST_WAITING as MOST_REQUESTS


def report_queue(queued: int) -> QueueRow:
    return QueueRow(name="reports", depth=queued, bound=REPORT_QUEUE_SIZE)


def request_queues(waiting: Mapping[VenueName, Callable[[], int]]) -> Iterator[QueueRow]:
    """By venue; the bound is that of one of its lanes, which is refused beyond it."""
    for venue, count in waiting.items():
        yield QueueRow(name=f"requests/{venue}", depth=count(), bound=MOST_REQUESTS)


def wave_queue(waiting: WaitingBatches) -> QueueRow:
    return QueueRow(name="waves", depth=len(waiting), bound=MOST_BATCHES, dropped=waiting.refused)


def journal_queue(journal: SqliteJournal) -> QueueRow:
    now = journal.statistics()
    return QueueRow(name="journal", depth=now.backlog, bound=JOURNAL_KEPT, dropped=now.dropped)


def audit_queue(audit: AuditLog) -> QueueRow:
    now = audit.statistics()
    return QueueRow(name="audit", depth=now.backlog, bound=AUDIT_KEPT, dropped=now.dropped)


def alert_queues(feeds: Iterable[Feed]) -> Iterator[QueueRow]:
    for feed in feeds:
        now = feed.statistics()
        bound = ALERTS_KEPT + MOST_CRITICAL
        yield QueueRow(name=f"alerts/{feed.name}", depth=now.waiting, bound=bound, dropped=now.dropped)


def log_queue(health: LogHealth) -> QueueRow:
    return QueueRow(name="log", depth=health.queued(), bound=QUEUE_SIZE, dropped=health.dropped)
