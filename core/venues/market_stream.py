"""Public streams of one venue: a desired set of channels, re-established after every reconnect.

Several routes (sockets) per venue, each under one supervisor. Quotes are kept per symbol, with the time they came.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import structlog
from msgspec import Struct

from core.domain.ids import Symbol, VenueName
from core.domain.money import Price
from core.engine.giving_way import FEW_IN_A_ROW, IN_A_ROW, Way
from core.engine.owned_tasks import beat
from core.engine.ports import Quote
from core.engine.task_group import TaskGroup
from core.errors import MalformedPayload, VenueError
from core.venues.reconnecting import Backoff, TextPing, watch, watch_by_text
from core.venues.subscriptions import Answered, Channels, Subscriptions

if TYPE_CHECKING:
    from core.clock import Clock
    from core.transport import Socket

log = structlog.get_logger(__name__)

BEAT_SECONDS = 0.1
"""A reader that has much to read says that it goes on no more often."""


class Tick(Struct, frozen=True):
    """What one frame says of one symbol; None = it does not speak of that. `venue_time_ms` UTC. `channel` is what it
    proves to be subscribed, "" = nothing."""

    symbol: Symbol
    mark: Price | None
    bid: Price | None
    ask: Price | None
    venue_time_ms: int
    last: Price | None = None
    channel: str = ""


class PublicRoute(Channels, Protocol):
    """One socket's worth of public data, as far as it differs from venue to venue."""

    @property
    def name(self) -> str: ...

    @property
    def url(self) -> str: ...

    def channels(self, symbols: Iterable[Symbol]) -> Sequence[str]:
        """What has to be subscribed for these symbols; symbols the venue does not list are left out."""
        ...

    def anew(self, symbols: Iterable[Symbol]) -> Sequence[str]:
        """What to ask for anew when these symbols are silent: channels that no other symbol depends on."""
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
        self._wanted: dict[Symbol, bool] = {}
        """False while it is only held."""
        self._listeners: list[Callable[[Symbol], None]] = []
        self._ending = False
        self.counts: Counter[str] = Counter()

    @property
    def unasked(self) -> bool:
        """Where a route has a channel though no symbol is wanted, it is one for all of them."""
        return any(state.route.channels(()) for state in self._routes)

    @property
    def wanted(self) -> Collection[Symbol]:
        return self._wanted.keys()

    def quote(self, symbol: Symbol) -> Quote | None:
        """Each price from the newest frame of its own kind; the age is a steady route's where there is one."""
        mark = bid = ask = last = touch_received = last_received = None
        received, venue_time_ms, steady = None, 0, False
        for state in self._routes:
            heard = state.ticks.get(symbol)
            if heard is None:
                continue
            tick, at = heard.tick, state.fresh(heard)
            if received is None or (state.steady and not steady):
                received, venue_time_ms, steady = at, tick.venue_time_ms, state.steady
            mark = tick.mark if mark is None else mark
            if touch_received is None and (tick.bid is not None or tick.ask is not None):
                bid, ask, touch_received = tick.bid, tick.ask, at
            if last is None and tick.last is not None:
                last, last_received = tick.last, at
        if received is None:
            return None
        return Quote(
            mark=mark,
            bid=bid,
            ask=ask,
            venue_time_ms=venue_time_ms,
            received=received,
            touch_received=touch_received,
            last=last,
            last_received=last_received,
        )

    def want(self, symbols: Sequence[Symbol]) -> None:
        self._wanted.update(dict.fromkeys(symbols, True))
        for state in self._routes:
            state.changed.set()

    def hold(self, symbols: Sequence[Symbol]) -> None:
        if new := [symbol for symbol in symbols if symbol not in self._wanted]:
            self._wanted.update(dict.fromkeys(new, False))
            for state in self._routes:
                state.changed.set()

    def release(self, symbols: Sequence[Symbol]) -> None:
        if gone := [symbol for symbol in symbols if self._wanted.get(symbol) is False]:
            self.drop(gone)

    def drop(self, symbols: Sequence[Symbol]) -> None:
        for symbol in symbols:
            self._wanted.pop(symbol, None)
        for state in self._routes:
            state.changed.set()

    def on_tick(self, listener: Callable[[Symbol], None]) -> None:
        self._listeners.append(listener)

    def refresh(self, symbols: Sequence[Symbol]) -> None:
        """Where there is no connection nothing is to be done: the next one asks for everything."""
        wanted = [symbol for symbol in symbols if symbol in self._wanted]
        for state in self._routes:
            if state.subscriptions is not None and (channels := state.route.anew(wanted)):
                state.subscriptions.renew(channels)
                self.counts["refreshed"] += len(channels)

    async def run(self) -> None:
        """Until cancelled."""
        self._ending = False
        async with TaskGroup() as tasks:
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
            state.subscriptions = channels
            watching = watch(socket, name) if route.ping is None else watch_by_text(socket, name, route.ping, heard)
            async with TaskGroup() as tasks:
                tasks.create_task(self._read(socket, state, channels, heard), name=f"{name}/reader")
                tasks.create_task(channels.run(socket), name=f"{name}/subscriptions")
                tasks.create_task(self._begin(state), name=f"{name}/picture")
                tasks.create_task(watching, name=f"{name}/watchdog")
        except VenueError as error:
            return error.what
        except ExceptionGroup as group:
            return _reason(group)
        finally:
            if state.subscriptions is not None:
                self.counts["renewed"] += state.subscriptions.renewed
                state.subscriptions = None
            if not route.steady:
                state.ticks.clear()
            await socket.close()
        raise AssertionError("a connection ends only by an exception")

    async def _read(self, socket: Socket, state: _RouteState, channels: Subscriptions, heard: asyncio.Event) -> None:
        decode, unheard = state.route.decode, channels.unheard
        way = Way(IN_A_ROW if state.steady else FEW_IN_A_ROW)
        beats = 0.0
        while True:
            frame = await socket.receive()
            heard.set()
            now = state.newest = self._clock.monotonic()
            if now >= beats:
                beat()
                beats = now + BEAT_SECONDS
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
                if unheard:
                    channels.heard(tick.channel)
                self._put(state, tick, now)
                await way.step()

    async def _begin(self, state: _RouteState) -> None:
        try:
            picture = await state.route.picture()
        except VenueError as error:
            log.warning("market.no_picture", venue=self._venue, route=state.route.name, why=error.what)
            return
        now = self._clock.monotonic()
        for tick in picture:
            self._put(state, tick, now)

    def _put(self, state: _RouteState, tick: Tick, received: float) -> None:
        """Stamps are compared within one route: a mark is not old news because a book has a later one (MKT-08)."""
        symbol = tick.symbol
        known = state.ticks.get(symbol)
        if known is None or tick.venue_time_ms >= known.tick.venue_time_ms:
            state.ticks[symbol] = _Heard(tick, received)
            if symbol in self._wanted:
                for listener in self._listeners:
                    listener(symbol)


class _Heard(Struct, frozen=True):
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
    subscriptions: Subscriptions | None = None
    steady: bool = field(init=False)

    def __post_init__(self) -> None:
        self.steady = self.route.steady

    def fresh(self, entry: _Heard) -> float:
        """When it was last known to be so. What an earlier connection told is as old as it is."""
        silent = self.newest - entry.received
        unchanged = entry.received >= self.connected and silent <= self.route.quiet_seconds
        return max(self.newest, entry.received) if unchanged else entry.received


def _reason(group: ExceptionGroup[Exception]) -> str:
    """Why the connection ended; whatever is not a way connections end is raised."""
    expected, unexpected = group.split(VenueError)
    if unexpected is not None:
        raise unexpected
    error = None if expected is None else expected.exceptions[0]
    return error.what if isinstance(error, VenueError) else str(error)
