"""NativeTrailing: the venue's own trailing order beside the fixed stop of each position (`TRAILING_MODE=native`).

One task per position, and only it touches that position's trailing order. It makes the venue agree with one sentence:
beside a confirmed stop rests exactly one trailing order of exactly the position's quantity, and none without one. A new
order is confirmed before the old one is cancelled; both can only reduce. The stop is the guardian's and stays as it is.

A venue that will not have such an order is believed: that position is trailed by us instead, and people are told once.
A new order, after a part of the position was closed or after a restart without one, counts its callback from the price
at that moment: until the price makes a new best it may lie further away than the one before. The stop does not.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial

import structlog

from core.domain.alerts import AlertKind
from core.domain.events import Event, OrderChanged, PositionChanged
from core.domain.exits import ExitRules, rules_for
from core.domain.ids import CLOSES_ALL, ClientOrderId, InstrumentId, Leg, PositionId, VenueName, client_order_id
from core.domain.instrument import Instrument
from core.domain.money import Price, plain
from core.domain.order import UNACKNOWLEDGED, Order, OrderIntent, OrderStatus, OrderType, TriggerReference
from core.domain.position import Position, PositionKey
from core.domain.protection import covers, is_dust
from core.domain.signal import Side
from core.domain.trailing import TrailingRules, away, reached
from core.engine.attempts import next_attempt
from core.engine.bookkeeping import Bookkeeper
from core.engine.order_manager import OrderManager
from core.engine.ports import About, Level, Notifier, VenueTraits
from core.engine.protection_manager import ProtectionManager
from core.engine.risk_guard import RiskGuard

log = structlog.get_logger(__name__)

LOOK_SECONDS = 5.0
"""How often every position is looked at without an event: what a price or an answer was missing for is tried again."""
SETTLE_SECONDS = 1.0
"""After a trailing order ended by itself: mostly its position has too, and that is told with it."""
MOST_CROSSED = 3
"""Refusals because the price had come to the activation meanwhile, before the order follows from the start."""
MOST_LOST = 5
"""Trailing orders of one position that ended by themselves, before we trail it."""

Reference = Callable[[InstrumentId, TriggerReference], Decimal | None]


class NativeTrailing:
    def __init__(
        self,
        *,
        rules: ExitRules,
        manages_external: bool,
        accounts: Mapping[VenueName, str],
        orders: OrderManager,
        protection: ProtectionManager,
        risk: RiskGuard,
        instruments: Mapping[InstrumentId, Instrument],
        reference: Reference,
        working_type: TriggerReference,
        traits: Callable[[VenueName], VenueTraits],
        books: Bookkeeper,
        notifier: Notifier,
    ) -> None:
        """`rules` are those of a position whose signal asked for nothing. `manages_external`: positions that somebody
        else opened are trailed too."""
        self._rules = rules
        self._manages_external = manages_external
        self._accounts = accounts
        self._orders = orders
        self._protection = protection
        self._risk = risk
        self._instruments = instruments
        self._reference = reference
        self._working_type = working_type
        self._traits = traits
        self._books = books
        self._notifier = notifier
        self._ours: set[PositionId] = set()
        """Positions that we trail ourselves: their venue has no trailing order for them."""
        self._lost: Counter[PositionId] = Counter()
        self._tending: dict[PositionKey, asyncio.Task[None]] = {}
        self._again: set[PositionKey] = set()
        self._cancelling: set[ClientOrderId] = set()
        self._tasks: asyncio.TaskGroup | None = None

    def trails(self, position_id: PositionId) -> bool:
        """Whether the venue trails this position, or is about to; False = it is for the exit rules to do."""
        return position_id not in self._ours

    @property
    def busy(self) -> bool:
        """Whether a trailing order is being placed or cancelled now."""
        return bool(self._cancelling) or any(not task.done() for task in self._tending.values())

    async def run(self) -> None:
        """Until cancelled; what rests stays on the venue."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._cancelling.clear()  # of a run before this one nobody goes on
            try:
                while True:
                    for position in self._orders.state.positions():
                        self._note(position)
                    for key in self._all():
                        self._tend(key)
                    await asyncio.sleep(LOOK_SECONDS)
            finally:
                self._tasks = None  # events come until it is started again, and must not find an ended owner

    def on_events(self, events: Sequence[Event]) -> None:
        """Must-consumer, after the protection: every change of a position, of its stop or of its trailing order."""
        for event in events:
            if isinstance(event, PositionChanged):
                self._note(event.position)
                self._tend(event.position.key)
            elif isinstance(event, OrderChanged) and event.order.intent.leg in (Leg.STOP, Leg.TRAIL):
                self._count_lost(event.before, event.order)
                self._tend(PositionKey(event.order.instrument, event.order.intent.side.opposite))

    def _all(self) -> set[PositionKey]:
        state = self._orders.state
        resting = [order for order in state.all_live_orders() if order.intent.leg is Leg.TRAIL]
        left = {PositionKey(order.instrument, order.intent.side.opposite) for order in resting}
        return left | {position.key for position in state.positions()}

    def _note(self, position: Position) -> None:
        if not position.open:
            self._ours.discard(position.id)
            self._lost.pop(position.id, None)
        elif not self._traits(position.instrument.venue).native_trailing:
            self._ours.add(position.id)

    def _count_lost(self, before: Order | None, order: Order) -> None:
        by_itself = order.status in (OrderStatus.CANCELED, OrderStatus.EXPIRED) and not order.filled
        position = self._orders.state.position(PositionKey(order.instrument, order.intent.side.opposite))
        if order.intent.leg is not Leg.TRAIL or position is None or position.id != order.intent.position_id:
            return
        news = before is None or not before.ended
        if by_itself and news and order.client_order_id not in self._cancelling:
            self._lost[position.id] += 1

    def _tend(self, key: PositionKey) -> None:
        running = self._tending.get(key)
        if running is not None and not running.done():
            self._again.add(key)
        elif self._tasks is not None:
            self._tending[key] = self._tasks.create_task(self._look(key), name=f"native-trailing/{key}")

    async def _look(self, key: PositionKey) -> None:
        """As often as something has changed meanwhile."""
        while True:
            self._again.discard(key)
            await self._once(key)
            if key not in self._again:
                break
        if self._orders.state.position(key) is None:
            self._tending.pop(key, None)

    async def _once(self, key: PositionKey) -> None:
        position = self._orders.state.position(key)
        if position is None:
            self._leave(key)
            return
        rules = self._rules_of(position)
        if rules is None or not self.trails(position.id):
            self._cancel(self._resting(key))
            return
        if not self._may_have_one(position):
            return
        mine = self._orders.state.orders_of(position.id, Leg.TRAIL)
        live = [order for order in mine if not order.ended]
        exact = next((o for o in reversed(live) if o.status is OrderStatus.ACCEPTED and covers(o, position)), None)
        if exact is not None:
            self._cancel([order for order in self._resting(key) if order is not exact])
        elif not any(order.status in UNACKNOWLEDGED or _fired(order) for order in live):
            await self._place(position, rules, mine)

    def _may_have_one(self, position: Position) -> bool:
        """Not before its stop is confirmed, not while it is being closed, and not of what is less than one order."""
        instrument = self._instruments.get(position.instrument)
        if instrument is None or is_dust(position, instrument):
            return False
        state = self._orders.state
        closes = [order for leg in CLOSES_ALL for order in state.orders_of(position.id, leg)]
        return self._protection.covered(position.key) and all(order.ended for order in closes)

    def _rules_of(self, position: Position) -> TrailingRules | None:
        if not position.signal_id and not self._manages_external:
            return None
        return rules_for(position, self._rules).trailing

    async def _place(self, position: Position, rules: TrailingRules, earlier: list[Order]) -> None:
        if not await self._worth_another(position, earlier):
            return
        price = self._reference(position.instrument, self._working_type)
        if price is None:
            return  # the next look may know one
        crossed = _refused_in_a_row(earlier, partial(self._refused_about, About.WOULD_TRIGGER))
        intent = self._intent(position, rules, Price(price), earlier, at_once=crossed > 0)
        log.info(
            "trailing.native",
            position=str(position.key),
            client_order_id=intent.client_order_id,
            activation="at once" if intent.trigger_price is None else plain(intent.trigger_price),
            callback_percent=plain(rules.callback_percent),
        )
        await self._orders.submit([self._risk.approve_reducing(intent)], tightening=True)

    async def _worth_another(self, position: Position, earlier: list[Order]) -> bool:
        """Whether the venue may still be asked for one; where it may not, the position is ours from now on."""
        last = earlier[-1] if earlier else None
        if last is None or last.status is OrderStatus.ABSENT:
            return True
        if last.status is OrderStatus.REJECTED:
            return await self._after_refusal(position, last, earlier)
        if last.ended and self._lost[position.id]:
            await self._orders.wait(position.instrument, partial(self._is_another, position), SETTLE_SECONDS)
            if self._is_another(position):
                return False
        if self._lost[position.id] >= MOST_LOST:
            self._take_over(position, f"{MOST_LOST} trailing orders of it ended by themselves")
            return False
        return True

    async def _after_refusal(self, position: Position, last: Order, earlier: list[Order]) -> bool:
        rejection = self._orders.rejection(last.client_order_id)
        about = About.OTHER if rejection is None else rejection.about
        if about in (About.UNREACHED, About.WITHHELD, About.NOTHING_TO_REDUCE):
            await self._orders.wait(position.instrument, partial(self._is_another, position), LOOK_SECONDS)
            return not self._is_another(position)
        crossed = _refused_in_a_row(earlier, partial(self._refused_about, About.WOULD_TRIGGER))
        if 0 < crossed < MOST_CROSSED:
            return True
        why = "" if rejection is None else f" ({' '.join(filter(None, (rejection.code, rejection.detail)))})"
        self._take_over(position, f"{position.instrument.venue} refuses its trailing order{why}")
        return False

    def _refused_about(self, about: About, order: Order) -> bool:
        rejection = self._orders.rejection(order.client_order_id)
        return rejection is not None and rejection.about is about

    def _is_another(self, seen: Position) -> bool:
        return self._orders.state.position(seen.key) is not seen

    def _take_over(self, position: Position, why: str) -> None:
        """Told once: from now on the exit rules move its stop."""
        self._ours.add(position.id)
        self._books.note("trailing_fallback", {"position_id": position.id, "why": why})
        log.warning("trailing.fallback", position=str(position.key), why=why)
        text = f"{position.key}: {why}; its stop is moved by the daemon instead"
        self._notifier.notify(Level.WARNING, text, kind=AlertKind.TRAILING)
        self._cancel(self._resting(position.key))

    def _intent(
        self, position: Position, rules: TrailingRules, price: Price, earlier: list[Order], *, at_once: bool
    ) -> OrderIntent:
        instrument, venue = self._instruments[position.instrument], position.instrument.venue
        start = away(position.side, position.entry_price, rules.activation_percent)
        rising = position.side is Side.BUY
        level = instrument.round_price_up(start) if rising else instrument.round_price_down(start)
        follows = at_once or reached(position.side, price, level)
        attempt = next_attempt(earlier, Leg.TRAIL)
        return OrderIntent(
            client_order_id=client_order_id(self._accounts[venue], position.id, Leg.TRAIL, attempt),
            instrument=position.instrument,
            leg=Leg.TRAIL,
            attempt=attempt,
            signal_id=position.signal_id,
            position_id=position.id,
            side=position.side.opposite,
            type=OrderType.TRAILING_STOP,
            quantity=position.quantity,
            reduce_only=True,
            trigger_price=None if follows else level,
            trigger_reference=self._working_type,
            decision_price=price,
            trailing_callback_percent=rules.callback_percent,
            whole_position=self._traits(venue).whole_position_stops,
        )

    def _leave(self, key: PositionKey) -> None:
        """Its position is gone. What belongs to a position as a whole goes with it at the venue, and a cancel could
        only meet the next one."""
        self._cancel([order for order in self._resting(key) if not order.intent.whole_position])

    def _resting(self, key: PositionKey) -> list[Order]:
        """Every trailing order of ours in this direction, of earlier positions too."""
        live = self._orders.state.live_orders(key.instrument)
        trails = [o for o in live if o.intent.leg is Leg.TRAIL and o.status is OrderStatus.ACCEPTED]
        return [order for order in trails if order.intent.side is key.side.opposite]

    def _cancel(self, trails: Sequence[Order]) -> None:
        """In tasks of their own, so that one without an answer holds up nothing; tried again at the next look."""
        for trail in trails:
            if self._tasks is not None and trail.client_order_id not in self._cancelling:
                self._cancelling.add(trail.client_order_id)
                name = f"native-trailing/cancel/{trail.client_order_id}"
                self._tasks.create_task(self._cancel_one(trail), name=name)

    async def _cancel_one(self, trail: Order) -> None:
        try:
            await self._orders.cancel(trail)
        finally:
            self._cancelling.discard(trail.client_order_id)


def _fired(order: Order) -> bool:
    return order.status in (OrderStatus.TRIGGERED, OrderStatus.PARTIALLY_FILLED)


def _refused_in_a_row(orders: Sequence[Order], counts: Callable[[Order], bool]) -> int:
    """How many of the last ones were refused for that."""
    number = 0
    for order in reversed(orders):
        if order.status is not OrderStatus.REJECTED or not counts(order):
            break
        number += 1
    return number
