"""A connection to the simulated OKX with a tap on the wire: what was asked, and answers put in its place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from core.domain.ids import ClientOrderId, VenueName
from core.domain.order import OrderStatus
from core.domain.reports import FillReport, OrderStatusReport, Report
from core.engine.ports import StreamState, VenueHealth
from core.transport import Transport
from core.venues import VenueAccess, VenueConnection, connect_venue
from core.venues.okx.client import OkxClient
from tests.fakes.sim_transport import Line, SimulatedVenue
from tests.fakes.virtual_loop import VirtualClock
from tests.venues.binance_rig import Asked, Tap
from tools.venuesim.exchange.model import PositionMode

_T = TypeVar("_T")
API = "/api/v5/"


@dataclass(frozen=True)
class Rig:
    """`venue` is the simulator behind the tap; `told` what the private stream handed over."""

    connection: VenueConnection
    tap: Tap
    venue: SimulatedVenue
    clock: VirtualClock
    told: list[Sequence[Report]]
    health: list[VenueHealth]
    states: list[StreamState]

    @property
    def client(self) -> OkxClient:
        client = self.connection.client
        assert isinstance(client, OkxClient)
        return client

    @property
    def reports(self) -> list[Report]:
        return [report for group in self.told for report in group]

    def statuses(self, client_id: ClientOrderId) -> list[OrderStatus]:
        """What the stream told of one order, oldest first."""
        rows = [r for r in self.reports if isinstance(r, OrderStatusReport)]
        return [row.status for row in rows if row.client_order_id == client_id]

    def fills(self, client_id: ClientOrderId) -> list[FillReport]:
        return [r for r in self.reports if isinstance(r, FillReport) and r.client_order_id == client_id]

    def mark(self, inst_id: str = "BTC-USDT-SWAP") -> Decimal:
        return self.venue.simulation.engine.quote(inst_id).mark

    def level(self, percent: int, inst_id: str = "BTC-USDT-SWAP") -> str:
        """That much of the mark, on the tick."""
        return str((self.mark(inst_id) * percent / 100).quantize(Decimal(1)))

    async def live(self) -> None:
        """The private stream is up."""
        await self.connection.user_stream.wait_live()

    async def during(self, work: Awaitable[_T], hold: Callable[[], Awaitable[None]] | None = None) -> _T:
        """Run with the private stream up, and let it tell what it has afterwards."""
        running = asyncio.ensure_future(self.connection.user_stream.run())
        try:
            await self.live()
            result = await work
            await (hold or _settle)()
            return result
        finally:
            told = len(self.states)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            del self.states[told:]  # that it is down when nobody runs it any more

    async def state(self) -> Any:
        return await self.venue.ask("state?all=1")


async def _settle() -> None:
    await asyncio.sleep(0.5)


def sent(asked: Asked) -> Any:
    """The parameters of a request: those of its query, or its JSON body."""
    return json.loads(asked.body) if asked.body else dict(parse_qsl(asked.query))


@asynccontextmanager
async def a_rig(
    *, hedge: bool = False, opened: bool = True, secret: str = "sim", passphrase: str = "sim", **settings: Any
) -> AsyncIterator[Rig]:
    """Opened, so that markets are known; requests of the opening are not noted."""
    mode = PositionMode.HEDGE if hedge else PositionMode.ONE_WAY
    venue = SimulatedVenue("okx", position_mode=mode, **settings)
    transport = Line(venue).transport()
    tap, clock, told = Tap(transport.http), VirtualClock(), list[Sequence[Report]]()
    health: list[VenueHealth] = []
    states: list[StreamState] = []

    async def sink(reports: Sequence[Report]) -> None:
        told.append(reports)

    async def reconciled() -> None: ...

    connection = connect_venue(
        VenueAccess(name=VenueName.OKX, key="sim", secret=secret, passphrase=passphrase, base_url=venue.url),
        clock=clock,
        transport=Transport(http=tap, socket=transport.socket),
        sink=sink,
        on_connected=reconciled,
        on_state=states.append,
        on_health=health.append,
    )
    try:
        if opened:
            await connection.client.open()
            tap.asked.clear()
        yield Rig(connection=connection, tap=tap, venue=venue, clock=clock, told=told, health=health, states=states)
    finally:
        await connection.client.close()
        venue.stop()
