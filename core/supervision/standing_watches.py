"""The small watches that run as long as the daemon: the KILL file, the journal, the status line."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from core.assembly import Engine
from core.domain.alerts import AlertKind
from core.engine.ports import Level, Notifier
from core.engine.queries import Queries
from core.logs import LogHealth
from core.status.line import status_line

log = structlog.get_logger(__name__)

KILL_FILE_CHECK_SECONDS = 1.0
JOURNAL_CHECK_SECONDS = 0.5
LOG_CHECK_SECONDS, LOG_QUIET_SECONDS = 1.0, 60.0
_UNWRITABLE = "the journal cannot be written: no entries; stops and closes go out and are journaled later"


async def watch_kill_file(engine: Engine) -> None:
    """HALTED while DATA_DIR/KILL exists (DESIGN §3.15)."""
    path: Path = engine.settings.process.data_dir / "KILL"
    while True:
        exists = path.exists()  # noqa: ASYNC240 - one stat a second of a local file
        changed = exists is not engine.risk.states.killed
        engine.risk.states.set_killed(exists)
        if changed:
            standing = engine.risk.standing
            now = f"trading is {standing.state.value.upper()}: {standing.reason}"
            text = "trading is HALTED: the KILL file exists" if exists else f"the KILL file is gone; {now}"
            engine.notifier.notify(Level.WARNING, text, kind=AlertKind.STATE)
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


async def watch_log(health: LogHealth, notifier: Notifier) -> None:
    """Says once when the log cannot be written to its file or loses records, and once when all is well again (OPS-10).
    Records that do not reach the file go to stderr."""
    failing, losing, dropped, quiet_since = False, False, health.dropped, 0
    while True:
        if (health.file_ok and health.rotates) is failing:
            failing = not failing
            text = _log_told(health)
            condition = {"begins": "file"} if failing else {"ends": "file"}
            notifier.notify(Level.WARNING if failing else Level.INFO, text, kind=AlertKind.LOG, **condition)
        quiet_since = 0 if health.dropped > dropped else quiet_since + 1
        if not losing and health.dropped > dropped:
            losing = True
            text = f"the log loses records, {health.dropped} so far: it is told more than the disk takes"
            notifier.notify(Level.WARNING, text, kind=AlertKind.LOG, begins="records")
        elif losing and quiet_since * LOG_CHECK_SECONDS >= LOG_QUIET_SECONDS:
            losing = False
            text = f"the log is complete again; {health.dropped} records were lost since the start"
            notifier.notify(Level.INFO, text, kind=AlertKind.LOG, ends="records")
        dropped = health.dropped
        await asyncio.sleep(LOG_CHECK_SECONDS)


def _log_told(health: LogHealth) -> str:
    if not health.file_ok:
        return "the log file cannot be written: lines go to stderr"
    return "the log file is written again" if health.rotates else "the log file cannot be rotated: it grows"


async def status_lines(queries: Queries, interval_s: float) -> None:
    """Into the log."""
    while True:
        await asyncio.sleep(interval_s)
        log.info("status", line=status_line(await queries.status_in_steps()))
