"""Whether a private socket may log in now, and what a refused login means for the venue (NET-01, NET-07)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from core.engine.ports import Condition
from core.errors import VenueError

if TYPE_CHECKING:
    from core.venues.errors import ErrorTable
    from core.venues.health import HealthMonitor


class LoginGate:
    """For venues whose sockets log in. `resync` measures the venue's clock anew; it may raise VenueError."""

    def __init__(self, errors: ErrorTable, health: HealthMonitor, resync: Callable[[], Awaitable[None]]) -> None:
        self._errors, self._health, self._resync = errors, health, resync

    def admit(self) -> None:
        """A refused key is tried again as seldom as any other signed request. Raises Refused meanwhile."""
        if self._health.health.condition is Condition.KEY_REFUSED:
            self._health.admit(signed=True, protective=False)

    def accepted(self) -> None:
        if self._health.health.condition is Condition.KEY_REFUSED:
            self._health.succeeded(signed=True)

    async def refused(self, error: VenueError) -> None:
        """Never raises VenueError: the login's own refusal is what is reported."""
        if self._errors.is_key(error):
            self._health.failed(error, signed=True, reading=True)
        if self._errors.is_clock(error):
            try:
                await self._resync()
            except VenueError:
                return  # swallow: the next login fails alike, and tries again
