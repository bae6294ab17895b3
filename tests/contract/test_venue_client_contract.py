"""The contract of ports.VenueClient, as the engine relies on it; sat by every venue's client against its simulator.

An answer may be the end of an order (Binance) or only say that it was taken: what counts is what the answer and the
stream say together, and what a look-up by client order id finds.
"""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from core.domain.ids import Leg, VenueName
from core.domain.order import Order, OrderStatus, OrderType
from core.domain.reports import OrderStatusReport, PositionReport, PositionSide
from core.domain.signal import Side
from core.engine.ports import About, Accepted, Attach, Departure, MarginMode, NotFound, Rejected, Unknown
from core.errors import Refused, VenueError
from tests.builders import price
from tests.venues.rigs import VENUES, VenueRig, a_venue_rig, settled

S = OrderStatus
SIZE = Decimal("0.002")


@pytest.fixture(params=[(venue, hedge) for venue in VENUES for hedge in (False, True)], ids=lambda p: _name(*p))
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[VenueRig]:
    venue, hedge = request.param
    async with a_venue_rig(venue, hedge=hedge) as made:
        yield made


def _name(venue: VenueName, hedge: bool) -> str:
    return f"{venue} {'hedge' if hedge else 'one-way'}"


async def found(rig: VenueRig, intent: Order) -> OrderStatusReport:
    told = await rig.client.query_order(intent.intent)
    assert isinstance(told, OrderStatusReport), told
    return told


async def a_covered_position(rig: VenueRig) -> Order:
    """A long of `SIZE`, and its resting stop, which was sent by itself."""
    await rig.taken(rig.entry())
    stop = await rig.taken(rig.stop())
    assert stop.status is S.ACCEPTED
    return stop


def open_positions(rows: tuple[PositionReport, ...]) -> list[tuple[str, Decimal, PositionSide]]:
    return [(row.instrument.symbol, row.quantity, row.position_side) for row in rows if row.quantity]


# --- orders and their stops -------------------------------------------------------------------------------------------


async def test_a_market_order_ends_filled_by_answer_and_stream_together(rig: VenueRig) -> None:
    order = await rig.taken(rig.entry())
    assert (order.status, order.reported_filled, order.quantity) == (S.FILLED, SIZE, SIZE)
    told = await found(rig, order)
    assert (told.status, told.filled, told.reduce_only, told.conditional) == (S.FILLED, SIZE, False, False)
    assert told.average_price is not None
    assert told.average_price > 0
    assert await rig.held() == SIZE


async def test_a_stop_rests_close_only_and_is_seen_in_the_mass_status(rig: VenueRig) -> None:
    stop = await a_covered_position(rig)
    status = await rig.client.mass_status()
    (listed,) = status.orders
    assert listed.client_order_id == stop.client_order_id
    assert listed.trigger_price == stop.intent.trigger_price
    assert (listed.status, listed.reduce_only, listed.conditional) == (S.ACCEPTED, True, True)
    assert status.venue is rig.name
    side = PositionSide.LONG if rig.hedge else PositionSide.BOTH
    assert open_positions(status.positions) == [(rig.btc.symbol, SIZE, side)]
    assert {str(b.asset) for b in status.balances} >= {"USDT", "USDC"}


async def test_an_entry_and_the_stop_sent_along_leave_no_moment_without_one(rig: VenueRig) -> None:
    departure = rig.departing(rig.entry())
    await rig.taken(departure)
    await settled(0.5)
    if rig.client.traits.attach is Attach.NEVER:
        assert departure.stop is None
        assert await rig.resting() == []
        return
    assert departure.stop is not None
    stop = await rig.client.query_order(departure.stop)
    assert isinstance(stop, OrderStatusReport)
    assert (stop.status, stop.trigger_price) == (S.ACCEPTED, departure.stop.trigger_price)
    assert [row["naked_now_ms"] for row in await rig.venue.ask("protection")] == [0]
    assert [row["max_unprotected_ms"] for row in await rig.venue.ask("protection")] == [0]


async def test_a_short_is_negative_and_its_stop_lies_above(rig: VenueRig) -> None:
    await rig.taken(rig.entry(side=Side.SELL))
    stop = await rig.taken(rig.stop(110, side=Side.BUY))
    assert stop.status is S.ACCEPTED
    side = PositionSide.SHORT if rig.hedge else PositionSide.BOTH
    assert open_positions(tuple(await rig.client.positions())) == [(rig.btc.symbol, -SIZE, side)]
    await rig.venue.tell("price", symbol=rig.symbol, price=rig.level(111))
    await settled(1)
    assert await rig.held() == 0


async def test_a_resting_ended_or_unknown_order_is_found_by_its_client_id_alone(rig: VenueRig) -> None:
    entry, stop = rig.entry(), rig.stop()
    assert await rig.client.query_order(entry) is NotFound.NOT_FOUND
    assert await rig.client.query_order(stop) is NotFound.NOT_FOUND
    opened, resting = await rig.taken(entry), await rig.taken(stop)
    assert [(await found(rig, order)).status for order in (opened, resting)] == [S.FILLED, S.ACCEPTED]
    await rig.client.cancel(rig.order(stop))
    await settled()
    gone = await rig.client.query_order(stop)
    assert isinstance(gone, OrderStatusReport)
    assert gone.status is S.CANCELED


async def test_a_stop_that_fired_is_found_as_what_it_became(rig: VenueRig) -> None:
    stop = await a_covered_position(rig)
    await rig.venue.tell("price", symbol=rig.symbol, price=rig.level(89))
    await settled(1)
    told = await found(rig, stop)
    assert (told.status, told.filled, told.conditional) == (S.FILLED, SIZE, False)
    assert not open_positions(tuple(await rig.client.positions()))
    assert rig.order(stop.intent).status is S.FILLED, "the stream says it too"


async def test_a_stop_is_moved_where_the_venue_can_do_that(rig: VenueRig) -> None:
    stop = await a_covered_position(rig)
    if not rig.client.traits.amends_stops:
        return
    level = price(rig.level(92))
    outcome = await rig.client.amend_stop(stop, trigger_price=level, quantity=stop.quantity)
    assert isinstance(outcome, Accepted), outcome
    assert [r.trigger_price for r in outcome.reports if isinstance(r, OrderStatusReport)] == [level]
    await settled()
    assert (await found(rig, stop)).trigger_price == level
    (resting,) = await rig.resting()
    assert Decimal(resting["stop_price"]) == level
    through = await rig.client.amend_stop(
        rig.order(stop.intent), trigger_price=price(rig.level(110)), quantity=stop.quantity
    )
    assert isinstance(through, Rejected)
    assert through.about is About.WOULD_TRIGGER
    assert (await found(rig, stop)).trigger_price == level


async def test_a_part_of_a_position_can_be_closed(rig: VenueRig) -> None:
    await rig.taken(rig.entry(size="0.004"))
    order = await rig.taken(rig.close(size="0.002"))
    assert order.status is S.FILLED
    assert await rig.held() == SIZE


async def test_a_limit_that_takes_nothing_ends_without_a_fill(rig: VenueRig) -> None:
    entry = rig.entry(type=OrderType.LIMIT_IOC, price=price(rig.level(98)))
    order = await rig.taken(entry)
    assert (order.status in {S.CANCELED, S.EXPIRED}, order.reported_filled) == (True, 0)
    assert await rig.held() == 0


async def test_a_post_only_order_rests_and_is_cancelled(rig: VenueRig) -> None:
    probe = rig.entry(type=OrderType.POST_ONLY, price=price(rig.level(97)), leg=Leg.PROBE)
    order = await rig.taken(probe)
    assert order.status is S.ACCEPTED
    assert [row.client_order_id for row in (await rig.client.mass_status()).orders] == [probe.client_order_id]
    assert isinstance(await rig.client.cancel(order), Accepted)
    await settled()
    assert (await found(rig, order)).status is S.CANCELED
    assert await rig.resting() == []


# --- look-ups ---------------------------------------------------------------------------------------------------------


@pytest.mark.failure("ORD-11")
@pytest.mark.parametrize("rig", [(venue, False) for venue in VENUES], ids=str, indirect=True)
async def test_the_501st_order_is_found_like_the_first(rig: VenueRig) -> None:
    first = rig.entry(name="number 0", size="0.001")
    await rig.taken(first)
    for number in range(1, 502):
        side = Side.SELL if number % 2 else Side.BUY
        outcome = await rig.client.submit(Departure(intent=rig.entry(name=f"number {number}", side=side, size="0.001")))
        assert isinstance(outcome, Accepted), outcome
        if number % 200 == 0:
            await asyncio.sleep(11)
    assert len(rig.venue.simulation.engine.orders()) > 501
    told = await rig.client.query_order(first)
    assert isinstance(told, OrderStatusReport)
    assert told.status is S.FILLED
    assert await rig.client.query_order(rig.entry(name="never sent")) is NotFound.NOT_FOUND


async def test_fills_are_complete_oldest_first_and_name_their_order(rig: VenueRig) -> None:
    since = rig.clock.now_ms()
    await settled()
    opened, closed = await rig.taken(rig.entry()), await rig.taken(rig.close())
    fills = await rig.client.fills(rig.btc, since)
    assert [fill.venue_order_id for fill in fills] == [
        (await found(rig, order)).venue_order_id for order in (opened, closed)
    ]
    assert {fill.client_order_id for fill in fills} <= {"", opened.client_order_id, closed.client_order_id}
    assert [fill.quantity for fill in fills] == [SIZE, SIZE]
    assert all(fill.price > 0 and fill.fee > 0 for fill in fills)
    assert len({fill.trade_id for fill in fills}) == 2
    await asyncio.sleep(5)
    assert await rig.client.fills(rig.btc, rig.clock.now_ms()) == []


async def test_whose_order_it_was_is_told_by_the_venues_id(rig: VenueRig) -> None:
    order = await rig.taken(rig.entry())
    told = await found(rig, order)
    assert told.venue_order_id is not None
    assert await rig.client.client_id_of(rig.btc, told.venue_order_id) == order.client_order_id


async def test_an_id_that_is_at_work_opens_no_second_order(rig: VenueRig) -> None:
    """A resend is never a definite no: the first one may be the one that works."""
    stop = await a_covered_position(rig)
    again = await rig.client.submit(Departure(intent=stop.intent))
    assert not isinstance(again, Rejected), again
    if not rig.client.traits.whole_position_stops:  # a position's only stop is set again where it stands
        assert isinstance(again, Unknown), "look it up: the first send arrived"
    await settled()
    (listed,) = (await rig.client.mass_status()).orders
    assert listed.client_order_id == stop.client_order_id
    assert len(await rig.resting()) == 1


async def test_a_resting_order_sent_again_is_not_doubled(rig: VenueRig) -> None:
    probe = rig.entry(type=OrderType.POST_ONLY, price=price(rig.level(97)), leg=Leg.PROBE)
    await rig.taken(probe)
    assert isinstance(await rig.client.submit(Departure(intent=probe)), Unknown), "look it up: the first send arrived"
    assert len(await rig.resting()) == 1


# --- a definite no ----------------------------------------------------------------------------------------------------


async def test_a_stop_cancelled_twice_is_gone_and_nothing_else_with_it(rig: VenueRig) -> None:
    stop = await a_covered_position(rig)
    first = await rig.client.cancel(stop)
    await settled()
    second = await rig.client.cancel(stop)
    assert isinstance(first, Accepted), first
    assert [(r.client_order_id, r.status) for r in first.reports if isinstance(r, OrderStatusReport)] == [
        (stop.client_order_id, S.CANCELED)
    ]
    known_gone = isinstance(second, Accepted) and all(
        isinstance(r, OrderStatusReport) and r.status is S.CANCELED for r in second.reports
    )
    assert isinstance(second, Rejected) or known_gone, second
    assert await rig.resting() == []
    assert await rig.held() == SIZE


async def test_a_plain_order_cancelled_twice_is_a_definite_no_the_second_time(rig: VenueRig) -> None:
    order = await rig.taken(rig.entry(type=OrderType.POST_ONLY, price=price(rig.level(97)), leg=Leg.PROBE))
    assert isinstance(await rig.client.cancel(order), Accepted)
    await settled()
    assert isinstance(await rig.client.cancel(order), Rejected)


async def test_a_level_the_market_has_passed_says_so(rig: VenueRig) -> None:
    await rig.taken(rig.entry())
    outcome = await rig.client.submit(Departure(intent=rig.stop(110)))
    assert isinstance(outcome, Rejected)
    assert outcome.would_trigger


async def test_closing_nothing_opens_nothing(rig: VenueRig) -> None:
    outcome = await rig.client.submit(Departure(intent=rig.close()))
    assert isinstance(outcome, Rejected)
    assert outcome.nothing_to_reduce
    assert not open_positions(tuple(await rig.client.positions()))


async def test_a_close_larger_than_the_position_never_turns_it(rig: VenueRig) -> None:
    await rig.taken(rig.entry())
    await rig.send(rig.close(size="0.02"))
    assert await rig.held() in {0, SIZE}, "cut to the position, or refused"


async def test_a_size_the_venue_does_not_take_is_a_definite_no(rig: VenueRig) -> None:
    step = rig.rules.lot.step
    assert isinstance(await rig.client.submit(Departure(intent=rig.entry(size=str(step / 10)))), Rejected)
    assert await rig.held() == 0


async def test_what_is_objected_to_when_it_leaves_is_never_sent(rig: VenueRig) -> None:
    outcome = await rig.client.submit(Departure(intent=rig.entry(), objection=lambda: "paused"))
    assert isinstance(outcome, Rejected)
    assert (outcome.about, outcome.detail) == (About.WITHHELD, "paused")
    assert rig.tap.asked == []


async def test_orders_of_one_request_are_judged_each_by_its_own_row(rig: VenueRig) -> None:
    most = rig.client.traits.entries_per_request
    if most == 1:
        return
    good = [rig.departing(rig.entry(name=f"good {n}", size="0.001")) for n in range(2)]
    bad = Departure(intent=rig.entry(name="bad", size=str(rig.rules.lot.step / 10)))
    kept = Departure(intent=rig.entry(name="kept", size="0.001"), objection=lambda: "paused")
    outcomes = await rig.client.submit_together([good[0], bad, kept, good[1]])
    await settled()
    assert [type(outcome) for outcome in outcomes] == [Accepted, Rejected, Rejected, Accepted]
    assert isinstance(outcomes[2], Rejected)
    assert outcomes[2].about is About.WITHHELD
    assert await rig.held() == SIZE


# --- lost on the way --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop_response", "drop_request"])
async def test_an_order_without_an_answer_is_unknown_and_sent_once(rig: VenueRig, fault: str) -> None:
    await rig.venue.tell("fault", kind=fault, match={"method": "POST"}, count=1)
    entry = rig.entry()
    assert isinstance(await rig.client.submit(Departure(intent=entry)), Unknown)
    assert len([asked for asked in rig.tap.asked if asked.method == "POST"]) == 1
    await settled()
    told = await rig.client.query_order(entry)
    if fault == "drop_request":
        assert told is NotFound.NOT_FOUND
    else:
        assert isinstance(told, OrderStatusReport)
        assert told.status is S.FILLED


async def test_a_picture_with_one_part_missing_is_no_picture(rig: VenueRig) -> None:
    """Of every request it is made of, in turn (INV-5)."""
    await a_covered_position(rig)
    rig.tap.asked.clear()
    await rig.client.mass_status()
    for path in sorted({asked.path for asked in rig.tap.asked}):
        fault = await rig.venue.tell("fault", kind="http_error", status=502, match={"path": path}, count=-1)
        with pytest.raises(VenueError):
            await rig.client.mass_status()
        rig.venue.simulation.faults.remove(fault["id"])


# --- the account ------------------------------------------------------------------------------------------------------


async def test_account_settings_and_leverage(rig: VenueRig) -> None:
    settings = await rig.client.account_settings()
    assert (settings.can_trade, settings.multi_assets, settings.hedge_mode) == (True, False, rig.hedge)
    symbol = rig.btc.symbol
    assert settings.leverage[symbol] != 7
    await rig.client.set_leverage(symbol, 7)
    await rig.client.set_leverage(symbol, 7)  # as it is already: as good as done (VAL-10)
    assert (await rig.client.account_settings()).leverage[symbol] == 7


async def test_a_margin_mode_is_set_or_refused_and_settings_tell_which_it_is(rig: VenueRig) -> None:
    symbol = rig.btc.symbol
    now = (await rig.client.account_settings()).margin[symbol]
    other = MarginMode.CROSS if now is MarginMode.ISOLATED else MarginMode.ISOLATED
    try:
        await rig.client.set_margin_mode(symbol, other)
    except Refused:  # a setting of the whole account there
        other = now
    assert (await rig.client.account_settings()).margin[symbol] is other


async def test_a_balance_says_wallet_and_what_is_free(rig: VenueRig) -> None:
    def usdt(rows: object) -> tuple[Decimal, Decimal]:
        assert isinstance(rows, list | tuple)
        (row,) = [row for row in rows if str(row.asset) == "USDT"]
        assert row.available is not None
        return row.wallet, row.available

    wallet, free = usdt(await rig.client.balances())
    assert wallet == free > 0
    await rig.taken(rig.entry(size="0.01"))
    wallet_after, free_after = usdt(await rig.client.balances())
    assert wallet - 10 < wallet_after < wallet, "a fee was paid"
    assert free_after < wallet_after, "and margin is held back"


async def test_the_clock_is_measured(rig: VenueRig) -> None:
    assert abs(rig.client.clock_offset_ms) < 50
    await rig.venue.tell("fault", kind="clock_skew", delay_ms=7_000)
    await rig.client.measure_clock()
    assert abs(rig.client.clock_offset_ms - 7_000) < 50


async def test_rules_are_complete_in_base_units_and_can_be_read_again(rig: VenueRig) -> None:
    before = dict(rig.client.instruments)
    await rig.client.load_instruments()
    assert dict(rig.client.instruments) == before
    assert all(instrument.id.venue is rig.name for instrument in before.values())
    assert rig.rules.lot.step <= Decimal("0.001")


async def test_reads_and_commands_of_one_moment_do_not_disturb_each_other(rig: VenueRig) -> None:
    await rig.taken(rig.entry())
    outcomes = await asyncio.gather(
        rig.client.submit(Departure(intent=rig.stop())),
        rig.client.positions(),
        rig.client.balances(),
        rig.client.mass_status(),
        rig.client.warm(3),
    )
    assert isinstance(outcomes[0], Accepted)
