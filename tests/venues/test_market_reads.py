"""Public figures by request: against the simulator, and over what the venue itself has answered."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.domain.candle import TIMEFRAME_MS
from core.domain.ids import Symbol
from core.errors import Unreachable
from tests.venues.binance_rig import BTC, a_rig, answer

KLINES, INTEREST = "/fapi/v1/klines", "/fapi/v1/openInterest"
DAY, TOUCHES = "/fapi/v1/ticker/24hr", "/fapi/v1/ticker/bookTicker"


def _recorded(fixtures: Path, name: str) -> Any:
    return json.loads((fixtures / f"{name}.recorded.json").read_text("utf-8"))


@pytest.fixture
def fixtures(shared: Path) -> Path:
    return shared / "venues" / "fixtures" / "binance_usdm"


@pytest.mark.parametrize("timeframe", ["1m", "5m", "1h"])
@pytest.mark.parametrize("limit", [1, 60, 200])
async def test_candles_are_closed_oldest_first_and_at_most_as_many_as_asked(timeframe: str, limit: int) -> None:
    async with a_rig() as rig:
        candles = await rig.connection.reads.candles(BTC.symbol, timeframe, limit)
        length = TIMEFRAME_MS[timeframe]
        assert 0 < len(candles) <= limit
        opened = [candle.open_ms for candle in candles]
        assert opened == sorted(set(opened))
        assert opened[-1] + length <= rig.clock.now_ms(), "the running one is left out"
        assert opened[-1] + 2 * length > rig.clock.now_ms(), "the newest closed one is there"
        assert all(candle.low <= min(candle.open, candle.close) for candle in candles)
        assert len(rig.tap.asked) == 1


async def test_open_interest_and_turnover_are_those_of_the_venue() -> None:
    async with a_rig() as rig:
        interest = await rig.connection.reads.open_interest(BTC.symbol)
        assert interest > 0
        turnover = await rig.connection.reads.day_turnover()
        assert turnover[BTC.symbol] > 0
        assert set(turnover) <= set(rig.client.instruments)
        assert len(rig.tap.asked) == 2, "one request for all symbols"


async def test_the_touch_of_every_symbol_comes_with_one_request() -> None:
    async with a_rig() as rig:
        ticks = {tick.symbol: tick for tick in await rig.connection.reads.touch_ticks()}  # type: ignore[attr-defined]
        assert len(rig.tap.asked) == 1
        tradable = {symbol for symbol, instrument in rig.client.instruments.items() if instrument.tradable}
        assert tradable <= ticks.keys()
        tick = ticks[BTC.symbol]
        assert tick.bid is not None
        assert tick.ask is not None
        assert tick.bid < tick.ask


async def test_the_venues_own_answers_are_understood(fixtures: Path) -> None:
    async with a_rig() as rig:
        reads = rig.connection.reads
        rows = _recorded(fixtures, "rest_klines")
        rig.tap.put("GET", KLINES, answer(200, rows))
        candles = await reads.candles(BTC.symbol, "1m", 1_000)
        assert len(candles) == len(rows)
        assert [str(candles[0].open), candles[0].volume] == [str(Decimal(rows[0][1])), Decimal(rows[0][5])]
        row = _recorded(fixtures, "rest_openInterest")
        rig.tap.put("GET", INTEREST, answer(200, row))
        assert await reads.open_interest(BTC.symbol) == Decimal(row["openInterest"])
        touch = _recorded(fixtures, "rest_bookTicker")
        rig.tap.put("GET", TOUCHES, answer(200, touch if isinstance(touch, list) else [touch]))
        assert isinstance(await reads.touch_ticks(), list)  # type: ignore[attr-defined]


@pytest.mark.parametrize("nonsense", [{}, "x", [[1, 2]], [[None] * 12], {"openInterest": "NaN"}], ids=str)
async def test_nonsense_is_a_venue_error_and_nothing_else(nonsense: Any) -> None:
    async with a_rig() as rig:
        reads = rig.connection.reads
        for path in (KLINES, INTEREST, DAY):
            rig.tap.put("GET", path, *[answer(200, nonsense)] * 3)
        with pytest.raises(Unreachable):
            await reads.candles(BTC.symbol, "1m", 5)
        with pytest.raises(Unreachable):
            await reads.open_interest(BTC.symbol)
        with pytest.raises(Unreachable):
            await reads.day_turnover()


async def test_an_unknown_symbol_is_not_asked_for() -> None:
    async with a_rig() as rig:
        with pytest.raises(KeyError):
            await rig.connection.reads.open_interest(Symbol("NOSUCH/USDT:USDT"))
        assert rig.tap.asked == []
