"""ProtectionManager: no filled quantity without a resting reduce-only stop for longer than the deadline.

One guardian task per position, and only it touches the position's stop (INV-1). It makes the venue agree with one
sentence: exactly one confirmed stop of exactly the position's quantity. A new stop is confirmed before an old one is
cancelled, so there is never a moment without one; both are reduce-only, so they cannot flip the position (INV-3).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial, reduce

import structlog

from core.clock import Clock
from core.domain.alerts import AlertKind
from core.domain.events import Event, OrderChanged, PositionChanged
from core.domain.ids import ClientOrderId, InstrumentId, Leg, PositionId, VenueName
from core.domain.instrument import Instrument
from core.domain.money import Price, Quantity
from core.domain.order import UNACKNOWLEDGED, Order, OrderIntent, OrderStatus, TriggerReference
from core.domain.position import Position, PositionKey
from core.domain.protection import (
    Dust,
    StopPlan,
    closer,
    covers,
    plan,
    protects,
    provisional,
    stop_price,
    trigger_of,
)
from core.domain.trailing import tighter
from core.engine.bookkeeping import Bookkeeper
from core.engine.closer import Closer
from core.engine.first_step import Start, at_once, in_its_turn
from core.engine.order_manager import OrderManager
from core.engine.owned_tasks import OwnedTasks, TaskOwner
from core.engine.ports import About, Attach, Level, Notifier, VenueTraits
from core.engine.protections import LOST_SECONDS, MOST_LOST, Naked, Protection, Protections
from core.engine.risk_guard import RiskGuard
from core.engine.stale_rules import Renew, nobody_renews, renewed, stale
from core.engine.stop_orders import StopOrders, refusals
from core.engine.stop_removal import StopRemoval
from core.engine.tightening import Tightened, Tightening

log = structlog.get_logger(__name__)

FIRED = (OrderStatus.TRIGGERED, OrderStatus.PARTIALLY_FILLED)
TRIGGERED_WITHOUT_FILL_SECONDS = 1.0
"""A stop that fired and did not fill is not protection (STP-19)."""
MAKE_ROOM_SECONDS = 0.5
MOST_MOVES = 3
"""Tries to move one resting stop, without a definite answer, before another is placed beside it."""
ATTACHED_SECONDS = 1.0
"""How long a filled entry waits to be told of the stop that travelled with it."""
STOP_AGAIN_SECONDS = 3.0
"""Between two tries to have a stop all the same, while its position cannot be closed (STP-02)."""


class ProtectionManager:
    def __init__(
        self,
        *,
        accounts: Mapping[VenueName, str],
        orders: OrderManager,
        risk: RiskGuard,
        closer: Closer,
        instruments: Mapping[InstrumentId, Instrument],
        reference: Callable[[InstrumentId, TriggerReference], Decimal | None],
        working_type: TriggerReference,
        deadline_seconds: float,
        alert_ms: int,
        traits: Callable[[VenueName], VenueTraits],
        books: Bookkeeper,
        clock: Clock,
        notifier: Notifier,
    ) -> None:
        self.stop_orders = StopOrders(
            accounts=accounts, instruments=instruments, traits=traits, reference=reference, working_type=working_type
        )
        self._tightening = Tightening(
            orders=orders,
            risk=risk,
            stop_orders=self.stop_orders,
            instruments=instruments,
            reference=reference,
            traits=traits,
        )
        self._wanted: Callable[[PositionId], Price | None] = lambda _position: None
        self._orders = orders
        self._risk = risk
        self._closer = closer
        self._instruments = instruments
        self._reference = reference
        self._working_type = working_type
        self._deadline = deadline_seconds
        self._traits = traits
        self._books = books
        self._clock = clock
        self._notifier = notifier
        self._guards: dict[PositionKey, asyncio.Task[None]] = {}
        self._naked: dict[PositionKey, Naked] = {}
        self.protections = Protections(books=books, clock=clock, notifier=notifier, alert_ms=alert_ms)
        self._removal = StopRemoval(orders=orders, traits=traits)
        self._moving: set[ClientOrderId] = set()
        self._moves: Counter[ClientOrderId] = Counter()
        self._moved_to: dict[PositionKey, tuple[ClientOrderId, Price, Quantity]] = {}
        """The last move of a stop of each: made a second time, it did not hold."""
        self._untold: set[ClientOrderId] = set()
        """Attached stops that did not come to be in time; a stop of their position's own took over."""
        self._unconfirmed: set[PositionKey] = set()
        self._renew_rules: Renew = nobody_renews
        self._tasks: TaskOwner | None = None
        self._first_run = True

    async def run(self) -> None:
        """Own the guardians until cancelled. Stops stay on the venue."""
        async with OwnedTasks() as tasks:
            self._tasks = tasks
            self._moving.clear()  # of a run before this one nothing goes on
            self._removal.forget()
            for position in self._orders.state.positions() if self._first_run else ():
                # A row of the journal proves no position: its guardian waits for the venue's word (STP-13).
                self._unconfirmed.add(position.key)
                if not self.covered(position.key):
                    now = self._clock.now_ms()  # how long it stood naked before this start is not known
                    self._naked[position.key] = self._naked_since(now)
            self._first_run = False
            try:
                await asyncio.Event().wait()
            finally:
                self._tasks = None

    def on_stale_rules(self, renew: Renew) -> None:
        """Who loads a venue's trading rules anew when it refused a stop or a close by others."""
        self._renew_rules = renew
        self._closer.on_stale_rules(renew)

    def on_levels(self, wanted: Callable[[PositionId], Price | None]) -> None:
        """Who knows where the exits of a position want its stop."""
        self._wanted = wanted

    def tighten(self, position: Position, level: Price) -> asyncio.Future[Tightened]:
        """Have its resting stop moved to `level`, closer to the price; there is one all the while."""
        told = self._tightening.wish(position, level)
        self.guard(position.key, at_once)
        return told

    def resting(self, position: Position) -> Order | None:
        """Its confirmed stop, as far as that rests unfired for all of it."""
        known = self.protections.get(position.id)
        stop = None if known is None or known.stop is None else self._orders.state.order(known.stop)
        return stop if stop is not None and stop.status is OrderStatus.ACCEPTED and covers(stop, position) else None

    def protection(self, position_id: PositionId) -> Protection | None:
        """Also of positions closed since the start."""
        return self.protections.get(position_id)

    def covered(self, key: PositionKey) -> bool:
        """Whether the open position has a confirmed stop of its own quantity.

        True as well when there is no position, or only dust that was tried once and cannot be closed (VAL-19).
        """
        position = self._orders.state.position(key)
        if position is None or self._closer.given_up(position):
            return True
        return self._exact(self._stops(position), position) is not None

    def dust(self, key: PositionKey) -> bool:
        """Whether what is left of the position is less than the venue takes in one order, and was tried (VAL-19)."""
        position = self._orders.state.position(key)
        return position is not None and self._closer.given_up(position)

    def confirmed(self, key: PositionKey) -> bool:
        """False for a row of the journal that neither a fill nor a reading of the venue has borne out yet (STP-13)."""
        return key not in self._unconfirmed

    @property
    def busy(self) -> bool:
        """Whether a stop is being placed, moved or cancelled now."""
        return bool(self._moving) or self._removal.busy or not all(guard.done() for guard in self._guards.values())

    def all_covered(self) -> bool:
        return all(self.covered(position.key) for position in self._orders.state.positions())

    def on_events(self, events: Sequence[Event]) -> None:
        """Must-consumer: every change of a position or of a stop wakes the guardian. First of all: whatever goes wrong
        in the bookkeeping after it, the guardian is awake (VAL-02)."""
        for event in events:
            if isinstance(event, PositionChanged):
                self.guard(event.position.key)
            elif isinstance(event, OrderChanged) and event.order.intent.leg is Leg.STOP:
                key = PositionKey(event.order.instrument, event.order.intent.side.opposite)
                if key not in self._unconfirmed:
                    self.guard(key)
            elif isinstance(event, OrderChanged) and event.order.ended and event.order.intent.leg is Leg.ENTRY:
                # Its attached stop belongs to the fill price from now on.
                key = PositionKey(event.order.instrument, event.order.intent.side)
                attaches = self._traits(key.instrument.venue).attach is not Attach.NEVER
                if attaches and key not in self._unconfirmed:
                    self.guard(key)
        for event in events:
            if isinstance(event, PositionChanged):
                self._note_size(event.position)

    def guard(self, key: PositionKey, start: Start = in_its_turn) -> None:
        """Make sure a guardian is looking at this position, which a fill or a reading of the venue has just told."""
        if key in self._unconfirmed:
            self._unconfirmed.discard(key)
            if (naked := self._naked.get(key)) is not None:
                naked.deadline = self._clock.monotonic() + self._deadline
        running = self._guards.get(key)
        if self._tasks is not None and (running is None or running.done()):
            start(self._tasks, self._guard(key), f"protection/{key}", partial(self._guards.__setitem__, key))

    def _note_size(self, position: Position) -> None:
        if not position.open:
            self._naked.pop(position.key, None)
            self._tightening.forget(position.id)
        elif not self.covered(position.key) and position.key not in self._naked:
            since = position.opened_ms
            if self.protections.get(position.id) is not None:  # grew or shrank after it had been protected once
                since = max((o.venue_time_ms for o in self._orders.state.orders_of(position.id)), default=since)
            self._naked[position.key] = self._naked_since(since)

    def _naked_since(self, venue_ms: int) -> Naked:
        now = self._clock.monotonic()
        return Naked(venue_ms, now + self._deadline, now)

    def naked_s(self, key: PositionKey) -> float | None:
        """For how many seconds we know that some of the position has no confirmed stop; None = it has one."""
        naked = None if self.covered(key) else self._naked.get(key)
        return None if naked is None else self._clock.monotonic() - naked.noticed

    async def _guard(self, key: PositionKey) -> None:
        """Until the sentence is true; what is left over is cancelled then."""
        while True:
            position = self._orders.state.position(key)
            if position is None:
                self._leave(key)
                return
            if self._closer.given_up(position):
                self._naked.pop(key, None)
                self._tightening.forget(position.id)
                return
            stops = self._stops(position)
            if (fired := next((stop for stop in stops if stop.status in FIRED), None)) is not None:
                await self._watch_fired(position, fired)
            elif (exact := self._exact(stops, position)) is not None:
                self._record(position, exact)
                self._cancel(self._surplus(key, exact))
                if self._misplaced(exact, position):
                    await self._move(position, exact)
                elif self._tasks is not None and self._tightening.wished(position, exact):
                    await self._tightening.carry_out(position, exact, self._tasks)
                else:
                    return
            elif (sent := self._on_its_way(stops, position)) is not None:
                await self._await_answer(position, sent)
            elif (movable := self._movable(stops, position)) is not None:
                await self._move(position, movable)
            else:
                await self._place(position)

    def _leave(self, key: PositionKey) -> None:
        """Nothing may stay of a position that is gone. What belongs to it as a whole ends with it at the venue, and a
        cancel could only meet the next one; a stop that came with its entry and was not told is asked for."""
        self._cancel([stop for stop in self._surplus(key, None) if not stop.intent.whole_position])
        for order in self._orders.state.live_orders(key.instrument):
            intent = order.intent
            untold = order.status in UNACKNOWLEDGED and intent.attached_to is not None and intent.side is not key.side
            if untold and not self._awaits_entry(order):
                self._orders.resolve(order, "its position is gone, and the venue has not told of it")

    def _stops(self, position: Position) -> list[Order]:
        live = self._orders.state.live_orders(position.instrument)
        mine = [order for order in live if order.intent.position_id == position.id and order.intent.leg is Leg.STOP]
        return sorted((order for order in mine if not order.ended), key=lambda order: order.intent.attempt)

    def attached(self, entry: OrderIntent) -> OrderIntent | None:
        """The stop that travels with an entry, where its venue takes one; at a level the market has not reached."""
        return self.stop_orders.attached(entry)

    def _misplaced(self, stop: Order, position: Position) -> bool:
        """Whether it still stands where the decision price put it, and its entry has ended at another (DESIGN §3.7)."""
        instrument = self._instruments.get(position.instrument)
        if instrument is None or not provisional(stop) or not self._may_move(stop):
            return False
        entry = None if stop.intent.attached_to is None else self._orders.state.order(stop.intent.attached_to)
        if entry is not None and (not entry.ended or entry.fills_missing):
            return False
        return stop.trigger_price is not None and stop.trigger_price != stop_price(position, instrument)

    def _movable(self, stops: list[Order], position: Position) -> Order | None:
        """The newest resting stop of this position, where the venue lets it be moved to where it belongs."""
        if not self._traits(position.instrument.venue).amends_stops:
            return None
        resting = [stop for stop in stops if stop.status is OrderStatus.ACCEPTED]
        return next((stop for stop in reversed(resting) if self._may_move(stop)), None)

    def _may_move(self, stop: Order) -> bool:
        return stop.client_order_id not in self._moving and self._moves[stop.client_order_id] < MOST_MOVES

    async def _move(self, position: Position, stop: Order) -> None:
        """In place: there is no moment without a stop. Refused or not, what rests then is what the venue says."""
        if (wanted := await self._plan(position, stop.intent.trigger_reference, 0)) is not None:
            await self._moved(position, stop, wanted)

    async def _moved(self, position: Position, stop: Order, wanted: StopPlan) -> None:
        """In a task of its own: without an answer something else has to be done in time for what is not covered."""
        if self._tasks is None:
            return
        self._moving.add(stop.client_order_id)
        name = f"protection/move/{stop.client_order_id}"
        moving = self._tasks.create_task(self._amend(position, stop, wanted), name=name)
        naked = self._naked.get(position.key)
        left = self._deadline if naked is None else (naked.deadline - self._clock.monotonic()) / 2

        def over() -> bool:
            return moving.done() or stop.client_order_id not in self._moving or self._moved_on(position)

        await self._orders.wait(position.instrument, over, max(0.0, left))

    async def _amend(self, position: Position, stop: Order, wanted: StopPlan) -> None:
        key, level = stop.client_order_id, wanted.trigger_price
        try:
            refused = await self._orders.amend_stop(stop, trigger_price=level, quantity=wanted.quantity)
        finally:
            self._moving.discard(key)
        moved, made = self._orders.state.order(key), (key, level, wanted.quantity)
        again = self._moved_to.get(position.key) == made
        self._moved_to[position.key] = made
        if again and refused is None:
            self._moves[key] += 1
        elif refused is None and moved is not None and moved.trigger_price == level and covers(moved, position):
            del self._moves[key]
        else:
            definite = refused is not None and refused.about is not About.UNREACHED
            self._moves[key] += MOST_MOVES if definite else 1
        self.guard(position.key)
        self._orders.wake(position.instrument)

    async def _place(self, position: Position) -> None:
        self._note_size(position)
        if self._keeps_none(position):
            await self._flatten(position, f"{MOST_LOST} stops of it were gone again within {LOST_SECONDS:g} s")
            return
        refused = refusals(self._orders.state.orders_of(position.id))
        sent = self._orders.state.orders_of(position.id, Leg.STOP)
        if refused and stale(self._orders.rejection(sent[-1].client_order_id)):
            await renewed(self._renew_rules, position.instrument.venue)
        if refused == 1:
            await self._make_room(position.instrument.venue)
        trigger = trigger_of(refused, self._working_type)
        if (wanted := await self._plan(position, trigger, refused)) is not None:
            await self._submit(position, wanted, trigger)

    async def _plan(self, position: Position, trigger: TriggerReference, refused: int) -> StopPlan | None:
        """The stop it is to have; None where none can stand: then it was closed."""
        reference = self._reference(position.instrument, trigger)
        wanted = self._tightest(position)
        decision = plan(position, self._instruments[position.instrument], reference, refused, wanted)
        if isinstance(decision, StopPlan):
            return decision
        if isinstance(decision, Dust):
            await self._closer.flatten(position.key, decision.why)
        else:
            await self._flatten(position, decision.why)
        return None

    def _tightest(self, position: Position) -> Price | None:
        """Where its exits want the stop, or one moved there rests: never loosened (TRL-01) once its entry is over."""
        stops = self._stops(position)
        live = self._orders.state.live_orders(position.instrument)
        if any(o.intent.leg is Leg.ENTRY and o.intent.position_id == position.id for o in live):
            stops = []
        resting = [o.trigger_price for o in stops if o.status is OrderStatus.ACCEPTED and not provisional(o)]
        levels = [level for level in (self._wanted(position.id), *resting) if level is not None]
        return reduce(partial(tighter, position.side), levels) if levels else None

    async def _make_room(self, venue: VenueName) -> None:
        """A venue takes so many stops: those of closed positions go before a refused one is tried again (STP-20)."""
        state = self._orders.state
        resting = [o for o in state.all_live_orders() if o.intent.leg is Leg.STOP and o.status is OrderStatus.ACCEPTED]
        mine = [o for o in resting if o.instrument.venue is venue and not o.intent.whole_position]
        left = [o for o in mine if state.position(PositionKey(o.instrument, o.intent.side.opposite)) is None]
        if tasks := self._cancel(left):
            await asyncio.wait(tasks, timeout=MAKE_ROOM_SECONDS)

    async def _await_answer(self, position: Position, stop: Order) -> None:
        """A stop is on its way. When the deadline passes first the position goes, whatever became of the stop.

        One that travelled with its entry has less time: where it does not come to be, a stop of its own takes over.
        """
        naked = self._naked.get(position.key)
        left = self._deadline if naked is None else naked.deadline - self._clock.monotonic()
        attached = stop.intent.attached_to is not None

        def decided() -> bool:
            order = self._orders.state.order(stop.client_order_id)
            return order is None or order.status not in UNACKNOWLEDGED or self._moved_on(position)

        patience = min(left / 2, ATTACHED_SECONDS) if attached else left
        if await self._orders.wait(position.instrument, decided, max(0.0, patience)):
            return
        if attached:
            self._untold.add(stop.client_order_id)
            self._orders.resolve(stop, "the venue has not told of the stop that came with its entry")
        else:
            await self._flatten(position, f"no confirmed stop within {self._deadline:g} s")

    async def _watch_fired(self, position: Position, stop: Order) -> None:
        def over() -> bool:
            order = self._orders.state.order(stop.client_order_id)
            return order is None or order.ended or self._moved_on(position)

        if not await self._orders.wait(position.instrument, over, TRIGGERED_WITHOUT_FILL_SECONDS):
            await self._flatten(position, "the stop fired and did not fill")

    def _moved_on(self, seen: Position) -> bool:
        return self._orders.state.position(seen.key) is not seen

    async def _flatten(self, position: Position, why: str) -> None:
        self._notifier.notify(Level.CRITICAL, f"{position.key}: closing at market, {why}", kind=AlertKind.UNPROTECTED)
        self._books.note("flatten", {"instrument": str(position.instrument), "position_id": position.id, "why": why})
        if self._tasks is None:
            return
        name = f"protection/close/{position.id}"
        closing = self._tasks.create_task(self._closer.flatten(position.key, why), name=name)
        while not (await asyncio.wait({closing}, timeout=STOP_AGAIN_SECONDS))[0]:
            await self._try_again(position.key)

    async def _try_again(self, key: PositionKey) -> None:
        """What refused the stops may be over while the venue refuses the closes."""
        if (position := self._orders.state.position(key)) is None:
            return
        stops, trigger = self._stops(position), trigger_of(0, self._working_type)
        if (exact := self._exact(stops, position)) is not None:
            self._record(position, exact)
        if stops or self._closer.under_way(position):
            return
        reference = self._reference(position.instrument, trigger)
        wanted = plan(position, self._instruments[position.instrument], reference, 0, self._tightest(position))
        if isinstance(wanted, StopPlan):
            await self._submit(position, wanted, trigger)

    async def _submit(self, position: Position, wanted: StopPlan, trigger: TriggerReference) -> None:
        intent = self.stop_orders.own(position, wanted, trigger, self._orders.state.orders_of(position.id))
        await self._orders.submit([self._risk.approve_reducing(intent)])

    def _record(self, position: Position, stop: Order) -> None:
        naked = self._naked.pop(position.key, None)
        if self.protections.record(position, stop, None if naked is None else naked.since_venue_ms):
            self._orders.wake(position.instrument)

    def _keeps_none(self, position: Position) -> bool:
        known = self.protections.get(position.id)
        last = None if known is None or known.stop is None else self._orders.state.order(known.stop)
        return self.protections.keeps_none(position, last)

    def _cancel(self, stops: Sequence[Order]) -> list[asyncio.Task[None]]:
        return self._removal.remove(stops, self._tasks)

    def _exact(self, stops: list[Order], position: Position) -> Order | None:
        """The confirmed stop that is the one this position wants, the closest where one was told late, else the newest;
        of a venue that is off only sizes count."""
        instrument, found = self._instruments.get(position.instrument), None
        for stop in reversed(stops):
            right = covers(stop, position) if instrument is None else protects(stop, position, instrument)
            if right and stop.status is OrderStatus.ACCEPTED and (found is None or closer(stop, found)):
                found = stop
        return found

    def _on_its_way(self, stops: list[Order], position: Position) -> Order | None:
        """A stop of this quantity that was sent and not answered."""
        for stop in stops:
            if stop.status in UNACKNOWLEDGED and covers(stop, position) and stop.client_order_id not in self._untold:
                return stop
        return None

    def _surplus(self, key: PositionKey, exact: Order | None) -> list[Order]:
        """What rests in this direction beside the right stop. A stop may be told before the fill it came with, over
        another channel: while its entry is undecided it is nobody's surplus."""
        return [stop for stop in self._resting(key) if stop is not exact and not self._awaits_entry(stop)]

    def _awaits_entry(self, stop: Order) -> bool:
        entry = None if stop.intent.attached_to is None else self._orders.state.order(stop.intent.attached_to)
        return entry is not None and (not entry.ended or bool(entry.fills_missing))

    def _resting(self, key: PositionKey) -> list[Order]:
        """Every stop of ours in this direction, of earlier positions too: after a close nothing may stay on the book
        (STP-16), and what an earlier position left is no protection of this one (STP-10)."""
        live = self._orders.state.live_orders(key.instrument)
        stops = [order for order in live if order.intent.leg is Leg.STOP and order.status is OrderStatus.ACCEPTED]
        return [order for order in stops if order.intent.side is key.side.opposite]
