"""What became of orders, what is held and what is free: the account's rows as reports, singly and all together."""

from __future__ import annotations

from collections.abc import Sequence

from core.clock import Clock
from core.domain.ids import ClientOrderId, InstrumentId, VenueName, VenueOrderId
from core.domain.ledger import Income
from core.domain.money import ZERO, Quantity
from core.domain.order import OrderIntent, OrderStatus
from core.domain.reports import BalanceReport, FillReport, OrderStatusReport, PositionReport, Source
from core.engine.ports import MassStatus, NotFound
from core.errors import Unreachable
from core.venues.bybit import facts
from core.venues.bybit.account import Account
from core.venues.bybit.account_reads import AccountReads
from core.venues.bybit.income import lines
from core.venues.bybit.modes import ONE_WAY
from core.venues.bybit.parse import fill_report, order_reports, position_report, stop_over
from core.venues.bybit.payloads import ExecutionRow, OrderRow, PositionRow
from core.venues.payload import some_in
from core.venues.reading import together
from core.venues.venue_clock import VenueClock

_USDT, _USDC = facts.COINS


class Lookups:
    """All raise VenueError, and MalformedPayload for what cannot be read."""

    def __init__(self, lists: AccountReads, account: Account, clock: Clock, venue_clock: VenueClock) -> None:
        self._lists, self._account, self._clock, self._venue_clock = lists, account, clock, venue_clock

    # --- one order --------------------------------------------------------------------------------------------------

    async def order(self, intent: OrderIntent) -> OrderStatusReport | NotFound:
        symbol = self._account.symbols.venue_symbol(intent.instrument.symbol)
        if intent.conditional:
            return await self._stop(intent, symbol)
        row = await self._lists.order(symbol, orderLinkId=str(intent.client_order_id))
        if row is None:
            return await self._by_trades(intent, symbol)
        return self._named(row, intent) or NotFound.NOT_FOUND

    async def client_id_of(self, instrument: InstrumentId, venue_order_id: VenueOrderId) -> ClientOrderId | NotFound:
        known = self._account.stops.name_of(venue_order_id)
        if known:
            return known
        symbol = self._account.symbols.venue_symbol(instrument.symbol)
        row = await self._lists.order(symbol, orderId=str(venue_order_id))
        return NotFound.NOT_FOUND if row is None else ClientOrderId(row.orderLinkId)

    async def _by_trades(self, intent: OrderIntent, symbol: str) -> OrderStatusReport | NotFound:
        """The lists of orders may be behind the one of trades (§4)."""
        rows = [r for r in await self._lists.executions_of(symbol, intent.client_order_id) if r.execType in facts.FILLS]
        fills = [self._fill(row, intent.instrument) for row in rows]
        filled = sum((fill.quantity for fill in fills), ZERO)
        if not filled:
            return NotFound.NOT_FOUND
        return OrderStatusReport(
            instrument=intent.instrument,
            client_order_id=intent.client_order_id,
            venue_order_id=fills[0].venue_order_id,
            status=OrderStatus.FILLED if filled >= intent.quantity else OrderStatus.PARTIALLY_FILLED,
            side=intent.side,
            quantity=intent.quantity,
            filled=Quantity(filled),
            average_price=None,
            trigger_price=None,
            reduce_only=intent.reduce_only,
            conditional=False,
            venue_time_ms=max(fill.venue_time_ms for fill in fills),
            source=Source.REST,
        )

    async def _stop(self, intent: OrderIntent, symbol: str) -> OrderStatusReport | NotFound:
        """By the venue's id once it is known; else what rests in its slot; else what has ended there lately."""
        stops = self._account.stops.of(intent)
        own = stops.own(intent.client_order_id)
        if own is not None and own.venue_order_id is not None:
            row = await self._lists.order(symbol, orderId=str(own.venue_order_id))
            if row is not None and (report := self._named(row, intent)) is not None:
                return report
        for row in await self._lists.open_orders(symbol=symbol):
            if (report := self._named(row, intent)) is not None:
                return report
        if own is None:
            return NotFound.NOT_FOUND
        for row in await self._lists.ended_orders(symbol):
            if (report := self._named(row, intent)) is not None:
                return report
        if not stops.owns_slot(own):
            return stop_over(own, self._venue_clock.now_ms(), Source.REST, "replaced by another stop")
        return NotFound.NOT_FOUND

    def _named(self, row: OrderRow, intent: OrderIntent) -> OrderStatusReport | None:
        """The row's report when it is about that order."""
        reports = order_reports(row, intent.instrument, Source.REST, self._account.stops)
        return next((report for report in reports if report.client_order_id == intent.client_order_id), None)

    # --- many -------------------------------------------------------------------------------------------------------

    async def fills(self, instrument: InstrumentId, since_ms: int) -> Sequence[FillReport]:
        """Windows of a week, each with all its pages; oldest first."""
        symbol = self._account.symbols.venue_symbol(instrument.symbol)
        found: dict[str, FillReport] = {}
        start, now = since_ms, self._venue_clock.now_ms()
        while start <= now:
            end = start + facts.HISTORY_MS
            for row in await self._lists.executions(symbol, start, end):
                if row.execType in facts.FILLS:
                    found[row.execId] = self._fill(row, instrument)
            start = end + 1
        return sorted(found.values(), key=lambda fill: fill.venue_time_ms)

    async def income(self, since_ms: int) -> Sequence[Income]:
        """Windows of a week, each with all its pages; oldest first."""
        found: dict[str, Income] = {}
        start, now = since_ms, self._venue_clock.now_ms()
        while start <= now:
            end = start + facts.HISTORY_MS
            for row in await self._lists.transactions(start, end):
                found |= {line.id: line for line in lines(row, self._account.symbols)}
            start = end + 1
        return sorted(found.values(), key=lambda line: line.venue_time_ms)

    async def positions(self) -> list[PositionReport]:
        return self._positions(await self._position_rows())

    async def _position_rows(self) -> list[PositionRow]:
        usdt, usdc = await together(self._lists.positions(settleCoin=_USDT), self._lists.positions(settleCoin=_USDC))
        return [*usdt, *usdc]

    async def balances(self) -> list[BalanceReport]:
        answer = await self._lists.wallet()
        return self._account.wallets.read(answer.result.rows, answer.time)

    async def mass_status(self) -> MassStatus:
        """Five lists at once; one that fails raises for all (INV-5)."""
        requested_ms = self._clock.now_ms()
        usdt, usdc, rows, balances = await together(
            self._lists.open_orders(settleCoin=_USDT),
            self._lists.open_orders(settleCoin=_USDC),
            self._position_rows(),
            self.balances(),
        )
        strange = [row for row in rows if self._account.symbols.unified(row.symbol) is None]
        orders = [
            report
            for row in (*usdt, *usdc)
            if (instrument := self._account.symbols.unified(row.symbol)) is not None
            for report in order_reports(row, instrument, Source.REST, self._account.stops)
        ]
        return MassStatus(
            venue=VenueName.BYBIT,
            requested_ms=requested_ms,
            orders=tuple(orders),
            positions=tuple(self._positions(rows)),
            balances=tuple(balances),
            unlisted=frozenset(row.symbol for row in strange if some_in(row.size)),
        )

    # --- modes ------------------------------------------------------------------------------------------------------

    async def read_mode(self) -> None:
        """The account's position mode, from the rows of one contract, which are told also when flat."""
        for instrument in self._account.symbols.instruments.values():
            if instrument.quote == _USDT and instrument.tradable:
                rows = await self._lists.positions(symbol=instrument.venue_symbol)
                self._account.modes.learn(hedge=_hedged(rows))
                return
        self._account.modes.learn(hedge=False)

    async def mode_of(self, instrument: InstrumentId) -> bool:
        """Whether this contract is in hedge mode now."""
        return _hedged(await self._lists.positions(symbol=self._account.symbols.venue_symbol(instrument.symbol)))

    def _fill(self, row: ExecutionRow, instrument: InstrumentId) -> FillReport:
        return fill_report(row, instrument, Source.REST, self._account.stops, self._account.modes)

    def _positions(self, rows: Sequence[PositionRow]) -> list[PositionReport]:
        return [
            position_report(row, instrument, Source.REST)
            for row in rows
            if (instrument := self._account.symbols.unified(row.symbol)) is not None
        ]


def _hedged(rows: Sequence[PositionRow]) -> bool:
    if not rows:
        raise Unreachable("bybit", "no row of a position that was asked for by its contract")
    return any(row.positionIdx != ONE_WAY for row in rows)
