"""Stops that travel with their entries: no moment without one, moved once to the fill price, and never relied on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
from msgspec.structs import replace

from core.domain.ids import InstrumentId, Leg, Symbol, VenueName
from core.domain.money import Quantity
from core.domain.order import OrderIntent, OrderStatus
from core.domain.wave import LegState
from core.engine.ports import About, Attach, Outcome, Rejected, Unknown, VenueTraits
from core.engine.records import OrderRecord
from tests.builders import BTC, a_signal, an_instrument, risk_limits
from tests.engine.bench import Bench, a_bench, wave_rules

S = OrderStatus
BYBIT_LIKE = VenueTraits(attach=Attach.FIRST_FILL, whole_position_stops=True, amends_stops=True, entries_per_request=20)
OKX_LIKE = VenueTraits(attach=Attach.COMPLETE_FILL, amends_stops=True, entries_per_request=20)
BOTH = pytest.mark.parametrize("traits", [BYBIT_LIKE, OKX_LIKE], ids=["whole position", "by quantity"])


@asynccontextmanager
async def a_venue(traits: VenueTraits, latency: float = 0.1) -> AsyncIterator[Bench]:
    async with a_bench(latency=latency) as bench:
        bench.venue.traits = traits
        yield bench


@BOTH
async def test_an_entry_and_its_stop_are_there_after_one_round_trip(traits: VenueTraits) -> None:
    async with a_venue(traits) as bench:
        report = await bench.wave(a_signal("s"))
        (leg,) = report.legs
        assert leg.state is LegState.PROTECTED
        assert leg.unprotected_ms == 0
        assert not bench.sent_stops(), "nothing but the entry was sent"
        assert report.stages.protected == report.stages.acknowledged == 100


@BOTH
@pytest.mark.failure("UDS-06")
async def test_a_stop_that_is_told_before_its_entrys_fill_is_kept(traits: VenueTraits) -> None:
    """Orders and algo orders come over different sockets, in either order."""
    async with a_venue(traits) as bench:
        bench.venue.stop_first = 0.05
        report = await bench.wave(a_signal("s"))
        await bench.settle(5)
        assert report.legs[0].state is LegState.PROTECTED
        assert not bench.venue.cancelled
        assert not bench.sent_stops()
        assert len(bench.venue.working_stops()) == 1


async def test_a_stop_whose_entry_turns_out_to_have_bought_nothing_is_cancelled() -> None:
    async with a_venue(OKX_LIKE) as bench:
        bench.venue.partial = [Decimal("0.4")]
        await bench.wave(a_signal("s"))
        (entry,) = bench.venue.only(Leg.ENTRY)
        stop = bench.venue.attached.pop(entry.client_order_id)
        late = bench.venue._register(stop, S.ACCEPTED)
        await bench.venue._tell([bench.venue._status(late)])
        await bench.settle(5)
        assert bench.venue.cancelled == [stop.client_order_id], "its own stop covers what was bought"


@BOTH
async def test_a_provisional_stop_is_moved_once_to_the_fill_price(traits: VenueTraits) -> None:
    async with a_venue(traits) as bench:
        bench.venue.price = Decimal("100.5")
        await bench.wave(a_signal("s"))
        await bench.settle(5)
        position = bench.position()
        ((_, level, quantity),) = bench.venue.amended
        assert (level, quantity) == (Decimal("98.5"), position.quantity), "2 % below the fill, rounded towards it"
        (stop,) = bench.venue.working_stops()
        assert stop.level == level
        protection = bench.protection.protection(position.id)
        assert protection is not None
        assert protection.trigger_price == level
        assert not bench.venue.cancelled


@BOTH
async def test_a_stop_that_already_stands_right_is_left_alone(traits: VenueTraits) -> None:
    async with a_venue(traits) as bench:
        await bench.wave(a_signal("s"))
        await bench.settle(5)
        assert not bench.venue.amended


@BOTH
async def test_a_refused_move_leaves_the_provisional_stop_and_the_position(traits: VenueTraits) -> None:
    async with a_venue(traits) as bench:
        bench.venue.price = Decimal("100.5")
        bench.venue.amend_answers.append(Rejected(code="1", detail="no"))
        await bench.wave(a_signal("s"))
        await bench.settle(60)
        assert len(bench.venue.amended) == 1
        assert bench.protection.covered(bench.position().key)
        assert not bench.venue.only(Leg.FLATTEN)


@BOTH
async def test_a_move_without_an_answer_is_looked_up(traits: VenueTraits) -> None:
    async with a_venue(traits) as bench:
        bench.venue.price = Decimal("100.5")
        bench.venue.amend_answers.append(Unknown(cause="connection reset"))
        await bench.wave(a_signal("s"))
        await bench.settle(5)
        (stop,) = bench.venue.working_stops()
        assert [asked for _, asked in bench.venue.asked] == [stop.intent.client_order_id]


@BOTH
async def test_a_fill_level_the_market_has_passed_closes_the_position(traits: VenueTraits) -> None:
    """STP-05: a crossed level is never moved away from the market."""
    async with a_venue(traits) as bench:
        bench.venue.price = Decimal(110)
        await bench.wave(a_signal("s"))
        await bench.until(lambda: not bench.state.positions())
        assert len(bench.venue.only(Leg.FLATTEN)) == 1


@BOTH
async def test_a_stop_that_never_comes_to_be_is_replaced_within_the_deadline(traits: VenueTraits) -> None:
    async with a_venue(traits) as bench:
        bench.venue.attaches = False
        await bench.wave(a_signal("s"))
        (stop,) = bench.sent_stops()
        assert bench.protection.covered(bench.position().key)
        assert stop.trigger_price == Decimal(98)
        assert bench.venue.sent_at[-1] - bench.venue.sent_at[0] < 2
        assert not bench.venue.only(Leg.FLATTEN)


@BOTH
async def test_the_stop_of_an_entry_that_bought_nothing_is_forgotten(traits: VenueTraits) -> None:
    async with a_venue(traits) as bench:
        bench.venue.always(Leg.ENTRY, bench.venue.reject())
        await bench.wave(a_signal("s"))
        await bench.settle(30)
        assert not bench.state.all_live_orders()
        assert not bench.venue.asked, "there is nothing to find out"


async def test_a_part_of_an_entry_gets_a_stop_of_its_own_where_the_venue_waits_for_all_of_it() -> None:
    async with a_venue(OKX_LIKE) as bench:
        bench.venue.partial = [Decimal("0.4")]
        report = await bench.wave(a_signal("s"))
        (stop,) = bench.sent_stops()
        assert stop.quantity == Decimal("0.4")
        assert report.legs[0].state is LegState.PROTECTED
        attached = [o for o in bench.state.orders_of(bench.position().id) if o.intent.attached_to is not None]
        assert [order.status for order in attached] == [S.ABSENT]


async def test_a_part_of_an_entry_is_covered_at_once_where_stops_belong_to_positions() -> None:
    async with a_venue(BYBIT_LIKE) as bench:
        bench.venue.partial = [Decimal("0.4"), Decimal("0.2")]
        bench.venue.pause = 0.5
        report = await bench.wave(a_signal("s"))
        assert report.legs[0].unprotected_ms == 0
        assert not bench.sent_stops()
        assert bench.protection.covered(bench.position().key)


async def test_parts_that_become_whole_end_with_one_stop() -> None:
    """Own stops for the parts, then the attached one for all: the surplus goes, cover stays."""
    async with a_venue(OKX_LIKE, latency=0.02) as bench:
        bench.venue.partial = [Decimal("0.4"), Decimal("0.6")]
        bench.venue.pause = 0.5
        await bench.wave(a_signal("s"))
        await bench.settle(5)
        position = bench.position()
        (resting,) = bench.venue.working_stops()
        assert (resting.size or resting.intent.quantity) == position.quantity == Decimal(1)


async def test_a_stop_follows_a_position_that_was_partly_closed_by_being_moved() -> None:
    async with a_venue(OKX_LIKE) as bench:
        await bench.wave(a_signal("s"))
        (entry,) = bench.venue.only(Leg.ENTRY)
        await bench.settle(1)
        key = bench.position().key
        shrunk = bench.orders.state.position(key)
        assert shrunk is not None

        bench.venue.positions_held[BTC] = Decimal("0.4")
        bench.orders.put_position(replace(shrunk, quantity=Quantity(Decimal("0.4"))))
        await bench.settle(1)
        ((moved, _, quantity),) = bench.venue.amended
        assert quantity == Decimal("0.4")
        assert not bench.sent_stops()
        assert not bench.venue.cancelled
        assert bench.protection.covered(key)
        assert entry.client_order_id != moved


async def test_a_stop_that_cannot_be_moved_is_replaced_by_another() -> None:
    async with a_venue(OKX_LIKE) as bench:
        await bench.wave(a_signal("s"))
        key = bench.position().key

        bench.venue.amend_answers.extend([Rejected(code="1", detail="no")] * 3)
        bench.venue.positions_held[BTC] = Decimal("0.4")
        bench.orders.put_position(replace(bench.position(), quantity=Quantity(Decimal("0.4"))))
        await bench.settle(3)
        (stop,) = bench.sent_stops()
        assert stop.quantity == Decimal("0.4")
        assert bench.protection.covered(key)
        assert len(bench.venue.cancelled) == 1, "the old one went after the new one was confirmed"


@pytest.mark.failure("ORD-01", "INV-2")
async def test_an_entry_without_an_answer_is_looked_up_with_its_stop_and_sent_once() -> None:
    async with a_venue(BYBIT_LIKE) as bench:
        bench.venue.script(Leg.ENTRY, bench.venue.lose_answer)
        report = await bench.wave(a_signal("s"))
        assert report.legs[0].state is LegState.PROTECTED
        assert len(bench.venue.sent) == 1


async def test_entries_that_leave_together_go_in_as_few_requests_as_the_venue_takes() -> None:
    coins = [InstrumentId(VenueName.BINANCE, Symbol(f"C{n:02}/USDT:USDT")) for n in range(25)]
    listed = [an_instrument(coin) for coin in coins]
    rules = wave_rules(max_trades=25, max_positions=25)
    limits = risk_limits(max_positions=25)
    async with a_bench(instruments=listed, waves=rules, limits=limits, latency=0.1) as bench:
        bench.venue.traits = BYBIT_LIKE

        report = await bench.wave(*(a_signal(f"s{n}", instrument=coin) for n, coin in enumerate(coins)))
        assert bench.venue.together == [20, 5]
        assert {leg.state for leg in report.legs} == {LegState.PROTECTED}
        assert report.stages.protected == 100


async def test_a_refused_order_of_a_batch_costs_only_itself() -> None:
    async with a_venue(BYBIT_LIKE) as bench:

        async def refuse_one(intent: OrderIntent) -> Outcome:
            refused = Rejected(code="x", detail="no", about=About.OTHER)
            return refused if intent.instrument == BTC else await bench.venue.behave(intent)

        bench.venue.always(Leg.ENTRY, refuse_one)
        other = InstrumentId(VenueName.BINANCE, Symbol("ETH/USDT:USDT"))
        report = await bench.wave(a_signal("a", score=99), a_signal("b", instrument=other, score=1))
        assert [leg.state for leg in report.legs] == [LegState.REFUSED, LegState.PROTECTED]
        assert bench.venue.together == [2]


async def test_a_restart_knows_the_level_an_amendment_gave() -> None:
    """The venue's word on a resting stop is kept with the order, so that nothing is moved again."""
    async with a_venue(BYBIT_LIKE) as bench:
        bench.venue.price = Decimal("100.5")
        await bench.wave(a_signal("s"))
        await bench.settle(5)
        (stop,) = [o for o in bench.state.orders_of(bench.position().id) if o.intent.leg is Leg.STOP]
        kept = [record.order for record in bench.journal.posted if isinstance(record, OrderRecord)]
        mine = [order for order in kept if order.client_order_id == stop.client_order_id]
        assert mine[-1].level == Decimal("98.5")


async def test_a_stop_that_ends_with_its_position_is_not_cancelled_on_its_way_out() -> None:
    traits = replace(OKX_LIKE, stops_end_with_position=True)
    async with a_venue(traits) as bench:
        await bench.wave(a_signal("s"))
        (stop,) = bench.venue.working_stops()
        closing = asyncio.create_task(bench.closer.flatten(bench.position().key, "test"))
        await bench.until(lambda: not bench.state.positions())
        await bench.settle(0.3)
        await bench.venue.end(stop, OrderStatus.CANCELED)
        await closing
        await bench.settle(5)
        assert not bench.venue.cancelled


async def test_a_stop_that_should_have_ended_with_its_position_and_did_not_is_cancelled() -> None:
    traits = replace(OKX_LIKE, stops_end_with_position=True)
    async with a_venue(traits) as bench:
        await bench.wave(a_signal("s"))
        (stop,) = bench.venue.working_stops()
        await bench.closer.flatten(bench.position().key, "test")
        await bench.settle(2)
        assert bench.venue.cancelled == [stop.intent.client_order_id]
