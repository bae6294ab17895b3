"""Tightening: moves a confirmed stop closer to the price, without a moment in which nothing rests.

It acts inside the guardian of the position, who alone touches its stop (INV-1). Where the venue amends, the stop is
moved in place; else a new one is placed beside it and confirmed, and the guardian cancels the old one then. Both are
for the whole position and reduce-only: whichever fires first, the other finds nothing to reduce (INV-3).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

import structlog

from core.domain.ids import ClientOrderId, InstrumentId, PositionId, VenueName
from core.domain.instrument import Instrument
from core.domain.money import Price, plain
from core.domain.order import UNACKNOWLEDGED, Order, OrderStatus, TriggerReference
from core.domain.position import Position
from core.domain.protection import StopPlan, crossed
from core.domain.trailing import better
from core.engine.first_step import at_once, in_its_turn
from core.engine.order_manager import OrderManager
from core.engine.owned_tasks import TaskOwner
from core.engine.ports import Rejected, VenueTraits
from core.engine.risk_guard import RiskGuard
from core.engine.stop_orders import MOVED, StopOrders

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 5.0
"""How long the guardian waits for a move; the stop it moves rests meanwhile."""


class Tightened(StrEnum):
    """What became of a wish to move a stop."""

    MOVED = "moved"
    CROSSED = "crossed"
    """The price has reached the level already: the stop was not moved, the position is to be closed."""
    REFUSED = "refused"
    """The venue would not, or did not answer: the stop rests where it was, as far as is known."""
    NEEDLESS = "needless"
    """There is no such position, it has no confirmed stop to move, or one that is as tight."""


@dataclass(slots=True)
class _Wish:
    level: Price
    told: asyncio.Future[Tightened] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def end(self, outcome: Tightened) -> None:
        if not self.told.done():
            self.told.set_result(outcome)


class Tightening:
    def __init__(
        self,
        *,
        orders: OrderManager,
        risk: RiskGuard,
        stop_orders: StopOrders,
        instruments: Mapping[InstrumentId, Instrument],
        reference: Callable[[InstrumentId, TriggerReference], Decimal | None],
        traits: Callable[[VenueName], VenueTraits],
    ) -> None:
        self._orders = orders
        self._risk = risk
        self._stop_orders = stop_orders
        self._instruments = instruments
        self._reference = reference
        self._traits = traits
        self._wishes: dict[PositionId, _Wish] = {}

    def wish(self, position: Position, level: Price) -> asyncio.Future[Tightened]:
        """A newer wish takes the place of one that is not begun; of a position that is gone nothing can be moved."""
        self.forget(position.id)
        wish, held = _Wish(level), self._orders.state.position(position.key)
        if held is None or held.id != position.id:
            wish.end(Tightened.NEEDLESS)
        else:
            self._wishes[position.id] = wish
        return wish.told

    def forget(self, position_id: PositionId) -> None:
        """The position is gone, or has no confirmed stop: there is nothing to move."""
        if (wish := self._wishes.pop(position_id, None)) is not None:
            wish.end(Tightened.NEEDLESS)

    def wished(self, position: Position, stop: Order) -> bool:
        """Whether this confirmed stop is to be moved. Where it is not yet, the name of the next is made meanwhile."""
        wish = self._wishes.get(position.id)
        if wish is None:
            self._stop_orders.expect_another(position, stop)
            return False
        if stop.trigger_price is not None and better(position.side, wish.level, stop.trigger_price):
            return True
        self.forget(position.id)
        return False

    async def carry_out(self, position: Position, stop: Order, tasks: TaskOwner) -> None:
        """Begin the move that is wished for, and wait until it is decided or the position has changed."""
        wish = self._wishes.pop(position.id)
        reference = self._reference(position.instrument, stop.intent.trigger_reference)
        if reference is not None and crossed(position.side, wish.level, reference):
            wish.end(Tightened.CROSSED)
            return
        name = f"protection/tighten/{position.key}"
        if self._traits(position.instrument.venue).amends_stops:
            task = at_once(tasks, self._amend(stop, wish), name)
        else:
            placed = await self._place(position, stop, wish)
            task = in_its_turn(tasks, self._placed(position, stop, placed, wish), name)
        task.add_done_callback(lambda _task: wish.end(Tightened.REFUSED))  # one that is ended before its first step

        def over() -> bool:
            return task.done() or wish.told.done() or self._orders.state.position(position.key) is not position

        await self._orders.wait(position.instrument, over, ANSWER_SECONDS)

    async def _amend(self, stop: Order, wish: _Wish) -> None:
        try:
            refused = await self._orders.amend_stop(
                stop, trigger_price=wish.level, quantity=stop.quantity, tightening=True
            )
            moved = self._orders.state.order(stop.client_order_id)
            if refused is None and moved is not None and moved.trigger_price == wish.level:
                wish.end(Tightened.MOVED)
            else:
                self._say_refused(stop, wish, refused)
        finally:
            wish.end(Tightened.REFUSED)
            self._orders.wake(stop.instrument)

    async def _place(self, position: Position, stop: Order, wish: _Wish) -> ClientOrderId:
        """Another one beside it, in the step in which the guardian has found it worth it: each turn of the loop is one
        in which something else may come first."""
        plan = StopPlan(side=position.side.opposite, quantity=position.quantity, trigger_price=wish.level)
        earlier = self._orders.state.orders_of(position.id)
        intent = self._stop_orders.own(position, plan, stop.intent.trigger_reference, earlier, reason=MOVED)
        try:
            await self._orders.submit([self._risk.approve_reducing(intent)], tightening=True)
        except BaseException:
            wish.end(Tightened.REFUSED)
            raise
        return intent.client_order_id

    async def _placed(self, position: Position, stop: Order, name: ClientOrderId, wish: _Wish) -> None:
        def decided() -> bool:
            order = self._orders.state.order(name)
            return order is None or order.status not in UNACKNOWLEDGED

        try:
            await self._orders.wait(position.instrument, decided, ANSWER_SECONDS)
            placed = self._orders.state.order(name)
            if placed is not None and placed.status is OrderStatus.ACCEPTED:
                wish.end(Tightened.MOVED)
            else:
                self._say_refused(stop, wish, self._orders.rejection(name))
        finally:
            wish.end(Tightened.REFUSED)
            self._orders.wake(position.instrument)

    def _say_refused(self, stop: Order, wish: _Wish, refused: Rejected | None) -> None:
        why = "no answer" if refused is None else f"{refused.code} {refused.detail}"
        log.warning("protection.not_moved", stop=stop.client_order_id, to=plain(wish.level), why=why)
        wish.end(Tightened.CROSSED if refused is not None and refused.would_trigger else Tightened.REFUSED)
