"""Trades of orders that are not ours (the owner, a liquidation, deleveraging): booked once, at their price."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from core.domain.ids import Leg
from core.domain.reports import FillReport, Origin, PositionSide, Source
from core.domain.signal import Side
from tests.builders import BTC_LONG, BTC_SHORT, NOW_MS, Number, a_fill, a_position, an_intent
from tests.engine.bench import BINANCE, Bench, a_bench


def a_foreign_fill(
    amount: Number,
    *,
    trade_id: str = "f1",
    side: Side = Side.SELL,
    at: Number = 90,
    client_id: str = "web_1",
    source: Source = Source.STREAM,
    position_side: PositionSide = PositionSide.BOTH,
    origin: Origin = Origin.ORDER,
    venue_time_ms: int = NOW_MS,
) -> FillReport:
    fill = a_fill(
        trade_id=trade_id,
        amount=amount,
        at=at,
        client_id=client_id,
        venue_order_id="web",
        side=side,
        source=source,
        venue_time_ms=venue_time_ms,
    )
    return replace(fill, position_side=position_side, origin=origin)


async def opened(bench: Bench, amount: int = 3) -> None:
    await bench.enter(an_intent(amount=amount))
    await bench.settle()


async def test_the_owners_hand_shrinks_the_position_at_its_real_price_and_the_stop_follows() -> None:
    async with a_bench() as bench:
        await opened(bench)
        bench.orders.apply([a_foreign_fill(1)])
        await bench.settle()
        position = bench.position()
        assert (position.quantity, position.realized) == (2, -10)
        (stop,) = bench.venue.working_stops()
        assert stop.intent.quantity == 2
        assert len(bench.audit.of("foreign_fill")) == 1


@pytest.mark.parametrize("origin", list(Origin))
async def test_a_position_closed_elsewhere_is_closed_and_its_stop_goes_with_it(origin: Origin) -> None:
    async with a_bench() as bench:
        await opened(bench)
        bench.orders.apply([a_foreign_fill(3, origin=origin)])
        await bench.settle()
        assert bench.state.positions() == []
        assert bench.venue.working_stops() == []
        assert bench.venue.only(Leg.FLATTEN) == bench.venue.only(Leg.CLOSE) == []
        closed = bench.state.last_closed(BTC_LONG)
        assert closed is not None
        assert closed.realized == -30


async def test_one_trade_told_twice_is_booked_once() -> None:
    async with a_bench() as bench:
        await opened(bench)
        bench.orders.apply([a_foreign_fill(1), a_foreign_fill(1)])
        bench.orders.apply([a_foreign_fill(1)])
        assert bench.position().quantity == 2
        assert len(bench.audit.of("foreign_fill")) == 1


async def test_a_trade_told_after_its_outcome_was_taken_over_is_not_booked_again() -> None:
    """The frame was slow: two readings of the venue had the smaller position before it came."""
    async with a_bench() as bench:
        await opened(bench)
        bench.venue.positions_held[BTC_LONG.instrument] = Decimal(2)
        traded = bench.clock.now_ms()
        await bench.reconciler.reconcile(BINANCE)
        assert bench.position().quantity == 2
        bench.orders.apply([a_foreign_fill(1, venue_time_ms=traded)])
        assert bench.position().quantity == 2
        bench.orders.apply([a_foreign_fill(1, trade_id="f2", venue_time_ms=bench.clock.now_ms() + 1)])
        assert bench.position().quantity == 1


async def test_readings_of_trades_book_nothing_foreign() -> None:
    """A restart reads old trades again; only positions told by two readings count then."""
    async with a_bench() as bench:
        await opened(bench)
        bench.orders.apply([a_foreign_fill(1, source=Source.REST)])
        assert bench.position().quantity == 3


@pytest.mark.parametrize(
    "fill",
    [
        a_foreign_fill(4),
        a_foreign_fill(1, side=Side.BUY),
        a_foreign_fill(1, side=Side.BUY, position_side=PositionSide.SHORT),
        a_foreign_fill(1, side=Side.BUY, position_side=PositionSide.LONG),
    ],
    ids=["turns the position round", "grows it", "closes the other direction", "grows it in hedge mode"],
)
async def test_what_is_no_reduction_of_ours_is_left_to_reconciliation(fill: FillReport) -> None:
    async with a_bench() as bench:
        await opened(bench)
        bench.orders.apply([fill])
        assert bench.position().quantity == 3


@pytest.mark.parametrize(("side", "named", "left"), [(Side.SELL, "LONG", (1, 2)), (Side.BUY, "SHORT", (2, 1))])
async def test_in_hedge_mode_a_trade_shrinks_the_direction_it_names(
    side: Side, named: str, left: tuple[int, int]
) -> None:
    async with a_bench() as bench:
        both = (a_position(amount=2), a_position(position_id="short", side=Side.SELL, amount=2))
        bench.orders.restore([], both)
        bench.orders.apply([a_foreign_fill(1, side=side, position_side=PositionSide[named])])
        held = [bench.state.position(key) for key in (BTC_LONG, BTC_SHORT)]
        assert tuple(0 if p is None else int(p.quantity) for p in held) == left


async def test_a_late_trade_of_a_closed_position_does_not_shrink_its_successor() -> None:
    async with a_bench() as bench:
        await opened(bench)
        gone = bench.clock.now_ms()
        bench.venue.positions_held.clear()
        await bench.reconciler.reconcile(BINANCE)
        await bench.settle(20)
        assert bench.state.positions() == []
        await bench.enter(an_intent("s2", amount=3))
        await bench.settle()
        bench.orders.apply([a_foreign_fill(3, venue_time_ms=gone)])
        assert bench.position().quantity == 3
