"""OKX's private and public streams at the simulated venue: what they tell, in which order, and how they come back."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from core.domain.ids import Symbol
from core.domain.order import Order, OrderStatus
from core.domain.reports import (
    BalanceReport,
    FillReport,
    OrderStatusReport,
    Origin,
    PositionReport,
    PositionSide,
    WalletCause,
)
from core.domain.signal import Side
from core.engine.ports import Accepted, Condition, Departure, StreamState
from tests.builders import price
from tests.venues.okx.intents import an_order_intent, with_stop
from tests.venues.okx.rig import Rig, a_rig

S = OrderStatus
MAIN = Symbol("BTC/USDT:USDT")


async def opened(rig: Rig, percent: int = 90, size: str = "0.002", side: Side = Side.BUY) -> Departure:
    departure = with_stop(an_order_intent(size=size, side=side), rig.level(percent))
    assert isinstance(await rig.client.submit(departure), Accepted)
    await asyncio.sleep(0.2)
    return departure


def stop_of(departure: Departure) -> Any:
    assert departure.stop is not None
    return departure.stop.client_order_id


def positions(rig: Rig) -> list[Decimal]:
    return [report.quantity for report in rig.reports if isinstance(report, PositionReport)]


async def test_an_entry_is_told_from_its_acceptance_to_the_stop_that_came_with_it() -> None:
    async with a_rig() as rig:
        departure = await rig.during(opened(rig))
        entry, stop = departure.intent.client_order_id, stop_of(departure)
        assert rig.statuses(entry)[0] is S.ACCEPTED
        assert rig.statuses(entry)[-1] is S.FILLED
        assert rig.statuses(stop) == [S.ACCEPTED]
        fills = rig.fills(entry)
        assert sum(fill.quantity for fill in fills) == Decimal("0.002")
        assert all(fill.fee > 0 and fill.fee_asset == "USDT" for fill in fills)
        assert positions(rig)[-1] == Decimal("0.002")
        wallets = [r for r in rig.reports if isinstance(r, BalanceReport) and r.asset == "USDT"]
        assert wallets[-1].wallet == Decimal(10_000) - sum(fill.fee for fill in fills)
        assert any(row.available is not None and row.available < row.wallet for row in wallets)
        causes = [row.cause for row in wallets]
        assert causes[0] is WalletCause.SNAPSHOT
        assert WalletCause.TRADE in causes


async def test_it_is_live_only_when_both_sockets_are_and_says_so_once() -> None:
    async with a_rig() as rig:
        await rig.during(asyncio.sleep(0))
        assert rig.states == [StreamState.LIVE]


async def test_a_stop_that_fires_is_told_as_one_order_to_its_end() -> None:
    async with a_rig() as rig:

        async def fired() -> Departure:
            departure = await opened(rig)
            await rig.venue.tell("price", symbol="BTC-USDT-SWAP", price=rig.level(89))
            await asyncio.sleep(0.2)
            return departure

        departure = await rig.during(fired())
        stop = stop_of(departure)
        told = rig.statuses(stop)
        assert told[0] is S.ACCEPTED
        assert S.TRIGGERED in told
        assert S.FILLED in told
        assert sum(fill.quantity for fill in rig.fills(stop)) == Decimal("0.002")
        assert positions(rig)[-1] == 0


async def test_an_entry_that_ends_half_filled_takes_its_stop_with_it() -> None:
    async with a_rig() as rig:

        async def half() -> Departure:
            await rig.venue.tell("fault", kind="partial_fill", fraction=0.5)
            return await opened(rig, size="0.004")

        departure = await rig.during(half())
        assert rig.statuses(departure.intent.client_order_id)[-1] in {S.EXPIRED, S.CANCELED}
        assert rig.statuses(stop_of(departure)) == [S.ABSENT]
        assert positions(rig)[-1] == Decimal("0.002")


async def test_a_stop_that_is_moved_tells_its_new_level() -> None:
    async with a_rig() as rig:

        async def moved() -> Departure:
            departure = await opened(rig)
            assert departure.stop is not None
            order = Order(intent=departure.stop, status=S.ACCEPTED)
            level = price(rig.level(93))
            await rig.client.amend_stop(order, trigger_price=level, quantity=order.quantity)
            return departure

        departure = await rig.during(moved())
        told = [r for r in rig.reports if isinstance(r, OrderStatusReport) and r.client_order_id == stop_of(departure)]
        assert told[-1].trigger_price == Decimal(rig.level(93))


async def test_in_long_short_mode_both_sides_are_told_apart() -> None:
    async with a_rig(hedge=True) as rig:

        async def both() -> None:
            await opened(rig)
            short = an_order_intent(side=Side.SELL, name="short", size="0.003")
            assert isinstance(await rig.client.submit(Departure(intent=short)), Accepted)
            await asyncio.sleep(0.2)

        await rig.during(both())
        last = {r.position_side: r.quantity for r in rig.reports if isinstance(r, PositionReport)}
        assert last == {PositionSide.LONG: Decimal("0.002"), PositionSide.SHORT: Decimal("-0.003")}


async def test_a_liquidation_is_told_by_its_trade_and_leaves_nothing() -> None:
    async with a_rig() as rig:

        async def liquidated() -> None:
            await opened(rig)
            await rig.venue.tell("fault", kind="liquidate", match={"symbol": "BTC-USDT-SWAP"})
            await asyncio.sleep(1)

        await rig.during(liquidated())
        assert positions(rig)[-1] == 0
        forced = [r for r in rig.reports if isinstance(r, FillReport) and r.origin is Origin.LIQUIDATION]
        assert sum(fill.quantity for fill in forced) == Decimal("0.002")


async def test_everything_told_twice_is_the_same_trade() -> None:
    async with a_rig() as rig:
        await rig.venue.tell("fault", kind="duplicate_event", count=-1)
        departure = await rig.during(opened(rig))
        fills = rig.fills(departure.intent.client_order_id)
        assert len(fills) > len({fill.trade_id for fill in fills})
        assert sum({fill.trade_id: fill.quantity for fill in fills}.values()) == Decimal("0.002")


@pytest.mark.parametrize("kind", ["disconnect_stream", "half_open_stream"])
async def test_a_stream_that_broke_or_went_silent_comes_back(kind: str) -> None:
    async with a_rig() as rig:

        async def broken() -> None:
            await rig.venue.tell("fault", kind=kind, count=1)
            await asyncio.sleep(60)

        await rig.during(broken())
        assert rig.states[0] is StreamState.LIVE
        assert rig.states[-1] is StreamState.LIVE
        assert StreamState.DOWN in rig.states
        assert rig.connection.user_stream.reconnect_count >= 1


async def test_an_idle_stream_is_never_closed_for_its_silence() -> None:
    async with a_rig() as rig:
        await rig.during(asyncio.sleep(600))
        assert rig.states == [StreamState.LIVE]
        assert rig.connection.user_stream.reconnect_count == 0


async def test_a_revoked_key_is_said_and_not_hammered() -> None:
    async with a_rig() as rig:

        async def revoked() -> None:
            await rig.venue.tell("fault", kind="revoke_key", count=1)
            await asyncio.sleep(120)

        await rig.during(revoked())
        assert rig.health[-1].condition is Condition.KEY_REFUSED
        assert rig.states[-1] is StreamState.DOWN


async def test_a_login_with_a_wrong_clock_is_tried_again_with_the_right_one() -> None:
    async with a_rig() as rig:
        await rig.venue.tell("clock", advance_ms=120_000)
        await rig.during(asyncio.sleep(1))
        assert rig.states == [StreamState.LIVE]
        assert rig.client.clock_offset_ms > 100_000


async def test_prices_of_wanted_swaps_are_touch_and_mark() -> None:
    async with a_rig() as rig:
        market = rig.connection.market
        running = asyncio.ensure_future(market.run())
        try:
            market.want([MAIN])
            await asyncio.sleep(2)
            quote = market.quote(MAIN)
            assert quote is not None
            assert quote.mark is not None
            assert quote.bid is not None
            assert quote.ask is not None
            assert quote.bid < quote.ask
            assert abs(quote.mark - rig.mark()) < rig.mark() / 100
            assert market.quote(Symbol("ETH/USDT:USDT")) is None
            await asyncio.sleep(120)
            later = market.quote(MAIN)
            assert later is not None
            assert rig.clock.monotonic() - later.received < 11
            market.drop([MAIN])
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_the_venues_figures_by_request() -> None:
    async with a_rig() as rig:
        reads = rig.connection.reads
        prices, touches, turnover = await reads.prices(), await reads.touches(), await reads.day_turnover()
        assert set(prices) == set(touches) == set(turnover) == set(rig.client.instruments)
        triple = prices[MAIN]
        assert max(triple.mark, triple.index, triple.last) < min(triple.mark, triple.index, triple.last) * 2
        assert touches[MAIN][0] < touches[MAIN][1]
        candles = await reads.candles(MAIN, "1m", 350)
        assert len(candles) == 350
        assert all(b.open_ms - a.open_ms == 60_000 for a, b in pairwise(candles))
        assert candles[-1].open_ms + 60_000 <= rig.clock.now_ms()
        assert all(candle.volume >= 0 and candle.turnover >= 0 for candle in candles)
        assert await reads.open_interest(MAIN) > 0
