"""OKX payload -> report. Pure; what does not parse raises MalformedPayload naming the field, never half a report.

Contracts become base units here. What "" and "0" mean: a price of "" or "0" is "not told"; a size of "" is 0; a fee or
result that is absent is 0. Fees are negative at the venue when paid, positive in our reports.
"""

from __future__ import annotations

from core.domain.ids import Asset, ClientOrderId, TradeId, VenueOrderId
from core.domain.money import ZERO, Price, Quantity, decimal_of
from core.domain.order import OrderIntent, OrderStatus
from core.domain.reports import FillReport, OrderStatusReport, Origin, PositionReport, PositionSide, Report, Source
from core.domain.signal import Side
from core.errors import MalformedPayload
from core.venues.okx.contracts import Contract
from core.venues.okx.facts import CANCEL_SOURCES, EXPIRED_BY, ORIGINS, ORIGINS_OF_TRADES
from core.venues.okx.payloads import AlgoRow, OrderRow, PositionRow, TradeRow
from core.venues.payload import amount_in, ms_in, positive_in, price_in, say

STATUSES = {
    "live": OrderStatus.ACCEPTED,
    "partially_filled": OrderStatus.PARTIALLY_FILLED,
    "filled": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELED,
    "mmp_canceled": OrderStatus.CANCELED,
}
ALGO_STATUSES = {
    "live": OrderStatus.ACCEPTED,
    "pause": OrderStatus.ACCEPTED,
    # Its child decides the rest.
    "effective": OrderStatus.TRIGGERED,
    "partially_effective": OrderStatus.TRIGGERED,
    "partially_failed": OrderStatus.TRIGGERED,
    # Two words of trigger orders that other clients have seen and the documents do not have.
    "order_placed": OrderStatus.TRIGGERED,
    "filled": OrderStatus.TRIGGERED,
    "canceled": OrderStatus.CANCELED,
    "order_failed": OrderStatus.REJECTED,
}
SIDES = {"buy": Side.BUY, "sell": Side.SELL}
POSITION_SIDES = {
    "": PositionSide.BOTH,
    "net": PositionSide.BOTH,
    "long": PositionSide.LONG,
    "short": PositionSide.SHORT,
}
_CLOSING = {("long", "sell"), ("short", "buy")}


def order_report(row: OrderRow, contract: Contract, source: Source, client_id: str = "") -> OrderStatusReport:
    """`client_id` where the asker knows whose order it is: the child of a stop may name itself otherwise."""
    try:
        return _status(row, contract, source, client_id or _client_id(row))
    except (KeyError, ValueError) as error:
        raise MalformedPayload("okx order", say(error)) from None


def order_reports(row: OrderRow, contract: Contract, source: Source) -> list[Report]:
    """The last trade, when the row tells one, the order's state after it, and what that means for its attached stop."""
    try:
        status = _status(row, contract, source, _client_id(row))
        reports: list[Report] = []
        # Announcements of a liquidation and amendments may come without a trade.
        if row.fillSz and decimal_of(row.fillSz, "fillSz") > 0:
            reports.append(_fill(row, contract, source))
        reports.append(status)
        if status.status in {OrderStatus.CANCELED, OrderStatus.EXPIRED} and status.filled < status.quantity:
            reports += _never_attached(row, status)
    except (KeyError, ValueError) as error:
        raise MalformedPayload("okx order", say(error)) from None
    return reports


def _status(row: OrderRow, contract: Contract, source: Source, client_id: str) -> OrderStatusReport:
    status = STATUSES[row.state]
    if status is OrderStatus.CANCELED and row.cancelSource in EXPIRED_BY:
        status = OrderStatus.EXPIRED
    return OrderStatusReport(
        instrument=contract.instrument,
        client_order_id=ClientOrderId(client_id),
        venue_order_id=VenueOrderId(row.ordId),
        status=status,
        side=SIDES[row.side],
        quantity=contract.base(row.sz, "sz"),
        filled=contract.base(row.accFillSz, "accFillSz"),
        average_price=price_in(row.avgPx, "avgPx"),
        trigger_price=None,
        reduce_only=_closes(row),
        conditional=False,
        venue_time_ms=ms_in(row.uTime, "uTime"),
        source=source,
        detail=CANCEL_SOURCES.get(row.cancelSource, row.cancelSource),
    )


def _never_attached(row: OrderRow, entry: OrderStatusReport) -> list[OrderStatusReport]:
    """Stops that travel with an order come to be once it is filled entirely (§5.4): its end is theirs. Told as absent,
    because some clients have seen one placed for the filled part after all, and then its own rows must outrank this."""
    return [
        OrderStatusReport(
            instrument=entry.instrument,
            client_order_id=ClientOrderId(attached.attachAlgoClOrdId),
            venue_order_id=None,
            status=OrderStatus.ABSENT,
            side=entry.side.opposite,
            quantity=entry.quantity,
            filled=Quantity(ZERO),
            average_price=None,
            trigger_price=price_in(attached.slTriggerPx, "slTriggerPx"),
            reduce_only=True,
            conditional=True,
            venue_time_ms=entry.venue_time_ms,
            source=entry.source,
            detail="its entry ended without being filled entirely",
        )
        for attached in row.attachAlgoOrds
        if attached.attachAlgoClOrdId
    ]


def _fill(row: OrderRow, contract: Contract, source: Source) -> FillReport:
    alone = row.fillSz == row.accFillSz  # then the order's sums are this trade's
    fee = row.fillFee or (row.fee if alone else "")
    realized = row.fillPnl or (row.pnl if alone else "")
    return FillReport(
        instrument=contract.instrument,
        client_order_id=ClientOrderId(_client_id(row)),
        venue_order_id=VenueOrderId(row.ordId),
        # A liquidation may have no trade id; order and running total name the trade as well.
        trade_id=TradeId(row.tradeId if row.tradeId not in {"", "0"} else f"{row.ordId}-{row.accFillSz}"),
        side=SIDES[row.side],
        quantity=Quantity(positive_in(row.fillSz, "fillSz") * contract.size),
        price=Price(positive_in(row.fillPx, "fillPx")),
        fee=-amount_in(fee, "fillFee"),
        fee_asset=Asset(row.fillFeeCcy or row.feeCcy or _settled_in(contract)),
        realized=amount_in(realized, "fillPnl"),
        maker=row.execType == "M",
        venue_time_ms=ms_in(row.fillTime if row.fillTime not in {"", "0"} else row.uTime, "fillTime"),
        source=source,
        position_side=POSITION_SIDES[row.posSide],
        origin=ORIGINS.get(row.category, Origin.ORDER),
    )


def algo_report(row: AlgoRow, contract: Contract, source: Source) -> OrderStatusReport:
    """Of the conditional parent. Once it fired `venue_order_id` is the child's, which trades are told under."""
    try:
        child = row.ordId or next(iter(row.ordIdList), "")
        return OrderStatusReport(
            instrument=contract.instrument,
            client_order_id=ClientOrderId(row.algoClOrdId),
            venue_order_id=VenueOrderId(child or row.algoId),
            status=ALGO_STATUSES[row.state],
            side=SIDES[row.side],
            quantity=contract.base(row.sz, "sz"),
            filled=Quantity(ZERO),
            average_price=None,
            trigger_price=price_in(row.slTriggerPx or row.triggerPx, "slTriggerPx"),
            reduce_only=_closes(row) or bool(row.closeFraction),
            conditional=True,
            venue_time_ms=ms_in(row.uTime or row.pTime or row.cTime, "uTime"),
            source=source,
            detail=f"fail code {row.failCode}" if row.failCode not in {"", "0"} else "",
        )
    except (KeyError, ValueError) as error:
        raise MalformedPayload("okx algo order", say(error)) from None


def trade_report(row: TradeRow, contract: Contract, source: Source) -> FillReport:
    """`client_order_id` is "" for what a stop's child traded; `venue_order_id` is always there."""
    try:
        return FillReport(
            instrument=contract.instrument,
            client_order_id=ClientOrderId(row.clOrdId),
            venue_order_id=VenueOrderId(row.ordId),
            trade_id=TradeId(row.tradeId),
            side=SIDES[row.side],
            quantity=Quantity(positive_in(row.fillSz, "fillSz") * contract.size),
            price=Price(positive_in(row.fillPx, "fillPx")),
            fee=-amount_in(row.fee, "fee"),
            fee_asset=Asset(row.feeCcy or _settled_in(contract)),
            realized=amount_in(row.fillPnl, "fillPnl"),
            maker=row.execType == "M",
            venue_time_ms=ms_in(row.fillTime or row.ts, "fillTime"),
            source=source,
            position_side=POSITION_SIDES[row.posSide],
            origin=ORIGINS_OF_TRADES.get(row.subType, Origin.ORDER),
        )
    except (KeyError, ValueError) as error:
        raise MalformedPayload("okx trade", say(error)) from None


def position_report(row: PositionRow, contract: Contract, source: Source) -> PositionReport:
    """Net positions are signed, those of long/short mode are not."""
    try:
        size = contract.base(row.pos, "pos")
        return PositionReport(
            instrument=contract.instrument,
            position_side=POSITION_SIDES[row.posSide],
            quantity=Quantity(-abs(size)) if row.posSide == "short" else size,
            entry_price=price_in(row.avgPx, "avgPx"),
            mark_price=price_in(row.markPx, "markPx"),
            venue_time_ms=ms_in(row.uTime, "uTime"),
            source=source,
            unrealized=decimal_of(row.upl, "upl") if row.upl else None,
            isolated=row.mgnMode == "isolated",
            isolated_margin=decimal_of(row.margin, "margin") if row.margin else None,
            opened_ms=ms_in(row.cTime, "cTime") if row.cTime else None,
        )
    except (KeyError, ValueError) as error:
        raise MalformedPayload("okx position", say(error)) from None


def acknowledged(intent: OrderIntent, venue_order_id: str, venue_time_ms: int) -> OrderStatusReport:
    """An order the venue has taken. Its answer tells an id and nothing else; what it fills is told by the stream."""
    return OrderStatusReport(
        instrument=intent.instrument,
        client_order_id=intent.client_order_id,
        venue_order_id=VenueOrderId(venue_order_id),
        status=OrderStatus.ACCEPTED,
        side=intent.side,
        quantity=intent.quantity,
        filled=Quantity(ZERO),
        average_price=None,
        trigger_price=intent.trigger_price,
        reduce_only=intent.reduce_only,
        conditional=intent.conditional,
        venue_time_ms=venue_time_ms,
        source=Source.REST,
    )


def _client_id(row: OrderRow) -> str:
    """The child of a fired stop names its parent's id; its own is the venue's invention."""
    return row.algoClOrdId or row.clOrdId


def _closes(row: OrderRow | AlgoRow) -> bool:
    """In long/short mode the sides alone decide."""
    return row.reduceOnly in {True, "true"} or (row.posSide, row.side) in _CLOSING


def _settled_in(contract: Contract) -> str:
    return contract.instrument.symbol.rpartition(":")[2]
