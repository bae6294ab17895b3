"""A journal that is refused by its disk, its file or its records."""

import asyncio
import itertools
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from core.domain.ids import (
    ClientOrderId,
)
from core.engine.records import (
    ExecutionRecord,
    ExitRecord,
    FillRecord,
    IntentRecord,
    OrderRecord,
    PositionRecord,
    StateRecord,
    WaveMark,
)
from core.errors import JournalUnwritable, StartRefused
from core.storage import database, journal, migrations, rows
from core.storage.journal import SqliteJournal
from core.storage.migrations import VERSION
from core.storage.writer import InlineExecutor
from tests.storage.records import (
    NOW,
    a_fill,
    a_journal,
    a_position,
    a_signal,
    an_exit_state,
    an_intent,
    an_order,
    table,
)

pytestmark = pytest.mark.may_block(reason="the journal runs inline, so that a test sees its file at once")


class Disk:
    """Stands between the journal and SQLite's commit: full while `full` is set."""

    def __init__(self) -> None:
        self.full = False

    def begin(self, original: object) -> None:
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")
        assert callable(original)
        original()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    begin = database.Database._begin
    monkeypatch.setattr(database.Database, "_begin", lambda self: disk.begin(lambda: begin(self)))
    monkeypatch.setattr(journal, "RETRY_S", 0.001)
    return disk


async def until_writable(tried: SqliteJournal) -> None:
    async with asyncio.timeout(5):
        while not tried.writable:  # noqa: ASYNC110 - the retry timer is what is waited for
            await asyncio.sleep(0.001)


async def test_a_full_disk_refuses_the_waiting_keeps_the_rest_and_recovers_by_itself(
    tmp_path: Path, disk: Disk
) -> None:
    refusing = await a_journal(tmp_path)
    disk.full = True
    refusing.append_nowait([StateRecord(key="kept", value="1", time_ms=NOW)])
    with pytest.raises(JournalUnwritable, match="disk is full"):
        await refusing.append([StateRecord(key="refused", value="1", time_ms=NOW)])
    assert not refusing.writable
    refusing.append_nowait([StateRecord(key="later", value="1", time_ms=NOW)])
    disk.full = False
    await until_writable(refusing)
    await refusing.append([StateRecord(key="again", value="1", time_ms=NOW)])
    await refusing.close()
    assert [key for (key,) in table(tmp_path, "SELECT key FROM state")] == ["again", "kept", "later"]


async def test_an_idle_journal_finds_out_that_the_disk_is_back(tmp_path: Path, disk: Disk) -> None:
    refusing = await a_journal(tmp_path)
    disk.full = True
    with pytest.raises(JournalUnwritable):
        await refusing.append([StateRecord(key="refused", value="1", time_ms=NOW)])
    disk.full = False
    await until_writable(refusing)
    await refusing.close()


async def test_closing_on_a_full_disk_says_what_was_left_behind(tmp_path: Path, disk: Disk) -> None:
    refusing = await a_journal(tmp_path)
    disk.full = True
    refusing.append_nowait([StateRecord(key="k", value="1", time_ms=NOW)])
    with pytest.raises(JournalUnwritable, match="1 groups"):
        await refusing.close()


async def test_the_queue_is_bounded_while_the_disk_refuses(tmp_path: Path, disk: Disk) -> None:
    refusing = await a_journal(tmp_path, capacity=3)
    disk.full = True
    for number in range(5):
        refusing.append_nowait([StateRecord(key=str(number), value="1", time_ms=NOW)])
    assert refusing.statistics().dropped == 2
    disk.full = False
    await refusing.close()


async def test_a_truly_full_database_keeps_its_file_valid_and_recovers(tmp_path: Path) -> None:
    full = await a_journal(tmp_path)
    connection = full._database._connection
    connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
    with pytest.raises(JournalUnwritable, match="full"):  # noqa: PT012 - how many fit is the file's business
        for number in itertools.count():
            await full.append([StateRecord(key=str(number), value="x" * 4000, time_ms=NOW)])
    connection.execute("PRAGMA max_page_count = 1000000")
    await full.append([StateRecord(key="after", value="1", time_ms=NOW)])
    assert full.writable
    await full.close()
    assert table(tmp_path, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.failure("JRN-05")
async def test_a_bad_record_is_set_aside_counted_and_the_rest_of_its_batch_is_stored(
    tmp_path: Path, ledger: SqliteJournal
) -> None:
    good: list[Any] = [
        WaveMark(wave_id="w", source="ws", received_ms=NOW),
        a_signal(),
        IntentRecord(intent=an_intent(), time_ms=NOW),
        OrderRecord(order=an_order(), time_ms=NOW),
        FillRecord(fill=a_fill(), time_ms=NOW),
        PositionRecord(position=a_position(), time_ms=NOW),
        StateRecord(key="k", value="1", time_ms=NOW),
        ExecutionRecord(client_order_id=ClientOrderId("c"), values={}, time_ms=NOW),
    ]
    bad = [replace(record, time_ms="pending") for record in good[1:]]
    bad.append(WaveMark(wave_id="x", source="ws", received_ms="pending"))  # type: ignore[arg-type]
    with pytest.raises(JournalUnwritable, match="could not be stored"):
        await ledger.append([record for pair in zip(bad, good, strict=True) for record in pair])
    tables = ("waves", "signals", "orders", "fills", "positions", "state", "executions")
    assert [table(tmp_path, f"SELECT count(*) FROM {name}")[0][0] for name in tables] == [1] * 7
    # The bad status of an order that is not there yet is two statements, and still one record.
    assert table(tmp_path, "SELECT count(*) FROM set_aside")[0][0] == len(bad)
    assert ledger.statistics().set_aside == 1
    assert ledger.writable
    state = await ledger.load()
    assert (state.orders, state.positions) == ((an_order(),), (a_position(),))


async def test_a_file_that_is_not_a_database_is_set_aside_untouched(tmp_path: Path) -> None:
    garbage = b"this is not a database" * 100
    (tmp_path / "journal.db").write_bytes(garbage)
    fresh = SqliteJournal(tmp_path / "journal.db", InlineExecutor(), lambda: NOW)
    moved = await fresh.open()
    assert moved is not None
    assert moved.read_bytes() == garbage
    assert (await fresh.load()).orders == ()
    await fresh.close()


async def test_a_damaged_page_is_found_at_start(tmp_path: Path) -> None:
    first = await a_journal(tmp_path)
    await first.append([IntentRecord(intent=an_intent(number), time_ms=NOW) for number in range(500)])
    await first.close()
    path = tmp_path / "journal.db"
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
    path.write_bytes(content)
    fresh = SqliteJournal(path, InlineExecutor(), lambda: NOW)
    assert await fresh.open() is not None
    await fresh.close()


async def test_a_journal_of_a_newer_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    await (await a_journal(tmp_path)).close()
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(StartRefused, match="newer"):
        await a_journal(tmp_path)
    assert table(tmp_path, "PRAGMA user_version") == [(VERSION + 1,)]


@pytest.mark.failure("JRN-04")
async def test_an_older_journal_is_migrated_and_keeps_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = await a_journal(tmp_path)
    await old.append([StateRecord(key="k", value="1", time_ms=NOW)])
    await old.close()
    steps = (*migrations.STEPS, "CREATE TABLE added (key TEXT PRIMARY KEY) STRICT;")
    monkeypatch.setattr(migrations, "STEPS", steps)
    monkeypatch.setattr(migrations, "VERSION", len(steps))
    new = await a_journal(tmp_path)
    assert (await new.load()).values == {"k": "1"}
    await new.close()
    assert table(tmp_path, "SELECT * FROM added") == []
    assert table(tmp_path, "PRAGMA user_version") == [(len(steps),)]


@pytest.mark.failure("JRN-04")
async def test_a_journal_of_the_fourth_version_keeps_its_orders_and_positions(tmp_path: Path) -> None:
    """The one before exits were remembered and a signal could ask for a take profit and a time limit."""
    written = {
        "orders": rows.statement_of(OrderRecord(order=an_order(), time_ms=NOW)).otherwise,
        "positions": rows.statement_of(PositionRecord(position=a_position(), time_ms=NOW)),
    }
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.executescript("".join(f"{step};" for step in migrations.STEPS[:4]) + "PRAGMA user_version = 4;")
        for name, statement in written.items():
            assert statement is not None
            columns = statement.sql.partition("(")[2].partition(")")[0].split(", ")
            told = dict(zip(columns, statement.values, strict=True))
            old = {
                column: told[column] for column in told if column not in ("take_profit_percent", "time_limit_minutes")
            }
            places = ", ".join("?" * len(old))
            connection.execute(f"INSERT INTO {name} ({', '.join(old)}) VALUES ({places})", tuple(old.values()))
        connection.commit()
    journal = await a_journal(tmp_path)
    loaded = await journal.load()
    intent = replace(an_order().intent, take_profit_percent=None, time_limit_minutes=None)
    assert loaded.orders == (an_order(intent=intent),)
    assert loaded.positions == (a_position(take_profit_percent=None, time_limit_minutes=None),)
    assert loaded.exits == ()
    await journal.append([ExitRecord(state=an_exit_state(), time_ms=NOW)])
    assert (await journal.load()).exits == (an_exit_state(),)
    await journal.close()


@pytest.mark.failure("JRN-04")
@pytest.mark.parametrize(
    "name", ["waves", "signals", "orders", "fills", "positions", "state", "executions", "exits", "meta"]
)
async def test_a_schema_that_drifted_is_refused_at_start(tmp_path: Path, name: str) -> None:
    await (await a_journal(tmp_path)).close()
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.execute(f"ALTER TABLE {name} RENAME TO drifted")
    with pytest.raises(JournalUnwritable, match=f"no such table: {name}"):
        await a_journal(tmp_path)


async def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalUnwritable, match="cannot be opened"):
        await a_journal(tmp_path / "file")


async def test_a_long_reader_loses_no_record_and_delays_none(tmp_path: Path, ledger: SqliteJournal) -> None:
    with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM state").fetchall()
        for number in range(2 * database.CHECKPOINT_EVERY):
            ledger.append_nowait([StateRecord(key=str(number), value="1", time_ms=NOW)])
        await ledger.append([StateRecord(key="last", value="1", time_ms=NOW)])
    assert len((await ledger.load()).values) == 2 * database.CHECKPOINT_EVERY + 1


@pytest.mark.parametrize("sql", rows.WRITES)
async def test_no_write_scans_a_table(ledger: SqliteJournal, sql: str) -> None:
    plan = ledger._database._connection.execute(f"EXPLAIN QUERY PLAN {sql}", (None,) * sql.count("?"))
    assert not [step for *_, step in plan if "SCAN" in step]


async def test_reading_at_start_scans_only_what_is_open(ledger: SqliteJournal) -> None:
    for sql in (rows.KNOWN_ORDERS, rows.OPEN_POSITIONS, rows.SEEN_SIGNALS, rows.EXIT_STATES):
        plan = ledger._database._connection.execute(f"EXPLAIN QUERY PLAN {sql}", (None,) * sql.count("?"))
        assert all("INDEX" in step for *_, step in plan if "SCAN" in step), sql
