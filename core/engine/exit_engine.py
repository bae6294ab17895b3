"""ExitEngine: looks at every open position on each tick that can matter, and acts (DESIGN §2).

What is decided stands in `core.domain.exits`; here are the ticks that lead to it and the tasks that follow from it. A
close is marked before anything is awaited and goes through the one pipeline; a stop is moved by its guardian. Between
two judgements the rules have said within which prices they have nothing to say: such a tick costs two comparisons.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Protocol

import structlog

from core.clock import Clock
from core.domain.events import Event, OrderChanged, PositionChanged, PositionTold
from core.domain.exits import (
    EVERY_PRICE,
    URGENT,
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
from core.domain.ids import InstrumentId, Leg, PositionId, VenueName
from core.domain.instrument import Instrument
from core.domain.money import ZERO, Price, Quantity, plain
from core.domain.order import Order, TriggerReference
from core.domain.position import Position, PositionKey
from core.domain.prices import PriceKind, Snapshot
from core.domain.profit_steps import slices
from core.domain.protection import crossed
from core.domain.risk import TradingState
from core.domain.trailing import TrailingRules, away, worth_moving
from core.engine.bookkeeping import Bookkeeper
from core.engine.closer import Closer, Part
from core.engine.exit_watch import ExitCounts, ExitWatch, figures_of
from core.engine.order_manager import OrderManager
from core.engine.ports import Level, Notifier
from core.engine.protection_manager import ProtectionManager
from core.engine.records import ExitRecord
from core.engine.risk_guard import RiskGuard
from core.engine.tightening import Tightened

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
"""How often every position is looked at without a tick: time passes for it as well."""
AT_ONCE = 16
"""Positions looked at in one step of that round."""
COUNT_SECONDS = 60.0
TRY_AGAIN_SECONDS = 1.0
MOVE_AGAIN_SECONDS, LONGEST_PAUSE_SECONDS = 10.0, 640.0
"""After a move the venue refused; twice as long after each more."""
LIMIT_TRIES = 5
"""A take profit at its level that was not filled so often goes at market (TRL-16)."""
NEVER_MS = 10**15
CLOSERS = frozenset({ExitReason.CRITICAL_LOSS, ExitReason.STOP_PASSED})
"""People are called for these: something that should have closed the position before did not."""


class Prices(Protocol):
    """What the exit engine asks of the data registry."""

    def on_tick(self, listener: Callable[[InstrumentId], None]) -> None: ...
    def watch(self, instrument: InstrumentId) -> None: ...
    def unwatch(self, instrument: InstrumentId) -> None: ...
    def exit_view(self, instrument: InstrumentId) -> tuple[Snapshot, bool] | None:
        """The best level that serves a critical exit, and whether it serves a normal one; None = no price."""
        ...

    def funding(self, instrument: InstrumentId) -> Funding | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitPolicy:
    """The configuration. `rules` hold for a position that asked for nothing; `moves` say when a stop is worth moving,
    whichever rule wants it. `limit_profits`: take profits are limit orders at their level first."""

    rules: ExitRules
    moves: TrailingRules
    kind: PriceKind
    limit_profits: bool = False
    manages_external: bool = False


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
    ) -> None:
        """`offset_ms` is a venue's clock minus ours; `reference` the price that fires a stop, None = not known."""
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
        self._watches: dict[PositionKey, ExitWatch] = {}
        self._by_instrument: dict[InstrumentId, list[ExitWatch]] = {}
        self._remembered: dict[PositionId, ExitState] = {}
        self._advice: dict[str, Mapping[PositionKey, str]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self.counts = ExitCounts()
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
        """Of each position in it: within these prices no rule has anything to say, as things stand."""
        return [watch.band for watch in self._by_instrument.get(instrument, ())]

    def quiet(self, instrument: InstrumentId, low: Decimal, high: Decimal) -> bool:
        """Whether no price between these two would make any rule speak, as things stand."""
        watches = self._by_instrument.get(instrument, ())
        return all(watch.band.calm(low) and watch.band.calm(high) for watch in watches)

    async def run(self) -> None:
        """Own what follows from judgements, and look at everything once a second, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                await self._look_again_and_again()
            finally:
                self._tasks = None  # ticks come for as long as the sockets are open

    async def _look_again_and_again(self) -> None:
        counted = self._clock.monotonic()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look_at_all()
            if self._clock.monotonic() - counted >= COUNT_SECONDS:
                counted = self._clock.monotonic()
                self._count()

    async def look_at_all(self) -> None:
        """Judge every position, whatever its prices did."""
        for number, watch in enumerate(list(self._watches.values()), start=1):
            self._look(watch)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)

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
            self._notifier.notify(Level.CRITICAL, f"exits were not watching what is open: {names}; put right")

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
        rules = watch.rules
        if rules.trailing is not None and self._trailed_by_venue(position.id):
            rules = replace(rules, trailing=None)
        verdict = judge(position, watch.state, watch.confirmations, rules, seen, instrument)
        watch.confirmations, watch.band = verdict.confirmations, verdict.band
        watch.moved_by = verdict.moved_by or watch.moved_by
        self._note_waiting(watch, waiting=verdict.waiting)
        if verdict.state is not watch.state:
            watch.state = verdict.state
            self._keep(watch)
        if verdict.close is not None:
            self._act(watch, position, verdict.close, seen)
        elif stop is not None and seen.discretionary and seen.normal:
            self._consider_moving(watch, position, stop, seen)

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
            discretionary=not halted and not watch.conflict,
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

    # acting

    def _act(self, watch: ExitWatch, position: Position, close: Close, seen: Seen) -> None:
        if self._tasks is None:
            return
        if close.reason in URGENT and not seen.normal and seen.price is not None:
            self.counts.critical_on_old_price += 1
            log.warning("exits.on_old_price", position=str(watch.key), rule=close.reason.value, age_ms=seen.age_ms)
        part = None if close.step is None else self._part(watch, position, close.step)
        if part is None or part.quantity >= position.quantity:
            watch.closing = True
            self._tasks.create_task(self._close(watch, position, close, seen), name=f"exits/close/{watch.key}")
        elif part.quantity and not watch.taking and self._clock.monotonic() >= watch.part_not_before:
            watch.taking = True
            self._tasks.create_task(self._take(watch, position, part, close, seen), name=f"exits/take/{watch.key}")

    async def _close(self, watch: ExitWatch, position: Position, close: Close, seen: Seen) -> None:
        why, figures = f"{close.reason.value}: {close.detail}", figures_of(watch.state, position, close, seen)
        self.counts.closes[close.reason.value] += 1
        log.info("exits.close", position=str(watch.key), why=why, **figures)
        self._books.note("exit", {"position_id": position.id, "instrument": str(position.instrument), **figures})
        urgent = close.reason in CLOSERS
        self._notifier.notify(
            Level.CRITICAL if urgent else Level.INFO, f"{watch.key}: closing at market, {why} ({figures['profit']} %)"
        )
        try:
            leg = Leg.FLATTEN if urgent else Leg.CLOSE
            await self._closer.flatten(watch.key, why, of=position.id, leg=leg, figures=figures)
        finally:
            watch.closing = False

    def _part(self, watch: ExitWatch, position: Position, step: int) -> Part | None:
        """What this step closes; None = everything. A step whose slice is too small is merged into the next one. Slices
        go by the entry price: by one that moves, a step could leave to its neighbour what that does not take."""
        instrument, steps = self._instruments[position.instrument], watch.rules.steps
        sizes = slices(position.entry_quantity, steps, instrument, position.entry_price)
        if step + 1 == len(steps) and sum(sizes, ZERO) >= position.entry_quantity:
            return None
        if not sizes[step]:
            watch.steps_skipped = step + 1
        quantity = Quantity(min(sizes[step], position.quantity))
        if quantity and ZERO < position.quantity - quantity < instrument.market_lot.minimum:
            return None  # what it would leave could never be closed (VAL-19)
        tries = self._closer.tries(position, step)
        limit = None
        if self.policy.limit_profits and tries < LIMIT_TRIES:
            level = away(position.side, position.entry_price, steps[step].percent)
            rounded = instrument.round_price_up if position.side.sign > 0 else instrument.round_price_down
            limit = rounded(level)
        return Part(step=step, quantity=quantity, limit=limit)

    async def _take(self, watch: ExitWatch, position: Position, part: Part, close: Close, seen: Seen) -> None:
        why, figures = f"{close.reason.value}: {close.detail}", figures_of(watch.state, position, close, seen)
        log.info("exits.take_part", position=str(watch.key), quantity=plain(part.quantity), why=why, **figures)
        self._books.note("exit", {"position_id": position.id, "instrument": str(position.instrument), **figures})
        try:
            if await self._closer.take_part(position, part, why, figures):
                self.counts.closes[close.reason.value] += 1
            else:
                watch.part_not_before = self._clock.monotonic() + TRY_AGAIN_SECONDS
        finally:
            watch.taking = False
            watch.band = EVERY_PRICE

    def _consider_moving(self, watch: ExitWatch, position: Position, stop: Order, seen: Seen) -> None:
        level, resting, tasks = watch.state.level, stop.trigger_price, self._tasks
        if level is None or resting is None or watch.moving or watch.closing or tasks is None:
            return
        if self._clock.monotonic() < watch.move_not_before:
            return
        tick = self._instruments[position.instrument].tick
        since = self._since_moved(watch, stop, seen.now_ms)
        if worth_moving(position.side, resting, level, self.policy.moves, tick, since_last_ms=since):
            watch.moving = True
            watch.attempted = self._clock.monotonic()
            tasks.create_task(self._move(watch, position, level), name=f"exits/move/{watch.key}")

    def _since_moved(self, watch: ExitWatch, stop: Order, now_ms: int) -> int | None:
        """Since the stop was moved or that was tried; a stop tells by itself that it was, also after a restart."""
        tried = None if watch.attempted is None else int((self._clock.monotonic() - watch.attempted) * 1000)
        moved = now_ms - stop.venue_time_ms if stop.level is not None or stop.intent.attempt else None
        return min((since for since in (tried, moved) if since is not None and since >= 0), default=None)

    async def _move(self, watch: ExitWatch, position: Position, level: Price) -> None:
        by = ExitReason.TRAILING if watch.moved_by is None else watch.moved_by
        try:
            outcome = await self._protection.tighten(position, level)
        finally:
            watch.moving = False
            watch.band = EVERY_PRICE
        if outcome is Tightened.MOVED:
            self.counts.stops_moved += 1
            watch.refused = 0
            log.info("exits.stop_moved", position=str(watch.key), to=plain(level), rule=by.value)
        elif outcome is Tightened.REFUSED:
            self.counts.moves_refused += 1
            pause = min(MOVE_AGAIN_SECONDS * 2 ** min(watch.refused, 10), LONGEST_PAUSE_SECONDS)
            watch.refused += 1
            watch.move_not_before = self._clock.monotonic() + pause
        elif outcome is Tightened.CROSSED:
            self._close_crossed(watch, level, by)

    def _close_crossed(self, watch: ExitWatch, level: Price, by: ExitReason) -> None:
        """The price came to the level before the stop did (STP-06)."""
        position = self._orders.state.position(watch.key)
        if position is None or watch.closing or position.id != watch.state.position_id:
            return
        seen = self._seen(watch, position, self._prices.exit_view(watch.key.instrument), None)
        if seen.discretionary:
            detail = f"the price reached {plain(level)} before the stop was there"
            self._act(watch, position, Close(reason=by, detail=detail), seen)
