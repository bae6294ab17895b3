"""Keeps history for as long as it was asked to: what is older goes from the journal, a few rows at a time.

The audit log is not touched: what is gone from the journal is told there still.
"""

from __future__ import annotations

import asyncio

import structlog

from core.clock import Clock
from core.engine.records import HistoryOver, Journal, StateRecord

log = structlog.get_logger(__name__)

DAY_MS = 86_400_000
STEP_SECONDS = 2.0
"""Between two steps: 25 rows of a kind each, a million a day."""
KEPT_SINCE_KEY = "journal/kept_since_ms"
"""Among the journal's values: what happened before may be missing from it (UTC ms)."""


async def keep_history(journal: Journal, days: int, clock: Clock) -> None:
    """Until cancelled: whole UTC days that ended more than `days` days ago go from the journal."""
    told = 0
    while True:
        before_ms = (clock.now_ms() // DAY_MS - days) * DAY_MS
        if journal.writable:
            if before_ms != told:
                told = before_ms
                log.info("journal.kept_since", time_ms=before_ms, days=days)
                record = StateRecord(key=KEPT_SINCE_KEY, value=str(before_ms), time_ms=clock.now_ms())
                journal.append_nowait([record])
            journal.append_nowait([HistoryOver(before_ms=before_ms)])
        await asyncio.sleep(STEP_SECONDS)
