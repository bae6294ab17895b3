"""Bybit's sockets against the simulator: logging in, gaps, what frames tell of money and of others, and prices."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from core.domain.ids import Symbol
from core.domain.order import OrderStatus
from core.domain.reports import (
    BalanceReport,
    FillReport,
    LeverageReport,
    MarginCallReport,
    Origin,
    PositionReport,
    WalletCause,
)
from core.domain.signal import Side
from core.engine.ports import Condition, StreamState
from core.errors import Unreachable
from tests.venues.binance_rig import answer
from tests.venues.bybit.desk import BTC, ETH, Desk, a_desk, accepted, an_intent, settled, with_stop

S = OrderStatus


async def test_the_stream_is_live_when_every_topic_is_confirmed() -> None:
    async with a_desk() as desk:
        said = [row["path"] for row in await desk.venue.ask("requests") if row["method"] == "WS"]
        assert said == ["auth", *["subscribe"] * 4]
        assert desk.states == [StreamState.LIVE]


async def test_a_refused_login_is_a_refused_key_and_is_not_tried_again_and_again() -> None:
    async with a_desk(opened=False, secret="wrong") as desk:
        stream = asyncio.create_task(desk.connection.user_stream.run())
        await asyncio.sleep(300)
        stream.cancel()
        await asyncio.gather(stream, return_exceptions=True)
        assert [health.condition for health in desk.health] == [Condition.KEY_REFUSED]
        logins = [row for row in await desk.venue.ask("requests") if row["path"] == "auth"]
        assert len(logins) == 1
        assert desk.states == []


async def test_an_idle_day_ends_no_connection() -> None:
    async with a_desk() as desk:
        await asyncio.sleep(20 * 3600)
        assert desk.connection.user_stream.reconnect_count == 0


async def test_a_half_open_socket_is_found_out_and_replaced() -> None:
    async with a_desk() as desk:
        await desk.venue.tell("fault", kind="half_open_stream", match={"stream": "private"}, count=1)
        await asyncio.sleep(90)
        assert desk.connection.user_stream.reconnect_count == 1
        assert desk.states == [StreamState.LIVE, StreamState.DOWN, StreamState.LIVE]


async def test_what_a_gap_hid_is_in_the_picture_after_it() -> None:
    async with a_desk() as desk:
        await desk.venue.tell("fault", kind="disconnect_stream", match={"stream": "private"}, count=1)
        departure = with_stop(an_intent(), desk.level("90"))
        accepted(await desk.client.submit(departure))
        await asyncio.sleep(5)
        assert desk.connection.user_stream.state is StreamState.LIVE
        status = await desk.client.mass_status()
        assert departure.stop is not None
        assert [(r.client_order_id, r.status) for r in status.orders] == [(departure.stop.client_order_id, S.ACCEPTED)]
        assert [p.quantity for p in status.positions] == [departure.intent.quantity]


async def test_garbage_is_set_aside_and_what_follows_is_heard() -> None:
    async with a_desk() as desk:
        await desk.venue.tell("fault", kind="garbage_frame", count=1)
        accepted(await desk.send(an_intent()))
        await settled()
        assert desk.of(PositionReport)
        assert desk.connection.user_stream.statistics.malformed + desk.connection.user_stream.statistics.unknown >= 1  # type: ignore[attr-defined]


async def test_a_trade_moves_the_wallet_for_that_reason() -> None:
    async with a_desk() as desk:
        accepted(await desk.send(an_intent()))
        (moved,) = desk.of(BalanceReport)
        assert (moved.asset, moved.cause) == ("USDT", WalletCause.TRADE)
        assert moved.available is not None
        assert moved.wallet < 10_000


async def test_funding_is_told_with_its_amount_and_the_wallet_after_it() -> None:
    async with a_desk() as desk:
        await desk.client.balances()
        accepted(await desk.send(an_intent(size="0.100")))
        desk.told.clear()
        await asyncio.sleep(8 * 3600 + 60)
        funded = [b for b in desk.of(BalanceReport) if b.cause is WalletCause.FUNDING]
        assert funded
        assert all(report.change for report in funded)
        walls = {report.venue_time_ms: report.wallet for report in desk.of(BalanceReport) if report.change is None}
        for report in funded:
            later = [wallet for time, wallet in walls.items() if time >= report.venue_time_ms]
            assert report.wallet == later[0]
        assert desk.of(FillReport) == [], "funding is no trade"


async def test_a_liquidation_is_told_as_one() -> None:
    async with a_desk() as desk:
        departure = with_stop(an_intent(size="0.100"), desk.level("90"))
        accepted(await desk.send(departure))
        desk.told.clear()
        await desk.venue.tell("fault", kind="liquidate", match={"symbol": "BTCUSDT"})
        await settled(2)
        fills = desk.of(FillReport)
        assert {fill.origin for fill in fills} == {Origin.LIQUIDATION}
        assert sum(fill.quantity for fill in fills) == departure.intent.quantity
        assert {fill.client_order_id for fill in fills} == {""}
        assert desk.of(MarginCallReport)
        assert departure.stop is not None
        assert desk.statuses(departure.stop)[-1] is S.CANCELED
        assert desk.of(PositionReport)[-1].quantity == 0


async def test_an_auto_deleveraging_is_told_as_one() -> None:
    async with a_desk() as desk:
        accepted(await desk.send(an_intent(size="0.100")))
        desk.told.clear()
        await desk.venue.tell("fault", kind="adl", match={"symbol": "BTCUSDT"})
        await settled(2)
        assert {fill.origin for fill in desk.of(FillReport)} == {Origin.ADL}


async def test_a_changed_leverage_is_told() -> None:
    async with a_desk() as desk:
        await desk.client.set_leverage(BTC.symbol, 7)
        await settled()
        assert [(r.instrument, r.leverage) for r in desk.of(LeverageReport)] == [(BTC, 7)]


async def test_doubled_frames_tell_the_same_trade_twice() -> None:
    async with a_desk() as desk:
        await desk.venue.tell("fault", kind="duplicate_event", count=-1)
        entry = an_intent()
        accepted(await desk.send(entry))
        fills = desk.fills(entry)
        assert len(fills) == 2
        assert fills[0] == fills[1]
        assert desk.order(entry).status is S.FILLED


async def test_reordered_frames_end_in_the_same_place() -> None:
    async with a_desk(seed=7) as desk:
        await desk.venue.tell("fault", kind="reorder_events", count=-1, delay_ms=30, seed=3)
        departure = with_stop(an_intent(), desk.level("90"))
        accepted(await desk.send(departure))
        await settled(1)
        close = replace(an_intent(side=Side.SELL, name="close"), reduce_only=True)
        accepted(await desk.send(close))
        await settled(1)
        assert departure.stop is not None
        assert desk.order(departure.intent).status is S.FILLED
        assert desk.order(departure.stop).status is S.CANCELED


# --- prices ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def listening(*symbols: Symbol) -> AsyncIterator[Desk]:
    async with a_desk(streaming=False, tick_hz=10) as desk:
        market = asyncio.create_task(desk.connection.market.run())
        desk.connection.market.want(symbols)
        await settled(1)
        try:
            yield desk
        finally:
            market.cancel()
            await asyncio.gather(market, return_exceptions=True)


async def test_wanted_symbols_have_prices_and_others_none() -> None:
    async with listening(BTC.symbol) as desk:
        quote = desk.connection.market.quote(BTC.symbol)
        assert quote is not None
        assert quote.mark is not None
        assert quote.bid is not None
        assert quote.ask is not None
        assert quote.bid < quote.ask
        assert desk.connection.market.quote(ETH.symbol) is None


async def test_prices_follow_the_market_by_their_changes() -> None:
    async with listening(BTC.symbol, ETH.symbol) as desk:
        await desk.venue.tell("price", symbol="BTCUSDT", price=desk.level("101"), hold_ms=5_000)
        await settled(1)
        quote = desk.connection.market.quote(BTC.symbol)
        assert quote is not None
        assert quote.mark == desk.mark()
        assert quote.received >= desk.clock.monotonic() - 3


async def test_a_new_connection_begins_with_whole_prices() -> None:
    async with listening(BTC.symbol) as desk:
        await desk.venue.tell("fault", kind="disconnect_stream", match={"stream": "public"}, count=1)
        await settled(10)
        quote = desk.connection.market.quote(BTC.symbol)
        assert quote is not None
        assert quote.received >= desk.clock.monotonic() - 3
        assert quote.bid is not None


# --- public figures by request --------------------------------------------------------------------------------------


async def test_candles_are_closed_ones_oldest_first() -> None:
    async with a_desk(streaming=False) as desk:
        candles = await desk.connection.reads.candles(BTC.symbol, "1m", 50)
        assert len(candles) == 50
        starts = [candle.open_ms for candle in candles]
        assert starts == sorted(starts)
        assert starts[-1] + 60_000 <= desk.clock.now_ms()
        assert all(candle.low <= candle.close <= candle.high for candle in candles)


async def test_figures_of_every_contract_come_at_once() -> None:
    async with a_desk(streaming=False) as desk:
        reads, listed = desk.connection.reads, set(desk.client.instruments)
        prices, touches, turnover = await reads.prices(), await reads.touches(), await reads.day_turnover()
        assert set(prices) == set(touches) == set(turnover) == listed
        assert len(desk.tap.asked) == 3
        assert prices[BTC.symbol].mark > 0
        assert touches[BTC.symbol][0] < touches[BTC.symbol][1]
        assert turnover[BTC.symbol] > 0
        assert await reads.open_interest(BTC.symbol) > 0


async def test_a_contract_without_a_figure_costs_no_other_its_own() -> None:
    async with a_desk(streaming=False) as desk:
        row = {"symbol": "BTCUSDT", "lastPrice": "1", "indexPrice": "1", "markPrice": "1"}
        rows = [row, {**row, "symbol": "ETHUSDT", "markPrice": ""}]
        body = {"retCode": 0, "retMsg": "OK", "result": {"category": "linear", "list": rows}, "time": 1}
        desk.tap.put("GET", "/v5/market/tickers", answer(200, body))
        assert set(await desk.connection.reads.prices()) == {BTC.symbol}


async def test_a_contract_that_has_no_ticker_has_no_open_interest() -> None:
    async with a_desk(streaming=False) as desk:
        body = {"retCode": 0, "retMsg": "OK", "result": {"category": "linear", "list": []}, "time": 1}
        desk.tap.put("GET", "/v5/market/tickers", answer(200, body))
        with pytest.raises(Unreachable):
            await desk.connection.reads.open_interest(BTC.symbol)
