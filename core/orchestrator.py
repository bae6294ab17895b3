"""Boots, supervises and stops the daemon, in one visible order (DESIGN §3.16). A crash start is the same start."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import structlog
from msgspec import Struct, field

from core.alerts.messenger import MakeMessenger
from core.alerts.notices import Notices
from core.assembly import Engine, assemble
from core.build import build_id
from core.clock import Clock
from core.config import Settings
from core.domain.alerts import AlertKind
from core.domain.ids import VenueName
from core.engine.holdings import holdings
from core.engine.interrupted_waves import end_interrupted
from core.engine.operator_desk import OperatorDesk
from core.engine.ports import Level
from core.engine.queries import Queries
from core.engine.records import JournalState, StateRecord
from core.engine.retention import keep_history
from core.engine.vitals import QueueRow
from core.engine.wave_processor import WaveProcessor
from core.errors import StartRefused
from core.lifecycle.last_run import RUN_KEY, RUNNING, STOPPED, LastRun
from core.lifecycle.one_wave import one_wave
from core.lifecycle.opening import Opening
from core.lifecycle.outcome import ExitStatus, Outcome
from core.lifecycle.preflight import why_not
from core.lifecycle.readiness import confirm_leverage, go, until_live, until_priced, until_protected
from core.lifecycle.stopping import bounded, close_journal, forced, shut_down, take_leave
from core.logs import LogHealth
from core.redaction import Redactor
from core.status.control import ControlServer
from core.status.line import status_line
from core.status.overview import Overview
from core.storage.audit_log import AuditLog as ChainedAuditLog
from core.storage.journal import SqliteJournal
from core.supervision.collector import Collector
from core.supervision.loop_watch import LoopWatch
from core.supervision.mending import halt, mend
from core.supervision.process_vitals import DaemonVitals
from core.supervision.queues import alert_queues, audit_queue, journal_queue, log_queue, wave_queue
from core.supervision.service_notify import NotifySocket, ServiceNotify
from core.supervision.standing_watches import status_lines, watch_journal, watch_kill_file, watch_log
from core.supervision.tasks import Supervisor
from core.transport import Transport
from core.wiring.desk import operator_desk
from core.wiring.serving import overview, status_server
from core.wiring.sources import Sources, signal_sources
from core.wiring.telling import Telling

log = structlog.get_logger(__name__)

_TELEGRAM_KEY = "telegram_update"


class Host(Struct, frozen=True, kw_only=True):
    """What the surroundings provide: real ones in production, in-process ones in simulation."""

    clock: Clock
    transport: Callable[[str], Transport]
    executor: Callable[[], Executor]
    messenger: MakeMessenger | None = None
    service: NotifySocket = field(default_factory=lambda: NotifySocket({}))
    """Of the service manager; by default there is none."""
    loop_watch: LoopWatch | None = None
    collector: Collector | None = None
    log: LogHealth | None = None


class Shown(Struct, frozen=True, kw_only=True):
    """What is seen of a run, from before its venues are asked until the end."""

    waves: WaveProcessor
    queries: Queries
    look: Overview
    telling: Telling


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
        self._stored: list[Callable[[], QueueRow]] = []
        self._notices = Notices()
        self._tasks = Supervisor(host.clock, self._notices)
        self._service = ServiceNotify(host.service, host.clock, Redactor(settings.secret_values()))

    async def check(self) -> Outcome:
        """Pre-flight only."""
        async with self._assembled() as (engine, held):
            await self._preflight(engine, held, waits=False)
        return self.outcome

    async def run(self, *, once: bool = False) -> Outcome:
        """Until stopped; with `once` until the first wave is settled."""
        self._once = once
        async with self._assembled() as (engine, held), self._watched():
            last = LastRun(held.values, self._clock.now_ms())
            last.note(engine.journal)
            telegram = self._host.messenger is not None
            telling = Telling(engine, held, transport=self._host.transport, telegram=telegram)
            self._notices.attach(telling.alerts)
            self._restore(engine, held)
            shown = self._show(engine, held, telling)
            opening = None
            try:
                await last.pause(engine, self.stop)
                opening = await self._preflight(engine, held, waits=True)
            finally:
                if opening is None:  # refused or stopped, or a setting that only the venues could show to be wrong
                    await take_leave(self._tasks, telling)
            if opening is None:
                last.take_back(engine.journal)
                return self.outcome
            self._tasks.on_vital(partial(halt, engine), partial(mend, engine))
            try:
                await self._boot(engine, held, last, opening, shown)
                if once:
                    wait_s = self._settings.process.once_wait_seconds
                    await one_wave(shown.waves, self._sources, self.outcome, self.stop, wait_s)
                else:
                    await self.stop.wait()
            finally:
                self._service.stopping()
                try:
                    await shut_down(engine, self._tasks, telling, self.outcome)
                except asyncio.CancelledError:
                    forced(engine, self.outcome)
                    raise
                self._note_run(engine, STOPPED)
                log.info("stopped", positions=len(engine.orders.state.positions()))
        return self.outcome

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        """Whoever owns the tasks; from before the venues are asked, which may last, until everything has ended."""
        async with self._tasks:
            if self._service.wanted:
                self._tasks.start("service", self._service.run)
            if self._host.log is not None:
                self._tasks.start("log-watch", partial(watch_log, self._host.log, self._notices))
            if self._host.loop_watch is not None:
                self._tasks.start("loop-watch", self._host.loop_watch.run)
            if self._host.collector is not None:
                self._tasks.start("collector", self._host.collector.run)
            try:
                yield
            finally:
                await self._tasks.end("service", "log-watch", "loop-watch", "collector")

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
            self._stored = [partial(journal_queue, journal), partial(audit_queue, audit)]
            if (broken := await journal.open()) is not None:
                log.error("journal.set_aside", moved_to=broken.name, meaning="the venues will tell what is open")
                self._journal_broken = f"the journal was broken and was set aside as {broken.name}"
            stack.push_async_callback(close_journal, journal, self.outcome)
            try:
                tail = await audit.open()
            except OSError as error:
                raise StartRefused(f"the audit log cannot be written: {error}") from error
            stack.push_async_callback(bounded, "audit", audit.close)
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
                stack.push_async_callback(bounded, f"client {client.name}", client.close)
            yield engine, held

    async def _preflight(self, engine: Engine, held: JournalState, *, waits: bool) -> Opening | None:
        """The venues opened; None when there is nothing to trade on."""
        patient = waits and not self._once and self._host.service.there
        opening = Opening(engine, held, patient=patient)
        probing = not waits and self._settings.process.preflight_probe_orders
        self.outcome.preflights = await opening.examine(probing=probing)
        if waits:
            seconds = float(self._settings.process.once_wait_seconds) if self._once else None
            await opening.until_one_serves(self.stop, seconds)
        if not engine.clients:
            if not self.stop.is_set():
                self.outcome.status = ExitStatus.PREFLIGHT_REFUSED
                self.outcome.said = f"no venue can be used: {why_not(self.outcome.preflights)}"
                if waits:
                    text = f"not started, {self.outcome.said}"
                    engine.notifier.notify(Level.CRITICAL, text, kind=AlertKind.START)
            return None
        self.symbols = {str(i): instrument.venue_symbol for i, instrument in engine.instruments.items()}
        transport = self._host.transport("signals")
        self._sources = signal_sources(engine, transport, held=held.values, seen=held.seen_signals, once=self._once)
        return opening

    async def _boot(self, engine: Engine, held: JournalState, last: LastRun, opening: Opening, shown: Shown) -> None:
        start, waves, telling = self._tasks.start, shown.waves, shown.telling
        start("orders", engine.orders.run)
        start("inflight", engine.inflight.run)
        start("protection", engine.protection.run)
        start("outages", engine.outages.run)
        start("data", engine.data.run)
        begin = partial(_begin, engine, self._tasks)
        for venue in engine.clients:
            begin(venue)
        self._tell_of_the_last_run(engine, last)
        await until_live(engine, self.stop)
        start("reconciler", engine.reconciler.run)
        await asyncio.gather(until_protected(engine, self.stop), confirm_leverage(engine))
        await until_priced(engine, self.stop)
        end_interrupted(held, engine.orders.state, engine.journal, engine.audit, engine.notifier, self._clock.now_ms())
        go(engine, held)
        queries, health = shown.queries, shown.look.health
        folder = self._settings.process.data_dir
        control = ControlServer(folder=folder, queries=queries, commands=engine.commands, health=health)
        start("control", control.run)
        start("exits", engine.exits.run)
        if engine.native is not None:
            start("native-trailing", engine.native.run)
        start("money", engine.money.run)
        start("risk-watch", engine.risk_watch.run)
        start("account-watch", engine.watch.run)
        start("upkeep", engine.upkeep.run)
        for venue in opening.late:
            start(f"late/{venue}", partial(opening.join, venue, begin))
        self._keep_watch(engine, queries)
        telling.watch(start, lambda: waves.finished)
        start("screener", engine.screener.run)
        start("waves", waves.run)
        for name in self._sources.names:
            start(f"signals/{name}", partial(self._sources.run, name, waves.handle, waves.expect))
        self._ready(shown)
        telling.say_started()

    def _keep_watch(self, engine: Engine, queries: Queries) -> None:
        start, process = self._tasks.start, self._settings.process
        start("time-jumps", engine.jumps.run)
        start("kill-file", partial(watch_kill_file, engine))
        start("journal-watch", partial(watch_journal, engine))
        start("status-line", partial(status_lines, queries, process.status_line_interval_seconds))
        if process.journal_retention_days:
            start("retention", partial(keep_history, engine.journal, process.journal_retention_days, self._clock))

    def _queues(self, engine: Engine, waves: WaveProcessor, telling: Telling) -> tuple[QueueRow, ...]:
        log_rows = () if self._host.log is None else (log_queue(self._host.log),)
        return (
            *engine.queues(),
            wave_queue(waves.waiting),
            *(told() for told in self._stored),
            *alert_queues(telling.feeds),
            *log_rows,
        )

    def _ready(self, shown: Shown) -> None:
        self._service.ready(shown.look.health, partial(_line, shown.queries))
        gc.collect()
        gc.freeze()  # what lives until the end need not be looked through again

    def _show(self, engine: Engine, held: JournalState, telling: Telling) -> Shown:
        """From before the venues are asked, which may last: the status page tells how the start goes, people hear, and
        may ask. What they may order waits for the tasks that carry it out."""
        waves = engine.waves(held.seen_signals)
        self.queries = queries = engine.queries(waves)
        queues = partial(self._queues, engine, waves, telling)
        queries.process = DaemonVitals(self._tasks, self._host.loop_watch, queues)
        look = overview(engine, queries)
        if (page := status_server(engine, look, waves, telling)) is not None:
            self._tasks.start("status", page.run)
        telling.start(self._tasks.start)
        desk = operator_desk(engine, queries, look.health, opened=lambda: "protection" in self._tasks)
        self._converse(engine, desk, held, telling)
        return Shown(waves=waves, queries=queries, look=look, telling=telling)

    def _converse(self, engine: Engine, desk: OperatorDesk, held: JournalState, telling: Telling) -> None:
        if self._host.messenger is not None:
            messenger = self._host.messenger(
                desk=desk,
                feed=telling.telegram(),
                first_update=int(held.values.get(_TELEGRAM_KEY, "0")),
                on_update=partial(self._note_update, engine),
            )
            self._tasks.start("telegram", messenger.run)

    def _tell_of_the_last_run(self, engine: Engine, last: LastRun) -> None:
        """And without a journal nobody but people may resume."""
        if self._journal_broken:
            engine.risk.restrict(f"{self._journal_broken}; compare the positions, then resume", "journal")
            text = f"{self._journal_broken}; no entries until you resume"
            engine.notifier.notify(Level.CRITICAL, text, kind=AlertKind.JOURNAL)
        last.tell(engine)
        self._note_run(engine, RUNNING)

    def _note_run(self, engine: Engine, value: str) -> None:
        engine.journal.append_nowait([StateRecord(key=RUN_KEY, value=value, time_ms=self._clock.now_ms())])

    def _restore(self, engine: Engine, held: JournalState) -> None:
        known = holdings(held.positions, held.orders)
        unnoted = [*engine.protection.stop_orders.unnoted(known), *engine.closer.unnoted(known)]
        engine.orders.restore(held.orders, [*held.reopenable, *held.positions], held.ended, unnoted)
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

    def _note_update(self, engine: Engine, update: int) -> None:
        record = StateRecord(key=_TELEGRAM_KEY, value=str(update), time_ms=self._clock.now_ms())
        engine.journal.append_nowait([record])


def _line(queries: Queries) -> str:
    return status_line(queries.status())


def _begin(engine: Engine, tasks: Supervisor, venue: VenueName) -> None:
    tasks.start(f"market/{venue}", engine.markets[venue].run)
    tasks.start(f"user-stream/{venue}", engine.streams[venue].run)
