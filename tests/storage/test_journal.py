"""The journal: what is stored comes back whole, what must be durable is, and a refusing disk is survived."""

import asyncio
import threading
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from core.domain.exits import ExitState
from core.domain.ids import (
    ClientOrderId,
    PositionId,
)
from core.domain.money import ZERO, Quantity
from core.domain.order import Order, OrderIntent, OrderStatus
from core.domain.position import Position
from core.engine.records import (
    ExecutionRecord,
    ExitRecord,
    FillRecord,
    IntentRecord,
    Journal,
    OrderRecord,
    PositionRecord,
    Record,
    StateRecord,
    WaveMark,
)
from core.errors import JournalUnwritable
from core.storage import database, rows
from core.storage.database import SEEN_SIGNALS_MS
from core.storage.journal import SqliteJournal
from core.storage.writer import InlineExecutor, WriterThread
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

FILLED = an_order().filled
"""So that no trade of an order is missing."""

pytestmark = pytest.mark.may_block(reason="the journal runs inline, so that a test sees its file at once")


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


async def test_a_closed_position_comes_back_while_its_entry_may_open_it_again(tmp_path: Path) -> None:
    closed = a_position(quantity=Quantity(ZERO), closed_ms=NOW + 1)
    first = await a_journal(tmp_path)
    await first.append([IntentRecord(intent=an_intent(), time_ms=NOW), PositionRecord(position=closed, time_ms=NOW)])
    held = await first.load()
    await first.append([OrderRecord(order=an_order(status=OrderStatus.FILLED, reported_filled=FILLED), time_ms=NOW)])
    ended = await first.load()
    await first.close()
    assert (held.positions, held.reopenable) == ((), (closed,))
    assert ended.reopenable == ()


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
    intent_ms = len(rows._INTENT_COLUMNS)  # stands between the two groups of columns
    values = statement.values[:intent_ms] + statement.values[intent_ms + 1 : -1]
    assert rows.order_of(values) == order


@pytest.mark.parametrize(
    "value",
    [an_intent(), an_order(), a_position(closed_ms=1), an_exit_state()],
    ids=["intent", "order", "position", "exit state"],
)
def test_the_values_compared_above_differ_from_every_default(value: OrderIntent | Order | Position | ExitState) -> None:
    """Else a field that is not stored at all would look as if it had come back."""
    same = [field.name for field in fields(value) if getattr(value, field.name) == field.default]
    assert same == []


async def test_a_position_and_what_its_exits_remember_survive_a_restart_in_full(tmp_path: Path) -> None:
    first = await a_journal(tmp_path)
    begun = an_exit_state(peak=None, trailing=False, level=None)
    records: list[Record] = [PositionRecord(position=a_position(), time_ms=NOW), ExitRecord(state=begun, time_ms=NOW)]
    await first.append(records)
    assert (await first.load()).exits == (begun,)
    await first.append([ExitRecord(state=an_exit_state(), time_ms=NOW + 1)])
    await first.close()
    second = await a_journal(tmp_path)
    loaded = await second.load()
    await second.close()
    assert loaded.positions == (a_position(),)
    assert loaded.exits == (an_exit_state(),)


@given(prices=st.lists(DECIMALS, min_size=2, max_size=2), peak=st.none() | DECIMALS, trailing=st.booleans())
def test_every_field_of_an_exit_state_comes_back_as_it_was(
    prices: list[Decimal], peak: Decimal | None, *, trailing: bool
) -> None:
    entry, quantity = prices
    state = an_exit_state(entry_price=entry, entry_quantity=quantity, peak=peak, trailing=trailing, level=peak)
    statement = rows.statement_of(ExitRecord(state=state, time_ms=NOW))
    assert rows.exit_state_of(statement.values[:-1]) == state


async def test_exits_of_a_closed_position_leave_no_row(tmp_path: Path, ledger: SqliteJournal) -> None:
    other = PositionId("p-2")
    await ledger.append(
        [
            PositionRecord(position=a_position(), time_ms=NOW),
            PositionRecord(position=a_position(id=other), time_ms=NOW),
            ExitRecord(state=an_exit_state(), time_ms=NOW),
            ExitRecord(state=an_exit_state(position_id=other), time_ms=NOW),
            PositionRecord(position=a_position(quantity=Quantity(ZERO), closed_ms=NOW), time_ms=NOW),
        ]
    )
    assert [state.position_id for state in (await ledger.load()).exits] == [other]
    assert table(tmp_path, "SELECT position_id FROM exits") == [(other,)]


async def test_an_intent_written_again_does_not_undo_what_became_of_it(ledger: SqliteJournal) -> None:
    await ledger.append([IntentRecord(intent=an_intent(), time_ms=NOW), OrderRecord(order=an_order(), time_ms=NOW)])
    await ledger.append([IntentRecord(intent=an_intent(), time_ms=NOW)])
    assert (await ledger.load()).orders == (an_order(),)


async def test_a_start_gets_working_orders_and_every_order_of_an_open_position(ledger: SqliteJournal) -> None:
    working = an_order(1, intent=an_intent(1, position_id=PositionId("p-9")))
    ended = an_order(2, status=OrderStatus.FILLED)
    forgotten = an_order(
        3, intent=an_intent(3, position_id=PositionId("p-8")), status=OrderStatus.CANCELED, reported_filled=FILLED
    )
    closed = a_position(id=PositionId("p-8"), quantity=Quantity(Decimal(0)), closed_ms=NOW)
    await ledger.append([OrderRecord(order=order, time_ms=NOW) for order in (working, ended, forgotten)])
    await ledger.append([PositionRecord(position=position, time_ms=NOW) for position in (a_position(), closed)])
    state = await ledger.load()
    assert set(state.orders) == {working, ended}
    assert state.positions == (a_position(),)


async def test_an_ended_order_whose_trades_are_not_seen_yet_is_no_past(ledger: SqliteJournal) -> None:
    """Forgotten over a crash, what it bought would be somebody else's position."""
    intent = an_intent(position_id=PositionId("p-9"))
    filled = an_order(intent=intent, status=OrderStatus.FILLED, filled=Quantity(ZERO), reported_filled=intent.quantity)
    await ledger.append([OrderRecord(order=filled, time_ms=NOW)])
    assert (await ledger.load()).orders == (filled,)


async def test_ended_orders_of_a_position_that_may_open_again_are_remembered(ledger: SqliteJournal) -> None:
    """Their numbers are used up: another stop under one of their ids would be an order sent twice."""
    position = PositionId("p-9")
    entry = an_order(1, intent=an_intent(1, position_id=position), status=OrderStatus.PARTIALLY_FILLED)
    stop = an_order(2, intent=an_intent(2, position_id=position), status=OrderStatus.CANCELED, reported_filled=FILLED)
    await ledger.append([OrderRecord(order=order, time_ms=NOW) for order in (entry, stop)])
    closed = a_position(id=position, quantity=Quantity(ZERO), closed_ms=NOW)
    await ledger.append([PositionRecord(position=closed, time_ms=NOW)])
    assert set((await ledger.load()).orders) == {entry, stop}


async def test_a_start_gets_orders_oldest_first(ledger: SqliteJournal) -> None:
    """The newest stop of a position is the one that counts, and ids are in no order of time."""
    numbers = [5, 1, 9, 3]
    for at, number in enumerate(numbers):
        await ledger.append([IntentRecord(intent=an_intent(number), time_ms=NOW + at)])
    ended = an_order(1, intent=an_intent(1), status=OrderStatus.FILLED)
    await ledger.append([OrderRecord(order=ended, time_ms=NOW), PositionRecord(position=a_position(), time_ms=NOW)])
    assert [order.client_order_id for order in (await ledger.load()).orders] == [
        an_intent(number).client_order_id for number in numbers
    ]


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


@pytest.mark.failure("SEC-04")
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
