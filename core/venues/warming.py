"""Keeping connections open for a wave, without a heap of requests in one moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

PACE_SECONDS: Final = 0.002
"""Between two requests: fifty at once are 25 ms of computing, and a price that moves a stop would wait behind them. A
new connection takes some round trips, so that those of a wave are opened beside each other all the same; of those that
are open the pool gives the one that has rested longest."""


async def warm(ask: Callable[[], Awaitable[Any]], connections: int) -> None:
    """Asks so often, each time on a connection of its own if it takes long enough. Failures do not matter here."""

    async def asked(number: int) -> None:
        await asyncio.sleep(number * PACE_SECONDS)
        await ask()

    await asyncio.gather(*map(asked, range(connections)), return_exceptions=True)
