"""Binance payload -> report. Pure; what does not parse raises MalformedPayload naming the field, never half a report.

What None, "" and "0" mean: a price of "0" or None is "not told"; a quantity of None is 0 (a close-position order names
none); a fee that is absent is 0 in the quote coin.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.domain.ids import Asset, ClientOrderId, InstrumentId, TradeId, VenueName, VenueOrderId
from core.domain.money import ZERO, Price, Quantity, decimal_of
from core.domain.order import OrderStatus
from core.domain.reports import (
    AssetModeReport,
    BalanceReport,
    FillReport,
    LeverageReport,
    MarginCallReport,
    OrderStatusReport,
    Origin,
    PositionReport,
    PositionSide,
    Report,
    Source,
    WalletCause,
)
from core.domain.signal import Side
from core.errors import MalformedPayload
from core.venues.binance.facts import EXPIRY_REASONS
from core.venues.binance.payloads import (
    AccountEvent,
    AccountPositionRow,
    AccountRow,
    AlgoEvent,
    AlgoRow,
    ConfigEvent,
    MarginCallEvent,
    OrderRow,
    OrderTradeUpdate,
    OrderUpdate,
    PositionRow,
    TradeRow,
)
from core.venues.payload import positive_in, price_in, quantity_in, say
from core.venues.symbols import SymbolTable

STATUSES = {
    "NEW": OrderStatus.ACCEPTED,
    "PARTIALLY_FILLED": OrderStatus.PARTIALLY_FILLED,
    "FILLED": OrderStatus.FILLED,
    "CANCELED": OrderStatus.CANCELED,
    "EXPIRED": OrderStatus.EXPIRED,
    "EXPIRED_IN_MATCH": OrderStatus.EXPIRED,
    "REJECTED": OrderStatus.REJECTED,
}
ALGO_STATUSES = {
    "NEW": OrderStatus.ACCEPTED,
    "TRIGGERING": OrderStatus.TRIGGERED,
    "TRIGGERED": OrderStatus.TRIGGERED,
    # Its child ended, filled or not; only the child knows which.
    "FINISHED": OrderStatus.TRIGGERED,
    "CANCELED": OrderStatus.CANCELED,
    "REJECTED": OrderStatus.REJECTED,
    "EXPIRED": OrderStatus.EXPIRED,
}
SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
CAUSES = {
    "ORDER": WalletCause.TRADE,
    "FUNDING_FEE": WalletCause.FUNDING,
    "DEPOSIT": WalletCause.DEPOSIT,
    "ADMIN_DEPOSIT": WalletCause.DEPOSIT,
    "COIN_SWAP_DEPOSIT": WalletCause.DEPOSIT,
    "WITHDRAW": WalletCause.WITHDRAWAL,
    "WITHDRAW_REJECT": WalletCause.WITHDRAWAL,
    "ADMIN_WITHDRAW": WalletCause.WITHDRAWAL,
    "COIN_SWAP_WITHDRAW": WalletCause.WITHDRAWAL,
    "MARGIN_TRANSFER": WalletCause.TRANSFER,
    "ASSET_TRANSFER": WalletCause.TRANSFER,
    "AUTO_EXCHANGE": WalletCause.TRANSFER,
    "ADJUSTMENT": WalletCause.ADJUSTMENT,
    "INSURANCE_CLEAR": WalletCause.INSURANCE,
    "MARGIN_TYPE_CHANGE": WalletCause.SETTING,
}
"""ACCOUNT_UPDATE's `m` (§13.3); the options reasons are OTHER."""
ORIGINS = {
    "autoclose-": Origin.LIQUIDATION,
    "adl_autoclose": Origin.ADL,
    "settlement_autoclose-": Origin.SETTLEMENT,
}
POSITION_SIDES = {"BOTH": PositionSide.BOTH, "LONG": PositionSide.LONG, "SHORT": PositionSide.SHORT}
_CLOSING = {("LONG", "SELL"), ("SHORT", "BUY")}


def order_report(row: OrderRow, instrument: InstrumentId, source: Source) -> OrderStatusReport:
    try:
        return OrderStatusReport(
            instrument=instrument,
            client_order_id=ClientOrderId(row.clientOrderId),
            venue_order_id=VenueOrderId(str(row.orderId)),
            status=STATUSES[row.status],
            side=SIDES[row.side],
            quantity=Quantity(decimal_of(row.origQty, "origQty")),
            filled=Quantity(decimal_of(row.executedQty, "executedQty")),
            average_price=price_in(row.avgPrice, "avgPrice"),
            trigger_price=price_in(row.stopPrice, "stopPrice"),
            reduce_only=row.reduceOnly or row.closePosition or (row.positionSide, row.side) in _CLOSING,
            conditional=False,
            venue_time_ms=row.updateTime,
            source=source,
        )
    except (KeyError, ValueError) as error:
        raise MalformedPayload("binance order", say(error)) from None


def algo_report(row: AlgoRow, instrument: InstrumentId, source: Source) -> OrderStatusReport:
    """Of the conditional parent. Once triggered `venue_order_id` is the child's, which trades are told under."""
    try:
        return OrderStatusReport(
            instrument=instrument,
            client_order_id=ClientOrderId(row.clientAlgoId),
            venue_order_id=VenueOrderId(row.actualOrderId or str(row.algoId)),
            status=ALGO_STATUSES[row.algoStatus],
            side=SIDES[row.side],
            quantity=quantity_in(row.quantity, "quantity"),
            filled=Quantity(ZERO),
            average_price=None,
            trigger_price=price_in(row.triggerPrice, "triggerPrice"),
            reduce_only=row.reduceOnly or row.closePosition or (row.positionSide, row.side) in _CLOSING,
            conditional=True,
            venue_time_ms=row.updateTime,
            source=source,
        )
    except (KeyError, ValueError) as error:
        raise MalformedPayload("binance algo order", say(error)) from None


def trade_report(row: TradeRow, instrument: InstrumentId, source: Source) -> FillReport:
    """Trades name no client order id; `venue_order_id` is there."""
    try:
        return FillReport(
            instrument=instrument,
            client_order_id=ClientOrderId(""),
            venue_order_id=VenueOrderId(str(row.orderId)),
            trade_id=TradeId(str(row.id)),
            side=SIDES[row.side],
            quantity=Quantity(positive_in(row.qty, "qty")),
            price=Price(positive_in(row.price, "price")),
            fee=decimal_of(row.commission, "commission"),
            fee_asset=Asset(row.commissionAsset),
            realized=decimal_of(row.realizedPnl, "realizedPnl"),
            maker=row.maker,
            venue_time_ms=row.time,
            source=source,
            position_side=POSITION_SIDES[row.positionSide],
        )
    except (KeyError, ValueError) as error:
        raise MalformedPayload("binance trade", say(error)) from None


def position_report(row: PositionRow, instrument: InstrumentId, source: Source) -> PositionReport:
    try:
        return PositionReport(
            instrument=instrument,
            position_side=POSITION_SIDES[row.positionSide],
            quantity=_signed(row.positionAmt, row.positionSide),
            entry_price=price_in(row.entryPrice, "entryPrice"),
            mark_price=price_in(row.markPrice, "markPrice"),
            venue_time_ms=row.updateTime,
            source=source,
        )
    except (KeyError, ValueError) as error:
        raise MalformedPayload("binance position", say(error)) from None


def account_position_report(row: AccountPositionRow, instrument: InstrumentId, source: Source) -> PositionReport:
    try:
        return PositionReport(
            instrument=instrument,
            position_side=POSITION_SIDES[row.positionSide],
            quantity=_signed(row.positionAmt, row.positionSide),
            entry_price=None,
            mark_price=None,
            venue_time_ms=row.updateTime,
            source=source,
        )
    except (KeyError, ValueError) as error:
        raise MalformedPayload("binance account position", say(error)) from None


def balance_reports(account: AccountRow, source: Source) -> list[BalanceReport]:
    try:
        return [
            BalanceReport(
                venue=VenueName.BINANCE,
                asset=Asset(row.asset),
                wallet=decimal_of(row.walletBalance, "walletBalance"),
                available=decimal_of(row.availableBalance, "availableBalance"),
                venue_time_ms=row.updateTime,
                source=source,
            )
            for row in account.assets
        ]
    except ValueError as error:
        raise MalformedPayload("binance account", say(error)) from None


# --- stream events --------------------------------------------------------------------------------------------------


def order_event(event: OrderTradeUpdate, table: SymbolTable) -> Sequence[Report]:
    """The trade, when there is one, and the order's state after it; nothing for symbols we do not trade."""
    order = event.order
    instrument = table.unified(order.symbol)
    if instrument is None:
        return ()
    try:
        status = OrderStatusReport(
            instrument=instrument,
            client_order_id=ClientOrderId(order.client_id),
            venue_order_id=VenueOrderId(str(order.order_id)),
            status=STATUSES[order.status],
            side=SIDES[order.side],
            quantity=Quantity(decimal_of(order.quantity, "q")),
            filled=Quantity(decimal_of(order.filled, "z")),
            average_price=price_in(order.average, "ap"),
            trigger_price=price_in(order.stop_price, "sp"),
            reduce_only=order.reduce_only or order.close_position or (order.position_side, order.side) in _CLOSING,
            conditional=False,
            venue_time_ms=event.time,
            source=Source.STREAM,
            detail=EXPIRY_REASONS.get(order.expiry_reason or "", ""),
        )
        if order.execution not in {"TRADE", "CALCULATED"}:
            return (status,)
        quantity = decimal_of(order.last_quantity, "l")
        # A liquidation's frame may announce without a trade (l = 0).
        return (_fill(order, instrument, event.time), status) if quantity else (status,)
    except (KeyError, ValueError) as error:
        raise MalformedPayload("binance ORDER_TRADE_UPDATE", say(error)) from None


def _fill(order: OrderUpdate, instrument: InstrumentId, time: int) -> FillReport:
    return FillReport(
        instrument=instrument,
        client_order_id=ClientOrderId(order.client_id),
        venue_order_id=VenueOrderId(str(order.order_id)),
        # Liquidations may have no trade id; order and running total name the trade as well.
        trade_id=TradeId(str(order.trade_id) if order.trade_id else f"{order.order_id}-{order.filled}"),
        side=SIDES[order.side],
        quantity=Quantity(positive_in(order.last_quantity, "l")),
        price=Price(positive_in(order.last_price, "L")),
        fee=decimal_of(order.fee, "n") if order.fee else ZERO,
        fee_asset=Asset(order.fee_asset or instrument.symbol.rpartition(":")[2]),
        realized=decimal_of(order.realized, "rp") if order.realized else ZERO,
        maker=order.maker,
        venue_time_ms=time,
        source=Source.STREAM,
        position_side=POSITION_SIDES[order.position_side],
        origin=_origin(order.client_id),
    )


def _origin(client_id: str) -> Origin:
    """Liquidation, ADL and settlement orders are told by the venue's own client ids (§7.3)."""
    return next((origin for prefix, origin in ORIGINS.items() if client_id.startswith(prefix)), Origin.ORDER)


def algo_event(event: AlgoEvent, table: SymbolTable) -> Sequence[Report]:
    order = event.order
    instrument = table.unified(order.symbol)
    if instrument is None:
        return ()
    try:
        return (
            OrderStatusReport(
                instrument=instrument,
                client_order_id=ClientOrderId(order.client_id),
                venue_order_id=VenueOrderId(order.child_id or str(order.algo_id)),
                status=ALGO_STATUSES[order.status],
                side=SIDES[order.side],
                quantity=quantity_in(order.quantity, "q"),
                filled=Quantity(ZERO),
                average_price=None,
                trigger_price=price_in(order.trigger_price, "tp"),
                reduce_only=order.reduce_only or order.close_position or (order.position_side, order.side) in _CLOSING,
                conditional=True,
                venue_time_ms=event.time,
                source=Source.STREAM,
                detail=order.reason or "",
            ),
        )
    except (KeyError, ValueError) as error:
        raise MalformedPayload("binance ALGO_UPDATE", say(error)) from None


def account_event(event: AccountEvent, table: SymbolTable) -> Sequence[Report]:
    """Balances carry no available amount here, positions no mark price."""
    try:
        return (*_balances(event), *_positions(event, table))
    except (KeyError, ValueError) as error:
        raise MalformedPayload("binance ACCOUNT_UPDATE", say(error)) from None


def _balances(event: AccountEvent) -> Iterable[BalanceReport]:
    for row in event.account.balances:
        yield BalanceReport(
            venue=VenueName.BINANCE,
            asset=Asset(row.asset),
            wallet=decimal_of(row.wallet, "wb"),
            available=None,
            venue_time_ms=event.time,
            source=Source.STREAM,
            cause=CAUSES.get(event.account.reason, WalletCause.OTHER),
            cause_text=event.account.reason,
            change=None if row.change is None else decimal_of(row.change, "bc"),
        )


def _positions(event: AccountEvent, table: SymbolTable) -> Iterable[PositionReport]:
    for row in event.account.positions:
        instrument = table.unified(row.symbol)
        if instrument is not None:
            yield PositionReport(
                instrument=instrument,
                position_side=POSITION_SIDES[row.position_side],
                quantity=_signed(row.amount, row.position_side),
                entry_price=price_in(row.entry_price, "ep"),
                mark_price=None,
                venue_time_ms=event.time,
                source=Source.STREAM,
                unrealized=None if not row.unrealized else decimal_of(row.unrealized, "up"),
                isolated=None if row.margin_type is None else row.margin_type == "isolated",
                isolated_margin=None if not row.isolated_wallet else decimal_of(row.isolated_wallet, "iw"),
            )


def config_event(event: ConfigEvent, table: SymbolTable) -> Sequence[Report]:
    """Leverage of one symbol, or the account's asset mode."""
    reports: list[Report] = []
    if event.leverage is not None and (instrument := table.unified(event.leverage.symbol)) is not None:
        leverage = event.leverage.leverage
        reports.append(LeverageReport(instrument=instrument, leverage=leverage, venue_time_ms=event.time))
    if event.asset_mode is not None:
        multi = event.asset_mode.multi_assets
        reports.append(AssetModeReport(venue=VenueName.BINANCE, multi_assets=multi, venue_time_ms=event.time))
    return reports


def margin_call_event(event: MarginCallEvent, table: SymbolTable) -> Sequence[Report]:
    try:
        return [
            MarginCallReport(
                instrument=instrument,
                position_side=POSITION_SIDES[row.position_side],
                maintenance_margin=decimal_of(row.maintenance_margin, "mm"),
                unrealized=decimal_of(row.unrealized, "up"),
                venue_time_ms=event.time,
            )
            for row in event.positions
            if (instrument := table.unified(row.symbol)) is not None
        ]
    except (KeyError, ValueError) as error:
        raise MalformedPayload("binance MARGIN_CALL", say(error)) from None


def _signed(text: str, position_side: str) -> Quantity:
    amount = decimal_of(text, "position amount")
    return Quantity(-abs(amount) if position_side == "SHORT" else amount)
