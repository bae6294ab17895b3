"""Runs a strategy: at every candle close it reads what closed, asks the strategy once for exits and once for entries,
hands the advice over and emits one wave.

Closes are counted on the venues' clock. A symbol whose candles cannot be read in time, or have a gap, is left out of
this close; a strategy that raises costs this close and is made anew. Nothing here can end the daemon but a bug of ours.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import ParamSpec, TypeVar

import structlog
from msgspec import Struct

from core.clock import Clock, iso_utc
from core.domain.alerts import AlertKind
from core.domain.candle import TIMEFRAME_MS, Candle
from core.domain.ids import Asset, InstrumentId, VenueName
from core.domain.position import Position, PositionKey
from core.domain.signal import Signal, Unusable
from core.engine.ports import Level, MarketReads, Notifier, SignalBatch
from core.engine.state import Snapshot, StateView
from core.errors import VenueError
from core.signals.candle_history import CandleHistory
from core.signals.strategy_answers import advised, judged
from core.signals.universe import Universe
from strategies.base import ExitAdvice, Strategy, View

log = structlog.get_logger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")

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


class ScanRules(Struct, frozen=True, kw_only=True):
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
        opened: Callable[[str, Position], bool],
        offset_ms: Callable[[], int],
        on_universe: Callable[[Collection[InstrumentId]], None],
        advise: Callable[[Mapping[PositionKey, str]], None],
        clock: Clock,
        notifier: Notifier,
        once: bool,
    ) -> None:
        """`opened` answers whether a signal of that source opened the position. `offset_ms` is the venues' clock minus
        ours, of the venue that is furthest behind: by then all have closed. `on_universe` hears which instruments are
        looked at, before their first candle is judged. `advise` gets, at each close, every position that the strategy
        wants closed and why; one that is not in it is no longer to be closed."""
        self._make = make
        self._strategy = make()
        self._rules = rules
        self._timeframe_ms = TIMEFRAME_MS[rules.timeframe]
        self._universe = universe
        self._reads = reads
        self._state = state
        self._opened = opened
        self._offset_ms = offset_ms
        self._on_universe = on_universe
        self._advise = advise
        self._clock = clock
        self._notifier = notifier
        self._once = once
        self._histories: dict[InstrumentId, CandleHistory] = {}
        self._learned: set[InstrumentId] = set()
        self._left_out: dict[InstrumentId, str] = {}
        self._failing = False
        self._seen: Snapshot | None = None
        self._free: Mapping[tuple[VenueName, Asset], Decimal] = MappingProxyType({})
        self._looked = float("-inf")
        self.counts: Counter[str] = Counter()
        self._told: tuple[int, int, int] | str = "has not looked at any candle yet"
        """Close, symbols and signals of the last scan, or what came of it."""

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

    async def begin(self) -> None:
        """Choose what is looked at: for who hands over candles himself (`look`) instead of letting them be read."""
        await self._choose()

    def look(self, emit: Callable[[SignalBatch], None], instrument: InstrumentId, candle: Candle) -> None:
        """Take in one candle that has just closed, and ask about it. Candles come in order; a gap begins anew."""
        history = self._histories[instrument]
        history.append(candle)
        if history.full:
            self._ask(emit, candle.open_ms, self._clock.monotonic())

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
        self._release()
        wanted = dict.fromkeys([*self._universe.instruments, *self._held()])
        new = [instrument for instrument in wanted if instrument not in self._histories]
        for instrument in new:
            self._histories[instrument] = CandleHistory(self._strategy.warmup, self._timeframe_ms)
        if new:
            self._on_universe(new)
            log.info("scan.universe", strategy=self._strategy.name, symbols=[str(i) for i in self._histories])

    def _own(self) -> tuple[Position, ...]:
        return tuple(p for p in self._state.positions() if self._opened(self._strategy.name, p))

    def _held(self) -> list[InstrumentId]:
        """Where the strategy has a position: it must see the candles to say when to close it, chosen or not."""
        return [position.instrument for position in self._own()]

    def _release(self) -> None:
        """Let go of what is neither chosen nor held."""
        kept = {*self._universe.instruments, *self._held()}
        for gone in [instrument for instrument in self._histories if instrument not in kept]:
            del self._histories[gone]
            self._learned.discard(gone)

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
                if not self._said(self._take_in, instrument, history):
                    return
                await asyncio.sleep(0)

    def _take_in(self, instrument: InstrumentId, history: CandleHistory) -> bool:
        self._strategy.learn(instrument, history.candles, self._timeframe_ms)
        self._learned.add(instrument)
        return True

    async def _scan(self, emit: Callable[[SignalBatch], None], open_ms: int, seconds: float) -> None:
        started = self._clock.monotonic()
        await self._read(open_ms, seconds)
        self._release()
        await self._learn()
        self._ask(emit, open_ms, started)

    def _ask(self, emit: Callable[[SignalBatch], None], open_ms: int, started: float) -> None:
        view, received = self._view(open_ms), self._clock.monotonic()
        self.counts["scans"] += 1
        advice = self._said(self._exits, view)
        self._advise(self._wanted(advice, view) if advice else {})  # of one that raised, nothing is held on to
        answer = None if advice is None else self._said(self._entries, view)
        if answer is None:
            return
        self._failing = False
        if not answer:  # what nearly every close comes to
            self._tell(view, 0, 0, received - started)
            return
        signals = tuple([signal for signal in answer if isinstance(signal, Signal)])
        unusable = tuple([signal for signal in answer if isinstance(signal, Unusable)])
        self._tell(view, len(signals), len(unusable), received - started)
        self.counts["signals"] += len(signals)
        self.counts["unusable"] += len(unusable)
        name, now_ms = self._strategy.name, view.now_ms
        emit(SignalBatch(source=name, received=received, received_ms=now_ms, signals=signals, unusable=unusable))

    def _wanted(self, advice: Sequence[ExitAdvice], view: View) -> Mapping[PositionKey, str]:
        wanted = advised(advice, view)
        self.counts["exits"] += len(wanted)
        if foreign := [str(one.key) for one in advice if one.key not in wanted]:
            self.counts["exits_of_nothing"] += len(foreign)
            log.warning("scan.exit_of_nothing", strategy=self._strategy.name, positions=foreign)
        for key, why in wanted.items():
            log.info("scan.exit", strategy=self._strategy.name, position=str(key), why=why)
        return wanted

    def _exits(self, view: View) -> list[ExitAdvice]:
        return list(self._strategy.exits(view))

    def _entries(self, view: View) -> Sequence[Signal | Unusable]:
        return judged(self._strategy.on_candle(view), view, self._strategy, self._rules.most_stop_percent)

    def _said(self, ask: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
        """What the strategy answers; None when it failed."""
        try:
            return ask(*args, **kwargs)
        except Exception as error:  # swallow: a strategy's failure costs its own scan; it is logged, counted and told
            self.counts["failures"] += 1
            name, what = self._strategy.name, f"{type(error).__name__}: {error}"
            log.exception("scan.strategy_failed", strategy=name)
            self._told = f"failed: {what}"
            if not self._failing:
                self._notifier.notify(
                    Level.WARNING, f"strategy {name} failed at a candle close: {what}", kind=AlertKind.SIGNALS
                )
            self._failing = True
            self._strategy = self._make()
            self._learned.clear()
            return None

    def _view(self, open_ms: int) -> View:
        """One snapshot; what it holds is frozen or a copy."""
        state = self._state.snapshot()
        if state is not self._seen:
            self._seen, self._free = state, self._free_balances(state)
        return View(
            open_ms=open_ms,
            timeframe_ms=self._timeframe_ms,
            now_ms=self._clock.now_ms(),
            valid_ms=min(self._rules.ttl_ms, self._timeframe_ms),
            candles=MappingProxyType(
                {i: h.candles for i, h in self._histories.items() if h.full and h.reaches(open_ms)}
            ),
            positions=state.positions,
            own=self._own() if state.positions else (),
            account_positions=state.venue_positions,
            orders=state.orders,
            balances=self._free,
        )

    def _free_balances(self, state: Snapshot) -> Mapping[tuple[VenueName, Asset], Decimal]:
        free = {
            key: balance.available
            for key, balance in state.balances.items()
            if key[1] in self._rules.quotes and balance.available is not None
        }
        return MappingProxyType(free)

    def _tell(self, view: View, signals: int, unusable: int, seconds: float) -> None:
        """A quiet close gets no line of its own."""
        self._told = (view.close_ms, len(view.candles), signals)
        if signals or unusable or self._once:
            name, close, ms = self._strategy.name, iso_utc(view.close_ms), round(seconds * 1000, 1)
            log.info("scan.done", strategy=name, close=close, symbols=len(view.candles), signals=signals, read_ms=ms)

    @property
    def said(self) -> str:
        """How the last scan went, one sentence for people."""
        name = self._strategy.name
        if isinstance(self._told, str):
            return f"{name} {self._told}"
        close_ms, symbols, signals = self._told
        left_out = f"; {len(self._left_out)} left out" if self._left_out else ""
        return f"{name} looked at {symbols} symbols at the close of {iso_utc(close_ms)}: {signals} signals{left_out}"
