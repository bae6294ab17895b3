"""Pause, reduce and panic in the middle of things (RSK-11)."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from core.domain.ids import Leg, VenueName
from core.domain.order import OrderStatus
from core.domain.risk import TradingState
from core.domain.standing import Standing
from core.domain.verdict import Reason
from tests.builders import (
    BTC,
    ETH,
    a_signal,
    an_intent,
)
from tests.catalogue.risk import (
    commands,
    denied,
    kept,
)
from tests.engine.bench import BINANCE, a_bench

pytestmark = pytest.mark.may_block("simulation runs storage inline")


# --- RSK-11 ----------------------------------------------------------------------------------------------------------


@pytest.mark.failure("RSK-11")
@pytest.mark.parametrize("order", ["pause", "reduce", "panic"])
@pytest.mark.parametrize("venue", [None, BINANCE])
async def test_no_entry_leaves_after_the_command_though_it_was_approved_before(
    order: str, venue: VenueName | None
) -> None:
    async with a_bench() as bench:
        bench.journal.seconds = 5.0  # the wave is approved and waits for its durable intent
        bench.waves.handle(bench.batch(a_signal(), a_signal("s2", instrument=ETH)))
        await bench.settle(1)
        assert bench.risk.reserved(BTC)
        await getattr(commands(bench), order)("me", venue)
        bench.journal.seconds = 0.0
        await bench.until(lambda: bool(bench.waves.reports))
        (report,) = bench.waves.reports
        assert not bench.venue.sent
        assert [leg.denied.reason for leg in report.legs if leg.denied] == [Reason.NOT_ACTIVE] * 2
        assert not bench.risk.reserved(BTC)
        assert not bench.state.all_live_orders()


@pytest.mark.failure("RSK-11")
async def test_after_a_pause_what_is_in_flight_is_protected_and_the_command_waits_for_the_answer() -> None:
    async with a_bench(latency=2.0) as bench:
        await bench.enter(an_intent())
        await bench.settle(0.5)
        began = bench.clock.monotonic()
        changed = await commands(bench).pause("me")
        assert (changed.unanswered, bench.clock.monotonic() - began) == (0, 1.5)
        await bench.until(lambda: bool(bench.venue.working_stops()))
        assert bench.position().quantity == 1


@pytest.mark.failure("RSK-11")
async def test_after_a_panic_what_is_in_flight_is_closed_however_late_it_fills() -> None:
    async with a_bench() as bench:
        bench.venue.script(Leg.ENTRY, bench.venue.lose_request)
        await bench.enter(an_intent())
        await bench.settle()
        await bench.enter(an_intent("open", instrument=ETH))
        await bench.settle(1)
        bench.venue.orders[an_intent().client_order_id] = late = bench.venue._register(
            an_intent(), OrderStatus.ACCEPTED
        )
        changed = await commands(bench).panic("me")
        assert [row.flat for row in changed.closed] == [True]
        assert bench.risk.standing == Standing(
            state=TradingState.HALTED, reason="panic", author="me", flatten=bench.risk.standing.flatten
        )
        await bench.venue.trade(late, Decimal(1))
        await bench.until(lambda: not bench.state.positions(), 10)
        await bench.until(lambda: not bench.risk.standing.flatten, 60)
        assert not any(bench.venue.positions_held.values())
        assert bench.risk.standing.state is TradingState.HALTED
        assert {intent.leg for intent in bench.venue.sent} <= {Leg.ENTRY, Leg.STOP, Leg.CLOSE}


@pytest.mark.failure("RSK-11")
async def test_a_panic_that_a_crash_interrupted_goes_on_after_the_restart() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle(1)
        bench.venue.always(Leg.CLOSE, bench.venue.lose_request)
        task = asyncio.create_task(commands(bench).panic("me"))
        await bench.settle(1)
        values, held = kept(bench), bench.state.positions()
        task.cancel()
    async with a_bench() as again:
        again.venue.positions_held[BTC] = Decimal(1)
        again.orders.restore([], held)
        again.risk.recall(values)
        standing = again.risk.restore(values)
        assert standing is not None
        again.risk.states.put(standing)
        await again.until(lambda: not again.state.positions())
        assert not any(again.venue.positions_held.values())
        assert again.risk.standing.state is TradingState.HALTED
        assert denied(again) is Reason.NOT_ACTIVE


async def test_a_pause_does_not_loosen_a_panic() -> None:
    async with a_bench() as bench:
        await commands(bench).panic("me")
        changed = await commands(bench).pause("me")
        assert changed.standing.state is TradingState.HALTED


async def test_a_halt_of_our_own_does_not_make_a_restart_forget_a_pause() -> None:
    async with a_bench() as bench:
        await commands(bench).pause("me")
        bench.risk.halt("an invariant broke")
        values = kept(bench)
    async with a_bench() as again:
        again.risk.recall(values)
        assert again.risk.restore(values) == Standing(state=TradingState.REDUCING, reason="paused", author="me")


async def test_the_end_of_the_kill_file_gives_no_pause_away() -> None:
    async with a_bench() as bench:
        await commands(bench).pause("me")
        bench.risk.states.set_killed(True)
        assert bench.risk.standing.state is TradingState.HALTED
        bench.risk.states.set_killed(False)
        assert (bench.risk.standing.state, bench.risk.standing.author) == (TradingState.REDUCING, "me")
