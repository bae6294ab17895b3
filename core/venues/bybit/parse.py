"""Bybit payload -> report. What does not parse raises MalformedPayload naming the field, never half a report.

Rows of stop losses carry no name of ours: `PositionStops` knows whose they are, and learns it from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from msgspec.structs import replace

from core.domain.ids import Asset, ClientOrderId, InstrumentId, TradeId, VenueOrderId
from core.domain.money import ZERO, Price, Quantity
from core.domain.order import ENDED, OrderStatus
from core.domain.reports import FillReport, OrderStatusReport, Origin, PositionReport, Source
from core.domain.signal import Side
from core.errors import MalformedPayload
from core.venues.bybit import facts
from core.venues.bybit.modes import LONG, ONE_WAY, SIDES, PositionModes
from core.venues.bybit.payloads import ExecutionRow, OrderRow, PositionRow
from core.venues.bybit.position_stops import OwnStop, PositionStops, Stage, StopSeen
from core.venues.payload import amount_in, ms_in, positive_in, price_in, quantity_in, say

STATUSES = {
    "New": OrderStatus.ACCEPTED,
    "Untriggered": OrderStatus.ACCEPTED,
    "PartiallyFilled": OrderStatus.PARTIALLY_FILLED,
    "Filled": OrderStatus.FILLED,
    "Cancelled": OrderStatus.EXPIRED,
    "PartiallyFilledCanceled": OrderStatus.EXPIRED,
    "Deactivated": OrderStatus.CANCELED,
    "Triggered": OrderStatus.TRIGGERED,
    "Rejected": OrderStatus.REJECTED,
}
"""§4.2. A cancelled order may have been filled in part (`cumExecQty`); whose wish it was is in `cancelType`."""
WAITING = frozenset({"Untriggered", "Triggered", "Deactivated"})
"""Words about an order that waits for its trigger, or waited for it."""
STOP_TYPES = frozenset({"Stop", "StopLoss", "PartialStopLoss", "TakeProfit", "PartialTakeProfit", "TrailingStop"})
TRADING_SIDES = {"Buy": Side.BUY, "Sell": Side.SELL}


def order_reports(
    row: OrderRow, instrument: InstrumentId, source: Source, stops: PositionStops
) -> Sequence[OrderStatusReport]:
    """The order's state; also the end of the stop it replaced, or of the one that came with it and never came to be.

    Of a trailing stop no level is told: it moves with the price, and says nothing of what was ordered.
    """
    try:
        status = _status(row)
        report = OrderStatusReport(
            instrument=instrument,
            client_order_id=ClientOrderId(row.orderLinkId),
            venue_order_id=VenueOrderId(row.orderId),
            status=status,
            side=TRADING_SIDES[row.side],
            quantity=quantity_in(row.qty, "qty"),
            filled=quantity_in(row.cumExecQty, "cumExecQty"),
            average_price=_average(row),
            trigger_price=price_in(row.triggerPrice, "triggerPrice"),
            reduce_only=row.reduceOnly or row.closeOnTrigger,
            conditional=row.orderStatus in WAITING,
            venue_time_ms=ms_in(row.updatedTime, "updatedTime"),
            source=source,
            detail=_reason(row, status),
        )
    except (KeyError, ValueError) as error:
        raise MalformedPayload("bybit order", say(error)) from None
    if row.stopOrderType == facts.STOP_LOSS and row.tpslMode != "Partial" and not row.orderLinkId:
        return _stop_reports(report, row, stops)
    if row.stopOrderType == facts.TRAILING_STOP and not row.orderLinkId:
        return [replace(told, trigger_price=None) for told in _stop_reports(report, row, stops.trails)]
    if status in ENDED and report.client_order_id and not report.filled:
        return _with_dropped(report, stops)
    return (report,)


def _stop_reports(report: OrderStatusReport, row: OrderRow, stops: PositionStops) -> Sequence[OrderStatusReport]:
    seen = StopSeen(
        venue_order_id=VenueOrderId(row.orderId),
        instrument=report.instrument,
        index=row.positionIdx,
        side=report.side,
        level=report.trigger_price,
        entry=row.parentOrderLinkId,
        time_ms=report.venue_time_ms,
        stage=_stage(report),
        moved=row.orderStatus == "Deactivated" and row.cancelType != facts.POSITION_GONE,
    )
    named = stops.recognise(seen)
    if named is None:
        return ()
    report = replace(report, client_order_id=named.client_order_id)
    if named.replaced is None:
        return (report,)
    return (report, stop_over(named.replaced, report.venue_time_ms, report.source, "replaced by another stop"))


def _with_dropped(report: OrderStatusReport, stops: PositionStops) -> Sequence[OrderStatusReport]:
    dropped = stops.entry_ended_unfilled(report.client_order_id)
    if dropped is None:
        return (report,)
    return (report, stop_over(dropped, report.venue_time_ms, report.source, "its entry ended unfilled"))


def stop_over(stop: OwnStop, venue_ms: int, source: Source, why: str) -> OrderStatusReport:
    """The end of a stop the venue has no row for."""
    intent = stop.intent
    return OrderStatusReport(
        instrument=intent.instrument,
        client_order_id=intent.client_order_id,
        venue_order_id=stop.venue_order_id,
        status=OrderStatus.CANCELED,
        side=intent.side,
        quantity=intent.quantity,
        filled=Quantity(ZERO),
        average_price=None,
        trigger_price=stop.level,
        reduce_only=True,
        conditional=True,
        venue_time_ms=venue_ms,
        source=source,
        detail=why,
    )


def _status(row: OrderRow) -> OrderStatus:
    status = STATUSES[row.orderStatus]
    stop = row.stopOrderType in STOP_TYPES
    if row.orderStatus == "New" and stop:
        return OrderStatus.TRIGGERED  # it waited for its trigger as Untriggered
    if status is OrderStatus.EXPIRED and (
        stop or row.cancelType in facts.BY_USER or row.rejectReason == facts.ON_REQUEST
    ):
        return OrderStatus.CANCELED
    if status is OrderStatus.REJECTED and row.cumExecQty and quantity_in(row.cumExecQty, "cumExecQty"):
        return OrderStatus.EXPIRED  # what was traded stays traded
    return status


def _stage(report: OrderStatusReport) -> Stage:
    if report.status in ENDED:
        return Stage.ENDED
    return Stage.RESTING if report.status is OrderStatus.ACCEPTED else Stage.FIRED


def _average(row: OrderRow) -> Price | None:
    """The venue leaves it out while an order is filled in part: then value by quantity (§8.3)."""
    told = price_in(row.avgPrice, "avgPrice")
    if told is not None:
        return told
    filled, value = quantity_in(row.cumExecQty, "cumExecQty"), quantity_in(row.cumExecValue, "cumExecValue")
    return Price(value / filled) if filled and value else None


def _reason(row: OrderRow, status: OrderStatus) -> str:
    if status not in ENDED or status is OrderStatus.FILLED:
        return ""
    words = [word for word in (row.rejectReason, row.cancelType) if word not in facts.NO_REASON]
    return facts.REASONS.get(words[0], words[0]) if words else ""


def fill_report(
    row: ExecutionRow, instrument: InstrumentId, source: Source, stops: PositionStops, modes: PositionModes
) -> FillReport:
    """Of a row whose `execType` is in `facts.FILLS`. Taxes in the fee's coin are part of the fee."""
    try:
        fee_asset = Asset(row.feeCurrency) if row.feeCurrency else settle_coin(instrument)
        side = TRADING_SIDES[row.side]
        closing = amount_in(row.closedSize, "closedSize") > 0
        return FillReport(
            instrument=instrument,
            client_order_id=ClientOrderId(row.orderLinkId) or stops.name_of(row.orderId),
            venue_order_id=VenueOrderId(row.orderId),
            trade_id=TradeId(row.execId),
            side=side,
            quantity=Quantity(positive_in(row.execQty, "execQty")),
            price=Price(positive_in(row.execPrice, "execPrice")),
            fee=amount_in(row.execFee, "execFee") + _taxes(row, fee_asset),
            fee_asset=fee_asset,
            realized=amount_in(row.execPnl, "execPnl"),
            maker=row.isMaker,
            venue_time_ms=ms_in(row.execTime, "execTime"),
            source=source,
            position_side=modes.side_of_trade(instrument, side, closing=closing),
            origin=facts.ORIGINS.get(row.execType) or facts.ORIGINS.get(row.createType, Origin.ORDER),
        )
    except (KeyError, ValueError) as error:
        raise MalformedPayload("bybit execution", say(error)) from None


def _taxes(row: ExecutionRow, asset: Asset) -> Decimal:
    extra = row.extraFees if isinstance(row.extraFees, list) else ()
    return sum((amount_in(tax.fee, "extraFees") for tax in extra if tax.feeCoin == asset), ZERO)


def position_report(row: PositionRow, instrument: InstrumentId, source: Source) -> PositionReport:
    """A flat row names no side; its index tells which position is flat."""
    try:
        size = quantity_in(row.size, "size")
        quantity = _signed(row, size) if size else ZERO
        return PositionReport(
            instrument=instrument,
            position_side=SIDES[row.positionIdx],
            quantity=Quantity(quantity),
            entry_price=price_in(row.entryPrice or row.avgPrice, "entryPrice"),
            mark_price=price_in(row.markPrice, "markPrice"),
            venue_time_ms=ms_in(row.updatedTime, "updatedTime"),
            source=source,
            unrealized=amount_in(row.unrealisedPnl, "unrealisedPnl") if row.unrealisedPnl else None,
            opened_ms=ms_in(str(row.openTime or 0), "openTime") or None,
        )
    except (KeyError, ValueError) as error:
        raise MalformedPayload("bybit position", say(error)) from None


def _signed(row: PositionRow, size: Quantity) -> Quantity:
    side = TRADING_SIDES[row.side]
    if row.positionIdx != ONE_WAY and (row.positionIdx == LONG) is not (side is Side.BUY):
        raise ValueError(f"side: a position of index {row.positionIdx} that is {row.side}")
    return size if side is Side.BUY else Quantity(-size)


def settle_coin(instrument: InstrumentId) -> Asset:
    return Asset(instrument.symbol.rpartition(":")[2])
