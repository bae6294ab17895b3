"""Live prices of one venue: all mark prices on one socket, best bid and ask of wanted symbols on another.

What is wanted is a set, not an action: after every reconnect it is asked for again in batches, and a symbol from which
no data came is asked for anew by itself (MKT-01, MKT-02). Nothing here can hold up the readers (MKT-03).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn, Protocol

import structlog

from core.errors import MalformedPayload
from core.venues.reconnecting import Backoff, keep_connected, replace_after, watch

if TYPE_CHECKING:
    from core.clock import Clock
    from core.domain.ids import Symbol, VenueName
    from core.engine.ports import Quote
    from core.transport import Socket

log = structlog.get_logger(__name__)

BATCH = 100
"""Symbols in one subscription frame."""
BATCH_PAUSE = 0.25
"""Seconds between two frames: the strictest venue takes ten a second."""
CONFIRM_WITHIN = 10.0
"""Seconds in which a wanted symbol must have sent data, before it is asked for again (then 20, 40, 60 s)."""
LONGEST_CONFIRM = 60.0


class MarketFeed(Protocol):
    """What is different from venue to venue. Keeps the quotes."""

    @property
    def venue(self) -> VenueName: ...
    @property
    def connection_seconds(self) -> float: ...
    @property
    def marks_url(self) -> str: ...
    @property
    def books_url(self) -> str: ...

    def lists(self, symbol: Symbol) -> bool:
        """Whether the venue has that symbol; what it does not have is never asked for."""
        ...

    def subscription(self, symbols: Sequence[Symbol], number: int) -> str:
        """One frame asking for best bid and ask of these symbols."""
        ...

    def take_marks(self, frame: bytes, received: float) -> None:
        """Raises MalformedPayload."""
        ...

    def take_book(self, frame: bytes, received: float) -> None:
        """Raises MalformedPayload."""
        ...

    def book_received(self, symbol: Symbol) -> float | None:
        """Monotonic seconds of the last bid/ask since `forget_books`."""
        ...

    def forget_books(self) -> None:
        """The socket is gone: what it said is no longer known to be current."""
        ...

    def quote(self, symbol: Symbol) -> Quote | None: ...


@dataclass(slots=True)
class MarketStatistics:
    connects: int = 0
    frames: int = 0
    malformed: int = 0
    asked_again: int = 0
    ended: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Asked:
    at: float
    patience: float


class MarketStreams:
    """Implements ports.MarketData."""

    def __init__(
        self,
        feed: MarketFeed,
        open_socket: Callable[[], Socket],
        clock: Clock,
        *,
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        self._feed, self._open_socket, self._clock, self._backoff = feed, open_socket, clock, backoff
        self._wanted: dict[Symbol, None] = {}
        self._asked: dict[Symbol, _Asked] = {}
        self._changed = asyncio.Event()
        self._numbers = 0
        self.statistics = MarketStatistics()

    def quote(self, symbol: Symbol) -> Quote | None:
        return self._feed.quote(symbol)

    def want(self, symbols: Sequence[Symbol]) -> None:
        before = len(self._wanted)
        self._wanted |= dict.fromkeys(symbols)
        if len(self._wanted) != before:
            self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for kind, once in (("marks", self._marks), ("books", self._books)):
                name = f"market-stream/{self._feed.venue}/{kind}"
                tasks.create_task(keep_connected(name, once, self._clock, self._backoff(), self._ended), name=name)

    def _ended(self, why: str) -> None:
        self.statistics.ended[why] += 1

    async def _marks(self) -> None:
        socket = self._open_socket()
        try:
            await socket.open(self._feed.marks_url)
            await self._live(socket, "marks", self._feed.take_marks)
        finally:
            await socket.close()

    async def _books(self) -> None:
        while not self._wanted:
            self._changed.clear()
            await self._changed.wait()
        socket = self._open_socket()
        try:
            await socket.open(self._feed.books_url)
            await self._live(socket, "books", self._feed.take_book, self._subscribe(socket))
        finally:
            self._asked.clear()
            self._feed.forget_books()
            await socket.close()

    async def _live(
        self,
        socket: Socket,
        kind: str,
        take: Callable[[bytes, float], None],
        asking: Coroutine[None, None, NoReturn] | None = None,
    ) -> None:
        self.statistics.connects += 1
        name = f"market-stream/{self._feed.venue}/{kind}"
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read(socket, take), name=f"{name}/reader")
            tasks.create_task(watch(socket, self._feed.venue), name=f"{name}/watchdog")
            tasks.create_task(replace_after(self._feed.connection_seconds), name=f"{name}/age")
            if asking is not None:
                tasks.create_task(asking, name=f"{name}/subscriber")

    async def _read(self, socket: Socket, take: Callable[[bytes, float], None]) -> NoReturn:
        statistics, now = self.statistics, self._clock.monotonic
        while True:
            frame = await socket.receive()
            statistics.frames += 1
            try:
                take(frame, now())
            except MalformedPayload as error:
                statistics.malformed += 1
                log.warning("market.malformed", venue=self._feed.venue, what=error.what, size=len(frame))

    async def _subscribe(self, socket: Socket) -> NoReturn:
        while True:
            self._changed.clear()
            due = [symbol for symbol in self._wanted if self._is_due(symbol)]
            for start in range(0, len(due), BATCH):
                batch = due[start : start + BATCH]
                self._numbers += 1
                await socket.send(self._feed.subscription(batch, self._numbers))
                for symbol in batch:
                    self._note_asked(symbol)
                await asyncio.sleep(BATCH_PAUSE)
            try:
                async with asyncio.timeout(CONFIRM_WITHIN / 2):
                    await self._changed.wait()
            except TimeoutError:
                pass  # look again which symbols stayed silent

    def _is_due(self, symbol: Symbol) -> bool:
        if not self._feed.lists(symbol):
            return False
        asked = self._asked.get(symbol)
        if asked is None:
            return True
        silent = self._feed.book_received(symbol) is None
        return silent and self._clock.monotonic() - asked.at >= asked.patience

    def _note_asked(self, symbol: Symbol) -> None:
        before = self._asked.get(symbol)
        if before is not None:
            self.statistics.asked_again += 1
        patience = CONFIRM_WITHIN if before is None else min(before.patience * 2, LONGEST_CONFIRM)
        self._asked[symbol] = _Asked(self._clock.monotonic(), patience)
