"""The simulation: one clock, one heap of timed actions, one exchange, one façade, and nothing that does I/O.

Whoever drives it (the server, or a test in the same process) says what time it is with ``run_until``, hands in
requests and frames, and asks ``next_due`` when to come back. Without latency everything a request causes happens
inside ``submit``, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from random import Random
from typing import Any

from msgspec import Struct, field

from tools.venuesim.actions import Actions
from tools.venuesim.delays import Delays
from tools.venuesim.exchange.engine import MatchingEngine
from tools.venuesim.exchange.events import Event
from tools.venuesim.exchange.liquidator import HOUR_MS
from tools.venuesim.exchange.market import MarketSettings
from tools.venuesim.exchange.model import PositionMode
from tools.venuesim.exchange.state import EngineSettings, Replay
from tools.venuesim.faults import Fault, FaultBook, FaultError, Occasion, Scope
from tools.venuesim.gate import FaultGate
from tools.venuesim.protection import ProtectionRecord
from tools.venuesim.request_log import RequestLog
from tools.venuesim.rest import Reply, Rest
from tools.venuesim.sockets import Deliver, Socket, SocketDesk
from tools.venuesim.timers import Timed, Timers
from tools.venuesim.wire import Facade, Request, Response, Venue

ASSETS = ("USDT", "USDC")


class SimulationSettings(Struct, frozen=True, kw_only=True):
    """The command line's settings, with its defaults. Times in ms."""

    seed: int = 1
    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    balance: Decimal = Decimal(10_000)
    symbols: int = 40
    tick_hz: float = 2.0
    speed: float = 1.0
    position_mode: PositionMode = PositionMode.ONE_WAY
    replays: Mapping[str, Replay] = field(default_factory=dict)
    faults: Sequence[Mapping[str, Any]] = ()


class Simulation:
    """``now_ms`` is the time it starts at. Raises FaultError for faults that cannot be, Refused for unknown replays."""

    def __init__(
        self,
        venue: Venue,
        settings: SimulationSettings,
        now_ms: float,
        write_log: Callable[[str], None] | None = None,
    ) -> None:
        self.venue = venue
        self.seed = settings.seed
        self.log = RequestLog(write_log)
        self.current: Occasion | None = None
        self._now = self._target = now_ms
        self._advanced = 0.0
        self._skew = 0.0
        self._running = False
        self._step_ms = 1000 / settings.tick_hz
        self._timers = Timers()
        self._faults = FaultBook()
        self.engine = MatchingEngine(
            venue.instruments(settings.symbols, settings.seed), _engine_settings(venue, settings, now_ms), self
        )
        for symbol in settings.replays:
            self.engine.instrument(symbol)
        self._protection = ProtectionRecord(self.engine)
        delays = Delays(settings.latency_ms, settings.jitter_ms, self.rng("jitter"))
        self._rest = Rest(self, delays)
        self._sockets = SocketDesk(self, delays)
        self._actions = Actions(self)
        self.facade: Facade = venue.facade(self)
        self.engine.connect(self._on_events, FaultGate(self))
        self._schedule_tick()
        self._schedule_funding()
        for table in settings.faults:
            self.arm(table)

    # for the shell

    def run_until(self, now_ms: float) -> None:
        """Let everything happen that is due by this moment of the shell's clock. Time never runs backwards."""
        if self._running:
            return
        self._running = True
        try:
            self._target = max(self._target, now_ms + self._advanced)
            while (timed := self._timers.pop_due(self._target)) is not None:
                self._now = max(self._now, timed.due_ms)
                timed.action()
            self._now = self._target
        finally:
            self._running = False

    def next_due(self) -> float | None:
        """When, by the shell's clock, there is something to do."""
        due = self._timers.next_due()
        return None if due is None else due - self._advanced

    def submit(self, request: Request, reply: Reply) -> None:
        """Take in a request that arrived at the moment of the last ``run_until``."""
        self._rest.submit(request, reply)

    def connect(self, path: str, query: str, headers: Mapping[str, str], deliver: Deliver) -> Socket | Response:
        """Open a socket; an answer instead refuses the handshake. ``deliver`` gets every frame, the close too."""
        return self._sockets.connect(path, query, headers, deliver)

    def handshake(
        self,
        path: str,
        query: str,
        headers: Mapping[str, str],
        deliver: Deliver,
        answer: Callable[[Socket | Response], None],
    ) -> None:
        """``connect`` as a client meets it: the answer takes the latency, like that of a request."""
        self._sockets.handshake(path, query, headers, deliver, answer)

    # for the control interface

    def advance(self, delta_ms: float) -> None:
        """Jump: the simulation's clock is from now on this much further than the shell's."""
        shell_ms = self._target - self._advanced
        self._advanced += delta_ms
        self.run_until(shell_ms)

    def arm(self, table: Mapping[str, Any]) -> Fault:
        """Install a fault; raises FaultError and then nothing is installed."""
        fault = self._faults.add(table, self._now)
        try:
            if fault.scope is Scope.ACTION:
                self._actions.check(fault)
            if fault.scope in (Scope.ACTION, Scope.FACADE, Scope.SOCKET):
                self.after(max(0.0, fault.starts_ms - self._now), lambda: self._begin(fault))
            if fault.trouble is not None:
                raise FaultError(fault.trouble)
        except FaultError:
            self._faults.remove(fault.id)
            raise
        return fault

    @property
    def faults(self) -> FaultBook:
        return self._faults

    def protection(self) -> list[dict[str, object]]:
        return self._protection.describe(self._now)

    # Host

    @property
    def exchange(self) -> MatchingEngine:
        return self.engine

    def now_ms(self) -> int:
        return int(self._now + self._skew)

    def call_later(self, delay_ms: float, action: Callable[[], None]) -> Timed:
        return self._timers.add(self._now + max(0.0, delay_ms), action)

    def behind_ms(self) -> float:
        return max(0.0, self._target - self._now)

    def rng(self, name: str) -> Random:
        return Random(f"{self.seed}/{name}")

    def take_fault(
        self, kind: str, *, symbol: str | None = None, client_id: str | None = None, path: str | None = None
    ) -> Fault | None:
        ids = () if client_id is None else (client_id,)
        here = self.current or Occasion()
        return self.fault(
            kind,
            Occasion(
                method=here.method,
                path=path or here.path,
                symbol=symbol or here.symbol,
                client_ids=ids or here.client_ids,
                stream=here.stream,
            ),
        )

    # for the parts

    def market_ms(self) -> float:
        return self._now

    def time_ms(self) -> float:
        """The simulation's clock, skew left out."""
        return self._now

    def shell_ms(self) -> float:
        return max(self._now, self._target)

    def after(self, delay_ms: float, action: Callable[[], None]) -> None:
        if delay_ms <= 0:
            action()
        else:
            self.call_later(delay_ms, action)

    def soon(self, action: Callable[[], None]) -> None:
        self._timers.add(self._now, action)

    def fault(self, kind: str, occasion: Occasion) -> Fault | None:
        return self._faults.take(kind, occasion, self._now)

    def skew(self, offset_ms: float) -> None:
        self._skew = offset_ms

    def _on_events(self, events: tuple[Event, ...]) -> None:
        self._protection.observe(events, self._now)
        self.facade.on_events(events)

    def _begin(self, fault: Fault) -> None:
        """The moment of a fault that acts by itself has come."""
        if not self._faults.has(fault):
            return
        if fault.scope is Scope.SOCKET:
            self._sockets.strike(fault)
        elif fault.scope is Scope.ACTION:
            self._actions.carry_out(fault)
        elif self.facade.inject(fault):
            fault.seen += 1
            fault.hits += 1
        else:
            fault.trouble = f"{fault.kind} is not implemented for this venue"

    def _schedule_tick(self) -> None:
        # On the market's own grid, and after a jump only once: what was jumped over is caught up in one go.
        self._timers.add(max(self._now, self._target) + self._step_ms, self._tick)

    def _tick(self) -> None:
        self.engine.tick()
        self._schedule_tick()

    def _schedule_funding(self) -> None:
        hour = (int(self._now) // HOUR_MS + 1) * HOUR_MS
        self._timers.add(hour, lambda: self._pay_funding(hour))

    def _pay_funding(self, hour_ms: int) -> None:
        self.engine.pay_funding(hour_ms)
        self._schedule_funding()


def _engine_settings(venue: Venue, settings: SimulationSettings, now_ms: float) -> EngineSettings:
    return EngineSettings(
        policy=venue.policy,
        market=MarketSettings(seed=settings.seed, start_ms=int(now_ms), hz=settings.tick_hz, speed=settings.speed),
        balances=dict.fromkeys(ASSETS, settings.balance),
        position_mode=settings.position_mode,
        replays=settings.replays,
    )
