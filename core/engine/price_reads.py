"""What prices need by request, one venue at a time: tickers for symbols whose stream is late, closed minutes, funding.

Everything here is bounded, shared and in the data lane: however many symbols need a ticker, one request for all of them
is on its way, with a time-out, and the pauses grow while it fails. Nothing here is waited for by a decision.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

import structlog
from msgspec import Struct

from core.clock import Clock
from core.domain.candle import Candle
from core.domain.exits import Funding
from core.domain.ids import InstrumentId, Symbol, VenueName
from core.engine.ports import MarketReads, PriceTriple
from core.engine.task_group import TaskGroup
from core.errors import VenueError

log = structlog.get_logger(__name__)

TICKER_SECONDS = 2.0
"""The most one request for all tickers may take."""
TICKER_PAUSE, LEAST_TICKER_PAUSE = 2.0, 0.5
"""Between two, and where a price that nothing confirms waits for one."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 16.0
CANDLE_SECONDS = 8.0
"""The close of a minute serves for ten seconds at most."""
CANDLE_DELAY = 1.0
"""After the end of a minute, until the venue has its candle."""
CANDLES_AT_ONCE = 8
CANDLE_PACE, CANDLES_WITHIN = 0.02, 4.0
"""Between two requests, and for all of them at most."""
CANDLES = 3
"""The newest closed minute, and what two readings that failed would have brought."""
MINUTE_MS = 60_000
FUNDING_SECONDS = 300.0
FUNDING_ANSWER_SECONDS = 5.0
FUNDING_LOOK_SECONDS = 5.0


class Takers(Struct, frozen=True, kw_only=True):
    """Who gets what was read. Times are those of the answer."""

    tickers: Callable[[VenueName, Mapping[Symbol, PriceTriple]], None]
    candles: Callable[[InstrumentId, Sequence[Candle]], None]
    funding: Callable[[InstrumentId, Funding | None], None]


class PriceReads:
    """Of one venue. `reads` is asked for anew each time: a venue may leave or come back."""

    def __init__(
        self,
        *,
        venue: VenueName,
        reads: Mapping[VenueName, MarketReads],
        serves: Callable[[VenueName], bool],
        watched: Callable[[], Collection[InstrumentId]],
        takers: Takers,
        venue_ms: Callable[[], int],
        clock: Clock,
        counts: Counter[str],
    ) -> None:
        """While the venue does not serve nothing is asked. `watched` of this venue; `venue_ms` the venue's UTC."""
        self._venue, self._reads, self._serves = venue, reads, serves
        self._watched = watched
        self._takers, self._venue_ms, self._clock, self._counts = takers, venue_ms, clock, counts
        self._needed, self._urgent = asyncio.Event(), asyncio.Event()
        self._funding_read: dict[InstrumentId, float] = {}

    def need_tickers(self, *, urgent: bool = False) -> None:
        """Some price is wanted that the stream does not give. Asked for at once, but for the pause after the last one,
        which is cut short where it is `urgent`."""
        self._needed.set()
        if urgent:
            self._urgent.set()

    async def tickers(self) -> None:
        """Until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            await self._needed.wait()
            self._needed.clear()
            self._urgent.clear()
            if await self._ask_tickers():
                pause = _FIRST_PAUSE
                await self._rest(TICKER_PAUSE)
            else:
                await self._rest(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def candles(self) -> None:
        """The last closed minute of every watched symbol, shortly after its end, until cancelled."""
        while True:
            await asyncio.sleep((MINUTE_MS - self._venue_ms() % MINUTE_MS) / 1000 + CANDLE_DELAY)
            turns = asyncio.Semaphore(CANDLES_AT_ONCE)
            async with TaskGroup() as tasks:
                watched = tuple(self._watched())
                for number, instrument in enumerate(watched):
                    if number:  # their answers in one heap would hold up prices
                        await asyncio.sleep(min(CANDLE_PACE, CANDLES_WITHIN / len(watched)))
                    tasks.create_task(self._ask_candles(instrument, turns), name=f"data/candles/{instrument}")

    async def fundings(self) -> None:
        """Of every watched symbol, every few minutes, until cancelled."""
        while True:
            now, watched = self._clock.monotonic(), tuple(self._watched())
            for gone in self._funding_read.keys() - set(watched):
                del self._funding_read[gone]
            for instrument in watched:
                if now - self._funding_read.get(instrument, float("-inf")) >= FUNDING_SECONDS:
                    self._funding_read[instrument] = now
                    await self._ask_funding(instrument)
            await asyncio.sleep(FUNDING_LOOK_SECONDS)

    def _usable(self) -> MarketReads | None:
        return self._reads.get(self._venue) if self._serves(self._venue) else None

    async def _rest(self, seconds: float) -> None:
        await asyncio.sleep(LEAST_TICKER_PAUSE)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds - LEAST_TICKER_PAUSE):
                await self._urgent.wait()

    async def _ask_tickers(self) -> bool:
        reads = self._usable()
        if reads is None:
            return False
        self._counts["ticker_requests"] += 1
        try:
            async with asyncio.timeout(TICKER_SECONDS):
                told = await reads.prices()
        except (VenueError, TimeoutError) as error:
            self._failed("tickers", error)
            return False
        self._takers.tickers(self._venue, told)
        return True

    async def _ask_candles(self, instrument: InstrumentId, turns: asyncio.Semaphore) -> None:
        reads = self._usable()
        if reads is None:
            return
        try:
            async with asyncio.timeout(CANDLE_SECONDS), turns:
                candles = await reads.candles(instrument.symbol, "1m", CANDLES)
        except (VenueError, TimeoutError) as error:
            self._failed("candles", error)
            return
        if candles:
            self._takers.candles(instrument, candles)

    async def _ask_funding(self, instrument: InstrumentId) -> None:
        reads = self._usable()
        if reads is None:
            return
        try:
            async with asyncio.timeout(FUNDING_ANSWER_SECONDS):
                rate = await reads.funding(instrument.symbol)
        except (VenueError, TimeoutError) as error:
            self._failed("funding", error)
            return
        told = None if rate is None else Funding(rate_percent=rate.rate_percent, due_ms=rate.due_ms)
        self._takers.funding(instrument, told)

    def _failed(self, what: str, error: VenueError | TimeoutError) -> None:
        self._counts[f"failed_{what}"] += 1
        why = "no answer in time" if isinstance(error, TimeoutError) else str(error)
        log.debug("data.read_failed", venue=self._venue, what=what, why=why)
