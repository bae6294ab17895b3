"""A venue at port level: it executes what it is sent, and a test scripts what it answers, tells and withholds.

Like Binance it answers an order with its state and without trades, tells trades on the stream, leaves client order ids
free again once an order has ended, and knows a plain fill only by its own order id.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from msgspec.structs import replace

from core.clock import Clock
from core.domain.ids import ClientOrderId, InstrumentId, Leg, Symbol, VenueName, VenueOrderId
from core.domain.instrument import Instrument
from core.domain.ledger import Income
from core.domain.money import ZERO, Price, Quantity
from core.domain.order import Order, OrderIntent, OrderStatus
from core.domain.reports import BalanceReport, FillReport, OrderStatusReport, PositionReport, Report, Source
from core.domain.signal import Side
from core.engine.ports import (
    About,
    Accepted,
    AccountSettings,
    Attach,
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
from core.errors import VenueError
from tests.builders import a_balance_report, a_fill, a_mass_status, a_position_report, a_status
from tests.fakes.diary import Diary

Script = Callable[[OrderIntent], Awaitable[Outcome]]
S = OrderStatus


@dataclass
class Resting:
    """One order as the venue sees it."""

    intent: OrderIntent
    venue_order_id: VenueOrderId
    status: OrderStatus
    filled: Decimal = ZERO
    fills: list[FillReport] = field(default_factory=list)
    level: Price | None = None
    size: Quantity | None = None


class ScriptedVenue:
    """`latency` seconds per request. `tells` False = the stream is silent. `partial` splits an entry into these
    quantities, `pause` seconds apart. `error` makes every read fail."""

    def __init__(  # noqa: PLR0915 - everything a test may script
        self, name: VenueName, instruments: Iterable[Instrument], clock: Clock, diary: Diary, latency: float = 0.0
    ) -> None:
        self._name = name
        self.traits = VenueTraits()
        self._instruments = {instrument.id.symbol: instrument for instrument in instruments}
        self._clock = clock
        self._diary = diary
        self._numbers = 0
        self._scripts: dict[Leg, deque[Script]] = {leg: deque() for leg in Leg}
        self._always: dict[Leg, Script] = {}
        self.sink: Callable[[Sequence[Report]], Awaitable[None]] | None = None
        self.latency = latency
        self.tells = True
        self.partial: list[Decimal] = []
        self.pause = 0.0
        self.price = Decimal(100)
        self.wallet = Decimal(10_000)
        self.history: list[Income] = []
        """What changed the wallet, as the venue lists it; scripted beside `wallet`."""
        self.error: VenueError | None = None
        self.cancel_answers: deque[Outcome] = deque()
        self.orders: dict[ClientOrderId, Resting] = {}
        self.foreign_orders: dict[VenueOrderId, ClientOrderId] = {}
        self.positions_held: dict[InstrumentId, Decimal] = {}
        self.told: list[PositionReport] | None = None
        """What readings of positions say instead of what is held."""
        self.attached: dict[ClientOrderId, OrderIntent] = {}
        """Stops that came with an entry and do not exist yet, by the entry's id."""
        self.stop_first = 0.0
        """Seconds by which a stop that came with an entry is told before the fill."""
        self.attaches = True
        """False: the venue takes such stops and never makes them."""
        self.together: list[int] = []
        """How many orders each request with several had."""
        self.amended: list[tuple[ClientOrderId, Price, Quantity]] = []
        self.amend_answers: deque[Outcome] = deque()
        self.amend_seconds = 0.0
        self.load_seconds = 0.0
        self.sent: list[OrderIntent] = []
        self.on_load: Callable[[], None] = lambda: None
        """What a reading of the trading rules changes."""
        self.sent_at: list[float] = []
        self.asked: list[tuple[float, ClientOrderId]] = []
        self.cancelled: list[ClientOrderId] = []
        self.reads: list[str] = []
        self.leverages: list[tuple[Symbol, int]] = []
        self.margins: list[tuple[Symbol, MarginMode]] = []
        self.offset_ms = 0
        self.queued = 0.0
        """Seconds an entry waits for the request budget before it leaves."""
        self.warmed: list[int] = []
        self.set_leverage_seconds: dict[Symbol, float] = {}
        self.mass_statuses: deque[MassStatus] = deque()
        self.strange: frozenset[str] = frozenset()
        """What it holds and does not list."""

    # scripting

    def script(self, leg: Leg, *steps: Script) -> None:
        """What happens to the next orders of this leg, one each; afterwards the venue behaves."""
        self._scripts[leg].extend(steps)

    def always(self, leg: Leg, step: Script) -> None:
        self._always[leg] = step

    def only(self, leg: Leg) -> list[OrderIntent]:
        return [intent for intent in self.sent if intent.leg is leg]

    def working_stops(self) -> list[Resting]:
        return [o for o in self.orders.values() if o.intent.leg is Leg.STOP and o.status is S.ACCEPTED]

    async def behave(self, intent: OrderIntent) -> Outcome:
        """Execute, tell the stream, answer."""
        return Accepted(reports=(await self.execute(intent),))

    async def lose_answer(self, intent: OrderIntent) -> Outcome:
        """Executed, and the answer is lost on the way."""
        await self.execute(intent)
        return Unknown(cause="connection reset")

    async def lose_request(self, intent: OrderIntent) -> Outcome:
        """Never arrived; we cannot know that."""
        return Unknown(cause="time-out")

    async def hang(self, intent: OrderIntent) -> Outcome:
        await asyncio.sleep(10_000)
        return Unknown(cause="time-out")

    async def expire(self, intent: OrderIntent) -> Outcome:
        """Taken, and ended without a trade: a limit that found nobody."""
        order = self._register(intent, S.ACCEPTED)
        await self.end(order, S.EXPIRED)
        return Accepted(reports=(self._status(order),))

    async def tell_position(self, instrument: InstrumentId, amount: Decimal) -> None:
        """On the stream, whatever it holds."""
        await self._tell([a_position_report(instrument, amount=amount, source=Source.STREAM)])

    async def accept_silently(self, intent: OrderIntent) -> Outcome:
        """Taken, and nothing at all is told about it."""
        self._register(intent, S.ACCEPTED)
        return Accepted(reports=())

    @staticmethod
    def reject(code: str = "-2019", about: About = About.OTHER) -> Script:
        async def refuse(intent: OrderIntent) -> Outcome:
            return Rejected(code=code, detail="no", about=about)

        return refuse

    # what the venue does

    async def execute(self, intent: OrderIntent) -> OrderStatusReport:
        order = self._register(intent, S.ACCEPTED)
        if intent.conditional:
            report = self._status(order)
            await self._tell([report])
            return report
        pieces = self.partial if intent.leg is Leg.ENTRY and self.partial else [intent.quantity]
        for number, piece in enumerate(pieces):
            if number:
                await asyncio.sleep(self.pause)
            await self.trade(order, piece)
        if order.filled < intent.quantity:
            order.status = S.EXPIRED
            await self._tell([self._status(order)])
        return self._status(order)

    async def trade(self, order: Resting, amount: Decimal, *, child_of_stop: bool = False) -> None:
        """Fill part of an order and tell it."""
        held = self.positions_held.get(order.intent.instrument, ZERO)
        if order.intent.reduce_only:
            amount = min(amount, abs(held))
        sign = 1 if order.intent.side is Side.BUY else -1
        self.positions_held[order.intent.instrument] = held + amount * sign
        order.filled += amount
        order.status = S.FILLED if order.filled == order.intent.quantity else S.PARTIALLY_FILLED
        self._numbers += 1
        fill = a_fill(
            order.intent,
            trade_id=f"t{self._numbers}",
            amount=amount,
            at=self.price,
            venue_order_id=order.venue_order_id,
            venue_time_ms=self._clock.now_ms(),
        )
        order.fills.append(fill)
        attached = self._attach(order)
        if self.stop_first and attached:
            await self._tell(attached)
            await asyncio.sleep(self.stop_first)
            attached = []
        await self._tell([fill, self._status(order), *attached])

    def _attach(self, entry: Resting) -> list[Report]:
        """The stop that came with an entry, once the venue makes it: at the moment of the fill."""
        complete = self.traits.attach is Attach.COMPLETE_FILL
        if not self.attaches or (complete and entry.status is not S.FILLED):
            return []
        stop = self.attached.pop(entry.intent.client_order_id, None)
        return [] if stop is None else [self._status(self._register(stop, S.ACCEPTED))]

    async def fire(self, order: Resting, *, fills: bool = True) -> None:
        """Trigger a resting stop; with `fills` False its child order never trades."""
        order.status = S.TRIGGERED
        await self._tell([self._status(order)])
        if fills:
            await self.trade(order, order.intent.quantity)

    async def end(self, order: Resting, status: OrderStatus) -> None:
        """Cancel or expire an order by the venue's own decision."""
        order.status = status
        await self._tell([self._status(order)])

    async def _tell(self, reports: Sequence[Report]) -> None:
        if self.tells and self.sink is not None:
            await self.sink(reports)

    def _register(self, intent: OrderIntent, status: OrderStatus) -> Resting:
        self._numbers += 1
        if intent.whole_position:
            for older in self.orders.values():
                same = (older.intent.instrument, older.intent.side) == (intent.instrument, intent.side)
                same = same and older.intent.leg is intent.leg
                if same and older.intent.whole_position and older.status is S.ACCEPTED:
                    older.status = S.CANCELED
        order = Resting(intent=intent, venue_order_id=VenueOrderId(f"v{self._numbers}"), status=status)
        self.orders[intent.client_order_id] = order
        return order

    def _status(self, order: Resting) -> OrderStatusReport:
        told = a_status(
            order.intent,
            order.status,
            filled=order.filled,
            venue_order_id=order.venue_order_id,
            conditional=order.intent.conditional and order.status in (S.ACCEPTED, S.TRIGGERED),
            venue_time_ms=self._clock.now_ms(),
            source=Source.REST,
        )
        return replace(told, trigger_price=order.level or told.trigger_price, quantity=order.size or told.quantity)

    # VenueClient

    @property
    def name(self) -> VenueName:
        return self._name

    @property
    def instruments(self) -> Mapping[Symbol, Instrument]:
        return self._instruments

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def submit(self, departure: Departure) -> Outcome:
        intent, objection = departure.intent, departure.objection
        if self.queued and not intent.reduce_only:
            await asyncio.sleep(self.queued)
        if (why := objection()) is not None:
            return Rejected(code="", detail=why, about=About.WITHHELD)
        self._diary.append(("wire", intent.client_order_id))
        self.sent.append(intent)
        self.sent_at.append(self._clock.monotonic())
        if departure.stop is not None:
            self.attached[intent.client_order_id] = departure.stop
        await asyncio.sleep(self.latency)
        waiting = self._scripts[intent.leg]
        step = waiting.popleft() if waiting else self._always.get(intent.leg, self.behave)
        return await step(intent)

    async def submit_together(self, departures: Sequence[Departure]) -> Sequence[Outcome]:
        self.together.append(len(departures))
        return await asyncio.gather(*(self.submit(departure) for departure in departures))

    async def amend_stop(
        self, order: Order, *, trigger_price: Price, quantity: Quantity, tightening: bool = False
    ) -> Outcome:
        self.amended.append((order.client_order_id, trigger_price, quantity))
        await asyncio.sleep(self.latency + self.amend_seconds)
        if self.amend_answers:
            return self.amend_answers.popleft()
        resting = self.orders[order.client_order_id]
        if resting.status is not S.ACCEPTED:
            return Rejected(code="gone", detail="no such stop")
        resting.level, resting.size = trigger_price, quantity
        return Accepted(reports=(self._status(resting),))

    def recall(self, orders: Sequence[Order]) -> None:
        """Every order is told under its client id."""

    async def cancel(self, order: Order) -> Outcome:
        self._diary.append(("cancel", order.client_order_id))
        self.cancelled.append(order.client_order_id)
        await asyncio.sleep(self.latency)
        if self.cancel_answers:
            return self.cancel_answers.popleft()
        resting = self.orders.get(order.client_order_id)
        if resting is None or resting.status is not S.ACCEPTED:
            return Rejected(code="-2011", detail="unknown order")
        resting.status = S.CANCELED
        return Accepted(reports=(self._status(resting),))

    async def query_order(self, intent: OrderIntent) -> OrderStatusReport | NotFound:
        self.asked.append((self._clock.monotonic(), intent.client_order_id))
        await self._read("query_order")
        order = self.orders.get(intent.client_order_id)
        return NotFound.NOT_FOUND if order is None else self._status(order)

    async def client_id_of(self, instrument: InstrumentId, venue_order_id: VenueOrderId) -> ClientOrderId | NotFound:
        await self._read("client_id_of")
        owned = {**self.foreign_orders, **{o.venue_order_id: i for i, o in self.orders.items()}}
        return owned.get(venue_order_id, NotFound.NOT_FOUND)

    async def fills(self, instrument: InstrumentId, since_ms: int) -> Sequence[FillReport]:
        await self._read("fills")
        every = [fill for order in self.orders.values() for fill in order.fills if fill.instrument == instrument]
        return [
            replace(fill, client_order_id=ClientOrderId(""), source=Source.REST)
            for fill in every
            if fill.venue_time_ms >= since_ms
        ]

    async def income(self, since_ms: int) -> Sequence[Income]:
        await self._read("income")
        return [line for line in self.history if line.venue_time_ms >= since_ms]

    async def positions(self) -> Sequence[PositionReport]:
        await self._read("positions")
        return self._positions()

    async def balances(self) -> Sequence[BalanceReport]:
        await self._read("balances")
        return [a_balance_report(self.wallet, venue=self._name, venue_time_ms=self._clock.now_ms())]

    async def mass_status(self) -> MassStatus:
        requested = self._clock.now_ms()
        await self._read("mass_status")
        if self.mass_statuses:
            return self.mass_statuses.popleft()
        working = [o for o in self.orders.values() if o.status in (S.ACCEPTED, S.PARTIALLY_FILLED)]
        told = a_mass_status(
            venue=self._name,
            requested_ms=requested,
            orders=tuple(replace(self._status(o), venue_time_ms=requested - 60_000) for o in working),
            positions=tuple(self._positions()),
            balances=(a_balance_report(self.wallet, venue=self._name, venue_time_ms=requested),),
        )
        return replace(told, unlisted=self.strange)

    async def account_settings(self) -> AccountSettings:
        return AccountSettings(hedge_mode=False, can_trade=True, multi_assets=False, leverage={})

    async def key_rights(self) -> KeyRights | None:
        return None

    async def set_margin_mode(self, symbol: Symbol, mode: MarginMode) -> None:
        self.margins.append((symbol, mode))

    async def set_leverage(self, symbol: Symbol, leverage: int) -> None:
        self.leverages.append((symbol, leverage))
        await asyncio.sleep(self.set_leverage_seconds.get(symbol, self.latency))
        if self.error is not None:
            raise self.error

    @property
    def clock_offset_ms(self) -> int:
        return self.offset_ms

    async def measure_clock(self) -> None:
        await self._read("clock")

    async def load_instruments(self) -> None:
        await self._read("instruments")
        await asyncio.sleep(self.load_seconds)
        self.on_load()

    async def warm(self, connections: int) -> None:
        self.warmed.append(connections)

    async def _read(self, what: str) -> None:
        self.reads.append(what)
        await asyncio.sleep(self.latency)
        if self.error is not None:
            raise self.error

    def _positions(self) -> list[PositionReport]:
        at = self._clock.now_ms()
        if self.told is not None:
            return self.told
        return [
            a_position_report(i, amount=held, at=self.price, venue_time_ms=at)
            for i, held in self.positions_held.items()
            if held
        ]
