"""TimeJumps: after the host slept, its clock was set, or the process stood still, a venue is measured, then reconciled,
and only then traded again (OPS-09).

A suspend stops the timers and not the clock, so it looks like a clock that was set ahead: in both, what we believe of a
venue is older than its age says. A process that stood still has timers that are all due at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import structlog

from core.clock import Clock
from core.domain.alerts import AlertKind
from core.domain.ids import VenueName
from core.engine.owned_tasks import TaskOwner
from core.engine.ports import Level, Notifier, VenueClient
from core.engine.risk_guard import RiskGuard
from core.errors import VenueError

log = structlog.get_logger(__name__)

BY = "clock"
LOOK_SECONDS = 1.0
STOOD_STILL_SECONDS = 10.0
OLD_SECONDS = 10.0
"""What was heard before is too old to enter by then: timers, and with them ages, stood still in a suspend."""
AGAIN_SECONDS = 10.0
"""Between two tries to settle a venue."""


class TimeJumps:
    def __init__(
        self,
        *,
        risk: RiskGuard,
        clients: Mapping[VenueName, VenueClient],
        measure: Callable[[VenueName], Awaitable[None]],
        reconcile: Callable[[VenueName], Awaitable[None]],
        serves: Callable[[VenueName], bool],
        clock: Clock,
        notifier: Notifier,
    ) -> None:
        """`measure` measures a venue's clock anew and must not raise for what the venue says, `reconcile` may; `serves`
        is False while a venue has an outage, and is then not asked."""
        self._risk = risk
        self._clients = clients
        self._measure = measure
        self._reconcile = reconcile
        self._serves = serves
        self._clock = clock
        self._notifier = notifier
        self._settling: dict[VenueName, asyncio.Task[None]] = {}
        self._looked: float | None = None

    async def run(self) -> None:
        """Until cancelled; owns what settles the venues."""
        self._looked = None  # nobody has looked for a while, which is no sign that the process stood still
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._look(tasks)
                await asyncio.sleep(LOOK_SECONDS)

    def _look(self, tasks: TaskOwner) -> None:
        now = self._clock.monotonic()
        still = 0.0 if self._looked is None else now - self._looked - LOOK_SECONDS
        self._looked = now
        for venue in self._clients:
            error = self._risk.clocks.error_ms(venue)
            if still >= STOOD_STILL_SECONDS:
                self._settle(venue, tasks, f"this process stood still for {still:.0f} s")
            elif error is None or abs(error) > self._risk.limits.max_clock_error_ms:
                self._settle(venue, tasks, None if error is None else _told(error))
            elif self._risk.venue_off_reason(venue, BY) is not None and not self._runs(venue):
                self._go_on(venue, tasks, self._settled(venue))  # whoever was to lift it has ended

    def _settle(self, venue: VenueName, tasks: TaskOwner, why: str | None) -> None:
        """`why` None: nothing jumped, but for an hour no measurement has succeeded."""
        if self._runs(venue):
            return
        if why is not None:
            log.warning("time.jumped", venue=venue, why=why)
            self._risk.set_venue(venue, f"{why}: it is measured and reconciled first", by=BY)
            text = f"{venue}: {why}; no entries until its clock is measured and it is reconciled"
            self._notifier.notify(Level.WARNING, text, kind=AlertKind.CLOCK, begins=venue)
        self._go_on(venue, tasks, self._measured(venue) if why is None else self._settled(venue))

    def _runs(self, venue: VenueName) -> bool:
        running = self._settling.get(venue)
        return running is not None and not running.done()

    def _go_on(self, venue: VenueName, tasks: TaskOwner, work: Coroutine[Any, Any, None]) -> None:
        self._settling[venue] = tasks.create_task(work, name=f"time-jumps/{venue}")

    async def _measured(self, venue: VenueName) -> None:
        if self._serves(venue):
            await self._measure(venue)
        await asyncio.sleep(AGAIN_SECONDS)

    async def _settled(self, venue: VenueName) -> None:
        while not await self._tried(venue):  # noqa: ASYNC110 - a venue tells nobody that it serves
            await asyncio.sleep(AGAIN_SECONDS)
        await asyncio.sleep(OLD_SECONDS)
        self._risk.set_venue(venue, None, by=BY)
        text = f"{venue}: its clock is measured and it is reconciled; entries go on"
        self._notifier.notify(Level.INFO, text, kind=AlertKind.CLOCK, ends=venue)

    async def _tried(self, venue: VenueName) -> bool:
        if not self._serves(venue):
            return False
        await self._measure(venue)
        error = self._risk.clocks.error_ms(venue)
        if error is None or abs(error) > self._risk.limits.max_clock_error_ms:
            return False
        try:
            await self._reconcile(venue)
        except VenueError as refused:
            log.warning("time.not_reconciled", venue=venue, error=str(refused))
            return False
        return True


def _told(error_ms: int) -> str:
    which = "slept or its clock was set ahead" if error_ms > 0 else "had its clock set back"
    return f"this host {which} by {abs(error_ms) / 1000:.0f} s"
