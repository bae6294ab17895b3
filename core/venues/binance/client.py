"""VenueClient for Binance USD-M: ccxt's implicit endpoints with our own parameters, unified calls for markets only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import structlog

from core.clock import Clock
from core.domain.ids import ClientOrderId, InstrumentId, Symbol, VenueName, VenueOrderId
from core.domain.instrument import Instrument
from core.domain.ledger import Income
from core.domain.money import ZERO, Price, Quantity
from core.domain.order import Order, OrderIntent, OrderStatus
from core.domain.reports import BalanceReport, FillReport, OrderStatusReport, PositionReport, Report, Source
from core.engine.giving_way import by_turns
from core.engine.ports import AccountSettings, Departure, KeyRights, MarginMode, MassStatus, NotFound, Outcome, Rejected
from core.errors import MalformedPayload, Refused, StartRefused, VenueError
from core.venues.binance import facts
from core.venues.binance.income import history
from core.venues.binance.instruments import listing
from core.venues.binance.orders import Command, Store, callback_refusal, cancellation, placement
from core.venues.binance.parse import (
    account_position_report,
    algo_report,
    balance_reports,
    order_report,
    position_report,
    trade_report,
)
from core.venues.binance.payloads import (
    AccountConfigRow,
    AccountRow,
    AlgoRow,
    IncomeRow,
    KeyRightsRow,
    LeverageRow,
    OrderRow,
    PositionRow,
    ServerTime,
    SymbolConfigRow,
    TradeRow,
)
from core.venues.client import CommandPolicy
from core.venues.payload import note_page, shaped, some_in
from core.venues.reading import ReadPolicy, reading, together
from core.venues.symbols import SymbolTable
from core.venues.venue_clock import VenueClock
from core.venues.warming import warm

_T = TypeVar("_T")

log = structlog.get_logger(__name__)

_PAGE = 1000
_ABSENT = frozenset({facts.NO_SUCH_ORDER})
_reading = reading("binance")


class BinanceClient:
    """`ccxt` is a `PortedExchange` of ccxt's binanceusdm. One per account."""

    name = VenueName.BINANCE
    traits = facts.TRAITS

    def __init__(
        self, ccxt: Any, symbols: SymbolTable, clock: Clock, venue_clock: VenueClock, *, tells_rights: bool
    ) -> None:
        """`tells_rights`: whether this environment can be asked what the key may do."""
        self._tells_rights = tells_rights
        self._ccxt, self._symbols = ccxt, symbols
        self._clock, self._venue_clock = clock, venue_clock
        self._hedge_mode = False
        self._reads = ReadPolicy(facts.ERRORS, self.measure_clock)
        self._commands = CommandPolicy(
            facts.ERRORS,
            clock,
            self.measure_clock,
            about=facts.ABOUT,
        )

    @property
    def instruments(self) -> Mapping[Symbol, Instrument]:
        return self._symbols.instruments

    @property
    def clock_offset_ms(self) -> int:
        return self._venue_clock.offset_ms

    # --- life -------------------------------------------------------------------------------------------------------

    @_reading
    async def open(self) -> None:
        """Clock first, because everything signed depends on it; then the rest at once, which also warms the pool."""
        await self.measure_clock()
        try:
            settings, _ = await together(self._account_config(), self.load_instruments())
        except Refused as error:
            if facts.ERRORS.is_key(error):
                raise StartRefused(
                    f"binance refuses the API key (code {error.code}: {error.what}); "
                    "check BINANCE_API_KEY, its secret, its futures permission and its address list"
                ) from error
            raise
        self._hedge_mode = settings.dualSidePosition

    async def close(self) -> None:
        await self._ccxt.seam.http.close()

    @_reading
    async def measure_clock(self) -> None:
        """Raises VenueError."""

        async def server_time() -> int:
            return shaped(await self._ccxt.fapiPublicGetTime(), ServerTime, "binance time").serverTime

        await self._venue_clock.measure(server_time)

    @_reading
    async def load_instruments(self) -> None:
        """Market rules, leverage brackets and request limits, replaced as a whole; parsed off the loop.

        ccxt reads one market at a time and keeps none of them: a reload leaves nothing behind. Raises VenueError.
        """
        rules, brackets = await together(
            self._reads.run(self._ccxt.fapiPublicGetExchangeInfo),
            self._reads.run(self._ccxt.fapiPrivateGetLeverageBracket),
        )
        known = self._symbols.instruments
        listed = await self._ccxt.seam.off_loop(lambda: listing(rules, brackets, self._ccxt.parse_market, known))
        if listed.unusable:
            first = next(iter(listed.unusable.items()))
            log.warning("venue.markets_unusable", venue=self.name, count=len(listed.unusable), first=first)
        try:
            self._symbols.replace(listed.usable)
        except ValueError as error:
            raise MalformedPayload("binance exchangeInfo", str(error)) from None
        self._ccxt.seam.budget.learn(facts.limits_told(rules.get("rateLimits")))

    async def warm(self, connections: int) -> None:
        """Opens up to that many pooled connections with the cheapest request there is; failures do not matter here."""
        await warm(self._ccxt.fapiPublicGetTime, connections)

    # --- commands ---------------------------------------------------------------------------------------------------

    async def submit(self, departure: Departure) -> Outcome:
        intent = departure.intent
        if (why := callback_refusal(intent)) is not None:
            return Rejected(code="", detail=why)
        with self._ccxt.seam.withholding.leaving((departure,)):
            outcome = await self._place(departure, hedge_mode=self._hedge_mode)
        if intent.reduce_only and isinstance(outcome, Rejected) and outcome.code == facts.WRONG_POSITION_SIDE:
            return await self._place_otherwise(departure, outcome)
        return outcome

    async def submit_together(self, departures: Sequence[Departure]) -> Sequence[Outcome]:
        return await asyncio.gather(*(self.submit(departure) for departure in departures))

    async def amend_stop(
        self, order: Order, *, trigger_price: Price, quantity: Quantity, tightening: bool = False
    ) -> Outcome:
        raise NotImplementedError(f"{order.client_order_id}: conditional orders cannot be amended at Binance")

    def recall(self, orders: Sequence[Order]) -> None:
        """Binance tells every order under its client id."""

    async def _place_otherwise(self, departure: Departure, refused: Rejected) -> Outcome:
        """The position mode was changed behind our back: protection goes out as the account is now. Entries stay
        refused until somebody has read the settings and judged them (CFG-07)."""
        try:
            hedge_mode = (await self._account_config()).dualSidePosition
        except VenueError as error:
            log.warning("venue.mode_unread", venue=self.name, error=str(error))
            return refused
        return refused if hedge_mode == self._hedge_mode else await self._place(departure, hedge_mode=hedge_mode)

    async def _place(self, departure: Departure, *, hedge_mode: bool) -> Outcome:
        intent = departure.intent
        command = placement(intent, self._symbols.venue_symbol(intent.instrument.symbol), hedge_mode=hedge_mode)

        async def send() -> tuple[Report, ...]:
            if command.store is Store.CONDITIONAL:
                row = shaped(
                    await self._ccxt.fapiPrivatePostAlgoOrder(dict(command.params)), AlgoRow, "binance algoOrder"
                )
                return (algo_report(row, intent.instrument, Source.REST),)
            return await self._plain(self._ccxt.fapiPrivatePostOrder, command, intent)

        return await self._commands.run(send, protective=intent.reduce_only, tightening=departure.tightening)

    async def cancel(self, order: Order) -> Outcome:
        intent = order.intent
        command = cancellation(order, self._symbols.venue_symbol(intent.instrument.symbol))

        async def send() -> tuple[Report, ...]:
            if command.store is Store.CONDITIONAL:
                await self._ccxt.fapiPrivateDeleteAlgoOrder(dict(command.params))
                return (self._canceled(order),)
            return await self._plain(self._ccxt.fapiPrivateDeleteOrder, command, intent)

        return await self._commands.run(send, protective=True)

    @_reading
    async def set_leverage(self, symbol: Symbol, leverage: int) -> None:
        params = {"symbol": self._symbols.venue_symbol(symbol), "leverage": str(leverage)}
        answer = await self._read(self._ccxt.fapiPrivatePostLeverage, params, LeverageRow)
        if answer.leverage != leverage:
            raise Refused(self.name, f"{symbol}: asked for leverage {leverage}, the venue set {answer.leverage}")

    @_reading
    async def set_margin_mode(self, symbol: Symbol, mode: MarginMode) -> None:
        kind = "CROSSED" if mode is MarginMode.CROSS else "ISOLATED"
        params = {"symbol": self._symbols.venue_symbol(symbol), "marginType": kind}
        try:
            await self._reads.run(lambda: self._ccxt.fapiPrivatePostMarginType(dict(params)))
        except Refused as error:  # "no need to change" is as good as done (VAL-10)
            if not facts.ERRORS.is_done(error):
                raise

    async def _plain(
        self, call: Callable[[Any], Awaitable[Any]], command: Command, intent: OrderIntent
    ) -> tuple[Report, ...]:
        row = shaped(await call(dict(command.params)), OrderRow, "binance order")
        return (order_report(row, intent.instrument, Source.REST),)

    def _canceled(self, order: Order) -> OrderStatusReport:
        """The answer to cancelling an algo order is a bare "success"; what was cancelled we know ourselves."""
        intent = order.intent
        return OrderStatusReport(
            instrument=intent.instrument,
            client_order_id=intent.client_order_id,
            venue_order_id=order.venue_order_id or VenueOrderId(""),
            status=OrderStatus.CANCELED,
            side=intent.side,
            quantity=intent.quantity,
            filled=Quantity(ZERO),
            average_price=None,
            trigger_price=intent.trigger_price,
            reduce_only=intent.reduce_only,
            conditional=True,
            venue_time_ms=self._venue_clock.now_ms(),
            source=Source.REST,
        )

    # --- look-ups ---------------------------------------------------------------------------------------------------

    @_reading
    async def query_order(self, intent: OrderIntent) -> OrderStatusReport | NotFound:
        if not intent.conditional:
            return await self._plain_order(intent) or NotFound.NOT_FOUND
        return await self._conditional_order(intent) or NotFound.NOT_FOUND

    @_reading
    async def client_id_of(self, instrument: InstrumentId, venue_order_id: VenueOrderId) -> ClientOrderId | NotFound:
        params = {"symbol": self._symbols.venue_symbol(instrument.symbol), "orderId": str(venue_order_id)}
        row = await self._found(self._ccxt.fapiPrivateGetOrder, params, OrderRow)
        return NotFound.NOT_FOUND if row is None else ClientOrderId(row.clientOrderId)

    @_reading
    async def fills(self, instrument: InstrumentId, since_ms: int) -> Sequence[FillReport]:
        """Windows of a week; within one the venue gives the oldest first, so a full page goes on by trade id."""
        symbol = self._symbols.venue_symbol(instrument.symbol)
        found: dict[int, TradeRow] = {}
        start, now = since_ms, self._venue_clock.now_ms()
        while start <= now:
            end = start + facts.ORDER_HISTORY_MS - 1
            page = await self._trades({"symbol": symbol, "startTime": str(start), "endTime": str(end)})
            note_page(found, {row.id: row for row in page}, "binance userTrades", last=len(page) < _PAGE)
            if len(page) == _PAGE:
                # By id there is no window: this reaches the newest trade.
                while len(page) == _PAGE:
                    page = await self._trades({"symbol": symbol, "fromId": str(page[-1].id + 1)})
                    note_page(found, {row.id: row for row in page}, "binance userTrades", last=len(page) < _PAGE)
                break
            start = end + 1
        return [trade_report(row, instrument, Source.REST) for _, row in sorted(found.items())]

    @_reading
    async def income(self, since_ms: int) -> Sequence[Income]:
        async def ask(params: dict[str, str]) -> list[IncomeRow]:
            return await self._read(self._ccxt.fapiPrivateGetIncome, params, list[IncomeRow])

        return await history(ask, self._symbols, since_ms, self._venue_clock.now_ms())

    @_reading
    async def positions(self) -> Sequence[PositionReport]:
        """Symbols without a position or an open order are missing from the venue's answer."""
        return list(self._positions(await self._position_rows()))

    @_reading
    async def balances(self) -> Sequence[BalanceReport]:
        return balance_reports(await self._account(), Source.REST)

    @_reading
    async def mass_status(self) -> MassStatus:
        """Four requests at once; one that fails raises for all (INV-5).

        Two of them tell positions: one that only the account knows of is there, whatever the other list lacks (REC-02).
        """
        requested_ms = self._clock.now_ms()
        plain, algo, listed, account = await together(
            self._read(self._ccxt.fapiPrivateGetOpenOrders, {}, list[OrderRow]),
            self._read(self._ccxt.fapiPrivateGetOpenAlgoOrders, {}, list[AlgoRow]),
            self._position_rows(),
            self._account(),
        )
        positions = self._with_unlisted(await by_turns(self._positions(listed)), account)
        told = [(row.symbol, row.positionAmt) for row in listed]
        told += [(row.symbol, row.positionAmt) for row in account.positions]
        orders = [
            *(
                order_report(row, i, Source.REST)
                for row in plain
                if (i := self._symbols.unified(row.symbol)) is not None
            ),
            *await by_turns(
                algo_report(row, i, Source.REST) for row in algo if (i := self._symbols.unified(row.symbol)) is not None
            ),
        ]
        return MassStatus(
            venue=self.name,
            requested_ms=requested_ms,
            orders=tuple(orders),
            positions=tuple(positions),
            balances=tuple(balance_reports(account, Source.REST)),
            unlisted=frozenset(name for name, size in told if some_in(size) and self._symbols.unified(name) is None),
        )

    def _positions(self, rows: Sequence[PositionRow]) -> Iterator[PositionReport]:
        return (
            position_report(row, instrument, Source.REST)
            for row in rows
            if (instrument := self._symbols.unified(row.symbol)) is not None
        )

    def _with_unlisted(self, listed: Sequence[PositionReport], account: AccountRow) -> list[PositionReport]:
        known = {(report.instrument, report.position_side) for report in listed}
        told = [
            account_position_report(row, instrument, Source.REST)
            for row in account.positions
            if (instrument := self._symbols.unified(row.symbol)) is not None
        ]
        return [*listed, *(r for r in told if r.quantity != ZERO and (r.instrument, r.position_side) not in known)]

    @_reading
    async def account_settings(self) -> AccountSettings:
        """Two requests: accountConfig has position mode, rights and asset mode, symbolConfig the leverages."""
        account, symbols = await together(
            self._account_config(), self._read(self._ccxt.fapiPrivateGetSymbolConfig, {}, list[SymbolConfigRow])
        )
        self._hedge_mode = account.dualSidePosition
        return AccountSettings(
            hedge_mode=account.dualSidePosition,
            can_trade=account.canTrade,
            multi_assets=account.multiAssetsMargin,
            leverage={
                instrument.symbol: row.leverage
                for row in symbols
                if (instrument := self._symbols.unified(row.symbol)) is not None
            },
            margin={
                instrument.symbol: MarginMode.CROSS if row.marginType == "CROSSED" else MarginMode.ISOLATED
                for row in symbols
                if (instrument := self._symbols.unified(row.symbol)) is not None
            },
        )

    @_reading
    async def key_rights(self) -> KeyRights | None:
        if not self._tells_rights:
            return None
        row = await self._read(self._ccxt.sapiGetAccountApiRestrictions, {}, KeyRightsRow)
        return KeyRights(trade=row.enableFutures, withdraw=row.enableWithdrawals, bound_to_addresses=row.ipRestrict)

    async def _position_rows(self) -> list[PositionRow]:
        return await self._read(self._ccxt.fapiPrivateV3GetPositionRisk, {}, list[PositionRow])

    async def _account(self) -> AccountRow:
        return await self._read(self._ccxt.fapiPrivateV3GetAccount, {}, AccountRow)

    async def _account_config(self) -> AccountConfigRow:
        return await self._read(self._ccxt.fapiPrivateGetAccountConfig, {}, AccountConfigRow)

    async def _trades(self, params: dict[str, str]) -> list[TradeRow]:
        return await self._read(self._ccxt.fapiPrivateGetUserTrades, params | {"limit": str(_PAGE)}, list[TradeRow])

    async def _plain_order(self, intent: OrderIntent) -> OrderStatusReport | None:
        params = {
            "symbol": self._symbols.venue_symbol(intent.instrument.symbol),
            "origClientOrderId": str(intent.client_order_id),
        }
        row = await self._found(self._ccxt.fapiPrivateGetOrder, params, OrderRow)
        return None if row is None else order_report(row, intent.instrument, Source.REST)

    async def _conditional_order(self, intent: OrderIntent) -> OrderStatusReport | None:
        """Resting, fired (then the child speaks), or ended. The venue's look-up of one algo order misses live ones, so
        only its yes counts."""
        symbol = self._symbols.venue_symbol(intent.instrument.symbol)
        mine = {"clientAlgoId": str(intent.client_order_id)}
        resting, child = await together(
            self._read(self._ccxt.fapiPrivateGetOpenAlgoOrders, {"symbol": symbol}, list[AlgoRow]),
            self._plain_order(intent),
        )
        if child is not None:
            return child
        for row in resting:
            if row.clientAlgoId == intent.client_order_id:
                return algo_report(row, intent.instrument, Source.REST)
        history, single = await together(
            self._read(self._ccxt.fapiPrivateGetAllAlgoOrders, {"symbol": symbol, "limit": str(_PAGE)}, list[AlgoRow]),
            self._found(self._ccxt.fapiPrivateGetAlgoOrder, mine, AlgoRow),
        )
        for row in (*history, *((single,) if single is not None else ())):
            if row.clientAlgoId == intent.client_order_id:
                return algo_report(row, intent.instrument, Source.REST)
        return None

    async def _found(self, call: Callable[[Any], Awaitable[Any]], params: dict[str, str], shape: type[_T]) -> _T | None:
        return await self._reads.found(call, params, shape, "binance", absent=_ABSENT)

    async def _read(self, call: Callable[[Any], Awaitable[Any]], params: dict[str, str], shape: type[_T]) -> _T:
        return await self._reads.shaped(call, params, shape, "binance")
