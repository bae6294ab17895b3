"""Stops of positions at the simulated Bybit: they come with the fill, have our names, move, and survive a restart."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from msgspec.structs import replace

from core.domain.order import Order, OrderIntent, OrderStatus, OrderType
from core.domain.reports import OrderStatusReport
from core.domain.signal import Side
from core.engine.ports import About, Departure, NotFound, Rejected, Unknown
from tests.builders import price
from tests.venues.bybit.desk import (
    BTC,
    Desk,
    a_desk,
    a_stop,
    accepted,
    an_intent,
    another_desk,
    settled,
    with_stop,
)

S = OrderStatus


@pytest.fixture(params=[False, True], ids=["one-way", "hedge"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    async with a_desk(hedge=request.param) as made:
        yield made


def stop_of(departure: Departure) -> OrderIntent:
    assert departure.stop is not None
    return departure.stop


async def entered(desk: Desk, percent: str = "90", side: Side = Side.BUY) -> Departure:
    departure = with_stop(an_intent(side=side), desk.level(percent))
    accepted(await desk.send(departure))
    return departure


@pytest.mark.parametrize(("side", "percent"), [(Side.BUY, "90"), (Side.SELL, "110")])
async def test_an_entry_is_protected_in_the_moment_of_its_fill(desk: Desk, side: Side, percent: str) -> None:
    departure = await entered(desk, percent, side)
    assert desk.statuses(departure.intent)[-1] is S.FILLED
    (told,) = [r for r in desk.of(OrderStatusReport) if r.client_order_id == stop_of(departure).client_order_id]
    assert (told.status, told.conditional, told.reduce_only) == (S.ACCEPTED, True, True)
    assert told.trigger_price == stop_of(departure).trigger_price
    assert told.venue_order_id
    (life,) = await desk.venue.ask("protection")
    assert life["max_unprotected_ms"] == 0


async def test_a_stop_of_its_own_is_named_by_the_first_that_rests_there(desk: Desk) -> None:
    entry = an_intent()
    accepted(await desk.send(entry))
    stop = a_stop(desk.level("95"))
    assert accepted(await desk.send(stop)) == ()
    assert desk.statuses(stop) == [S.ACCEPTED]


async def test_a_stop_moves_in_place_and_says_where_it_stands(desk: Desk) -> None:
    stop = stop_of(await entered(desk))
    before = desk.order(stop)
    level = price(desk.level("93"))
    (told,) = accepted(await desk.client.amend_stop(before, trigger_price=level, quantity=stop.quantity))
    assert isinstance(told, OrderStatusReport)
    assert (told.client_order_id, told.status, told.trigger_price) == (stop.client_order_id, S.ACCEPTED, level)
    await settled()
    assert desk.order(stop, told).trigger_price == level
    assert S.CANCELED not in desk.statuses(stop)
    (row,) = await desk.resting()
    assert Decimal(row["stop_price"]) == level


async def test_a_stop_that_was_replaced_cannot_be_moved(desk: Desk) -> None:
    first = stop_of(await entered(desk))
    accepted(await desk.send(a_stop(desk.level("95"), attempt=1)))
    posted = len(desk.bodies("position/trading-stop"))
    level = price(desk.level("92"))
    outcome = await desk.client.amend_stop(desk.order(first), trigger_price=level, quantity=first.quantity)
    assert isinstance(outcome, Rejected)
    assert len(desk.bodies("position/trading-stop")) == posted


async def test_a_stop_that_could_not_be_moved_stands_where_it_stood(desk: Desk) -> None:
    stop = stop_of(await entered(desk))
    level = price(desk.level("105"))
    outcome = await desk.client.amend_stop(desk.order(stop), trigger_price=level, quantity=stop.quantity)
    assert isinstance(outcome, Rejected)
    assert outcome.about is About.WOULD_TRIGGER
    own = desk.client._account.stops.own(stop.client_order_id)
    assert own is not None
    assert own.level == stop.trigger_price


async def test_a_move_that_ends_the_old_order_without_telling_of_a_new_one_is_looked_up(desk: Desk) -> None:
    stop = stop_of(await entered(desk))
    order, level = desk.order(stop), price(desk.level("93"))
    moving = asyncio.create_task(desk.client.amend_stop(order, trigger_price=level, quantity=stop.quantity))
    await asyncio.sleep(0)
    own = desk.client._account.stops.own(stop.client_order_id)
    assert own is not None
    own.venue_order_id = None  # as its end, told in between, makes it
    (told,) = accepted(await moving)
    assert isinstance(told, OrderStatusReport)
    assert (told.status, told.trigger_price) == (S.ACCEPTED, level)
    assert desk.asked("order/realtime")


async def test_moving_a_stop_to_where_it_stands_is_a_success(desk: Desk) -> None:
    stop = stop_of(await entered(desk))
    level = desk.order(stop).trigger_price
    assert level is not None
    (told,) = accepted(await desk.client.amend_stop(desk.order(stop), trigger_price=level, quantity=stop.quantity))
    assert isinstance(told, OrderStatusReport)
    assert (told.status, told.trigger_price) == (S.ACCEPTED, level)


async def test_a_newer_stop_of_ours_takes_the_place_and_the_older_one_is_told_gone(desk: Desk) -> None:
    first = stop_of(await entered(desk))
    second = a_stop(desk.level("95"), attempt=1)
    accepted(await desk.send(second))
    assert desk.statuses(second) == [S.ACCEPTED]
    assert desk.statuses(first)[-1] is S.CANCELED
    posted = len(desk.bodies("position/trading-stop"))
    (gone,) = accepted(await desk.client.cancel(desk.order(first)))
    assert isinstance(gone, OrderStatusReport)
    assert gone.status is S.CANCELED
    assert len(desk.bodies("position/trading-stop")) == posted
    assert len(await desk.resting()) == 1


async def test_cancelling_the_stop_that_rests_takes_it_away(desk: Desk) -> None:
    stop = stop_of(await entered(desk))
    (gone,) = accepted(await desk.client.cancel(desk.order(stop)))
    assert isinstance(gone, OrderStatusReport)
    assert gone.status is S.CANCELED
    await settled()
    assert await desk.resting() == []
    found = await desk.client.query_order(stop)
    assert isinstance(found, OrderStatusReport)
    assert found.status is S.CANCELED
    assert desk.order(stop, gone).status is S.CANCELED


async def test_a_stop_that_fires_is_told_under_our_name_to_its_last_trade(desk: Desk) -> None:
    stop = stop_of(await entered(desk))
    await desk.venue.tell("price", symbol="BTCUSDT", price=desk.level("89"))
    await settled()
    assert desk.order(stop).status is S.FILLED
    assert S.TRIGGERED in desk.statuses(stop)
    (fill,) = desk.fills(stop)
    assert (fill.side, fill.quantity) == (Side.SELL, stop.quantity)
    assert desk.order(stop).reported_filled == stop.quantity


async def test_a_stop_ends_with_its_position(desk: Desk) -> None:
    departure = await entered(desk)
    close = an_intent(side=Side.SELL, leg=None, name="close")
    close = replace(close, reduce_only=True)
    accepted(await desk.send(close))
    assert desk.statuses(stop_of(departure))[-1] is S.CANCELED
    (gone,) = accepted(await desk.client.cancel(desk.order(stop_of(departure))))
    assert isinstance(gone, OrderStatusReport)
    assert gone.status is S.CANCELED


async def test_a_stop_without_a_position_is_refused_as_having_nothing_to_reduce(desk: Desk) -> None:
    outcome = await desk.send(a_stop(desk.level("90")))
    assert isinstance(outcome, Rejected)
    assert (outcome.code, outcome.about) == ("10001", About.NOTHING_TO_REDUCE)


async def test_a_level_that_is_crossed_already_is_refused_as_such(desk: Desk) -> None:
    accepted(await desk.send(an_intent()))
    outcome = await desk.send(a_stop(desk.level("105")))
    assert isinstance(outcome, Rejected)
    assert outcome.about is About.WOULD_TRIGGER


async def test_the_stop_of_an_entry_that_buys_nothing_is_told_gone(desk: Desk) -> None:
    entry = an_intent(OrderType.LIMIT_IOC, limit=desk.level("99.5"))
    departure = with_stop(entry, desk.level("90"))
    accepted(await desk.send(departure))
    assert desk.order(entry).status is S.EXPIRED
    assert desk.statuses(stop_of(departure)) == [S.CANCELED]


async def test_the_stop_of_a_refused_entry_is_forgotten(desk: Desk) -> None:
    entry = an_intent(size="1000", name="too much")
    refused = with_stop(entry, desk.level("90"))
    outcome = await desk.send(refused)
    assert isinstance(outcome, Rejected)
    assert desk.client._account.stops.own(stop_of(refused).client_order_id) is None
    accepted(await desk.send(an_intent(name="next")))
    later = a_stop(desk.level("90"), name="next")
    accepted(await desk.send(later))
    assert desk.statuses(later) == [S.ACCEPTED]


async def test_a_restart_finds_its_stop_by_the_order_id_it_had(desk: Desk) -> None:
    stop = stop_of(await entered(desk))
    known = desk.order(stop)
    async with another_desk(desk.venue) as later:
        later.client.recall([known])
        (listed,) = (await later.client.mass_status()).orders
        assert (listed.client_order_id, listed.status) == (stop.client_order_id, S.ACCEPTED)
        (told,) = accepted(
            await later.client.amend_stop(known, trigger_price=price(desk.level("94")), quantity=stop.quantity)
        )
        assert isinstance(told, OrderStatusReport)
        assert told.client_order_id == stop.client_order_id


async def test_a_stop_recalled_before_the_account_is_known_gets_its_slot(desk: Desk) -> None:
    stop = stop_of(await entered(desk))
    known = desk.order(stop)
    async with another_desk(desk.venue, opened=False) as later:
        later.client.recall([known])
        await later.client.open()
        second = a_stop(desk.level("95"), attempt=1)
        accepted(await later.client.submit(Departure(intent=second)))
        first_then = [(r.client_order_id, r.status) for r in (await later.client.mass_status()).orders]
        assert first_then == [(second.client_order_id, S.ACCEPTED), (stop.client_order_id, S.CANCELED)]


async def test_a_stop_that_was_on_its_way_at_a_crash_is_found_by_its_slot(desk: Desk) -> None:
    departure = await entered(desk)
    stop = stop_of(departure)
    async with another_desk(desk.venue) as later:
        later.client.recall([Order(intent=stop, status=S.IN_FLIGHT)])
        found = await later.client.query_order(stop)
        assert isinstance(found, OrderStatusReport)
        assert (found.client_order_id, found.status) == (stop.client_order_id, S.ACCEPTED)


async def test_a_stop_that_fired_while_nobody_listened_is_found_by_its_end(desk: Desk) -> None:
    departure = await entered(desk)
    stop = stop_of(departure)
    await desk.venue.tell("price", symbol="BTCUSDT", price=desk.level("89"))
    await settled()
    async with another_desk(desk.venue) as later:
        later.client.recall([Order(intent=stop, status=S.IN_FLIGHT)])
        found = await later.client.query_order(stop)
        assert isinstance(found, OrderStatusReport)
        assert (found.status, found.filled) == (S.FILLED, stop.quantity)
        fills = await later.client.fills(BTC, 0)
        assert [fill.client_order_id for fill in fills] == [
            departure.intent.client_order_id,
            stop.client_order_id,
        ]
        assert await later.client.client_id_of(BTC, fills[1].venue_order_id) == stop.client_order_id


async def test_a_stop_nobody_ever_sent_is_not_found(desk: Desk) -> None:
    accepted(await desk.send(an_intent()))
    assert await desk.client.query_order(a_stop(desk.level("80"), name="never")) is NotFound.NOT_FOUND


async def test_somebody_elses_stop_has_no_name_of_ours(desk: Desk) -> None:
    accepted(await desk.send(an_intent()))
    async with another_desk(desk.venue, streaming=False) as other:
        accepted(await other.client.submit(Departure(intent=a_stop(desk.level("90"), name="other"))))
    await settled()
    (listed,) = (await desk.client.mass_status()).orders
    assert (listed.client_order_id, listed.conditional) == ("", True)


async def test_a_stop_moved_by_another_hand_is_still_ours_and_says_where_it_stands(desk: Desk) -> None:
    stop = stop_of(await entered(desk))
    async with another_desk(desk.venue, streaming=False) as other:
        accepted(await other.client.submit(Departure(intent=a_stop(desk.level("85"), name="other"))))
    await settled()
    assert desk.order(stop).trigger_price == price(desk.level("85"))
    assert desk.order(stop).status is S.ACCEPTED


async def test_a_lost_answer_to_a_stop_is_unknown_and_the_stream_tells_what_became_of_it(desk: Desk) -> None:
    accepted(await desk.send(an_intent()))
    stop = a_stop(desk.level("95"))
    await desk.venue.tell("fault", kind="drop_response", match={"path": "/v5/position/trading-stop"})
    assert isinstance(await desk.send(stop), Unknown)
    assert desk.statuses(stop) == [S.ACCEPTED]


async def test_a_lost_answer_to_a_move_is_unknown_and_a_look_up_tells_where_the_stop_stands(desk: Desk) -> None:
    stop = stop_of(await entered(desk))
    level = price(desk.level("94"))
    await desk.venue.tell("fault", kind="drop_response", match={"path": "/v5/position/trading-stop"})
    outcome = await desk.client.amend_stop(desk.order(stop), trigger_price=level, quantity=stop.quantity)
    assert isinstance(outcome, Unknown)
    found = await desk.client.query_order(stop)
    assert isinstance(found, OrderStatusReport)
    assert found.trigger_price == level
