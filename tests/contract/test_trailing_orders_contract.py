"""The contract of ports.VenueClient for the venues' own trailing orders; sat by every client against its simulator."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from msgspec.structs import replace

from core.domain.ids import Leg, VenueName
from core.domain.money import plain
from core.domain.order import Order, OrderIntent, OrderStatus, OrderType
from core.domain.reports import FillReport, OrderStatusReport
from core.domain.signal import Side
from core.engine.ports import Accepted, Departure, Rejected
from tests.builders import price
from tests.venues.rigs import VENUES, VenueRig, a_rig_at, a_venue_rig, sent, settled

S = OrderStatus
SIZE = Decimal("0.002")
CALLBACK = Decimal(1)


@pytest.fixture(params=[(venue, hedge) for venue in VENUES for hedge in (False, True)], ids=lambda p: _name(*p))
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[VenueRig]:
    venue, hedge = request.param
    async with a_venue_rig(venue, hedge=hedge) as made:
        yield made


def _name(venue: VenueName, hedge: bool) -> str:
    return f"{venue} {'hedge' if hedge else 'one-way'}"


def a_trail(rig: VenueRig, percent: int | None = 102, *, side: Side = Side.SELL, name: str = "one") -> OrderIntent:
    """Of a position on the other side; it follows from that much of the mark on, at once for None."""
    return replace(
        rig.entry(side=side, name=name, leg=Leg.TRAIL),
        type=OrderType.TRAILING_STOP,
        trigger_price=None if percent is None else price(rig.level(percent)),
        decision_price=price(rig.level(100)),
        trailing_callback_percent=CALLBACK,
        whole_position=rig.client.traits.whole_position_stops,
    )


async def a_trailed_position(rig: VenueRig, percent: int | None = 102) -> tuple[Order, Order]:
    """A long of `SIZE`, its stop, and its trailing order beside."""
    await rig.taken(rig.entry())
    stop = await rig.taken(rig.stop())
    await rig.send(Departure(intent=(trail := a_trail(rig, percent)), tightening=True))
    await settled()
    return stop, rig.order(trail)


async def moved_to(rig: VenueRig, *percents: float) -> None:
    mark = rig.mark()
    for percent in percents:
        level = (mark * Decimal(str(percent)) / 100).quantize(Decimal(1))
        await rig.venue.tell("price", symbol=rig.symbol, price=str(level))
    await settled(1)


async def trailing_row(rig: VenueRig) -> dict[str, str]:
    (row,) = [row for row in await rig.resting() if row["type"] == "trailing"]
    return row


async def test_a_trailing_order_rests_beside_the_stop_and_both_are_told_as_ours(rig: VenueRig) -> None:
    assert rig.client.traits.native_trailing
    stop, trail = await a_trailed_position(rig)
    assert (trail.status, trail.undecided) == (S.ACCEPTED, False)
    assert sorted(row["type"] for row in await rig.resting()) == ["stop", "trailing"]
    status = await rig.client.mass_status()
    listed = {report.client_order_id: report for report in status.orders}
    assert set(listed) == {stop.client_order_id, trail.client_order_id}
    told = listed[trail.client_order_id]
    assert (told.status, told.reduce_only, told.conditional) == (S.ACCEPTED, True, True)
    assert (told.side, told.quantity) == (Side.SELL, SIZE)
    found = await rig.client.query_order(trail.intent)
    assert isinstance(found, OrderStatusReport)
    assert (found.status, found.conditional) == (S.ACCEPTED, True)
    stop_now = await rig.client.query_order(stop.intent)
    assert isinstance(stop_now, OrderStatusReport)
    assert stop_now.trigger_price == stop.intent.trigger_price, "setting the trailing order left the stop alone"


async def test_it_follows_the_price_and_closes_the_position_under_our_id(rig: VenueRig) -> None:
    _, trail = await a_trailed_position(rig)
    start = rig.mark()
    await moved_to(rig, 101)
    assert await rig.held() == SIZE
    await moved_to(rig, 103)
    level = Decimal((await trailing_row(rig))["stop_price"])
    assert start * Decimal("1.025") < level < start * Decimal("1.035")
    assert rig.order(trail.intent).status is S.ACCEPTED
    await moved_to(rig, 98.5)
    assert await rig.held() == 0
    order = rig.order(trail.intent)
    assert (order.status, order.reported_filled) == (S.FILLED, SIZE)
    fills = [r for group in rig.told for r in group if isinstance(r, FillReport) and r.side is Side.SELL]
    assert [
        (f.client_order_id or await rig.client.client_id_of(rig.btc, f.venue_order_id), f.quantity) for f in fills
    ] == [(trail.client_order_id, SIZE)]
    told = await rig.client.query_order(trail.intent)
    assert isinstance(told, OrderStatusReport)
    assert (told.status, told.filled, told.conditional) == (S.FILLED, SIZE, False)


async def test_without_an_activation_it_follows_at_once(rig: VenueRig) -> None:
    await a_trailed_position(rig, percent=None)
    level = Decimal((await trailing_row(rig))["stop_price"])
    assert rig.mark() * Decimal("0.985") < level < rig.mark()


async def test_of_a_short_it_lies_above(rig: VenueRig) -> None:
    await rig.taken(rig.entry(side=Side.SELL))
    trail = a_trail(rig, 98, side=Side.BUY)
    await rig.send(trail)
    await moved_to(rig, 97)
    assert await rig.held() == -SIZE
    await moved_to(rig, 101.5)
    assert await rig.held() == 0
    assert rig.order(trail).status is S.FILLED


async def test_cancelled_it_is_gone_and_the_stop_stays(rig: VenueRig) -> None:
    stop, trail = await a_trailed_position(rig)
    assert isinstance(await rig.client.cancel(trail), Accepted)
    await settled()
    assert rig.order(trail.intent).status is S.CANCELED
    told = await rig.client.query_order(trail.intent)
    assert isinstance(told, OrderStatusReport)
    assert told.status is S.CANCELED
    (left,) = (await rig.client.mass_status()).orders
    assert (left.client_order_id, left.status) == (stop.client_order_id, S.ACCEPTED)
    assert [row["naked_now_ms"] for row in await rig.venue.ask("protection")] == [0]


async def test_after_a_restart_it_is_known_by_our_id(rig: VenueRig) -> None:
    stop, trail = await a_trailed_position(rig)
    async with a_rig_at(rig.venue, rig.name, hedge=rig.hedge) as later:
        later.client.recall([stop, trail])
        listed = {report.client_order_id for report in (await later.client.mass_status()).orders}
        assert listed == {stop.client_order_id, trail.client_order_id}
        assert isinstance(await later.client.cancel(trail), Accepted)
    assert [row["type"] for row in await rig.resting()] == ["stop"]


async def test_what_the_venue_has_no_trailing_order_for_is_denied_and_says_why(rig: VenueRig) -> None:
    await rig.taken(rig.entry())
    rig.tap.asked.clear()
    outcome = await rig.client.submit(
        Departure(intent=replace(a_trail(rig), trailing_callback_percent=Decimal("0.05")))
    )
    if rig.client.traits.whole_position_stops:  # a distance on the tick is all it asks for
        assert isinstance(outcome, Accepted)
        return
    assert isinstance(outcome, Rejected)
    assert "callback" in outcome.detail
    assert rig.tap.asked == []


async def test_one_that_is_taken_away_elsewhere_is_told_by_the_stream(rig: VenueRig) -> None:
    stop, trail = await a_trailed_position(rig)
    async with a_rig_at(rig.venue, rig.name, hedge=rig.hedge, streaming=False) as hand:
        hand.client.recall([stop, trail])
        assert isinstance(await hand.client.cancel(trail), Accepted)
    await settled()
    assert rig.order(trail.intent).status is S.CANCELED
    assert rig.order(stop.intent).status is S.ACCEPTED


@pytest.mark.parametrize("rig", [(venue, False) for venue in VENUES], ids=str, indirect=True)
async def test_nothing_is_said_but_what_the_trailing_order_is(rig: VenueRig) -> None:
    """Of a position's attributes at Bybit only these: its stop is not touched."""
    await rig.taken(rig.entry())
    rig.tap.asked.clear()
    await rig.send(trail := a_trail(rig))
    name, start = str(trail.client_order_id), str(trail.trigger_price)
    distance = round(Decimal(start) / 100 / rig.rules.tick) * rig.rules.tick
    expected: dict[VenueName, dict[str, object]] = {
        VenueName.BINANCE: {
            "algoType": "CONDITIONAL",
            "symbol": "BTCUSDT",
            "side": "SELL",
            "type": "TRAILING_STOP_MARKET",
            "quantity": "0.002",
            "activatePrice": start,
            "callbackRate": "1",
            "workingType": "MARK_PRICE",
            "reduceOnly": "true",
            "clientAlgoId": name,
        },
        VenueName.BYBIT: {
            "category": "linear",
            "symbol": "BTCUSDT",
            "positionIdx": 0,
            "tpslMode": "Full",
            "trailingStop": plain(distance),
            "activePrice": start,
        },
        VenueName.OKX: {
            "instId": "BTC-USDT-SWAP",
            "tdMode": "cross",
            "side": "sell",
            "ordType": "move_order_stop",
            "sz": "0.2",
            "callbackRatio": "0.01",
            "activePx": start,
            "reduceOnly": True,
            "algoClOrdId": name,
        },
    }
    (asked,) = [asked for asked in rig.tap.asked if asked.method == "POST"]
    said = sent(asked)
    said.pop("tag", None)
    assert said == expected[rig.name]


async def test_an_activation_the_market_has_passed_says_so(rig: VenueRig) -> None:
    await rig.taken(rig.entry())
    outcome = await rig.client.submit(Departure(intent=a_trail(rig, 98)))
    assert isinstance(outcome, Rejected)
    assert outcome.would_trigger, outcome


async def test_without_a_position_it_is_refused_or_ends_without_opening_one(rig: VenueRig) -> None:
    trail = a_trail(rig, percent=None)
    await rig.client.submit(Departure(intent=trail))
    await settled()
    await moved_to(rig, 98, 95)
    await asyncio.sleep(1)
    assert await rig.held() == 0
