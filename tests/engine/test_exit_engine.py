"""Exits as they happen: on the tick, once, by the one pipeline, and trailing stops without a gap."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from core.domain.aging import AgedRules
from core.domain.exits import ExitState, Funding, fresh_state
from core.domain.ids import Leg, SignalId
from core.domain.money import Price, Quantity
from core.domain.order import OrderStatus, OrderType
from core.domain.position import PositionKey
from core.domain.profit_steps import ProfitStep
from core.domain.risk import TradingState
from core.domain.signal import Side
from core.engine.exit_engine import NEVER_MS
from core.engine.giving_way import Way
from core.engine.ports import About, VenueTraits
from core.engine.records import ExitRecord
from tests.builders import BTC, a_signal, an_instrument, exit_policy, trailing_rules
from tests.builders import a_position as built
from tests.engine.bench import Bench, a_bench
from tests.engine.test_attached_stops import BYBIT_LIKE, OKX_LIKE

BINANCE_LIKE = VenueTraits()
EVERY_KIND = pytest.mark.parametrize(
    "traits", [BINANCE_LIKE, BYBIT_LIKE, OKX_LIKE], ids=["replaced", "whole position", "amended"]
)
BOTH_SIDES = pytest.mark.parametrize("side", list(Side))
MINUTE = 60_000


@asynccontextmanager
async def a_position(
    side: Side = Side.BUY, *, traits: VenueTraits = BINANCE_LIKE, latency: float = 0.0, **policy: Any
) -> AsyncIterator[Bench]:
    """Entered at 100, 10 units or so, stop 2 % away; the exits of `policy`."""
    async with a_bench(exits=exit_policy(**policy), latency=latency) as bench:
        bench.venue.traits = traits
        await bench.wave(a_signal("s", side=side))
        await bench.settle(1)
        assert bench.protection.all_covered()
        yield bench


async def gone(bench: Bench, seconds: int) -> None:
    """Until nothing is open any more, looked at twice a second."""
    for _ in range(2 * seconds):
        if not bench.state.positions():
            return
        await bench.settle(0.5)
    raise AssertionError(f"still open after {seconds} s")


def gained(side: Side, percent: str) -> Decimal:
    """The price at which a position of 100 has gained so much."""
    return 100 + side.sign * Decimal(percent)


@BOTH_SIDES
@EVERY_KIND
async def test_the_resting_stop_follows_the_price(side: Side, traits: VenueTraits) -> None:
    async with a_position(side, traits=traits, latency=0.1, trailing=trailing_rules()) as bench:
        bench.tick(gained(side, "1.4"))
        await bench.settle(1)
        (stop,) = bench.venue.working_stops()
        first = stop.level or stop.intent.trigger_price
        assert first == gained(side, "-2"), "trailing has not begun"
        bench.tick(gained(side, "3"))
        await bench.settle(1)
        (stop,) = bench.venue.working_stops()
        level = stop.level or stop.intent.trigger_price
        assert level is not None
        assert (level - gained(side, "2.4")) * side.sign >= 0
        assert bench.exits.counts.stops_moved == 1
        assert bench.protection.all_covered()


@pytest.mark.parametrize(("price", "looks"), [(103, 1), (97, 6)], ids=["a move of its stop", "a close"])
async def test_who_reads_prices_gives_way_to_what_one_of_them_decides(price: int, looks: int) -> None:
    """A stop that is passed and does not act has some seconds until its position is closed."""
    way = Way()
    async with a_position(trailing=trailing_rules()) as bench:
        bench.tick(100)
        assert not way.given
        for _ in range(looks):
            await bench.settle(1)
            bench.tick(price)
        assert way.given


@BOTH_SIDES
async def test_a_stop_is_replaced_without_a_moment_without_one(side: Side) -> None:
    async with a_position(side, latency=0.1, trailing=trailing_rules()) as bench:
        (old,) = bench.venue.working_stops()
        bench.tick(gained(side, "3"))
        while bench.exits.counts.stops_moved == 0:
            await bench.settle(0.01)
            assert bench.venue.working_stops()
        await bench.settle(1)
        (new,) = bench.venue.working_stops()
        assert new.intent.client_order_id != old.intent.client_order_id
        assert bench.venue.cancelled == [old.intent.client_order_id]
        assert new.intent.reduce_only


@EVERY_KIND
async def test_stops_move_once_in_thirty_seconds_unless_it_is_a_percent(traits: VenueTraits) -> None:
    async with a_position(traits=traits, trailing=trailing_rules()) as bench:
        bench.tick(103)
        await bench.settle(5)
        bench.tick("103.5")
        await bench.settle(5)
        assert bench.exits.counts.stops_moved == 1, "half a percent waits"
        await bench.settle(22)
        assert bench.exits.counts.stops_moved == 2, "until half a minute is over"
        bench.tick("105.5")
        await bench.settle(1)
        assert bench.exits.counts.stops_moved == 3, "more than a percent does not wait"


async def test_a_price_that_comes_back_through_the_wanted_level_closes_at_once() -> None:
    """The resting stop may lag behind for half a minute; the live price does not wait for it."""
    async with a_position(trailing=trailing_rules()) as bench:
        bench.tick(103)
        await bench.settle(5)
        bench.tick("103.9")
        bench.tick("103.3")
        await bench.settle(1)
        assert not bench.state.positions()
        (close,) = bench.venue.only(Leg.CLOSE)
        assert close.reason.startswith("trailing")
        assert close.reduce_only
        assert not bench.venue.working_stops(), "the stop went with its position"


async def test_a_move_the_price_overtook_closes_the_position() -> None:
    async with a_position(trailing=trailing_rules()) as bench:
        bench.venue.script(Leg.STOP, bench.venue.reject("-2021", About.WOULD_TRIGGER))
        bench.tick(103)
        await bench.settle(1)
        assert not bench.state.positions()
        assert [intent.reason.split(":")[0] for intent in bench.venue.only(Leg.CLOSE)] == ["trailing"]


async def test_a_refused_move_leaves_the_stop_where_it_is_and_is_tried_again_later() -> None:
    async with a_position(trailing=trailing_rules()) as bench:
        bench.venue.script(Leg.STOP, bench.venue.reject("-4045"))
        bench.tick(103)
        await bench.settle(5)
        (stop,) = bench.venue.working_stops()
        assert stop.intent.trigger_price == 98
        assert bench.exits.counts.moves_refused == 1
        bench.market.age = 0.0
        await bench.settle(8)
        (stop,) = bench.venue.working_stops()
        assert stop.intent.trigger_price is not None
        assert stop.intent.trigger_price > 102
        assert bench.protection.all_covered()


async def test_a_stop_that_is_placed_anew_is_not_looser_than_the_one_that_was() -> None:
    async with a_position(trailing=trailing_rules()) as bench:
        bench.tick(103)
        await bench.settle(1)
        (stop,) = bench.venue.working_stops()
        await bench.venue.end(stop, OrderStatus.CANCELED)
        await bench.settle(1)
        (again,) = bench.venue.working_stops()
        assert again.intent.trigger_price == stop.intent.trigger_price


@pytest.mark.failure("TRL-12", "INV-2")
async def test_each_step_of_a_take_profit_is_ordered_once() -> None:
    steps = (ProfitStep(percent=Decimal(1), share=Decimal(50)), ProfitStep(percent=Decimal(3), share=Decimal(50)))
    async with a_position(latency=0.1, steps=steps) as bench:
        whole = bench.position().quantity
        for _ in range(50):
            bench.tick("101.2")
            await bench.settle(0.02)
        await bench.settle(3)
        (part,) = bench.venue.only(Leg.TAKE_PROFIT)
        assert part.quantity == whole / 2
        assert bench.position().quantity == whole / 2
        (stop,) = bench.venue.working_stops()
        assert (stop.size or stop.intent.quantity) == whole / 2, "the stop shrank with it"
        bench.tick("103.1")
        await bench.settle(3)
        assert not bench.state.positions()
        assert len(bench.venue.only(Leg.TAKE_PROFIT)) + len(bench.venue.only(Leg.CLOSE)) == 2


@pytest.mark.failure("TRL-12", "INV-2")
async def test_a_step_whose_answer_is_lost_is_not_ordered_again() -> None:
    steps = (ProfitStep(percent=Decimal(1), share=Decimal(50)),)
    async with a_position(steps=steps) as bench:
        whole = bench.position().quantity
        bench.venue.script(Leg.TAKE_PROFIT, bench.venue.lose_answer)
        for _ in range(100):
            bench.tick("101.2")
            await bench.settle(0.1)
        assert len(bench.venue.only(Leg.TAKE_PROFIT)) == 1
        assert bench.position().quantity == whole / 2


@pytest.mark.failure("TRL-12", "INV-2")
async def test_a_step_that_was_refused_is_tried_again_and_not_each_tick() -> None:
    steps = (ProfitStep(percent=Decimal(1), share=Decimal(50)),)
    async with a_position(steps=steps) as bench:
        bench.venue.script(Leg.TAKE_PROFIT, bench.venue.reject("-1"), bench.venue.reject("-1"))
        for _ in range(40):
            bench.tick("101.2")
            await bench.settle(0.1)
        assert len(bench.venue.only(Leg.TAKE_PROFIT)) == 3
        assert len({intent.client_order_id for intent in bench.venue.only(Leg.TAKE_PROFIT)}) == 3


@pytest.mark.failure("TRL-16")
async def test_a_take_profit_at_its_level_becomes_a_market_order_when_it_is_not_filled() -> None:
    steps = (ProfitStep(percent=Decimal(1), share=Decimal(50)),)
    async with a_position(steps=steps, limit_profits=True) as bench:
        for _ in range(5):
            bench.venue.script(Leg.TAKE_PROFIT, bench.venue.expire)
        for _ in range(120):
            bench.tick("101.2")
            await bench.settle(0.1)
        sent = bench.venue.only(Leg.TAKE_PROFIT)
        assert [intent.type for intent in sent] == [OrderType.LIMIT_IOC] * 5 + [OrderType.MARKET]
        assert {intent.price for intent in sent[:5]} == {101}
        assert all(intent.reduce_only for intent in sent)


@BOTH_SIDES
async def test_the_stop_goes_to_breakeven(side: Side) -> None:
    async with a_position(side, breakeven_percent=Decimal("0.5"), fee_percent=Decimal("0.05")) as bench:
        bench.tick(gained(side, "0.6"))
        await bench.settle(1)
        (stop,) = bench.venue.working_stops()
        assert stop.intent.trigger_price is not None
        assert (stop.intent.trigger_price - gained(side, "0.1")) * side.sign >= 0


async def test_a_stop_at_breakeven_that_slips_a_little_is_not_one_of_a_row_of_stops() -> None:
    async with a_position(breakeven_percent=Decimal("0.5"), fee_percent=Decimal("0.05")) as bench:
        bench.tick("100.6")
        await bench.settle(1)
        (stop,) = bench.venue.working_stops()
        bench.venue.price = Decimal("99.95")
        await bench.venue.fire(stop)
        await bench.settle(1)
        closed = bench.state.last_closed(PositionKey(BTC, Side.BUY))
        assert closed is not None
        assert closed.realized < 0
        assert bench.risk.ledger.book.streak == 0


@pytest.mark.failure("TRL-08", "INV-12")
@BOTH_SIDES
async def test_the_time_limit_needs_no_price(side: Side) -> None:
    async with a_position(side, time_limit_ms=MINUTE) as bench:
        bench.prices.source = None
        opened = bench.position().opened_ms
        await gone(bench, 120)
        assert 0 <= bench.clock.now_ms() - opened - MINUTE <= 5_000
        (close,) = bench.venue.only(Leg.CLOSE)
        assert close.reason.startswith("time_limit")


@pytest.mark.failure("TRL-07")
async def test_a_normal_exit_waits_for_a_fresh_price_and_a_critical_one_does_not() -> None:
    steps = (ProfitStep(percent=Decimal(1), share=Decimal(100)),)
    async with a_position(steps=steps, critical_percent=Decimal(1)) as bench:
        bench.market.age = 6.0
        bench.tick("101.5")
        await bench.settle(3)
        assert bench.state.positions()
        assert bench.exits.counts.waited_for_price == 1
        bench.market.age = 8.0
        bench.tick("96")
        await bench.settle(1)
        assert not bench.state.positions()
        assert bench.exits.counts.critical_on_old_price == 1
        row = bench.execution_of(bench.venue.only(Leg.FLATTEN)[0])
        assert (row["rule"], row["price_source"]) == ("critical_loss", "websocket")


@pytest.mark.failure("TRL-10", "INV-12")
@pytest.mark.parametrize("state", [TradingState.HALTED, TradingState.REDUCING, TradingState.ACTIVE])
async def test_neither_holding_time_nor_trading_state_holds_back_what_protects(state: TradingState) -> None:
    async with a_position(critical_percent=Decimal(1), least_holding_ms=600 * MINUTE) as bench:
        bench.risk.set_state(state, reason="test", author="test")
        bench.tick("96")
        await bench.settle(1)
        assert not bench.state.positions()


async def test_halted_trading_holds_back_what_is_discretionary() -> None:
    steps = (ProfitStep(percent=Decimal(1), share=Decimal(100)),)
    async with a_position(steps=steps) as bench:
        bench.risk.set_state(TradingState.HALTED, reason="test", author="test")
        bench.tick(102)
        await bench.settle(3)
        assert bench.state.positions()
        bench.risk.set_state(TradingState.REDUCING, reason="test", author="test")
        await bench.settle(2)
        assert not bench.state.positions()


@pytest.mark.failure("TRL-11", "INV-1")
async def test_an_urgent_close_does_not_wait_for_a_take_profit_without_an_answer() -> None:
    steps = (ProfitStep(percent=Decimal(1), share=Decimal(50)),)
    async with a_position(steps=steps, critical_percent=Decimal(1)) as bench:
        bench.venue.script(Leg.TAKE_PROFIT, bench.venue.hang)
        bench.tick("101.2")
        await bench.settle(0.5)
        bench.tick("96")
        await bench.settle(1)
        assert not bench.state.positions()
        assert len(bench.venue.only(Leg.FLATTEN)) == 1


@pytest.mark.failure("TRL-14")
@pytest.mark.parametrize("trailing", [None, trailing_rules()], ids=["untrailed", "trailed"])
@BOTH_SIDES
async def test_an_old_position_is_let_go_at_breakeven_and_later_at_a_loss(side: Side, trailing: object) -> None:
    minutes = Decimal(1) / 60
    aged = AgedRules(
        from_hours=3 * minutes,
        grace_hours=8 * minutes,
        step_percent=Decimal(30),
        acceleration=Decimal("1.2"),
        most_percent=Decimal(10),
    )
    async with a_position(side, aged=aged, trailing=trailing) as bench:
        bench.market.marks[BTC.symbol] = bench.venue.price = gained(side, "-1")
        opened = bench.position().opened_ms
        await gone(bench, 1200)
        held = Decimal(bench.clock.now_ms() - opened) / MINUTE
        assert 13 <= held <= Decimal("13.1"), "two minutes past the grace 1 % is accepted"


async def test_a_funding_payment_is_avoided() -> None:
    async with a_position(funding_window_ms=600_000, funding_percent=Decimal("0.1")) as bench:
        due = bench.clock.now_ms() + 1_200_000
        bench.prices.fundings[BTC] = Funding(rate_percent=Decimal("0.15"), due_ms=due)
        await gone(bench, 1800)
        assert 0 <= due - bench.clock.now_ms() <= 600_000
        (close,) = bench.venue.only(Leg.CLOSE)
        assert close.reason.startswith("funding")


async def test_a_strategy_closes_what_it_is_asked_about() -> None:
    async with a_position() as bench:
        bench.exits.advise("mine", {PositionKey(BTC, Side.BUY): "the trend has turned"})
        await bench.settle(1)
        assert not bench.state.positions()
        (close,) = bench.venue.only(Leg.CLOSE)
        assert close.reason == "strategy: the trend has turned"


async def test_what_a_close_was_decided_from_is_kept_with_it() -> None:
    async with a_position(steps=(ProfitStep(percent=Decimal(1), share=Decimal(100)),)) as bench:
        bench.tick("101.5")
        await bench.settle(1)
        row = bench.execution_of(bench.venue.only(Leg.CLOSE)[0])
        assert (row["rule"], row["price"], row["profit"], row["price_source"]) == (
            "take_profit",
            "101.5",
            "1.5",
            "websocket",
        )
        (note,) = bench.audit.of("exit")
        assert note["rule"] == "take_profit"


@pytest.mark.failure("TRL-02")
async def test_peak_and_activation_are_written_down_in_the_step_they_are_learnt_in() -> None:
    async with a_position(trailing=trailing_rules()) as bench:
        bench.tick(103)
        newest = [record for record in bench.journal.posted if isinstance(record, ExitRecord)][-1].state
        assert (newest.peak, newest.trailing) == (103, True)
        assert newest.level is not None


@pytest.mark.failure("TRL-02", "TRL-03", "INV-7")
async def test_a_restart_goes_on_where_it_was() -> None:
    async with a_position(trailing=trailing_rules()) as bench:
        bench.tick(103)
        await bench.settle(1)
        position, state = bench.position(), bench.exits.state_of(bench.position().key)
        assert state is not None
        again = bench.exits_anew(state)
        assert again.state_of(position.key) == state
        bench.tick("102.9")
        bench.tick("101")
        kept = again.state_of(position.key)
        assert kept is not None
        assert (kept.peak, kept.trailing, kept.level) == (103, True, state.level)


@pytest.mark.failure("TRL-03", "INV-7")
@pytest.mark.parametrize(
    "foreign",
    [{"side": Side.SELL}, {"entry_price": Price(Decimal(90))}, {"entry_quantity": Quantity(Decimal(7))}],
    ids=["side", "entry", "quantity"],
)
async def test_what_does_not_belong_to_a_position_is_not_taken_over(foreign: dict[str, Any]) -> None:
    async with a_position(trailing=trailing_rules()) as bench:
        position = bench.position()
        stale = replace(
            ExitState(
                position_id=position.id,
                side=position.side,
                entry_price=position.entry_price,
                entry_quantity=position.entry_quantity,
                peak=Price(Decimal(150)),
                trailing=True,
                level=Price(Decimal(149)),
            ),
            **foreign,
        )
        again = bench.exits_anew(stale)
        assert again.state_of(position.key) == fresh_state(position)


@pytest.mark.failure("TRL-04", "INV-1", "TRL-15")
async def test_every_open_position_is_watched_once_and_none_that_is_gone() -> None:
    async with a_position(trailing=trailing_rules()) as bench:
        assert bench.prices.watched == [BTC]
        bench.exits.restore([])
        assert bench.prices.watched == [BTC], "a second beginning is none"
        await bench.closer.flatten(bench.position().key, "test")
        assert bench.prices.watched == []
        asked = bench.exits.counts.analyses
        bench.tick(105)
        await bench.settle(130)
        assert bench.exits.counts.analyses == asked
        assert not bench.notifier.critical()


@pytest.mark.failure("TRL-04", "INV-1")
async def test_a_position_nobody_watched_is_told_and_put_right_within_a_minute() -> None:
    async with a_position(trailing=trailing_rules()) as bench:
        bench.exits._drop(bench.exits._watches[bench.position().key])
        await bench.settle(61)
        assert bench.prices.watched == [BTC]
        assert any("not watching" in text for text in bench.notifier.critical())


@pytest.mark.failure("TRL-05")
async def test_watching_a_hundred_and_fifty_positions_asks_nobody() -> None:
    instruments = [an_instrument(BTC._replace(symbol=f"C{n}/USDT:USDT")) for n in range(150)]  # type: ignore[arg-type]
    async with a_bench(instruments=instruments, exits=exit_policy(trailing=trailing_rules())) as bench:
        asked = len(bench.venue.reads), len(bench.venue.sent)
        began = bench.clock.monotonic()
        positions = [
            replace(built(instrument.id, position_id=f"p{n}"), signal_id=SignalId("s"))
            for n, instrument in enumerate(instruments)
        ]
        for position in positions:
            bench.state.put_position(position)
        bench.exits.restore([])
        assert len(bench.prices.watched) == 150
        assert (len(bench.venue.reads), len(bench.venue.sent)) == asked
        assert bench.clock.monotonic() == began, "no wait either"


@pytest.mark.failure("POS-11")
async def test_a_venue_that_says_the_other_way_holds_back_all_but_what_protects() -> None:
    steps = (ProfitStep(percent=Decimal(1), share=Decimal(100)),)
    async with a_position(steps=steps) as bench:
        await bench.venue.tell_position(BTC, Decimal(-1))
        await bench.settle(0)
        bench.tick(102)
        assert not bench.venue.only(Leg.CLOSE)


async def test_a_position_opened_elsewhere_has_its_stop_and_no_more() -> None:
    async with a_bench(exits=exit_policy(time_limit_ms=1_000, trailing=trailing_rules())) as bench:
        bench.orders.put_position(built())
        await bench.settle(5)
        bench.tick(110)
        await bench.settle(5)
        assert bench.state.positions()
        assert bench.exits.counts.stops_moved == 0
        assert NEVER_MS > 1_000
