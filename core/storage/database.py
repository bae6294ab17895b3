"""The journal's file: opening it soundly, writing groups in one commit, reading what a start needs. Synchronous; every
method runs on the journal's one writer."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from core.engine.records import JournalState, Record
from core.storage import alert_rows, rows
from core.storage.migrations import migrate

BUSY_TIMEOUT_MS: Final = 1_000
"""How long a commit waits for a foreign writer before it counts as failed and is tried again."""
SEEN_SIGNALS_MS: Final = 7 * 24 * 3_600_000
ENDED_ORDERS_MS: Final = 7 * 24 * 3_600_000
ALERTS_LOADED: Final = 5_000
CHECKPOINT_EVERY: Final = 500
"""Records between checkpoints; they are made by us, after the waiters were told, never inside a commit."""
_MODE: Final = 0o600
_REOPENABLE: Final = (
    f"SELECT {rows.POSITION_SELECT} FROM positions WHERE closed_ms IS NOT NULL AND position_id IN ("
    "SELECT position_id FROM orders WHERE ended = 0 AND leg = 'entry') ORDER BY closed_ms, position_id"
)

BAD_RECORD: Final = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    AttributeError,
    OverflowError,
    TypeError,
    ValueError,
)
"""What one unusable record raises; everything else sqlite3 raises is about the file."""


class Database:
    """One SQLite connection in WAL mode. `sqlite3.Error` and OSError mean that the file could not be used just now."""

    def __init__(self, path: Path, now_ms: Callable[[], int]) -> None:
        self._path = path
        self._now_ms = now_ms
        self._connection: sqlite3.Connection
        self._full_sync = False
        self._since_checkpoint = 0

    def open(self) -> Path | None:
        """Opens, checks and migrates. A file that is no sound database is renamed, never deleted, and a new one made:
        the answer is then where the broken one is now (JRN-07).

        Raises StartRefused for a journal of a newer program, sqlite3.Error or OSError when the folder cannot be used.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        set_aside = None
        if not self._connect():
            set_aside = self._move_away()
            if not self._connect():
                raise sqlite3.DatabaseError(f"a new journal at {self._path} is not sound")
        try:
            migrate(self._connection)
            self._prepare_all()
            self.probe()  # a disk without room must show now, not with the first intent
        except BaseException:
            self._connection.close()
            raise
        return set_aside

    def write(self, groups: Sequence[Sequence[Record]], *, durable: bool) -> list[str]:
        """All groups in one commit, fully synced when `durable`.

        The answer has one text per group: "" or why a record of it was set aside; the others are stored all the same
        (JRN-05). Raises sqlite3.Error when nothing was stored.
        """
        self._set_sync(full=durable)
        self._begin()
        try:
            refused = [self._write_group(group) for group in groups]
            self._connection.execute("COMMIT")
        except BaseException:
            self._rollback()
            raise
        self._since_checkpoint += sum(map(len, groups))
        return refused

    def probe(self) -> None:
        """Writes something small and durable; raises sqlite3.Error when that is not possible."""
        self._set_sync(full=True)
        self._begin()
        try:
            self._connection.execute(rows.PROBE, ("probed_ms", str(self._now_ms())))
            self._connection.execute("COMMIT")
        except BaseException:
            self._rollback()
            raise

    def checkpoint_if_due(self) -> None:
        """Moves the WAL into the file when it has grown; a reader in the way only postpones it."""
        if self._since_checkpoint >= CHECKPOINT_EVERY:
            self._since_checkpoint = 0
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def load(self) -> JournalState:
        """Raises sqlite3.Error or ValueError when the journal does not hold what it must."""
        read = self._connection.execute
        return JournalState(
            orders=tuple(rows.order_of(row) for row in read(rows.KNOWN_ORDERS)),
            positions=tuple(rows.position_of(row) for row in read(rows.OPEN_POSITIONS)),
            reopenable=tuple(rows.position_of(row) for row in read(_REOPENABLE)),
            seen_signals=frozenset(read(rows.SEEN_SIGNALS, (self._now_ms() - SEEN_SIGNALS_MS,))),
            unfinished_waves=tuple(wave_id for (wave_id,) in read(rows.UNFINISHED_WAVES)),
            values=dict(read(rows.STATE_VALUES)),
            undecided=tuple(rows.undecided_of(row) for row in read(rows.UNDECIDED_SIGNALS)),
            exits=tuple(rows.exit_state_of(row) for row in read(rows.EXIT_STATES)),
            fills=tuple(rows.fill_of(row) for row in read(rows.NEW_FILLS)),
            alerts=tuple(map(alert_rows.alert_of, reversed(read(alert_rows.NEWEST, (ALERTS_LOADED,)).fetchall()))),
            ended=frozenset(name for (name,) in read(rows.ENDED_ORDERS, (self._now_ms() - ENDED_ORDERS_MS,))),
        )

    def close(self) -> None:
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            self._connection.close()

    def _connect(self) -> bool:
        """False when the file is not a sound database; raises sqlite3.OperationalError when it cannot be reached."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
        try:
            os.fchmod(descriptor, _MODE)  # WAL and shared-memory files take over the mode of this one (SEC-04)
        finally:
            os.close(descriptor)
        self._connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_MS / 1000
        )
        try:
            for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "wal_autocheckpoint = 0"):
                self._connection.execute(f"PRAGMA {pragma}")
            self._full_sync = False
            answer: object = self._connection.execute("PRAGMA quick_check(1)").fetchone()
            sound = answer == ("ok",)
        except sqlite3.OperationalError:
            self._connection.close()
            raise
        except sqlite3.DatabaseError:
            sound = False
        if not sound:
            self._connection.close()
        return sound

    def _move_away(self) -> Path:
        broken = self._path.with_name(f"{self._path.name}.broken-{self._now_ms()}")
        for suffix in ("", "-wal", "-shm"):
            part = self._path.with_name(self._path.name + suffix)
            if part.exists():
                part.rename(broken.with_name(broken.name + suffix))
        return broken

    def _prepare_all(self) -> None:
        """Every statement against the real schema, so that drift shows at start and not in mid-trade (JRN-04)."""
        for sql in (*rows.WRITES, *rows.READS):
            self._connection.execute(f"EXPLAIN {sql}", (None,) * sql.count("?"))

    def _set_sync(self, *, full: bool) -> None:
        if full is not self._full_sync:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            self._full_sync = full

    def _begin(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def _rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _write_group(self, group: Sequence[Record]) -> str:
        refused = ""
        for record in group:
            try:
                self._execute(rows.statement_of(record))
            except BAD_RECORD as error:
                refused = f"{type(record).__name__}: {error}"
                content = repr(record).encode("utf-8", "backslashreplace").decode()
                values = (type(record).__name__, content, str(error), self._now_ms())
                self._connection.execute(rows.SET_ASIDE, values)
        return refused

    def _execute(self, statement: rows.Statement) -> None:
        changed = self._connection.execute(statement.sql, statement.values).rowcount
        if not changed and statement.otherwise is not None:
            self._connection.execute(statement.otherwise.sql, statement.otherwise.values)
        if statement.then is not None:
            self._execute(statement.then)
