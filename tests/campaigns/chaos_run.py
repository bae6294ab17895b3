"""One seed, played: the whole daemon on a clock that jumps, against façades that misbehave as its plan says."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import sys
import time
from collections.abc import Mapping
from contextvars import ContextVar
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from msgspec.structs import replace

from core.errors import JournalUnwritable, StartRefused
from core.lifecycle.outcome import ExitStatus, Outcome
from core.redaction import Redactor
from core.status.control import ControlServer
from tests.campaigns.chaos_borrowed import EVERY_SECRET, KEYS, PASSPHRASE, SECRETS, TOKEN, ChaosTask, borrowed
from tests.campaigns.chaos_owner import trades
from tests.campaigns.chaos_plan import Happening, Plan, symbol
from tests.campaigns.chaos_record import Record, Said, Trouble, Window
from tests.campaigns.chaos_witness import Witness
from tests.fakes.sim_transport import SimulatedFeed
from tests.fakes.virtual_loop import VirtualLoop
from tests.scenarios.worlds import AFTER_CRASHES, Daemon, SimulatedWorld
from tools.venuesim.exchange.model import PositionMode, Refused
from tools.venuesim.gate import FaultGate

READY_SECONDS = 90.0
AGAIN_SECONDS = 5.0
"""A daemon that ended by itself is started again after so long, as a service manager does."""
KILL_FILE = "the KILL file was there"
KILL_FILE_SECONDS = 1.05
"""It is looked for each second."""

_number: ContextVar[int] = ContextVar("daemon", default=0)
"""Which start of the daemon a log line belongs to."""


class Game:
    """Plays one plan. `alive` is the daemon of the moment, None while it is down."""

    def __init__(self, plan: Plan, folder: Path, record: Record) -> None:
        self._plan, self._folder, self.record = plan, folder, record
        self.alive: Daemon | None = None
        self._starts = 0
        self._wanted = True
        self._down_s = 0.0
        self._asked_to_stop = False
        self._orders = self._resumes = 0
        self._background: set[asyncio.Task[Any]] = set()
        self._commands: set[asyncio.Task[Any]] = set()
        self._servers: list[ControlServer] = []
        self._killing = False
        self.disk_full = False

    def now_s(self) -> float:
        return asyncio.get_running_loop().time() - 1_000.0

    def say(self, who: str, text: str) -> None:
        self.record.lines.append(Said(self.now_s(), who, text))

    async def play(self, judge: Any) -> None:
        plan = self._plan
        world_settings = {**plan.world, "position_mode": PositionMode(plan.world["position_mode"])}
        async with SimulatedWorld(self._folder, plan.venues, **world_settings) as world:
            self._world = world
            world._feed = SimulatedFeed([*plan.waves, *plan.server], token=TOKEN)
            for venue in plan.venues:
                simulation = world.venues[venue].simulation
                witness = Witness(simulation.engine, simulation.time_ms, partial(self.say, venue))
                simulation.engine.connect(witness.before(simulation._on_events), FaultGate(simulation))
                self.record.witnesses[venue] = witness
            keeper = asyncio.create_task(self._keep_up(), name="chaos/keeper")
            for happening in plan.happenings:
                await self._until(happening.at_s)
                await self._do(happening)
            await self._until(plan.chaos_s)
            await self._forgive()
            self.say("campaign", "everything is whole again")
            await self._until(plan.chaos_s + plan.calm_s)
            self.record.end_s = self.now_s()
            await judge(self, world)
            self._wanted = False
            if self.alive is not None:
                self.alive.orchestrator.stop.set()
            await keeper
            if self._background:
                await asyncio.wait(self._background)
            for venue in plan.venues:
                for fault in world.venues[venue].simulation.faults.all():
                    self.record.struck[fault.kind] += fault.hits

    async def _until(self, at_s: float) -> None:
        await asyncio.sleep(max(0.0, at_s - self.now_s()))

    # the process

    async def _keep_up(self) -> None:
        """Start it, and start it again whenever it ended, until it is wanted no more."""
        data: Path | None = None
        while self._wanted:
            self._starts += 1
            _number.set(self._starts)
            daemon = self._world.daemon(data, **self._settings())
            self.record.folders.append(daemon.data_dir)
            began = self.now_s()
            self.say("daemon", f"start {self._starts}")
            self._lay_kill_file(daemon.data_dir)
            self.alive, self._left = daemon, None
            daemon.begin()
            assert daemon._task is not None
            watching = self._spawn(self._until_ready(daemon, began), "ready")
            self._struck: asyncio.Future[Path] = asyncio.get_running_loop().create_future()
            await self._over(daemon._task)
            watching.cancel()
            self.alive = None
            if self._struck.done():
                data = self._struck.result()
                self._spawn(self._bury(daemon), "bury")
            else:
                data = daemon.data_dir
                self._note_end(daemon._task, asked=self._asked_to_stop or not self._wanted)
            self._forget_unwritten()
            down_s, self._down_s = self._down_s, 0.0
            self.record.down.append(Window(self.now_s(), self.now_s() + down_s))
            if self._wanted:
                await asyncio.sleep(down_s)

    def _forget_unwritten(self) -> None:
        """A run that ends on a full disk takes with it what it was told meanwhile: nothing could be written down."""
        if not self.disk_full:
            return
        full, now = self.record.disk[-1].since, self.now_s()
        self.record.unwritten.append(Window(full, now))
        self.record.no_entries = [
            window._replace(until=min(window.until, now)) if window.since > full and window.why != KILL_FILE else window
            for window in self.record.no_entries
        ]

    async def _over(self, task: asyncio.Task[Outcome]) -> None:
        """Until it ended, or was struck dead."""
        ends: list[asyncio.Future[Any]] = [task, self._struck]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)

    async def _bury(self, daemon: Daemon) -> None:
        await daemon.bury(daemon.data_dir)

    def _note_end(self, task: asyncio.Task[Outcome], *, asked: bool) -> None:
        error = task.exception()
        if self.disk_full and isinstance(error, JournalUnwritable | StartRefused):
            self.say("daemon", f"cannot start: {error}")
            self._down_s = AGAIN_SECONDS
            return
        if error is not None:
            self.record.endings.append(f"the daemon died of {error!r}: {_leaves(error)}")
            self._down_s = AGAIN_SECONDS
            return
        outcome = task.result()
        self.say("daemon", f"ended {outcome.status.name}: {outcome.said}")
        if not asked:
            self._down_s = AGAIN_SECONDS
            if outcome.status is ExitStatus.OPERATOR_NEEDED and self.disk_full:
                return  # whatever it refused or said could not be written down either
            if outcome.status is not ExitStatus.PREFLIGHT_REFUSED:
                self.record.endings.append(f"the daemon ended by itself: {outcome.status.name} {outcome.said}")
            elif self.now_s() > self._plan.chaos_s:
                self.record.endings.append(f"the daemon refused to start in calm weather: {outcome.said}")

    async def _until_ready(self, daemon: Daemon, began: float) -> None:
        while "status-line" not in daemon.orchestrator._tasks:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
        self.record.down.append(Window(began, self.now_s(), why="start"))
        self.say("daemon", f"ready after {self.now_s() - began:.2f} s, {daemon.status.trading_state}")

    def _settings(self) -> dict[str, Any]:
        access = {f"{name.upper()}_API_KEY": KEYS[name] for name in self._plan.venues}
        access |= {f"{name.upper()}_API_SECRET": SECRETS[name] for name in self._plan.venues}
        if "okx" in self._plan.venues:
            access["OKX_PASSPHRASE"] = PASSPHRASE
        return {**AFTER_CRASHES, **access, "SIGNAL_WS_TOKEN": TOKEN, **self._plan.settings}

    # what happens

    async def _do(self, happening: Happening) -> None:
        self.say(happening.venue or "people", happening.line())
        await getattr(self, f"_do_{happening.what}")(happening)

    async def _do_fault(self, happening: Happening) -> None:
        table = dict(happening.details)
        await self._world.tell("fault", happening.venue, **table)
        now = self.now_s()
        lasts = min(float(table.get("duration_ms", 0.0)) / 1000, max(0.0, self._plan.chaos_s - now))
        self.record.faulty.append(Window(now, now + lasts, happening.venue, str(table["kind"])))

    async def _do_price(self, happening: Happening) -> None:
        venue, symbol = self._world.venues[happening.venue], str(happening.details["symbol"])
        venue.catch_up()
        engine = venue.simulation.engine
        engine.set_price(symbol, engine.quote(symbol).last * Decimal(happening.details["factor"]))
        venue.arm()

    async def _do_kill(self, happening: Happening) -> None:
        daemon = self.alive
        if daemon is None or not daemon.data_dir.exists() or self._struck.done():
            self.say("daemon", "is not up")
            return
        self._down_s = float(happening.details["down_s"])
        self.record.killed.add(self._starts)
        self._servers.clear()
        for command in self._commands:  # it was a task of the process that is dead now
            command.cancel()
        self.alive = None
        self._struck.set_result(daemon.strike())
        self.say("daemon", "killed")

    async def _do_stop(self, happening: Happening) -> None:
        daemon = self.alive
        if daemon is None:
            self.say("daemon", "is not up")
            return
        self._down_s, self._asked_to_stop = float(happening.details["down_s"]), True
        since = self.now_s()
        daemon.orchestrator.stop.set()
        assert daemon._task is not None
        await self._over(daemon._task)
        await asyncio.sleep(0)
        self._asked_to_stop = False
        self.record.down.append(Window(since, self.now_s(), why="stop"))

    async def _do_kill_file(self, happening: Happening) -> None:
        self._killing, now = bool(happening.details["on"]), self.now_s()
        if self.alive is not None:
            self._lay_kill_file(self.alive.data_dir)
        if self._killing:
            self.record.no_entries.append(Window(now + KILL_FILE_SECONDS, float("inf"), why=KILL_FILE))
            return
        self.record.no_entries = [
            window._replace(until=min(window.until, now)) if window.why == KILL_FILE else window
            for window in self.record.no_entries
        ]

    def _lay_kill_file(self, folder: Path) -> None:
        """It lies in the data folder, whichever daemon lives there, or it does not."""
        path = folder / "KILL"
        if self._killing:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch()
        else:
            path.unlink(missing_ok=True)

    async def _do_disk(self, happening: Happening) -> None:
        self.disk_full, now = bool(happening.details["on"]), self.now_s()
        if self.disk_full:
            self.record.disk.append(Window(now, float("inf")))
        else:
            self.record.disk[-1] = self.record.disk[-1]._replace(until=now)

    async def _do_command(self, happening: Happening) -> None:
        if not self._servers:
            self.say("daemon", "takes no commands now")
            return
        self._ask(dict(happening.details))

    async def _do_cancel(self, happening: Happening) -> None:
        """One order that rests somewhere, perhaps the stop of a position."""
        resting = list[str]()
        for venue in self._plan.venues:
            engine = self._world.venues[venue].simulation.engine
            resting += [row.client_id for row in engine.open_conditionals() if row.client_id]
            resting += [order.client_id for order in engine.open_orders() if order.client_id]
        if not self._servers or not resting:
            self.say("people", "have nothing to cancel")
            return
        chosen = resting[int(happening.details["which"]) % len(resting)]
        self._ask({"command": "cancel", "id": chosen})

    def _ask(self, request: dict[str, Any]) -> None:
        asked = self._spawn(self._command(self._servers[-1], request), "command")
        self._commands.add(asked)
        asked.add_done_callback(self._commands.discard)

    async def _command(self, server: ControlServer, request: dict[str, Any]) -> None:
        name, starts = request["command"], self._starts
        if name == "resume":
            self._resumed()
        resumes = self._resumes
        answer = json.loads(await server.answer(json.dumps(request).encode()))
        if self._starts != starts or self.alive is None:
            return
        self.record.commands[name] += 1
        text = json.dumps(answer, default=str)
        self.record.answers.append(text)
        self.say("daemon", f"answers {name}: {text[:200]}")
        if name in ("status", "risk") and not answer["ok"]:
            self.record.wrong.append(f"{name} was not answered: {text[:200]}")
        if answer["ok"] and name in ("pause", "reduce", "panic") and resumes == self._resumes:
            why = f"{name} was answered"
            self.record.no_entries.append(Window(self.now_s(), float("inf"), request.get("venue") or "", why))
        if answer["ok"] and name == "panic":
            self._look_for_held(answer["result"])

    def _look_for_held(self, result: Mapping[str, Any]) -> None:
        """What a panic calls flat must be, by the venue's own book."""
        for row in result.get("closed", ()):
            engine = self._world.venues[row["venue"]].simulation.engine
            name = symbol(row["venue"], row["symbol"].partition("/")[0])
            touched = any(window.why == name for window in self.record.own_hand)
            if row["flat"] and not touched and any(held.symbol == name for held in engine.positions()):
                self.record.wrong.append(
                    f"{row['venue']} {name} is held {self.now_s():.3f} s in, panic said it is flat"
                )

    def _resumed(self) -> None:
        """Whatever a resume may give free is no longer watched."""
        now, self._resumes = self.now_s(), self._resumes + 1
        self.record.resumed.append(now)
        self.record.no_entries = [
            window if window.why == KILL_FILE else window._replace(until=min(window.until, now))
            for window in self.record.no_entries
        ]

    async def _do_owner(self, happening: Happening) -> None:
        venue, details = self._world.venues[happening.venue], happening.details
        symbol, witness = str(details["symbol"]), self.record.witnesses[happening.venue]
        venue.catch_up()
        engine = venue.simulation.engine
        try:
            if details["does"] == "cancel_stop":
                for row in engine.open_conditionals(symbol):
                    engine.cancel_conditional(conditional_id=row.id, symbol=symbol)
            else:
                for request in trades(engine, symbol, details):
                    self._orders += 1
                    engine.place(replace(request, client_id=f"android{self._orders}"))
        except Refused as refused:
            self.say(happening.venue, f"the owner is refused: {refused}")
        witness.touched(symbol)
        self.record.own_hand.append(Window(self.now_s(), self.now_s(), happening.venue, symbol))
        venue.arm()

    async def _forgive(self) -> None:
        for name in self._plan.venues:
            for fault in self._world.venues[name].simulation.faults.all():
                self.record.struck[fault.kind] += fault.hits
        await self._world.forgive()

    # what is remembered

    def _spawn(self, work: Any, name: str) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=f"chaos/{name}")
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def console(self) -> type[ControlServer]:
        """The control server without its socket, known here while it serves."""
        servers, commands = self._servers, self._commands

        class Console(ControlServer):
            async def run(self) -> None:
                servers.append(self)
                try:
                    await asyncio.Event().wait()
                finally:
                    if self in servers:
                        servers.remove(self)
                    for command in commands:  # as the real one hangs up on whoever waits for an answer
                        command.cancel()

        return Console

    def hear(self, redactor: Redactor) -> Any:
        """The last processor of the daemon's log."""

        def keep(_logger: object, method: str, event: Any) -> Any:
            number = _number.get()
            info = event.pop("exc_info", None)
            error = info if isinstance(info, BaseException) else None
            if info is True:
                error = sys.exc_info()[1]
            if error is not None:
                event["error"] = f"{error!r} {_leaves(error)}"
            values = redactor.mapping(event)
            text = " ".join(f"{name}={value}" for name, value in values.items() if name != "event")
            name = str(values.get("event", ""))
            if number not in self.record.killed:
                self.record.log.append(f"{name} {text}")
                told_again = (
                    name == "signal.denied" and "already_seen" in text
                )  # each connection tells all signals anew
                if name not in _QUIET and not told_again:
                    self.say("daemon", f"{method}: {name} {text}")
                if method in ("error", "critical", "exception"):
                    self.record.troubles.append(Trouble(number=number, event=name, text=text))
            raise structlog.DropEvent

        return keep


_QUIET = frozenset({"status", "preflight"})


def _leaves(error: BaseException) -> str:
    """Where the innermost errors of a group came from."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_leaves(one) for one in error.exceptions)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
    return f"{error!r}{where}"


def run(plan: Plan, folder: Path, judge: Any) -> Record:
    """Play and judge it on a loop of its own; what is wrong is in the record."""
    record, began = Record(plan), time.process_time()
    ChaosTask.made = 0
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        loop.set_task_factory(lambda loop, coro, **keys: ChaosTask(coro, loop=loop, **keys))
        game = Game(plan, folder, record)
        loop.set_exception_handler(lambda _loop, context: record.unhandled.append(_context(context)))
        hears, console = game.hear(Redactor(EVERY_SECRET)), game.console()
        with borrowed(plan.seed, hears=hears, console=console, disk_full=lambda: game.disk_full):
            try:
                runner.run(_whole(game, judge))
            except Exception as error:  # swallow: a run that breaks is a failed seed, and told as one
                record.wrong.append(f"the run broke: {error!r} {_leaves(error)}")
            gc.collect()  # what a task still had to say is said now
    record.digest = _digest(record.folders)
    record.wrong += [f"unhandled: {what}" for what in record.unhandled]
    record.seconds = time.process_time() - began
    return record


async def _whole(game: Game, judge: Any) -> None:
    await game.play(judge)
    for _ in range(3):
        await asyncio.sleep(0)
    left = sorted(task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task())
    game.record.wrong += [f"a task is left: {name}" for name in left]


def _context(context: dict[str, Any]) -> str:
    error, task = context.get("exception"), context.get("task") or context.get("future")
    whose = task.get_name() if isinstance(task, asyncio.Task) else ""
    return f"{context.get('message')} {whose} {error!r} {'' if error is None else _leaves(error)}"


def _digest(folders: list[Path]) -> str:
    """Of every audit log of the run, byte for byte."""
    digest = hashlib.sha256()
    for folder in dict.fromkeys(folders):
        for path in sorted(folder.glob("audit*.log*")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
