"""The journal: what is stored comes back whole, what must be durable is, and a refusing disk is survived."""

import asyncio
import itertools
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.ids import (
    Asset,
    ClientOrderId,
    InstrumentId,
    Leg,
    PositionId,
    SignalId,
    Symbol,
    TradeId,
    VenueName,
    VenueOrderId,
)
from core.domain.money import Price, Quantity
from core.domain.order import Order, OrderIntent, OrderStatus, OrderType, TriggerReference
from core.domain.position import Position
from core.domain.reports import FillReport, Source
from core.domain.signal import Side
from core.engine.ports import (
    ExecutionRecord,
    FillRecord,
    IntentRecord,
    Journal,
    OrderRecord,
    PositionRecord,
    Record,
    SignalMark,
    StateRecord,
    WaveMark,
)
from core.errors import JournalUnwritable, StartRefused
from core.storage import database, journal, migrations, rows
from core.storage.database import SEEN_SIGNALS_MS
from core.storage.journal import SqliteJournal
from core.storage.migrations import VERSION
from core.storage.writer import InlineExecutor, WriterThread

pytestmark = pytest.mark.may_block(reason="the journal runs inline, so that a test sees its file at once")

NOW = 1_789_000_000_000
BTC = InstrumentId(VenueName.BINANCE, Symbol("BTC/USDT:USDT"))


def an_intent(number: int = 1, **changes: object) -> OrderIntent:
    intent = OrderIntent(
        client_order_id=ClientOrderId(f"bw{number:030d}"),
        instrument=BTC,
        leg=Leg.ENTRY,
        attempt=0,
        signal_id=SignalId("s-1"),
        position_id=PositionId("p-1"),
        side=Side.BUY,
        type=OrderType.LIMIT_IOC,
        quantity=Quantity(Decimal("0.010")),
        reduce_only=False,
        price=Price(Decimal("60000.10")),
        trigger_price=Price(Decimal("1E-7")),
        trigger_reference=TriggerReference.CONTRACT_PRICE,
        decision_price=Price(Decimal("60000.1")),
        stop_loss_percent=Decimal("2.50"),
        wave_id="w-1",
    )
    return replace(intent, **changes)  # type: ignore[arg-type]


def an_order(number: int = 1, **changes: object) -> Order:
    order = Order(
        intent=an_intent(number),
        status=OrderStatus.PARTIALLY_FILLED,
        venue_order_id=VenueOrderId("283194212"),
        filled=Quantity(Decimal("0.004")),
        cost=Decimal("240.000400"),
        reported_filled=Quantity(Decimal("0.006")),
        trade_ids=frozenset({TradeId("2"), TradeId("10")}),
        venue_time_ms=NOW,
        detail="it's; DROP TABLE orders; -- \x00 ☃",
    )
    return replace(order, **changes)  # type: ignore[arg-type]


def a_position(**changes: object) -> Position:
    position = Position(
        id=PositionId("p-1"),
        instrument=BTC,
        side=Side.SELL,
        quantity=Quantity(Decimal("0.004")),
        entry_quantity=Quantity(Decimal("0.010")),
        entry_cost=Decimal("600.0010"),
        stop_loss_percent=Decimal(2),
        opened_ms=NOW,
        signal_id=SignalId("s-1"),
        realized=Decimal("-1.20"),
        fees=Decimal("0.24"),
        exit_quantity=Quantity(Decimal("0.006")),
        exit_cost=Decimal("361.2"),
    )
    return replace(position, **changes)  # type: ignore[arg-type]


def a_fill(trade: str = "t-1") -> FillReport:
    return FillReport(
        instrument=BTC,
        client_order_id=ClientOrderId("bw1"),
        venue_order_id=VenueOrderId("7"),
        trade_id=TradeId(trade),
        side=Side.BUY,
        quantity=Quantity(Decimal("0.004")),
        price=Price(Decimal("60000.1")),
        fee=Decimal("0.096"),
        fee_asset=Asset("USDT"),
        realized=Decimal("0E-8"),
        maker=True,
        venue_time_ms=NOW,
        source=Source.STREAM,
    )


def a_signal(**changes: object) -> SignalMark:
    mark = SignalMark(
        source="ws",
        signal_id="s-1",
        wave_id="w-1",
        venue="binance",
        symbol=BTC.symbol,
        side="buy",
        score="81.5",
        code="max_exposure",
        detail="exposure would be 1100",
        time_ms=NOW,
        values={"MAX_EXPOSURE_USD": "1000"},
    )
    return replace(mark, **changes)  # type: ignore[arg-type]


async def a_journal(folder: Path, **kwargs: int) -> SqliteJournal:
    opened = SqliteJournal(folder / "journal.db", InlineExecutor(), lambda: NOW, **kwargs)
    await opened.open()
    return opened


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    opened = await a_journal(tmp_path)
    yield opened
    await opened.close()


def table(folder: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "journal.db")) as connection:
        return list(connection.execute(sql))


def test_it_is_the_journal_the_engine_asks_for(tmp_path: Path) -> None:
    _: Journal = SqliteJournal(tmp_path / "journal.db", InlineExecutor(), lambda: NOW)


async def test_an_order_survives_a_restart_in_full(tmp_path: Path) -> None:
    first = await a_journal(tmp_path)
    await first.append([IntentRecord(intent=an_intent(), time_ms=NOW)])
    first.append_nowait([OrderRecord(order=an_order(), time_ms=NOW)])
    await first.close()
    second = await a_journal(tmp_path)
    (order,) = (await second.load()).orders
    await second.close()
    assert order == an_order()


DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=8)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(quantity=DECIMALS, price=st.none() | DECIMALS, trades=st.frozensets(TEXTS), detail=TEXTS)
def test_every_field_of_an_order_comes_back_as_it_was(
    quantity: Decimal, price: Decimal | None, trades: frozenset[str], detail: str
) -> None:
    order = an_order(
        intent=an_intent(quantity=quantity, price=price, stop_loss_percent=price),
        cost=quantity,
        trade_ids=trades,
        detail=detail,
    )
    statement = rows.statement_of(OrderRecord(order=order, time_ms=NOW)).otherwise
    assert statement is not None
    values = statement.values[:17] + statement.values[18:-1]
    assert rows.order_of(values) == order


@pytest.mark.parametrize(
    "value", [an_intent(), an_order(), a_position(closed_ms=1)], ids=["intent", "order", "position"]
)
def test_the_values_compared_above_differ_from_every_default(value: OrderIntent | Order | Position) -> None:
    """Else a field that is not stored at all would look as if it had come back."""
    same = [field.name for field in fields(value) if getattr(value, field.name) == field.default]
    assert same == []


async def test_an_intent_written_again_does_not_undo_what_became_of_it(ledger: SqliteJournal) -> None:
    await ledger.append([IntentRecord(intent=an_intent(), time_ms=NOW), OrderRecord(order=an_order(), time_ms=NOW)])
    await ledger.append([IntentRecord(intent=an_intent(), time_ms=NOW)])
    assert (await ledger.load()).orders == (an_order(),)


async def test_a_start_gets_working_orders_and_every_order_of_an_open_position(ledger: SqliteJournal) -> None:
    working = an_order(1, intent=an_intent(1, position_id=PositionId("p-9")))
    ended = an_order(2, status=OrderStatus.FILLED)
    forgotten = an_order(3, intent=an_intent(3, position_id=PositionId("p-8")), status=OrderStatus.CANCELED)
    closed = a_position(id=PositionId("p-8"), quantity=Quantity(Decimal(0)), closed_ms=NOW)
    await ledger.append([OrderRecord(order=order, time_ms=NOW) for order in (working, ended, forgotten)])
    await ledger.append([PositionRecord(position=position, time_ms=NOW) for position in (a_position(), closed)])
    state = await ledger.load()
    assert set(state.orders) == {working, ended}
    assert state.positions == (a_position(),)


@pytest.mark.parametrize("status", list(OrderStatus))
async def test_every_status_is_stored(ledger: SqliteJournal, status: OrderStatus) -> None:
    await ledger.append([OrderRecord(order=an_order(status=status), time_ms=NOW)])
    await ledger.append([PositionRecord(position=a_position(), time_ms=NOW)])
    assert (await ledger.load()).orders == (an_order(status=status),)


async def test_a_fill_told_twice_is_one_row(tmp_path: Path, ledger: SqliteJournal) -> None:
    await ledger.append([FillRecord(fill=a_fill(), time_ms=NOW), FillRecord(fill=a_fill(), time_ms=NOW + 1)])
    assert table(tmp_path, "SELECT quantity, realized, maker, source FROM fills") == [("0.004", "0E-8", 1, "stream")]


async def test_a_signal_replayed_in_a_later_wave_keeps_its_first_verdict(tmp_path: Path, ledger: SqliteJournal) -> None:
    await ledger.append([a_signal(code="")])
    await ledger.append([a_signal(code="", detail="filled"), a_signal(wave_id="w-2", code="already_seen")])
    assert table(tmp_path, "SELECT code, detail FROM signals") == [("", "filled")]
    assert (await ledger.load()).seen_signals == {("ws", "s-1")}


async def test_signals_are_remembered_for_seven_days(ledger: SqliteJournal) -> None:
    await ledger.append([a_signal(time_ms=NOW - SEEN_SIGNALS_MS - 1), a_signal(signal_id="s-2")])
    assert (await ledger.load()).seen_signals == {("ws", "s-2")}


async def test_waves_without_an_end_are_told_at_start(ledger: SqliteJournal) -> None:
    first = WaveMark(wave_id="w-1", source="ws", received_ms=NOW)
    await ledger.append([first, WaveMark(wave_id="w-2", source="ws", received_ms=NOW + 1)])
    await ledger.append([replace(first, finished_ms=NOW + 5)])
    await ledger.append([first])
    assert (await ledger.load()).unfinished_waves == ("w-2",)


async def test_values_and_executions_keep_the_latest(tmp_path: Path, ledger: SqliteJournal) -> None:
    for text in ('"active"', '"halted"'):
        await ledger.append([StateRecord(key="trading_state", value=text, time_ms=NOW)])
        await ledger.append([ExecutionRecord(client_order_id=ClientOrderId("c"), values={"s": text}, time_ms=NOW)])
    assert (await ledger.load()).values == {"trading_state": '"halted"'}
    assert table(tmp_path, "SELECT execution_values FROM executions") == [('{"s":"\\"halted\\""}',)]


async def test_only_the_owner_can_read_the_files(tmp_path: Path, ledger: SqliteJournal) -> None:
    await ledger.append([StateRecord(key="k", value="1", time_ms=NOW)])
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}  # noqa: ASYNC240
    assert modes.keys() >= {"journal.db", "journal.db-wal"}
    assert set(modes.values()) == {0o600}


# --- durability and order -------------------------------------------------------------------------------------------


async def test_a_durable_append_syncs_fully_and_others_do_not(
    ledger: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    write = database.Database.write

    def spy(self: database.Database, groups: list[list[Record]], *, durable: bool) -> list[str]:
        answer = write(self, groups, durable=durable)
        level = self._connection.execute("PRAGMA synchronous").fetchone()[0]
        seen.append(level == 2)
        return answer

    monkeypatch.setattr(database.Database, "write", spy)
    record = StateRecord(key="k", value="1", time_ms=NOW)
    await ledger.append([record])
    ledger.append_nowait([record])
    ledger._outbox._wake()
    await ledger.append([record])
    assert seen == [True, False, True]


async def test_concurrent_appends_share_a_commit(tmp_path: Path) -> None:
    thread = WriterThread("journal")
    shared = SqliteJournal(tmp_path / "journal.db", thread, lambda: NOW)
    await shared.open()
    gate = threading.Event()
    thread.submit(gate.wait)
    appends = [
        asyncio.ensure_future(shared.append([IntentRecord(intent=an_intent(number), time_ms=NOW)]))
        for number in range(50)
    ]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*appends)
    assert shared.statistics().commits == 1
    assert len((await shared.load()).orders) == 50
    await shared.close()
    thread.shutdown()


async def test_what_was_posted_before_a_durable_append_is_stored_with_it(tmp_path: Path, ledger: SqliteJournal) -> None:
    ledger.append_nowait([StateRecord(key="k", value="old", time_ms=NOW)])
    await ledger.append([StateRecord(key="k", value="new", time_ms=NOW)])
    assert table(tmp_path, "SELECT value FROM state") == [("new",)]


async def test_records_nobody_waits_for_are_stored_soon(tmp_path: Path, ledger: SqliteJournal) -> None:
    ledger.append_nowait([StateRecord(key="k", value="1", time_ms=NOW)])
    assert table(tmp_path, "SELECT * FROM state") == []
    async with asyncio.timeout(5):
        while ledger.statistics().backlog:  # noqa: ASYNC110 - the linger timer is what is waited for
            await asyncio.sleep(0.001)
    assert len(table(tmp_path, "SELECT * FROM state")) == 1


async def test_closing_stores_what_is_queued(tmp_path: Path) -> None:
    closing_journal = await a_journal(tmp_path)
    closing_journal.append_nowait([StateRecord(key="k", value="1", time_ms=NOW)])
    await closing_journal.close()
    assert len(table(tmp_path, "SELECT * FROM state")) == 1
    assert not closing_journal.writable
    with pytest.raises(JournalUnwritable):
        await closing_journal.append([])
    closing_journal.append_nowait([])
    assert closing_journal.statistics().dropped == 1


async def test_giving_up_the_wait_leaves_the_records_queued(tmp_path: Path) -> None:
    thread = WriterThread("journal")
    slow = SqliteJournal(tmp_path / "journal.db", thread, lambda: NOW)
    await slow.open()
    gate = threading.Event()
    thread.submit(gate.wait)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await slow.append([StateRecord(key="k", value="1", time_ms=NOW)])
    gate.set()
    await slow.close()
    thread.shutdown()
    assert len(table(tmp_path, "SELECT * FROM state")) == 1


# --- what goes wrong ------------------------------------------------------------------------------------------------


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
@pytest.mark.parametrize("name", ["waves", "signals", "orders", "fills", "positions", "state", "executions", "meta"])
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
    for sql in (rows.WORKING_ORDERS, rows.ORDERS_OF_OPEN_POSITIONS, rows.OPEN_POSITIONS, rows.SEEN_SIGNALS):
        plan = ledger._database._connection.execute(f"EXPLAIN QUERY PLAN {sql}", (None,) * sql.count("?"))
        assert all("INDEX" in step for *_, step in plan if "SCAN" in step), sql
