"""VenueClient for OKX: ccxt's implicit endpoints with our own parameters, unified calls for markets only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import structlog

from core.clock import Clock
from core.domain.ids import ClientOrderId, InstrumentId, Symbol, VenueName, VenueOrderId
from core.domain.instrument import Instrument
from core.domain.ledger import Income
from core.domain.money import ZERO, Price, Quantity
from core.domain.order import Order, OrderIntent, OrderStatus, OrderType
from core.domain.reports import BalanceReport, FillReport, OrderStatusReport, PositionReport, Report, Source
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
)
from core.errors import MalformedPayload, Refused, StartRefused, VenueError
from core.venues.client import CommandPolicy
from core.venues.okx import codes, facts
from core.venues.okx.account import AccountReads
from core.venues.okx.batches import Batch
from core.venues.okx.contracts import ContractTable, UncountableError
from core.venues.okx.income import history
from core.venues.okx.lookups import Lookups
from core.venues.okx.margin import MarginBook
from core.venues.okx.orders import (
    AccountMode,
    amendment,
    callback_refusal,
    cancellation,
    is_resting_stop,
    placement,
    stop_placement,
    trail_placement,
)
from core.venues.okx.parse import acknowledged
from core.venues.okx.payloads import Ack, Answer, ConfigRow, TimeRow
from core.venues.okx.rules import Rules
from core.venues.payload import ms_in, shaped, whole_in
from core.venues.reading import ReadPolicy, reading, together
from core.venues.venue_clock import VenueClock
from core.venues.warming import warm

log = structlog.get_logger(__name__)

_reading = reading("okx")


class OkxClient:
    """`ccxt` is a `PortedExchange` of ccxt's okx. One per account. `margin` is shared with the private stream."""

    name = VenueName.OKX
    traits = facts.TRAITS

    def __init__(
        self, ccxt: Any, table: ContractTable, margin: MarginBook, clock: Clock, venue_clock: VenueClock
    ) -> None:
        self._ccxt, self._table, self._margin = ccxt, table, margin
        self._clock, self._venue_clock = clock, venue_clock
        self._mode = AccountMode()
        self._leverages: dict[Symbol, int] = {}
        reads = self._reads = ReadPolicy(codes.ERRORS, self.measure_clock)
        self._account = AccountReads(ccxt, table, margin, reads)
        self._lookups = Lookups(ccxt, table, reads)
        self._rules = Rules(ccxt, table, reads)
        self._commands = CommandPolicy(codes.ERRORS, clock, self.measure_clock, about=codes.ABOUT)

    @property
    def instruments(self) -> Mapping[Symbol, Instrument]:
        return self._table.instruments

    @property
    def clock_offset_ms(self) -> int:
        return self._venue_clock.offset_ms

    # --- life -------------------------------------------------------------------------------------------------------

    @_reading
    async def open(self) -> None:
        """Clock first, because everything signed depends on it; then the rest at once, which also warms the pool."""
        await self.measure_clock()
        try:
            config, _ = await together(self._account.config(), self._rules.load())
        except Refused as error:
            if codes.ERRORS.is_key(error):
                raise StartRefused(
                    f"okx refuses the API key (code {error.code}: {error.what}); check OKX_API_KEY, its secret, "
                    "OKX_PASSPHRASE, its address list, and whether it is one of the demo environment (OKX_TESTNET)"
                ) from error
            raise
        if config.acctLv == facts.SPOT_LEVEL:
            raise StartRefused(
                f"the okx account is in {facts.LEVELS[config.acctLv]} (acctLv {config.acctLv}), which trades no swaps; "
                "switch its account mode to futures mode on the venue's web page"
            )
        self._mode = _mode(config)

    async def close(self) -> None:
        await self._ccxt.seam.http.close()

    @_reading
    async def measure_clock(self) -> None:
        await self._venue_clock.measure(self._server_time)

    async def _server_time(self) -> int:
        answer = shaped(await self._ccxt.publicGetPublicTime(), Answer[TimeRow], "okx time")
        try:
            return ms_in(answer.data[0].ts, "ts")
        except (ValueError, IndexError) as error:
            raise MalformedPayload("okx time", str(error)) from None

    @_reading
    async def load_instruments(self) -> None:
        await self._rules.load()

    async def warm(self, connections: int) -> None:
        """With the request the venue allows most of; failures do not matter here."""
        inst_id = next(iter(self._table.rows), "BTC-USDT-SWAP")
        await warm(partial(self._ccxt.publicGetMarketTrades, {"instId": inst_id, "limit": "1"}), connections)

    # --- commands ---------------------------------------------------------------------------------------------------

    async def submit(self, departure: Departure) -> Outcome:
        with self._ccxt.seam.withholding.leaving([departure]):
            outcome = await self._place(departure, self._mode)
            refused = isinstance(outcome, Rejected) and outcome.code == codes.WRONG_PARAMETER
            if departure.intent.reduce_only and refused:
                outcome = await self._place_otherwise(departure, outcome)
            return codes.worded(outcome) if isinstance(outcome, Rejected) else outcome

    async def submit_together(self, departures: Sequence[Departure]) -> Sequence[Outcome]:
        """Entries in one request. What reduces goes by itself, each with its own repetitions; stops have to."""
        entries = [departure for departure in departures if not departure.intent.reduce_only]
        if len(entries) < 2:
            return await asyncio.gather(*(self.submit(departure) for departure in departures))
        reducing = [departure for departure in departures if departure.intent.reduce_only]
        many, alone = await asyncio.gather(
            self._place_together(entries), asyncio.gather(*(self.submit(departure) for departure in reducing))
        )
        outcomes = {departure.intent.client_order_id: outcome for departure, outcome in zip(entries, many, strict=True)}
        outcomes |= {
            departure.intent.client_order_id: outcome for departure, outcome in zip(reducing, alone, strict=True)
        }
        return [outcomes[departure.intent.client_order_id] for departure in departures]

    async def _place(self, departure: Departure, mode: AccountMode) -> Outcome:
        intent = departure.intent
        if (why := callback_refusal(intent)) is not None:
            return Rejected(code="", detail=why)
        contract, margin = self._table.contract_of(intent.instrument), self._margin.of(intent).value
        self._rules.used(intent.instrument)
        try:
            if intent.type is OrderType.STOP_MARKET:
                params = stop_placement(intent, contract, mode, margin=margin)
                call = self._ccxt.privatePostTradeOrderAlgo
            elif intent.type is OrderType.TRAILING_STOP:
                params = trail_placement(intent, contract, mode, margin=margin)
                call = self._ccxt.privatePostTradeOrderAlgo
            else:
                params = placement(intent, contract, mode, margin=margin, stop=departure.stop)
                call = self._ccxt.privatePostTradeOrder
        except UncountableError as error:
            return _uncountable(error)

        async def send() -> tuple[Report, ...]:
            ack = _acks(await call(dict(params)), most=1)[0]
            return (self._acknowledged(intent, ack),)

        return await self._commands.run(send, protective=intent.reduce_only, tightening=departure.tightening)

    async def _place_otherwise(self, departure: Departure, refused: Outcome) -> Outcome:
        """The position mode was changed behind our back: protection goes out as the account is now. Entries stay
        refused until somebody has read the settings and judged them (CFG-07)."""
        try:
            mode = _mode(await self._account.config())
        except (VenueError, MalformedPayload) as error:
            log.warning("venue.mode_unread", venue=self.name, error=str(error))
            return refused
        return refused if mode == self._mode else await self._place(departure, mode)

    async def _place_together(self, departures: Sequence[Departure]) -> Sequence[Outcome]:
        batch = Batch(self._ccxt.seam)
        for departure in departures:
            intent = departure.intent
            self._rules.used(intent.instrument)
            contract, margin = self._table.contract_of(intent.instrument), self._margin.of(intent).value
            try:
                batch.add(departure, placement(intent, contract, self._mode, margin=margin, stop=departure.stop))
            except UncountableError as error:
                batch.refuse(departure, _uncountable(error))

        async def send(rows: list[dict[str, Any]]) -> list[Ack]:
            return _acks(await self._ccxt.privatePostTradeBatchOrders(rows))

        return await batch.send(send, self._commands, self._acknowledged)

    async def amend_stop(
        self, order: Order, *, trigger_price: Price, quantity: Quantity, tightening: bool = False
    ) -> Outcome:
        contract = self._table.contract_of(order.instrument)
        try:
            params = amendment(order, contract, trigger_price=trigger_price, quantity=quantity)
        except UncountableError as error:
            return _uncountable(error)

        async def send() -> tuple[Report, ...]:
            _acks(await self._ccxt.privatePostTradeAmendAlgos(dict(params)))
            # It was taken, which is not done: a move that fails is told by the stream, with the row as it was. So this
            # word is no newer than what it changes.
            return (self._told(order, OrderStatus.ACCEPTED, order.venue_time_ms, trigger_price, quantity),)

        return await self._commands.run(send, protective=True, tightening=tightening)

    def recall(self, orders: Sequence[Order]) -> None:
        """OKX tells every order under its client id, and what a stop became under its stop's."""

    async def cancel(self, order: Order) -> Outcome:
        params = cancellation(order, self._table.contract_of(order.instrument))
        resting = is_resting_stop(order)

        async def send() -> tuple[Report, ...]:
            if resting:
                _acks(await self._ccxt.privatePostTradeCancelAlgos([dict(params)]))
                return (self._told(order, OrderStatus.CANCELED, self._venue_clock.now_ms(), order.trigger_price, None),)
            _acks(await self._ccxt.privatePostTradeCancelOrder(dict(params)))
            return ()

        outcome = await self._commands.run(send, protective=True)
        return outcome if resting or isinstance(outcome, Rejected) else await self._ended(order, outcome)

    async def _ended(self, order: Order, outcome: Outcome) -> Outcome:
        """A plain order's cancel is taken before it is done, and the order may fill meanwhile: what became of it is
        asked for, and where that is not told the stream will tell."""
        try:
            told = await self._lookups.order(order.intent)
        except (VenueError, MalformedPayload):
            return outcome
        return outcome if told is None else Accepted(reports=(told,))

    def _acknowledged(self, intent: OrderIntent, ack: Ack) -> OrderStatusReport:
        when = whole_in(ack.ts) or self._venue_clock.now_ms()
        return acknowledged(intent, ack.algoId or ack.ordId, when)

    def _told(
        self, order: Order, status: OrderStatus, when: int, trigger_price: Price | None, quantity: Quantity | None
    ) -> OrderStatusReport:
        """What an answer without a state says of a resting stop: what was asked for is done."""
        return OrderStatusReport(
            instrument=order.instrument,
            client_order_id=order.client_order_id,
            venue_order_id=order.venue_order_id,
            status=status,
            side=order.intent.side,
            quantity=quantity or order.quantity,
            filled=Quantity(ZERO),
            average_price=None,
            trigger_price=trigger_price,
            reduce_only=order.intent.reduce_only,
            conditional=True,
            venue_time_ms=when,
            source=Source.REST,
        )

    @_reading
    async def set_leverage(self, symbol: Symbol, leverage: int) -> None:
        instrument = InstrumentId(self.name, symbol)
        self._rules.used(instrument)
        mode = self._margin.wanted(instrument)
        await self._account.set_leverage(instrument, leverage, mode, hedge_mode=self._mode.hedge_mode)
        self._leverages[symbol] = leverage

    @_reading
    async def set_margin_mode(self, symbol: Symbol, mode: MarginMode) -> None:
        """Each order says its mode, so nothing of it is set at the venue. But each mode has leverages of its own: what
        we said of the symbol's must be true of the new mode too, before anything is sent in it."""
        instrument = InstrumentId(self.name, symbol)
        told = self._leverages.get(symbol)
        if mode is not self._margin.wanted(instrument) and told is not None:
            await self._account.set_leverage(instrument, told, mode, hedge_mode=self._mode.hedge_mode)
        self._margin.want(instrument, mode)

    # --- look-ups ---------------------------------------------------------------------------------------------------

    @_reading
    async def query_order(self, intent: OrderIntent) -> OrderStatusReport | NotFound:
        return await self._lookups.order(intent) or NotFound.NOT_FOUND

    @_reading
    async def client_id_of(self, instrument: InstrumentId, venue_order_id: VenueOrderId) -> ClientOrderId | NotFound:
        contract = self._table.contract_of(instrument)
        found = await self._lookups.client_id_of(contract, venue_order_id)
        return NotFound.NOT_FOUND if found is None else found

    @_reading
    async def fills(self, instrument: InstrumentId, since_ms: int) -> Sequence[FillReport]:
        return await self._lookups.fills(self._table.contract_of(instrument), since_ms, self._venue_clock.now_ms())

    @_reading
    async def income(self, since_ms: int) -> Sequence[Income]:
        return await history(self._ccxt, self._table, self._reads, since_ms, self._venue_clock.now_ms())

    @_reading
    async def positions(self) -> Sequence[PositionReport]:
        return (await self._account.positions())[0]

    @_reading
    async def balances(self) -> Sequence[BalanceReport]:
        return await self._account.balances()

    @_reading
    async def mass_status(self) -> MassStatus:
        """Six requests at once; one that fails raises for all (INV-5)."""
        requested_ms = self._clock.now_ms()
        orders, ((positions, unlisted), balances) = await together(
            self._lookups.working(), together(self._account.positions(), self._account.balances())
        )
        return MassStatus(
            venue=self.name,
            requested_ms=requested_ms,
            orders=tuple(orders),
            positions=tuple(positions),
            balances=tuple(balances),
            unlisted=unlisted,
        )

    @_reading
    async def account_settings(self) -> AccountSettings:
        """The margin modes are those our orders say; leverages are told for these. No level we trade with mixes coins
        unless the account is in multi-currency or portfolio margin, whose figures of what is free count for all of
        them."""
        config, leverages = await together(self._account.config(), self._account.leverages())
        self._mode = _mode(config)
        self._leverages = dict(leverages)
        return AccountSettings(
            hedge_mode=self._mode.hedge_mode,
            can_trade="trade" in config.perm.split(",") and config.acctLv != facts.SPOT_LEVEL,
            multi_assets=False,
            leverage=leverages,
            margin={i.id.symbol: self._margin.wanted(i.id) for i in self._table.instruments.values()},
        )

    @_reading
    async def key_rights(self) -> KeyRights | None:
        config = await self._account.config()
        rights = config.perm.split(",")
        return KeyRights(trade="trade" in rights, withdraw="withdraw" in rights, bound_to_addresses=bool(config.ip))


def _mode(config: ConfigRow) -> AccountMode:
    return AccountMode(
        hedge_mode=facts.POSITION_MODES[config.posMode], ties_stops=config.acctLv != facts.PORTFOLIO_LEVEL
    )


def _acks(answer: Any, *, most: int = facts.PAGE) -> list[Ack]:
    rows = shaped(answer, Answer[Ack], "okx answer").data
    if not 0 < len(rows) <= most:
        raise MalformedPayload("okx answer", f"it speaks of {len(rows)} orders, not of the one that was sent")
    return rows


def _uncountable(error: UncountableError) -> Rejected:
    """Never asked: by the rules we have, the venue would have refused it."""
    return Rejected(code="", detail=str(error), about=About.STALE_RULES)
