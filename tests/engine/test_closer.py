"""One close at a time for a position, repeated until it is gone, and never a second order beside a living one."""

import asyncio
from itertools import pairwise

import pytest

from core.alerts.notices import Notices
from core.domain.ids import Leg
from core.domain.order import OrderIntent
from core.engine.doubts import UNEXPLAINED_SECONDS
from core.engine.ports import About, Outcome, Rejected
from tests.builders import BTC, BTC_LONG, an_intent
from tests.engine.bench import Bench, a_bench
from tests.fakes.fake_notifier import FakeNotifier


async def opened(bench: Bench) -> None:
    await bench.enter(an_intent())
    await bench.settle()


async def test_two_closes_at_once_send_one_order_and_both_end_flat() -> None:
    async with a_bench(latency=0.2) as bench:
        await opened(bench)
        await bench.settle(1)
        await asyncio.gather(bench.closer.flatten(BTC_LONG, "first"), bench.closer.flatten(BTC_LONG, "second"))
        assert len(bench.venue.only(Leg.FLATTEN)) == 1
        assert bench.state.position(BTC_LONG) is None


async def test_closing_is_marked_before_anything_is_awaited() -> None:
    async with a_bench() as bench:
        await opened(bench)
        close = asyncio.ensure_future(bench.closer.flatten(BTC_LONG, "test"))
        await asyncio.sleep(0)
        assert bench.closer.closing(BTC_LONG)
        await close
        assert not bench.closer.closing(BTC_LONG)


async def test_closing_what_is_not_open_sends_nothing() -> None:
    async with a_bench() as bench:
        await bench.closer.flatten(BTC_LONG, "test")
        assert bench.venue.sent == []


async def test_a_refused_close_is_sent_again_under_the_next_id() -> None:
    async with a_bench() as bench:
        await opened(bench)
        bench.venue.script(Leg.FLATTEN, bench.venue.reject())
        await bench.closer.flatten(BTC_LONG, "test")
        first, second = bench.venue.only(Leg.FLATTEN)
        assert (first.attempt, second.attempt) == (0, 1)
        assert first.client_order_id != second.client_order_id
        assert [first.reduce_only, second.reduce_only] == [True, True]


async def test_people_are_called_when_two_attempts_fail_and_it_goes_on_slowly() -> None:
    async with a_bench() as bench:
        await opened(bench)
        bench.venue.script(Leg.FLATTEN, *[bench.venue.reject()] * 4)
        position = bench.position().id
        await bench.closer.flatten(BTC_LONG, "test")
        times = bench.venue.sent_at[-3:]
        assert [round(b - a, 1) for a, b in pairwise(times)] == [10.0, 15.0]
        (told,) = bench.notifier.critical()
        assert told == f"{BTC_LONG}: cannot be closed, still trying (test); look at the venue"
        assert f"{BTC_LONG}: closed after 5 attempts" in [text for _, text in bench.notifier.messages]
        assert [one for one in bench.notifier.conditions if one] == [f"+{position}", f"-{position}"]
        assert bench.state.position(BTC_LONG) is None


async def test_a_close_that_was_given_up_does_not_silence_the_alarm_of_the_next_position() -> None:
    """A command waits half a minute; what it had begun to tell nobody ends."""
    people = FakeNotifier()
    notices = Notices()
    notices.attach(people)
    async with a_bench() as bench:
        bench.closer._notifier = notices
        for key in ("first", "second"):
            await bench.enter(an_intent(key))
            await bench.settle(1)
            bench.venue.always(Leg.FLATTEN, bench.venue.reject())
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(30):
                    await bench.closer.flatten(BTC_LONG, "test")
            bench.venue._always.clear()
            await bench.closer.flatten(BTC_LONG, "test")
    assert len(people.critical()) == 2


async def test_a_position_the_venue_no_longer_has_is_read_again_and_booked_closed_without_a_loop() -> None:
    async with a_bench() as bench:
        await opened(bench)
        await bench.settle(UNEXPLAINED_SECONDS)  # by now the venue itself sees what we opened
        bench.venue.positions_held.clear()  # closed by somebody else, and nobody told us

        async def nothing(intent: OrderIntent) -> Outcome:
            return Rejected(code="-2022", detail="reduce only rejected", about=About.NOTHING_TO_REDUCE)

        bench.venue.always(Leg.FLATTEN, nothing)
        async with asyncio.timeout(10):
            await bench.closer.flatten(BTC_LONG, "test")
        assert bench.state.position(BTC_LONG) is None
        assert len(bench.venue.only(Leg.FLATTEN)) == 1
        assert bench.reconciler.discrepancies["position"] == 1


async def test_a_partial_close_is_followed_by_a_close_of_the_rest() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent(amount=3))
        await bench.settle()

        async def half(intent: OrderIntent) -> Outcome:
            order = bench.venue._register(intent, bench.order(an_intent(amount=3)).status)
            await bench.venue.trade(order, intent.quantity - 1)
            await bench.venue.end(order, type(order.status).EXPIRED)
            return await bench.venue.lose_request(intent)

        bench.venue.script(Leg.FLATTEN, half)
        await bench.closer.flatten(BTC_LONG, "test")
        assert [order.quantity for order in bench.venue.only(Leg.FLATTEN)] == [3, 1]
        assert not bench.venue.positions_held[BTC]


async def test_a_close_that_takes_long_is_waited_for_and_no_second_one_is_sent_beside_it() -> None:
    async with a_bench() as bench:
        await opened(bench)

        async def slow(intent: OrderIntent) -> Outcome:
            await bench.settle(20)
            return await bench.venue.behave(intent)

        bench.venue.script(Leg.FLATTEN, slow)
        await bench.closer.flatten(BTC_LONG, "test")
        assert len(bench.venue.only(Leg.FLATTEN)) == 1
        assert bench.state.position(BTC_LONG) is None
