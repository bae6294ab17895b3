"""One order from intent to end. The state machine is the table `NEXT`; nothing else decides what may follow what."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from core.domain.ids import CLOSES_ALL, ClientOrderId, InstrumentId, Leg, PositionId, SignalId, TradeId, VenueOrderId
from core.domain.money import ZERO, Price, Quantity, plain
from core.domain.signal import Side

if TYPE_CHECKING:
    from core.domain.reports import FillReport, OrderStatusReport


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT_IOC = "limit_ioc"
    STOP_MARKET = "stop_market"
    TRAILING_STOP = "trailing_stop"
    """The venue's own: from `trigger_price` on it follows the best price `trailing_callback_percent` behind."""
    POST_ONLY = "post_only"
    """A limit that never takes; only pre-flight sends one, far from the market."""


CONDITIONAL = frozenset({OrderType.STOP_MARKET, OrderType.TRAILING_STOP})


class TriggerReference(StrEnum):
    """Which price fires a stop; INV-6 compares against this one."""

    MARK_PRICE = "MARK_PRICE"
    CONTRACT_PRICE = "CONTRACT_PRICE"


class OrderStatus(StrEnum):
    INITIALIZED = "initialized"
    """Intent is made (and, for entries, durable); nothing was sent."""
    IN_FLIGHT = "in_flight"
    """Sent, not acknowledged. Keeps its reservation however long it lasts."""
    ABSENT = "absent"
    """The venue said "no such order" past its consistency delay. Ended, but any later word of the venue outranks it."""
    ACCEPTED = "accepted"
    TRIGGERED = "triggered"
    """A conditional order fired; its child order (same client order id) decides the rest."""
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"


class Move(StrEnum):
    """What a told status means for an order that already has one."""

    APPLY = "apply"
    STALE = "stale"
    """Old news, told late or twice: the order has been further already."""
    ILLEGAL = "illegal"
    """The two cannot both be true: journaled, order untouched, reconciliation asked for."""


_S = OrderStatus
RANK: dict[OrderStatus, int] = {
    _S.INITIALIZED: 0,
    _S.IN_FLIGHT: 1,
    _S.ABSENT: 2,
    _S.ACCEPTED: 3,
    _S.TRIGGERED: 4,
    _S.PARTIALLY_FILLED: 5,
    _S.CANCELED: 6,
    _S.EXPIRED: 6,
    _S.REJECTED: 6,
    _S.FILLED: 7,
}
"""How far an order has come. Reports are joined by it, so arrival order and repetition cannot matter (UDS-06)."""

_CONTRADICTIONS = frozenset(
    {
        (_S.CANCELED, _S.EXPIRED),
        (_S.CANCELED, _S.REJECTED),
        (_S.EXPIRED, _S.CANCELED),
        (_S.EXPIRED, _S.REJECTED),
        (_S.REJECTED, _S.CANCELED),
        (_S.REJECTED, _S.EXPIRED),
        (_S.PARTIALLY_FILLED, _S.REJECTED),
        (_S.FILLED, _S.REJECTED),
        (_S.REJECTED, _S.PARTIALLY_FILLED),
        (_S.REJECTED, _S.FILLED),
    }
)

NEXT: dict[tuple[OrderStatus, OrderStatus], Move] = {
    (old, new): Move.ILLEGAL if (old, new) in _CONTRADICTIONS else Move.APPLY if RANK[new] > RANK[old] else Move.STALE
    for old in OrderStatus
    for new in OrderStatus
}
"""Every pair. Real oddities that are legal: canceled then filled (a fill was under way), absent then accepted (the
look-up was too early), accepted then rejected (a stop refused when it triggered, STP-19)."""

ENDED = frozenset({_S.FILLED, _S.CANCELED, _S.EXPIRED, _S.REJECTED, _S.ABSENT})
UNACKNOWLEDGED = frozenset({_S.INITIALIZED, _S.IN_FLIGHT})


class OrderIntent(Struct, frozen=True, kw_only=True):
    """What we decided to send. Durable before the wire (INV-2) and never changed afterwards.

    `quantity` base units, already on the step; `price` only for LIMIT_IOC, `trigger_price` only for STOP_MARKET and
    TRAILING_STOP, both on the tick. A TRAILING_STOP follows the price from `trigger_price` on, or at once without one;
    its `trailing_callback_percent` is of the price, and `decision_price` is the one it was decided at. What the signal
    asked for its position (percent of the fill price) travels with its entry, so that a restart or a changed
    configuration treats that position as it was opened (SIG-11).
    `reason` says for people what a close was sent for. `attached_to`: a stop that was sent along with that entry; its
    level comes from the decision and is provisional. `whole_position`: it covers whatever the position holds, and
    `quantity` is what it was sent for, no bound: the position may have grown since.
    """

    client_order_id: ClientOrderId
    instrument: InstrumentId
    leg: Leg
    attempt: int
    signal_id: SignalId
    position_id: PositionId
    side: Side
    type: OrderType
    quantity: Quantity
    reduce_only: bool
    price: Price | None = None
    trigger_price: Price | None = None
    trigger_reference: TriggerReference = TriggerReference.MARK_PRICE
    decision_price: Price | None = None
    stop_loss_percent: Decimal | None = None
    trailing_activation_percent: Decimal | None = None
    trailing_callback_percent: Decimal | None = None
    take_profit_percent: Decimal | None = None
    time_limit_minutes: Decimal | None = None
    wave_id: str = ""
    reason: str = ""
    attached_to: ClientOrderId | None = None
    whole_position: bool = False

    @property
    def conditional(self) -> bool:
        """It waits at the venue for a price, and is an ordinary order only from then on."""
        return self.type in CONDITIONAL

    def foretold_by(self, stop: OrderIntent) -> bool:
        """Whether the row of that stop tells side, quantity and client order id of this one: those of the next stop of
        the same position, of which only the level is new, and of the first close of each leg follow from it (INV-2)."""
        next_stop = self.leg is Leg.STOP and self.attempt == stop.attempt + 1
        first_close = self.leg in CLOSES_ALL and self.attempt == 0
        return (
            (next_stop or first_close)
            and stop.leg is Leg.STOP
            and self.position_id == stop.position_id
            and self.side is stop.side
            and self.quantity == stop.quantity
            and self.reduce_only
        )


class Order(Struct, frozen=True, kw_only=True):
    """State of one order. `filled` and `average_price` come from trades only; `reported_filled` is the venue's own sum,
    and when it is ahead, trades are missing. `level` and `size` are what an amendment made of a stop's trigger price
    and quantity; None = as it was intended."""

    intent: OrderIntent
    status: OrderStatus = OrderStatus.INITIALIZED
    venue_order_id: VenueOrderId | None = None
    filled: Quantity = Quantity(ZERO)
    cost: Decimal = ZERO
    reported_filled: Quantity = Quantity(ZERO)
    trade_ids: frozenset[TradeId] = frozenset()
    venue_time_ms: int = 0
    detail: str = ""
    level: Price | None = None
    size: Quantity | None = None

    @property
    def client_order_id(self) -> ClientOrderId:
        return self.intent.client_order_id

    @property
    def trigger_price(self) -> Price | None:
        """Where a stop fires now."""
        return self.intent.trigger_price if self.level is None else self.level

    @property
    def quantity(self) -> Quantity:
        """What it is for now, base units."""
        return self.intent.quantity if self.size is None else self.size

    @property
    def instrument(self) -> InstrumentId:
        return self.intent.instrument

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def average_price(self) -> Price | None:
        return Price(self.cost / self.filled) if self.filled else None

    @property
    def fills_missing(self) -> Quantity:
        """Base units the venue says are filled and for which no trade was seen yet."""
        return Quantity(max(ZERO, self.reported_filled - self.filled))

    def overfilled_by(self, filled: Decimal) -> bool:
        """Whether it cannot be that so much of it is filled."""
        return filled > self.quantity and not self.intent.whole_position

    @property
    def undecided(self) -> bool:
        """The venue has to tell more of it: that it has it, the trades of what it filled, or, of an order that cannot
        rest, how it ended."""
        resting = self.intent.conditional and self.status not in UNACKNOWLEDGED
        return bool(self.fills_missing) or not (self.ended or resting)


def purpose(order: Order) -> str:
    """What an order was for, in words: why a position was closed is read from the order that closed it."""
    level = order.trigger_price
    if order.intent.leg is Leg.STOP and level is not None:
        return f"stop at {plain(level)}"
    if order.intent.leg is Leg.TRAIL:
        return "the venue's trailing order"
    return order.intent.reason or order.intent.leg.value


class IllegalReport(Struct, frozen=True, kw_only=True):
    """A report the table does not allow, or one that fills more than was ordered; the order was left as it was."""

    order: Order
    told: str


def apply_status(order: Order, report: OrderStatusReport) -> Order | IllegalReport:
    """The order after `report`; the same object when the report is old news.

    Status and cumulative quantity are joined separately: each only ever grows.
    """
    move = NEXT[order.status, report.status]
    reported = ZERO if report.conditional else report.filled
    if order.intent.conditional and order.overfilled_by(reported) and reported <= report.quantity:
        order = replace(order, size=report.quantity)  # a stop made larger, and that word was lost
    if move is Move.ILLEGAL or order.overfilled_by(reported):
        return IllegalReport(order=order, told=f"{report.status}, filled {report.filled} of {order.quantity}")
    moved = _amended(order, report)
    if move is Move.STALE and reported <= order.reported_filled:
        return moved
    return replace(
        moved,
        status=report.status if move is Move.APPLY else order.status,
        venue_order_id=report.venue_order_id or order.venue_order_id,
        reported_filled=Quantity(max(order.reported_filled, reported)),
        venue_time_ms=max(order.venue_time_ms, report.venue_time_ms),
        detail=report.detail or order.detail,
    )


def _amended(order: Order, report: OrderStatusReport) -> Order:
    """With the level, the size and the venue's id as told of a resting stop; the same object when these are known. Only
    newer words count: an old frame must not move a stop back. A stop moved at Bybit may go on under a new id."""
    over = order.ended and order.status is not OrderStatus.ABSENT
    resting = report.conditional and report.status is OrderStatus.ACCEPTED and not over
    if not resting or report.venue_time_ms < order.venue_time_ms:
        return order
    level, size = report.trigger_price or order.trigger_price, report.quantity or order.quantity
    if order.intent.whole_position:
        size = order.quantity  # told as what the position holds at the moment
    venue_order_id = report.venue_order_id or order.venue_order_id
    if (level, size, venue_order_id) == (order.trigger_price, order.quantity, order.venue_order_id):
        return order
    return replace(
        order,
        venue_order_id=venue_order_id,
        level=order.level if level == order.trigger_price else level,
        size=order.size if size == order.quantity else size,
        venue_time_ms=report.venue_time_ms,
    )


def apply_fill(order: Order, fill: FillReport) -> Order | IllegalReport:
    """The order after one trade; the same object when that trade id was already counted."""
    if fill.trade_id in order.trade_ids:
        return order
    filled = order.filled + fill.quantity
    if order.overfilled_by(filled):
        return IllegalReport(order=order, told=f"trade {fill.trade_id} fills {filled} of {order.quantity}")
    complete = filled == order.quantity and not order.intent.whole_position  # of those only the venue knows the end
    told = OrderStatus.FILLED if complete else OrderStatus.PARTIALLY_FILLED
    if NEXT[order.status, told] is Move.ILLEGAL:
        return IllegalReport(order=order, told=f"trade {fill.trade_id} on a {order.status} order")
    status = told if NEXT[order.status, told] is Move.APPLY else order.status
    return replace(
        order,
        status=status,
        venue_order_id=fill.venue_order_id,
        filled=Quantity(filled),
        cost=order.cost + fill.quantity * fill.price,
        reported_filled=Quantity(max(order.reported_filled, filled)),
        trade_ids=order.trade_ids | {fill.trade_id},
        venue_time_ms=max(order.venue_time_ms, fill.venue_time_ms),
    )
