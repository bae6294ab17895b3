"""Where a process can die: every write to its files, every word over the wire, and every step of a task.

The unchanged daemon runs on a host whose executors, connections and event loop count (`PointedWorld`): each moment gets
a number, the same in every run with the same seed, and `Points.on_point` is called in the middle of it. What survives a
death is what the operating system has of the files, what the venue has, and the time; two moments between which none of
these changed are one and the same to whoever comes after, and the later one carries the number of the earlier.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Coroutine, Generator, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from enum import StrEnum
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, ParamSpec, TypeVar
from unittest.mock import patch

from msgspec import Struct
from msgspec.structs import replace

from core.engine.records import Record
from core.orchestrator import Host
from core.storage.database import Database
from core.storage.writer import InlineExecutor
from core.transport import Socket, Transport
from tests.fakes.sim_transport import Line, Watch
from tests.scenarios.worlds import SimulatedWorld
from tools.venuesim.exchange.events import AccountChanged, ConditionalUpdate, Event
from tools.venuesim.gate import FaultGate

P = ParamSpec("P")
T = TypeVar("T")
AUDIT = "audit.log"
FULL = 2
"""SQLite's number for syncing each commit."""
FILES = ("journal", "audit")
"""Of the executors, in the order in which the daemon makes them; the third only parses."""


class Kind(StrEnum):
    JOURNAL_BEFORE = "journal write, before"
    JOURNAL_AFTER = "journal write, after"
    AUDIT_BEFORE = "audit write, before"
    AUDIT_AFTER = "audit write, after"
    SEND_BEFORE = "wire send, before"
    SEND_AFTER = "wire send, after"
    RECEIVE_BEFORE = "wire receive, before"
    RECEIVE_AFTER = "wire receive, after"
    AWAIT = "await"


class Point(Struct, frozen=True, kw_only=True):
    """`at_ms`: since the beginning. `same_as`: an earlier point after which nothing that survives has changed."""

    number: int
    kind: Kind
    what: str
    at_ms: int
    same_as: int | None

    def __str__(self) -> str:
        return f"{self.number} ({self.kind}: {self.what}, {self.at_ms / 1000:.3f} s)"


class Left(NamedTuple):
    """What a death leaves behind: a data folder, and what the audit log held in it."""

    data: Path
    audit: bytes


class Points:
    """Numbers the moments of one daemon from 1 while `armed`."""

    def __init__(self) -> None:
        self.armed = False
        self.on_point: Callable[[Point], None] = lambda _: None
        self.survives: Callable[[], Hashable] = lambda: None
        self.now_ms: Callable[[], float] = lambda: 0.0
        self.written = self.told = 0
        self._count = 0
        self._pending: list[tuple[Kind, str]] = []
        self._last: tuple[Hashable, int] | None = None

    @property
    def reached(self) -> int:
        """The number of the newest one."""
        return self._count

    def reach(self, kind: Kind, what: str) -> None:
        if not self.armed:
            return
        self._count += 1
        state = self.survives()
        same = self._last[1] if self._last is not None and self._last[0] == state else None
        if same is None:
            self._last = (state, self._count)
        self.on_point(Point(number=self._count, kind=kind, what=what, at_ms=round(self.now_ms()), same_as=same))

    def at_step_end(self, kind: Kind, what: str) -> None:
        """The moment when the task that runs now gives the loop back: what it does with the news is done."""
        self._pending.append((kind, what))

    def step_ended(self, task: str) -> None:
        pending, self._pending = self._pending, []
        for kind, what in pending or [(Kind.AWAIT, task)]:
            self.reach(kind, what)

    def watch(self, moment: str, asked: str) -> None:
        """As the simulated `Http` calls it, in the step in which the request leaves or its answer has come."""
        if moment == "sending":
            self.reach(Kind.SEND_BEFORE, asked)
            self.told += not asked.startswith("GET")
            self.at_step_end(Kind.SEND_AFTER, asked)
        else:
            self.reach(Kind.RECEIVE_BEFORE, asked)
            self.at_step_end(Kind.RECEIVE_AFTER, asked)


class Disk:
    """What of the journals is certainly on the disk: their files after each write that was synced.

    SQLite syncs a commit only where somebody waits for it; what came after would be lost with the power.
    """

    def __init__(self) -> None:
        self._synced: dict[Path, dict[str, bytes]] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Stands behind every `Database` meanwhile."""
        opened, written, noted = Database.open, Database.write, self._note

        def open_(database: Database) -> Path | None:
            broken = opened(database)
            noted(database._path)
            return broken

        def write(database: Database, groups: Sequence[Sequence[Record]], *, durable: bool) -> list[str]:
            refused = written(database, groups, durable=durable)
            if database._connection.execute("PRAGMA synchronous").fetchone() == (FULL,):
                noted(database._path)
            return refused

        with patch.object(Database, "open", open_), patch.object(Database, "write", write):
            yield

    def _note(self, path: Path) -> None:
        parts = (path, path.with_name(f"{path.name}-wal"))
        self._synced[path.parent] = {part.name: part.read_bytes() for part in parts if part.exists()}

    def cut(self, data: Path, left: Path, chance: Random) -> None:
        """Makes of the files in `left` what a loss of power would have left of those in `data`: the journal as it was
        last synced; of the audit log, which is synced when it is closed, any beginning, torn in the middle of a line.
        """
        for path in left.glob("journal.db*"):
            path.unlink()
        for name, content in self._synced.get(data, {}).items():
            (left / name).write_bytes(content)
        audit = left / AUDIT
        if audit.exists():
            os.truncate(audit, chance.randint(0, audit.stat().st_size))


class PointExecutor(Executor):
    """Jobs of one file, inline: nothing of a write is on disk before its point, all of it after."""

    def __init__(self, points: Points, name: str | None) -> None:
        self._inner, self._points, self._name = InlineExecutor(), points, name

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        if self._name is None:
            return self._inner.submit(fn, *args, **kwargs)
        journal = self._name == "journal"
        what = getattr(fn, "__qualname__", self._name)
        self._points.reach(Kind.JOURNAL_BEFORE if journal else Kind.AUDIT_BEFORE, what)
        done = self._inner.submit(fn, *args, **kwargs)
        self._points.written += 1
        self._points.reach(Kind.JOURNAL_AFTER if journal else Kind.AUDIT_AFTER, what)
        return done


class PointSocket:
    """core.transport.Socket with a point before and after each frame."""

    def __init__(self, inner: Socket, points: Points, name: str) -> None:
        self._inner, self._points, self._name = inner, points, name

    async def open(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        await self._inner.open(url, headers)

    async def send(self, text: str) -> None:
        self._points.reach(Kind.SEND_BEFORE, self._name)
        self._points.told += 1
        await self._inner.send(text)
        self._points.reach(Kind.SEND_AFTER, self._name)

    async def receive(self) -> bytes:
        data = await self._inner.receive()
        what = f"{self._name} {data[:60].decode(errors='replace')}"
        self._points.reach(Kind.RECEIVE_BEFORE, what)
        self._points.at_step_end(Kind.RECEIVE_AFTER, what)
        return data

    async def ping(self) -> None:
        await self._inner.ping()

    async def close(self) -> None:
        await self._inner.close()


class Steps(Coroutine[Any, Any, T]):
    """A coroutine with a point whenever it gives the loop back."""

    def __init__(self, inner: Coroutine[Any, Any, T], ended: Callable[[], None]) -> None:
        self._inner, self._ended = inner, ended

    def send(self, value: Any, /) -> Any:
        try:
            return self._inner.send(value)
        finally:
            self._ended()

    def throw(self, *error: Any) -> Any:
        try:
            return self._inner.throw(*error)
        finally:
            self._ended()

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return self._inner.__await__()

    def __repr__(self) -> str:
        return repr(self._inner)


class PointedWorld(SimulatedWorld):
    """A world whose daemons are counted while `points.armed`; its survivors are not. `env` is what all of them get."""

    def __init__(self, folder: Path, venue: str, **settings: Any) -> None:
        super().__init__(folder, (venue,), **settings)
        self.points, self.disk = Points(), Disk()
        self.env: Mapping[str, Any] = {}
        self._happened = 0
        began = self.clock.monotonic()
        self.points.now_ms = lambda: (self.clock.monotonic() - began) * 1000
        self.points.survives = self._survives
        simulation = self.venue.simulation
        heard = simulation._on_events

        def on_events(events: tuple[Event, ...]) -> None:
            # What only tells prices is left out: they move twice a second whatever the daemon does.
            self._happened += any(isinstance(event, AccountChanged | ConditionalUpdate) for event in events)
            self._happened += sum(1 for event in events if type(event).__name__.startswith("Order"))
            heard(events)

        simulation.engine.connect(on_events, FaultGate(simulation))

    def die(self) -> None:
        """The connections of the dead end."""
        for daemon in self._daemons:
            for line in daemon._lines.values():
                line.cut()

    def leave(self, target: Path, *, power: bool) -> Left:
        """The files of the daemon that runs, as the operating system has them now; with `power` as the disk has them.
        Sockets and shared memory end with the process."""
        target.mkdir(parents=True)
        data = self._daemons[-1].data_dir
        for path in data.iterdir() if data.exists() else ():
            if path.is_file() and not path.name.endswith("-shm"):
                shutil.copyfile(path, target / path.name)
        if power:
            self.disk.cut(data, target, Random(self.points.reached))
        audit = target / AUDIT
        return Left(target, audit.read_bytes() if audit.exists() else b"")

    def _survives(self) -> Hashable:
        """Files, venue and time, to the millisecond."""
        points = self.points
        return points.written, points.told, self._happened, round(points.now_ms())

    def count_steps(self) -> None:
        """Of every task that is made from here on."""
        loop = asyncio.get_running_loop()

        def make(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
            name: list[str] = []

            def ended() -> None:
                self.points.step_ended(name[0] if name else "task")

            task: asyncio.Task[Any] = asyncio.Task(Steps(work, ended), loop=loop, **options)
            named = task.get_name()
            name.append("task" if named.startswith("Task-") else named)  # those are counted over the whole process
            return task

        loop.set_task_factory(make)

    def _host(self, watch: Watch) -> tuple[Host, dict[str, Line]]:
        points = self.points
        if not points.armed:
            return super()._host(watch)
        host, lines = super()._host(points.watch)
        numbers = count()

        def transport(name: str) -> Transport:
            inner = host.transport(name)
            return replace(inner, socket=lambda: PointSocket(inner.socket(), points, name))

        def executor() -> Executor:
            number = next(numbers)
            return PointExecutor(points, FILES[number] if number < len(FILES) else None)

        return replace(host, transport=transport, executor=executor), lines
