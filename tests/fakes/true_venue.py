"""A venue that keeps its own books and tells of them badly: what it says may come late, twice, in any order or never.

At port level and without prices to speak of: it knows orders, trades, positions and wallets, and that is the truth a
history is judged by. Conditional orders, their children, and trades told without client ids are as at Binance.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

from msgspec.structs import replace

from core.clock import Clock
from core.domain.ids import ClientOrderId, InstrumentId, Leg, Symbol, TradeId, VenueName, VenueOrderId
from core.domain.instrument import Instrument
from core.domain.ledger import Income
from core.domain.money import ZERO, Price, Quantity
from core.domain.order import Order, OrderIntent, OrderStatus, OrderType
from core.domain.position import PositionKey
from core.domain.reports import (
    BalanceReport,
    FillReport,
    OrderStatusReport,
    Origin,
    PositionReport,
    PositionSide,
    Report,
    Source,
    WalletCause,
)
from core.domain.signal import Side
from core.engine.ports import (
    About,
    Accepted,
    AccountSettings,
    Departure,
    KeyRights,
    MarginMode,
    MassStatus,
    NotFound,
    Outcome,
    Rejected,
    Unknown,
    VenueTraits,
)
from core.errors import Unreachable
from tests.builders import USDT
from tests.fakes.weather import Weather

S = OrderStatus
RESTING = (S.ACCEPTED, S.PARTIALLY_FILLED)
FEE = Decimal("0.01")
_CLIENT_IDS = {
    Origin.ORDER: "web_{}",
    Origin.LIQUIDATION: "autoclose-{}",
    Origin.ADL: "adl_autoclose",
    Origin.SETTLEMENT: "settlement_autoclose-{}",
}


@dataclass(slots=True)
class TrueOrder:
    """One order as the venue has it; `child` is the id under which a fired conditional order trades."""

    client_order_id: str
    instrument: InstrumentId
    side: Side
    quantity: Decimal
    reduce_only: bool
    key: PositionKey
    number: int
    created_ms: int
    changed_ms: int
    leg: Leg | None = None
    trigger: Price | None = None
    child: int | None = None
    status: OrderStatus = S.ACCEPTED
    filled: Decimal = ZERO
    trades: set[TradeId] = field(default_factory=set)

    @property
    def resting(self) -> bool:
        return self.status in RESTING

    @property
    def waiting(self) -> bool:
        """A conditional order that has not fired."""
        return self.trigger is not None and self.child is None and self.status is S.ACCEPTED


class TrueVenue:
    """Implements ports.VenueClient. `post` takes what the stream delivers, when it is delivered."""

    name = VenueName.BINANCE
    traits = VenueTraits()

    def __init__(
        self,
        instruments: Sequence[Instrument],
        clock: Clock,
        chance: Random,
        post: Callable[[Sequence[Report]], None],
        *,
        hedge: bool,
    ) -> None:
        self._instruments = {instrument.id.symbol: instrument for instrument in instruments}
        self._clock, self._chance, self.post = clock, chance, post
        self._numbers = 0
        self.hedge = hedge
        self.weather = Weather()
        self.price = Decimal(100)
        self.prices: dict[InstrumentId, Decimal] = {}
        """Where each trades and what fires its stops; without one everything trades at `price` and nothing fires."""
        self.orders: dict[str, TrueOrder] = {}
        self.fills_told: list[FillReport] = []
        self._owners: dict[VenueOrderId, ClientOrderId] = {}
        self.held: dict[PositionKey, Decimal] = {}
        self.wallet = Decimal(10_000)
        self.wallet_ms = clock.now_ms()
        self.changed_ms: dict[PositionKey, int] = {}
        self.sent: list[ClientOrderId] = []
        self.too_late: list[ClientOrderId] = []
        self.found_nothing: list[ClientOrderId] = []
        """Refused, because the price was there already, or the position was gone."""
        self.plan: Callable[[TrueOrder], None] = lambda _order: None
        """What becomes of an entry the venue took; trades and ends come from here."""

    # what happens

    def trade(self, order: TrueOrder, amount: Decimal, origin: Origin = Origin.ORDER) -> None:
        """Fill part of an order, never more than it may do: reduce-only orders end at a flat position."""
        held = self.held.get(order.key, ZERO)
        amount = min(amount, order.quantity - order.filled, held if order.reduce_only else amount)
        if amount <= 0:
            return
        self._move(order, amount)
        order.filled += amount
        order.status = S.FILLED if order.filled == order.quantity else S.PARTIALLY_FILLED
        fill = self._fill(order, amount, origin)
        order.trades.add(fill.trade_id)
        self.fills_told.append(fill)
        self._owners[fill.venue_order_id] = fill.client_order_id
        self.wallet -= FEE
        self._tell([self._balance(WalletCause.TRADE), *self._positions_of(order.instrument)])
        self._tell([fill, self.status(order, Source.STREAM)])

    def end(self, order: TrueOrder, status: OrderStatus) -> None:
        order.status = status
        order.changed_ms = self._clock.now_ms()
        self._tell([self.status(order, Source.STREAM)])

    def fire(self, stop: TrueOrder) -> None:
        """The child order exists from here on; nothing is traded yet."""
        stop.changed_ms = self._clock.now_ms()
        self._tell([self._parent(stop, S.TRIGGERED)])
        stop.child = self._number()
        self._tell([self.status(stop, Source.STREAM)])
        self._tell([self._parent(stop, S.TRIGGERED)])

    def foreign(
        self, instrument: InstrumentId, side: Side, amount: Decimal, *, reduce: Side | None, origin: Origin
    ) -> None:
        """A trade of somebody else's order. `reduce`: the direction of the position it can only shrink."""
        key = PositionKey(instrument, side if reduce is None else reduce)
        number = self._number()
        order = TrueOrder(
            client_order_id=_CLIENT_IDS[origin].format(number),
            instrument=instrument,
            side=side,
            quantity=amount,
            reduce_only=reduce is not None,
            key=key,
            number=number,
            created_ms=self._clock.now_ms(),
            changed_ms=self._clock.now_ms(),
        )
        self.trade(order, amount, origin)

    def wallet_changes(self, amount: Decimal, cause: WalletCause) -> None:
        self.wallet += amount
        self.wallet_ms = self._clock.now_ms()
        self._tell([replace(self._balance(cause), change=amount)])

    def waiting_stops(self, instrument: InstrumentId) -> list[TrueOrder]:
        return [o for o in self.orders.values() if o.waiting and o.instrument == instrument]

    # telling

    def _tell(self, reports: Sequence[Report]) -> None:
        """One frame of the stream on its way."""
        weather, chance = self.weather, self._chance
        copies = (chance.random() >= weather.lost) + (chance.random() < weather.doubled)
        for _ in range(copies):
            delay = 0.01 + (chance.uniform(0, weather.late) if weather.late else 0.0)
            asyncio.get_running_loop().call_later(delay, self.post, tuple(reports))

    def status(self, order: TrueOrder, source: Source) -> OrderStatusReport:
        """Of the order itself, or of the child once a conditional order has fired."""
        parent = order.trigger is not None and order.child is None
        return OrderStatusReport(
            instrument=order.instrument,
            client_order_id=ClientOrderId(order.client_order_id),
            venue_order_id=VenueOrderId(str(order.child or order.number)),
            status=order.status,
            side=order.side,
            quantity=Quantity(order.quantity),
            filled=Quantity(order.filled),
            average_price=None,
            trigger_price=order.trigger if parent else None,
            reduce_only=order.reduce_only,
            conditional=parent,
            venue_time_ms=order.changed_ms,
            source=source,
        )

    def _parent(self, order: TrueOrder, status: OrderStatus) -> OrderStatusReport:
        told = self.status(order, Source.STREAM)
        return replace(told, status=status, filled=Quantity(ZERO), conditional=True, trigger_price=order.trigger)

    def _fill(self, order: TrueOrder, amount: Decimal, origin: Origin) -> FillReport:
        position_side = PositionSide.BOTH
        if self.hedge:
            position_side = PositionSide.LONG if order.key.side is Side.BUY else PositionSide.SHORT
        return FillReport(
            instrument=order.instrument,
            client_order_id=ClientOrderId(order.client_order_id),
            venue_order_id=VenueOrderId(str(order.child or order.number)),
            trade_id=TradeId(f"t{self._number()}"),
            side=order.side,
            quantity=Quantity(amount),
            price=Price(self.prices.get(order.instrument, self.price)),
            fee=FEE,
            fee_asset=USDT,
            realized=ZERO,
            maker=False,
            venue_time_ms=self._clock.now_ms(),
            source=Source.STREAM,
            position_side=position_side,
            origin=origin,
        )

    def _balance(self, cause: WalletCause, source: Source = Source.STREAM) -> BalanceReport:
        return BalanceReport(
            venue=self.name,
            asset=USDT,
            wallet=self.wallet,
            available=self.wallet if source is Source.REST else None,
            venue_time_ms=self.wallet_ms,
            source=source,
            cause=cause,
        )

    def _positions_of(self, instrument: InstrumentId, source: Source = Source.STREAM) -> list[PositionReport]:
        """The rows of one instrument: one in one-way mode, both directions in hedge mode."""
        rows = []
        for side in Side:
            key = PositionKey(instrument, side)
            if key in self.held and (self.hedge or self.held[key] or not self.held.get(_other(key))):
                rows.append(self._row(key, source))
        return rows if self.hedge else rows[:1]

    def _row(self, key: PositionKey, source: Source) -> PositionReport:
        position_side = PositionSide.BOTH
        if self.hedge:
            position_side = PositionSide.LONG if key.side is Side.BUY else PositionSide.SHORT
        return PositionReport(
            instrument=key.instrument,
            position_side=position_side,
            quantity=Quantity(self.held[key] * key.side.sign),
            entry_price=Price(self.price) if self.held[key] else None,
            mark_price=None,
            venue_time_ms=self.changed_ms[key],
            source=source,
        )

    # books

    def _move(self, order: TrueOrder, amount: Decimal) -> None:
        now = self._clock.now_ms()
        order.changed_ms = self.wallet_ms = now
        grows = order.side is order.key.side
        other = _other(order.key)
        if grows and not self.hedge and self.held.get(other):
            shrunk = min(amount, self.held[other])  # one-way: it turns the position round
            self._set(other, self.held[other] - shrunk, now)
            amount -= shrunk
        if amount:
            self._set(order.key, self.held.get(order.key, ZERO) + (amount if grows else -amount), now)

    def _set(self, key: PositionKey, quantity: Decimal, now: int) -> None:
        self.held[key], self.changed_ms[key] = quantity, now

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    # what it is asked to do

    @property
    def instruments(self) -> Mapping[Symbol, Instrument]:
        return self._instruments

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def submit(self, departure: Departure) -> Outcome:
        intent, objection = departure.intent, departure.objection
        if (why := objection()) is not None:
            return Rejected(code="", detail=why, about=About.WITHHELD)
        self.sent.append(intent.client_order_id)
        unclear = self._hits(self.weather.unclear)
        arrives = not unclear or self._hits(0.5)
        await self._half_way()
        if not arrives:
            await self._half_way()
            return Unknown(cause="time-out")
        if self._hits(self.weather.refused):
            return Rejected(code="-2019", detail="no")
        if intent.reduce_only and not intent.conditional and not self.held.get(_key(intent)):
            self.found_nothing.append(intent.client_order_id)
            return Rejected(code="-2022", detail="nothing to reduce", about=About.NOTHING_TO_REDUCE)
        if intent.conditional and self.beyond(intent.instrument, intent.side, intent.trigger_price):
            self.too_late.append(intent.client_order_id)
            return Rejected(code="-2021", detail="would trigger at once", about=About.WOULD_TRIGGER)
        order = self._take(intent)
        report = self.status(order, Source.REST)
        await self._half_way()
        return Unknown(cause="connection reset") if unclear else Accepted(reports=(report,))

    def beyond(self, instrument: InstrumentId, side: Side, trigger: Price | None) -> bool:
        """Whether the price has come to the trigger of a stop of this (closing) side."""
        price = self.prices.get(instrument)
        if price is None or trigger is None:
            return False
        return price <= trigger if side is Side.SELL else price >= trigger

    def _take(self, intent: OrderIntent) -> TrueOrder:
        now = self._clock.now_ms()
        order = TrueOrder(
            client_order_id=intent.client_order_id,
            instrument=intent.instrument,
            side=intent.side,
            quantity=intent.quantity,
            reduce_only=intent.reduce_only,
            key=_key(intent),
            number=self._number(),
            created_ms=now,
            changed_ms=now,
            leg=intent.leg,
            trigger=intent.trigger_price,
        )
        self.orders[intent.client_order_id] = order
        self._tell([self.status(order, Source.STREAM)])
        if intent.type is not OrderType.STOP_MARKET and intent.reduce_only:
            self.trade(order, self._found(intent))
            if order.filled < order.quantity:
                self.end(order, S.EXPIRED)
        elif intent.leg is Leg.ENTRY:
            self.plan(order)
        return order

    def _found(self, intent: OrderIntent) -> Decimal:
        """How much of a reduce-only order somebody takes: of a limit all, a part or nothing."""
        if intent.type is OrderType.MARKET:
            return intent.quantity
        return intent.quantity * self._chance.choice((Decimal(0), Decimal("0.5"), Decimal(1)))

    async def submit_together(self, departures: Sequence[Departure]) -> Sequence[Outcome]:
        return await asyncio.gather(*(self.submit(departure) for departure in departures))

    async def amend_stop(
        self, order: Order, *, trigger_price: Price, quantity: Quantity, tightening: bool = False
    ) -> Outcome:
        raise NotImplementedError

    def recall(self, orders: Sequence[Order]) -> None:
        """Every order is told under its client id."""

    async def cancel(self, order: Order) -> Outcome:
        unclear = self._hits(self.weather.unclear)
        arrives = not unclear or self._hits(0.5)
        await self._half_way()
        known = self.orders.get(order.client_order_id)
        done = arrives and known is not None and known.resting
        if done and known is not None:
            self.end(known, S.CANCELED)
        await self._half_way()
        if unclear:
            return Unknown(cause="time-out")
        if not done or known is None:
            return Rejected(code="-2011", detail="Unknown order sent.")
        return Accepted(reports=(self.status(known, Source.REST),))

    # what it is asked: the answer was true half-way

    async def query_order(self, intent: OrderIntent) -> OrderStatusReport | NotFound:
        await self._asked()
        order = self.orders.get(intent.client_order_id)
        report = None if order is None or self._hidden(order) else self.status(order, Source.REST)
        await self._half_way()
        return report or NotFound.NOT_FOUND

    async def client_id_of(self, instrument: InstrumentId, venue_order_id: VenueOrderId) -> ClientOrderId | NotFound:
        await self._asked()
        owner = self._owners.get(venue_order_id)
        await self._half_way()
        return owner or NotFound.NOT_FOUND

    async def fills(self, instrument: InstrumentId, since_ms: int) -> Sequence[FillReport]:
        await self._asked()
        found = [f for f in self.fills_told if f.instrument == instrument and f.venue_time_ms >= since_ms]
        await self._half_way()
        nameless = {"client_order_id": ClientOrderId(""), "position_side": PositionSide.BOTH, "origin": Origin.ORDER}
        return [replace(fill, source=Source.REST, **nameless) for fill in found]

    async def income(self, since_ms: int) -> Sequence[Income]:
        await self._asked()
        await self._half_way()
        raise Unreachable(self.name, f"this venue keeps no income history (asked from {since_ms})")

    async def positions(self) -> Sequence[PositionReport]:
        await self._asked()
        rows = [self._row(key, Source.REST) for key, quantity in self.held.items() if quantity]
        await self._half_way()
        return rows

    async def balances(self) -> Sequence[BalanceReport]:
        await self._asked()
        report = self._balance(WalletCause.SNAPSHOT, Source.REST)
        await self._half_way()
        return [report]

    async def mass_status(self) -> MassStatus:
        requested = self._clock.now_ms()
        orders, positions, balances = await asyncio.gather(self._open_orders(), self.positions(), self.balances())
        return MassStatus(
            venue=self.name,
            requested_ms=requested,
            orders=tuple(orders),
            positions=tuple(positions),
            balances=tuple(balances),
        )

    async def _open_orders(self) -> list[OrderStatusReport]:
        await self._asked()
        resting = [order for order in self.orders.values() if order.resting and not self._hidden(order)]
        rows = [self.status(order, Source.REST) for order in resting]
        await self._half_way()
        return rows

    async def account_settings(self) -> AccountSettings:
        return AccountSettings(hedge_mode=self.hedge, can_trade=True, multi_assets=False, leverage={})

    async def key_rights(self) -> KeyRights | None:
        return None

    async def set_margin_mode(self, symbol: Symbol, mode: MarginMode) -> None:
        raise NotImplementedError

    async def set_leverage(self, symbol: Symbol, leverage: int) -> None: ...

    @property
    def clock_offset_ms(self) -> int:
        return 0

    async def measure_clock(self) -> None: ...
    async def load_instruments(self) -> None: ...
    async def warm(self, connections: int) -> None: ...

    def _hidden(self, order: TrueOrder) -> bool:
        """Look-ups and lists lag behind the matching of orders."""
        return self._clock.now_ms() - order.created_ms < 1_000 and self._hits(self.weather.early)

    async def _asked(self) -> None:
        await self._half_way()
        if self._hits(self.weather.unread):
            raise Unreachable(self.name, "no route")

    async def _half_way(self) -> None:
        await asyncio.sleep(self._chance.uniform(0, self.weather.latency))

    def _hits(self, share: float) -> bool:
        return share > 0 and self._chance.random() < share


def _key(intent: OrderIntent) -> PositionKey:
    return PositionKey(intent.instrument, intent.side.opposite if intent.reduce_only else intent.side)


def _other(key: PositionKey) -> PositionKey:
    return PositionKey(key.instrument, key.side.opposite)
