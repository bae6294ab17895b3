"""The small watches that run as long as the daemon: the KILL file, the journal, the status line."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from core.assembly import Engine
from core.domain.alerts import AlertKind
from core.engine.ports import Level
from core.engine.queries import Queries
from core.status.line import status_line

log = structlog.get_logger(__name__)

KILL_FILE_CHECK_SECONDS = 1.0
JOURNAL_CHECK_SECONDS = 0.5
_UNWRITABLE = "the journal cannot be written: no entries; stops and closes go out and are journaled later"


async def watch_kill_file(engine: Engine) -> None:
    """HALTED while DATA_DIR/KILL exists (DESIGN §3.15)."""
    path: Path = engine.settings.process.data_dir / "KILL"
    while True:
        engine.risk.states.set_killed(path.exists())  # noqa: ASYNC240 - one stat a second of a local file
        await asyncio.sleep(KILL_FILE_CHECK_SECONDS)


async def watch_journal(engine: Engine) -> None:
    """Says when the journal refuses and when it works again (JRN-09); entries stop by themselves meanwhile."""
    writable = True
    while True:
        if engine.journal.writable != writable:
            writable = not writable
            text = "the journal is written again; entries go on" if writable else _UNWRITABLE
            engine.notifier.notify(Level.INFO if writable else Level.CRITICAL, text, kind=AlertKind.JOURNAL)
        await asyncio.sleep(JOURNAL_CHECK_SECONDS)


async def status_lines(queries: Queries, interval_s: float) -> None:
    """Into the log."""
    while True:
        await asyncio.sleep(interval_s)
        log.info("status", line=status_line(queries.status()))
