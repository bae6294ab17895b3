"""A connection to the simulated Binance with a tap on the wire: what was asked, and answers put in its place."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from core.domain.ids import ClientOrderId, InstrumentId, Leg, PositionId, SignalId, Symbol, VenueName, client_order_id
from core.domain.order import OrderIntent, OrderType
from core.domain.reports import Report
from core.domain.signal import Side
from core.engine.ports import VenueHealth
from core.errors import VenueError
from core.transport import Http, HttpResponse, Transport
from core.venues import VenueAccess, VenueConnection, connect_venue
from core.venues.binance.client import BinanceClient
from tests.builders import price, quantity
from tests.fakes.sim_transport import Line, SimulatedVenue
from tests.fakes.virtual_loop import VirtualClock
from tools.venuesim.exchange.model import PositionMode

BTC = InstrumentId(VenueName.BINANCE, Symbol("BTC/USDT:USDT"))
SIGNING = frozenset({"timestamp", "recvWindow", "signature"})


@dataclass(frozen=True)
class Asked:
    """One request. `params` are those of query and body together, without what signing adds."""

    method: str
    path: str
    query: str
    body: str
    headers: Mapping[str, str]

    @property
    def signed_text(self) -> str:
        return self.query + self.body

    @property
    def params(self) -> dict[str, str]:
        pairs = parse_qsl(self.signed_text, keep_blank_values=True)
        return {name: value for name, value in pairs if name not in SIGNING}


class Tap:
    """Passes requests on and notes them; `put` answers the next one to a path instead of the venue."""

    def __init__(self, inner: Http) -> None:
        self._inner = inner
        self._instead: dict[tuple[str, str], deque[HttpResponse | VenueError]] = {}
        self.asked: list[Asked] = []

    def put(self, method: str, path: str, *answers: HttpResponse | VenueError) -> None:
        self._instead.setdefault((method, path), deque()).extend(answers)

    def of(self, method: str, path: str) -> list[Asked]:
        return [asked for asked in self.asked if (asked.method, asked.path) == (method, path)]

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> HttpResponse:
        parts = urlsplit(url)
        text = (body or b"").decode()
        self.asked.append(Asked(method, parts.path, parts.query, text, {k: str(v) for k, v in headers.items()}))
        waiting = self._instead.get((method, parts.path))
        if not waiting:
            return await self._inner.request(method, url, headers, body)
        answer = waiting.popleft()
        if isinstance(answer, VenueError):
            raise answer
        return answer

    async def close(self) -> None:
        await self._inner.close()


def answer(status: int, document: Any, **headers: str) -> HttpResponse:
    """`headers` with `_` for `-`; a text document is sent as it is."""
    body = document if isinstance(document, str) else json.dumps(document)
    return HttpResponse(status=status, headers={k.replace("_", "-"): v for k, v in headers.items()}, body=body.encode())


@dataclass(frozen=True)
class Rig:
    """`venue` is the simulator behind the tap; `told` what the private stream handed over."""

    connection: VenueConnection
    tap: Tap
    venue: SimulatedVenue
    clock: VirtualClock
    told: list[Sequence[Report]]
    health: list[VenueHealth]

    @property
    def client(self) -> BinanceClient:
        client = self.connection.client
        assert isinstance(client, BinanceClient)
        return client


@asynccontextmanager
async def a_rig(
    *, hedge: bool = False, opened: bool = True, secret: str = "sim", **settings: Any
) -> AsyncIterator[Rig]:
    """Opened, so that markets are known; requests of the opening are not noted."""
    mode = PositionMode.HEDGE if hedge else PositionMode.ONE_WAY
    venue = SimulatedVenue(position_mode=mode, **settings)
    transport = Line(venue).transport()
    tap, clock, told = Tap(transport.http), VirtualClock(), list[Sequence[Report]]()
    health: list[VenueHealth] = []

    async def sink(reports: Sequence[Report]) -> None:
        told.append(reports)

    async def reconciled() -> None: ...

    connection = connect_venue(
        VenueAccess(name=VenueName.BINANCE, key="sim", secret=secret, base_url=venue.url),
        clock=clock,
        transport=Transport(http=tap, socket=transport.socket),
        sink=sink,
        on_connected=reconciled,
        on_health=health.append,
    )
    try:
        if opened:
            await connection.client.open()
            tap.asked.clear()
        yield Rig(connection=connection, tap=tap, venue=venue, clock=clock, told=told, health=health)
    finally:
        await connection.client.close()
        venue.stop()


def an_order_intent(
    kind: OrderType = OrderType.MARKET,
    *,
    side: Side = Side.BUY,
    leg: Leg | None = None,
    size: str = "0.002",
    trigger: str | None = None,
    limit: str | None = None,
    name: str = "one",
) -> OrderIntent:
    """An entry, or a stop when the kind is one; ids differ by `name`."""
    stop = kind is OrderType.STOP_MARKET
    leg = leg or (Leg.STOP if stop else Leg.ENTRY)
    client_id = client_order_id("test", name, leg, 0)
    return OrderIntent(
        client_order_id=ClientOrderId(client_id),
        instrument=BTC,
        leg=leg,
        attempt=0,
        signal_id=SignalId(name),
        position_id=PositionId(f"position-{name}"),
        side=side,
        type=kind,
        quantity=quantity(size),
        reduce_only=leg is not Leg.ENTRY,
        price=None if limit is None else price(limit),
        trigger_price=None if trigger is None else price(trigger),
    )
