"""Attempts: the numbers of a position's orders, which their names follow from (ORD-04)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from msgspec import Struct

from core.domain.ids import InstrumentId, Leg, PositionId, SignalId
from core.domain.money import Quantity
from core.domain.order import Order, OrderIntent
from core.domain.position import Position
from core.domain.signal import Side

UNNOTED = 8
"""So many orders of one leg of a position in a row may have left while nothing could be written down."""


class Holding(Struct, frozen=True, kw_only=True):
    """A position that an earlier run had, or may have had without writing it down. `quantity`: the most an order of it
    can have been for, base units."""

    id: PositionId
    instrument: InstrumentId
    side: Side
    signal_id: SignalId
    quantity: Quantity
    orders: tuple[Order, ...] = ()
    """Those that were written down."""


def holdings(positions: Iterable[Position], orders: Iterable[Order]) -> list[Holding]:
    """Open `positions`, and what entries may have opened whose fills are not on disk: certainly synced is only what
    somebody waited for, and of these the orders alone."""
    written: defaultdict[PositionId, list[Order]] = defaultdict(list)
    for order in orders:
        written[order.intent.position_id].append(order)
    found: dict[PositionId, Position | OrderIntent] = {position.id: position for position in positions}
    for position_id, mine in written.items():
        live = (o.intent for o in mine if o.intent.leg is Leg.ENTRY and (not o.ended or o.fills_missing))
        if (entry := next(live, None)) is not None:
            found.setdefault(position_id, entry)
    return [_holding(position_id, maker, written[position_id]) for position_id, maker in found.items()]


def _holding(position_id: PositionId, maker: Position | OrderIntent, orders: Sequence[Order]) -> Holding:
    return Holding(
        id=position_id,
        instrument=maker.instrument,
        side=maker.side,
        signal_id=maker.signal_id,
        quantity=max([maker.quantity, *(order.intent.quantity for order in orders)]),
        orders=tuple(orders),
    )


def next_attempt(orders: Iterable[Order], leg: Leg) -> int:
    """The number after the highest used for this leg of a position: a new order, never a re-send of an old one."""
    return 1 + max((order.intent.attempt for order in orders if order.intent.leg is leg), default=-1)


class Attempts:
    """Those of one leg. A run may end before it could write down what it sent: what reduces goes out on a full disk as
    well, and what a row on disk foretells goes out while its own is written. Such a number is given to no other order,
    as its first one may still be on its way."""

    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self._unused_from: dict[PositionId, int] = {}

    def next(self, position: Position, earlier: Iterable[Order]) -> int:
        return max(next_attempt(earlier, self._leg), self._unused_from.get(position.id, 0))

    def unnoted(self, held: Iterable[Holding]) -> list[tuple[Holding, int]]:
        """What may have left for them in an earlier run although no file knows. From now on these numbers are used for
        nothing else."""
        firsts = [(holding, next_attempt(holding.orders, self._leg)) for holding in held]
        self._unused_from = {holding.id: first + UNNOTED for holding, first in firsts}
        return [(holding, first + n) for holding, first in firsts for n in range(UNNOTED)]
