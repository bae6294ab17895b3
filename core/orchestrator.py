"""Boots, supervises and stops the daemon, in one visible order (DESIGN §3.16). A crash start is the same start."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import structlog

from core.assembly import Engine, assemble
from core.build import build_id
from core.clock import Clock
from core.config import Settings
from core.domain.ids import Leg, VenueName
from core.domain.order import UNACKNOWLEDGED, Order
from core.domain.risk import TradingState
from core.domain.wave import WaveReport
from core.engine.interrupted_waves import end_interrupted
from core.engine.ports import AuditLog, Level, Notifier
from core.engine.queries import Queries
from core.engine.records import JournalState, StateRecord
from core.engine.risk_guard import PRICES, STREAM
from core.engine.wave_processor import WaveProcessor
from core.errors import JournalUnwritable, StartRefused, VenueError
from core.last_run import RUN_KEY, RUNNING, STOPPED, LastRun
from core.notices import Notices
from core.opening import Opening
from core.outcome import ExitStatus, Outcome
from core.rules import may_be_entered
from core.sources import Sources, signal_sources
from core.status.control import ControlServer
from core.status.line import status_line
from core.storage.audit_log import AuditLog as ChainedAuditLog
from core.storage.journal import SqliteJournal
from core.transport import Transport

log = structlog.get_logger(__name__)

STREAMS_READY_SECONDS = 30.0
MARKET_READY_SECONDS = 10.0
PROTECTED_AT_START_SECONDS = 30.0
KILL_FILE_CHECK_SECONDS = 1.0
JOURNAL_CHECK_SECONDS = 0.5
_UNWRITABLE = "the journal cannot be written: no entries; stops and closes go out and are journaled later"
MESSENGER_SECONDS = 1.0
"""For the last words before Telegram is left."""
_TELEGRAM_KEY = "telegram_update"
_WATCHERS = (
    "control",
    "kill-file",
    "journal-watch",
    "status-line",
    "reconciler",
    "money",
    "exits",
    "risk-watch",
    "account-watch",
    "upkeep",
    "screener",
)
STEP_SECONDS = 2.0
"""The most one closing step may take; with the settling time the whole stop stays below 10 s."""
CANCELS = 2


class Messenger(Notifier, Protocol):
    """A notifier that has to be run, and that answers questions (Telegram)."""

    async def run(self) -> None: ...
    async def drain(self, timeout_s: float) -> bool: ...


class MakeMessenger(Protocol):
    """`first_update` and `on_update` carry the newest handled command over a restart."""

    def __call__(
        self, *, queries: Queries, audit: AuditLog, first_update: int, on_update: Callable[[int], None]
    ) -> Messenger: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What the surroundings provide: real ones in production, in-process ones in simulation."""

    clock: Clock
    transport: Callable[[str], Transport]
    executor: Callable[[], Executor]
    messenger: MakeMessenger | None = None


class Orchestrator:
    """One run of the daemon. `stop` may be set at any time, from a signal handler."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._settings = settings
        self._host = host
        self._clock = host.clock
        self.stop = asyncio.Event()
        self.outcome = Outcome()
        self.queries: Queries | None = None
        self.symbols: dict[str, str] = {}
        """The venue's own name of each instrument, for tables and for asking the venue's record."""
        self._sources = Sources({})
        self._once = False
        self._journal_broken = ""
        self._notices = Notices()
        self._messenger: Messenger | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def check(self) -> Outcome:
        """Pre-flight only."""
        async with self._assembled() as (engine, held):
            await self._preflight(engine, held, waits=False)
        return self.outcome

    async def run(self, *, once: bool = False) -> Outcome:
        """Until stopped; with `once` until the first wave is settled."""
        self._once = once
        async with self._assembled() as (engine, held):
            last = LastRun(held.values, self._clock.now_ms())
            last.note(engine.journal)
            await self._or_stop(asyncio.sleep(last.delay_seconds))
            if (opening := await self._preflight(engine, held, waits=True)) is None:
                last.take_back(engine.journal)
                return self.outcome
            async with asyncio.TaskGroup() as group:
                try:
                    waves = await self._boot(engine, held, last, opening, group)
                    await (self._one_wave(waves) if once else self.stop.wait())
                finally:
                    await self._shut_down(engine)
        return self.outcome

    # start

    @asynccontextmanager
    async def _assembled(self) -> AsyncIterator[tuple[Engine, JournalState]]:
        """Journal and audit open, the graph built; left in reverse order, each step bounded."""
        process = self._settings.process
        process.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        async with AsyncExitStack() as stack:
            journal_worker, audit_worker = self._host.executor(), self._host.executor()
            stack.callback(journal_worker.shutdown, wait=False)
            stack.callback(audit_worker.shutdown, wait=False)
            parser = self._host.executor()
            stack.callback(parser.shutdown, wait=False)
            journal = SqliteJournal(process.data_dir / "journal.db", journal_worker, self._clock.now_ms)
            audit = ChainedAuditLog(process.data_dir, audit_worker, self._clock.now_ms)
            if (broken := await journal.open()) is not None:
                log.error("journal.set_aside", moved_to=broken.name, meaning="the venues will tell what is open")
                self._journal_broken = f"the journal was broken and was set aside as {broken.name}"
            stack.push_async_callback(self._close_journal, journal)
            try:
                tail = await audit.open()
            except OSError as error:
                raise StartRefused(f"the audit log cannot be written: {error}") from error
            stack.push_async_callback(self._bounded, "audit", audit.close)
            log.info("audit.verified", records=tail.head.seq, cut_bytes=tail.cut_bytes, altered=tail.altered)
            held = await journal.load()
            engine = assemble(
                self._settings,
                clock=self._clock,
                transport=self._host.transport,
                journal=journal,
                audit=audit,
                notifier=self._notices,
                workers=parser,
            )
            audit.record("start", {"build": build_id(), "venues": sorted(engine.clients)})
            for client in engine.clients.values():
                stack.push_async_callback(self._bounded, f"client {client.name}", client.close)
            yield engine, held

    async def _preflight(self, engine: Engine, held: JournalState, *, waits: bool) -> Opening | None:
        """The venues opened; None when there is nothing to trade on."""
        opening = Opening(engine, held)
        probing = not waits and self._settings.process.preflight_probe_orders
        self.outcome.preflights = await opening.examine(probing=probing)
        if waits:
            seconds = float(self._settings.process.once_wait_seconds) if self._once else None
            await opening.until_one_serves(self.stop, seconds)
        if not engine.clients:
            if not self.stop.is_set():
                self.outcome.status = ExitStatus.PREFLIGHT_REFUSED
                self.outcome.said = "no venue can be used; see the pre-flight lines above"
            return None
        self.symbols = {str(i): instrument.venue_symbol for i, instrument in engine.instruments.items()}
        transport = self._host.transport("signals")
        self._sources = signal_sources(engine, transport, held=held.values, once=self._once)
        return opening

    async def _boot(
        self, engine: Engine, held: JournalState, last: LastRun, opening: Opening, group: asyncio.TaskGroup
    ) -> WaveProcessor:
        self._restore(engine, held)
        waves = engine.waves(held.seen_signals)
        self.queries = engine.queries(waves)
        start = self._starter(group)
        start("orders", engine.orders.run())
        start("inflight", engine.inflight.run())
        start("protection", engine.protection.run())
        start("outages", engine.outages.run())
        start("data", engine.data.run())
        begin = partial(_begin, engine, start)
        for venue in engine.clients:
            begin(venue)
        if self._host.messenger is not None:
            self._messenger = self._host.messenger(
                queries=self.queries,
                audit=engine.audit,
                first_update=int(held.values.get(_TELEGRAM_KEY, "0")),
                on_update=partial(self._note_update, engine),
            )
            self._notices.attach(self._messenger)
            start("telegram", self._messenger.run())
        self._tell_of_the_last_run(engine, last)
        await self._until_live(engine)
        start("reconciler", engine.reconciler.run())
        await asyncio.gather(self._until_protected(engine), self._leverage(engine))
        await self._until_priced(engine)  # of positions found meanwhile, too
        end_interrupted(held, engine.orders.state, engine.journal, engine.audit, engine.notifier, self._clock.now_ms())
        self._go(engine, held)
        control = ControlServer(folder=self._settings.process.data_dir, queries=self.queries, commands=engine.commands)
        start("control", control.run())
        start("exits", engine.exits.run())
        if engine.native is not None:
            start("native-trailing", engine.native.run())
        start("money", engine.money.run())
        start("risk-watch", engine.risk_watch.run())
        start("account-watch", engine.watch.run())
        start("upkeep", engine.upkeep.run())
        for venue in opening.late:
            start(f"late/{venue}", opening.join(venue, begin))
        start("kill-file", self._watch_kill_file(engine))
        start("journal-watch", self._watch_journal(engine))
        start("status-line", self._status_lines())
        start("screener", engine.screener.run())
        start("waves", waves.run())
        for name in self._sources.names:
            start(f"signals/{name}", self._sources.run(name, waves.handle, waves.expect))
        gc.collect()
        gc.freeze()  # what lives until the end need not be looked through again
        return waves

    def _tell_of_the_last_run(self, engine: Engine, last: LastRun) -> None:
        """And without a journal nobody but people may resume."""
        if self._journal_broken:
            engine.risk.restrict(f"{self._journal_broken}; compare the positions, then resume", "journal")
            engine.notifier.notify(Level.CRITICAL, f"{self._journal_broken}; no entries until you resume")
        last.tell(engine)
        self._note_run(engine, RUNNING)

    def _note_run(self, engine: Engine, value: str) -> None:
        engine.journal.append_nowait([StateRecord(key=RUN_KEY, value=value, time_ms=self._clock.now_ms())])

    def _restore(self, engine: Engine, held: JournalState) -> None:
        engine.orders.restore(held.orders, held.positions, held.ended)
        engine.exits.restore(held.exits)
        engine.risk.recall(held.values)
        engine.money.recall(held.values, held.fills)
        for order in held.orders:
            if not order.intent.reduce_only and (not order.ended or order.fills_missing):
                engine.risk.hold(order)
        log.info(
            "journal.restored",
            positions=len(held.positions),
            orders=len(held.orders),
            unfinished_waves=len(held.unfinished_waves),
            seen_signals=len(held.seen_signals),
        )

    async def _until_live(self, engine: Engine) -> None:
        """Each stream signals ready only after its venue was reconciled; a venue that is late is off until then."""
        try:
            async with asyncio.timeout(STREAMS_READY_SECONDS):
                await self._or_stop(asyncio.gather(*(stream.wait_live() for stream in engine.streams.values())))
        except TimeoutError:
            late = sorted(venue for venue, stream in engine.streams.items() if stream.live_since_ms is None)
            log.error("stream.not_live", venues=late, waited_s=STREAMS_READY_SECONDS)  # noqa: TRY400 - no news in a trace
            for venue in late:
                engine.risk.set_venue(venue, "its private stream has not come up since the start", by=STREAM)
            unread = f"{', '.join(late)}: could not be read for {STREAMS_READY_SECONDS:g} s, still trying"
            engine.notifier.notify(Level.CRITICAL, f"{unread}; positions there stand as they were left")

    async def _until_protected(self, engine: Engine) -> None:
        deadline = self._clock.monotonic() + PROTECTED_AT_START_SECONDS
        while not (engine.protection.all_covered() and not _undecided(engine)):
            if self._clock.monotonic() >= deadline or self.stop.is_set():
                return
            await asyncio.sleep(0.05)

    async def _until_priced(self, engine: Engine) -> None:
        deadline = self._clock.monotonic() + MARKET_READY_SECONDS
        while self._clock.monotonic() < deadline and not self.stop.is_set():
            if all(_priced(engine, venue) for venue in engine.clients):
                return
            await asyncio.sleep(0.02)
        log.warning("market.not_priced", waited_s=MARKET_READY_SECONDS)
        engine.data.hold_blind(engine.clients, partial(engine.risk.set_venue, by=PRICES))

    async def _leverage(self, engine: Engine) -> None:
        await engine.leverage.confirm_all(
            i
            for i, instrument in engine.instruments.items()
            if instrument.tradable and may_be_entered(self._settings, instrument)
        )

    def _go(self, engine: Engine, held: JournalState) -> None:
        """ACTIVE, unless an operator said otherwise before the restart or something is not right."""
        risk = engine.risk
        if (standing := risk.restore(held.values)) is not None:
            risk.states.put(standing)
        elif not self._settings.trading.trading_enabled:
            risk.set_state(TradingState.REDUCING, reason="TRADING_ENABLED=false", author="configuration")
        elif risk.standing.state is TradingState.REDUCING:
            log.warning("start.restricted", reason=risk.standing.reason)
        elif not engine.protection.all_covered():
            risk.halt("a position stands without a stop after the start")
            engine.notifier.notify(Level.CRITICAL, "a position stands without a stop after the start")
        else:
            late = [venue for venue in engine.clients if risk.venue_off_reason(venue) is not None]
            verified = "every position is verified protected" + (f", {', '.join(late)} not read yet" if late else "")
            risk.set_state(TradingState.ACTIVE, reason=verified, author="breakwater")
        now = risk.standing
        log.info("ready", build=build_id(), venues=sorted(engine.clients), state=now.state.value, reason=now.reason)

    # one wave

    async def _one_wave(self, waves: WaveProcessor) -> None:
        if not self._sources.names:
            self.outcome.said = "no signal source is configured (SIGNAL_WS_URL, STRATEGY); nothing to wait for"
            return
        decided = self._sources.decided

        def note(report: WaveReport) -> None:
            self.outcome.reports.append(report)
            if not report.only_late:
                decided.set()

        waves.on_report(note)
        try:
            async with asyncio.timeout(self._settings.process.once_wait_seconds):
                await self._or_stop(decided.wait())
        except TimeoutError:
            self.outcome.said = f"no signal within {self._settings.process.once_wait_seconds} s (ONCE_WAIT_SECONDS)"
            return
        if not self.outcome.reports:
            self.outcome.said = f"no signal: {self._sources.said}" if decided.is_set() else self.outcome.said
            return
        if all(report.settled for report in self.outcome.reports):
            self.outcome.said = "the wave is settled"
        else:
            self.outcome.status = ExitStatus.OPERATOR_NEEDED
            self.outcome.said = "a leg of the wave is unknown or unprotected; run again to reconcile it"

    # running

    def _starter(self, group: asyncio.TaskGroup) -> Callable[[str, Coroutine[Any, Any, None]], None]:
        def start(name: str, work: Coroutine[Any, Any, None]) -> None:
            self._tasks[name] = group.create_task(work, name=name)

        return start

    async def _or_stop(self, work: Awaitable[Any]) -> None:
        """Wait for `work`, or until the daemon is told to stop."""

        async def wait() -> None:
            await work

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(wait(), name="awaited"), group.create_task(self._asked(), name="stop-asked")]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()

    async def _asked(self) -> None:
        await self.stop.wait()

    async def _watch_kill_file(self, engine: Engine) -> None:
        """HALTED while DATA_DIR/KILL exists (DESIGN §3.15)."""
        path: Path = self._settings.process.data_dir / "KILL"
        while True:
            engine.risk.states.set_killed(path.exists())  # noqa: ASYNC240 - one stat a second of a local file
            await asyncio.sleep(KILL_FILE_CHECK_SECONDS)

    async def _watch_journal(self, engine: Engine) -> None:
        """Says when the journal refuses and when it works again (JRN-09); entries stop by themselves meanwhile."""
        writable = True
        while True:
            if engine.journal.writable != writable:
                writable = not writable
                text = "the journal is written again; entries go on" if writable else _UNWRITABLE
                engine.notifier.notify(Level.INFO if writable else Level.CRITICAL, text)
            await asyncio.sleep(JOURNAL_CHECK_SECONDS)

    def _note_update(self, engine: Engine, update: int) -> None:
        record = StateRecord(key=_TELEGRAM_KEY, value=str(update), time_ms=self._clock.now_ms())
        engine.journal.append_nowait([record])

    async def _status_lines(self) -> None:
        while True:
            await asyncio.sleep(self._settings.process.status_line_interval_seconds)
            if self.queries is not None:
                log.info("status", line=status_line(self.queries.status()))

    # stop

    async def _shut_down(self, engine: Engine) -> None:
        """In the stated order; what must not wait is bounded, stops stay on the venue."""
        log.info("stopping")
        if engine.risk.standing.state is TradingState.ACTIVE:
            engine.risk.set_state(TradingState.REDUCING, reason="stopping", author="breakwater")
        await self._settle(engine)
        if self._settings.process.close_positions_on_shutdown:
            await self._close_all(engine)
            await self._settle(engine)  # what belonged to the closed positions is cancelled
        left = [p.key for p in engine.orders.state.positions() if not engine.protection.covered(p.key)]
        if left and self.outcome.status is ExitStatus.DONE:
            self.outcome.status = ExitStatus.OPERATOR_NEEDED
            self.outcome.said = "without a confirmed stop: " + ", ".join(map(str, left)) + "; start again or close them"
        await self._end(*(name for name in self._tasks if name.startswith(("signals/", "late/"))))
        await self._end("waves", *_WATCHERS, "outages")
        await self._end("data", *(name for name in self._tasks if name.startswith("market/")))
        await self._end(*(name for name in self._tasks if name.startswith("user-stream/")))
        if self._messenger is not None:
            await self._messenger.drain(MESSENGER_SECONDS)
        await self._end("telegram")
        await self._end("native-trailing", "protection", "inflight", "orders")
        self._note_run(engine, STOPPED)
        log.info("stopped", positions=len(engine.orders.state.positions()))

    async def _settle(self, engine: Engine) -> None:
        """Until nothing is in flight and everything has its stop, or the time for it is over (OPS-02)."""
        deadline = self._clock.monotonic() + self._settings.process.shutdown_timeout_seconds
        while _undecided(engine) or not engine.protection.all_covered() or _busy(engine):
            if self._clock.monotonic() >= deadline or "orders" not in self._tasks or self._tasks["orders"].done():
                break
            await asyncio.sleep(0.02)

    async def _close_all(self, engine: Engine) -> None:
        positions = engine.orders.state.positions()
        closes = (engine.closer.flatten(p.key, "CLOSE_POSITIONS_ON_SHUTDOWN", leg=Leg.CLOSE) for p in positions)
        await self._bounded("close positions", lambda: asyncio.gather(*closes), seconds=5.0)

    async def _end(self, *names: str) -> None:
        tasks = {task for name in names if (task := self._tasks.pop(name, None)) is not None}
        for _ in range(CANCELS):  # before Python 3.13 a group whose task fails in the same step swallows the first
            for task in tasks:
                task.cancel()
            if tasks:
                _, tasks = await asyncio.wait(tasks, timeout=STEP_SECONDS)

    async def _bounded(self, what: str, close: Callable[[], Any], *, seconds: float = STEP_SECONDS) -> None:
        try:
            async with asyncio.timeout(seconds):
                await close()
        except TimeoutError:
            log.warning("stop.slow_step", what=what, seconds=seconds)
        except VenueError as error:
            log.warning("stop.step_failed", what=what, error=str(error))

    async def _close_journal(self, journal: SqliteJournal) -> None:
        try:
            await self._bounded("journal", journal.close)
        except JournalUnwritable as error:
            self.outcome.status = ExitStatus.OPERATOR_NEEDED
            self.outcome.said = str(error)
            log.error("journal.not_closed", error=str(error))  # noqa: TRY400 - the sentence is the news


def _undecided(engine: Engine) -> list[Order]:
    live = engine.orders.state.all_live_orders()
    return [order for order in live if order.status in UNACKNOWLEDGED or order.fills_missing]


def _busy(engine: Engine) -> bool:
    """Whether a stop or a trailing order is being placed, moved or cancelled."""
    return engine.protection.busy or (engine.native is not None and engine.native.busy)


def _priced(engine: Engine, venue: VenueName) -> bool:
    """Prices come, and each position has one."""
    quotes = map(engine.markets[venue].quote, engine.clients[venue].instruments)
    return not engine.data.unpriced(venue, live=True) and any(
        quote is not None and quote.mark is not None and quote.bid is not None for quote in quotes
    )


def _begin(engine: Engine, start: Callable[[str, Coroutine[Any, Any, None]], None], venue: VenueName) -> None:
    start(f"market/{venue}", engine.markets[venue].run())
    start(f"user-stream/{venue}", engine.streams[venue].run())
