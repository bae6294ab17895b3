"""Exits against everything that can happen beside them: fills, refusals, re-openings, clocks, a stop of the program."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from msgspec.structs import replace

from core.domain.ids import Leg
from core.domain.money import Price, Quantity
from core.domain.order import Order, OrderStatus
from core.domain.profit_steps import ProfitStep
from core.domain.reports import Source
from core.engine.tightening import Tightened
from tests.builders import BTC, a_fill, a_lot, a_position_report, a_signal, an_instrument, exit_policy, trailing_rules
from tests.engine.bench import a_bench
from tests.engine.test_exit_engine import a_position

HALF_AT_ONE = (ProfitStep(percent=Decimal(1), share=Decimal(50)),)


async def test_a_move_of_a_position_that_is_gone_ends_at_once() -> None:
    async with a_position(trailing=trailing_rules()) as bench:
        gone = bench.position()
        await bench.closer.flatten(gone.key, "test")
        outcome = await asyncio.wait_for(bench.protection.tighten(gone, Price(Decimal(99))), 60)
        assert outcome is Tightened.NEEDLESS


async def test_a_tick_after_the_exits_have_stopped_starts_nothing() -> None:
    """The socket's reader runs longer than the exits do at the end."""
    async with a_position(steps=(ProfitStep(percent=Decimal(1), share=Decimal(100)),)) as bench:
        again = bench.exits_anew()
        running = asyncio.create_task(again.run())
        await bench.settle(0)
        running.cancel()
        await asyncio.wait([running])
        bench.market.marks[BTC.symbol] = 102
        again.on_tick(BTC)
        assert again.state_of(bench.position().key) is not None


async def test_a_rule_that_breaks_stops_trading_and_not_the_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_position(trailing=trailing_rules()) as bench:

        def breaks(*_: object) -> None:
            raise ArithmeticError("a rule")

        monkeypatch.setattr("core.engine.exit_engine.judge", breaks)
        bench.tick(103)
        await bench.settle(3)
        assert "a rule" in bench.risk.standing.reason
        assert bench.protection.all_covered(), "its stop stays"


async def test_refused_moves_are_no_refused_stops() -> None:
    """Three moves the venue would not make, then a part is closed: the stop becomes smaller, nothing is flattened."""
    async with a_position(
        trailing=trailing_rules(), steps=(ProfitStep(percent=Decimal(6), share=Decimal(50)),)
    ) as bench:
        bench.venue.always(Leg.STOP, bench.venue.reject("-4045"))
        for price in (103, "104.5", "105.9"):
            bench.tick(price)
            await bench.settle(45)
        assert bench.exits.counts.moves_refused >= 3
        whole = bench.position().quantity
        bench.venue.always(Leg.STOP, bench.venue.behave)
        bench.tick("106.1")
        await bench.settle(3)
        assert bench.position().quantity == whole / 2
        assert not bench.venue.only(Leg.FLATTEN)
        assert bench.protection.all_covered()


async def test_a_move_that_is_refused_again_and_again_is_tried_ever_less_often() -> None:
    async with a_position(trailing=trailing_rules()) as bench:
        bench.venue.always(Leg.STOP, bench.venue.reject("-4045"))
        bench.tick(103)
        for _ in range(30):
            bench.tick(103)
            await bench.settle(10)
        assert 3 <= bench.exits.counts.moves_refused <= 6
        bench.venue.always(Leg.STOP, bench.venue.behave)
        for _ in range(35):
            bench.tick(103)
            await bench.settle(10)
        assert bench.exits.counts.stops_moved == 1


async def test_a_close_does_not_take_the_position_that_was_opened_after_it() -> None:
    """The close and the next entry are told in one frame: what was decided is about the first position only."""
    async with a_position(steps=(ProfitStep(percent=Decimal(1), share=Decimal(100)),)) as bench:
        first = bench.position()
        bench.venue.script(Leg.CLOSE, bench.venue.hang)
        bench.tick(102)
        await bench.settle(0.5)
        (close,) = bench.venue.only(Leg.CLOSE)
        entry = bench.order(bench.venue.only(Leg.ENTRY)[0]).intent
        anew = replace(
            entry,
            client_order_id=type(entry.client_order_id)("again-e0"),
            position_id=type(entry.position_id)("again"),
        )
        bench.tick(100)
        bench.orders.register(Order(intent=anew, status=OrderStatus.IN_FLIGHT))
        bench.orders.apply(
            [
                a_fill(close, trade_id="c", amount=first.quantity, at=102, venue_time_ms=bench.clock.now_ms()),
                a_fill(anew, trade_id="e", amount=anew.quantity, at=100, venue_time_ms=bench.clock.now_ms()),
            ]
        )
        bench.venue.positions_held[BTC] = anew.quantity
        await bench.settle(3)
        assert len(bench.venue.only(Leg.CLOSE)) == 1
        assert bench.position().id == anew.position_id


@pytest.mark.failure("VAL-19")
async def test_a_part_never_leaves_what_cannot_be_closed() -> None:
    """Somebody else took most of it: what the step would leave is less than one order, so all of it goes."""
    listed = [an_instrument(BTC, lot=a_lot(minimum="0.1"))]
    async with a_bench(instruments=listed, exits=exit_policy(steps=HALF_AT_ONE)) as bench:
        await bench.wave(a_signal("s"))
        await bench.settle(1)
        left = bench.position().quantity / 2 + Decimal("0.05")
        bench.venue.positions_held[BTC] = left
        bench.orders.put_position(replace(bench.position(), quantity=Quantity(left)))
        await bench.settle(1)
        bench.tick("101.2")
        await bench.settle(3)
        assert not bench.state.positions()
        assert [intent.leg for intent in bench.venue.sent if intent.leg is not Leg.STOP] == [Leg.ENTRY, Leg.CLOSE]


async def test_a_clock_that_is_set_back_does_not_put_off_what_protects() -> None:
    async with a_position(stop_passed_ms=3_000) as bench:
        bench.tick("97.5")
        await bench.settle(1)
        bench.venue.offset_ms = -3_600_000
        for _ in range(8):
            bench.tick("97.5")
            await bench.settle(0.5)
        assert not bench.state.positions()


async def test_a_clock_that_was_set_back_does_not_hold_up_trailing() -> None:
    async with a_position(trailing=trailing_rules()) as bench:
        bench.tick(103)
        await bench.settle(1)
        assert bench.exits.counts.stops_moved == 1
        bench.venue.offset_ms = -3_600_000
        await bench.settle(31)
        bench.tick("103.5")
        await bench.settle(2)
        assert bench.exits.counts.stops_moved == 2


async def test_a_clock_that_jumps_ahead_makes_no_position_older() -> None:
    """Until the venue's clock is measured anew its offset is wrong by the jump."""
    async with a_position(time_limit_ms=3_600_000) as bench:
        bench.clock.skew_ms = 50 * 3_600_000
        await bench.exits.look_at_all()
        for _ in range(20):
            await bench.settle(0)
        assert not bench.venue.only(Leg.CLOSE)
        assert not bench.venue.only(Leg.FLATTEN)
        bench.venue.offset_ms = -50 * 3_600_000
        bench.risk.clocks.measured(BTC.venue)
        bench.tick("100.6")
        await bench.settle(1)
        assert bench.state.positions()


async def test_a_reading_that_agrees_ends_the_doubt_of_a_frame() -> None:
    async with a_position(steps=(ProfitStep(percent=Decimal(1), share=Decimal(100)),)) as bench:
        await bench.venue.tell_position(BTC, Decimal(-1))
        await bench.settle(1)
        held = bench.position().quantity
        at = bench.clock.now_ms() + 5
        bench.orders.apply([a_position_report(BTC, amount=held, venue_time_ms=at, source=Source.REST)])
        bench.tick(102)
        await bench.settle(2)
        assert not bench.state.positions()


async def test_a_part_that_is_closed_never_loosens_a_stop_nobody_remembers_moving() -> None:
    """The journal lost what the exits knew; the venue still has the stop where it was moved to."""
    async with a_position(trailing=trailing_rules()) as bench:
        bench.tick(103)
        await bench.settle(1)
        (moved,) = bench.venue.working_stops()
        assert bench.exits.counts.stops_moved == 1
        bench.protection.on_levels(lambda _: None)
        half = bench.position().quantity / 2
        bench.venue.positions_held[BTC] = half
        bench.orders.put_position(replace(bench.position(), quantity=Quantity(half)))
        await bench.settle(2)
        assert {stop.trigger_price for stop in bench.sent_stops()[2:]} == {moved.intent.trigger_price}


async def test_a_closer_stop_that_is_told_late_stays_and_the_newer_one_goes() -> None:
    """Its answer was lost, and so was what the exits knew: whichever stands closer is kept."""
    async with a_position(trailing=trailing_rules()) as bench:
        bench.venue.script(Leg.STOP, bench.venue.lose_request)
        bench.tick(103)
        await bench.settle(0.5)
        lost = bench.sent_stops()[-1]
        bench.protection.on_levels(lambda _: None)
        bench.market.age = 60.0
        (first,) = bench.venue.working_stops()
        await bench.venue.end(first, OrderStatus.CANCELED)
        await bench.settle(1)
        assert {stop.intent.trigger_price for stop in bench.venue.working_stops()} == {98}
        await bench.venue.execute(lost)
        await bench.settle(2)
        (kept,) = bench.venue.working_stops()
        assert kept.intent.client_order_id == lost.client_order_id
