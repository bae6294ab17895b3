"""A true venue whose stops travel with their entries, can be moved, and may belong to the position as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from random import Random

from core.clock import Clock
from core.domain.instrument import Instrument
from core.domain.money import Price, Quantity
from core.domain.order import Order, OrderIntent, OrderStatus
from core.domain.position import PositionKey
from core.domain.reports import Origin, Report, Source
from core.engine.ports import About, Accepted, Attach, Departure, Outcome, Rejected, Unknown, VenueTraits
from tests.fakes.true_venue import TrueOrder, TrueVenue

S = OrderStatus
PRICES = ("99.6", "100", "100", "100.5")
NEVER_MADE = 0.05
"""Share of attached stops that the venue took and does not make."""


class AttachingVenue(TrueVenue):
    def __init__(
        self,
        instruments: Sequence[Instrument],
        clock: Clock,
        chance: Random,
        post: Callable[[Sequence[Report]], None],
        *,
        hedge: bool,
        traits: VenueTraits,
    ) -> None:
        super().__init__(instruments, clock, chance, post, hedge=hedge)
        self.traits = traits
        self._attached: dict[str, OrderIntent] = {}
        self.amended: list[tuple[str, Price | None, Price]] = []
        """Id, from, to."""
        self._slots: dict[PositionKey, TrueOrder] = {}
        """The one stop of each position, where a venue has them."""

    async def submit(self, departure: Departure) -> Outcome:
        entry, stop = departure.intent.client_order_id, departure.stop
        if stop is not None:
            self._attached[entry] = stop
        try:
            return await super().submit(departure)
        finally:
            if stop is not None and entry in self.sent:
                self.sent.append(stop.client_order_id)

    def _take(self, intent: OrderIntent) -> TrueOrder:
        if not intent.reduce_only and not self.prices:
            self.price = Decimal(self._chance.choice(PRICES))
        order = super()._take(intent)
        if intent.whole_position:
            self._seat(order)
        return order

    def _seat(self, stop: TrueOrder) -> None:
        held, older = self.held.get(stop.key), self._slots.get(stop.key)
        if not held:
            self.end(stop, S.REJECTED)
            return
        stop.quantity = held
        self._slots[stop.key] = stop
        if older is not None and older.waiting:
            self.end(older, S.CANCELED)

    def _set(self, key: PositionKey, quantity: Decimal, now: int) -> None:
        super()._set(key, quantity, now)
        stop = self._slots.get(key)
        if stop is not None and stop.waiting:
            if quantity:
                stop.quantity = quantity
            else:
                self.end(stop, S.CANCELED)

    def trade(self, order: TrueOrder, amount: Decimal, origin: Origin = Origin.ORDER) -> None:
        super().trade(order, amount, origin)
        made = order.filled and (self.traits.attach is Attach.FIRST_FILL or order.status is S.FILLED)
        if made and (stop := self._attached.pop(order.client_order_id, None)) and not self._hits(NEVER_MADE):
            self._take(stop)

    def move(self, stop: TrueOrder, level: Price, quantity: Decimal | None = None) -> None:
        """By an amendment, or by the owner's hand."""
        stop.trigger, stop.changed_ms = level, self._clock.now_ms()
        if quantity is not None:
            stop.quantity = quantity
        self._tell([self.status(stop, Source.STREAM)])

    async def amend_stop(
        self, order: Order, *, trigger_price: Price, quantity: Quantity, tightening: bool = False
    ) -> Outcome:
        unclear = self._hits(self.weather.unclear)
        arrives = not unclear or self._hits(0.5)
        await self._half_way()
        known = self.orders.get(order.client_order_id)
        refused = known is None or not known.waiting or self._hits(self.weather.refused)
        if not refused and self.beyond(order.instrument, order.intent.side, trigger_price):
            self.too_late.append(order.client_order_id)
            return Rejected(code="late", detail="would trigger at once", about=About.WOULD_TRIGGER)
        if arrives and not refused and known is not None:
            self.amended.append((known.client_order_id, known.trigger, trigger_price))
            self.move(known, trigger_price, None if order.intent.whole_position else quantity)
        told = () if known is None else (self.status(known, Source.REST),)
        await self._half_way()
        if unclear:
            return Unknown(cause="time-out")
        return Rejected(code="gone", detail="no such stop") if refused else Accepted(reports=told)
