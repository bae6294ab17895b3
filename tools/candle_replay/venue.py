"""A venue without a wire: the simulator's exchange at the engine's own ports, with the way there and back in time.

An order takes `latency` to the exchange, its answer the same time back, and so does everything the exchange says by
itself. Nothing is lost and nothing is refused for going too fast: what the network does to orders is tried elsewhere.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from msgspec import Struct

from core.domain.ids import Asset, ClientOrderId, InstrumentId, Symbol, VenueOrderId
from core.domain.instrument import Instrument
from core.domain.ledger import Income
from core.domain.money import HUNDRED, Price, Quantity
from core.domain.order import Order, OrderIntent, OrderType, TriggerReference
from core.domain.reports import (
    BalanceReport,
    FillReport,
    OrderStatusReport,
    PositionReport,
    Report,
    Source,
    WalletCause,
)
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
    ReportSink,
    StreamState,
    VenueTraits,
)
from tools.candle_replay.loop import ReplayClock
from tools.candle_replay.tape import Tape
from tools.candle_replay.translate import Translator, income_of
from tools.venuesim.exchange import model
from tools.venuesim.exchange.engine import MatchingEngine
from tools.venuesim.exchange.events import Event

R = model.Refusal
_ABOUT = {
    R.WOULD_TRIGGER: About.WOULD_TRIGGER,
    R.ATTACHED_WOULD_TRIGGER: About.WOULD_TRIGGER,
    R.REDUCE_ONLY_REJECTED: About.NOTHING_TO_REDUCE,
    R.NO_POSITION: About.NOTHING_TO_REDUCE,
    R.INSUFFICIENT_MARGIN: About.INSUFFICIENT_MARGIN,
    R.MAX_POSITION_AT_LEVERAGE: About.POSITION_LIMIT,
    R.PRICE_BAND_HIGH: About.PRICE_BAND,
    R.PRICE_BAND_LOW: About.PRICE_BAND,
}
_TIME_IN_FORCE = {OrderType.LIMIT_IOC: model.TimeInForce.IOC, OrderType.POST_ONLY: model.TimeInForce.GTX}


class ReplayTime:
    """The exchange's clock (exchange.state.Time) on the replay's."""

    def __init__(self, clock: ReplayClock) -> None:
        self._clock = clock

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def market_ms(self) -> float:
        return self._clock.exact_ms()

    def call_later(self, delay_ms: float, action: Callable[[], None]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(delay_ms / 1000, action)


class Place(Struct, frozen=True, kw_only=True):
    """Where things happen. `latency` seconds, one way; `leverage` the account's own before anybody sets another."""

    exchange: MatchingEngine
    tape: Tape
    instrument: Instrument
    traits: VenueTraits
    clock: ReplayClock
    latency: float


class Wire:
    """What is under way. Implements ports.UserStream for what the exchange says, in the order it says it."""

    def __init__(self, place: Place, translator: Translator) -> None:
        self._place = place
        self._translator = translator
        self._told: deque[list[Report]] = deque()
        self._arrived = asyncio.Event()
        self._sink: ReportSink | None = None
        self.under_way = 0
        """Requests, answers and reports that have left and not arrived."""
        self.state = StreamState.LIVE
        self.live_since_ms: int | None = 0
        self.down_since: float | None = None
        self.reconnect_count = 0
        self.stale_key_swap_count = 0
        place.exchange.connect(self._on_events, _NoFaults())

    def deliver_to(self, sink: ReportSink) -> None:
        self._sink = sink

    async def run(self) -> None:
        """Hand over what has arrived, until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._told and self._told[0]:
                reports = self._told.popleft()
                if self._sink is not None:
                    await self._sink(reports)

    async def wait_live(self) -> None:
        return

    async def travel(self) -> None:
        """The time one way takes."""
        self.under_way += 1
        try:
            await asyncio.sleep(self._place.latency)
        finally:
            self.under_way -= 1

    def _on_events(self, batch: tuple[Event, ...]) -> None:
        reports = self._translator.reports(batch)
        if reports:
            self.under_way += 1
            asyncio.get_running_loop().call_later(self._place.latency, self._arrive, reports)

    def _arrive(self, reports: list[Report]) -> None:
        self.under_way -= 1
        self._told.append(reports)
        self._arrived.set()


class _NoFaults:
    """exchange.state.Gate."""

    def order(self, request: model.OrderRequest) -> None: ...
    def conditional(self, request: model.ConditionalRequest) -> None: ...
    def trigger(self, row: model.Conditional) -> None: ...
    def fill_plan(self, order: model.Order) -> None:
        del order


class ReplayClient:
    """Implements ports.VenueClient."""

    def __init__(self, place: Place, wire: Wire, translator: Translator) -> None:
        self._place = place
        self._wire = wire
        self._exchange = place.exchange
        self._translator = translator
        self._symbol = place.instrument.venue_symbol
        self.name = place.instrument.id.venue
        self.traits = place.traits
        self.instruments: Mapping[Symbol, Instrument] = {place.instrument.id.symbol: place.instrument}
        self.clock_offset_ms = 0

    async def open(self) -> None:
        return

    async def close(self) -> None:
        return

    # commands

    async def submit(self, departure: Departure) -> Outcome:
        if (why := departure.objection()) is not None:
            return Rejected(code="", detail=str(why), about=About.WITHHELD)
        intent, left_at = departure.intent, self._place.tape.ticks
        await self._wire.travel()
        if intent.type in (OrderType.STOP_MARKET, OrderType.TRAILING_STOP):
            outcome = self._carried_out(lambda: self._place_stop(intent))
        else:
            outcome = self._carried_out(lambda: self._place_order(departure, left_at))
        await self._wire.travel()
        return outcome

    async def submit_together(self, departures: Sequence[Departure]) -> Sequence[Outcome]:
        return await asyncio.gather(*(self.submit(departure) for departure in departures))

    async def amend_stop(
        self, order: Order, *, trigger_price: Price, quantity: Quantity, tightening: bool = False
    ) -> Outcome:
        del tightening  # every request goes at once here
        change = model.AmendConditional(
            symbol=self._symbol,
            client_id=order.client_order_id,
            trigger_price=trigger_price,
            qty=None if order.intent.whole_position else quantity,
        )
        await self._wire.travel()
        outcome = self._carried_out(
            lambda: self._translator.conditional(self._exchange.amend_conditional(change), Source.REST)
        )
        await self._wire.travel()
        return outcome

    async def cancel(self, order: Order) -> Outcome:
        await self._wire.travel()
        outcome = self._carried_out(lambda: self._cancel(order))
        await self._wire.travel()
        return outcome

    def recall(self, orders: Sequence[Order]) -> None:
        """Every order is told under its client id."""

    async def set_leverage(self, symbol: Symbol, leverage: int) -> None:
        del symbol
        self._exchange.set_leverage(self._symbol, leverage)

    async def set_margin_mode(self, symbol: Symbol, mode: MarginMode) -> None:
        del symbol
        wanted = model.MarginMode(mode.value)
        if self._exchange.config(self._symbol).margin_mode is not wanted:
            self._exchange.set_margin_mode(self._symbol, wanted)

    def _carried_out(self, command: Callable[[], OrderStatusReport]) -> Outcome:
        try:
            return Accepted(reports=(command(),))
        except model.Refused as refused:
            about = _ABOUT.get(refused.reason, About.OTHER)
            return Rejected(code=refused.reason.value, detail=refused.detail or refused.reason.value, about=about)

    def _place_order(self, departure: Departure, left_at: int) -> OrderStatusReport:
        intent, stop = departure.intent, departure.stop
        request = model.OrderRequest(
            symbol=self._symbol,
            side=model.Side(intent.side.value),
            type=model.OrderType.MARKET if intent.type is OrderType.MARKET else model.OrderType.LIMIT,
            qty=intent.quantity,
            price=intent.price,
            tif=_TIME_IN_FORCE.get(intent.type, model.TimeInForce.GTC),
            reduce_only=intent.reduce_only,
            client_id=intent.client_order_id,
            attached=() if stop is None else (self._attachment(stop),),
        )
        self._place.tape.left_at(left_at)
        try:
            return self._translator.order(self._exchange.place(request), Source.REST)
        finally:
            self._place.tape.left_at(None)

    def _attachment(self, stop: OrderIntent) -> model.Attachment:
        if stop.trigger_price is None:
            raise ValueError(f"{stop.client_order_id}: a stop without a trigger price")
        return model.Attachment(
            kind=model.ConditionalType.STOP,
            trigger_price=stop.trigger_price,
            reference=_reference(stop),
            whole_position=self.traits.whole_position_stops,
            client_id=stop.client_order_id,
        )

    def _place_stop(self, intent: OrderIntent) -> OrderStatusReport:
        trailing = intent.type is OrderType.TRAILING_STOP
        whole = self.traits.whole_position_stops and not trailing
        callback = intent.trailing_callback_percent if trailing else None
        request = model.ConditionalRequest(
            symbol=self._symbol,
            side=model.Side(intent.side.value),
            type=model.ConditionalType.TRAILING if trailing else model.ConditionalType.STOP,
            qty=None if whole else intent.quantity,
            trigger_price=None if trailing else intent.trigger_price,
            activation_price=intent.trigger_price if trailing else None,
            callback_rate=None if callback is None else callback / HUNDRED,
            reference=_reference(intent),
            reduce_only=not whole,
            close_position=whole,
            attached=whole,
            client_id=intent.client_order_id,
        )
        return self._translator.conditional(self._exchange.place_conditional(request), Source.REST)

    def _cancel(self, order: Order) -> OrderStatusReport:
        name = order.client_order_id
        if order.intent.type in (OrderType.STOP_MARKET, OrderType.TRAILING_STOP):
            row = self._exchange.cancel_conditional(client_id=name, symbol=self._symbol)
            return self._translator.conditional(row, Source.REST)
        return self._translator.order(self._exchange.cancel(self._symbol, client_id=name), Source.REST)

    # questions

    async def query_order(self, intent: OrderIntent) -> OrderStatusReport | NotFound:
        await self._wire.travel()
        answer = self._found(intent)
        await self._wire.travel()
        return answer

    def _found(self, intent: OrderIntent) -> OrderStatusReport | NotFound:
        name = intent.client_order_id
        try:
            if intent.type not in (OrderType.STOP_MARKET, OrderType.TRAILING_STOP):
                return self._translator.order(self._exchange.order(self._symbol, client_id=name), Source.REST)
            row = self._exchange.conditional(client_id=name, symbol=self._symbol)
            if row.child_id is not None:
                return self._translator.order(self._exchange.order(self._symbol, order_id=row.child_id), Source.REST)
            return self._translator.conditional(row, Source.REST)
        except model.Refused:
            return NotFound.NOT_FOUND

    async def client_id_of(self, instrument: InstrumentId, venue_order_id: VenueOrderId) -> ClientOrderId | NotFound:
        del instrument
        await self._wire.travel()
        try:
            order = self._exchange.order(self._symbol, order_id=int(venue_order_id))
        except model.Refused:
            return NotFound.NOT_FOUND
        return self._translator.order(order, Source.REST).client_order_id

    async def fills(self, instrument: InstrumentId, since_ms: int) -> Sequence[FillReport]:
        del instrument
        await self._wire.travel()
        rows = [fill for fill in self._exchange.fills(self._symbol) if fill.time_ms >= since_ms]
        return [self._translator.fill(row, self._exchange.order(self._symbol, order_id=row.order_id)) for row in rows]

    async def income(self, since_ms: int) -> Sequence[Income]:
        name = self._place.instrument.id.symbol
        return [income_of(row, self.name, name) for row in self._exchange.income() if row.time_ms >= since_ms]

    async def positions(self) -> Sequence[PositionReport]:
        now_ms = self._place.clock.now_ms()
        return [self._translator.position(row, Source.REST, now_ms) for row in self._exchange.positions()]

    async def balances(self) -> Sequence[BalanceReport]:
        now_ms = self._place.clock.now_ms()
        asset = self._place.instrument.quote
        row = self._exchange.balance(asset)
        return [self._translator.balance(row, Source.REST, now_ms, WalletCause.SNAPSHOT)]

    async def mass_status(self) -> MassStatus:
        exchange, translator = self._exchange, self._translator
        orders = [translator.order(row, Source.REST) for row in exchange.open_orders(self._symbol)]
        resting = [translator.conditional(row, Source.REST) for row in exchange.open_conditionals(self._symbol)]
        return MassStatus(
            venue=self.name,
            requested_ms=self._place.clock.now_ms(),
            orders=(*orders, *resting),
            positions=tuple(await self.positions()),
            balances=tuple(await self.balances()),
        )

    async def account_settings(self) -> AccountSettings:
        config, symbol = self._exchange.config(self._symbol), self._place.instrument.id.symbol
        return AccountSettings(
            hedge_mode=False,
            can_trade=True,
            multi_assets=False,
            leverage={symbol: config.leverage},
            margin={symbol: MarginMode(config.margin_mode.value)},
        )

    async def key_rights(self) -> KeyRights | None:
        return None

    async def measure_clock(self) -> None:
        return

    async def load_instruments(self) -> None:
        return

    async def warm(self, connections: int) -> None:
        del connections

    def wallet(self) -> Decimal:
        """What the account holds in the quote coin, open positions left out."""
        return self._exchange.balance(Asset(self._place.instrument.quote)).wallet


def _reference(stop: OrderIntent) -> model.Reference:
    mark = stop.trigger_reference is TriggerReference.MARK_PRICE
    return model.Reference.MARK if mark else model.Reference.LAST
