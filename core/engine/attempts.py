"""Attempts: the numbers of a position's orders, which their names follow from (ORD-04)."""

from __future__ import annotations

from collections.abc import Iterable

from core.domain.ids import Leg, PositionId
from core.domain.order import Order
from core.domain.position import Position
from core.engine.holdings import Holding

UNNOTED = 8
"""So many orders of one leg of a position in a row may have left while nothing could be written down."""


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
