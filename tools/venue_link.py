"""A venue as tools reach it: the configured account, asked directly, without a daemon in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from core.clock import Clock
from core.engine.ports import VenueClient
from core.transport import real_transport
from core.venues import VenueAccess, VenueConnection, connect_venue


@asynccontextmanager
async def opened(access: VenueAccess, clock: Clock) -> AsyncIterator[VenueClient]:
    """Rules loaded, clock measured, nothing subscribed; closed on leaving. Raises VenueError, StartRefused."""
    async with connected(access, clock) as client:
        await client.open()
        yield client


@asynccontextmanager
async def connected(access: VenueAccess, clock: Clock) -> AsyncIterator[VenueClient]:
    """A client that its user has yet to open; closed on leaving."""
    async with linked(access, clock) as connection:
        yield connection.client


@asynccontextmanager
async def linked(access: VenueAccess, clock: Clock) -> AsyncIterator[VenueConnection]:
    """Its public reads too; nothing is opened, and the client is closed on leaving."""
    name = access.name
    connection = connect_venue(
        access,
        clock=clock,
        transport=real_transport(name),
        sink=_nobody,
        on_connected=_nothing,
    )
    try:
        yield connection
    finally:
        await connection.client.close()


async def _nobody(reports: Sequence[object]) -> None:
    del reports


async def _nothing() -> None:
    return
