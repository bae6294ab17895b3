"""Bybit's public figures by request: candles, open interest, prices of every listed swap. All in the data lane."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import structlog

from core.domain.candle import TIMEFRAME_MS, Candle
from core.domain.ids import Symbol, VenueName
from core.domain.money import HUNDRED, Price, Quantity, decimal_of
from core.engine.giving_way import by_turns
from core.engine.ports import FundingRate, PriceTriple
from core.errors import MalformedPayload, Unreachable
from core.venues.bybit import facts
from core.venues.bybit.codes import ERRORS
from core.venues.bybit.payloads import Answer, CandleRows, Page, TickerRow
from core.venues.payload import amount_in, ms_in, positive_in, price_in
from core.venues.reading import ReadPolicy, reading
from core.venues.symbols import SymbolTable
from core.venues.venue_clock import VenueClock

_T = TypeVar("_T")

log = structlog.get_logger(__name__)


class BybitMarketReads:
    """Implements ports.MarketReads. Shares ccxt, throttle and clock with the client; a read is tried twice."""

    def __init__(
        self, ccxt: Any, symbols: SymbolTable, venue_clock: VenueClock, resync: Callable[[], Awaitable[None]]
    ) -> None:
        self._ccxt, self._symbols, self._clock = ccxt, symbols, venue_clock
        self._reads = ReadPolicy(ERRORS, resync, attempts=2)

    @reading("bybit")
    async def candles(self, symbol: Symbol, timeframe: str, limit: int) -> Sequence[Candle]:
        """The venue lists the newest first, and it is the running one; that is left out."""
        params = {
            "category": facts.CATEGORY,
            "symbol": self._symbols.venue_symbol(symbol),
            "interval": facts.INTERVALS[timeframe],
            "limit": str(min(limit + 1, facts.MOST_CANDLES)),
        }
        rows = (await self._read(self._ccxt.publicGetV5MarketKline, params, Answer[CandleRows])).result.rows
        over_ms = self._clock.now_ms() - TIMEFRAME_MS[timeframe]
        try:
            candles = await by_turns(map(_candle, reversed(rows)))
        except (ValueError, IndexError) as error:
            raise Unreachable("bybit", f"unreadable candle: {error}") from None
        return [candle for candle in candles if candle.open_ms <= over_ms][-limit:]

    @reading("bybit")
    async def open_interest(self, symbol: Symbol) -> Quantity:
        rows = await self._tickers(symbol=self._symbols.venue_symbol(symbol))
        if not rows:
            raise Unreachable("bybit", f"no ticker of {symbol}")
        return Quantity(self._number(rows[0].openInterest, "openInterest"))

    @reading("bybit")
    async def day_turnover(self) -> Mapping[Symbol, Decimal]:
        return {symbol: self._number(row.turnover24h, "turnover24h") for symbol, row in await self._listed()}

    @reading("bybit")
    async def touches(self) -> Mapping[Symbol, tuple[Price, Price]]:
        told = {}
        for symbol, row in await self._listed():
            try:
                bid, ask = price_in(row.bid1Price, "bid1Price"), price_in(row.ask1Price, "ask1Price")
            except ValueError as error:
                self._left_out(row, error)
                continue
            if bid is not None and ask is not None:
                told[symbol] = (bid, ask)
        return told

    @reading("bybit")
    async def prices(self) -> Mapping[Symbol, PriceTriple]:
        """Symbols of which one of the three is missing are left out."""
        told = {}
        for symbol, row in await self._listed():
            try:
                told[symbol] = PriceTriple(
                    mark=Price(positive_in(row.markPrice, "markPrice")),
                    index=Price(positive_in(row.indexPrice, "indexPrice")),
                    last=Price(positive_in(row.lastPrice, "lastPrice")),
                )
            except ValueError as error:
                self._left_out(row, error)
        return told

    @reading("bybit")
    async def funding(self, symbol: Symbol) -> FundingRate | None:
        """Of the running interval; contracts that expire have none."""
        rows = await self._tickers(symbol=self._symbols.venue_symbol(symbol))
        if not rows or not rows[0].fundingRate or rows[0].nextFundingTime in {"", "0"}:
            return None
        rate = self._number(rows[0].fundingRate, "fundingRate")
        try:
            return FundingRate(rate_percent=rate * HUNDRED, due_ms=ms_in(rows[0].nextFundingTime, "nextFundingTime"))
        except ValueError as error:
            raise MalformedPayload("bybit funding", str(error)) from None

    async def _listed(self) -> Iterator[tuple[Symbol, TickerRow]]:
        """Every contract is in one answer."""
        rows = await self._tickers()
        return (
            (instrument.symbol, row) for row in rows if (instrument := self._symbols.unified(row.symbol)) is not None
        )

    async def _tickers(self, **asked: str) -> list[TickerRow]:
        params = {"category": facts.CATEGORY, **asked}
        return (await self._read(self._ccxt.publicGetV5MarketTickers, params, Answer[Page[TickerRow]])).result.rows

    async def _read(self, call: Callable[[Any], Awaitable[Any]], params: dict[str, Any], shape: type[_T]) -> _T:
        return await self._reads.shaped(call, params, shape, "bybit")

    def _number(self, text: str, field: str) -> Decimal:
        try:
            return amount_in(text, field)
        except ValueError as error:
            raise Unreachable("bybit", f"unreadable answer: {error}") from None

    def _left_out(self, row: TickerRow, error: ValueError) -> None:
        log.warning("market.malformed", venue=VenueName.BYBIT, symbol=row.symbol, what=str(error))


def _candle(row: list[str]) -> Candle:
    """[start, open, high, low, close, volume, turnover]."""
    numbers = [Price(positive_in(row[at], name)) for at, name in ((1, "open"), (2, "high"), (3, "low"), (4, "close"))]
    first, high, low, last = numbers
    return Candle(
        ms_in(row[0], "candle"), first, high, low, last, decimal_of(row[5], "volume"), decimal_of(row[6], "turnover")
    )
