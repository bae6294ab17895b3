"""RiskWatch: the second hand of the risk guard. Open losses, midnight, a clock that jumped and a panic that is not done
yet are looked at each second, not only when an entry asks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from core.domain.ids import Leg, VenueName
from core.domain.order import UNACKNOWLEDGED
from core.domain.position import Position
from core.engine.closer import Closer
from core.engine.ports import VenueClient
from core.engine.risk_guard import RiskGuard
from core.engine.state import StateView

log = structlog.get_logger(__name__)

TICK_SECONDS = 1.0
MEASURE_AGAIN_SECONDS = 10.0
"""Between two measurements of a venue's clock while ours has jumped."""


class RiskWatch:
    def __init__(
        self,
        *,
        risk: RiskGuard,
        state: StateView,
        closer: Closer,
        clients: Mapping[VenueName, VenueClient],
        measure: Callable[[VenueName], Awaitable[None]],
        serves: Callable[[VenueName], bool] = lambda _venue: True,
    ) -> None:
        """`measure` measures a venue's clock anew and must not raise for what the venue says; `serves` is False while a
        venue has an outage, and is then not asked."""
        self._risk = risk
        self._state = state
        self._closer = closer
        self._clients = clients
        self._measure = measure
        self._serves = serves
        self._measuring: dict[VenueName, asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Until cancelled; owns the closes of a panic and the measurements it asks for."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            while True:
                self._risk.ledger.tick()
                self._look_at_clocks(tasks)
                self._finish_panic(tasks)
                await asyncio.sleep(TICK_SECONDS)

    def _look_at_clocks(self, tasks: asyncio.TaskGroup) -> None:
        for venue in self._clients:
            error = self._risk.clocks.error_ms(venue)
            wrong = error is None or abs(error) > self._risk.limits.max_clock_error_ms
            running = self._measuring.get(venue)
            if wrong and self._serves(venue) and (running is None or running.done()):
                log.warning("risk.clock_jumped", venue=venue, by_ms=error)
                self._measuring[venue] = tasks.create_task(self._measure_once(venue), name=f"risk-watch/clock/{venue}")

    async def _measure_once(self, venue: VenueName) -> None:
        await self._measure(venue)
        await asyncio.sleep(MEASURE_AGAIN_SECONDS)

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
