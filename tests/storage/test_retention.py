"""What was over long ago goes from the journal in small steps; what is needed stays, and no write looks at the rest."""

import asyncio
import sqlite3

import pytest
from msgspec.structs import replace

from core.domain.ids import PositionId, SignalId, TradeId
from core.domain.order import OrderStatus
from core.engine.records import (
    ExecutionRecord,
    FillRecord,
    HistoryOver,
    IntentRecord,
    OrderRecord,
    PositionRecord,
    Record,
    StateRecord,
    WaveMark,
)
from core.engine.retention import DAY_MS, KEPT_SINCE_KEY, STEP_SECONDS, keep_history
from core.storage import retention_rows, rows
from core.storage.journal import SqliteJournal
from tests.fakes.diary import Diary
from tests.fakes.fake_journal import FakeJournal
from tests.fakes.virtual_loop import VirtualClock, VirtualLoop
from tests.storage.records import NOW, a_fill, a_position, a_signal, an_order

pytestmark = pytest.mark.may_block("storage runs inline")

TABLES = ("orders", "fills", "executions", "positions", "signals", "waves")
OLD, NEW = NOW - 100 * DAY_MS, NOW - DAY_MS
CUT = NOW - 50 * DAY_MS


def a_trade(number: int, at_ms: int, *, closed: bool = True, ended: bool = True) -> list[Record]:
    """One signal with its wave, order, trade, execution and position."""
    order = an_order(number)
    position_id, wave_id = PositionId(f"p-{number}"), f"w-{number}"
    status = OrderStatus.FILLED if ended else OrderStatus.ACCEPTED
    intent = replace(order.intent, position_id=position_id, wave_id=wave_id, signal_id=SignalId(f"s-{number}"))
    order = replace(order, intent=intent, status=status, reported_filled=order.filled)
    fill = replace(a_fill(), client_order_id=order.client_order_id, trade_id=TradeId(str(number)))
    position = replace(a_position(), id=position_id, closed_ms=at_ms if closed else None)
    return [
        WaveMark(wave_id=wave_id, source="s", received_ms=at_ms, finished_ms=at_ms + 1),
        replace(a_signal(), signal_id=SignalId(f"s-{number}"), wave_id=wave_id, time_ms=at_ms),
        IntentRecord(intent=intent, time_ms=at_ms),
        OrderRecord(order=order, time_ms=at_ms),
        FillRecord(fill=fill, time_ms=at_ms),
        ExecutionRecord(client_order_id=order.client_order_id, values={"price": "1"}, time_ms=at_ms),
        PositionRecord(position=position, time_ms=at_ms),
    ]


def counted(ledger: SqliteJournal) -> dict[str, int]:
    read = ledger._database._connection.execute
    return {name: read(f"SELECT count(*) FROM {name}").fetchone()[0] for name in TABLES}


async def put(ledger: SqliteJournal, *records: Record) -> None:
    await ledger.append(records)


@pytest.mark.failure("JRN-02")
async def test_what_is_over_and_old_goes_and_all_else_stays(ledger: SqliteJournal) -> None:
    await put(ledger, *a_trade(1, OLD), *a_trade(2, NEW))
    await put(ledger, *a_trade(3, OLD, closed=False), *a_trade(4, OLD, ended=False))
    await put(ledger, WaveMark(wave_id="w-5", source="s", received_ms=OLD, finished_ms=None))
    await put(ledger, StateRecord(key="kept", value="1", time_ms=OLD))
    await put(ledger, HistoryOver(before_ms=CUT))
    state = await ledger.load()
    assert {order.client_order_id for order in state.orders} == {an_order(n).client_order_id for n in (3, 4)}
    assert [position.id for position in state.positions] == ["p-3"]
    assert state.unfinished_waves == ("w-5",)
    assert state.values == {"kept": "1"}
    left = counted(ledger)
    assert left["orders"] == left["fills"] == left["executions"] == 3, "the young, the open and the one under way"
    assert (left["positions"], left["signals"], left["waves"]) == (2, 1, 2)
    before = counted(ledger)
    await put(ledger, HistoryOver(before_ms=CUT))
    assert counted(ledger) == before


@pytest.mark.failure("JRN-02")
async def test_a_step_takes_so_many_rows_and_no_more_whatever_there_is(ledger: SqliteJournal) -> None:
    most, many = retention_rows.MOST_REMOVED, 70
    for number in range(many):
        ledger.append_nowait(a_trade(number, OLD + number))
    await put(ledger, StateRecord(key="all", value="1", time_ms=NOW))
    for step in (1, 2, 3):
        changed = ledger._database._connection.total_changes
        await put(ledger, HistoryOver(before_ms=CUT))
        assert ledger._database._connection.total_changes - changed <= most * len(TABLES)
        assert set(counted(ledger).values()) == {max(0, many - step * most)}, "the same rows of each"


async def test_the_oldest_go_first(ledger: SqliteJournal) -> None:
    await put(ledger, *(record for n in range(120) for record in a_trade(n, OLD + 1_000 * ((n * 7) % 120))))
    await put(ledger, HistoryOver(before_ms=CUT))
    read = ledger._database._connection.execute
    left = [row[0] for row in read("SELECT intent_ms FROM orders ORDER BY intent_ms")]
    assert left == [OLD + 1_000 * n for n in range(retention_rows.MOST_REMOVED, 120)]


def _steps(connection: sqlite3.Connection, work: list[Record]) -> int:
    """How many instructions of SQLite these records take."""
    taken = 0

    def count() -> int:
        nonlocal taken
        taken += 1
        return 0

    connection.set_progress_handler(count, 1)
    try:
        for record in work:
            statement: rows.Statement | None = rows.statement_of(record)
            while statement is not None:
                connection.execute(statement.sql, statement.values)
                statement = statement.then
    finally:
        connection.set_progress_handler(None, 1)
    return taken


@pytest.mark.failure("JRN-02")
async def test_a_write_and_a_step_cost_the_same_however_much_there_is(ledger: SqliteJournal) -> None:
    """Counted in instructions of SQLite, which no other load changes; with nothing to take away for the step."""
    connection, costs = ledger._database._connection, []
    for more in (10, 90, 1_400):
        have = counted(ledger)["orders"]
        for number in range(more):
            ledger.append_nowait(a_trade(have + number, NEW))
        await put(ledger, StateRecord(key="all", value="1", time_ms=NOW))
        new = a_trade(have + more, NEW)
        costs.append((_steps(connection, new), _steps(connection, [HistoryOver(before_ms=CUT)])))
    assert len(set(costs)) == 1, costs


def test_steps_follow_each_other_and_the_day_until_which_all_went_is_kept() -> None:
    journal = FakeJournal(Diary())

    async def live() -> int:
        clock = VirtualClock()
        task = asyncio.create_task(keep_history(journal, 30, clock), name="retention")
        await asyncio.sleep(3.5 * STEP_SECONDS)
        task.cancel()
        return clock.now_ms()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        now_ms = runner.run(live())
    before = (now_ms // DAY_MS - 30) * DAY_MS
    kept, *steps = journal.posted
    assert isinstance(kept, StateRecord)
    assert (kept.key, kept.value) == (KEPT_SINCE_KEY, str(before))
    assert steps == [HistoryOver(before_ms=before)] * 4
