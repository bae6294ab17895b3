"""ExitEngine: looks at every open position on each tick that can matter, and acts (DESIGN §2).

What is decided stands in `core.domain.exits`; here are the ticks that lead to it and the tasks that follow from it. A
close is marked before anything is awaited and goes through the one pipeline; a stop is moved by its guardian. Between
two judgements the rules have said within which prices they have nothing to say: such a tick costs two comparisons.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

import structlog
from msgspec.structs import replace

from core.clock import Clock
from core.domain.alerts import AlertKind
from core.domain.events import Event, OrderChanged, PositionChanged, PositionTold
from core.domain.exits import (
    EVERY_PRICE,
    Band,
    Close,
    ExitReason,
    ExitRules,
    ExitState,
    Funding,
    Seen,
    fresh_state,
    judge,
    rules_for,
)
from core.domain.ids import InstrumentId, PositionId, VenueName
from core.domain.instrument import Instrument
from core.domain.money import ZERO, Price, plain
from core.domain.order import Order, TriggerReference
from core.domain.position import Position, PositionKey
from core.domain.prices import Snapshot
from core.domain.protection import crossed
from core.domain.risk import TradingState
from core.engine.bookkeeping import Bookkeeper
from core.engine.closer import Closer
from core.engine.exit_actions import ExitActions, ExitPolicy
from core.engine.exit_watch import ExitCounts, ExitWatch
from core.engine.giving_way import PAUSE_SECONDS
from core.engine.order_manager import OrderManager
from core.engine.ports import Level, Notifier
from core.engine.protection_manager import ProtectionManager
from core.engine.records import ExitRecord
from core.engine.risk_guard import RiskGuard

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
"""How often every position is looked at without a tick: time passes for it as well."""
AT_ONCE = 4
"""Positions looked at in one step of that round: on its way to a request a decision meets one of them at most."""
COUNT_SECONDS = 60.0
NEVER_MS = 10**15
UNTOLD_CONFIRM_MS = 15_000
"""A venue is polled while its stream is down; two of these readings."""


class Prices(Protocol):
    """What the exit engine asks of the data registry."""

    def on_tick(self, listener: Callable[[InstrumentId], None]) -> None: ...
    def watch(self, instrument: InstrumentId) -> None: ...
    def unwatch(self, instrument: InstrumentId) -> None: ...
    def exit_view(self, instrument: InstrumentId) -> tuple[Snapshot, bool] | None:
        """The best level that serves a critical exit, and whether it serves a normal one; None = no price."""
        ...

    def funding(self, instrument: InstrumentId) -> Funding | None: ...


class ExitEngine:
    """Positions by their key; every open one has exactly one watch (TRL-04)."""

    def __init__(
        self,
        *,
        policy: ExitPolicy,
        orders: OrderManager,
        protection: ProtectionManager,
        closer: Closer,
        risk: RiskGuard,
        prices: Prices,
        instruments: Mapping[InstrumentId, Instrument],
        reference: Callable[[InstrumentId, TriggerReference], Decimal | None],
        offset_ms: Callable[[VenueName], int],
        books: Bookkeeper,
        clock: Clock,
        notifier: Notifier,
        trailed_by_venue: Callable[[PositionId], bool] = lambda _: False,
        serves: Callable[[VenueName], bool] = lambda _: True,
        told: Callable[[VenueName], bool] = lambda _: True,
    ) -> None:
        """`offset_ms` is a venue's clock minus ours; `reference` the price that fires a stop, None = not known.
        `serves`: whether the venue takes anything at present; `told`: whether its private stream is up."""
        self.policy = policy
        self._orders = orders
        self._protection = protection
        self._closer = closer
        self._risk = risk
        self._prices = prices
        self._instruments = instruments
        self._reference = reference
        self._offset_ms = offset_ms
        self._books = books
        self._clock = clock
        self._notifier = notifier
        self._trailed_by_venue = trailed_by_venue
        self._serves = serves
        self._told = told
        self._watches: dict[PositionKey, ExitWatch] = {}
        self._by_instrument: dict[InstrumentId, list[ExitWatch]] = {}
        self._remembered: dict[PositionId, ExitState] = {}
        self._advice: dict[str, Mapping[PositionKey, str]] = {}
        self.counts = ExitCounts()
        self._actions = ExitActions(
            policy=policy,
            protection=protection,
            closer=closer,
            instruments=instruments,
            books=books,
            clock=clock,
            notifier=notifier,
            counts=self.counts,
            crossed=self._close_crossed,
        )
        prices.on_tick(self.on_tick)
        protection.on_levels(self.level)

    # telling

    def restore(self, states: Iterable[ExitState]) -> None:
        """What the journal remembers, before anything runs. Each is used only by the position it belongs to."""
        self._remembered = {state.position_id: state for state in states}
        for position in self._orders.state.positions():
            self._follow(position)

    def on_events(self, events: Sequence[Event]) -> None:
        """Must-consumer, after the protection: what is open is watched from the step it is known in."""
        for event in events:
            if isinstance(event, PositionChanged):
                self._follow(event.position)
            elif isinstance(event, PositionTold):
                self._compare(event.instrument)
            if isinstance(event, PositionChanged | OrderChanged):
                for watch in self._by_instrument.get(event.instrument, ()):
                    watch.band = EVERY_PRICE

    def advise(self, source: str, advice: Mapping[PositionKey, str]) -> None:
        """Which positions a strategy wants closed and why, as of its newest candle; earlier advice of it is over."""
        if not advice and not self._advice.get(source):
            return
        self._advice[source] = dict(advice)
        for key, watch in list(self._watches.items()):
            watch.advice = next((told[key] for told in self._advice.values() if key in told), "")
            if watch.advice:
                self._look(watch)

    def on_tick(self, instrument: InstrumentId) -> None:
        """A live price has come (DataRegistry.on_tick)."""
        watches = self._by_instrument.get(instrument)
        if not watches:
            return
        view = self._prices.exit_view(instrument)
        price = None if view is None else view[0].price(self.policy.kind)
        normal = view is not None and view[1]
        for watch in tuple(watches):
            if normal and price is not None and watch.band.calm(price):
                self.counts.analyses += 1
                self.counts.trailing_checks += watch.rules.trailing is not None
            else:
                self._look(watch, view)

    # asking

    def level(self, position_id: PositionId) -> Price | None:
        """Where the exits of this position want its stop; None = where it was placed first."""
        for watch in self._watches.values():
            if watch.state.position_id == position_id:
                return watch.state.level
        return None

    def state_of(self, key: PositionKey) -> ExitState | None:
        watch = self._watches.get(key)
        return None if watch is None else watch.state

    def bands(self, instrument: InstrumentId) -> list[Band]:
        """Of each position in it: within these prices no rule acts, as things stand; a best one is remembered."""
        watches = self._by_instrument.get(instrument, ())
        return [watch.band if watch.band is EVERY_PRICE else watch.acting for watch in watches]

    def would_move(self, instrument: InstrumentId, price: Price, ahead_ms: float) -> bool:
        """Whether a stop would be moved if this were the best price, so long from now."""
        for watch in self._by_instrument.get(instrument, ()):
            position = self._orders.state.position(watch.key)
            stop = None if position is None else self._protection.resting(position)
            if position is not None and stop is not None:
                now_ms = self._venue_ms(instrument.venue)
                if self._actions.would_move(watch, position, stop, price, now_ms, ahead_ms):
                    return True
        return False

    def quiet(self, instrument: InstrumentId, low: Decimal, high: Decimal) -> bool:
        """Whether no price between these two would make any rule speak, as things stand."""
        watches = self._by_instrument.get(instrument, ())
        return all(watch.band.calm(low) and watch.band.calm(high) for watch in watches)

    async def run(self) -> None:
        """Own what follows from judgements, and look at everything once a second, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._actions.tasks = tasks
            for watch in self._watches.values():  # of a run before this one nothing goes on
                watch.closing = watch.taking = watch.moving = False
            try:
                await self._look_again_and_again()
            finally:
                self._actions.tasks = None  # ticks come for as long as the sockets are open

    async def _look_again_and_again(self) -> None:
        counted = self._clock.monotonic()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look_at_all(PAUSE_SECONDS)
            if self._clock.monotonic() - counted >= COUNT_SECONDS:
                counted = self._clock.monotonic()
                self._count()

    async def look_at_all(self, pause: float = 0.0) -> None:
        """Judge every position, whatever its prices did; between some of them others have their turn."""
        for number, watch in enumerate(list(self._watches.values()), start=1):
            self._look(watch)
            if number % AT_ONCE == 0:
                await asyncio.sleep(pause)

    # following

    def _follow(self, position: Position) -> None:
        """No request and no wait: a position is watched at once (TRL-05)."""
        watch = self._watches.get(position.key)
        if not position.open:
            if watch is not None:
                self._drop(watch)
            return
        if watch is not None and watch.state.belongs_to(position):
            return
        if watch is not None and watch.state.position_id != position.id:
            self._drop(watch)
            watch = None
        state = self._remembered.pop(position.id, None)
        if state is None or not state.belongs_to(position):
            state = fresh_state(position)
        if watch is not None:
            watch.state = state if watch.state.level is None else replace(state, level=watch.state.level)
        else:
            watch = ExitWatch(key=position.key, rules=self._rules(position), state=state)
            self._watches[position.key] = watch
            self._by_instrument.setdefault(position.instrument, []).append(watch)
            self._prices.watch(position.instrument)
        self._keep(watch)

    def _rules(self, position: Position) -> ExitRules:
        """A position somebody else opened has its stop and no more, unless we manage those too."""
        if not position.signal_id and not self.policy.manages_external:
            ours = self.policy.rules
            return ExitRules(
                critical_percent=ours.critical_percent,
                critical_confirm_ms=ours.critical_confirm_ms,
                time_limit_ms=NEVER_MS,
            )
        return rules_for(position, self.policy.rules)

    def _drop(self, watch: ExitWatch) -> None:
        """Nothing is left of it anywhere (TRL-15)."""
        del self._watches[watch.key]
        watches = self._by_instrument[watch.key.instrument]
        watches.remove(watch)
        for told in self._advice.values():
            if isinstance(told, dict):
                told.pop(watch.key, None)
        if not watches:
            del self._by_instrument[watch.key.instrument]
            self._prices.unwatch(watch.key.instrument)

    def _compare(self, instrument: InstrumentId) -> None:
        for watch in tuple(self._by_instrument.get(instrument, ())):
            watch.conflict = self._contradicted(watch.key)
            if watch.conflict:
                self._orders.doubt(instrument, f"{watch.key}: the venue says it goes the other way")

    def _contradicted(self, key: PositionKey) -> bool:
        """Whether the venue says the position goes the other way: then only what protects may act (POS-11)."""
        told = [r.quantity for r in self._orders.state.venue_positions() if r.instrument == key.instrument]
        signs = {quantity > ZERO for quantity in told if quantity}
        return bool(signs) and (key.side.sign > 0) not in signs

    def _count(self) -> None:
        """Every open position has its watch, and no other has one."""
        held = {position.key: position for position in self._orders.state.positions()}
        missing, left = held.keys() - self._watches.keys(), self._watches.keys() - held.keys()
        for key in left:
            self._drop(self._watches[key])
        for key in missing:
            self._follow(held[key])
        if missing or left:
            names = ", ".join(str(key) for key in (*missing, *left))
            log.error("exits.count_wrong", missing=len(missing), left_over=len(left), positions=names)
            self._notifier.notify(
                Level.CRITICAL, f"exits were not watching what is open: {names}; put right", kind=AlertKind.DISCREPANCY
            )

    # judging

    def _look(self, watch: ExitWatch, view: tuple[Snapshot, bool] | None = None) -> None:
        """Never raises: it runs where a socket is read, and an error about one position must not end the prices of all.
        Its stop rests; it is looked at again as long as it is open."""
        try:
            self._decide(watch, view)
        except Exception as error:  # swallow: trading halts, and people are told (INV-8)
            if not watch.failed:
                log.exception("exits.failed", position=str(watch.key))
                self._orders.broken(f"the exits of {watch.key} failed: {error!r}")
            watch.failed = True
        else:
            watch.failed = False

    def _decide(self, watch: ExitWatch, view: tuple[Snapshot, bool] | None) -> None:
        position = self._orders.state.position(watch.key)
        instrument = self._instruments.get(watch.key.instrument)
        if position is None or instrument is None or watch.closing or not self._protection.confirmed(watch.key):
            return
        if self._closer.closing(watch.key) or self._closer.given_up(position):
            return
        self.counts.analyses += 1
        self.counts.trailing_checks += watch.rules.trailing is not None
        if watch.conflict:  # a reading may have ended it
            watch.conflict = self._contradicted(watch.key)
        view = view if view is not None else self._prices.exit_view(watch.key.instrument)
        stop = self._protection.resting(position)
        seen = self._seen(watch, position, view, stop)
        rules = self._rules_now(watch, position)
        verdict = judge(position, watch.state, watch.confirmations, rules, seen, instrument)
        watch.confirmations, watch.band, watch.acting = verdict.confirmations, verdict.band, verdict.acting
        watch.moved_by = verdict.moved_by or watch.moved_by
        self._note_waiting(watch, waiting=verdict.waiting)
        if verdict.state is not watch.state:
            watch.state = verdict.state
            self._keep(watch)
        if verdict.close is not None:
            self._actions.act(watch, position, verdict.close, seen)
        elif stop is not None and seen.discretionary and seen.normal:
            self._actions.consider_moving(watch, position, stop, seen)

    def _rules_now(self, watch: ExitWatch, position: Position) -> ExitRules:
        """Without our trailing where the venue trails. While the private stream is down the stop may have acted and
        nobody said so: what a stop left undone waits for a reading of the venue."""
        rules = watch.rules
        if rules.trailing is not None and self._trailed_by_venue(position.id):
            rules = replace(rules, trailing=None)
        if self._told(watch.key.instrument.venue):
            return rules
        return replace(
            rules,
            critical_confirm_ms=max(rules.critical_confirm_ms, UNTOLD_CONFIRM_MS),
            stop_passed_ms=max(rules.stop_passed_ms, UNTOLD_CONFIRM_MS),
        )

    def _seen(
        self, watch: ExitWatch, position: Position, view: tuple[Snapshot, bool] | None, stop: Order | None
    ) -> Seen:
        venue = watch.key.instrument.venue
        snapshot, normal = (None, False) if view is None else view
        resting = None if stop is None else stop.trigger_price
        passed = False
        if stop is not None and resting is not None:
            reference = self._reference(watch.key.instrument, stop.intent.trigger_reference)
            passed = reference is not None and crossed(position.side, resting, reference)
        halted = self._risk.standing_of(venue).state is TradingState.HALTED
        return Seen(
            now_ms=self._venue_ms(venue),
            price=None if snapshot is None else snapshot.price(self.policy.kind),
            source=None if snapshot is None else snapshot.source,
            age_ms=0 if snapshot is None else snapshot.age_ms,
            normal=normal,
            resting=resting,
            passed=passed,
            steps_done=max(watch.steps_skipped, self._closer.steps_taken(position)) if watch.rules.steps else 0,
            funding=self._prices.funding(watch.key.instrument) if watch.rules.funding_window_ms else None,
            advice=watch.advice,
            discretionary=not halted and not watch.conflict and self._serves(venue),
        )

    def _venue_ms(self, venue: VenueName) -> int:
        """A jump of this host's clock since the offset was measured makes no position older (NET-01)."""
        return self._clock.now_ms() + self._offset_ms(venue) - (self._risk.clocks.error_ms(venue) or 0)

    def _note_waiting(self, watch: ExitWatch, *, waiting: bool) -> None:
        if waiting and not watch.waiting:
            self.counts.waited_for_price += 1
            log.info("exits.wait", position=str(watch.key), why="the price is too old for a normal exit")
        watch.waiting = waiting

    def _keep(self, watch: ExitWatch) -> None:
        self._books.soon([ExitRecord(state=watch.state, time_ms=self._clock.now_ms())])

    def _close_crossed(self, watch: ExitWatch, level: Price, by: ExitReason) -> None:
        """The price came to the level before the stop did (STP-06)."""
        position = self._orders.state.position(watch.key)
        if position is None or watch.closing or position.id != watch.state.position_id:
            return
        seen = self._seen(watch, position, self._prices.exit_view(watch.key.instrument), None)
        if seen.discretionary:
            detail = f"the price reached {plain(level)} before the stop was there"
            self._actions.act(watch, position, Close(reason=by, detail=detail), seen)
