"""Holdings: what an earlier run had open, or may have had without writing it down."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from msgspec import Struct

from core.domain.ids import InstrumentId, Leg, PositionId, SignalId
from core.domain.money import Quantity
from core.domain.order import Order, OrderIntent
from core.domain.position import Position
from core.domain.signal import Side


class Holding(Struct, frozen=True, kw_only=True):
    """One position. `quantity`: the most an order of it can have been for, base units."""

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
