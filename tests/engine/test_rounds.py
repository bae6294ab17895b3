"""Rounds over everything that is held go step by step: a price that decides never waits for one to be over."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Self

import pytest
from msgspec.structs import replace

from core.domain.ids import InstrumentId, PositionId, Symbol
from core.domain.instrument import Instrument
from core.domain.position import Position, PositionKey
from core.domain.reconciliation import entry_differs
from core.domain.reports import PositionReport, Report
from core.engine import price_reads, reconciler
from core.engine.data_registry import DataRegistry
from core.engine.giving_way import AT_ONCE, FEW_IN_A_ROW, IN_A_ROW, TURNS, by_turns, give_way
from core.engine.order_manager import OrderManager
from core.engine.protection_manager import ProtectionManager
from core.engine.queries import PositionRow, Queries
from core.engine.risk_ledger import RiskLedger
from core.engine.screener import Screener
from core.wiring.rules import result_rules
from tests.builders import BTC, BTC_LONG, ETH, a_mass_status, a_position, a_position_report, an_instrument, an_intent
from tests.builders_config import some_settings
from tests.engine.asked import queries
from tests.engine.bench import BINANCE, Bench, a_bench
from tests.engine.registries import Stage
from tests.fakes.fake_notifier import FakeNotifier
from tests.fakes.virtual_loop import VirtualClock

MANY = [InstrumentId(BTC.venue, Symbol(f"C{n}/USDT:USDT")) for n in range(200)]


class Turns:
    """Counts what is done in each turn of the loop while something runs."""

    def __init__(self) -> None:
        self.done = 0
        self.most = 0
        self._ticker: asyncio.Task[None] | None = None

    def note(self) -> None:
        self.done += 1

    async def __aenter__(self) -> Self:
        self._ticker = asyncio.ensure_future(self._count())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0)
        assert self._ticker is not None
        self._ticker.cancel()

    async def _count(self) -> None:
        while True:
            before = self.done
            await asyncio.sleep(0)
            self.most = max(self.most, self.done - before)


class Held:
    """A book with positions, as far as the ledger asks it. `leaves` is gone once some others have been looked at."""

    def __init__(self, positions: Sequence[Position], leaves: Position | None = None) -> None:
        self._positions, self._leaves = {position.key: position for position in positions}, leaves
        self.left = False

    def positions(self) -> list[Position]:
        return list(self._positions.values())

    def position(self, key: PositionKey) -> Position | None:
        known = self._positions.get(key)
        return None if self.left and known is self._leaves else known

    def balances(self) -> dict[Any, Any]:
        return {}


class NoJournal:
    def append_nowait(self, records: object) -> None: ...


def _ledger(held: Held, mark: Any) -> RiskLedger:
    clock = VirtualClock()
    return RiskLedger(
        rules=result_rules(some_settings()),
        state=held,  # type: ignore[arg-type]
        quote_coins=frozenset(),
        mark=mark,
        journal=NoJournal(),  # type: ignore[arg-type]
        clock=clock,
        notifier=FakeNotifier(),
    )


def _positions() -> list[Position]:
    return [replace(a_position(at=100), id=PositionId(f"p{n}"), instrument=i) for n, i in enumerate(MANY)]


async def test_open_losses_are_valued_step_by_step() -> None:
    positions, turns = _positions(), Turns()

    def mark(_: InstrumentId) -> Decimal:
        turns.note()
        return Decimal(99)

    ledger = _ledger(Held(positions), mark)
    async with turns:
        await ledger.tick()
    assert (turns.done, turns.most) == (len(MANY), AT_ONCE)
    assert ledger.book.day.shares.keys() == {position.id for position in positions}


async def test_what_is_closed_during_the_round_is_not_valued_by_what_it_was() -> None:
    positions = _positions()
    held = Held(positions, leaves=positions[0])

    def mark(_: InstrumentId) -> Decimal:
        held.left = True
        return Decimal(99)

    ledger = _ledger(held, mark)
    await ledger.tick()
    assert ledger.book.day.shares.keys() == {position.id for position in positions[1:]}


async def test_levels_of_prices_are_looked_at_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, turns = Stage(), Turns()
    for instrument in MANY:
        stage.registry.watch(instrument)
        stage.market.tick(instrument.symbol, 100)
    note = DataRegistry._note_level

    def counted(self: DataRegistry, *args: Any) -> None:
        turns.note()
        note(self, *args)

    monkeypatch.setattr(DataRegistry, "_note_level", counted)
    async with turns:
        await stage.registry.look()
    assert turns.done == len(MANY)
    assert turns.most <= AT_ONCE


async def test_entries_are_compared_with_the_row_of_their_own_position_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[PositionKey] = []

    def counted(position: Position, report: Any) -> bool:
        compared.append(position.key)
        assert report.instrument == position.instrument
        return entry_differs(position, report)

    monkeypatch.setattr(reconciler, entry_differs.__name__, counted)
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.enter(an_intent("s2", instrument=ETH))
        await bench.settle()
        await bench.reconciler.reconcile(BINANCE)
        assert len(compared) == len(bench.state.positions()) == 2
        assert BTC_LONG in compared


async def test_minutes_of_many_symbols_are_asked_for_one_after_the_other_and_in_time() -> None:
    stage = Stage()
    for instrument in MANY:
        stage.registry.watch(instrument)
    asked: list[tuple[float, int]] = []
    async with stage.running():
        while len(stage.reads.asked) < len(MANY):
            await asyncio.sleep(0.1)
            asked.append((stage.clock.monotonic(), len([what for what, _ in stage.reads.asked if what == "candles"])))
    steps = [(at, after - before) for (_, before), (at, after) in itertools.pairwise(asked) if after > before]
    assert max(number for _, number in steps) <= 6
    assert steps[-1][0] - steps[0][0] <= price_reads.CANDLES_WITHIN


async def test_marks_are_sampled_step_by_step_and_each_instrument_is_judged_once() -> None:
    turns, wanted, clock = Turns(), list[InstrumentId](), VirtualClock()

    class Market:
        def quote(self, symbol: Symbol) -> None:
            turns.note()

    def may_be_entered(instrument: Instrument) -> bool:
        wanted.append(instrument.id)
        return True

    screener = Screener(
        reads={},
        markets={BTC.venue: Market()},  # type: ignore[dict-item]
        instruments={key: an_instrument(key) for key in MANY},
        wanted=may_be_entered,
        clock=clock,
        max_age=300,
    )
    async with turns:
        await screener.sample()
    assert (turns.done, turns.most) == (len(MANY), AT_ONCE)
    await screener.sample()
    assert wanted == MANY


@asynccontextmanager
async def holding_many(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[pytest.MonkeyPatch]:
    """Within, the book tells of one position two hundred times."""
    await bench.enter(an_intent())
    await bench.settle()
    many = bench.state.positions() * len(MANY)
    with monkeypatch.context() as patched:
        patched.setattr(bench.state, "positions", lambda: many)
        yield patched


async def test_the_status_line_is_made_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    turns, row = Turns(), Queries._position

    def counted(self: Queries, position: Position) -> PositionRow:
        turns.note()
        return row(self, position)

    monkeypatch.setattr(Queries, "_position", counted)
    async with a_bench() as bench, holding_many(bench, monkeypatch), turns:
        told = await queries(bench).status_in_steps(0.0)
    assert (turns.done, turns.most) == (len(MANY), AT_ONCE)
    assert len(told.positions) == len(MANY)


async def test_a_long_answer_is_read_by_turns() -> None:
    turns = Turns()

    def rows() -> Iterator[int]:
        for row in range(200):
            turns.note()
            yield row

    async with turns:
        assert await by_turns(rows()) == list(range(200))
    assert turns.most == IN_A_ROW


async def test_what_is_decided_meanwhile_goes_before_the_rest_of_a_long_answer() -> None:
    read: list[int] = []

    def rows() -> Iterator[int]:
        for row in range(200):
            read.append(row)
            if row == 3:
                give_way()
            yield row

    reading = asyncio.ensure_future(by_turns(rows()))
    for _ in range(TURNS):
        await asyncio.sleep(0)
        assert len(read) <= 4
    assert len(await reading) == 200


async def test_a_large_picture_of_the_venue_is_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A price that decided came after all of it, some milliseconds late."""
    async with a_bench() as bench:
        rows = tuple(a_position_report(instrument, amount=0) for instrument in MANY)
        bench.venue.mass_statuses.append(a_mass_status(positions=rows))
        taken: list[int] = []
        apply = OrderManager.apply

        def counted(self: OrderManager, reports: Sequence[Report]) -> None:
            taken.append(len(reports))
            apply(self, reports)

        monkeypatch.setattr(OrderManager, "apply", counted)
        await bench.reconciler.reconcile(BINANCE)
    assert sum(taken) == len(MANY)
    assert max(taken) == reconciler.TOLD_AT_ONCE


@pytest.mark.parametrize("round_of", ["guard", "compare"])
async def test_after_a_reading_every_position_is_looked_at_step_by_step(
    monkeypatch: pytest.MonkeyPatch, round_of: str
) -> None:
    """Two hundred guardians in one turn, each with its own look: a price that decided came ten milliseconds late."""
    turns, guard = Turns(), ProtectionManager.guard

    def guarded(self: ProtectionManager, key: PositionKey) -> None:
        turns.note()
        guard(self, key)

    def compared(position: Position, report: PositionReport) -> bool:
        turns.note()
        return entry_differs(position, report)

    async with a_bench() as bench, holding_many(bench, monkeypatch) as patched:
        if round_of == "guard":
            patched.setattr(ProtectionManager, "guard", guarded)
        else:
            patched.setattr(reconciler, "entry_differs", compared)
        async with turns:
            await bench.reconciler.reconcile(BINANCE)
    assert turns.done == len(MANY)
    assert turns.most == (FEW_IN_A_ROW if round_of == "guard" else IN_A_ROW)
