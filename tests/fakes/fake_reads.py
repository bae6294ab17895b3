"""A venue's public figures: liquid and calm, unless a test says otherwise."""

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal

from core.clock import Clock
from core.domain.candle import TIMEFRAME_MS, Candle
from core.domain.ids import Symbol
from core.domain.money import Price, Quantity
from core.engine.ports import FundingRate, PriceTriple
from core.errors import VenueError
from tests.builders import Number, price


class FakeReads:
    """`latency` virtual seconds per answer; `error` is raised by every read while it is set."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.latency = 0.0
        self.error: VenueError | None = None
        self.asked: list[tuple[str, Symbol]] = []
        self.interest: dict[Symbol, Number] = {}
        self.turnover_a_minute: dict[Symbol, Number] = {}
        self.spreads: dict[Symbol, tuple[Price, Price]] = {}
        self.close: Number = 100
        self.hangs: set[Symbol] = set()
        self.triples: dict[Symbol, PriceTriple] = {}
        self.fundings: dict[Symbol, FundingRate] = {}

    async def candles(self, symbol: Symbol, timeframe: str, limit: int) -> Sequence[Candle]:
        await self._answer("candles", symbol)
        length, at = TIMEFRAME_MS[timeframe], price(self.close)
        newest = self._clock.now_ms() // length * length - length
        turnover = Decimal(self.turnover_a_minute.get(symbol, 100_000))
        times = range(newest - (limit - 1) * length, newest + 1, length)
        return [Candle(open_ms, at, at, at, at, turnover / at, turnover) for open_ms in times]

    async def open_interest(self, symbol: Symbol) -> Quantity:
        await self._answer("open_interest", symbol)
        return Quantity(Decimal(self.interest.get(symbol, 1_000_000)))

    async def day_turnover(self) -> Mapping[Symbol, Decimal]:
        await self._answer("day_turnover", Symbol(""))
        return {symbol: Decimal(turnover) * 1440 for symbol, turnover in self.turnover_a_minute.items()}

    async def touches(self) -> Mapping[Symbol, tuple[Price, Price]]:
        await self._answer("touches", Symbol(""))
        tight = {symbol: (price("99.99"), price("100.01")) for symbol in self.turnover_a_minute}
        return {**tight, **self.spreads}

    async def prices(self) -> Mapping[Symbol, PriceTriple]:
        await self._answer("prices", Symbol(""))
        return self.triples

    async def funding(self, symbol: Symbol) -> FundingRate | None:
        await self._answer("funding", symbol)
        return self.fundings.get(symbol)

    async def _answer(self, what: str, symbol: Symbol) -> None:
        self.asked.append((what, symbol))
        if self.latency:
            await asyncio.sleep(self.latency)
        if symbol in self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
