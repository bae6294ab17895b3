"""Order and position state over whole sequences: booked once, to the cent, never silently naked (POS-08, 10, 14)."""

import asyncio
import sqlite3
from contextlib import closing
from decimal import Decimal
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.ids import Leg
from core.domain.order import OrderIntent, OrderStatus
from core.domain.signal import Side
from core.engine.ports import About, Outcome, Rejected
from core.engine.records import PositionRecord
from core.errors import Unreachable
from tests.builders import (
    BTC,
    BTC_LONG,
    a_fill,
    an_intent,
)
from tests.engine.bench import BINANCE, Bench, a_bench
from tests.fakes.virtual_loop import VirtualLoop
from tests.scenarios.worlds import AFTER_CRASHES, PAIRS, SimulatedWorld, World, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")

S = OrderStatus


# --- POS-08 ----------------------------------------------------------------------------------------------------------


@pytest.mark.failure("POS-08", "INV-1")
@pytest.mark.parametrize("order", list(permutations(["fill", "again", "status", "close", "reconcile"])))
async def test_own_close_and_the_venues_closure_book_a_position_once_in_every_order(order: tuple[str, ...]) -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle()
        (stop,) = bench.venue.working_stops()
        bench.venue.tells, bench.venue.price = False, Decimal(98)
        await bench.venue.fire(stop)
        status, fill = bench.venue._status(stop), stop.fills[0]

        async def nothing(_: OrderIntent) -> Outcome:
            return Rejected(code="-2022", detail="no", about=About.NOTHING_TO_REDUCE)

        bench.venue.always(Leg.FLATTEN, nothing)
        tasks: list[asyncio.Future[None]] = []
        for what in order:
            match what:
                case "close":
                    tasks += [asyncio.ensure_future(bench.closer.flatten(BTC_LONG, "test")) for _ in range(2)]
                    await asyncio.sleep(0)
                    assert bench.closer.closing(BTC_LONG) or bench.state.position(BTC_LONG) is None
                case "reconcile":
                    tasks.append(asyncio.ensure_future(bench.reconciler.reconcile(BINANCE)))
                case "status":
                    await bench.orders.take([status])
                case _:
                    await bench.orders.take([fill])
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        await bench.settle(5)
        records = [r.position for r in bench.journal.posted if isinstance(r, PositionRecord)]
        closed = [position for position in records if not position.open]
        assert [position.realized for position in closed] == [-2], "booked once, at its fill's price"
        assert bench.state.positions() == []
        assert len(bench.venue.only(Leg.FLATTEN)) <= 1


# --- POS-10 ----------------------------------------------------------------------------------------------------------


_OF_TRADES = ("realized_pnl", "commission")


@pytest.mark.failure("POS-10")
async def test_the_sum_over_positions_is_the_venues_income_to_a_cent(tmp_path: Path) -> None:
    """Fills in many parts, stops that fired, a deleveraging in profit."""
    async with SimulatedWorld(tmp_path) as world:
        await world.play(a_wave(PAIRS, at_ms=8_000), a_wave(PAIRS[::-1], at_ms=60_000) | _other_ids())
        await world.fault("slow_fill", count=-1, fraction=0.3, delay_ms=50)
        async with world.running(**AFTER_CRASHES) as daemon:
            for number in (1, 2):
                await daemon.wave(number)
                jump = 0.01 if number == 1 else -0.01
                await world.tell("fault", kind="gap_price", match={"symbol": "BTCUSDT"}, fraction=jump)
                await world.fault("adl", match={"symbol": "BTCUSDT"}, fraction=1.0)
                await _fire_every_stop(world)
                await world.until(lambda: _flat(world), seconds=30)
                await asyncio.sleep(3)
            await asyncio.sleep(50)  # whatever reconciliation has to add
        rows_of_income = world.venue.simulation.engine.income()
        income = sum((row.amount for row in rows_of_income if row.type.value in _OF_TRADES), Decimal(0))
        with closing(sqlite3.connect(daemon.data_dir / "journal.db")) as journal:
            rows = journal.execute("SELECT signal_id, realized, fees, closed_ms FROM positions").fetchall()
    assert len(rows) == 2 * len(PAIRS)
    assert len({signal for signal, *_ in rows if signal}) == len(rows), "each position has its own signal"
    assert all(closed for *_, closed in rows)
    booked = sum((Decimal(realized) - Decimal(fees) for _, realized, fees, _ in rows), Decimal(0))
    assert abs(booked - income) < Decimal("0.01")


async def _flat(world: World) -> bool:
    return not await world.held()


def _other_ids() -> dict[str, Any]:
    signals = a_wave(PAIRS[::-1])["signals"]
    return {"signals": [signal | {"id": f"second-{signal['id']}"} for signal in signals]}


async def _fire_every_stop(world: World) -> None:
    for row in (await world.ask("state"))["positions"]:
        beyond = Decimal(row["entry"]) * (Decimal("0.9") if row["side"] == "long" else Decimal("1.1"))
        await world.tell("price", symbol=row["symbol"], price=str(beyond.quantize(Decimal("0.0001"))))


# --- POS-14 ----------------------------------------------------------------------------------------------------------

EVENTS = (
    "reject next stop",
    "lose next stop",
    "hang next stop",
    "cancel stop",
    "expire stop",
    "fire stop",
    "fire stop without fill",
    "foreign reduce",
    "reconcile",
    "repeat everything",
    "mark falls",
    "mark recovers",
    "reads fail",
    "reads work",
    "wait",
)


@pytest.mark.failure("POS-14")
@settings(max_examples=60)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=3), st.lists(st.sampled_from(EVENTS), max_size=10))
def test_no_sequence_of_events_ends_without_a_stop_and_without_an_alarm(pieces: list[int], events: list[str]) -> None:
    async def story() -> None:
        async with a_bench(latency=0.02) as bench:
            bench.venue.partial, bench.venue.pause = [Decimal(n) for n in pieces], 0.3
            await bench.enter(an_intent(amount=sum(pieces)))
            for event in events:
                await _happen(bench, event)
                await bench.settle(0.1)
            await bench.settle(4.5)
            held = bench.venue.positions_held.get(BTC, Decimal(0))
            covered = [stop for stop in bench.venue.working_stops() if stop.intent.quantity >= held]
            assert not held or covered or bench.notifier.critical(), "a position without a stop and without an alarm"
            assert held >= 0

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(story())


async def _happen(bench: Bench, event: str) -> None:  # noqa: C901 - one case an event
    venue = bench.venue
    stop = next(iter(venue.working_stops()), None)
    match event:
        case "reject next stop":
            venue.script(Leg.STOP, venue.reject("-4045"))
        case "lose next stop":
            venue.script(Leg.STOP, venue.lose_request)
        case "hang next stop":
            venue.script(Leg.STOP, venue.hang)
        case "cancel stop" | "expire stop" if stop is not None:
            await venue.end(stop, S.CANCELED if event.startswith("cancel") else S.EXPIRED)
        case "fire stop" | "fire stop without fill" if stop is not None:
            await venue.fire(stop, fills=event == "fire stop")
        case "foreign reduce" if venue.positions_held.get(BTC, Decimal(0)) > 1:
            venue.positions_held[BTC] -= 1
            venue._numbers += 1
            by_hand = {"client_id": "web_1", "venue_order_id": "f1", "trade_id": f"t{venue._numbers}"}
            await bench.orders.take([a_fill(side=Side.SELL, amount=1, **by_hand)])  # type: ignore[arg-type]
        case "reconcile":
            bench.reconciler.ask(BINANCE)
        case "repeat everything":
            for order in list(venue.orders.values()):
                await bench.orders.take([*order.fills, venue._status(order)])
        case "mark falls" | "mark recovers":
            bench.market.default = Decimal(97 if event == "mark falls" else 100)
        case "reads fail" | "reads work":
            venue.error = Unreachable(BINANCE, "no route") if event == "reads fail" else None
        case _:
            await bench.settle(2)
