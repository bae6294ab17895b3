"""What can come between a position and its stop where stops travel with entries and are moved."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

import pytest
from msgspec.structs import replace

from core.domain.ids import Leg
from core.domain.money import Price, Quantity
from core.domain.order import IllegalReport, Order, OrderIntent, OrderStatus, apply_fill, apply_status
from core.domain.signal import Side
from core.domain.wave import LegState
from core.engine.ports import About, Accepted, Departure, Outcome, Rejected, Unknown, VenueTraits
from tests.builders import BTC, ETH, a_fill, a_signal, a_status, an_intent, an_order
from tests.engine.test_attached_stops import BOTH, BYBIT_LIKE, OKX_LIKE, a_venue

S = OrderStatus


def a_whole_stop() -> Order:
    intent = replace(an_intent(leg=Leg.STOP, side=Side.SELL, trigger=98), whole_position=True)
    return an_order(intent=intent, status=S.ACCEPTED)


# --- stops of the position as a whole


def test_a_stop_of_the_whole_position_may_fill_more_than_it_was_sent_for() -> None:
    """The owner has bought more since: what it closes is what the position holds."""
    stop = a_whole_stop()
    filled = apply_fill(stop, a_fill(stop.intent, trade_id="t1", amount=3))
    assert not isinstance(filled, IllegalReport)
    told = apply_status(filled, a_status(stop.intent, S.FILLED, filled=Decimal(3)))
    assert not isinstance(told, IllegalReport)
    assert (told.status, told.filled) == (S.FILLED, 3)


def test_a_stop_of_the_whole_position_has_not_ended_where_its_first_size_is_filled() -> None:
    stop = a_whole_stop()
    filled = apply_fill(stop, a_fill(stop.intent, trade_id="t1", amount=1))
    assert not isinstance(filled, IllegalReport)
    assert filled.status is S.PARTIALLY_FILLED


def test_any_other_order_that_fills_more_than_was_ordered_is_illegal() -> None:
    order = an_order(intent=an_intent(leg=Leg.STOP, side=Side.SELL, trigger=98), status=S.ACCEPTED)
    assert isinstance(apply_fill(order, a_fill(order.intent, trade_id="t1", amount=3)), IllegalReport)
    told = a_status(order.intent, S.FILLED, filled=Decimal(3), conditional=False)
    assert isinstance(apply_status(order, told), IllegalReport)


# --- levels


def a_provisional_stop() -> Order:
    intent = an_intent(leg=Leg.STOP, side=Side.SELL, trigger=98)
    return an_order(intent=replace(intent, attached_to=an_intent().client_order_id), status=S.ACCEPTED)


def test_a_told_size_says_nothing_of_the_level() -> None:
    """Else the stop would count as moved to its fill price, and never be."""
    stop = a_provisional_stop()
    told = replace(a_status(stop.intent, S.ACCEPTED, conditional=True), quantity=Quantity(Decimal("0.4")))
    changed = apply_status(stop, told)
    assert not isinstance(changed, IllegalReport)
    assert (changed.size, changed.level) == (Decimal("0.4"), None)


def test_a_stop_that_turns_up_after_all_stands_where_the_venue_says() -> None:
    stop = replace(a_provisional_stop(), status=S.ABSENT)
    told = replace(a_status(stop.intent, S.ACCEPTED, conditional=True), trigger_price=Price(Decimal(91)))
    changed = apply_status(stop, told)
    assert not isinstance(changed, IllegalReport)
    assert (changed.status, changed.trigger_price) == (S.ACCEPTED, 91)


@BOTH
async def test_a_move_that_never_arrived_is_made_again(traits: VenueTraits) -> None:
    async with a_venue(traits) as bench:
        bench.venue.price = Decimal("100.5")
        bench.venue.amend_answers.append(Unknown(cause="time-out"))
        await bench.wave(a_signal("s"))
        await bench.settle(5)
        (stop,) = bench.venue.working_stops()
        assert stop.level == Decimal("98.5")
        assert len(bench.venue.amended) == 2


@BOTH
async def test_a_move_that_never_gets_an_answer_is_given_up(traits: VenueTraits) -> None:
    async with a_venue(traits) as bench:
        bench.venue.price = Decimal("100.5")
        bench.venue.amend_answers.extend([Unknown(cause="time-out")] * 50)
        await bench.wave(a_signal("s"))
        await bench.settle(20)
        assert len(bench.venue.amended) == 3
        assert bench.protection.covered(bench.position().key)


# --- deadlines


@BOTH
@pytest.mark.parametrize("deadline", [0.5, 1.0])
async def test_a_short_deadline_leaves_time_for_a_stop_of_its_own(traits: VenueTraits, deadline: float) -> None:
    async with a_venue(traits, latency=0.05) as bench:
        bench.protection._deadline = deadline
        bench.venue.attaches = False
        report = await bench.wave(a_signal("s"))
        assert report.legs[0].state is LegState.PROTECTED
        assert not bench.venue.only(Leg.FLATTEN)


async def test_a_move_that_hangs_does_not_keep_a_grown_position_uncovered() -> None:
    """A part has its own stop, the rest comes, and the venue does not answer the order to move that stop."""
    async with a_venue(OKX_LIKE, latency=0.05) as bench:
        bench.venue.partial = [Decimal("0.4"), Decimal("0.6")]
        bench.venue.pause = 0.5
        bench.venue.attaches = False
        bench.venue.amend_seconds = 1_000
        await bench.wave(a_signal("s"))
        left = bench.state.positions()
        assert not left or bench.protection.covered(left[0].key)
        naked = bench.venue.sent_at[-1] - bench.venue.sent_at[0]
        assert naked <= 0.6 + 3.0, "within the deadline of the moment it grew"
        assert not bench.venue.only(Leg.FLATTEN), "a stop beside it is less than a close"


async def test_a_move_to_the_fill_price_that_hangs_holds_nothing_up() -> None:
    async with a_venue(BYBIT_LIKE) as bench:
        bench.venue.price = Decimal("100.5")
        bench.venue.amend_seconds = 30
        report = await bench.wave(a_signal("s"))
        await bench.settle(100)
        assert report.legs[0].state is LegState.PROTECTED
        assert report.stages.protected == 100
        (stop,) = bench.venue.working_stops()
        assert stop.level == Decimal("98.5")


# --- what is left


async def test_the_stop_of_a_position_that_is_gone_is_asked_for_and_taken_away() -> None:
    """It came to be and was not told; resting on, it would close a part of the next position."""
    async with a_venue(OKX_LIKE) as bench:
        bench.venue.attaches = False
        await bench.enter_with_stop(a_signal("s"))
        (entry,) = bench.venue.only(Leg.ENTRY)
        made = bench.venue._register(bench.venue.attached.pop(entry.client_order_id), S.ACCEPTED)
        await bench.closer.flatten(bench.position().key, "test", leg=Leg.CLOSE)
        await bench.settle(5)
        assert made.status is S.CANCELED
        assert not bench.state.all_live_orders()


async def test_the_stop_of_an_entry_on_its_way_is_not_believed_absent_by_a_reading() -> None:
    async with a_venue(OKX_LIKE, latency=3.0) as bench:
        done = bench.start_wave(a_signal("s"))
        await bench.settle(0.5)
        bench.venue.latency = 0.05
        await bench.reconciler.reconcile(bench.venue.name)
        await bench.settle(2.0)
        stops = [o for o in bench.state.all_live_orders() if o.intent.leg is Leg.STOP]
        assert [stop.status for stop in stops] == [S.IN_FLIGHT]
        report = await done
        assert report.legs[0].state is LegState.PROTECTED
        assert not bench.sent_stops()


async def test_room_is_made_by_no_cancel_that_could_meet_the_next_position() -> None:
    """A stop of a whole position ends with it; its cancel, sent late, would take away the next one's."""
    async with a_venue(BYBIT_LIKE) as bench:
        await bench.wave(a_signal("s"))
        await bench.settle(1)
        bench.venue.tells = False  # how this one ends is not told
        position = bench.position()
        bench.orders.put_position(replace(position, quantity=Quantity(Decimal(0)), closed_ms=1))
        bench.venue.positions_held[BTC] = Decimal(0)
        bench.venue.tells = True
        bench.venue.attaches = False
        bench.venue.script(Leg.STOP, bench.venue.reject("x"))
        await bench.wave(a_signal("t", instrument=ETH))
        assert not bench.venue.cancelled


async def test_an_answer_with_too_few_rows_leaves_every_order_of_it_unknown() -> None:
    async with a_venue(BYBIT_LIKE) as bench:
        honest = bench.venue.submit_together

        async def short(departures: Sequence[Departure]) -> Sequence[Outcome]:
            return (await honest(departures))[:-1]

        bench.venue.submit_together = short  # type: ignore[method-assign]
        report = await bench.wave(a_signal("a"), a_signal("b", instrument=ETH))
        assert {leg.state for leg in report.legs} == {LegState.PROTECTED}
        assert len(bench.venue.sent) == 2


async def test_a_venue_that_refuses_every_move_is_not_asked_for_ever() -> None:
    async with a_venue(OKX_LIKE) as bench:
        await bench.wave(a_signal("s"))
        bench.venue.amend_answers.extend([Rejected(code="1", detail="no")] * 50)
        bench.orders.put_position(replace(bench.position(), quantity=Quantity(Decimal("0.4"))))
        bench.venue.positions_held[BTC] = Decimal("0.4")
        await bench.settle(60)
        assert len(bench.venue.amended) == 1
        assert bench.protection.covered(bench.position().key)


@pytest.mark.parametrize(
    "traits", [VenueTraits(), BYBIT_LIKE, OKX_LIKE], ids=["apart", "whole position", "by quantity"]
)
async def test_a_position_whose_stops_never_stay_is_closed(traits: VenueTraits) -> None:
    """Somebody takes every stop away as soon as it rests: another one each round trip would be no protection."""
    async with a_venue(traits, latency=0.05) as bench:
        bench.venue.attaches = False

        async def taken_away(intent: OrderIntent) -> Outcome:
            stop = bench.venue._register(intent, S.ACCEPTED)
            await bench.venue._tell([bench.venue._status(stop)])
            await bench.settle(0.01)
            await bench.venue.end(stop, S.CANCELED)
            return Accepted(reports=())

        bench.venue.always(Leg.STOP, taken_away)
        await bench.enter_with_stop(a_signal("s"))
        await bench.settle(10)
        assert not bench.state.positions()
        assert len(bench.sent_stops()) == 5
        assert any("gone again" in text for text in bench.notifier.critical())


async def test_stops_that_are_lost_now_and_then_are_simply_placed_again() -> None:
    async with a_venue(VenueTraits(), latency=0.05) as bench:
        await bench.wave(a_signal("s"))
        for _ in range(12):
            await bench.settle(20)
            (stop,) = bench.venue.working_stops()
            await bench.venue.end(stop, S.CANCELED)
            await bench.settle(1)
        assert bench.protection.covered(bench.position().key)
        assert not bench.venue.only(Leg.FLATTEN)


async def test_stops_that_follow_a_position_as_it_shrinks_are_not_lost() -> None:
    async with a_venue(VenueTraits(), latency=0.05) as bench:
        await bench.wave(a_signal("s"))
        for size in ("0.9", "0.8", "0.7", "0.6", "0.5", "0.4", "0.3"):
            bench.venue.positions_held[BTC] = Decimal(size)
            bench.orders.put_position(replace(bench.position(), quantity=Quantity(Decimal(size))))
            await bench.settle(0.5)
        assert bench.protection.covered(bench.position().key)
        assert not bench.venue.only(Leg.FLATTEN)


async def test_a_move_that_is_taken_and_does_not_hold_is_not_made_for_ever() -> None:
    """OKX takes an amendment before it is done, and tells on the stream that it was not."""
    async with a_venue(OKX_LIKE, latency=0.02) as bench:
        await bench.wave(a_signal("s"))
        made = bench.venue.amend_stop

        async def undone(
            order: Order, *, trigger_price: Price, quantity: Quantity, tightening: bool = False
        ) -> Outcome:
            outcome = await made(order, trigger_price=trigger_price, quantity=quantity, tightening=tightening)
            resting = bench.venue.orders[order.client_order_id]
            if order.intent.attached_to is not None:
                resting.level = resting.size = None
                asyncio.get_running_loop().call_later(0.01, bench.orders.apply, [bench.venue._status(resting)])
            return outcome

        bench.venue.amend_stop = undone  # type: ignore[method-assign]
        bench.venue.positions_held[BTC] = Decimal("0.4")
        bench.orders.put_position(replace(bench.position(), quantity=Quantity(Decimal("0.4"))))
        await bench.settle(20)
        assert len(bench.venue.amended) <= 5
        (stop,) = bench.sent_stops()
        assert stop.quantity == Decimal("0.4")
        assert bench.protection.covered(bench.position().key)


async def test_a_long_deadline_is_no_reason_to_wait_long_for_an_attached_stop() -> None:
    async with a_venue(OKX_LIKE) as bench:
        bench.protection._deadline = 60.0
        bench.venue.attaches = False
        await bench.wave(a_signal("s"))
        assert bench.venue.sent_at[-1] - bench.venue.sent_at[0] < 2


async def test_the_stop_of_an_entry_that_goes_on_is_not_asked_for_when_its_part_is_closed() -> None:
    """The rest of the entry may still bring it."""
    async with a_venue(OKX_LIKE, latency=0.02) as bench:
        bench.venue.partial = [Decimal("0.4"), Decimal("0.6")]
        bench.venue.pause = 5
        await bench.enter_with_stop(a_signal("s"))
        await bench.settle(0.5)
        await bench.closer.flatten(bench.position().key, "test", leg=Leg.CLOSE)
        await bench.settle(3)
        attached = [o for o in bench.state.all_live_orders() if o.intent.attached_to is not None]
        assert [order.status for order in attached] == [S.IN_FLIGHT]
        assert attached[0].client_order_id not in bench.inflight.unresolved


async def test_an_attached_stop_that_was_not_told_is_found_and_one_of_the_two_goes() -> None:
    async with a_venue(OKX_LIKE) as bench:
        bench.venue.attaches = False
        await bench.enter_with_stop(a_signal("s"))
        (entry,) = bench.venue.only(Leg.ENTRY)
        bench.venue._register(bench.venue.attached.pop(entry.client_order_id), S.ACCEPTED)
        await bench.settle(5)
        assert len(bench.sent_stops()) == 1, "it was not waited for"
        assert len(bench.venue.working_stops()) == 1
        assert bench.protection.covered(bench.position().key)


async def test_a_stop_is_not_moved_to_the_price_of_a_part_of_the_trades() -> None:
    """The venue calls the entry filled, and one trade of it is on its way yet."""
    async with a_venue(BYBIT_LIKE, latency=0.0) as bench:
        bench.venue.script(Leg.ENTRY, bench.venue.accept_silently)
        bench.waves.handle(bench.batch(a_signal("s")))
        await bench.settle(0.05)
        (entry,) = bench.venue.only(Leg.ENTRY)
        stop = bench.venue._register(bench.venue.attached.pop(entry.client_order_id), S.ACCEPTED)
        filled = a_status(entry, S.FILLED, filled=entry.quantity, conditional=False)
        first = a_fill(entry, trade_id="t1", amount=Decimal("0.4"), at=100)
        bench.orders.apply([first, filled, bench.venue._status(stop)])
        await bench.settle(0.05)
        bench.orders.apply([a_fill(entry, trade_id="t2", amount=Decimal("0.6"), at=101)])
        await bench.settle(0.05)
        assert [level for _, level, _ in bench.venue.amended] == [Decimal("98.6")], "2 % below 100.6, towards it"


async def test_a_move_that_never_left_is_made_again() -> None:
    async with a_venue(OKX_LIKE) as bench:
        bench.venue.price = Decimal("100.5")
        bench.venue.amend_answers.append(Rejected(code="50011", detail="too many requests", about=About.UNREACHED))
        await bench.wave(a_signal("s"))
        await bench.settle(5)
        (stop,) = bench.venue.working_stops()
        assert stop.level == Decimal("98.5")


async def test_a_move_that_is_answered_late_and_badly_is_made_again() -> None:
    async with a_venue(BYBIT_LIKE) as bench:
        bench.venue.price = Decimal("100.5")
        bench.venue.amend_seconds = 30
        bench.venue.amend_answers.append(Unknown(cause="time-out"))
        await bench.wave(a_signal("s"))
        await bench.settle(100)
        (stop,) = bench.venue.working_stops()
        assert stop.level == Decimal("98.5")


async def test_another_stop_follows_a_refused_move_at_once() -> None:
    async with a_venue(OKX_LIKE, latency=0.1) as bench:
        await bench.wave(a_signal("s"))
        await bench.settle(1)
        bench.venue.amend_answers.append(Rejected(code="1", detail="no"))
        bench.venue.positions_held[BTC] = Decimal("0.4")
        shrunk_at = bench.clock.monotonic()
        bench.orders.put_position(replace(bench.position(), quantity=Quantity(Decimal("0.4"))))
        await bench.settle(3)
        assert bench.venue.sent_at[-1] - shrunk_at <= 0.25, "an answer and a look-up"
