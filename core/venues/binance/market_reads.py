"""Binance's public figures by request: candles, open interest, what was traded in a day. All in the data lane."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

import structlog

from core.domain.candle import TIMEFRAME_MS, Candle
from core.domain.ids import Symbol, VenueName
from core.domain.money import HUNDRED, Price, Quantity, decimal_of
from core.engine.giving_way import by_turns
from core.engine.ports import FundingRate, PriceTriple
from core.errors import MalformedPayload, Unreachable
from core.venues.binance import facts
from core.venues.binance.market_feed import price_told
from core.venues.binance.payloads import DayRow, LastRow, MarkRow, OpenInterestRow, TouchRow
from core.venues.market_stream import Tick
from core.venues.payload import shaped
from core.venues.reading import ReadPolicy, together
from core.venues.symbols import SymbolTable
from core.venues.venue_clock import VenueClock

_T = TypeVar("_T")

log = structlog.get_logger(__name__)


class BinanceMarketReads:
    """Implements ports.MarketReads. Shares ccxt, throttle and clock with the client; a read is tried twice."""

    def __init__(
        self, ccxt: Any, symbols: SymbolTable, venue_clock: VenueClock, resync: Callable[[], Awaitable[None]]
    ) -> None:
        self._ccxt, self._symbols, self._clock = ccxt, symbols, venue_clock
        self._reads = ReadPolicy(facts.ERRORS, resync, attempts=2)

    async def candles(self, symbol: Symbol, timeframe: str, limit: int) -> Sequence[Candle]:
        """Weight 1 up to 98 candles. The venue lists the running candle last; it is left out."""
        params: dict[str, Any] = {
            "symbol": self._symbols.venue_symbol(symbol),
            "interval": timeframe,
            "limit": limit + 1,  # ccxt weighs it as a number
        }
        rows = await self._read(self._ccxt.fapiPublicGetKlines, params, list[list[Any]])
        over_ms = self._clock.now_ms() - TIMEFRAME_MS[timeframe]
        try:
            candles = await by_turns(map(_candle, rows))
        except (ValueError, IndexError) as error:
            raise Unreachable("binance", f"unreadable candle: {error}") from None
        return [candle for candle in candles if candle.open_ms <= over_ms][-limit:]

    async def open_interest(self, symbol: Symbol) -> Quantity:
        params = {"symbol": self._symbols.venue_symbol(symbol)}
        row = await self._read(self._ccxt.fapiPublicGetOpenInterest, params, OpenInterestRow)
        return Quantity(self._number(row.openInterest, "openInterest"))

    async def day_turnover(self) -> Mapping[Symbol, Decimal]:
        rows = await self._read(self._ccxt.fapiPublicGetTicker24hr, {}, list[DayRow])
        return {
            instrument.symbol: self._number(row.quoteVolume, "quoteVolume")
            for row in rows
            if (instrument := self._symbols.unified(row.symbol)) is not None
        }

    async def touches(self) -> Mapping[Symbol, tuple[Price, Price]]:
        ticks = await self.touch_ticks()
        return {tick.symbol: (tick.bid, tick.ask) for tick in ticks if tick.bid is not None and tick.ask is not None}

    async def touch_ticks(self) -> Sequence[Tick]:
        """Best bid and ask of every listed swap; weight 5. Rows whose prices cannot be are left out."""
        rows = await self._read(self._ccxt.fapiPublicGetTickerBookTicker, {}, list[TouchRow])
        return await self._ccxt.seam.off_loop(partial(_ticks, rows, self._symbols))  # type: ignore[no-any-return]

    async def prices(self) -> Mapping[Symbol, PriceTriple]:
        """Weights 10 and 2."""
        marks, lasts = await together(
            self._read(self._ccxt.fapiPublicGetPremiumIndex, {}, list[MarkRow]),
            self._read(self._ccxt.fapiPublicV2GetTickerPrice, {}, list[LastRow]),
        )
        last = {row.symbol: row.price for row in lasts}
        return {
            instrument.symbol: PriceTriple(
                mark=Price(self._number(row.markPrice, "markPrice")),
                index=Price(self._number(row.indexPrice, "indexPrice")),
                last=Price(self._number(last[row.symbol], "price")),
            )
            for row in marks
            if row.symbol in last and (instrument := self._symbols.unified(row.symbol)) is not None
        }

    async def funding(self, symbol: Symbol) -> FundingRate | None:
        """Weight 1. The rate is the one predicted for the running interval."""
        params = {"symbol": self._symbols.venue_symbol(symbol)}
        row = await self._read(self._ccxt.fapiPublicGetPremiumIndex, params, MarkRow)
        if not row.lastFundingRate or not row.nextFundingTime:
            return None
        rate = self._number(row.lastFundingRate, "lastFundingRate")
        return FundingRate(rate_percent=rate * HUNDRED, due_ms=row.nextFundingTime)

    async def _read(self, call: Callable[[Any], Awaitable[Any]], params: dict[str, Any], shape: type[_T]) -> _T:
        try:
            return shaped(await self._reads.run(lambda: call(dict(params))), shape, "binance")
        except MalformedPayload as error:
            raise Unreachable("binance", f"unreadable answer: {error}") from error

    def _number(self, text: str, field: str) -> Decimal:
        try:
            return decimal_of(text, field)
        except ValueError as error:
            raise Unreachable("binance", f"unreadable answer: {error}") from None


def _ticks(rows: Sequence[TouchRow], symbols: SymbolTable) -> list[Tick]:
    ticks = []
    for row in rows:
        if (instrument := symbols.unified(row.symbol)) is None:
            continue
        try:
            bid, ask = price_told(row.bidPrice, "bidPrice"), price_told(row.askPrice, "askPrice")
        except MalformedPayload as error:
            log.warning("market.malformed", venue=VenueName.BINANCE, symbol=row.symbol, what=error.what)
            continue
        ticks.append(Tick(symbol=instrument.symbol, mark=None, bid=bid, ask=ask, venue_time_ms=row.time))
    return ticks


def _candle(row: list[Any]) -> Candle:
    """[open time, open, high, low, close, volume, close time, quote volume, …]."""
    numbers = [decimal_of(row[index], name) for index, name in ((1, "open"), (2, "high"), (3, "low"), (4, "close"))]
    if not isinstance(row[0], int) or min(numbers) <= 0:
        raise ValueError("a candle without a time or a price")
    first, high, low, last = (Price(number) for number in numbers)
    return Candle(row[0], first, high, low, last, decimal_of(row[5], "volume"), decimal_of(row[7], "quoteVolume"))
