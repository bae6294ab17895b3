"""What a wave needs to know of a venue before it decides: positions and balances, confirmed within a known time.

A live stream plus a recent reconciliation already *is* that knowledge, at zero round trips; otherwise both are read
once for the whole wave, concurrently, before any signal is judged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from core.clock import Clock
from core.domain.ids import VenueName
from core.domain.verdict import Denied, Reason
from core.engine.order_manager import OrderManager
from core.engine.ports import StreamState, UserStream, VenueClient
from core.errors import VenueError

CONFIRMED_MAX_AGE_SECONDS = 60.0
STREAM_DOWN_LIMIT_SECONDS = 30.0
"""Entries stop after this long without a confirmed private stream (UDS-12)."""


class Prefetcher:
    def __init__(
        self,
        *,
        clients: Mapping[VenueName, VenueClient],
        streams: Mapping[VenueName, UserStream],
        orders: OrderManager,
        clock: Clock,
        timeout_seconds: float,
        connections: int = 10,
    ) -> None:
        """`connections` are kept ready for a wave that is due: its entries and their stops."""
        self._clients = clients
        self._streams = streams
        self._orders = orders
        self._clock = clock
        self._timeout = timeout_seconds
        self._connections = connections
        self._confirmed: dict[VenueName, float] = {}
        self._live: dict[VenueName, float] = {}

    def confirmed(self, venue: VenueName) -> None:
        """A mass status of this venue has just been applied (reconciler)."""
        self._confirmed[venue] = self._clock.monotonic()

    async def prefetch(self, venue: VenueName) -> Denied | None:
        """None when the state of `venue` is current now; else why its signals are refused. Never raises VenueError."""
        if venue not in self._clients:
            return Denied(reason=Reason.VENUE_MISSING, detail=f"{venue} is not configured or did not start")
        now = self._clock.monotonic()
        confirmed = self._confirmed.get(venue, float("-inf"))
        if self._streams[venue].state is StreamState.LIVE:
            self._live[venue] = now
            if now - confirmed <= CONFIRMED_MAX_AGE_SECONDS:
                return None
        elif now - self._live.get(venue, float("-inf")) > STREAM_DOWN_LIMIT_SECONDS:
            return Denied(reason=Reason.STREAM_DOWN, detail=f"the private stream of {venue} is down")
        try:
            async with asyncio.timeout(self._timeout):
                await self._read(venue)
        except TimeoutError:
            limit_ms = f"{self._timeout * 1000:g}"
            return _failed(venue, f"no answer within {self._timeout:g} s", PREFETCH_TIMEOUT_MS=limit_ms)
        except VenueError as error:
            return _failed(venue, str(error))
        return None

    async def prepare(self) -> None:
        """Ask every venue and open its connections for a wave that is due. Never raises VenueError."""
        await asyncio.gather(*(self._prepare(venue) for venue in list(self._clients)))

    async def _prepare(self, venue: VenueName) -> None:
        await asyncio.gather(self.prefetch(venue), self._clients[venue].warm(self._connections))

    async def _read(self, venue: VenueName) -> None:
        client = self._clients[venue]
        positions, balances = await asyncio.gather(client.positions(), client.balances())
        await self._orders.take([*positions, *balances])
        await self._orders.drained()


def _failed(venue: VenueName, why: str, **named: str) -> Denied:
    return Denied(reason=Reason.PREFETCH_FAILED, detail=f"{venue}: {why}", values={"venue": venue, **named})
