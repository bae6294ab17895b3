"""Private stream of one venue: connect, log in, subscribe, keep the key alive, find out dead sockets, resume.

One supervisor, one connection at a time (UDS-08); a connection may be several sockets, which live and end together.
Frames flow into the sink from the moment a socket is open; the stream counts as LIVE only when every socket is logged
in, every topic confirmed, and the caller's `on_connected` has reconciled what the gap may hold (UDS-05).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import structlog
from msgspec import Struct

from core.engine.owned_tasks import beat
from core.engine.ports import ReportSink, StreamState
from core.engine.task_group import TaskGroup
from core.errors import MalformedPayload, Refused, Unreachable, VenueError
from core.venues.handshake import Handshake
from core.venues.private_session import KeyExpiredError, Notice, Pictured
from core.venues.reconnecting import Backoff, watch, watch_by_text

if TYPE_CHECKING:
    from core.clock import Clock
    from core.transport import Socket
    from core.venues.private_session import PrivateFeed, PrivateSession

log = structlog.get_logger(__name__)


HAND_OVER_RETRY_SECONDS = 60.0
"""Between two tries to bring up a successor while the old connection still serves."""
LEAVE_AFTER_SECONDS = 5.0
"""A connection is left no sooner when the venue asks us to go: a venue that asks at once must not be flooded."""


class _Link(Struct, frozen=True):
    """One connection; `live` is set when its reconciliation is done, `leave` when the venue is about to end it.
    `started` monotonic seconds."""

    live: asyncio.Event
    leave: asyncio.Event
    task: asyncio.Task[_End]
    started: float


class _End(NamedTuple):
    """Of a connection. `refused`: the venue answered the login or a subscription with a no."""

    why: str
    refused: bool


@dataclass(slots=True)
class StreamStatistics:
    """Counts since the start."""

    connects: int = 0
    frames: int = 0
    unknown: int = 0
    malformed: int = 0
    key_swaps: int = 0
    hand_overs: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    """Why connections ended."""


class UserDataStreamManager:
    """Implements ports.UserStream."""

    def __init__(  # noqa: PLR0913 - everybody who hears of it
        self,
        feed: PrivateFeed,
        open_socket: Callable[[], Socket],
        clock: Clock,
        sink: ReportSink,
        *,
        on_connected: Callable[[], Awaitable[None]],
        on_state: Callable[[StreamState], None] = lambda _state: None,
        on_set_aside: Callable[[], None] = lambda: None,
        on_refused: Callable[[str, int], None] = lambda _why, _times: None,
        backoff: Backoff | None = None,
    ) -> None:
        self._feed, self._open_socket, self._clock, self._sink = feed, open_socket, clock, sink
        self._on_connected, self._on_state, self._on_set_aside = on_connected, on_state, on_set_aside
        self._on_refused, self._refusals = on_refused, 0
        self._backoff = backoff or Backoff()
        self._live = asyncio.Event()
        self._live_since_ms: int | None = None
        self._down_since: float | None = clock.monotonic()
        self.statistics = StreamStatistics()

    @property
    def state(self) -> StreamState:
        return StreamState.LIVE if self._live.is_set() else StreamState.DOWN

    @property
    def live_since_ms(self) -> int | None:
        """UTC ms, this host's clock; None while DOWN."""
        return self._live_since_ms

    @property
    def down_since(self) -> float | None:
        return self._down_since

    @property
    def reconnect_count(self) -> int:
        """Connections after the first that were not planned hand-overs."""
        return max(0, self.statistics.connects - 1 - self.statistics.hand_overs)

    @property
    def stale_key_swap_count(self) -> int:
        return self.statistics.key_swaps

    async def wait_live(self) -> None:
        await self._live.wait()

    async def run(self) -> None:
        """Until cancelled. Raises only what the sink or a programming error raised.

        One link at a time, but for the hand-over before the venue's longest connection time: then the new one is live
        before the old one goes, and what both tell is told twice, which changes nothing (UDS-08, UDS-11).
        """
        try:
            async with TaskGroup() as tasks:
                await self._connect_again_and_again(tasks)
        finally:
            self._set_down()

    async def _connect_again_and_again(self, tasks: TaskGroup) -> None:
        link = self._connect(tasks)
        while True:
            await self._serve(link, tasks)
            if not link.task.done():
                link = await self._hand_over(link, tasks)
                continue
            self._set_down()
            why = self._ended(link)
            pause = self._backoff.connection_ended(self._clock.monotonic() - link.started)
            log.info("stream.down", venue=self._feed.venue, why=why, again_in=round(pause, 2))
            await asyncio.sleep(pause)
            link = self._connect(tasks)

    async def _serve(self, link: _Link, tasks: TaskGroup) -> None:
        """Until the connection ends, has lived long enough, or the venue asks us to leave it."""
        leave = tasks.create_task(link.leave.wait(), name=f"user-stream/{self._feed.venue}/leave")
        await asyncio.wait(
            [link.task, leave], timeout=self._feed.connection_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        leave.cancel()
        lived = self._clock.monotonic() - link.started
        if link.leave.is_set() and not link.task.done() and lived < LEAVE_AFTER_SECONDS:
            await asyncio.wait([link.task], timeout=LEAVE_AFTER_SECONDS - lived)

    def _connect(self, tasks: TaskGroup) -> _Link:
        live, leave = asyncio.Event(), asyncio.Event()
        task = tasks.create_task(self._connection(live, leave), name=f"user-stream/{self._feed.venue}/connection")
        return _Link(live=live, leave=leave, task=task, started=self._clock.monotonic())

    async def _hand_over(self, old: _Link, tasks: TaskGroup) -> _Link:
        """The successor once it is live; the old link itself when it ended before any successor came up."""
        while not old.task.done():
            new = self._connect(tasks)
            up = tasks.create_task(new.live.wait(), name=f"user-stream/{self._feed.venue}/hand-over")
            await asyncio.wait([old.task, new.task, up], return_when=asyncio.FIRST_COMPLETED)
            up.cancel()
            if new.live.is_set():
                old.task.cancel()
                self.statistics.hand_overs += 1
                return new
            if old.task.done():  # too late for a hand-over: the successor is an ordinary reconnect
                self._set_down()
                return new
            self._ended(new)
            await asyncio.wait([old.task], timeout=HAND_OVER_RETRY_SECONDS)
        return old

    def _ended(self, link: _Link) -> str:
        why, refused = link.task.result()
        self.statistics.ended[why] += 1
        if refused:
            self._refusals += 1
            self._on_refused(why, self._refusals)
        return why

    async def _connection(self, live: asyncio.Event, leave: asyncio.Event) -> _End:
        """One connection from key to end."""
        venue, refused = self._feed.venue, asyncio.Event()
        try:
            if self._feed.gate is not None:
                self._feed.gate.admit()
            sessions = await self._feed.sessions()
            async with TaskGroup() as tasks:
                ready = [asyncio.Event() for _ in sessions]
                for session, event in zip(sessions, ready, strict=True):
                    work = self._converse(session, event, leave, refused)
                    tasks.create_task(work, name=f"user-stream/{venue}/{session.name}")
                if self._feed.keep_alive_seconds is not None:
                    tasks.create_task(self._keep_alive(), name=f"user-stream/{venue}/keep-alive")
                tasks.create_task(self._resume(ready, live), name=f"user-stream/{venue}/resume")
        except VenueError as error:
            return _End(error.what, isinstance(error, Refused))
        except ExceptionGroup as group:
            return _End(self._expected(group), refused.is_set())
        raise AssertionError("a connection ends only by an exception")

    async def _converse(
        self, session: PrivateSession, ready: asyncio.Event, leave: asyncio.Event, refused: asyncio.Event
    ) -> None:
        """One socket of the connection; `ready` is set when it tells everything it has to, `refused` if it will not."""
        venue, socket, heard = self._feed.venue, self._open_socket(), asyncio.Event()
        hello = Handshake(venue, session, socket, self._feed.gate, leave.set, refused.set)
        name = f"user-stream/{venue}/{session.name}"
        try:
            await socket.open(session.url)
            watching = (
                watch(socket, venue) if session.ping is None else watch_by_text(socket, venue, session.ping, heard)
            )
            async with TaskGroup() as tasks:
                tasks.create_task(self._read(socket, session, hello, heard), name=f"{name}/reader")
                tasks.create_task(watching, name=f"{name}/watchdog")
                await hello.run()
                ready.set()
        finally:
            await socket.close()

    def _expected(self, group: ExceptionGroup[Exception]) -> str:
        """The reason, when everything in the group is a way a connection may end; what is not is raised."""
        expected, unexpected = group.split((VenueError, KeyExpiredError))
        if unexpected is not None:
            raise unexpected
        assert expected is not None  # noqa: S101 - a group is never empty
        first: Exception = expected
        while isinstance(first, ExceptionGroup):
            first = first.exceptions[0]
        if isinstance(first, KeyExpiredError):
            self.statistics.key_swaps += 1
            return "the stream key expired"
        return first.what if isinstance(first, VenueError) else str(first)

    async def _read(self, socket: Socket, session: PrivateSession, hello: Handshake, heard: asyncio.Event) -> None:
        decode, sink, statistics = session.decode, self._sink, self.statistics
        while True:
            frame = await socket.receive()
            heard.set()
            beat()
            statistics.frames += 1
            try:
                told = decode(frame)
            except MalformedPayload as error:
                # Set aside: one bad frame must not cost the ones behind it. It says what, never the frame itself.
                statistics.malformed += 1
                # What it told is to be read from the venue (POS-09).
                log.warning("stream.malformed", venue=self._feed.venue, what=error.what, size=len(frame))
                self._on_set_aside()
                continue
            if told is None:
                statistics.unknown += 1
            elif isinstance(told, Notice):
                if isinstance(told, Pictured) and told.reports:
                    await sink(told.reports)
                await hello.hear(told)
            elif told:
                await sink(told)

    async def _keep_alive(self) -> None:
        every = self._feed.keep_alive_seconds or 0.0
        pause = every
        while True:
            await asyncio.sleep(pause)
            pause = every
            try:
                await self._feed.keep_alive()
            except VenueError as error:
                log.warning("stream.keep_alive_failed", venue=self._feed.venue, what=error.what)
                pause = min(60.0, pause)

    async def _resume(self, ready: Sequence[asyncio.Event], live: asyncio.Event) -> None:
        for event in ready:
            await event.wait()
        self.statistics.connects += 1
        try:
            await self._on_connected()
        except VenueError as error:
            raise Unreachable(self._feed.venue, f"reconciliation after connecting failed: {error.what}") from error
        live.set()
        self._refusals = 0
        log.info("stream.live", venue=self._feed.venue, connects=self.statistics.connects)
        if not self._live.is_set():
            self._live_since_ms = self._clock.now_ms()
            self._down_since = None
            self._live.set()
            self._on_state(StreamState.LIVE)

    def _set_down(self) -> None:
        if self._live.is_set():
            self._live.clear()
            self._live_since_ms = None
            self._down_since = self._clock.monotonic()
            self._on_state(StreamState.DOWN)
