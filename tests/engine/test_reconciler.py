"""The venue is the truth, but only what it says twice; what it does not say proves nothing."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from core.domain.ids import Leg, VenueName
from core.domain.order import OrderStatus
from core.domain.reports import Source
from core.domain.signal import Side
from core.engine.doubts import UNEXPLAINED_SECONDS
from core.engine.ports import About, StreamState
from core.errors import Unreachable, VenueError
from tests.builders import (
    BTC,
    BTC_LONG,
    ETH,
    NOW_MS,
    a_mass_status,
    a_position_report,
    a_status,
    an_instrument,
    an_instrument_id,
    an_intent,
)
from tests.engine.bench import BINANCE, Bench, a_bench
from tests.fakes.scripted_venue import Resting

S = OrderStatus
TWIN = an_instrument_id(venue=VenueName.BYBIT)


async def opened(bench: Bench) -> None:
    await bench.enter(an_intent())
    await bench.settle()


async def leftover_stop(bench: Bench) -> Resting:
    """A stop of ours that rests beside no position, although its cancel was asked for once."""
    await opened(bench)
    (stop,) = bench.venue.working_stops()
    bench.venue.cancel_answers.append(await bench.venue.reject("-2011")(stop.intent))
    await bench.closer.flatten(BTC_LONG, "test")
    await bench.settle()
    bench.venue.cancelled.clear()
    assert bench.venue.working_stops() == [stop]
    return stop


async def test_a_picture_that_agrees_changes_and_sends_nothing() -> None:
    async with a_bench() as bench:
        await opened(bench)
        sent, orders, position = list(bench.venue.sent), bench.state.all_live_orders(), bench.position()
        for _ in range(3):
            await bench.reconciler.reconcile(BINANCE)
            await bench.settle(1)
        assert (bench.venue.sent, bench.state.all_live_orders(), bench.position()) == (sent, orders, position)
        assert bench.reconciler.discrepancies == {}


async def test_a_read_that_fails_concludes_nothing() -> None:
    async with a_bench() as bench:
        await opened(bench)
        bench.venue.error = Unreachable(BINANCE, "no route")
        with pytest.raises(VenueError):
            await bench.reconciler.reconcile(BINANCE)
        assert bench.protection.covered(BTC_LONG)
        assert bench.venue.cancelled == []
        assert BINANCE not in bench.reconciler.last_ms


async def test_one_empty_answer_deletes_nothing() -> None:
    async with a_bench() as bench:
        await opened(bench)
        before = bench.position()
        bench.venue.mass_statuses.append(a_mass_status())
        await bench.reconciler.reconcile(BINANCE)
        await bench.settle()
        assert bench.position() is before
        assert bench.protection.covered(BTC_LONG)
        assert bench.venue.cancelled == []
        assert len(bench.venue.sent) == 2


async def test_a_position_gone_in_two_readings_is_booked_closed_without_an_invented_price() -> None:
    async with a_bench() as bench:
        await opened(bench)
        bench.venue.positions_held.clear()
        await bench.reconciler.reconcile(BINANCE)
        assert bench.protection.covered(BTC_LONG)
        assert bench.venue.cancelled == []
        assert bench.reconciler.discrepancies == {"position_in_doubt": 1}
        await bench.settle(UNEXPLAINED_SECONDS - 1.5)
        assert bench.state.position(BTC_LONG) is not None
        await bench.settle(10)
        assert bench.state.position(BTC_LONG) is None
        assert bench.reconciler.discrepancies == {"position_in_doubt": 1, "position": 1}
        assert bench.venue.working_stops() == []  # its stop went with it
        assert bench.venue.only(Leg.FLATTEN) == []


async def test_a_figure_that_comes_and_goes_never_lasts_long_enough() -> None:
    async with a_bench() as bench:
        await opened(bench)
        for _ in range(4):
            bench.venue.positions_held.clear()
            await bench.reconciler.reconcile(BINANCE)
            bench.venue.positions_held[BTC] = Decimal(1)
            await bench.settle(6)
        assert bench.protection.covered(BTC_LONG)
        assert bench.reconciler.discrepancies["position"] == 0
        assert bench.venue.cancelled == []


async def test_a_row_older_than_our_own_trade_is_believed_only_after_a_minute() -> None:
    async with a_bench() as bench:
        await opened(bench)
        await bench.settle(1)
        old = a_position_report(amount=Decimal("0.5"), venue_time_ms=NOW_MS - 1)
        bench.venue.told = [old]
        await bench.reconciler.reconcile(BINANCE)
        await bench.settle(55)
        assert bench.position().quantity == 1
        await bench.settle(15)
        assert bench.position().quantity == Decimal("0.5")
        assert bench.protection.covered(BTC_LONG)


@pytest.mark.failure("REC-03")
async def test_reconciling_again_changes_nothing_whatever_was_found_before() -> None:
    """Orders, positions, what is sent and what is written: the second and third run leave them as the first did."""
    async with a_bench() as bench:
        await opened(bench)
        bench.venue.positions_held[BTC] = Decimal(4)
        bench.venue.positions_held[ETH] = Decimal(-2)
        await bench.reconciler.reconcile(BINANCE)
        await bench.settle(2)
        await bench.reconciler.reconcile(BINANCE)

        def picture() -> tuple[object, ...]:
            state = bench.state
            told = dict(bench.reconciler.discrepancies)
            return state.all_live_orders(), state.positions(), list(bench.venue.sent), len(bench.journal.posted), told

        first = picture()
        for _ in range(2):
            await bench.reconciler.reconcile(BINANCE)
            await bench.settle(1)
        assert picture() == first


async def test_a_position_somebody_else_opened_is_taken_over_and_protected() -> None:
    async with a_bench() as bench:
        bench.venue.positions_held[BTC] = Decimal(-2)
        await bench.reconciler.reconcile(BINANCE)
        await bench.settle()
        assert (bench.position().side, bench.position().quantity) == (Side.SELL, 2)
        (stop,) = bench.venue.working_stops()
        assert (stop.intent.side, stop.intent.quantity, stop.intent.trigger_price) == (Side.BUY, 2, 102)


async def test_two_readings_that_differ_change_nothing() -> None:
    async with a_bench() as bench:
        bench.venue.mass_statuses.append(a_mass_status(positions=(a_position_report(amount=5),)))
        bench.venue.positions_held[BTC] = Decimal(3)
        await bench.reconciler.reconcile(BINANCE)
        assert bench.state.position(BTC_LONG) is None


async def test_a_position_that_grew_elsewhere_gets_a_stop_of_its_new_size() -> None:
    async with a_bench() as bench:
        await opened(bench)
        bench.venue.positions_held[BTC] = Decimal(4)
        await bench.reconciler.reconcile(BINANCE)
        await bench.settle()
        (stop,) = bench.venue.working_stops()
        assert stop.intent.quantity == bench.position().quantity == 4


async def test_trades_missed_in_a_gap_explain_a_difference_and_are_booked_once() -> None:
    async with a_bench() as bench:
        await opened(bench)
        (stop,) = bench.venue.working_stops()
        bench.venue.tells = False
        bench.venue.price = Decimal(98)
        await bench.venue.fire(stop)
        await bench.reconciler.reconcile(BINANCE)
        await bench.settle(2)
        assert bench.state.position(BTC_LONG) is None
        closed = bench.state.last_closed(BTC_LONG)
        assert closed is not None
        assert closed.realized == -2
        assert "position" not in bench.reconciler.discrepancies


@pytest.mark.failure("REC-07", "INV-5")
async def test_a_stop_the_venue_lost_is_replaced() -> None:
    async with a_bench() as bench:
        await opened(bench)
        (stop,) = bench.venue.working_stops()
        del bench.venue.orders[stop.intent.client_order_id]
        await bench.reconciler.reconcile(BINANCE)
        await bench.settle()
        assert bench.venue.working_stops() == []  # a look-up may be too early: only a denial that lasts is believed
        await bench.settle(20)
        assert len(bench.venue.working_stops()) == 1
        assert bench.protection.covered(BTC_LONG)


async def test_a_stop_missing_from_the_list_but_known_by_its_id_stays() -> None:
    async with a_bench() as bench:
        await opened(bench)
        held = (a_position_report(),)
        bench.venue.mass_statuses.append(a_mass_status(positions=held))
        await bench.reconciler.reconcile(BINANCE)
        await bench.settle()
        assert len(bench.sent_stops()) == 1
        assert bench.protection.covered(BTC_LONG)


@pytest.mark.failure("STP-15", "INV-5")
async def test_an_orphan_is_cancelled_only_in_the_second_run_that_sees_it() -> None:
    async with a_bench() as bench:
        stop = await leftover_stop(bench)
        await bench.reconciler.reconcile(BINANCE)
        assert bench.venue.cancelled == []
        await bench.reconciler.reconcile(BINANCE)
        assert bench.venue.cancelled == [stop.intent.client_order_id]
        assert bench.reconciler.discrepancies["orphan"] == 1


@pytest.mark.failure("STP-15", "INV-5")
async def test_a_young_orphan_and_one_whose_symbol_is_held_there_are_left_alone() -> None:
    async with a_bench() as bench:
        stop = await leftover_stop(bench)
        report = bench.venue._status(stop)
        young = replace(report, venue_time_ms=NOW_MS - 9_999)
        old = replace(report, venue_time_ms=NOW_MS - 10_001)
        held = a_position_report(amount=1)
        for orders, positions in (((young,), ()), ((young,), ()), ((old,), (held,)), ((old,), (held,))):
            bench.venue.mass_statuses.append(a_mass_status(orders=orders, positions=positions))
            await bench.reconciler.reconcile(BINANCE)
        assert bench.venue.cancelled == []


@pytest.mark.failure("STP-15", "INV-5")
@pytest.mark.parametrize("side", list(Side))
async def test_an_empty_or_failed_read_deletes_no_stop_long_or_short(side: Side) -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent(side=side))
        await bench.settle()
        for _ in range(3):
            resting = tuple(bench.venue._status(stop) for stop in bench.venue.working_stops())
            bench.venue.mass_statuses.append(a_mass_status(orders=resting, requested_ms=NOW_MS + 60_000))
            await bench.reconciler.reconcile(BINANCE)
            bench.venue.error = Unreachable(BINANCE, "no route")
            with pytest.raises(VenueError):
                await bench.reconciler.reconcile(BINANCE)
            bench.venue.error = None
        assert bench.venue.cancelled == []
        assert bench.protection.covered(BTC_LONG)


async def test_an_orphan_on_one_venue_is_remembered_while_another_venue_is_reconciled() -> None:
    async with a_bench(instruments=[an_instrument(BTC), an_instrument(TWIN)]) as bench:
        stop = await leftover_stop(bench)
        await bench.reconciler.reconcile(BINANCE)
        await bench.reconciler.reconcile(VenueName.BYBIT)
        await bench.reconciler.reconcile(BINANCE)
        assert bench.venue.cancelled == [stop.intent.client_order_id]


async def test_a_symbol_whose_close_was_missed_is_free_again_in_a_while() -> None:
    """The venue lists no flat symbols: without this the symbol stayed a duplicate position for ever."""
    async with a_bench() as bench:
        bench.orders.apply([a_position_report()])  # somebody's position, told by the stream; its end was lost in a gap
        await bench.reconciler.reconcile(BINANCE)
        await bench.settle(UNEXPLAINED_SECONDS - 1)
        assert bench.state.venue_holds(BTC)
        await bench.settle(10)
        assert not bench.state.venue_holds(BTC)


async def test_foreign_orders_are_never_cancelled() -> None:
    async with a_bench() as bench:
        foreign = a_status(an_intent(leg=Leg.STOP, client_id="web_1", trigger=90), venue_time_ms=NOW_MS - 100_000)
        for _ in range(3):
            bench.venue.mass_statuses.append(a_mass_status(orders=(foreign,)))
            await bench.reconciler.reconcile(BINANCE)
        assert bench.venue.cancelled == []


async def test_orders_in_flight_explain_a_difference_for_as_long_as_they_are_unresolved() -> None:
    async with a_bench() as bench:
        bench.venue.tells = False
        bench.venue.script(Leg.ENTRY, bench.venue.lose_answer)
        await bench.enter(an_intent())
        await bench.settle(0.1)
        await bench.reconciler.reconcile(BINANCE)
        await bench.settle(2)
        assert bench.position().id == an_intent().position_id
        assert "position" not in bench.reconciler.discrepancies


async def test_it_runs_by_itself_every_45_seconds_and_at_once_when_asked() -> None:
    async with a_bench() as bench:
        await bench.settle(46)
        assert bench.venue.reads.count("mass_status") == 1
        await bench.settle(10)
        bench.reconciler.ask(BINANCE)
        await bench.settle(0.1)
        assert bench.venue.reads.count("mass_status") == 2


async def test_what_cannot_be_put_right_does_not_hammer_the_venue() -> None:
    async with a_bench() as bench:
        await opened(bench)
        impossible = a_status(an_intent(), S.REJECTED)
        for _ in range(100):
            bench.venue.mass_statuses.append(a_mass_status(orders=(impossible,), positions=(a_position_report(),)))
        bench.reconciler.ask(BINANCE)
        await bench.settle(60)
        assert bench.venue.reads.count("mass_status") <= 13


async def test_a_position_the_stream_tells_and_no_trade_explains_is_taken_over_within_seconds() -> None:
    """Not at the next periodic run: somebody opened it by hand a moment ago, and it has no stop."""
    async with a_bench() as bench:
        opened = a_position_report(amount=2, source=Source.STREAM)
        bench.venue.positions_held[BTC] = Decimal(2)
        bench.orders.apply([opened])
        await bench.settle(8)
        assert bench.position().quantity == 2
        assert bench.protection.covered(BTC_LONG)


async def test_our_own_trades_explain_what_the_stream_tells_and_nothing_is_read() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle(1)
        bench.orders.apply([a_position_report(amount=1, source=Source.STREAM)])
        before = bench.reconciler.last_ms.get(BINANCE)
        await bench.settle(8)
        assert bench.reconciler.last_ms.get(BINANCE) == before


async def test_polling_a_blind_venue_does_not_starve_the_others() -> None:
    """Their balances would be older than the minute after which entries are refused."""
    async with a_bench(instruments=[an_instrument(BTC), an_instrument(TWIN)]) as bench:
        bench.streams[VenueName.BYBIT].state = StreamState.DOWN
        await bench.settle(300)
        now = bench.clock.now_ms()
        assert now - bench.reconciler.last_ms[BINANCE] <= 60_000
        assert now - bench.reconciler.last_ms[VenueName.BYBIT] <= 15_000


@pytest.mark.parametrize("refused_once", [False, True], ids=["never refused", "refused right after the fill"])
async def test_nothing_to_reduce_said_long_ago_bears_out_no_empty_reading(*, refused_once: bool) -> None:
    """The venue did not see the position itself yet (POS-02); the stop that was sent next has stood ever since."""
    async with a_bench() as bench:
        if refused_once:
            bench.venue.script(Leg.STOP, bench.venue.reject("-2022", about=About.NOTHING_TO_REDUCE))
        await bench.enter(an_intent(amount=3))
        await bench.settle(20)
        assert len(bench.venue.working_stops()) == 1
        await bench.settle(3_600)
        bench.venue.told = []
        await bench.reconciler.reconcile(BINANCE)
        bench.venue.told = None
        await bench.settle(1)
        assert bench.state.positions()
        assert len(bench.venue.working_stops()) == 1


@pytest.mark.failure("VAL-21")
async def test_of_a_contract_that_is_not_listed_nothing_is_asked_or_concluded_and_people_hear_of_it_once() -> None:
    async with a_bench() as bench:
        await opened(bench)
        entry, before = bench.venue.only(Leg.ENTRY), bench.position()
        del bench.venue._instruments[BTC.symbol]
        bench.venue.orders.clear()
        bench.venue.positions_held.clear()
        bench.venue.strange = frozenset({"BTCUSDT"})
        asked = list(bench.venue.asked)
        for _ in range(4):
            await bench.reconciler.reconcile(BINANCE)
            await bench.settle(2 * UNEXPLAINED_SECONDS)
        assert bench.venue.asked == asked
        assert bench.position() == before
        (text,) = bench.notifier.critical()
        assert text.startswith(f"{BTC_LONG}: 1 is open by the journal and the venue lists it no longer")
        assert bench.venue.only(Leg.ENTRY) == entry
        bench.venue.strange = frozenset()
        await bench.reconciler.reconcile(BINANCE)
        assert bench.position() == before, "one reading proves nothing"
        await bench.settle(2 * UNEXPLAINED_SECONDS)
        assert bench.state.positions() == []
        assert bench.state.all_live_orders() == []
        assert bench.venue.asked == asked
