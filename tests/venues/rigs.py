"""One shape of rig for every venue: a client at its simulator, a tap on the wire, the stream's word joined to orders.

What only one venue has is in its own rig (`binance_rig`, `okx/rig`, `bybit/desk`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from msgspec.structs import replace

from core.domain.ids import ClientOrderId, InstrumentId, Leg, PositionId, SignalId, Symbol, VenueName, client_order_id
from core.domain.instrument import Instrument
from core.domain.order import IllegalReport, Order, OrderIntent, OrderStatus, OrderType, apply_status
from core.domain.reports import OrderStatusReport, Report
from core.domain.signal import Side
from core.engine.ports import Accepted, Attach, Departure, Outcome, StreamState, VenueClient, VenueHealth
from core.transport import Transport
from core.venues import VenueAccess, VenueConnection, connect_venue
from tests.builders import price, quantity
from tests.fakes.sim_transport import Line, SimulatedVenue
from tests.fakes.virtual_loop import VirtualClock
from tests.venues.binance_rig import SIGNING, Asked, Tap
from tools.venuesim.exchange.model import PositionMode

VENUES = tuple(VenueName)
SYMBOLS = {VenueName.BINANCE: "BTCUSDT", VenueName.BYBIT: "BTCUSDT", VenueName.OKX: "BTC-USDT-SWAP"}
"""What each venue calls the swap of the rigs' intents."""


@dataclass
class VenueRig:
    """`venue` is the simulator behind the tap; `told` what the private stream handed over."""

    name: VenueName
    hedge: bool
    connection: VenueConnection
    tap: Tap
    venue: SimulatedVenue
    clock: VirtualClock
    told: list[Sequence[Report]] = field(default_factory=list)
    states: list[StreamState] = field(default_factory=list)
    health: list[VenueHealth] = field(default_factory=list)
    orders: dict[ClientOrderId, Order] = field(default_factory=dict)

    @property
    def client(self) -> VenueClient:
        return self.connection.client

    @property
    def symbol(self) -> str:
        return SYMBOLS[self.name]

    @property
    def btc(self) -> InstrumentId:
        return InstrumentId(self.name, Symbol("BTC/USDT:USDT"))

    @property
    def rules(self) -> Instrument:
        return self.client.instruments[self.btc.symbol]

    def mark(self) -> Decimal:
        return self.venue.simulation.engine.quote(self.symbol).mark

    def level(self, percent: int) -> str:
        """That much of the mark, on the tick."""
        return str((self.mark() * percent / 100).quantize(Decimal(1)))

    # intents

    def entry(
        self, *, side: Side = Side.BUY, size: str = "0.002", name: str = "one", leg: Leg = Leg.ENTRY, **more: Any
    ) -> OrderIntent:
        """A market order; with another leg it can only reduce."""
        return OrderIntent(
            client_order_id=client_order_id("test", name, leg, 0),
            instrument=self.btc,
            leg=leg,
            attempt=0,
            signal_id=SignalId(name),
            position_id=PositionId(f"position-{name}"),
            side=side,
            quantity=quantity(size),
            reduce_only=leg not in {Leg.ENTRY, Leg.PROBE},
            **{"type": OrderType.MARKET} | more,
        )

    def close(self, *, side: Side = Side.SELL, size: str = "0.002", name: str = "close") -> OrderIntent:
        return self.entry(side=side, size=size, name=name, leg=Leg.FLATTEN)

    def stop(
        self, percent: int = 90, *, side: Side = Side.SELL, size: str = "0.002", name: str = "one", level: str = ""
    ) -> OrderIntent:
        """Of a position on the other side, that far from the mark; `level` names its trigger price outright."""
        return replace(
            self.entry(side=side, size=size, name=name, leg=Leg.STOP),
            type=OrderType.STOP_MARKET,
            trigger_price=price(level or self.level(percent)),
            whole_position=self.client.traits.whole_position_stops,
        )

    def departing(self, intent: OrderIntent, percent: int = 90, *, level: str = "") -> Departure:
        """An entry with the stop that travels along, where stops do."""
        if self.client.traits.attach is Attach.NEVER:
            return Departure(intent=intent)
        stop = self.stop(
            percent, side=intent.side.opposite, size=str(intent.quantity), name=str(intent.signal_id), level=level
        )
        return Departure(intent=intent, stop=replace(stop, attached_to=intent.client_order_id))

    # what was said

    async def send(self, departure: Departure | OrderIntent) -> Outcome:
        """Sent, and the stream has told what it has of it."""
        if isinstance(departure, OrderIntent):
            departure = Departure(intent=departure)
        outcome = await self.client.submit(departure)
        await settled()
        self.note(departure.intent, *(outcome.reports if isinstance(outcome, Accepted) else ()))
        return outcome

    def note(self, intent: OrderIntent, *reports: Report) -> None:
        order = self.orders.get(intent.client_order_id, Order(intent=intent, status=OrderStatus.IN_FLIGHT))
        self.orders[intent.client_order_id] = _joined(order, reports)

    def order(self, intent: OrderIntent) -> Order:
        """As the engine would have it after all that was told."""
        order = self.orders.get(intent.client_order_id, Order(intent=intent, status=OrderStatus.IN_FLIGHT))
        return _joined(order, [report for group in self.told for report in group])

    async def taken(self, departure: Departure | OrderIntent) -> Order:
        outcome = await self.send(departure)
        assert isinstance(outcome, Accepted), outcome
        return self.order(departure if isinstance(departure, OrderIntent) else departure.intent)

    async def resting(self) -> list[dict[str, Any]]:
        """Orders that rest at the venue, as it says itself."""
        return list((await self.venue.ask("state"))["orders"])

    async def held(self) -> Decimal:
        """Signed, in base units, as the venue says itself."""
        rows = (await self.venue.ask("state"))["positions"]
        return sum((Decimal(r["qty"]) * (1 if r["side"] == "long" else -1) for r in rows), Decimal(0))


def _joined(order: Order, reports: Sequence[Report]) -> Order:
    for report in reports:
        if isinstance(report, OrderStatusReport) and report.client_order_id == order.client_order_id:
            changed = apply_status(order, report)
            assert not isinstance(changed, IllegalReport), changed
            order = changed
    return order


async def settled(seconds: float = 0.05) -> None:
    """Until the stream has told what there is."""
    await asyncio.sleep(seconds)


def sent(asked: Asked) -> Any:
    """What a request says: its JSON body, or the parameters of form and query without those of signing."""
    if asked.body.startswith(("{", "[")):
        return json.loads(asked.body)
    pairs = parse_qsl(asked.query or asked.body, keep_blank_values=True)
    return {name: value for name, value in pairs if name not in SIGNING}


@asynccontextmanager
async def a_venue_rig(
    name: VenueName, *, hedge: bool = False, opened: bool = True, streaming: bool = True, **settings: Any
) -> AsyncIterator[VenueRig]:
    """Opened, so that markets are known, and with a live private stream; requests of the opening are not noted."""
    mode = PositionMode.HEDGE if hedge else PositionMode.ONE_WAY
    venue = SimulatedVenue(name, position_mode=mode, **settings)
    try:
        async with a_rig_at(venue, name, hedge=hedge, opened=opened, streaming=streaming) as rig:
            yield rig
    finally:
        venue.stop()


@asynccontextmanager
async def a_rig_at(
    venue: SimulatedVenue, name: VenueName, *, hedge: bool = False, opened: bool = True, streaming: bool = True
) -> AsyncIterator[VenueRig]:
    """A process of ours at a venue that stands already."""
    transport = Line(venue).transport()
    tap, clock = Tap(transport.http), VirtualClock()
    told, states, health = list[Sequence[Report]](), list[StreamState](), list[VenueHealth]()

    async def sink(reports: Sequence[Report]) -> None:
        told.append(reports)

    async def reconciled() -> None: ...

    connection = connect_venue(
        VenueAccess(name=name, key="sim", secret="sim", passphrase="sim", base_url=venue.url),
        clock=clock,
        transport=Transport(http=tap, socket=transport.socket),
        sink=sink,
        on_connected=reconciled,
        on_state=states.append,
        on_health=health.append,
    )
    rig = VenueRig(name, hedge, connection, tap, venue, clock, told, states, health)
    stream = None
    try:
        if opened:
            await connection.client.open()
            if streaming:
                stream = asyncio.create_task(connection.user_stream.run())
                await connection.user_stream.wait_live()
            tap.asked.clear()
        yield rig
    finally:
        if stream is not None:
            stream.cancel()
            await asyncio.gather(stream, return_exceptions=True)
        await connection.client.close()
