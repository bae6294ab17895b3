"""What we concluded. Past tense, frozen, handed to must-consumers in the same step and to may-consumers later."""

from __future__ import annotations

from msgspec import Struct

from core.domain.ids import InstrumentId, VenueName
from core.domain.money import Price, Quantity, plain
from core.domain.order import Order
from core.domain.position import Position
from core.domain.reports import BalanceReport, MarginCallReport, Origin


class OrderChanged(Struct, frozen=True, kw_only=True):
    """An order moved; `before` is None for one that was just registered."""

    before: Order | None
    order: Order

    @property
    def instrument(self) -> InstrumentId:
        return self.order.instrument


class PositionChanged(Struct, frozen=True, kw_only=True):
    """A fill opened, grew, shrank or closed a position."""

    position: Position

    @property
    def instrument(self) -> InstrumentId:
        return self.position.instrument


class Inconsistent(Struct, frozen=True, kw_only=True):
    """Something told cannot be true beside what is known: reconcile this venue."""

    instrument: InstrumentId
    what: str


class PositionTold(Struct, frozen=True, kw_only=True):
    """The stream spoke of a position; whether it agrees with ours is seen when the trades it belongs to have come."""

    instrument: InstrumentId


class ReducedElsewhere(Struct, frozen=True, kw_only=True):
    """An order that is not ours shrank or closed a position; `position` is what is left of it."""

    position: Position
    origin: Origin
    quantity: Quantity
    price: Price

    @property
    def instrument(self) -> InstrumentId:
        return self.position.instrument


class LeverageChanged(Struct, frozen=True, kw_only=True):
    """An instrument's leverage is another one now."""

    instrument: InstrumentId
    leverage: int


class AssetModeChanged(Struct, frozen=True, kw_only=True):
    venue: VenueName
    multi_assets: bool


class WalletMoved(Struct, frozen=True, kw_only=True):
    """Money came or went and no trade explains it: funding, a transfer, the venue's own doing. It may be told twice,
    once by each of two connections."""

    report: BalanceReport


class MarginCalled(Struct, frozen=True, kw_only=True):
    """The venue warned about a position."""

    instrument: InstrumentId
    what: str


class OwnIdUnknown(Struct, frozen=True, kw_only=True):
    """The venue tells of an order with our prefix that this journal lacks: another instance trades the account, or the
    journal is an old one (REC-08, REC-10)."""

    instrument: InstrumentId
    client_order_id: str


Event = (
    OrderChanged
    | PositionChanged
    | PositionTold
    | ReducedElsewhere
    | Inconsistent
    | OwnIdUnknown
    | LeverageChanged
    | AssetModeChanged
    | WalletMoved
    | MarginCalled
)


def margin_called(report: MarginCallReport) -> MarginCalled:
    """The venue's warning in words."""
    needed, unrealized = plain(report.maintenance_margin), plain(report.unrealized)
    what = f"margin call: {needed} maintenance margin is needed, unrealized {unrealized}"
    return MarginCalled(instrument=report.instrument, what=what)
