"""How each position stands: its confirmed stop, its longest time without one, and how often stops of it were lost."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal

import structlog
from msgspec import Struct

from core.clock import Clock
from core.domain.alerts import AlertKind
from core.domain.ids import ClientOrderId, PositionId
from core.domain.money import Price, Quantity, plain
from core.domain.order import Order
from core.domain.position import Position
from core.engine.bookkeeping import Bookkeeper
from core.engine.histogram import Histogram
from core.engine.ports import Level, Notifier

log = structlog.get_logger(__name__)

REMEMBERED = 2_000
"""Records of positions, closed ones too; far more than can be open at a time. The one not asked for longest goes."""
FIRST_STOP_FACTOR = 4
"""A first stop may take so many times as long as a later one before people are told: it follows its fill."""
MOST_LOST = 5
LOST_SECONDS = 60.0
"""So many stops of one position that are gone again within this time, and the next one would go too."""


@dataclass(slots=True)
class Naked:
    """A stretch of time in which some quantity had no stop: venue stamp of its first fill, our deadline for its end,
    and when we noticed (monotonic)."""

    since_venue_ms: int
    deadline: float
    noticed: float


class Protection(Struct, frozen=True, kw_only=True):
    """How one position stands. `unprotected_ms` is the longest time without cover, by the venue's own stamps; None
    while the first stop is not confirmed. `since_ms`: covered without a break since then, venue UTC; after a restart
    not before the stop that was found."""

    position_id: PositionId
    stop: ClientOrderId | None
    trigger_price: Price | None
    quantity: Quantity
    unprotected_ms: int | None
    since_ms: int | None = None


@dataclass(slots=True)
class _Losses:
    """Of one position: the stop lost last, and when each was."""

    newest: ClientOrderId
    at: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_LOST))


class Protections:
    def __init__(self, *, books: Bookkeeper, clock: Clock, notifier: Notifier, alert_ms: int) -> None:
        """`alert_ms`: time without a stop above which people are told, for a position that has had one (STP-01)."""
        self._books = books
        self._clock = clock
        self._notifier = notifier
        self._alert_ms = alert_ms
        self._known: dict[PositionId, Protection] = {}
        self._longest_ms = 0
        self._losses: dict[PositionId, _Losses] = {}
        self.lasted = Histogram()
        """Milliseconds without a stop by the venue's stamps, of every stretch that ended with one."""

    def get(self, position_id: PositionId) -> Protection | None:
        """Also of positions closed since the start. What is asked for is kept longest: of an open position everybody
        asks, and it may outlive thousands of others."""
        if (known := self._known.pop(position_id, None)) is not None:
            self._known[position_id] = known
        return known

    def take_longest(self) -> int:
        """The longest time without a stop since this was asked last, milliseconds."""
        longest, self._longest_ms = self._longest_ms, 0
        return longest

    def record(self, position: Position, stop: Order, naked_since_ms: int | None) -> bool:
        """This stop covers the position, which had none since that stamp of the venue's; True where that is news."""
        known = self._known.get(position.id)
        same = known is not None and (known.stop, known.trigger_price) == (stop.client_order_id, stop.trigger_price)
        if same and naked_since_ms is None:
            return False
        longest = known.unprotected_ms or 0 if known else 0
        if naked_since_ms is not None:
            lasted = stop.venue_time_ms - naked_since_ms
            longest = max(longest, lasted)
            self._longest_ms = max(self._longest_ms, lasted)
            self.lasted.observe(lasted)
            self._alert(position, lasted, first=known is None)
        while len(self._known) >= REMEMBERED:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._losses.pop(oldest, None)
        self._known[position.id] = Protection(
            position_id=position.id,
            stop=stop.client_order_id,
            trigger_price=stop.trigger_price,
            quantity=position.quantity,
            unprotected_ms=longest,
            since_ms=stop.venue_time_ms if known is None or naked_since_ms is not None else known.since_ms,
        )
        if known is not None and naked_since_ms is None:
            self._say_moved(position, known, stop)
        facts = {
            "instrument": str(position.instrument),
            "position_id": position.id,
            "stop": stop.client_order_id,
            "trigger_price": plain(stop.trigger_price or Decimal(0)),
            "quantity": plain(position.quantity),
            "unprotected_ms": longest,
        }
        log.info("protection.confirmed", **facts)
        self._books.note("protected", facts)
        return True

    def _say_moved(self, position: Position, known: Protection, stop: Order) -> None:
        if None in (known.trigger_price, stop.trigger_price) or known.trigger_price == stop.trigger_price:
            return
        before, after = plain(known.trigger_price or Decimal(0)), plain(stop.trigger_price or Decimal(0))
        text = f"{position.key}: stop moved from {before} to {after}"
        self._notifier.notify(Level.INFO, text, kind=AlertKind.STOP_MOVED)

    def _alert(self, position: Position, lasted_ms: int, *, first: bool) -> None:
        """Of what was opened elsewhere its taking over is told, and how long it stood there is not known."""
        limit = self._alert_ms * (FIRST_STOP_FACTOR if first else 1)
        if lasted_ms <= limit or (first and not position.signal_id):
            return
        log.warning("protection.late", position=str(position.key), unprotected_ms=lasted_ms, limit_ms=limit)
        self._notifier.notify(
            Level.WARNING,
            f"{position.key}: was without a stop for {lasted_ms} ms (UNPROTECTED_ALERT_MS); it has one now",
            kind=AlertKind.UNPROTECTED,
        )

    def keeps_none(self, position: Position, last: Order | None) -> bool:
        """Asked before another stop is placed; `last` is the stop that was recorded last. Whether stops of this
        position, as it is now, are gone again and again: somebody takes them away, or the venue does."""
        known = self._known.get(position.id)
        lost = last is not None and last.ended and not last.filled
        if known is None or last is None or not lost or known.quantity != position.quantity:
            return False
        losses = self._losses.setdefault(position.id, _Losses(newest=ClientOrderId("")))
        if losses.newest == last.client_order_id:
            return False
        losses.newest = last.client_order_id
        losses.at.append(self._clock.monotonic())
        return len(losses.at) == MOST_LOST and losses.at[-1] - losses.at[0] <= LOST_SECONDS
