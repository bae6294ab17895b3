"""Whose the stops of positions are. The venue has one stop loss per position, and it carries no name of ours.

A position (contract and position index) is a slot. A stop of ours is expected in it before its request leaves; the
first resting stop the venue tells of there becomes it, and from then on the venue's order id is its name. Setting a
stop anew replaces the one before, under the same order id or under another: both happen. What rests in the slot of a
stop of ours is that stop, wherever somebody has moved it, until another stop of ours takes the slot or it ends.

A position also has one trailing stop, without a name either: `trails` keeps these in the same way. They stand where the
price has taken them, so that they are known by their slot and time alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from msgspec import Struct

from core.domain.ids import ClientOrderId, InstrumentId, VenueOrderId
from core.domain.money import ZERO, Price
from core.domain.order import UNACKNOWLEDGED, Order, OrderIntent, OrderStatus, OrderType
from core.domain.signal import Side
from core.venues.bybit.modes import PositionModes

REMEMBERED = 2_000
"""Stops whose order ids are known, for trades and rows that are told late."""

CLOCK_SLACK_MS = 2_000
"""Our reckoning of the venue's clock is no better than this at worst."""

Slot = tuple[InstrumentId, int]


class Stage(Enum):
    """Where a stop is, as a row of the venue tells it."""

    RESTING = "resting"
    FIRED = "fired"
    ENDED = "ended"


class StopSeen(Struct, frozen=True, kw_only=True):
    """A row about a stop loss of a whole position. `entry` is the order it came with, "" when the venue does not say;
    `time_ms` the venue's; `moved`: it was ended to be set anew, or by somebody's hand, and not with its position."""

    venue_order_id: VenueOrderId
    instrument: InstrumentId
    index: int
    side: Side
    level: Price | None
    entry: str
    time_ms: int
    stage: Stage
    moved: bool = False


@dataclass(slots=True, eq=False)
class OwnStop:
    """One of ours. `index` is its slot's, None before it has one. `before`: the one that was expected in its slot when
    it came. `moving`: an amendment is under way. `over`: it ended, or another of ours took its place.

    Times are the venue's: `since_ms` before which it cannot have been there, `taken_ms` when it took the request,
    `moved_ms` when it took the last amendment, None before.
    """

    intent: OrderIntent
    level: Price
    since_ms: int
    index: int | None = None
    venue_order_id: VenueOrderId | None = None
    taken_ms: int | None = None
    moved_ms: int | None = None
    moving: bool = False
    over: bool = False
    before: OwnStop | None = None

    @property
    def client_order_id(self) -> ClientOrderId:
        return self.intent.client_order_id


@dataclass(slots=True, eq=False)
class _Place:
    """`owner` rests there, as far as we know; `expected` was asked for after it and has not been seen."""

    owner: OwnStop | None = None
    expected: OwnStop | None = None


class Named(Struct, frozen=True, kw_only=True):
    """What a row turned out to be: the stop of ours, "" for others. `replaced`: whose place it has just taken."""

    client_order_id: ClientOrderId
    replaced: OwnStop | None = None


class PositionStops:
    trails: PositionStops

    def __init__(self, modes: PositionModes, kind: OrderType = OrderType.STOP_MARKET) -> None:
        self._modes, self._kind = modes, kind
        self.trails = self if kind is OrderType.TRAILING_STOP else PositionStops(modes, OrderType.TRAILING_STOP)
        self._places: dict[Slot, _Place] = {}
        self._by_client_id: dict[ClientOrderId, OwnStop] = {}
        self._by_venue_id: OrderedDict[VenueOrderId, OwnStop] = OrderedDict()
        self._by_entry: dict[ClientOrderId, OwnStop] = {}
        self._unseated: list[Order] = []

    # --- ours -------------------------------------------------------------------------------------------------------

    def of(self, intent: OrderIntent) -> PositionStops:
        """Where an order like this one is kept."""
        return self.trails if intent.type is OrderType.TRAILING_STOP else self

    def expect(self, intent: OrderIntent, now_ms: int) -> None:
        """A stop that is about to be sent at this time of the venue, on its own or along with an entry. Raises
        ValueError without a level."""
        if intent.trigger_price is None and self is not self.trails:
            raise ValueError(f"{intent.client_order_id}: a stop without a trigger price")
        if intent.client_order_id not in self._by_client_id:
            level = intent.trigger_price or Price(ZERO)
            self._seat(OwnStop(intent=intent, level=level, since_ms=now_ms - CLOCK_SLACK_MS))

    def taken(self, client_order_id: ClientOrderId, venue_ms: int, *, stood: bool = False) -> None:
        """The venue took the request at this time of its own: what it tells of the slot from then on is this stop.
        `stood`: a stop at its level rested there before, whoever set it, and is this stop from now on."""
        if (stop := self._by_client_id.get(client_order_id)) is not None:
            stop.taken_ms = venue_ms
            if stood:
                stop.since_ms = 0

    def refused(self, client_order_id: ClientOrderId) -> None:
        """It never came to be."""
        stop = self._by_client_id.get(client_order_id)
        if stop is None or stop.venue_order_id is not None:
            return
        place = self._place(stop)
        restored = stop.before if place.expected is stop else None
        self._forget(stop)
        if restored is not None and not restored.over and restored.venue_order_id is None:
            self._seat(restored)

    def recall(self, orders: Sequence[Order]) -> None:
        """Stops from before a restart, oldest first; of several in one slot the newest is the one that can rest. Until
        the account's mode is known they wait (`seat_recalled`)."""
        if self.trails is not self:
            self.trails.recall(orders)
        self._unseated += [o for o in orders if o.intent.type is self._kind and not o.ended]
        for order in self._unseated:
            if order.venue_order_id is not None and order.venue_order_id not in self._by_venue_id:
                self._bind(self._remembered(order), order.venue_order_id)
        if self._modes.known:
            self.seat_recalled()

    def seat_recalled(self) -> None:
        """The slots of those recalled, now that the account's mode is known."""
        if self.trails is not self:
            self.trails.seat_recalled()
        orders, self._unseated = self._unseated, []
        for order in orders:
            if order.client_order_id in self._by_client_id:
                continue
            stop = self._remembered(order)
            if order.status is OrderStatus.ACCEPTED or order.status in UNACKNOWLEDGED:
                self._seat(stop)
            else:
                self._by_client_id[stop.client_order_id] = stop

    def _remembered(self, order: Order) -> OwnStop:
        known = None if order.venue_order_id is None else self._by_venue_id.get(order.venue_order_id)
        return known or OwnStop(
            intent=order.intent, level=order.trigger_price or Price(ZERO), since_ms=order.venue_time_ms
        )

    def own(self, client_order_id: ClientOrderId) -> OwnStop | None:
        """Also one that is over, for as long as its order id is remembered; None for what was never ours."""
        return self._by_client_id.get(client_order_id)

    def owns_slot(self, stop: OwnStop) -> bool:
        """Whether what rests in its slot is this stop, or will be; one that was replaced by another owns nothing."""
        place = self._place(stop)
        return not stop.over and stop is (place.owner or place.expected)

    def move(self, stop: OwnStop, level: Price) -> None:
        """An amendment is about to be sent."""
        stop.moving, stop.level = True, level

    def moved(self, stop: OwnStop, venue_ms: int | None) -> None:
        """The amendment is over; the venue took it at this time, None = it did not, or nobody knows."""
        stop.moving = False
        if venue_ms is not None:
            stop.moved_ms = venue_ms

    def ended(self, stop: OwnStop) -> None:
        """It is no more, by our own doing or by the venue's word."""
        self._forget(stop)

    def entry_ended_unfilled(self, entry: ClientOrderId) -> OwnStop | None:
        """The stop that came with an entry which bought nothing: it never comes to be."""
        stop = self._by_entry.get(entry)
        if stop is None or stop.over or stop.venue_order_id is not None:
            return None
        self._forget(stop)
        return stop

    def name_of(self, venue_order_id: str) -> ClientOrderId:
        """Our name of an order that may be a stop of ours; "" for others."""
        stop = self._by_venue_id.get(VenueOrderId(venue_order_id))
        stop = stop or self.trails._by_venue_id.get(VenueOrderId(venue_order_id))  # noqa: SLF001 - of the same class
        return ClientOrderId("") if stop is None else stop.client_order_id

    # --- the venue's ------------------------------------------------------------------------------------------------

    def recognise(self, seen: StopSeen) -> Named | None:
        """None: the row is about an order id that a stop of ours has left, so it tells nothing."""
        known = self._by_venue_id.get(seen.venue_order_id)
        if known is not None and known.venue_order_id != seen.venue_order_id:
            return None if seen.stage is Stage.ENDED else Named(client_order_id=known.client_order_id)
        if seen.stage is Stage.RESTING:
            return self._resting(seen, known)
        if known is None:
            known = self._fired_unseen(seen)
            if known is None:
                return Named(client_order_id=ClientOrderId(""))
        if seen.stage is Stage.ENDED:
            if seen.moved and _being_moved(known, seen):
                known.venue_order_id = None  # its successor comes under another id
                return None
            self._forget(known)
        else:
            self._vacate(known)
        return Named(client_order_id=known.client_order_id)

    def _resting(self, seen: StopSeen, known: OwnStop | None) -> Named:
        place = self._places.get((seen.instrument, seen.index))
        expected = None if place is None else place.expected
        if place is not None and expected is not None and _is_it(expected, seen, vacant=place.owner is None):
            replaced, place.owner, place.expected = place.owner, expected, None
            self._bind(expected, seen.venue_order_id)
            expected.level = seen.level or expected.level
            expected.before = None
            if replaced is not None:
                replaced.over = True
            return Named(client_order_id=expected.client_order_id, replaced=replaced)
        if known is None and place is not None and place.owner is not None and place.owner.intent.side is seen.side:
            known = place.owner
            self._bind(known, seen.venue_order_id)
        if known is None:
            return Named(client_order_id=ClientOrderId(""))
        known.level = seen.level or known.level
        return Named(client_order_id=known.client_order_id)

    def _fired_unseen(self, seen: StopSeen) -> OwnStop | None:
        """A stop of ours that fired, or ended, before it was ever told as resting."""
        place = self._places.get((seen.instrument, seen.index))
        stop = None if place is None else place.expected
        if place is None or stop is None or not _is_it(stop, seen, vacant=place.owner is None):
            return None
        self._bind(stop, seen.venue_order_id)
        return stop

    # --- places -----------------------------------------------------------------------------------------------------

    def _place(self, stop: OwnStop) -> _Place:
        """The slot is decided when it is first needed: before the venue has been asked its mode is not known."""
        if stop.index is None:
            stop.index = self._modes.index(stop.intent.instrument, stop.intent.side.opposite)
        return self._places.setdefault((stop.intent.instrument, stop.index), _Place())

    def _seat(self, stop: OwnStop) -> None:
        self._by_client_id[stop.client_order_id] = stop
        if stop.intent.attached_to is not None:
            self._by_entry[stop.intent.attached_to] = stop
        place = self._place(stop)
        if stop.venue_order_id is None:
            stop.before = place.expected if place.expected is not stop else stop.before
            place.expected = stop
        else:
            place.owner = stop

    def _vacate(self, stop: OwnStop) -> None:
        place = self._place(stop)
        if place.owner is stop:
            place.owner = None
        if place.expected is stop:
            place.expected = None

    def _forget(self, stop: OwnStop) -> None:
        """Its order ids stay known, for what is told late."""
        self._vacate(stop)
        stop.over = True
        if stop.venue_order_id is None:
            self._by_client_id.pop(stop.client_order_id, None)
        if stop.intent.attached_to is not None:
            self._by_entry.pop(stop.intent.attached_to, None)

    def _bind(self, stop: OwnStop, venue_order_id: VenueOrderId) -> None:
        stop.venue_order_id = venue_order_id
        self._by_venue_id[venue_order_id] = stop
        self._by_venue_id.move_to_end(venue_order_id)
        if len(self._by_venue_id) > REMEMBERED:
            oldest, other = self._by_venue_id.popitem(last=False)
            if not other.over:
                self._by_venue_id[oldest] = other
            elif other.venue_order_id == oldest:
                self._by_client_id.pop(other.client_order_id, None)


def _being_moved(stop: OwnStop, seen: StopSeen) -> bool:
    """Whether an amendment of ours explains the end of its order id."""
    return stop.moving or (stop.moved_ms is not None and seen.time_ms <= stop.moved_ms)


def _is_it(stop: OwnStop, seen: StopSeen, *, vacant: bool) -> bool:
    """Whether a row is about the stop that is expected in its slot: by the entry it came with, by its level, or because
    the venue had taken it by then. An attached one comes only with a fill of its entry, so that until then what rests
    there goes on to be told."""
    if seen.side is not stop.intent.side or seen.time_ms < stop.since_ms:
        return False
    if stop.intent.type is OrderType.TRAILING_STOP:
        return True
    if seen.entry and seen.entry == stop.intent.attached_to:
        return True
    if seen.level == stop.level:
        return True
    taken = stop.taken_ms is not None and seen.time_ms >= stop.taken_ms
    return taken and (vacant or stop.intent.attached_to is None)
