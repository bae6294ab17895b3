"""What an ordered change came to, by the venue's own word."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from core.domain.ids import InstrumentId, VenueName
from core.domain.money import plain
from core.domain.order import OrderStatus
from core.domain.standing import Standing


class Closed(Struct, frozen=True, kw_only=True):
    """What became of one position. `flat` is the venue's own word, read after the close; `left` counts orders of ours
    that still rest there."""

    instrument: InstrumentId
    quantity: Decimal
    flat: bool
    realized: Decimal
    left: int
    detail: str

    def facts(self) -> dict[str, str | int | bool]:
        return {
            "venue": self.instrument.venue.value,
            "symbol": self.instrument.symbol,
            "quantity": plain(self.quantity),
            "flat": self.flat,
            "realized": plain(self.realized),
            "left_orders": self.left,
            "detail": self.detail,
        }


class Changed(Struct, frozen=True, kw_only=True):
    """A trading state as it holds now, everywhere (`venue` None) or on one venue.

    No entry leaves any more when this is told; `unanswered` counts those that had left before and whose answer the
    venue still owes: if they fill, they are protected (after a panic: closed).
    """

    venue: VenueName | None
    standing: Standing
    unanswered: int = 0
    closed: tuple[Closed, ...] = ()

    def facts(self) -> dict[str, object]:
        facts: dict[str, object] = {
            "venue": self.venue,
            "state": self.standing.state,
            "reason": self.standing.reason,
            "author": self.standing.author,
            "unanswered": self.unanswered,
        }
        return facts | ({"closed": [one.facts() for one in self.closed]} if self.closed else {})


class Cancelled(Struct, frozen=True, kw_only=True):
    """What the venue says of an order after the wish to cancel it. `ours`: this daemon had sent it."""

    instrument: InstrumentId
    client_order_id: str
    venue_order_id: str | None
    ours: bool
    status: OrderStatus | None
    detail: str

    def facts(self) -> dict[str, object]:
        return {
            "venue": self.instrument.venue.value,
            "symbol": self.instrument.symbol,
            "client_order_id": self.client_order_id,
            "venue_order_id": self.venue_order_id,
            "ours": self.ours,
            "status": None if self.status is None else self.status.value,
            "cancelled": self.status is OrderStatus.CANCELED,
            "detail": self.detail,
        }
