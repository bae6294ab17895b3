"""One replay: the daemon's own graph over recorded candles, in virtual time.

The event loop runs only while something is under way. A candle is walked along a stated path of four corners where a
position is open or an order is under way; a candle none of whose prices could make a resting stop fire or an exit rule
speak is passed over, as the live engine passes over such ticks. What watches for a failing outside world
(reconciliation, outages, renewals of keys and rules) is not run: nothing fails here.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from msgspec import Struct

from core.assembly import assemble
from core.config import Settings
from core.domain.alerts import AlertKind
from core.domain.candle import Candle
from core.domain.exits import EVERY_PRICE
from core.domain.ids import VenueName
from core.domain.instrument import Instrument
from core.domain.money import Price
from core.domain.risk import TradingState
from core.domain.signal import Side
from core.domain.wave import WaveReport
from core.engine.ports import Level, ReportSink, SignalBatch, VenueTraits
from core.engine.records import JournalState, Record
from core.engine.wave_processor import WaveProcessor
from core.signals.strategy_scan import StrategyScan
from core.transport import HttpResponse, Socket, Transport
from core.venues import VenueAccess, VenueConnection
from core.wiring.sources import NO_STRATEGY, strategy_scan
from tools.candle_replay.candles import Recording
from tools.candle_replay.loop import ReplayClock, ReplayLoop
from tools.candle_replay.market import ReplayMarket, ReplayReads
from tools.candle_replay.results import EquityPoint, Recorder
from tools.candle_replay.tape import Costs, Tape
from tools.candle_replay.translate import Translator
from tools.candle_replay.venue import Place, ReplayClient, ReplayTime, Wire
from tools.venuesim.exchange.engine import MatchingEngine
from tools.venuesim.exchange.market import MarketSettings
from tools.venuesim.exchange.model import Conditional, ConditionalType, IncomeType, Policy
from tools.venuesim.exchange.model import Instrument as SimulatedInstrument
from tools.venuesim.exchange.state import EngineSettings
from tools.venuesim.exchange.triggers import trailing_level

HOUR_MS = 3_600_000
STEP_MS = 1_000.0
"""Between two looks while a rule waits for time to pass, as in the daemon."""
SETTLE_AT_END_MS = 60_000
"""How long what is under way after the last candle may take."""


class Account(Struct, frozen=True, kw_only=True):
    """The venue of a replay. `balance` of the quote coin; `latency_ms` one way; `traits` what the venue offers."""

    venue: VenueName
    simulated: SimulatedInstrument
    instrument: Instrument
    traits: VenueTraits
    policy: Policy
    balance: Decimal
    costs: Costs
    latency_ms: float


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of it. `spun` is how many candles were walked, the others were passed over."""

    recorder: Recorder
    equity: Sequence[EquityPoint]
    candles: int
    walked: int
    halted: str


def replay(
    settings: Settings, account: Account, recording: Recording, on_progress: Callable[[int], None] = lambda _done: None
) -> Outcome:
    """Play the whole recording. `on_progress` hears now and then how many candles are done."""
    return Session(settings, account, recording, ReplayLoop()).play(on_progress)


class _NoJournal:
    """Nothing of a replay survives it (records.Journal)."""

    writable = True

    async def append(self, records: Sequence[Record]) -> None:
        del records

    def append_nowait(self, records: Sequence[Record]) -> None:
        del records

    async def load(self) -> JournalState:
        return JournalState(orders=(), positions=(), seen_signals=frozenset(), unfinished_waves=(), values={})

    async def close(self) -> None:
        return


class _NoAudit:
    def record(self, kind: str, data: Mapping[str, Any]) -> None:
        del kind, data


class _NoNotifier:
    def notify(self, level: Level, text: str, *, kind: AlertKind, begins: str = "", ends: str = "") -> None:
        del level, text, kind, begins, ends


class Session:
    def __init__(self, settings: Settings, account: Account, recording: Recording, loop: ReplayLoop) -> None:
        start_ms = recording.candles[0].open_ms
        self.instrument = account.instrument
        self._account = account
        self._recording = recording
        self._loop = loop
        self.clock = self._clock = ReplayClock(loop, start_ms)
        self._tape = Tape(account.simulated, account.costs, start_ms)
        self._exchange = self._make_exchange(start_ms)
        self._tape.stand(self._tape.ticks_of(recording.candles[0].open), start_ms)
        self._tape.advance(start_ms)
        self._place = Place(
            exchange=self._exchange,
            tape=self._tape,
            instrument=account.instrument,
            traits=account.traits,
            clock=self._clock,
            latency=account.latency_ms / 1000,
        )
        symbol = account.instrument.id.symbol
        translator = Translator(account.instrument.id)
        self._wire = Wire(self._place, translator)
        self._client = ReplayClient(self._place, self._wire, translator)
        self._market = ReplayMarket(self._tape, symbol, self._clock)
        self._reads = ReplayReads(recording, self._exchange, self._tape, symbol, self._clock)
        self._recorder = Recorder(account.instrument)
        self._equity: list[EquityPoint] = []
        self._wallet = float(account.balance)
        self._waves_open = 0
        self._entering: Side | None = None
        self._walked = 0
        self._engine = assemble(
            settings,
            clock=self._clock,
            transport=_no_transport,
            journal=_NoJournal(),
            audit=_NoAudit(),
            notifier=_NoNotifier(),
            connect=self._connect,
        )
        self._state = self._engine.orders.state

    def play(self, on_progress: Callable[[int], None] = lambda _done: None) -> Outcome:
        """From the first candle to the last; once only."""
        gc.freeze()  # the candles need not be looked through again and again, as in the daemon
        try:
            return self._loop.run_until_complete(self._run(on_progress))
        finally:
            gc.unfreeze()
            self._loop.close()

    async def _run(self, on_progress: Callable[[int], None]) -> Outcome:
        engine, venue = self._engine, self._account.venue
        waves = engine.waves(frozenset())
        engine.learn_instruments(venue)
        scan = None if engine.settings.strategy.name == NO_STRATEGY else strategy_scan(engine, once=False)
        waves.on_report(self._on_report)
        engine.orders.listen(self._recorder.on_events)
        engine.orders.on_trade(self._recorder.on_trade)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work, name=name) for name, work in self._works(waves)]
            engine.watch.learn(venue, await self._client.account_settings())
            await engine.reconciler.reconcile(venue)
            await engine.leverage.confirm(self._account.instrument.id)
            if scan is not None:
                await scan.begin()
            engine.risk.set_state(TradingState.ACTIVE, reason="replay", author="replay")
            await self._play(scan, waves, on_progress)
            for task in tasks:
                task.cancel()
        self._finish()
        return Outcome(
            recorder=self._recorder,
            equity=self._equity,
            candles=len(self._recording.candles),
            walked=self._walked,
            halted=self._halted(),
        )

    def _works(self, waves: WaveProcessor) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        """What the orchestrator starts, without what looks after the outside world."""
        engine = self._engine
        native = [] if engine.native is None else [("native-trailing", engine.native.run())]
        return [
            *native,
            ("orders", engine.orders.run()),
            ("inflight", engine.inflight.run()),
            ("protection", engine.protection.run()),
            (f"market/{self._account.venue}", self._market.run()),
            (f"user-stream/{self._account.venue}", self._wire.run()),
            ("data", engine.data.run()),
            ("exits", engine.exits.run()),
            ("risk-watch", engine.risk_watch.run()),
            ("screener", engine.screener.run()),
            ("waves", waves.run()),
        ]

    # candles

    async def _play(self, scan: StrategyScan | None, waves: WaveProcessor, on_progress: Callable[[int], None]) -> None:
        candles, length_ms = self._recording.candles, self._recording.length_ms
        every = max(1, len(candles) // 200)
        emit = partial(self._emit, waves)
        for number, candle in enumerate(candles, start=1):
            close_ms = candle.open_ms + length_ms
            held = bool(self._state.positions())
            if self._moving() or (held and not self._calm(candle)):
                await self._pass(candle, close_ms)
            elif held or scan is None:
                self._clock.pass_to(close_ms)
                self._stand_at(candle.close, close_ms)
            self._clock.pass_to(close_ms)
            if held:
                await self._engine.exits.look_at_all()  # some rules go by time alone
            self._ask(scan, emit, candle)
            if held or self._recorder.changed:
                self._note_equity(candle, close_ms)
            last = number == len(candles)
            if (last or candles[number].open_ms != close_ms) and self._moving():
                await self._settle(close_ms + SETTLE_AT_END_MS)  # there is no next price to meet
            if number % every == 0 or last:
                on_progress(number)

    def _ask(self, scan: StrategyScan | None, emit: Callable[[SignalBatch], None], candle: Candle) -> None:
        """At a close: the strategy, if there is one, sees the candle."""
        if scan is not None:
            scan.look(emit, self.instrument.id, candle)

    def _emit(self, waves: WaveProcessor, batch: SignalBatch) -> None:
        self._waves_open += 1
        self._recorder.on_signals(batch)
        self._entering = batch.signals[0].side if batch.signals else None
        venue = self._account.venue
        self._engine.learn_instruments(venue)  # hourly in the daemon; nothing changes here but their age
        self._engine.risk.clocks.measured(venue)
        waves.handle(batch)

    def _on_report(self, report: WaveReport) -> None:
        self._waves_open -= 1
        self._recorder.on_report(report)

    def _stand_at(self, price: Price, now_ms: int) -> None:
        """A price and nothing on the way to it."""
        self._tape.stand(self._tape.ticks_of(price), now_ms)
        self._tape.advance(now_ms)
        self._market.tick()

    def _calm(self, candle: Candle) -> bool:
        """Whether no price of this candle could fire anything at the venue, or make an exit rule speak."""
        if candle.open_ms % HOUR_MS < self._recording.length_ms:
            return False  # funding may be due
        rows = self._exchange.open_conditionals(self._account.instrument.venue_symbol)
        levels = [_level_of(row) for row in rows]
        if any(level is None or candle.low <= level <= candle.high for level in levels):
            return False
        return self._engine.exits.quiet(self._account.instrument.id, candle.low, candle.high)

    async def _pass(self, candle: Candle, close_ms: int) -> None:
        """Through one candle: open, the extreme against the position, the other one, close."""
        self._walked += 1
        tape, begin_ms = self._tape, float(candle.open_ms)
        tape.stand(tape.ticks_of(candle.open), begin_ms)
        self._pay_funding(candle.open_ms)
        self._look()
        side = self._direction()
        extremes = (candle.low, candle.high) if side is Side.BUY else (candle.high, candle.low)
        third = (close_ms - candle.open_ms) / 3
        for corner, price in enumerate((*extremes, candle.close), start=1):
            end_ms = close_ms if corner == 3 else candle.open_ms + third * corner
            await self._leg(end_ms, tape.ticks_of(price))

    def _direction(self) -> Side:
        """Whom the path is against: the position, or the entry under way."""
        positions = self._state.positions()
        if positions:
            return positions[0].side
        return self._entering or Side.BUY

    async def _leg(self, end_ms: float, target: int) -> None:
        """In a straight line to the next corner, stopping wherever something may happen."""
        tape, clock = self._tape, self._clock
        tape.lead(clock.exact_ms(), end_ms, target)
        while True:
            level, follows = self._next_level(target)
            at_ms = end_ms if level is None else tape.when(level)
            if self._restless():
                at_ms, level = min((at_ms, level), (clock.exact_ms() + STEP_MS, None), key=lambda stop: stop[0])
            if self._moving():
                await self._settle(at_ms)
                if clock.exact_ms() < at_ms:
                    self._exchange.tick()
                    continue
            clock.pass_to(at_ms)
            if at_ms >= end_ms:
                tape.stand(target, at_ms)
            elif level is not None:
                tape.come_to(level, at_ms)
            self._look()
            if at_ms >= end_ms:
                return
            if follows:
                await self._engine.exits.look_at_all()  # it may be the time that has come, not a price

    def _look(self) -> None:
        """The price is somewhere new: the venue fires what it reaches, and the engine gets a tick."""
        self._exchange.tick()
        self._tape.advance(self._clock.exact_ms())  # the venue has not looked where it has no order and no position
        self._market.tick()

    def _restless(self) -> bool:
        """Whether a rule waits for time to pass, so that every second counts."""
        return any(band is EVERY_PRICE for band in self._engine.exits.bands(self._account.instrument.id))

    def _next_level(self, target: int) -> tuple[int | None, bool]:
        """The first level strictly between here and `target` at which something may happen, and whether it is that a
        stop follows."""
        here = self._tape.ticks
        down = target < here
        levels = self._levels(down=down)
        if down:
            nearest = max((level for level in levels if target < level < here), default=None)
        else:
            nearest = min((level for level in levels if here < level < target), default=None)
        follows = self._where_a_stop_moves(here, target if nearest is None else nearest)
        return (nearest, False) if follows is None else (follows, True)

    def _where_a_stop_moves(self, here: int, end: int) -> int | None:
        """The first level before `end` that is good enough for a stop to follow it: the better the price and the later,
        the sooner, so it is found by halving."""
        step, tape, now_ms = 1 if end > here else -1, self._tape, self._clock.exact_ms()

        def moves(level: int) -> bool:
            price = Price(level * self.instrument.tick)
            return self._engine.exits.would_move(self.instrument.id, price, tape.when(level) - now_ms)

        near, far = 0, abs(end - here) - 1
        if far < 1 or not moves(here + step * far):
            return None
        while far - near > 1:
            middle = (near + far) // 2
            near, far = (near, middle) if moves(here + step * middle) else (middle, far)
        return here + step * far

    def _levels(self, *, down: bool) -> list[int]:
        rows = self._exchange.open_conditionals(self._account.instrument.venue_symbol)
        prices: list[Decimal] = [price for row in rows if (price := _level_of(row)) is not None]
        for band in self._engine.exits.bands(self._account.instrument.id):
            prices += [edge for edge in band if edge is not None]
        tick = self._account.instrument.tick
        return [int(price // tick) if down else -int(-price // tick) for price in prices]

    # time

    def _moving(self) -> bool:
        """Whether anything is under way between the engine and the venue, or inside the engine."""
        if self._wire.under_way or self._waves_open or self._loop.busy:
            return True
        engine = self._engine
        return engine.protection.busy or (engine.native is not None and engine.native.busy)

    async def _settle(self, until_ms: float) -> None:
        """Let time pass while something is under way, at most until then."""
        loop, limit = self._loop, self._clock.seconds(until_ms)
        alarm: asyncio.TimerHandle | None = None
        await loop.idle()
        while self._moving() and loop.time() < limit:
            if alarm is None:
                alarm = loop.call_at(limit, _nothing)
            await loop.idle(next_timer=True)
        if alarm is not None:
            alarm.cancel()

    def _pay_funding(self, open_ms: int) -> None:
        """Of a candle longer than the interval all that falls into it is paid at its open."""
        for hour_ms in range(-(-open_ms // HOUR_MS) * HOUR_MS, open_ms + self._recording.length_ms, HOUR_MS):
            self._exchange.pay_funding(hour_ms)
            self._recorder.changed = True

    # results

    def _note_equity(self, candle: Candle, close_ms: int) -> None:
        if self._recorder.changed:
            self._recorder.changed = False
            self._wallet = float(self._exchange.balance(self._account.instrument.quote).wallet)
        equity = lowest = self._wallet
        for row in self._exchange.positions():
            worst = candle.low if row.qty > 0 else candle.high
            equity += float((candle.close - row.entry) * row.qty)
            lowest += float((worst - row.entry) * row.qty)
        self._equity.append(EquityPoint(close_ms, equity, min(equity, lowest)))

    def _finish(self) -> None:
        last = self._recording.candles[-1]
        self._recorder.finish(last.close, last.open_ms + self._recording.length_ms)
        for row in self._exchange.income():
            if row.type is IncomeType.FUNDING_FEE:
                self._recorder.pay(row.time_ms, row.amount)

    def _halted(self) -> str:
        standing = self._engine.risk.standing
        return standing.reason if standing.state is TradingState.HALTED else ""

    # wiring

    def _make_exchange(self, start_ms: int) -> MatchingEngine:
        account, simulated = self._account, self._account.simulated
        settings = EngineSettings(
            policy=account.policy,
            market=MarketSettings(seed=0, start_ms=start_ms),
            balances={simulated.settle: account.balance},
            markets={simulated.symbol: self._tape},
        )
        return MatchingEngine([simulated], settings, ReplayTime(self._clock))

    def _connect(self, access: VenueAccess, *, sink: ReportSink, **_others: object) -> VenueConnection:
        del access
        self._wire.deliver_to(sink)
        return VenueConnection(client=self._client, user_stream=self._wire, market=self._market, reads=self._reads)


def _level_of(row: Conditional) -> Decimal | None:
    """Where it does something next."""
    if row.type is not ConditionalType.TRAILING:
        return row.trigger_price
    return trailing_level(row) if row.activated else row.activation_price


class _NoHttp:
    """A replay has no network; asking for it is a fault of the program."""

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> HttpResponse:
        del headers, body
        raise RuntimeError(f"a replay asked for {method} {url}")

    async def close(self) -> None:
        return


def _no_socket() -> Socket:
    raise RuntimeError("a replay asked for a socket")


def _no_transport(name: str) -> Transport:
    del name
    return Transport(http=_NoHttp(), socket=_no_socket)


def _nothing() -> None:
    """Only the moment matters."""
