"""A venue refused an order by rules that are not those we know: they are loaded anew before the next one (VAL-20)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from core.domain.ids import VenueName
from core.engine.ports import About, Rejected

log = structlog.get_logger(__name__)

RULES_SECONDS = 1.0

Renew = Callable[[VenueName], Awaitable[None]]
"""Must not raise VenueError."""


def stale(rejection: Rejected | None) -> bool:
    return rejection is not None and rejection.about is About.STALE_RULES


async def renewed(renew: Renew, venue: VenueName) -> None:
    """If they come soon enough; what protects or closes does not wait longer."""
    try:
        async with asyncio.timeout(RULES_SECONDS):
            await renew(venue)
    except TimeoutError:
        log.warning("rules.late", venue=venue, waited_s=RULES_SECONDS)


async def nobody_renews(_venue: VenueName) -> None: ...
