"""Private stream of one venue: connect, keep the key alive, swap it, find out dead sockets, resume.

One supervisor, one socket at a time (UDS-08). Frames flow into the sink from the moment the socket is open; the stream
counts as LIVE only after the caller's `on_connected` has reconciled what the gap may hold (UDS-05).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import structlog

from core.engine.ports import ReportSink, StreamState
from core.errors import BreakwaterError, MalformedPayload, Unreachable, VenueError
from core.venues.reconnecting import Backoff, watch

if TYPE_CHECKING:
    from core.clock import Clock
    from core.domain.ids import VenueName
    from core.domain.reports import Report
    from core.transport import Socket

log = structlog.get_logger(__name__)


class KeyExpiredError(BreakwaterError):
    """The venue ended the session behind the stream; a new key is needed, the socket is useless."""


class PrivateFeed(Protocol):
    """What is different from venue to venue."""

    @property
    def venue(self) -> VenueName: ...

    @property
    def keep_alive_seconds(self) -> float: ...

    @property
    def connection_seconds(self) -> float:
        """How long a connection may live before it is replaced on our own terms."""
        ...

    async def url(self) -> str:
        """Obtain or renew whatever opens the stream. Raises VenueError. The result is a secret."""
        ...

    async def keep_alive(self) -> None:
        """Raises KeyExpiredError when the session is gone, VenueError when the venue could not be asked."""
        ...

    def decode(self, frame: bytes) -> Sequence[Report] | None:
        """Reports of one frame, in order; None for a frame this version does not know.

        Raises MalformedPayload, and KeyExpiredError for the venue's own notice of it.
        """
        ...


HAND_OVER_RETRY_SECONDS = 60.0
"""Between two tries to bring up a successor while the old connection still serves."""


@dataclass(frozen=True, slots=True)
class _Link:
    """One connection; `live` is set when its reconciliation is done. `started` monotonic seconds."""

    live: asyncio.Event
    task: asyncio.Task[str]
    started: float


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

    def __init__(
        self,
        feed: PrivateFeed,
        open_socket: Callable[[], Socket],
        clock: Clock,
        sink: ReportSink,
        *,
        on_connected: Callable[[], Awaitable[None]],
        on_state: Callable[[StreamState], None] = lambda _state: None,
        on_set_aside: Callable[[], None] = lambda: None,
        backoff: Backoff | None = None,
    ) -> None:
        self._feed, self._open_socket, self._clock, self._sink = feed, open_socket, clock, sink
        self._on_connected, self._on_state, self._on_set_aside = on_connected, on_state, on_set_aside
        self._backoff = backoff or Backoff()
        self._live = asyncio.Event()
        self._live_since_ms: int | None = None
        self.statistics = StreamStatistics()

    @property
    def state(self) -> StreamState:
        return StreamState.LIVE if self._live.is_set() else StreamState.DOWN

    @property
    def live_since_ms(self) -> int | None:
        """UTC ms, this host's clock; None while DOWN."""
        return self._live_since_ms

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
        async with asyncio.TaskGroup() as tasks:
            link = self._connect(tasks)
            while True:
                await asyncio.wait([link.task], timeout=self._feed.connection_seconds)
                if not link.task.done():
                    link = await self._hand_over(link, tasks)
                    continue
                self._set_down()
                why = link.task.result()
                pause = self._backoff.connection_ended(self._clock.monotonic() - link.started)
                self.statistics.ended[why] += 1
                log.info("stream.down", venue=self._feed.venue, why=why, again_in=round(pause, 2))
                await asyncio.sleep(pause)
                link = self._connect(tasks)

    def _connect(self, tasks: asyncio.TaskGroup) -> _Link:
        live = asyncio.Event()
        task = tasks.create_task(self._connection(live), name=f"user-stream/{self._feed.venue}/connection")
        return _Link(live=live, task=task, started=self._clock.monotonic())

    async def _hand_over(self, old: _Link, tasks: asyncio.TaskGroup) -> _Link:
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
            self.statistics.ended[new.task.result()] += 1
            await asyncio.wait([old.task], timeout=HAND_OVER_RETRY_SECONDS)
        return old

    async def _connection(self, live: asyncio.Event) -> str:
        """One connection from key to end; returns why it ended."""
        socket = self._open_socket()
        try:
            await socket.open(await self._feed.url())
            self.statistics.connects += 1
            async with asyncio.TaskGroup() as tasks:
                venue = self._feed.venue
                tasks.create_task(self._read(socket), name=f"user-stream/{venue}/reader")
                tasks.create_task(watch(socket, venue), name=f"user-stream/{venue}/watchdog")
                tasks.create_task(self._keep_alive(), name=f"user-stream/{venue}/keep-alive")
                tasks.create_task(self._resume(live), name=f"user-stream/{venue}/resume")
        except VenueError as error:
            return error.what
        except ExceptionGroup as group:
            return self._expected(group)
        finally:
            await socket.close()
        raise AssertionError("a connection ends only by an exception")

    def _expected(self, group: ExceptionGroup[Exception]) -> str:
        """The reason, when everything in the group is a way a connection may end; what is not is raised."""
        expected, unexpected = group.split((VenueError, KeyExpiredError))
        if unexpected is not None:
            raise unexpected
        assert expected is not None  # noqa: S101 - a group is never empty
        first = expected.exceptions[0]
        if isinstance(first, KeyExpiredError):
            self.statistics.key_swaps += 1
            return "the stream key expired"
        return first.what if isinstance(first, VenueError) else str(first)

    async def _read(self, socket: Socket) -> None:
        decode, sink, statistics = self._feed.decode, self._sink, self.statistics
        while True:
            frame = await socket.receive()
            statistics.frames += 1
            try:
                reports = decode(frame)
            except MalformedPayload as error:
                # Set aside: one bad frame must not cost the ones behind it. It says what, never the frame itself.
                statistics.malformed += 1
                # What it told is to be read from the venue (POS-09).
                log.warning("stream.malformed", venue=self._feed.venue, what=error.what, size=len(frame))
                self._on_set_aside()
                continue
            if reports is None:
                statistics.unknown += 1
            elif reports:
                await sink(reports)

    async def _keep_alive(self) -> None:
        pause = self._feed.keep_alive_seconds
        while True:
            await asyncio.sleep(pause)
            pause = self._feed.keep_alive_seconds
            try:
                await self._feed.keep_alive()
            except VenueError as error:
                log.warning("stream.keep_alive_failed", venue=self._feed.venue, what=error.what)
                pause = min(60.0, pause)

    async def _resume(self, live: asyncio.Event) -> None:
        try:
            await self._on_connected()
        except VenueError as error:
            raise Unreachable(self._feed.venue, f"reconciliation after connecting failed: {error.what}") from error
        live.set()
        log.info("stream.live", venue=self._feed.venue, connects=self.statistics.connects)
        if not self._live.is_set():
            self._live_since_ms = self._clock.now_ms()
            self._live.set()
            self._on_state(StreamState.LIVE)

    def _set_down(self) -> None:
        if self._live.is_set():
            self._live.clear()
            self._live_since_ms = None
            self._on_state(StreamState.DOWN)
