"""Exactly one confirmed stop of exactly the position's quantity, within the deadline, or no position."""

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.ids import Leg
from core.domain.order import OrderIntent, OrderStatus, TriggerReference
from core.domain.signal import Side
from core.engine.ports import About, Outcome
from tests.builders import BTC, BTC_LONG, a_position, an_intent
from tests.engine.bench import DEADLINE_SECONDS, Bench, a_bench
from tests.fakes.virtual_loop import VirtualLoop

S = OrderStatus


def flat(bench: Bench) -> bool:
    return bench.state.position(BTC_LONG) is None and not bench.venue.positions_held.get(BTC)


@pytest.mark.parametrize(("side", "level"), [(Side.BUY, 98), (Side.SELL, 102)])
async def test_a_fill_is_followed_by_a_reduce_only_stop_on_the_losing_side(side: Side, level: int) -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent(side=side))
        await bench.settle()
        (stop,) = bench.sent_stops()
        assert (stop.side, stop.trigger_price, stop.quantity, stop.reduce_only) == (side.opposite, level, 1, True)
        assert bench.protection.covered(BTC_LONG)
        protection = bench.protection.protection(bench.position().id)
        assert protection is not None
        assert protection.stop == stop.client_order_id


async def test_the_stop_is_measured_from_the_fill_and_not_from_the_price_it_was_decided_at() -> None:
    async with a_bench() as bench:
        bench.venue.price = Decimal(50)
        bench.market.default = 50
        await bench.enter(an_intent(decision_price=52))
        await bench.settle()
        assert [stop.trigger_price for stop in bench.sent_stops()] == [49]


async def test_time_without_a_stop_is_measured_by_the_venues_own_stamps() -> None:
    async with a_bench(latency=0.2) as bench:
        await bench.enter(an_intent())
        await bench.settle(1)
        protection = bench.protection.protection(bench.position().id)
        assert protection is not None
        assert protection.unprotected_ms == 200


async def test_partial_fills_end_with_exactly_one_stop_of_the_filled_quantity() -> None:
    async with a_bench(latency=0.05) as bench:
        bench.venue.partial, bench.venue.pause = [Decimal(1), Decimal(2), Decimal(3)], 0.02
        await bench.enter(an_intent(amount=10))
        await bench.settle(5)
        (stop,) = bench.venue.working_stops()
        assert stop.intent.quantity == bench.position().quantity == 6


async def test_a_new_stop_is_confirmed_before_the_old_one_is_cancelled() -> None:
    async with a_bench(latency=0.1) as bench:
        bench.venue.partial, bench.venue.pause = [Decimal(1), Decimal(1)], 1.0
        await bench.enter(an_intent(amount=2))
        await bench.settle(5)
        first, second = bench.sent_stops()
        assert bench.diary[-2:] == [("wire", second.client_order_id), ("cancel", first.client_order_id)]
        assert bench.order(second).status is S.ACCEPTED
        assert bench.order(first).status is S.CANCELED


async def test_a_cancel_without_an_answer_does_not_keep_the_next_fill_from_its_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_bench() as bench:
        bench.venue.partial, bench.venue.pause = [Decimal(1), Decimal(1), Decimal(1)], 1.0
        cancel = bench.venue.cancel

        async def slow(order):  # type: ignore[no-untyped-def]
            await bench.settle(60)
            return await cancel(order)

        monkeypatch.setattr(bench.venue, "cancel", slow)
        await bench.enter(an_intent(amount=3))
        await bench.settle(4)
        assert bench.protection.covered(BTC_LONG)
        assert bench.position().quantity == 3


async def test_three_rejections_flatten_with_one_alert() -> None:
    async with a_bench() as bench:
        bench.venue.always(Leg.STOP, bench.venue.reject("-4045"))
        await bench.enter(an_intent())
        await bench.settle(1)
        assert len(bench.sent_stops()) == 3
        assert flat(bench)
        assert len(bench.notifier.critical()) == 1
        assert len(bench.audit.of("flatten")) == 1


async def test_a_rejection_is_tried_again_with_a_new_id_at_the_same_level() -> None:
    async with a_bench() as bench:
        bench.venue.script(Leg.STOP, bench.venue.reject(), bench.venue.reject())
        await bench.enter(an_intent())
        await bench.settle(1)
        stops = bench.sent_stops()
        assert len({stop.client_order_id for stop in stops}) == 3
        assert {stop.trigger_price for stop in stops} == {98}
        assert bench.protection.covered(BTC_LONG)


@pytest.mark.failure("STP-06", "INV-6")
@pytest.mark.parametrize(
    ("mark", "expected"), [("100", ["98", "98", "98"]), ("98.1", ["98", "97.8", "97.7"])], ids=["far", "near"]
)
async def test_a_level_the_venue_calls_crossed_is_tried_further_away_then_flattened(
    mark: str, expected: list[str]
) -> None:
    """Three tries, each 2 + attempt ticks away from the trigger's reference, the last one with the other trigger."""
    async with a_bench() as bench:
        bench.market.default = Decimal(mark)
        bench.venue.always(Leg.STOP, bench.venue.reject("-2021", about=About.WOULD_TRIGGER))
        await bench.enter(an_intent())
        await bench.settle(1)
        stops = bench.sent_stops()
        assert [stop.trigger_price for stop in stops] == [Decimal(level) for level in expected]
        assert [stop.trigger_reference for stop in stops] == [
            TriggerReference.MARK_PRICE,
            TriggerReference.MARK_PRICE,
            TriggerReference.CONTRACT_PRICE,
        ]
        assert flat(bench)


@pytest.mark.parametrize("mark", [97, 98])
async def test_a_price_that_crossed_between_two_tries_flattens(mark: int) -> None:
    async with a_bench() as bench:

        async def refuse_and_move(intent: OrderIntent) -> Outcome:
            bench.market.default = mark
            return await bench.venue.reject("-2021", about=About.WOULD_TRIGGER)(intent)

        bench.venue.script(Leg.STOP, refuse_and_move)
        await bench.enter(an_intent())
        await bench.settle(1)
        assert len(bench.sent_stops()) == 1
        assert flat(bench)


@pytest.mark.failure("STP-05", "INV-6")
@pytest.mark.parametrize(("side", "mark"), [(Side.BUY, 97), (Side.SELL, 103)])
async def test_a_level_the_mark_price_has_crossed_flattens_and_is_never_re_based(side: Side, mark: int) -> None:
    async with a_bench() as bench:
        bench.market.default = mark
        await bench.enter(an_intent(side=side))
        await bench.settle(1)
        assert bench.sent_stops() == []
        assert flat(bench)


async def test_a_stop_without_an_answer_by_the_deadline_flattens() -> None:
    async with a_bench() as bench:
        bench.venue.always(Leg.STOP, bench.venue.hang)
        await bench.enter(an_intent())
        await bench.settle(DEADLINE_SECONDS - 0.1)
        assert not bench.venue.only(Leg.FLATTEN)
        await bench.settle(0.2)
        assert flat(bench)


async def test_slow_rejections_do_not_add_up_beyond_the_deadline() -> None:
    async with a_bench() as bench:

        async def slow(intent: OrderIntent) -> Outcome:
            await bench.settle(2)
            return await bench.venue.reject()(intent)

        bench.venue.always(Leg.STOP, slow)
        await bench.enter(an_intent())
        await bench.settle(DEADLINE_SECONDS + 0.2)
        assert flat(bench)


async def test_a_stop_that_vanishes_is_replaced() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle()
        (resting,) = bench.venue.working_stops()
        await bench.venue.end(resting, S.CANCELED)
        await bench.settle()
        (again,) = bench.venue.working_stops()
        assert again is not resting
        assert bench.protection.covered(BTC_LONG)


async def test_after_a_close_the_leftover_stop_is_cancelled() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle()
        await bench.closer.flatten(BTC_LONG, "test", leg=Leg.CLOSE)
        await bench.settle()
        assert bench.venue.working_stops() == []
        assert bench.state.all_live_orders() == []


async def test_a_stop_confirmed_after_the_close_is_cancelled_too() -> None:
    async with a_bench() as bench:

        async def late(intent: OrderIntent) -> Outcome:
            await bench.settle(10)
            return await bench.venue.behave(intent)

        bench.venue.script(Leg.STOP, late)
        await bench.enter(an_intent())
        await bench.settle(5)
        assert flat(bench)
        await bench.settle(20)
        assert bench.venue.working_stops() == []


@pytest.mark.failure("STP-19")
@pytest.mark.parametrize("end", [None, S.EXPIRED, S.REJECTED])
async def test_a_stop_that_fired_without_a_fill_flattens_within_a_second(end: OrderStatus | None) -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle()
        (resting,) = bench.venue.working_stops()
        assert resting.intent.reduce_only
        bench.market.default = 97
        await bench.venue.fire(resting, fills=False)
        if end is not None:
            await bench.venue.end(resting, end)
        await bench.settle(1.1)
        assert flat(bench)


async def test_a_stop_that_fired_and_filled_closes_the_position_and_sends_nothing_more() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle()
        (resting,) = bench.venue.working_stops()
        bench.venue.price = Decimal(98)
        await bench.venue.fire(resting)
        await bench.settle(5)
        assert flat(bench)
        assert [intent.leg for intent in bench.venue.sent] == [Leg.ENTRY, Leg.STOP]


async def test_a_position_found_at_start_gets_its_stop() -> None:
    async with a_bench() as bench:
        bench.orders.put_position(a_position())
        await bench.settle()
        assert bench.protection.covered(BTC_LONG)
        assert len(bench.sent_stops()) == 1


async def test_guarding_a_protected_position_a_hundred_times_sends_nothing() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle()
        sent = len(bench.venue.sent)
        for _ in range(100):
            bench.protection.guard(BTC_LONG)
            await bench.settle(0.01)
        assert len(bench.venue.sent) == sent
        assert bench.venue.cancelled == []


@pytest.mark.parametrize("end", [S.CANCELED, S.EXPIRED])
async def test_a_partly_filled_entry_that_ends_is_booked_and_protected_as_what_it_filled(end: OrderStatus) -> None:
    async with a_bench() as bench:
        bench.venue.partial = [Decimal("0.4")]
        await bench.enter(an_intent())
        await bench.settle()
        entry = bench.venue.orders[an_intent().client_order_id]
        await bench.venue.end(entry, end)
        await bench.settle()
        (stop,) = bench.venue.working_stops()
        assert stop.intent.quantity == bench.position().quantity == Decimal("0.4")


OUTCOMES = ("accept", "reject", "crossed", "lose_answer", "lose_request", "hang")


@settings(max_examples=60, deadline=None)
@given(
    pieces=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    answers=st.lists(st.sampled_from(OUTCOMES), max_size=6),
    tells=st.booleans(),
    pause=st.sampled_from([0.0, 0.03, 0.5]),
)
def test_whatever_the_venue_answers_a_position_is_covered_or_gone_by_the_deadline(
    pieces: list[int], answers: list[str], tells: bool, pause: float
) -> None:
    async def story() -> None:
        async with a_bench(latency=0.05) as bench:
            bench.venue.partial, bench.venue.pause = [Decimal(n) for n in pieces], pause
            bench.venue.tells = True
            bench.venue.script(Leg.STOP, *(step(bench, answer) for answer in answers))
            await bench.enter(an_intent(amount=sum(pieces)))
            await bench.settle(len(pieces) * (pause + 0.1))
            bench.venue.tells = tells
            await bench.settle(DEADLINE_SECONDS + 1.5)
            held = bench.venue.positions_held.get(BTC, Decimal(0))
            covering = [stop for stop in bench.venue.working_stops() if stop.intent.quantity == held]
            assert held == 0 or covering
            bench.venue.tells = True
            await bench.settle(120)
            held = bench.venue.positions_held.get(BTC, Decimal(0))
            assert held >= 0
            assert len(bench.venue.working_stops()) == (1 if held else 0)

    loop = VirtualLoop()
    try:
        loop.run_until_complete(story())
    finally:
        loop.close()


def step(bench: Bench, answer: str):  # type: ignore[no-untyped-def]
    venue = bench.venue
    return {
        "accept": venue.behave,
        "reject": venue.reject(),
        "crossed": venue.reject("-2021", about=About.WOULD_TRIGGER),
        "lose_answer": venue.lose_answer,
        "lose_request": venue.lose_request,
        "hang": venue.hang,
    }[answer]


@pytest.mark.failure("POS-12")
async def test_the_stop_follows_every_partial_close() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent(amount=4))
        await bench.settle()
        close = an_intent(leg=Leg.CLOSE, side=Side.SELL, amount=1)
        for attempt in range(3):
            part = an_intent(leg=Leg.CLOSE, side=Side.SELL, amount=1, attempt=attempt)
            await bench.orders.submit([bench.risk.approve_reducing(part)])
            await bench.settle()
            (stop,) = bench.venue.working_stops()
            assert stop.intent.quantity == bench.position().quantity == 3 - attempt
        assert close.reduce_only
        levels = [stop.trigger_price for stop in bench.sent_stops()]
        assert all(a == b for a, b in pairwise(levels))


@pytest.mark.failure("STP-02")
async def test_while_closes_are_refused_a_stop_is_tried_again_and_again() -> None:
    """The venue's stops hiccup for a second; then it takes no market order, outside its band of prices."""
    async with a_bench() as bench:
        refuse = bench.venue.reject("-2010")
        bench.venue.script(Leg.STOP, refuse, refuse, refuse)
        bench.venue.always(Leg.FLATTEN, bench.venue.reject("-4131"))
        await bench.enter(an_intent(amount=3))
        await bench.settle(10)
        (stop,) = bench.venue.working_stops()
        await bench.settle(120)
        assert bench.venue.working_stops() == [stop], "one is enough"
        assert bench.state.positions()
