"""Public streams of one venue: a desired set of channels, re-established after every reconnect.

Several routes (sockets) per venue, each under one supervisor. Quotes are kept per symbol, with the time they came.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import structlog

from core.domain.ids import Symbol, VenueName
from core.domain.money import Price
from core.engine.ports import Quote
from core.errors import MalformedPayload, VenueError
from core.venues.reconnecting import Backoff, TextPing, watch, watch_by_text
from core.venues.subscriptions import Answered, Channels, Subscriptions

if TYPE_CHECKING:
    from core.clock import Clock
    from core.transport import Socket

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What one frame says of one symbol; None = it does not speak of that. `venue_time_ms` UTC."""

    symbol: Symbol
    mark: Price | None
    bid: Price | None
    ask: Price | None
    venue_time_ms: int


class PublicRoute(Channels, Protocol):
    """One socket's worth of public data, as far as it differs from venue to venue."""

    @property
    def name(self) -> str: ...

    @property
    def url(self) -> str: ...

    def channels(self, symbols: Iterable[Symbol]) -> Sequence[str]:
        """What has to be subscribed for these symbols; symbols the venue does not list are left out."""
        ...

    @property
    def ping(self) -> TextPing | None:
        """None = the protocol's own pings."""
        ...

    def connected(self) -> None:
        """A new connection begins: what an earlier one told is no base for frames that tell only changes."""
        ...

    @property
    def steady(self) -> bool:
        """Whether frames come at a pace of their own, so that silence means age. One that speaks only of changes says
        nothing of age, and nothing at all once its connection has ended."""
        ...

    @property
    def quiet_seconds(self) -> float:
        """How long a symbol may be silent because nothing of it changes: until then its price is as fresh as the
        newest frame of its connection, whatever that speaks of. 0 where each symbol has a pace of its own."""
        ...

    def decode(self, frame: bytes) -> Sequence[Tick] | Answered | None:
        """None for a frame that is neither data nor an answer. Raises MalformedPayload."""
        ...

    async def picture(self) -> Sequence[Tick]:
        """What a new connection will not tell for a while, by request; empty where it tells all at once. Raises
        VenueError."""
        ...


class MarketStream:
    """Implements ports.MarketData."""

    def __init__(
        self,
        venue: VenueName,
        routes: Sequence[PublicRoute],
        open_socket: Callable[[], Socket],
        clock: Clock,
        *,
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        self._venue, self._open_socket, self._clock = venue, open_socket, clock
        self._routes = [_RouteState(route=route, backoff=backoff()) for route in routes]
        self._wanted: dict[Symbol, None] = {}
        self._ending = False
        self.counts: Counter[str] = Counter()

    @property
    def unasked(self) -> bool:
        """Where every route has a channel though no symbol is wanted, it is one for all of them."""
        return all(state.route.channels(()) for state in self._routes)

    def quote(self, symbol: Symbol) -> Quote | None:
        """Each price from the newest frame of its own kind; the age is a steady route's where there is one."""
        heard = [(state, state.ticks[symbol]) for state in self._routes if symbol in state.ticks]
        if not heard:
            return None
        ticks = [entry.tick for _, entry in heard]
        dating, dated = next((both for both in heard if both[0].route.steady), heard[0])
        return Quote(
            mark=next((tick.mark for tick in ticks if tick.mark is not None), None),
            bid=next((tick.bid for tick in ticks if tick.bid is not None), None),
            ask=next((tick.ask for tick in ticks if tick.ask is not None), None),
            venue_time_ms=dated.tick.venue_time_ms,
            received=dating.fresh(dated),
            touch_received=next(
                (state.fresh(e) for state, e in heard if e.tick.bid is not None or e.tick.ask is not None), None
            ),
        )

    def want(self, symbols: Sequence[Symbol]) -> None:
        self._wanted.update(dict.fromkeys(symbols))
        for state in self._routes:
            state.changed.set()

    def drop(self, symbols: Sequence[Symbol]) -> None:
        for symbol in symbols:
            self._wanted.pop(symbol, None)
        for state in self._routes:
            state.changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for state in self._routes:
                tasks.create_task(self._supervise(state), name=f"market/{self._venue}/{state.route.name}")
            try:
                await asyncio.Event().wait()
            finally:
                self._ending = True

    async def _supervise(self, state: _RouteState) -> None:
        while True:
            started = self._clock.monotonic()
            why = await self._connection(state)
            if self._ending:  # before Python 3.13 a TaskGroup that fails as it is cancelled tells only of the failure
                return
            pause = state.backoff.connection_ended(self._clock.monotonic() - started)
            self.counts["disconnects"] += 1
            log.info("market.down", venue=self._venue, route=state.route.name, why=why, again_in=round(pause, 2))
            await asyncio.sleep(pause)

    async def _connection(self, state: _RouteState) -> str:
        """One connection from open to end; returns why it ended."""
        socket, route = self._open_socket(), state.route
        name = f"market/{self._venue}/{state.route.name}"
        try:
            await socket.open(route.url)
            route.connected()
            state.connected = self._clock.monotonic()
            heard = asyncio.Event()
            channels = Subscriptions(name, route, lambda: route.channels(self._wanted), state.changed)
            watching = watch(socket, name) if route.ping is None else watch_by_text(socket, name, route.ping, heard)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(socket, state, channels, heard), name=f"{name}/reader")
                tasks.create_task(channels.run(socket), name=f"{name}/subscriptions")
                tasks.create_task(self._begin(state), name=f"{name}/picture")
                tasks.create_task(watching, name=f"{name}/watchdog")
        except VenueError as error:
            return error.what
        except ExceptionGroup as group:
            return _reason(group)
        finally:
            if not route.steady:
                state.ticks.clear()
            await socket.close()
        raise AssertionError("a connection ends only by an exception")

    async def _read(self, socket: Socket, state: _RouteState, channels: Subscriptions, heard: asyncio.Event) -> None:
        decode = state.route.decode
        while True:
            frame = await socket.receive()
            heard.set()
            state.newest = self._clock.monotonic()
            try:
                told = decode(frame)
            except MalformedPayload as error:
                self.counts["malformed"] += 1
                log.warning("market.malformed", venue=self._venue, what=error.what, size=len(frame))
                continue
            if isinstance(told, Answered):
                self.counts["refused"] += told.refused
                channels.answered(told)
                continue
            for tick in told or ():
                self._put(state, tick)

    async def _begin(self, state: _RouteState) -> None:
        try:
            picture = await state.route.picture()
        except VenueError as error:
            log.warning("market.no_picture", venue=self._venue, route=state.route.name, why=error.what)
            return
        for tick in picture:
            self._put(state, tick)

    def _put(self, state: _RouteState, tick: Tick) -> None:
        """Stamps are compared within one route: a mark is not old news because a book has a later one (MKT-08)."""
        known = state.ticks.get(tick.symbol)
        if known is None or tick.venue_time_ms >= known.tick.venue_time_ms:
            state.ticks[tick.symbol] = _Heard(tick, self._clock.monotonic())


@dataclass(frozen=True, slots=True)
class _Heard:
    tick: Tick
    received: float


@dataclass(slots=True)
class _RouteState:
    """`connected` and `newest` monotonic seconds: of the last connection, and of the newest frame."""

    route: PublicRoute
    backoff: Backoff
    ticks: dict[Symbol, _Heard] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    connected: float = 0.0
    newest: float = 0.0

    def fresh(self, entry: _Heard) -> float:
        """When it was last known to be so. What an earlier connection told is as old as it is."""
        silent = self.newest - entry.received
        unchanged = entry.received >= self.connected and silent <= self.route.quiet_seconds
        return self.newest if unchanged else entry.received


def _reason(group: ExceptionGroup[Exception]) -> str:
    """Why the connection ended; whatever is not a way connections end is raised."""
    expected, unexpected = group.split(VenueError)
    if unexpected is not None:
        raise unexpected
    error = None if expected is None else expected.exceptions[0]
    return error.what if isinstance(error, VenueError) else str(error)
