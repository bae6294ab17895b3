"""Screener: keeps what the filters need of the whole universe warm, so that no wave pays a request for it.

A sweep reads open interest and an hour of minutes per symbol, evenly spread over most of `SCREEN_MAX_AGE_SECONDS`; the
marks of the stream are sampled for the move of the last five minutes. A symbol nobody has read yet is read when its
signal comes, once, while the rest of the wave goes on.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import TypeVar

import structlog

from core.clock import Clock
from core.domain.ids import InstrumentId, VenueName
from core.domain.instrument import Instrument
from core.domain.liquidity import Activity
from core.domain.money import ZERO, Price, Quantity
from core.engine.giving_way import AT_ONCE, PAUSE_SECONDS
from core.engine.ports import MarketData, MarketReads
from core.engine.task_group import TaskGroup
from core.errors import VenueError

log = structlog.get_logger(__name__)

_T = TypeVar("_T")

ANSWER_SECONDS = 3.0
"""One symbol's silence may cost its own signal, never the wave it came with (SIG-05)."""
JOIN_SECONDS = 1.0
"""Between two looks for venues that have joined."""
SAMPLE_SECONDS = 20.0
BEFORE_SECONDS = 300.0
BEFORE_TOLERANCE_SECONDS = 90.0
"""How much older than five minutes the price compared with may be (candles are a minute apart)."""
SWEEP_SHARE = 0.6
"""The part of the greatest age one sweep takes; the rest is room for a slow venue."""
FIRST_SWEEP_PER_SECOND = 20.0
HOUR_MINUTES = 60


@dataclass(slots=True)
class _Known:
    """`read` monotonic seconds of the last answer; `samples` are (monotonic seconds, price), oldest first."""

    open_interest: Quantity | None = None
    volume_1h: Decimal | None = None
    read: float | None = None
    error: str = ""
    samples: deque[tuple[float, Price]] = field(default_factory=deque)


class Screener:
    def __init__(
        self,
        *,
        reads: Mapping[VenueName, MarketReads],
        markets: Mapping[VenueName, MarketData],
        instruments: Mapping[InstrumentId, Instrument],
        wanted: Callable[[Instrument], bool],
        clock: Clock,
        max_age: float,
    ) -> None:
        """`wanted` says which instruments may ever be entered; nothing is read for others (VAL-17)."""
        self._reads = reads
        self._markets = markets
        self._instruments = instruments
        self._wanted = wanted
        self._clock = clock
        self._max_age = max_age
        self._known: dict[InstrumentId, _Known] = {}
        self._judged: dict[InstrumentId, tuple[Instrument, bool]] = {}
        self._reading: dict[InstrumentId, asyncio.Task[None]] = {}
        self._tasks: TaskGroup | None = None
        self.counts: Counter[str] = Counter()

    def activity(self, instrument: InstrumentId) -> Activity:
        """What is known now; every part may be missing."""
        known = self._known.get(instrument)
        if known is None:
            return Activity()
        now = self._clock.monotonic()
        return Activity(
            open_interest=known.open_interest,
            volume_1h=known.volume_1h,
            age=None if known.read is None else now - known.read,
            price_before=_price_before(known.samples, now),
            error=known.error,
        )

    def fresh(self, instrument: InstrumentId) -> bool:
        known = self._known.get(instrument)
        return known is not None and known.read is not None and self._clock.monotonic() - known.read <= self._max_age

    @property
    def coverage(self) -> tuple[int, int]:
        """(instruments with fresh inputs, instruments that may be entered)."""
        wanted = self._universe()
        return sum(1 for instrument in wanted if self.fresh(instrument)), len(wanted)

    async def ensure(self, instrument: InstrumentId) -> None:
        """Read a symbol nobody has read lately, waiting a bounded time. Two signals of one symbol share one read."""
        if self._tasks is None or self.fresh(instrument) or instrument.venue not in self._reads:
            return
        task = self._reading.get(instrument)
        if task is None:
            self.counts["cold_reads"] += 1
            task = self._tasks.create_task(self._read(instrument), name=f"screener/{instrument}")
            self._reading[instrument] = task
            task.add_done_callback(lambda _done: self._reading.pop(instrument, None))
        await asyncio.wait([task], timeout=ANSWER_SECONDS)
        if not task.done():
            self._known.setdefault(instrument, _Known()).error = f"no answer within {ANSWER_SECONDS:g} s"

    async def run(self) -> None:
        """Sweep and sample until cancelled; a venue that joins later is swept from then on."""
        swept: set[VenueName] = set()
        async with TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._sample_again_and_again(), name="screener/samples")
            try:
                while True:
                    for venue in [venue for venue in self._reads if venue not in swept]:
                        swept.add(venue)
                        tasks.create_task(self._sweep(venue), name=f"screener/{venue}")
                    await asyncio.sleep(JOIN_SECONDS)
            finally:
                self._tasks = None  # a wave must not find an ended owner

    async def _sweep(self, venue: VenueName) -> None:
        """One symbol after another. The first round is quicker; in the later ones the oldest reading goes first."""
        first = True
        while True:
            due = [i for i in self._universe() if i.venue is venue]
            due.sort(key=self._read_at)
            pause = self._max_age * SWEEP_SHARE / max(1, len(due))
            if first:
                pause = min(pause, 1 / FIRST_SWEEP_PER_SECOND)
            async with TaskGroup() as group:
                for instrument in due:
                    if not (first and self.fresh(instrument)):
                        group.create_task(self._read(instrument), name=f"screener/{instrument}")
                    await asyncio.sleep(pause)
            if first:
                fresh, of = self.coverage
                log.info("screener.warm", venue=venue, symbols=of, fresh=fresh)
            if not due:
                await asyncio.sleep(1.0)
            first = not due

    async def _read(self, instrument: InstrumentId) -> None:
        """Open interest and the last hour's minutes, at once. A failure is kept as the reason for what is missing."""
        known = self._known.setdefault(instrument, _Known())
        reads = self._reads[instrument.venue]
        interest, candles = await asyncio.gather(
            _told(partial(reads.open_interest, instrument.symbol)),
            _told(partial(reads.candles, instrument.symbol, "1m", HOUR_MINUTES)),
        )
        if isinstance(interest, VenueError) or isinstance(candles, VenueError):
            self.counts["failed_reads"] += 1
            known.error = str(interest if isinstance(interest, VenueError) else candles)
            return
        now, now_ms = self._clock.monotonic(), self._clock.now_ms()
        known.open_interest = interest
        known.volume_1h = sum((c.turnover for c in candles), ZERO) if candles else None
        known.read, known.error = now, ""
        if _price_before(known.samples, now) is None:
            # A close is a price of the end of its minute; host and venue clocks differ by less than a minute.
            closes = [(now - (now_ms - c.open_ms) / 1000 + 60, c.close) for c in candles[-8:]]
            recent = [sample for sample in known.samples if sample[0] > now - BEFORE_SECONDS]
            oldest = recent[0][0] if recent else now
            known.samples = deque([*(close for close in closes if close[0] < oldest), *recent])

    async def _sample_again_and_again(self) -> None:
        while True:
            await self.sample(PAUSE_SECONDS)
            await asyncio.sleep(SAMPLE_SECONDS)

    async def sample(self, pause: float = 0.0) -> None:
        """The marks the streams already bring, kept for a little over five minutes."""
        for number, instrument in enumerate(self._universe(), start=1):
            if number % AT_ONCE == 0:
                await asyncio.sleep(pause)
            now, market = self._clock.monotonic(), self._markets.get(instrument.venue)
            quote = None if market is None else market.quote(instrument.symbol)
            if quote is None or quote.mark is None or now - quote.received > SAMPLE_SECONDS:
                continue
            samples = self._known.setdefault(instrument, _Known()).samples
            samples.append((now, quote.mark))
            while samples[0][0] < now - BEFORE_SECONDS - BEFORE_TOLERANCE_SECONDS:
                samples.popleft()

    def _universe(self) -> list[InstrumentId]:
        return [i for i, instrument in self._instruments.items() if self._may_be_entered(i, instrument)]

    def _may_be_entered(self, key: InstrumentId, instrument: Instrument) -> bool:
        """Judged once for each set of rules: of a thousand instruments that takes milliseconds."""
        judged = self._judged.get(key)
        if judged is None or judged[0] is not instrument:
            judged = self._judged[key] = (instrument, instrument.tradable and self._wanted(instrument))
        return judged[1]

    def _read_at(self, instrument: InstrumentId) -> float:
        known = self._known.get(instrument)
        return float("-inf") if known is None or known.read is None else known.read


def _price_before(samples: deque[tuple[float, Price]], now: float) -> Price | None:
    """The newest price that is five minutes old or older, unless even that is much too old."""
    found: tuple[float, Price] | None = None
    for sample in samples:
        if sample[0] > now - BEFORE_SECONDS:
            break
        found = sample
    if found is None or found[0] < now - BEFORE_SECONDS - BEFORE_TOLERANCE_SECONDS:
        return None
    return found[1]


async def _told(read: Callable[[], Awaitable[_T]]) -> _T | VenueError:
    """The answer, or the failure as one: a read that fails leaves none beside it running."""
    try:
        return await read()
    except VenueError as error:
        return error
