"""StopRemoval: takes stops off the book that protect nothing any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from core.domain.ids import ClientOrderId, VenueName
from core.domain.order import Order
from core.domain.position import PositionKey
from core.engine.order_manager import OrderManager
from core.engine.owned_tasks import TaskOwner
from core.engine.ports import VenueTraits

ENDS_SECONDS = 1.0
"""How long a stop that ends with its position is given to do so, before it is cancelled: a cancel that meets it on its
way out is a refusal for nothing."""


class StopRemoval:
    def __init__(self, *, orders: OrderManager, traits: Callable[[VenueName], VenueTraits]) -> None:
        self._orders = orders
        self._traits = traits
        self._under_way: set[ClientOrderId] = set()

    @property
    def busy(self) -> bool:
        return bool(self._under_way)

    def forget(self) -> None:
        """Whoever owned the cancels has ended, and with it all of them."""
        self._under_way.clear()

    def remove(self, stops: Sequence[Order], owner: TaskOwner | None) -> list[asyncio.Task[None]]:
        """In tasks of their own: a cancel without an answer must not keep the guardian from the next fill.

        One that fails is tried again when something changes there, or by the reconciler.
        """
        tasks = []
        for stop in stops:
            if owner is not None and stop.client_order_id not in self._under_way:
                self._under_way.add(stop.client_order_id)
                name = f"protection/cancel/{stop.client_order_id}"
                tasks.append(owner.create_task(self._remove(stop), name=name))
        return tasks

    async def _remove(self, stop: Order) -> None:
        try:
            key = PositionKey(stop.instrument, stop.intent.side.opposite)
            ends = self._traits(stop.instrument.venue).stops_end_with_position
            if ends and self._orders.state.position(key) is None:
                await self._orders.wait(stop.instrument, lambda: self._ended(stop), ENDS_SECONDS)
            if not self._ended(stop):
                await self._orders.cancel(stop)
        finally:
            self._under_way.discard(stop.client_order_id)

    def _ended(self, stop: Order) -> bool:
        order = self._orders.state.order(stop.client_order_id)
        return order is None or order.ended
