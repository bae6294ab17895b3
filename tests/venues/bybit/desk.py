"""A connection to the simulated Bybit with a tap on the wire, and the stream's word applied to orders as the engine
does it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

from core.domain.ids import ClientOrderId, InstrumentId, Leg, PositionId, SignalId, Symbol, VenueName, client_order_id
from core.domain.order import IllegalReport, Order, OrderIntent, OrderStatus, OrderType, TriggerReference, apply_status
from core.domain.reports import FillReport, OrderStatusReport, Report
from core.domain.signal import Side
from core.engine.ports import Accepted, Departure, Outcome, StreamState, VenueHealth
from core.transport import Transport
from core.venues import VenueAccess, VenueConnection, connect_venue
from core.venues.bybit.client import BybitClient
from tests.builders import price, quantity
from tests.fakes.sim_transport import Line, SimulatedVenue
from tests.fakes.virtual_loop import VirtualClock
from tests.venues.binance_rig import Asked, Tap
from tools.venuesim.exchange.model import PositionMode

_T = TypeVar("_T")
BTC = InstrumentId(VenueName.BYBIT, Symbol("BTC/USDT:USDT"))
ETH = InstrumentId(VenueName.BYBIT, Symbol("ETH/USDT:USDT"))


@dataclass
class Desk:
    """`venue` is the simulator behind the tap; `told` what the private stream handed over."""

    connection: VenueConnection
    tap: Tap
    venue: SimulatedVenue
    clock: VirtualClock
    told: list[Sequence[Report]]
    health: list[VenueHealth]
    states: list[StreamState]
    orders: dict[ClientOrderId, Order] = field(default_factory=dict)

    @property
    def client(self) -> BybitClient:
        client = self.connection.client
        assert isinstance(client, BybitClient)
        return client

    def of(self, kind: type[_T]) -> list[_T]:
        return [report for reports in self.told for report in reports if isinstance(report, kind)]

    def statuses(self, intent: OrderIntent) -> list[OrderStatus]:
        return [r.status for r in self.of(OrderStatusReport) if r.client_order_id == intent.client_order_id]

    def fills(self, intent: OrderIntent) -> list[FillReport]:
        return [r for r in self.of(FillReport) if r.client_order_id == intent.client_order_id]

    def body(self, path: str) -> dict[str, Any]:
        """Of the newest request there."""
        return self.bodies(path)[-1]

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [json.loads(asked.body) for asked in self.tap.of("POST", f"/v5/{path}")]

    def asked(self, path: str) -> list[Asked]:
        return self.tap.of("GET", f"/v5/{path}")

    def mark(self, symbol: str = "BTCUSDT") -> Decimal:
        return self.venue.simulation.engine.quote(symbol).mark

    def level(self, percent: str, symbol: str = "BTCUSDT") -> str:
        """That share of the mark, on the tick."""
        tick = self.venue.simulation.engine.instrument(symbol).tick
        return str((self.mark(symbol) * Decimal(percent) / 100 / tick).to_integral_value() * tick)

    async def resting(self, symbol: str = "BTCUSDT") -> list[dict[str, Any]]:
        """Stops that rest at the venue, as it says itself."""
        return [row for row in (await self.venue.ask("state"))["orders"] if row["symbol"] == symbol]

    async def send(self, departure: Departure | OrderIntent) -> Outcome:
        if isinstance(departure, OrderIntent):
            departure = Departure(intent=departure)
        for intent in (departure.intent, departure.stop):
            if intent is not None:
                self.orders[intent.client_order_id] = Order(intent=intent, status=OrderStatus.IN_FLIGHT)
        outcome = await self.client.submit(departure)
        await settled()
        return outcome

    def order(self, intent: OrderIntent, *more: Report) -> Order:
        """As the engine would have it after all that was told; `more` came with answers."""
        order = Order(intent=intent, status=OrderStatus.IN_FLIGHT)
        for report in (*self.of(OrderStatusReport), *more):
            if isinstance(report, OrderStatusReport) and report.client_order_id == intent.client_order_id:
                changed = apply_status(order, report)
                assert not isinstance(changed, IllegalReport), changed
                order = changed
        return order


async def settled(seconds: float = 0.05) -> None:
    """Until the stream has told what there is."""
    await asyncio.sleep(seconds)


def accepted(outcome: Outcome) -> tuple[Report, ...]:
    assert isinstance(outcome, Accepted), outcome
    return outcome.reports


@asynccontextmanager
async def a_desk(
    *, hedge: bool = False, opened: bool = True, streaming: bool = True, secret: str = "sim", **settings: Any
) -> AsyncIterator[Desk]:
    """Opened, so that markets are known, and with a live private stream; requests of the opening are not noted."""
    mode = PositionMode.HEDGE if hedge else PositionMode.ONE_WAY
    venue = SimulatedVenue("bybit", position_mode=mode, **settings)
    async with another_desk(venue, opened=opened, streaming=streaming, secret=secret) as desk:
        yield desk
    venue.stop()


@asynccontextmanager
async def another_desk(
    venue: SimulatedVenue, *, opened: bool = True, streaming: bool = True, secret: str = "sim"
) -> AsyncIterator[Desk]:
    """A process of ours at that venue."""
    transport = Line(venue).transport()
    tap, clock, told = Tap(transport.http), VirtualClock(), list[Sequence[Report]]()
    health: list[VenueHealth] = []
    states: list[StreamState] = []

    async def sink(reports: Sequence[Report]) -> None:
        told.append(reports)

    async def reconciled() -> None: ...

    connection = connect_venue(
        VenueAccess(name=VenueName.BYBIT, key="sim", secret=secret, base_url=venue.url),
        clock=clock,
        transport=Transport(http=tap, socket=transport.socket),
        sink=sink,
        on_connected=reconciled,
        on_state=states.append,
        on_health=health.append,
    )
    desk = Desk(connection=connection, tap=tap, venue=venue, clock=clock, told=told, health=health, states=states)
    stream = None
    try:
        if opened:
            await connection.client.open()
            if streaming:
                stream = asyncio.create_task(connection.user_stream.run())
                await connection.user_stream.wait_live()
            tap.asked.clear()
        yield desk
    finally:
        if stream is not None:
            stream.cancel()
            await asyncio.gather(stream, return_exceptions=True)
        await connection.client.close()


def an_intent(
    kind: OrderType = OrderType.MARKET,
    *,
    side: Side = Side.BUY,
    leg: Leg | None = None,
    size: str = "0.002",
    trigger: str | None = None,
    limit: str | None = None,
    name: str = "one",
    attempt: int = 0,
    instrument: InstrumentId = BTC,
    reference: TriggerReference = TriggerReference.MARK_PRICE,
    attached_to: ClientOrderId | None = None,
) -> OrderIntent:
    """An entry, or a stop when the kind is one; ids differ by `name` and `attempt`."""
    stop = kind is OrderType.STOP_MARKET
    leg = leg or (Leg.STOP if stop else Leg.ENTRY)
    return OrderIntent(
        client_order_id=client_order_id("test", name, leg, attempt),
        instrument=instrument,
        leg=leg,
        attempt=attempt,
        signal_id=SignalId(name),
        position_id=PositionId(f"position-{name}"),
        side=side,
        type=kind,
        quantity=quantity(size),
        reduce_only=leg not in {Leg.ENTRY, Leg.PROBE},
        price=None if limit is None else price(limit),
        trigger_price=None if trigger is None else price(trigger),
        trigger_reference=reference,
        attached_to=attached_to,
        whole_position=stop,
    )


def a_stop(trigger: str, *, side: Side = Side.SELL, **more: Any) -> OrderIntent:
    return an_intent(OrderType.STOP_MARKET, side=side, trigger=trigger, **more)


def with_stop(intent: OrderIntent, trigger: str, *, objection: Callable[[], str | None] = lambda: None) -> Departure:
    """An entry on its way with the stop that travels along."""
    stop = a_stop(
        trigger,
        side=intent.side.opposite,
        size=str(intent.quantity),
        name=str(intent.signal_id),
        instrument=intent.instrument,
        attached_to=intent.client_order_id,
    )
    return Departure(intent=intent, stop=stop, objection=objection)
