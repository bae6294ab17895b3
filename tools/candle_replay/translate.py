"""What the exchange of the replay says, as reports: the same ones an adapter makes of a venue's frames."""

from __future__ import annotations

from decimal import Decimal

from core.domain.ids import Asset, ClientOrderId, InstrumentId, Symbol, TradeId, VenueName, VenueOrderId
from core.domain.instrument import Bracket, Instrument, LotRule, PriceBand
from core.domain.ledger import Income, IncomeKind
from core.domain.money import ZERO, Notional, Price, Quantity
from core.domain.order import OrderStatus
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
from tools.venuesim.exchange import events, model

S = model.ConditionalStatus
_CONDITIONAL = {
    S.NEW: OrderStatus.ACCEPTED,
    S.TRIGGERING: OrderStatus.TRIGGERED,
    S.TRIGGERED: OrderStatus.TRIGGERED,
    S.FINISHED: OrderStatus.TRIGGERED,
    S.CANCELED: OrderStatus.CANCELED,
    S.REJECTED: OrderStatus.REJECTED,
    S.EXPIRED: OrderStatus.EXPIRED,
}
_PLAIN = {
    model.OrderStatus.NEW: OrderStatus.ACCEPTED,
    model.OrderStatus.PARTIALLY_FILLED: OrderStatus.PARTIALLY_FILLED,
    model.OrderStatus.FILLED: OrderStatus.FILLED,
    model.OrderStatus.CANCELED: OrderStatus.CANCELED,
    model.OrderStatus.EXPIRED: OrderStatus.EXPIRED,
}
_ORIGIN = {
    model.Origin.CLIENT: Origin.ORDER,
    model.Origin.LIQUIDATION: Origin.LIQUIDATION,
    model.Origin.ADL: Origin.ADL,
    model.Origin.SETTLEMENT: Origin.SETTLEMENT,
}
_CAUSE = {
    events.AccountReason.ORDER: WalletCause.TRADE,
    events.AccountReason.FUNDING_FEE: WalletCause.FUNDING,
    events.AccountReason.INSURANCE_CLEAR: WalletCause.INSURANCE,
}


def instrument_of(row: model.Instrument, venue: VenueName) -> Instrument:
    """The simulator's instrument as an adapter would list it."""
    return Instrument(
        id=InstrumentId(venue, Symbol(f"{row.base}/{row.quote}:{row.settle}")),
        venue_symbol=row.symbol,
        quote=Asset(row.quote),
        tick=Price(row.tick),
        lot=LotRule(minimum=Quantity(row.min_qty), maximum=Quantity(row.max_qty), step=Quantity(row.step)),
        market_lot=LotRule(
            minimum=Quantity(row.market_min_qty), maximum=Quantity(row.market_max_qty), step=Quantity(row.market_step)
        ),
        min_notional=Notional(row.min_notional),
        tradable=row.status is model.SymbolStatus.TRADING,
        max_leverage=row.max_leverage,
        status=row.status.value.upper(),
        brackets=tuple(
            Bracket(most_notional=Notional(bracket.cap), max_leverage=bracket.leverage) for bracket in row.brackets
        ),
        band=PriceBand(up=row.band_up, down=row.band_down),
    )


_INCOME = {
    model.IncomeType.REALIZED_PNL: IncomeKind.PROFIT,
    model.IncomeType.COMMISSION: IncomeKind.FEE,
    model.IncomeType.FUNDING_FEE: IncomeKind.FUNDING,
    model.IncomeType.TRANSFER: IncomeKind.TRANSFER,
    model.IncomeType.INSURANCE_CLEAR: IncomeKind.INSURANCE,
}


def income_of(row: model.Income, venue: VenueName, symbol: Symbol) -> Income:
    """A line of the account's books, about the one instrument there is or about none."""
    return Income(
        venue=venue,
        id=str(row.id),
        asset=Asset(row.asset),
        kind=_INCOME[row.type],
        amount=row.amount,
        venue_time_ms=row.time_ms,
        symbol=None if row.symbol is None else symbol,
        trade_id=None if row.trade_id is None else TradeId(str(row.trade_id)),
        word=row.type.value,
    )


class Translator:
    """Of one account with one instrument. `ours` is the instrument's name here."""

    def __init__(self, ours: InstrumentId) -> None:
        self._ours = ours
        self._parents: dict[int, str] = {}
        """Client order id of the conditional order an order was born from: some venues' children carry none."""
        self._wallet: Decimal | None = None

    def reports(self, batch: tuple[events.Event, ...]) -> list[Report]:
        """Of one batch: trades, then the last word on each order, then positions and wallets."""
        fills: list[Report] = []
        orders: dict[tuple[bool, int], Report] = {}
        account: list[Report] = []
        for event in batch:
            match event:
                case events.OrderTrade(order=order, fill=fill):
                    fills.append(self.fill(fill, order))
                    orders[False, order.id] = self.order(order, Source.STREAM)
                case (
                    events.OrderNew(order=order)
                    | events.OrderAmended(order=order)
                    | events.OrderCanceled(order=order)
                    | events.OrderExpired(order=order)
                ):
                    orders[False, order.id] = self.order(order, Source.STREAM)
                case events.ConditionalUpdate(conditional=row):
                    orders[True, row.id] = self.conditional(row, Source.STREAM)
                case events.AccountChanged():
                    account += self._account(event)
                case _:
                    pass
        parents = [report for (conditional, _), report in orders.items() if conditional]
        plain = [report for (conditional, _), report in orders.items() if not conditional]
        return [*account, *parents, *fills, *plain]

    def fill(self, fill: model.Fill, order: model.Order | None) -> FillReport:
        return FillReport(
            instrument=self._ours,
            client_order_id=ClientOrderId(fill.client_id if order is None else self._name(order)),
            venue_order_id=VenueOrderId(str(fill.order_id)),
            trade_id=TradeId(str(fill.id)),
            side=Side(fill.side.value),
            quantity=Quantity(fill.qty),
            price=Price(fill.price),
            fee=fill.fee,
            fee_asset=Asset(fill.fee_asset),
            realized=fill.realized,
            maker=fill.maker,
            venue_time_ms=fill.time_ms,
            source=Source.STREAM,
            origin=_ORIGIN[fill.origin],
        )

    def order(self, order: model.Order, source: Source) -> OrderStatusReport:
        average = order.avg_price
        return OrderStatusReport(
            instrument=self._ours,
            client_order_id=ClientOrderId(self._name(order)),
            venue_order_id=VenueOrderId(str(order.id)),
            status=_PLAIN[order.status],
            side=Side(order.side.value),
            quantity=Quantity(order.qty),
            filled=Quantity(order.filled),
            average_price=None if average is None else Price(average),
            trigger_price=None,
            reduce_only=order.reduce_only or order.close_position,
            conditional=False,
            venue_time_ms=order.updated_ms,
            source=source,
            detail="" if order.expiry is None else order.expiry.value,
        )

    def conditional(self, row: model.Conditional, source: Source) -> OrderStatusReport:
        self._parents[row.id] = row.client_id
        return OrderStatusReport(
            instrument=self._ours,
            client_order_id=ClientOrderId(row.client_id),
            venue_order_id=VenueOrderId(str(row.id)),
            status=_CONDITIONAL[row.status],
            side=Side(row.side.value),
            quantity=Quantity(row.qty or ZERO),
            filled=Quantity(ZERO),
            average_price=None,
            trigger_price=None if row.trigger_price is None else Price(row.trigger_price),
            reduce_only=row.closes,
            conditional=True,
            venue_time_ms=row.updated_ms,
            source=source,
            detail="" if row.reason is None else row.reason.value,
        )

    def position(self, row: model.Position, source: Source, now_ms: int) -> PositionReport:
        return PositionReport(
            instrument=self._ours,
            position_side=PositionSide(row.position_side.value),
            quantity=Quantity(row.qty),
            entry_price=Price(row.entry) if row.qty else None,
            mark_price=None,
            venue_time_ms=now_ms,
            source=source,
            isolated=row.margin_mode is model.MarginMode.ISOLATED,
        )

    def balance(self, row: model.Balance, source: Source, now_ms: int, cause: WalletCause) -> BalanceReport:
        change = None
        if cause is not WalletCause.TRADE and self._wallet is not None and cause is not WalletCause.SNAPSHOT:
            change = row.wallet - self._wallet
        self._wallet = row.wallet
        return BalanceReport(
            venue=self._ours.venue,
            asset=Asset(row.asset),
            wallet=row.wallet,
            available=row.available,
            venue_time_ms=now_ms,
            source=source,
            cause=cause,
            change=change,
        )

    def _account(self, event: events.AccountChanged) -> list[Report]:
        cause = _CAUSE.get(event.reason, WalletCause.OTHER)
        now_ms = max(*(row.updated_ms for row in event.balances), *(row.updated_ms for row in event.positions), 0)
        return [
            *(self.balance(row, Source.STREAM, now_ms, cause) for row in event.balances),
            *(self.position(row, Source.STREAM, now_ms) for row in event.positions),
        ]

    def _name(self, order: model.Order) -> str:
        if order.conditional_id is None:
            return order.client_id
        return self._parents.get(order.conditional_id) or order.client_id
