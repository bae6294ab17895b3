"""The audit log as the daemon sees it: `record` costs a list append, whatever the disk is doing (JRN-01, INV-4)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Final, NamedTuple

import structlog
from msgspec import Struct

from core.storage.audit_files import AuditFiles, Tail, stamp
from core.storage.outbox import Outbox

ROTATE_BYTES: Final = 64 * 1024 * 1024
CAPACITY: Final = 20_000
"""Records that may wait for a blocked disk; a busy minute makes some hundreds."""
LINGER_S: Final = 0.02
RETRY_S: Final = 1.0

GAP: Final = "audit.gap"
BAD_RECORD: Final = "audit.bad_record"
TAIL_CUT: Final = "audit.tail_cut"

_log = structlog.get_logger(__name__)


class _Record(NamedTuple):
    time_ms: int
    kind: str
    data: Mapping[str, object]


class AuditStatistics(Struct, frozen=True, kw_only=True):
    """`written`, `dropped` (queue full) and `bad` (could not be a record) since opening; `failing` = the disk's last
    words while it refuses, "" when all is well."""

    written: int
    dropped: int
    bad: int
    backlog: int
    failing: str


class AuditLog:
    """Appends records to `audit.log` in `folder`, on an executor of its own: a blocked audit disk must not hold up the
    journal.

    `now_ms` is UTC milliseconds, read when `record` is called. What could not be queued or recorded leaves a trace in
    the chain itself: a record of kind `audit.gap` or `audit.bad_record`.
    """

    def __init__(
        self,
        folder: Path,
        executor: Executor,
        now_ms: Callable[[], int],
        *,
        rotate_bytes: int = ROTATE_BYTES,
        capacity: int = CAPACITY,
    ) -> None:
        self._now_ms = now_ms
        self._executor = executor
        self._files = AuditFiles(folder, rotate_bytes=rotate_bytes)
        self._outbox = Outbox(executor, self._write_all, linger_s=LINGER_S, retry_s=RETRY_S)
        self._capacity = capacity
        self._written = self._dropped = self._dropped_recorded = self._bad = 0
        self._failing = ""
        self._closed = False

    async def open(self) -> Tail:
        """Makes the end of the chain whole and records a cut as the first new record.

        Raises OSError when the folder cannot be written.
        """
        return await asyncio.wrap_future(self._executor.submit(self._open))

    def record(self, kind: str, data: Mapping[str, object]) -> None:
        """Queues one record. `data` must not change afterwards, holds no secret and no float.

        Never raises and never waits; with the queue full or the log closed the record is dropped and counted.
        """
        if self._closed or len(self._outbox) >= self._capacity:
            self._dropped += 1
        else:
            self._outbox.post(_Record(self._now_ms(), kind, data))

    def statistics(self) -> AuditStatistics:
        """A snapshot for the status page."""
        return AuditStatistics(
            written=self._written,
            dropped=self._dropped,
            bad=self._bad,
            backlog=len(self._outbox),
            failing=self._failing,
        )

    async def close(self) -> None:
        """Writes what is queued, syncs and closes. Takes as long as the disk takes: the caller sets the deadline.

        A disk that refuses is only logged: stopping must not fail over the audit (JRN-06).
        """
        self._closed = True
        await self._outbox.close()
        try:
            await asyncio.wrap_future(self._executor.submit(self._files.close))
        except OSError as error:
            self._failing = str(error)
        if self._failing:
            _log.error("audit.not_closed", error=self._failing, records_lost=len(self._outbox))

    def _open(self) -> Tail:
        tail = self._files.open()
        if tail.cut_bytes or tail.lost or tail.altered:
            found: dict[str, object] = {
                "cut_bytes": tail.cut_bytes,
                "last_seq": tail.head.seq,
                "lost_seq": tail.lost.seq if tail.lost else None,
                "altered": tail.altered,
            }
            self._files.write(stamp(self._now_ms()), TAIL_CUT, found)
            self._files.write_head()
        return tail

    def _write_all(self, waiting: deque[_Record]) -> bool:
        try:
            while waiting:
                self._write(waiting[0])
                waiting.popleft()
            self._record_gap()
            self._files.write_head()
        except OSError as error:
            if not self._failing:
                _log.error("audit.unwritable", error=str(error))
            self._failing = str(error)
            return False
        if self._failing:
            _log.warning("audit.writable_again")
            self._failing = ""
        return True

    def _write(self, record: _Record) -> None:
        time = stamp(record.time_ms)
        try:
            self._files.write(time, record.kind, record.data)
        except (TypeError, ValueError) as error:  # one bad record must not cost its neighbours (JRN-05)
            self._bad += 1
            self._files.write(time, BAD_RECORD, {"kind": str(record.kind), "error": str(error)})
        self._written += 1

    def _record_gap(self) -> None:
        missing = self._dropped - self._dropped_recorded
        if missing:
            self._files.write(stamp(self._now_ms()), GAP, {"dropped": missing})
            self._dropped_recorded += missing
