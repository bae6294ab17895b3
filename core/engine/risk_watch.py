"""RiskWatch: the second hand of the risk guard. Open losses, midnight and a panic that is not done yet are
looked at each second, not only when an entry asks."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from core.domain.ids import Leg, VenueName
from core.domain.order import UNACKNOWLEDGED
from core.domain.position import Position
from core.engine.closer import Closer
from core.engine.giving_way import PAUSE_SECONDS
from core.engine.risk_guard import RiskGuard
from core.engine.state import StateView

TICK_SECONDS = 1.0
"""Between two rounds."""


class RiskWatch:
    def __init__(
        self,
        *,
        risk: RiskGuard,
        state: StateView,
        closer: Closer,
        clients: Collection[VenueName],
    ) -> None:
        self._risk = risk
        self._state = state
        self._closer = closer
        self._clients = clients

    async def run(self) -> None:
        """Until cancelled; owns the closes of a panic."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._risk.ledger.tick(PAUSE_SECONDS)
                self._finish_panic(tasks)
                await asyncio.sleep(TICK_SECONDS)

    def _finish_panic(self, tasks: asyncio.TaskGroup) -> None:
        """Until nothing is left but dust and no entry is on its way: one that fills late is closed, too (RSK-11)."""
        for venue in (None, *self._clients):
            if not self._risk.states.said(venue).flatten:
                continue
            mine = [p for p in self._state.positions() if venue in (None, p.instrument.venue)]
            positions = [position for position in mine if not self._closer.given_up(position)]
            for position in positions:
                if not self._closer.closing(position.key):
                    tasks.create_task(self._close(position), name=f"risk-watch/panic/{position.key}")
            if not positions and not self._entries_under_way(venue):
                self._risk.states.flattened(venue)

    async def _close(self, position: Position) -> None:
        await self._closer.flatten(position.key, "panic", leg=Leg.CLOSE)

    def _entries_under_way(self, venue: VenueName | None) -> bool:
        live = self._state.all_live_orders()
        mine = [o for o in live if venue in (None, o.instrument.venue) and o.intent.leg is Leg.ENTRY]
        return any(order.status in UNACKNOWLEDGED or order.fills_missing for order in mine)
