"""Stops as orders: which one travels with an entry, which one a position gets of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

from core.domain.ids import InstrumentId, Leg, VenueName, client_order_id
from core.domain.instrument import Instrument
from core.domain.money import Price, Quantity
from core.domain.order import UNACKNOWLEDGED, Order, OrderIntent, OrderStatus, OrderType, TriggerReference
from core.domain.position import Position
from core.domain.protection import StopPlan, crossed, provisional_level
from core.engine.attempts import Attempts
from core.engine.holdings import Holding
from core.engine.ports import Attach, VenueTraits

MOVED = "closer to the price"
"""The reason of a stop that is placed beside one that rests, to take its place."""


def refusals(orders: Sequence[Order]) -> int:
    """How many stops the venue refused since the last one it confirmed, of a position's orders, oldest first. A move it
    refused took no protection away."""
    refused = 0
    for order in orders:
        if order.intent.leg is not Leg.STOP or (order.status is OrderStatus.REJECTED and order.intent.reason == MOVED):
            continue
        if order.status is OrderStatus.REJECTED:
            refused += 1
        elif order.status not in UNACKNOWLEDGED and order.status is not OrderStatus.ABSENT:
            refused = 0
    return refused


class StopOrders:
    """Makes intents; sends nothing. `reference` is the price that fires a stop, None where it is not known."""

    def __init__(
        self,
        *,
        accounts: Mapping[VenueName, str],
        instruments: Mapping[InstrumentId, Instrument],
        traits: Callable[[VenueName], VenueTraits],
        reference: Callable[[InstrumentId, TriggerReference], Decimal | None],
        working_type: TriggerReference,
    ) -> None:
        self._accounts = accounts
        self._instruments = instruments
        self._traits = traits
        self._reference = reference
        self._working_type = working_type
        self._attempts = Attempts(Leg.STOP)

    def attached(self, entry: OrderIntent) -> OrderIntent | None:
        """The stop that travels with an entry, where its venue takes one; at a level the market has not reached."""
        traits, instrument = self._traits(entry.instrument.venue), self._instruments[entry.instrument]
        level = None if traits.attach is Attach.NEVER else provisional_level(entry, instrument)
        reference = self._reference(entry.instrument, self._working_type)
        if level is None or (reference is not None and crossed(entry.side, level, reference)):
            return None
        account = self._accounts[entry.instrument.venue]
        return OrderIntent(
            client_order_id=client_order_id(account, entry.position_id, Leg.STOP, 0),
            instrument=entry.instrument,
            leg=Leg.STOP,
            attempt=0,
            signal_id=entry.signal_id,
            position_id=entry.position_id,
            side=entry.side.opposite,
            type=OrderType.STOP_MARKET,
            quantity=entry.quantity,
            reduce_only=True,
            trigger_price=level,
            trigger_reference=self._working_type,
            attached_to=entry.client_order_id,
            whole_position=traits.whole_position_stops,
        )

    def own(
        self,
        position: Position,
        stop: StopPlan,
        trigger: TriggerReference,
        earlier: Sequence[Order],
        *,
        reason: str = "",
    ) -> OrderIntent:
        """One of the position's own, after those `earlier` ones."""
        attempt = self._attempts.next(position, earlier)
        return self._numbered(position, attempt, stop.quantity, stop.trigger_price, trigger, reason)

    def expect_another(self, position: Position, stop: Order) -> None:
        """The name of the one after `stop` is worked out (and remembered) now: a move is in a hurry, this is not."""
        client_order_id(self._accounts[stop.instrument.venue], position.id, Leg.STOP, stop.intent.attempt + 1)

    def unnoted(self, held: Iterable[Holding]) -> list[OrderIntent]:
        """What may rest for them, or still be on its way, although no file knows (`Attempts`); the level is the
        venue's to tell."""
        return [
            self._numbered(holding, attempt, holding.quantity, None, self._working_type, "")
            for holding, attempt in self._attempts.unnoted(held)
        ]

    def _numbered(
        self,
        position: Position | Holding,
        attempt: int,
        quantity: Quantity,
        level: Price | None,
        trigger: TriggerReference,
        reason: str,
    ) -> OrderIntent:
        venue = position.instrument.venue
        return OrderIntent(
            client_order_id=client_order_id(self._accounts[venue], position.id, Leg.STOP, attempt),
            instrument=position.instrument,
            leg=Leg.STOP,
            attempt=attempt,
            signal_id=position.signal_id,
            position_id=position.id,
            side=position.side.opposite,
            type=OrderType.STOP_MARKET,
            quantity=quantity,
            reduce_only=True,
            trigger_price=level,
            trigger_reference=trigger,
            reason=reason,
            whole_position=self._traits(venue).whole_position_stops,
        )
