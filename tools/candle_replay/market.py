"""Live prices and public figures of the replay, at the engine's own ports."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal

from msgspec.structs import replace

from core.domain.candle import TIMEFRAME_MS, Candle
from core.domain.ids import Symbol
from core.domain.money import Price, Quantity
from core.engine.ports import FundingRate, PriceTriple, Quote
from tools.candle_replay.candles import Recording, joined
from tools.candle_replay.loop import ReplayClock
from tools.candle_replay.tape import Tape
from tools.venuesim.exchange.engine import MatchingEngine
from tools.venuesim.exchange.market import OPEN_INTEREST_NOTIONAL

MINUTE = "1m"
DAY_MS = 86_400_000


class ReplayMarket:
    """Implements ports.MarketData: the price of the tape, always of this moment."""

    unasked = True

    def __init__(self, tape: Tape, symbol: Symbol, clock: ReplayClock) -> None:
        self._tape = tape
        self._symbol = symbol
        self._clock = clock
        self._listeners: list[Callable[[Symbol], None]] = []
        self._told: tuple[int, float, Quote] | None = None

    def quote(self, symbol: Symbol) -> Quote | None:
        if symbol != self._symbol:
            return None
        ticks, now = self._tape.ticks, self._clock.monotonic()
        told = self._told
        if told is None or told[0] != ticks or told[1] != now:
            told = self._told = ticks, now, self._quote(now)
        return told[2]

    def _quote(self, now: float) -> Quote:
        bid, ask = self._tape.touch()
        last = Price(self._tape.last)
        return Quote(
            mark=last,
            bid=Price(bid),
            ask=Price(ask),
            venue_time_ms=self._clock.now_ms(),
            received=now,
            touch_received=now,
            last=last,
            last_received=now,
        )

    @property
    def wanted(self) -> Collection[Symbol]:
        return (self._symbol,)

    def want(self, symbols: Sequence[Symbol]) -> None:
        """There is one symbol, and its prices come."""

    def drop(self, symbols: Sequence[Symbol]) -> None:
        """As `want`."""

    def hold(self, symbols: Sequence[Symbol]) -> None:
        """As `want`."""

    def release(self, symbols: Sequence[Symbol]) -> None:
        """As `want`."""

    def refresh(self, symbols: Sequence[Symbol]) -> None:
        """As `want`."""

    def on_tick(self, listener: Callable[[Symbol], None]) -> None:
        self._listeners.append(listener)

    def tick(self) -> None:
        """The price of the tape has come."""
        for listener in self._listeners:
            listener(self._symbol)

    async def run(self) -> None:
        await asyncio.Event().wait()


class ReplayReads:
    """Implements ports.MarketReads: of the recording only what has closed by now.

    A recording says nothing of open interest: the simulator's figure stands in. Asked for shorter candles than it has,
    it gives each of its own as the last short one in it: the close is right, and an hour holds the same turnover.
    """

    def __init__(
        self, recording: Recording, exchange: MatchingEngine, tape: Tape, symbol: Symbol, clock: ReplayClock
    ) -> None:
        self._recording = recording.parts or recording
        self._exchange = exchange
        self._tape = tape
        self._symbol = symbol
        self._clock = clock
        self._by_timeframe: dict[str, tuple[Sequence[Candle], list[int]]] = {}

    async def candles(self, symbol: Symbol, timeframe: str, limit: int) -> Sequence[Candle]:
        del symbol
        length_ms, own_ms = TIMEFRAME_MS[timeframe], self._recording.length_ms
        if length_ms < own_ms:
            told = self._closed(self._recording.timeframe, max(1, limit * length_ms // own_ms))
            return [replace(candle, open_ms=candle.open_ms + own_ms - length_ms) for candle in told]
        return self._closed(timeframe, limit)

    def _closed(self, timeframe: str, limit: int) -> Sequence[Candle]:
        candles, opened = self._cached(timeframe)
        end = bisect_right(opened, self._clock.now_ms() - TIMEFRAME_MS[timeframe])
        return candles[max(0, end - limit) : end]

    async def open_interest(self, symbol: Symbol) -> Quantity:
        del symbol
        return Quantity((OPEN_INTEREST_NOTIONAL / self._tape.last).quantize(Decimal("0.001")))

    async def day_turnover(self) -> Mapping[Symbol, Decimal]:
        day = await self.candles(self._symbol, self._recording.timeframe, DAY_MS // self._recording.length_ms)
        return {self._symbol: sum((candle.turnover for candle in day), Decimal(0))}

    async def touches(self) -> Mapping[Symbol, tuple[Price, Price]]:
        bid, ask = self._tape.touch()
        return {self._symbol: (Price(bid), Price(ask))}

    async def prices(self) -> Mapping[Symbol, PriceTriple]:
        last = Price(self._tape.last)
        return {self._symbol: PriceTriple(mark=last, index=last, last=last)}

    async def funding(self, symbol: Symbol) -> FundingRate | None:
        del symbol
        told = self._exchange.funding(self._tape.instrument.symbol)
        return FundingRate(rate_percent=told.rate * 100, due_ms=told.next_ms)

    def _cached(self, timeframe: str) -> tuple[Sequence[Candle], list[int]]:
        if timeframe not in self._by_timeframe:
            candles = joined(self._recording, timeframe).candles
            self._by_timeframe[timeframe] = candles, [candle.open_ms for candle in candles]
        return self._by_timeframe[timeframe]
