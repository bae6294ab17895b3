"""What differs between the venue's picture and ours, and what follows. Deterministic; running it twice changes nothing.

Absence is never read from one answer: an order is asked for by its id, a position is believed gone or found only when a
second, later reading agrees (INV-5).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from core.domain.ids import ClientOrderId, InstrumentId, PositionId, client_order_id, is_ours
from core.domain.ids import Leg as LegName
from core.domain.money import ZERO, Quantity
from core.domain.order import Order, OrderStatus
from core.domain.position import Position
from core.domain.reports import OrderStatusReport, PositionReport
from core.domain.signal import Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A position that is not the same here and there. Quantities signed, base units, negative = short."""

    instrument: InstrumentId
    ours: Decimal
    venue: Decimal
    report: PositionReport | None


def signed(position: Position | None) -> Decimal:
    return ZERO if position is None else position.quantity * position.side.sign


def missing_orders(
    ours: Iterable[Order], told: Iterable[OrderStatusReport], sent_before: Iterable[ClientOrderId]
) -> list[Order]:
    """Orders we believe to be working which the venue's list of working orders does not contain: ask for each by id."""
    listed = {report.client_order_id for report in told}
    asked = set(sent_before)
    return [order for order in ours if order.client_order_id not in listed and order.client_order_id in asked]


def position_mismatches(ours: Mapping[InstrumentId, Position], told: Iterable[PositionReport]) -> list[Mismatch]:
    """Every instrument on which the two pictures differ, in a stable order."""
    venue: dict[InstrumentId, Decimal] = {}
    reports: dict[InstrumentId, PositionReport] = {}
    for report in told:
        venue[report.instrument] = venue.get(report.instrument, ZERO) + report.quantity
        if report.quantity != ZERO:
            reports[report.instrument] = report
    differing = []
    for instrument in sorted(set(ours) | set(venue)):
        here, there = signed(ours.get(instrument)), venue.get(instrument, ZERO)
        if here != there:
            report_or_none = reports.get(instrument)
            differing.append(Mismatch(instrument=instrument, ours=here, venue=there, report=report_or_none))
    return differing


def orphans(
    told: Iterable[OrderStatusReport], ours: Mapping[ClientOrderId, Order], positions: Mapping[InstrumentId, Position]
) -> list[OrderStatusReport]:
    """Resting reduce-only orders with our prefix that protect nothing: their instrument has no position.

    Foreign orders never qualify, nor do orders that state knows as working for an open position.
    """
    found = []
    for report in told:
        resting = report.conditional and report.status is OrderStatus.ACCEPTED and report.reduce_only
        if resting and is_ours(report.client_order_id) and report.instrument not in positions:
            known = ours.get(report.client_order_id)
            if known is None or known.intent.leg is LegName.STOP:
                found.append(report)
    return found


def adopted(mismatch: Mismatch, stop_loss_percent: Decimal, known: Position | None) -> Position | None:
    """The position to book so that ours equals the venue's; None when the venue has none.

    Its id is a pure function of the facts, so adopting twice is adopting once (REC-03).
    """
    report = mismatch.report
    if mismatch.venue == ZERO or report is None:
        return None
    side = Side.BUY if mismatch.venue > ZERO else Side.SELL
    quantity = Quantity(abs(mismatch.venue))
    if known is not None and known.side is side:
        cost = quantity * known.entry_price
        return replace(known, quantity=quantity, entry_quantity=quantity, entry_cost=cost)
    if report.entry_price is None:
        return None
    facts = f"{mismatch.instrument}|{side}|{report.entry_price}"
    return Position(
        id=PositionId(client_order_id("external", facts, LegName.ENTRY, 0)),
        instrument=mismatch.instrument,
        side=side,
        quantity=quantity,
        entry_quantity=quantity,
        entry_cost=quantity * report.entry_price,
        stop_loss_percent=stop_loss_percent,
        opened_ms=report.venue_time_ms,
    )


def closed_elsewhere(position: Position, at_ms: int) -> Position:
    """The venue is flat and no trade of ours explains it: booked as closed, without inventing a price."""
    return replace(position, quantity=Quantity(ZERO), closed_ms=at_ms)
