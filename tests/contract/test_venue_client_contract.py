"""The contract of ports.VenueClient, as the engine relies on it; sat by the Binance client against the simulator.

Another venue's client sits the same exam by another row in `VENUES`.
"""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from core.domain.ids import Leg, Symbol
from core.domain.order import Order, OrderIntent, OrderStatus, OrderType
from core.domain.reports import OrderStatusReport
from core.domain.signal import Side
from core.engine.ports import Accepted, Departure, NotFound, Rejected, Unknown, VenueClient
from tests.venues.binance_rig import BTC, Rig, a_rig, an_order_intent

S = OrderStatus


@pytest.fixture(params=[False, True], ids=["binance one-way", "binance hedge"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with a_rig(hedge=request.param) as made:
        yield made


@pytest.fixture
def venue(rig: Rig) -> VenueClient:
    return rig.client


def a_stop(rig: Rig, *, percent: int = 90, name: str = "one") -> OrderIntent:
    """Of a long, that far below the mark."""
    level = rig.venue.simulation.engine.quote("BTCUSDT").mark * percent / 100
    return an_order_intent(OrderType.STOP_MARKET, side=Side.SELL, trigger=str(level.quantize(Decimal(1))), name=name)


async def accepted(venue: VenueClient, intent: OrderIntent) -> OrderStatusReport:
    outcome = await venue.submit(Departure(intent=intent))
    assert isinstance(outcome, Accepted), outcome
    (report,) = outcome.reports
    assert isinstance(report, OrderStatusReport)
    assert report.client_order_id == intent.client_order_id
    return report


async def test_a_market_order_is_answered_with_its_final_state(venue: VenueClient) -> None:
    report = await accepted(venue, an_order_intent())
    assert (report.status, report.filled, report.quantity) == (S.FILLED, Decimal("0.002"), Decimal("0.002"))
    assert not report.reduce_only


async def test_a_stop_rests_close_only_and_is_seen_in_the_mass_status(rig: Rig, venue: VenueClient) -> None:
    await accepted(venue, an_order_intent())
    stop = a_stop(rig)
    report = await accepted(venue, stop)
    assert (report.status, report.conditional, report.reduce_only) == (S.ACCEPTED, True, True)
    status = await venue.mass_status()
    (listed,) = status.orders
    assert (listed.client_order_id, listed.trigger_price, listed.reduce_only, listed.conditional) == (
        stop.client_order_id,
        stop.trigger_price,
        True,
        True,
    )
    assert [(p.instrument, p.quantity) for p in status.positions if p.quantity] == [(BTC, Decimal("0.002"))]
    assert {str(b.asset) for b in status.balances} >= {"USDT", "USDC"}


async def test_a_resting_ended_or_unknown_order_is_found_by_its_client_id_alone(rig: Rig, venue: VenueClient) -> None:
    entry, stop = an_order_intent(), a_stop(rig)
    assert await venue.query_order(entry) is NotFound.NOT_FOUND
    assert await venue.query_order(stop) is NotFound.NOT_FOUND
    await accepted(venue, entry)
    await accepted(venue, stop)
    found = [await venue.query_order(intent) for intent in (entry, stop)]
    assert [row.status for row in found if isinstance(row, OrderStatusReport)] == [S.FILLED, S.ACCEPTED]
    await venue.cancel(Order(intent=stop, status=S.ACCEPTED))
    gone = await venue.query_order(stop)
    assert isinstance(gone, OrderStatusReport)
    assert gone.status is S.CANCELED


async def test_a_stop_that_fired_is_found_as_what_it_became(rig: Rig, venue: VenueClient) -> None:
    await accepted(venue, an_order_intent())
    stop = a_stop(rig)
    await accepted(venue, stop)
    assert stop.trigger_price is not None
    await rig.venue.tell("price", symbol="BTCUSDT", price=str(stop.trigger_price - 500))
    found = await venue.query_order(stop)
    assert isinstance(found, OrderStatusReport)
    assert (found.status, found.filled, found.conditional) == (S.FILLED, Decimal("0.002"), False)
    assert not [p for p in await venue.positions() if p.quantity]


@pytest.mark.failure("ORD-11")
async def test_the_501st_order_is_found_like_the_first(rig: Rig, venue: VenueClient) -> None:
    first = an_order_intent(name="number 0", size="0.001")
    await accepted(venue, first)
    engine = rig.venue.simulation.engine
    for number in range(1, 502):
        side = Side.SELL if number % 2 else Side.BUY
        await accepted(venue, an_order_intent(name=f"number {number}", side=side, size="0.001"))
        if number % 200 == 0:
            await asyncio.sleep(11)
    assert len(engine.orders()) > 501
    found = await venue.query_order(first)
    assert isinstance(found, OrderStatusReport)
    assert found.status is S.FILLED
    assert await venue.query_order(an_order_intent(name="never sent")) is NotFound.NOT_FOUND


async def test_fills_are_complete_oldest_first_and_name_their_order(venue: VenueClient, rig: Rig) -> None:
    since = rig.clock.now_ms()
    report = await accepted(venue, an_order_intent())
    close = await accepted(venue, an_order_intent(side=Side.SELL, leg=Leg.FLATTEN))
    fills = await venue.fills(BTC, since)
    assert [fill.venue_order_id for fill in fills] == [report.venue_order_id, close.venue_order_id]
    assert all(fill.price > 0 and fill.fee > 0 for fill in fills)
    assert len({fill.trade_id for fill in fills}) == 2
    await asyncio.sleep(5)
    assert await venue.fills(BTC, rig.clock.now_ms()) == []


async def test_an_id_that_is_at_work_opens_no_second_order(rig: Rig, venue: VenueClient) -> None:
    await accepted(venue, an_order_intent())
    stop = a_stop(rig)
    await accepted(venue, stop)
    assert isinstance(await venue.submit(Departure(intent=stop)), Unknown), "look it up: the first send arrived"
    assert len((await venue.mass_status()).orders) == 1


async def test_cancelling_twice_is_a_definite_no_the_second_time(rig: Rig, venue: VenueClient) -> None:
    await accepted(venue, an_order_intent())
    stop = a_stop(rig)
    await accepted(venue, stop)
    order = Order(intent=stop, status=S.ACCEPTED)
    first, second = await venue.cancel(order), await venue.cancel(order)
    assert isinstance(first, Accepted)
    (report,) = first.reports
    assert isinstance(report, OrderStatusReport)
    assert (report.client_order_id, report.status) == (stop.client_order_id, S.CANCELED)
    assert isinstance(second, Rejected)


async def test_a_level_the_market_has_passed_says_so(rig: Rig, venue: VenueClient) -> None:
    await accepted(venue, an_order_intent())
    outcome = await venue.submit(Departure(intent=a_stop(rig, percent=110)))
    assert isinstance(outcome, Rejected)
    assert outcome.would_trigger


async def test_closing_nothing_opens_nothing(rig: Rig, venue: VenueClient) -> None:
    outcome = await venue.submit(Departure(intent=an_order_intent(side=Side.SELL, leg=Leg.FLATTEN)))
    assert isinstance(outcome, Rejected)
    assert outcome.nothing_to_reduce
    assert not [p for p in await venue.positions() if p.quantity]


async def test_a_size_the_venue_does_not_take_is_a_definite_no(venue: VenueClient) -> None:
    assert isinstance(await venue.submit(Departure(intent=an_order_intent(size="0.0001"))), Rejected)


async def test_account_settings_and_leverage(rig: Rig, venue: VenueClient) -> None:
    settings = await venue.account_settings()
    assert settings.can_trade
    assert not settings.multi_assets
    assert settings.leverage[Symbol("BTC/USDT:USDT")] == 20
    await venue.set_leverage(Symbol("BTC/USDT:USDT"), 7)
    assert (await venue.account_settings()).leverage[Symbol("BTC/USDT:USDT")] == 7
    assert settings.hedge_mode == (await venue.account_settings()).hedge_mode


async def test_reads_and_commands_of_one_moment_do_not_disturb_each_other(rig: Rig, venue: VenueClient) -> None:
    await accepted(venue, an_order_intent())
    stop = a_stop(rig)
    outcomes = await asyncio.gather(
        venue.submit(Departure(intent=stop)), venue.positions(), venue.balances(), venue.mass_status()
    )
    assert isinstance(outcomes[0], Accepted)
