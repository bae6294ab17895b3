"""What differs between the venue's picture and ours, and what follows. Deterministic; running it twice changes nothing.

Absence is never read from one answer: an order is asked for by its id, a position is believed gone or found only when a
second, later reading agrees (INV-5). Two readings may agree and both be old: what takes protection away from a
position needs evidence beside them, or time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from core.domain.ids import ClientOrderId, InstrumentId, PositionId, SignalId, client_order_id, is_ours
from core.domain.ids import Leg as LegName
from core.domain.money import ZERO, Quantity
from core.domain.order import Order, OrderIntent, OrderStatus, OrderType
from core.domain.position import Position, PositionKey, closing_key
from core.domain.reports import FillReport, OrderStatusReport, PositionReport, PositionSide
from core.domain.signal import Side

ENTRY_TOLERANCE = Decimal("0.001")
"""Share of the entry price; a venue's rounding of averages is far below."""


class Mismatch(Struct, frozen=True, kw_only=True):
    """A position that is not the same here and there. Quantities unsigned, base units; the key has the direction."""

    key: PositionKey
    ours: Quantity
    venue: Quantity
    report: PositionReport | None

    @property
    def instrument(self) -> InstrumentId:
        return self.key.instrument


def key_of(report: PositionReport) -> PositionKey | None:
    """The position a row speaks of; None for the row of a flat one-way instrument, which has no direction."""
    if report.position_side is PositionSide.BOTH:
        if report.quantity == ZERO:
            return None
        return PositionKey(report.instrument, Side.BUY if report.quantity > ZERO else Side.SELL)
    return PositionKey(report.instrument, Side.BUY if report.position_side is PositionSide.LONG else Side.SELL)


def order_of(report: OrderStatusReport) -> Order:
    """Enough of a resting order, ours or not, to name it to its venue."""
    intent = OrderIntent(
        client_order_id=report.client_order_id,
        instrument=report.instrument,
        leg=LegName.STOP if report.conditional else LegName.ENTRY,
        attempt=0,
        signal_id=SignalId(""),
        position_id=PositionId(""),
        side=report.side,
        type=OrderType.STOP_MARKET if report.conditional else OrderType.LIMIT_IOC,
        quantity=report.quantity,
        reduce_only=report.reduce_only,
        trigger_price=report.trigger_price,
    )
    return Order(intent=intent, status=report.status, venue_order_id=report.venue_order_id)


def missing_orders(
    ours: Iterable[Order], told: Iterable[OrderStatusReport], sent_before: Iterable[ClientOrderId]
) -> list[Order]:
    """Orders we believe to be working which the venue's list of working orders does not contain: ask for each by id."""
    listed = {report.client_order_id for report in told}
    asked = set(sent_before)
    return [order for order in ours if order.client_order_id not in listed and order.client_order_id in asked]


def position_mismatches(ours: Iterable[Position], told: Iterable[PositionReport]) -> list[Mismatch]:
    """Every position on which the two pictures differ, in a stable order. A turned position is two of them."""
    here = {position.key: position.quantity for position in ours}
    reports = {key: report for report in told if (key := key_of(report)) is not None and report.quantity != ZERO}
    differing = []
    for key in {*here, *reports}:
        report = reports.get(key)
        there = Quantity(ZERO if report is None else abs(report.quantity))
        if here.get(key, ZERO) != there:
            mismatch = Mismatch(key=key, ours=here.get(key, Quantity(ZERO)), venue=there, report=report)
            differing.append(mismatch)
    return sorted(differing, key=lambda mismatch: mismatch.key)


class Evidence(StrEnum):
    """What, beside two readings that agree, speaks for the venue's figure of a position."""

    ADDS = "it holds more than the book, and a stop for what is not there harms nobody"
    NEWER = "its row is newer than everything told of the position before"
    TRADES = "its trades come to the same"
    REFUSED = "it refused an order of ours because there is nothing to reduce"
    NONE = "nothing else it tells explains it"
    OLDER = "its row is older than what was told of the position before"

    @property
    def suffices(self) -> bool:
        """Whether it can be booked at once; else it must have lasted."""
        return self in (Evidence.ADDS, Evidence.NEWER, Evidence.TRADES, Evidence.REFUSED)


def evidence(
    mismatch: Mismatch,
    known: Position | None,
    before: Iterable[PositionReport],
    rows: Iterable[PositionReport],
    fills: Sequence[FillReport],
    traded_ms: int,
    *,
    refused: bool = False,
) -> Evidence:
    """How good the venue's word is. `before` is what it had told of positions until these readings, `rows` the second
    reading, `fills` the account's trades in the instrument as it lists them; `traded_ms` (venue UTC) the last of ours
    among them, 0 = there is none. `refused`: it had nothing to reduce for an order of ours, long after that trade."""
    told_ms = max([traded_ms, *(row.venue_time_ms for row in before if _speaks_of(row, mismatch.key))])
    stamps = [row.venue_time_ms for row in rows if _speaks_of(row, mismatch.key)]
    if stamps and max(stamps) < told_ms:
        return Evidence.OLDER
    if mismatch.venue > mismatch.ours:
        return Evidence.ADDS
    if stamps and max(stamps) > told_ms > 0:
        return Evidence.NEWER
    if known is not None and _traded_to(known, mismatch.venue, fills):
        return Evidence.TRADES
    return Evidence.REFUSED if refused and mismatch.venue == ZERO else Evidence.NONE


def _speaks_of(row: PositionReport, key: PositionKey) -> bool:
    """A one-way row tells both directions of its instrument."""
    if row.instrument != key.instrument:
        return False
    if row.position_side is PositionSide.BOTH:
        return True
    return (row.position_side is PositionSide.LONG) is (key.side is Side.BUY)


def _traded_to(known: Position, quantity: Quantity, fills: Sequence[FillReport]) -> bool:
    """Whether the trades since the position was opened leave just so much of it. A history that lacks what we know was
    bought is as old as the reading it would bear out."""
    opened: Decimal = ZERO
    closed: Decimal = ZERO
    for fill in fills:
        if fill.venue_time_ms < known.opened_ms:
            continue
        if fill.position_side is not PositionSide.BOTH and closing_key(fill) != known.key:
            continue  # of the other direction
        if fill.side is known.side:
            opened += fill.quantity
        else:
            closed += fill.quantity
    return opened >= known.entry_quantity and max(ZERO, opened - closed) == quantity


def orphans(
    told: Iterable[OrderStatusReport], ours: Mapping[ClientOrderId, Order], positions: Iterable[Position]
) -> list[OrderStatusReport]:
    """Resting reduce-only orders with our prefix that protect nothing: nothing is open in their direction.

    Foreign orders never qualify, nor do orders that state knows as something else than a stop or a trailing order.
    """
    held = {position.key for position in positions}
    found = []
    for report in told:
        resting = report.conditional and report.status is OrderStatus.ACCEPTED and report.reduce_only
        protects = PositionKey(report.instrument, report.side.opposite)
        if resting and is_ours(report.client_order_id) and protects not in held:
            known = ours.get(report.client_order_id)
            if known is None or known.intent.leg in (LegName.STOP, LegName.TRAIL):
                found.append(report)
    return found


def entered_ms(key: PositionKey, quantity: Quantity, fills: Sequence[FillReport]) -> int | None:
    """Since when there has been a position here: the account's own trades in its instrument, oldest first, taken back
    from today's unsigned `quantity` until nothing is left. None where they do not reach back so far (TRL-09)."""
    left: Decimal = quantity
    for fill in reversed(fills):
        if fill.position_side is not PositionSide.BOTH and closing_key(fill) != key:
            continue  # of the other direction
        left += fill.quantity if fill.side is not key.side else -fill.quantity
        if left <= ZERO:
            return fill.venue_time_ms
    return None


def adopted(
    mismatch: Mismatch, stop_loss_percent: Decimal, known: Position | None, opened_ms: int | None = None
) -> Position | None:
    """The position to book so that ours equals the venue's; None when the venue has none. `opened_ms` of one that is
    not known; without it the venue's stamp of what it told.

    Its id is a pure function of the facts, so adopting twice is adopting once (REC-03). Its time is one of them:
    another position at the same price, after a start that has forgotten this one, must not use its orders' ids again.
    """
    report, quantity = mismatch.report, mismatch.venue
    if quantity == ZERO or report is None:
        return None
    if known is not None:
        cost = quantity * known.entry_price
        return replace(known, quantity=quantity, entry_quantity=quantity, entry_cost=cost)
    if report.entry_price is None:
        return None
    facts = f"{mismatch.instrument}|{mismatch.key.side}|{report.entry_price}|{report.venue_time_ms}"
    return Position(
        id=PositionId(client_order_id("external", facts, LegName.ENTRY, 0)),
        instrument=mismatch.instrument,
        side=mismatch.key.side,
        quantity=quantity,
        entry_quantity=quantity,
        entry_cost=quantity * report.entry_price,
        stop_loss_percent=stop_loss_percent,
        opened_ms=report.venue_time_ms if opened_ms is None else opened_ms,
    )


def entry_differs(position: Position, report: PositionReport) -> bool:
    """Whether the venue tells another average than our fills make: ours stays, people are told (POS-04)."""
    if report.entry_price is None or key_of(report) != position.key:
        return False
    return abs(report.entry_price - position.entry_price) > position.entry_price * ENTRY_TOLERANCE


def closed_elsewhere(position: Position, at_ms: int) -> Position:
    """The venue is flat and no trade of ours explains it: booked as closed, without inventing a price."""
    return replace(position, quantity=Quantity(ZERO), closed_ms=at_ms)
