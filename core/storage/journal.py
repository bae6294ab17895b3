"""The journal as the engine sees it: `core.engine.ports.Journal` on SQLite."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Final, NamedTuple

import structlog
from msgspec import Struct

from core.engine.records import JournalState, Record
from core.errors import JournalUnwritable
from core.storage.database import Database
from core.storage.outbox import Outbox

FILE_NAME: Final = "journal.db"
LINGER_S: Final = 0.005
"""How long an unsynced record may wait for company; a crash of the process loses no more than this."""
RETRY_S: Final = 1.0
CAPACITY: Final = 100_000
"""Groups kept while the disk refuses; about an hour of a busy day, some 100 MB."""

_log = structlog.get_logger(__name__)


class _Group(NamedTuple):
    """Records that belong together; `waiter` is set when somebody waits for them to be durable."""

    records: tuple[Record, ...]
    waiter: asyncio.Future[None] | None


class JournalStatistics(Struct, frozen=True, kw_only=True):
    """Since opening: `commits`, records `set_aside` because they could not be stored, groups `dropped` because the disk
    refused for too long; `failing` = the disk's last words while it does, else ""."""

    commits: int
    set_aside: int
    dropped: int
    backlog: int
    failing: str


class SqliteJournal:
    """One file, one writer (`executor` must have a single worker and nothing else to do), groups in posting order.

    Concurrent `append`s share a commit. While the file refuses, `writable` is False, what was posted without waiting is
    kept and tried again each second, and so is the file itself, so that trading resumes without a restart (JRN-09).
    """

    def __init__(self, path: Path, executor: Executor, now_ms: Callable[[], int], *, capacity: int = CAPACITY) -> None:
        self._database = Database(path, now_ms)
        self._executor = executor
        self._outbox = Outbox(executor, self._write_all, linger_s=LINGER_S, retry_s=RETRY_S)
        self._capacity = capacity
        self._opened = False
        self._failing = ""
        self._commits = self._set_aside = self._dropped = 0

    async def open(self) -> Path | None:
        """Opens, checks and migrates the file, or makes it. The answer is where a broken file was moved to, None when
        all was well: then nothing is known of the past and the venues must tell it before anything is opened.

        Raises StartRefused (written by a newer program) and JournalUnwritable.
        """
        try:
            broken = await asyncio.wrap_future(self._executor.submit(self._database.open))
        except (sqlite3.Error, OSError) as error:
            raise JournalUnwritable(f"the journal cannot be opened: {error}") from error
        self._opened = True
        return broken

    async def append(self, records: Sequence[Record]) -> None:
        """Durable when this returns. Raises JournalUnwritable, and then `records` are not stored and will not be:
        whoever sends a reduce-only order all the same posts them again with `append_nowait`.

        Giving up the wait (cancellation, a deadline) leaves the records queued: they are stored when that is possible.
        """
        if not self._opened:
            raise JournalUnwritable("the journal is not open")
        if len(self._outbox) >= self._capacity:
            raise JournalUnwritable("the journal has more to write than it can hold")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outbox.post_now(_Group(tuple(records), waiter))
        await waiter

    def append_nowait(self, records: Sequence[Record]) -> None:
        """Stored soon, in order, without sync. Never raises; with the queue full (the disk refused for an hour) or the
        journal closed the records are dropped and counted."""
        if not self._opened or len(self._outbox) >= self._capacity:
            self._dropped += 1
        else:
            self._outbox.post(_Group(tuple(records), None))

    @property
    def writable(self) -> bool:
        """False before opening, after closing, and from a failed write until one succeeds again."""
        return self._opened and not self._failing

    async def load(self) -> JournalState:
        """What the journal knew when it was opened. Raises JournalUnwritable when it cannot be read."""
        try:
            return await asyncio.wrap_future(self._executor.submit(self._database.load))
        except (sqlite3.Error, ValueError) as error:
            raise JournalUnwritable(f"the journal cannot be read: {error}") from error

    def statistics(self) -> JournalStatistics:
        """A snapshot for the status page."""
        return JournalStatistics(
            commits=self._commits,
            set_aside=self._set_aside,
            dropped=self._dropped,
            backlog=len(self._outbox),
            failing=self._failing,
        )

    async def close(self) -> None:
        """Stores what is queued, moves the WAL into the file, closes. Raises JournalUnwritable when something had to be
        left behind; the file is closed then, too."""
        if not self._opened:
            return
        self._opened = False
        await self._outbox.close()
        left = len(self._outbox)
        try:
            await asyncio.wrap_future(self._executor.submit(self._database.close))
        except sqlite3.Error as error:
            raise JournalUnwritable(f"the journal did not close cleanly: {error}") from error
        if left:
            raise JournalUnwritable(f"{left} groups of records could not be stored: {self._failing}")

    def _write_all(self, waiting: deque[_Group]) -> bool:
        """On the writer: one commit for everything that is waiting."""
        groups = [waiting.popleft() for _ in range(len(waiting))]
        try:
            if groups:
                durable = any(group.waiter is not None for group in groups)
                refused = self._database.write([group.records for group in groups], durable=durable)
            else:
                refused = []
                if self._failing:
                    self._database.probe()
        except Exception as error:
            self._refuse(groups, waiting, error)
            if not isinstance(error, sqlite3.Error):
                raise
            return False
        self._settle(groups, refused)
        try:
            self._database.checkpoint_if_due()
        except sqlite3.Error as error:  # what was committed stays in the WAL, which only grows
            _log.warning("journal.checkpoint_failed", error=str(error))
        return True

    def _settle(self, groups: Iterable[_Group], refused: Iterable[str]) -> None:
        self._commits += 1
        if self._failing:
            _log.warning("journal.writable_again")
            self._failing = ""
        for group, why in zip(groups, refused, strict=True):
            if why:
                self._set_aside += 1
                _log.error("journal.record_set_aside", reason=why)
            if group.waiter is not None:
                _tell(group.waiter, JournalUnwritable(f"a record could not be stored: {why}") if why else None)

    def _refuse(self, groups: list[_Group], waiting: deque[_Group], error: Exception) -> None:
        """Waiters are told and their records dropped; everything else goes back to the head of the queue."""
        if not self._failing:
            _log.error("journal.unwritable", error=str(error))
        self._failing = str(error) or type(error).__name__
        kept = []
        for group in groups:
            if group.waiter is None or group.waiter.cancelled():
                kept.append(group._replace(waiter=None))
            else:
                _tell(group.waiter, JournalUnwritable(f"the journal cannot be written: {error}"))
        waiting.extendleft(reversed(kept))


def _tell(waiter: asyncio.Future[None], error: JournalUnwritable | None) -> None:
    """From the writer to the loop; a waiter that has gone, or whose loop has, needs no answer."""
    loop = waiter.get_loop()
    if not loop.is_closed():
        loop.call_soon_threadsafe(_resolve, waiter, error)


def _resolve(waiter: asyncio.Future[None], error: JournalUnwritable | None) -> None:
    if waiter.done():
        return
    if error is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(error)
