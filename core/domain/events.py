"""What we concluded. Past tense, frozen, handed to must-consumers in the same step and to may-consumers later."""

from __future__ import annotations

from dataclasses import dataclass

from core.domain.ids import InstrumentId
from core.domain.order import Order
from core.domain.position import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderChanged:
    """An order moved; `before` is None for one that was just registered."""

    before: Order | None
    order: Order

    @property
    def instrument(self) -> InstrumentId:
        return self.order.instrument


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionChanged:
    """A fill opened, grew, shrank or closed a position."""

    position: Position

    @property
    def instrument(self) -> InstrumentId:
        return self.position.instrument


@dataclass(frozen=True, slots=True, kw_only=True)
class Inconsistent:
    """Something told cannot be true beside what is known: reconcile this venue."""

    instrument: InstrumentId
    what: str


Event = OrderChanged | PositionChanged | Inconsistent
