"""Runs a strategy: at every candle close it reads what closed, asks the strategy once, and emits one wave.

Closes are counted on the venues' clock. A symbol whose candles cannot be read in time, or have a gap, is left out of
this close; a strategy that raises costs this close and is made anew. Nothing here can end the daemon but a bug of ours.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from types import MappingProxyType

import structlog

from core.clock import Clock, iso_utc
from core.domain.candle import TIMEFRAME_MS
from core.domain.ids import Asset, InstrumentId, SignalId, VenueName
from core.domain.money import ZERO
from core.domain.signal import Signal, Unusable
from core.domain.verdict import Reason
from core.engine.ports import Level, MarketReads, Notifier, SignalBatch
from core.engine.state import StateView
from core.errors import VenueError
from core.signals.candle_history import CandleHistory
from core.signals.universe import Universe
from strategies.base import Strategy, View, signal_id

log = structlog.get_logger(__name__)

CLOSE_DELAY_MS = 500
"""After a close, before the candle is asked for: the venue writes its last trades first."""
EXPECT_MS = 4_000
AGAIN_SECONDS = 0.5
"""A candle that is not there yet is asked for again after this pause."""
READ_SECONDS = 10.0
HISTORY_SECONDS = 60.0
UNIVERSE_SECONDS = 3_600.0
LONGEST_SLEEP_SECONDS = 30.0
"""A clock that was set, or a newly measured offset, is noticed after this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRules:
    """`timeframe` is a key of TIMEFRAME_MS. `ttl_ms` bounds how long a signal may wait, as does the next close.
    `quotes` are the coins whose free balance is shown. A stop must be nearer than `most_stop_percent` of the price."""

    timeframe: str
    ttl_ms: int
    quotes: frozenset[Asset]
    most_stop_percent: Decimal


class StrategyScan:
    """Implements ports.SignalSource. With `once` it looks at the last closed candle and ends."""

    def __init__(
        self,
        *,
        make: Callable[[], Strategy],
        rules: ScanRules,
        universe: Universe,
        reads: Mapping[VenueName, MarketReads],
        state: StateView,
        offset_ms: Callable[[], int],
        on_universe: Callable[[Collection[InstrumentId]], None],
        clock: Clock,
        notifier: Notifier,
        once: bool,
    ) -> None:
        """`offset_ms` is the venues' clock minus ours, of the venue that is furthest behind: by then all have closed.
        `on_universe` hears which instruments are looked at, before their first candle is judged."""
        self._make = make
        self._strategy = make()
        self._rules = rules
        self._timeframe_ms = TIMEFRAME_MS[rules.timeframe]
        self._universe = universe
        self._reads = reads
        self._state = state
        self._offset_ms = offset_ms
        self._on_universe = on_universe
        self._clock = clock
        self._notifier = notifier
        self._once = once
        self._histories: dict[InstrumentId, CandleHistory] = {}
        self._learned: set[InstrumentId] = set()
        self._left_out: dict[InstrumentId, str] = {}
        self._failing = False
        self._looked = float("-inf")
        self.counts: Counter[str] = Counter()
        self.said = f"{self._strategy.name} has not looked at any candle yet"
        """How the last scan went, one sentence for people."""

    async def run(self, emit: Callable[[SignalBatch], None], expect: Callable[[], None] = lambda: None) -> None:
        await self._choose()
        last = self._running_ms() - self._timeframe_ms
        if self._once:
            await self._scan(emit, last, HISTORY_SECONDS)
            return
        await self._read(last, HISTORY_SECONDS)
        await self._learn()
        while True:
            due = max(self._running_ms(), last + self._timeframe_ms)
            if (missed := (due - last) // self._timeframe_ms - 1) > 0:
                self.counts["missed_closes"] += missed
                log.warning("scan.closes_missed", strategy=self._strategy.name, closes=missed)
            last = due
            await self._until(due + self._timeframe_ms - EXPECT_MS)
            expect()
            await self._until(due + self._timeframe_ms + CLOSE_DELAY_MS)
            await self._scan(emit, due, min(READ_SECONDS, self._timeframe_ms / 4_000))
            if not self._histories or self._clock.monotonic() - self._looked >= UNIVERSE_SECONDS:
                await self._choose()
                await self._read(due, HISTORY_SECONDS)
                await self._learn()

    # time

    def _venue_ms(self) -> int:
        return self._clock.now_ms() + self._offset_ms()

    def _running_ms(self) -> int:
        """When the candle opened that is running now."""
        return self._venue_ms() // self._timeframe_ms * self._timeframe_ms

    async def _until(self, moment_ms: int) -> None:
        while (left := (moment_ms - self._venue_ms()) / 1000) > 0:  # noqa: ASYNC110 - a clock wakes nobody
            await asyncio.sleep(min(left, LONGEST_SLEEP_SECONDS))

    # what is looked at

    async def _choose(self) -> None:
        self._looked = self._clock.monotonic()
        await self._universe.refresh()
        chosen = set(self._universe.instruments)
        for gone in [instrument for instrument in self._histories if instrument not in chosen]:
            del self._histories[gone]
            self._learned.discard(gone)
        new = [instrument for instrument in self._universe.instruments if instrument not in self._histories]
        for instrument in new:
            self._histories[instrument] = CandleHistory(self._strategy.warmup, self._timeframe_ms)
        if new:
            self._on_universe(new)
            log.info("scan.universe", strategy=self._strategy.name, symbols=[str(i) for i in self._histories])

    async def _read(self, open_ms: int, seconds: float) -> None:
        """Every history up to the candle opened at `open_ms`, all at once; who is not ready in time is left out."""
        reasons = await asyncio.gather(*(self._bring_up(i, open_ms, seconds) for i in self._histories))
        left_out = {i: why for i, why in zip(self._histories, reasons, strict=True) if why}
        if left_out != self._left_out:
            say = log.warning if left_out else log.info
            say("scan.left_out", strategy=self._strategy.name, symbols={str(i): why for i, why in left_out.items()})
        self.counts["left_out"] += len(left_out)
        self._left_out = left_out

    async def _bring_up(self, instrument: InstrumentId, open_ms: int, seconds: float) -> str:
        """Why it cannot be judged; "" when it can."""
        history, reads = self._histories[instrument], self._reads.get(instrument.venue)
        if reads is None:
            return f"{instrument.venue} is not in use"
        try:
            async with asyncio.timeout(seconds):
                while asked := history.to_read(open_ms):
                    try:
                        answer = await reads.candles(instrument.symbol, self._rules.timeframe, asked)
                    except VenueError as error:
                        return str(error)
                    history.take(answer, open_ms, asked=asked)
                    if not history.reaches(open_ms):
                        await asyncio.sleep(AGAIN_SECONDS)
        except TimeoutError:
            return f"no closed candle within {seconds:g} s"
        if not history.full:
            return f"{len(history.candles)} candles in a row, {self._strategy.warmup} are needed"
        return ""

    # asking

    async def _learn(self) -> None:
        """Give new histories to the strategy one by one: the first of an instrument takes it some milliseconds."""
        for instrument, history in list(self._histories.items()):
            if instrument not in self._learned and history.full:
                learn = partial(self._strategy.learn, instrument, history.candles, self._timeframe_ms)
                if not self._strategy_does(learn):
                    return
                self._learned.add(instrument)
                await asyncio.sleep(0)

    async def _scan(self, emit: Callable[[SignalBatch], None], open_ms: int, seconds: float) -> None:
        started = self._clock.monotonic()
        await self._read(open_ms, seconds)
        await self._learn()
        view, received = self._view(open_ms), self._clock.monotonic()
        self.counts["scans"] += 1
        answer: list[Signal | Unusable] = []
        if not self._strategy_does(lambda: answer.extend(self._judged(self._strategy.on_candle(view), view))):
            return
        self._failing = False
        signals = tuple(signal for signal in answer if isinstance(signal, Signal))
        unusable = tuple(signal for signal in answer if isinstance(signal, Unusable))
        self._tell(view, len(signals), len(unusable), round((received - started) * 1000, 1))
        if answer:
            name, now_ms = self._strategy.name, view.now_ms
            emit(SignalBatch(source=name, received=received, received_ms=now_ms, signals=signals, unusable=unusable))

    def _strategy_does(self, work: Callable[[], None]) -> bool:
        try:
            work()
        except Exception as error:  # swallow: a strategy's failure costs its own scan; it is logged, counted and told
            self.counts["failures"] += 1
            name, what = self._strategy.name, f"{type(error).__name__}: {error}"
            log.exception("scan.strategy_failed", strategy=name)
            self.said = f"{name} failed: {what}"
            if not self._failing:
                self._notifier.notify(Level.WARNING, f"strategy {name} failed at a candle close: {what}")
            self._failing = True
            self._strategy = self._make()
            self._learned.clear()
            return False
        return True

    def _view(self, open_ms: int) -> View:
        """One snapshot; what it holds is frozen or a copy."""
        state, histories = self._state, self._histories.items()
        free = {
            key: balance.available
            for key, balance in state.balances().items()
            if key[1] in self._rules.quotes and balance.available is not None
        }
        return View(
            open_ms=open_ms,
            timeframe_ms=self._timeframe_ms,
            now_ms=self._clock.now_ms(),
            valid_ms=min(self._rules.ttl_ms, self._timeframe_ms),
            candles=MappingProxyType({i: h.candles for i, h in histories if h.full and h.reaches(open_ms)}),
            positions=tuple(state.positions()),
            account_positions=tuple(report for report in state.venue_positions() if report.quantity != ZERO),
            orders=tuple(state.all_live_orders()),
            balances=MappingProxyType(free),
        )

    def _judged(self, signals: Sequence[Signal], view: View) -> list[Signal | Unusable]:
        """A strategy's signals are input like any other: what breaks its contract is refused with the reason."""
        judged: list[Signal | Unusable] = []
        counted = Counter(signal.instrument for signal in signals)
        for signal in signals:
            wrong = self._wrong(signal, view) or ("is one of several" if counted[signal.instrument] > 1 else "")
            judged.append(self._unusable(signal, wrong) if wrong else signal)
        return judged

    def _wrong(self, signal: Signal, view: View) -> str:
        least, most = self._strategy.scores
        stop = signal.parameters.stop_loss_percent
        if signal.instrument not in view.candles:
            return "is for a symbol it was not shown"
        if (signal.source, signal.id) != (self._strategy.name, signal_id(signal.instrument, signal.side, view)):
            return "has a source or an id that does not follow from strategy, symbol, side and candle"
        if not (signal.score.is_finite() and least <= signal.score <= most):
            return f"has the score {signal.score}, outside of {least} to {most}"
        if stop is not None and not (stop.is_finite() and ZERO < stop < self._rules.most_stop_percent):
            return (
                f"has its stop {stop} % away; with this leverage it must be nearer than {self._rules.most_stop_percent}"
            )
        return ""

    def _unusable(self, signal: Signal, wrong: str) -> Unusable:
        self.counts["unusable"] += 1
        detail = f"the strategy's signal {wrong}"
        name, symbol = self._strategy.name, signal.instrument.symbol
        return Unusable(
            id=SignalId(str(signal.id)), source=name, code=Reason.MALFORMED.value, detail=detail, symbol=symbol
        )

    def _tell(self, view: View, signals: int, unusable: int, ms: float) -> None:
        name, close = self._strategy.name, iso_utc(view.close_ms)
        say = log.info if signals or unusable or self._once else log.debug
        say("scan.done", strategy=name, close=close, symbols=len(view.candles), signals=signals, read_ms=ms)
        left_out = f"; {len(self._left_out)} left out" if self._left_out else ""
        self.said = f"{name} looked at {len(view.candles)} symbols at the close of {close}: {signals} signals{left_out}"
