"""An unknown outcome is resolved by asking, at growing intervals, and by nothing else."""

import asyncio
from decimal import Decimal
from itertools import pairwise

import pytest

from core.domain.ids import ClientOrderId, Leg, VenueName, VenueOrderId
from core.domain.order import OrderIntent, OrderStatus
from core.engine.inflight import FILLS_LOOK_BACK_MS
from core.engine.ports import Accepted, Outcome, Unknown
from core.errors import Unreachable
from tests.builders import BTC, BTC_LONG, NOW_MS, a_fill, a_status, an_intent, an_order
from tests.engine.bench import BINANCE, Bench, a_bench

S = OrderStatus
DOWN = Unreachable(VenueName.BINANCE, "no route")


async def send_unknown(bench: Bench, *, executed: bool) -> OrderIntent:
    intent = an_intent()
    bench.venue.tells = False
    bench.venue.script(Leg.ENTRY, bench.venue.lose_answer if executed else bench.venue.lose_request)
    await bench.enter(intent)
    return intent


async def test_an_executed_order_whose_answer_was_lost_is_found_and_its_trades_are_fetched() -> None:
    async with a_bench() as bench:
        intent = await send_unknown(bench, executed=True)
        await bench.settle(1)
        assert bench.order(intent).status is S.FILLED
        assert bench.position().quantity == 1
        assert bench.inflight.unresolved == set()
        assert bench.venue.only(Leg.ENTRY) == [intent]


async def test_the_stream_answers_before_any_question_is_asked() -> None:
    async with a_bench() as bench:
        bench.venue.script(Leg.ENTRY, bench.venue.lose_answer)
        await bench.enter(an_intent())
        await bench.settle(5)
        assert bench.venue.asked == []
        assert bench.position().quantity == 1


async def test_a_market_order_that_was_only_taken_is_asked_about_when_the_stream_stays_silent() -> None:
    """An answer that says no more than "taken" (OKX), and the word of the fill lost: the venue is asked at once."""

    async def take(intent: OrderIntent) -> Outcome:
        await bench.venue.execute(intent)
        return Accepted(reports=(a_status(intent, S.ACCEPTED),))

    async with a_bench() as bench:
        bench.venue.tells = False
        bench.venue.script(Leg.ENTRY, take)
        intent = an_intent()
        await bench.enter(intent)
        await bench.settle(1)
        assert bench.order(intent).status is S.FILLED
        assert bench.position().quantity == 1
        assert bench.inflight.unresolved == set()
        assert bench.venue.only(Leg.ENTRY) == [intent]


@pytest.mark.failure("REC-07", "INV-5")
async def test_an_order_that_never_arrived_is_absent_only_after_the_consistency_delay() -> None:
    async with a_bench() as bench:
        intent = await send_unknown(bench, executed=False)
        await bench.settle(9.9)
        assert bench.order(intent).status is S.IN_FLIGHT
        assert bench.risk.reserved(BTC)
        assert len(bench.venue.asked) >= 2
        await bench.settle(5)
        assert bench.order(intent).status is S.ABSENT
        assert not bench.risk.reserved(BTC)
        assert "fills" in bench.venue.reads


@pytest.mark.failure("REC-07", "INV-5")
async def test_questions_come_at_growing_intervals_and_nothing_is_ever_sent_again() -> None:
    async with a_bench() as bench:
        intent = await send_unknown(bench, executed=False)
        bench.venue.error = DOWN
        await bench.settle(120)
        times = [at for at, _ in bench.venue.asked]
        gaps = [round(b - a, 3) for a, b in pairwise(times)]
        assert gaps == sorted(gaps)
        assert gaps[-1] == 10
        assert bench.order(intent).status is S.IN_FLIGHT
        assert bench.venue.sent == [intent]
        assert len(bench.notifier.critical()) == 1


async def test_a_venue_that_fails_while_trades_are_compared_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look-up of trades failing once used to end the resolver, and the daemon with it."""
    async with a_bench() as bench:
        intent = await send_unknown(bench, executed=False)
        failures = [DOWN]
        fills = bench.venue.fills

        async def fail_once(*args):  # type: ignore[no-untyped-def]
            if failures:
                raise failures.pop()
            return await fills(*args)

        monkeypatch.setattr(bench.venue, "fills", fail_once)
        await bench.settle(30)
        assert failures == []
        assert bench.order(intent).status is S.ABSENT


async def test_an_order_is_not_absent_while_a_trade_of_nobody_could_be_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_bench() as bench:
        intent = await send_unknown(bench, executed=True)
        await bench.settle()
        hidden = bench.venue.orders.pop(intent.client_order_id)  # ended ids may be forgotten by the venue

        async def trades(*_: object):  # type: ignore[no-untyped-def]
            return [a_fill(intent, client_id="", venue_order_id=hidden.venue_order_id)]

        monkeypatch.setattr(bench.venue, "fills", trades)
        await bench.settle(60)
        assert bench.order(intent).status is S.IN_FLIGHT
        assert bench.risk.reserved(BTC)


async def test_a_trade_of_the_owners_hand_does_not_keep_an_order_in_doubt_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The venue knows whose order the trade was; without that answer the instrument would stay blocked."""
    async with a_bench() as bench:
        intent = await send_unknown(bench, executed=False)
        await bench.settle()
        bench.venue.foreign_orders[VenueOrderId("v77")] = ClientOrderId("web_1")

        async def trades(*_: object):  # type: ignore[no-untyped-def]
            return [a_fill(intent, client_id="", venue_order_id="v77")]

        monkeypatch.setattr(bench.venue, "fills", trades)
        await bench.settle(30)
        assert bench.order(intent).status is S.ABSENT
        assert not bench.risk.reserved(BTC)


async def test_a_venue_that_finds_the_order_late_revives_it_and_its_reservation() -> None:
    async with a_bench() as bench:
        intent = await send_unknown(bench, executed=False)
        await bench.settle(15)
        assert not bench.risk.reserved(BTC)
        bench.venue.tells = True
        order = bench.venue._register(intent, S.ACCEPTED)
        await bench.venue.end(order, S.ACCEPTED)
        await bench.settle()
        assert bench.risk.reserved(BTC)
        await bench.venue.trade(order, Decimal(1))
        await bench.settle()
        assert bench.position().quantity == 1
        assert not bench.risk.reserved(BTC)
        assert len(bench.venue.working_stops()) == 1


async def test_watching_twice_is_watching_once() -> None:
    async with a_bench() as bench:
        intent = await send_unknown(bench, executed=False)
        await bench.settle(0.1)
        bench.inflight.watch(bench.order(intent), "again")
        await bench.settle(0.3)
        assert len(bench.venue.asked) == 1


@pytest.mark.parametrize("executed", [True, False])
@pytest.mark.parametrize("leg", [Leg.ENTRY, Leg.STOP])
async def test_no_lost_answer_ends_in_a_second_order_or_a_naked_position(leg: Leg, executed: bool) -> None:
    async with a_bench(latency=0.1) as bench:
        lost = bench.venue.lose_answer if executed else bench.venue.lose_request
        bench.venue.script(leg, lost)
        await bench.enter(an_intent())
        await bench.settle(60)
        assert len(bench.venue.only(Leg.ENTRY)) == 1
        held = bench.venue.positions_held.get(BTC, Decimal(0))
        protected = [stop for stop in bench.venue.working_stops() if stop.intent.quantity == held]
        assert len(protected) == (1 if held else 0)
        assert len(bench.venue.working_stops()) == len(protected)


async def test_an_unknown_close_is_waited_for_and_not_sent_twice() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle()

        async def late(intent: OrderIntent) -> Outcome:
            await bench.venue.execute(intent)
            return Unknown(cause="time-out")

        bench.venue.tells = False
        bench.venue.script(Leg.FLATTEN, late)
        await bench.closer.flatten(BTC_LONG, "test")
        assert len(bench.venue.only(Leg.FLATTEN)) == 1
        assert bench.state.position(BTC_LONG) is None


async def test_people_hear_of_an_order_that_stays_unknown_and_of_what_became_of_it() -> None:
    async with a_bench() as bench:
        intent = await send_unknown(bench, executed=False)
        await bench.settle(30)
        texts = [text for _, text in bench.notifier.messages if intent.client_order_id in text]
        assert texts == [
            f"{BTC}: the outcome of entry {intent.client_order_id} is still unknown",
            f"{BTC}: entry {intent.client_order_id} is known again: absent, 0 filled",
        ]


# taken once, then forgotten


async def forgotten(intent: OrderIntent) -> Outcome:
    """Taken, cancelled by the venue without a trade, the word of it lost, and kept in no list any more."""
    return Accepted(reports=(a_status(intent, S.ACCEPTED, venue_order_id="v99"),))


@pytest.mark.failure("REC-07", "INV-1")
async def test_a_close_the_venue_took_and_forgot_holds_up_no_other() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle()
        bench.venue.script(Leg.CLOSE, forgotten)
        closing = asyncio.create_task(bench.closer.flatten(BTC_LONG, "time limit", leg=Leg.CLOSE))
        await bench.settle(9)
        assert len(bench.venue.only(Leg.CLOSE)) == 1, "it may still be found"
        await bench.settle(21)
        assert bench.state.positions() == []
        first, second = bench.venue.only(Leg.CLOSE)
        assert bench.order(first).status is S.CANCELED
        assert second.client_order_id != first.client_order_id
        await closing


@pytest.mark.failure("REC-07")
async def test_an_entry_the_venue_took_and_forgot_gives_its_slot_back() -> None:
    async with a_bench() as bench:
        bench.venue.script(Leg.ENTRY, forgotten)
        intent = an_intent()
        await bench.enter(intent)
        await bench.settle(55)
        assert bench.risk.reserved(BTC), "a look-up may be behind"
        await bench.settle(30)
        assert bench.order(intent).status is S.CANCELED
        assert not bench.risk.reserved(BTC)
        assert bench.venue.only(Leg.ENTRY) == [intent]


@pytest.mark.failure("REC-07")
async def test_what_an_order_traded_before_the_venue_forgot_it_is_booked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent long ago: its trades are looked for since the venue last spoke of it, not since somebody asked."""
    async with a_bench() as bench:
        intent, said_ms = an_intent(amount=3), NOW_MS - 7_200_000
        since: list[int] = []

        async def take(intent: OrderIntent) -> Outcome:
            return Accepted(reports=(a_status(intent, S.ACCEPTED, venue_order_id="v99", venue_time_ms=said_ms),))

        async def trades(_: object, since_ms: int):  # type: ignore[no-untyped-def]
            since.append(since_ms)
            return [a_fill(intent, amount=2, client_id="", venue_order_id="v99")]

        monkeypatch.setattr(bench.venue, "fills", trades)
        bench.venue.script(Leg.ENTRY, take)
        await bench.enter(intent)
        await bench.settle(12)
        assert since[0] == said_ms - FILLS_LOOK_BACK_MS
        assert bench.position().quantity == 2
        assert [stop.intent.quantity for stop in bench.venue.working_stops()] == [2]
        assert bench.order(intent).status is S.PARTIALLY_FILLED
        await bench.settle(60)
        assert (bench.order(intent).status, bench.order(intent).filled) == (S.CANCELED, 2)


async def test_an_order_that_is_found_now_and_then_is_not_over() -> None:
    async with a_bench() as bench:
        bench.venue.script(Leg.ENTRY, forgotten)
        intent = an_intent()
        await bench.enter(intent)
        for _ in range(10):
            await bench.settle(25)
            bench.venue._register(intent, S.ACCEPTED)
            await bench.settle(11)
            del bench.venue.orders[intent.client_order_id]
        assert bench.order(intent).status is S.ACCEPTED
        assert bench.risk.reserved(BTC)


async def test_a_close_of_an_earlier_run_that_the_venue_forgot_is_found_out_too() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle()
        left = an_intent(leg=Leg.CLOSE, position_id=bench.position().id)
        bench.orders.restore([an_order(left, status=S.ACCEPTED, venue_order_id="v99")], [bench.position()])
        for _ in range(3):
            await bench.reconciler.reconcile(BINANCE)
            await bench.settle(12)
        assert bench.order(left).status is S.CANCELED
