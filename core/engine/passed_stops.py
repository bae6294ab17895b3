"""PassedStops: the price stands beyond a stop, and the position lives, whatever the venue's trigger does (STP-18)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

import structlog

from core.clock import Clock
from core.domain.ids import InstrumentId, PositionId
from core.domain.order import TriggerReference
from core.domain.position import Position
from core.domain.protection import crossed
from core.engine.closer import Closer
from core.engine.order_manager import OrderManager
from core.engine.ports import Level, Notifier
from core.engine.protection_manager import ProtectionManager

log = structlog.get_logger(__name__)

LOOK_EVERY_SECONDS = 0.5
PATIENCE_SECONDS = 3.0
"""How long a stop may be passed without acting before its position is closed at market."""


class PassedStops:
    """Looks at every protected position twice a second; one that outlived its stop is flattened, once."""

    def __init__(
        self,
        *,
        orders: OrderManager,
        protection: ProtectionManager,
        closer: Closer,
        reference: Callable[[InstrumentId, TriggerReference], Decimal | None],
        clock: Clock,
        notifier: Notifier,
    ) -> None:
        self._orders = orders
        self._protection = protection
        self._closer = closer
        self._reference = reference
        self._clock = clock
        self._notifier = notifier
        self._passed: dict[PositionId, float] = {}
        self._flattened: set[PositionId] = set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await asyncio.sleep(LOOK_EVERY_SECONDS)
                for position in self._due():
                    tasks.create_task(self._flatten(position), name=f"passed-stops/{position.key}")

    def _due(self) -> list[Position]:
        now, positions = self._clock.monotonic(), self._orders.state.positions()
        beyond = [position for position in positions if self._is_beyond(position)]
        self._passed = {position.id: self._passed.get(position.id, now) for position in beyond}
        self._flattened &= {position.id for position in positions}
        due = [p for p in beyond if now - self._passed[p.id] >= PATIENCE_SECONDS and p.id not in self._flattened]
        self._flattened.update(position.id for position in due)
        return due

    def _is_beyond(self, position: Position) -> bool:
        """By the price that fires this very stop; an unknown or old price says nothing."""
        protection = self._protection.protection(position.id)
        stop = None if protection is None or protection.stop is None else self._orders.state.order(protection.stop)
        if stop is None or stop.trigger_price is None:
            return False
        price = self._reference(position.instrument, stop.intent.trigger_reference)
        return price is not None and crossed(position.side, stop.trigger_price, price)

    async def _flatten(self, position: Position) -> None:
        why = f"the price is beyond the stop for {PATIENCE_SECONDS:g} s and the position still stands"
        self._notifier.notify(Level.CRITICAL, f"{position.key}: closing at market, {why}")
        await self._closer.flatten(position.key, why)
