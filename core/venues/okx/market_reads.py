"""OKX's public figures by request: candles, open interest, prices of every swap. All in the data lane."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

import structlog

from core.domain.candle import TIMEFRAME_MS, Candle
from core.domain.ids import InstrumentId, Symbol, VenueName
from core.domain.money import HUNDRED, Price, Quantity, decimal_of
from core.engine.giving_way import by_turns
from core.engine.ports import FundingRate, PriceTriple
from core.errors import MalformedPayload
from core.venues.market_stream import Tick
from core.venues.okx import facts
from core.venues.okx.codes import ERRORS
from core.venues.okx.contracts import Contract, ContractTable
from core.venues.okx.payloads import Answer, FundingRow, IndexRow, MarkRow, OpenInterestRow, TickerRow
from core.venues.payload import ms_in, positive_in, price_in
from core.venues.reading import ReadPolicy, reading, together
from core.venues.venue_clock import VenueClock

_T = TypeVar("_T")

log = structlog.get_logger(__name__)

_reading = reading("okx")
_MOST_CANDLES = 300
_SWAPS = {"instType": "SWAP"}


class OkxMarketReads:
    """Implements ports.MarketReads. Shares ccxt, throttle and clock with the client; a read is tried twice."""

    def __init__(
        self, ccxt: Any, table: ContractTable, venue_clock: VenueClock, resync: Callable[[], Awaitable[None]]
    ) -> None:
        self._ccxt, self._table, self._clock = ccxt, table, venue_clock
        self._reads = ReadPolicy(ERRORS, resync, attempts=2)

    @_reading
    async def candles(self, symbol: Symbol, timeframe: str, limit: int) -> Sequence[Candle]:
        """The venue lists the newest first, the running one among them; long runs come in pages."""
        params = {"instId": self._contract(symbol).inst_id, "bar": facts.BARS[timeframe]}
        over_ms = self._clock.now_ms() - TIMEFRAME_MS[timeframe]
        found: dict[int, Candle] = {}
        while len(found) < limit:
            asked = min(limit + 1 - len(found), _MOST_CANDLES)
            page = params | {"limit": str(asked)} | ({"after": str(min(found))} if found else {})
            rows = await self._rows(self._ccxt.publicGetMarketCandles, page, list[Any])
            told, known = await by_turns(map(_candle, rows)), len(found)
            found |= {candle.open_ms: candle for candle in told if candle.open_ms <= over_ms}
            if len(told) < asked or len(found) == known:  # a page of nothing new would be asked for again for ever
                break
        return [candle for _, candle in sorted(found.items())][-limit:]

    @_reading
    async def open_interest(self, symbol: Symbol) -> Quantity:
        params = _SWAPS | {"instId": self._contract(symbol).inst_id}
        rows = await self._rows(self._ccxt.publicGetPublicOpenInterest, params, OpenInterestRow)
        if len(rows) != 1:
            raise MalformedPayload("okx open-interest", f"{len(rows)} rows for one swap")
        return Quantity(_number(rows[0].oiCcy, "oiCcy"))

    @_reading
    async def day_turnover(self) -> Mapping[Symbol, Decimal]:
        """The venue counts coins: at the last price they are worth about what was paid for them."""
        rows = await self._rows(self._ccxt.publicGetMarketTickers, _SWAPS, TickerRow)
        return {
            contract.instrument.symbol: _number(row.volCcy24h, "volCcy24h") * _number(row.last, "last")
            for row in rows
            if row.last and row.volCcy24h and (contract := self._table.contract(row.instId)) is not None
        }

    @_reading
    async def touches(self) -> Mapping[Symbol, tuple[Price, Price]]:
        """Rows whose prices cannot be are left out."""
        rows = await self._rows(self._ccxt.publicGetMarketTickers, _SWAPS, TickerRow)
        ticks = await self._ccxt.seam.off_loop(partial(_ticks, rows, self._table))
        return {tick.symbol: (tick.bid, tick.ask) for tick in ticks if tick.bid is not None and tick.ask is not None}

    @_reading
    async def prices(self) -> Mapping[Symbol, PriceTriple]:
        """Four requests at once: indices are told per quote coin."""
        (marks, lasts), indices = await together(
            together(
                self._rows(self._ccxt.publicGetPublicMarkPrice, _SWAPS, MarkRow),
                self._rows(self._ccxt.publicGetMarketTickers, _SWAPS, TickerRow),
            ),
            together(self._indices("USDT"), self._indices("USDC")),
        )
        last = {row.instId: row.last for row in lasts}
        index = {row.instId: row.idxPx for some in indices for row in some}
        told: dict[Symbol, PriceTriple] = {}
        for row in marks:
            contract = self._table.contract(row.instId)
            if contract is not None and last.get(row.instId) and index.get(contract.family):
                told[contract.instrument.symbol] = PriceTriple(
                    mark=Price(_number(row.markPx, "markPx")),
                    index=Price(_number(index[contract.family], "idxPx")),
                    last=Price(_number(last[row.instId], "last")),
                )
        return told

    @_reading
    async def funding(self, symbol: Symbol) -> FundingRate | None:
        """Of the running interval."""
        params = {"instId": self._contract(symbol).inst_id}
        rows = await self._rows(self._ccxt.publicGetPublicFundingRate, params, FundingRow)
        if not rows or not rows[0].fundingRate or not rows[0].fundingTime:
            return None
        rate = _number(rows[0].fundingRate, "fundingRate")
        try:
            return FundingRate(rate_percent=rate * HUNDRED, due_ms=ms_in(rows[0].fundingTime, "fundingTime"))
        except ValueError as error:
            raise MalformedPayload("okx funding", str(error)) from None

    async def _indices(self, coin: str) -> list[IndexRow]:
        return await self._rows(self._ccxt.publicGetMarketIndexTickers, {"quoteCcy": coin}, IndexRow)

    async def _rows(
        self, call: Callable[[Any], Awaitable[Any]], params: Mapping[str, str], shape: type[_T]
    ) -> list[_T]:
        answer: Answer[_T] = await self._reads.shaped(call, params, Answer[shape], "okx")  # type: ignore[valid-type]
        return answer.data

    def _contract(self, symbol: Symbol) -> Contract:
        return self._table.contract_of(InstrumentId(VenueName.OKX, symbol))


def _ticks(rows: Sequence[TickerRow], table: ContractTable) -> list[Tick]:
    ticks = []
    for row in rows:
        if (contract := table.contract(row.instId)) is None:
            continue
        try:
            ticks.append(touch_of(row, contract.instrument.symbol))
        except ValueError as error:
            log.warning("market.malformed", venue=VenueName.OKX, symbol=row.instId, what=str(error))
    return ticks


def touch_of(row: TickerRow, symbol: Symbol) -> Tick:
    """Raises ValueError."""
    return Tick(
        symbol=symbol,
        mark=None,
        bid=price_in(row.bidPx, "bidPx"),
        ask=price_in(row.askPx, "askPx"),
        venue_time_ms=ms_in(row.ts, "ts"),
        last=price_in(row.last, "last"),
    )


def _candle(row: list[Any]) -> Candle:
    """[open time, open, high, low, close, contracts, coins, quote coin, over or not]. Raises MalformedPayload."""
    try:
        first, high, low, last = (Price(positive_in(str(text), "candle")) for text in row[1:5])
        return Candle(
            ms_in(str(row[0]), "candle"),
            first,
            high,
            low,
            last,
            _number(row[6], "volCcy"),
            _number(row[7], "volCcyQuote"),
        )
    except (ValueError, IndexError) as error:
        raise MalformedPayload("okx candle", str(error)) from None


def _number(text: str, field: str) -> Decimal:
    try:
        return decimal_of(text, field)
    except ValueError as error:
        raise MalformedPayload("okx", str(error)) from None
