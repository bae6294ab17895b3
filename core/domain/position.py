"""A position built from its own fills, and never rewritten (INV-7).

The entry price is the average of what is held, as venues count it: a fill that adds is averaged with what is left, not
with what had been sold before it. Only so what is realised comes to what was paid and got.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from core.domain.ids import InstrumentId, PositionId, SignalId
from core.domain.money import HUNDRED, ZERO, Price, Quantity
from core.domain.order import OrderIntent
from core.domain.reports import FillReport, PositionSide
from core.domain.signal import Side


class PositionKey(NamedTuple):
    """What a venue keeps apart: one position per instrument and direction. In one-way mode an instrument has one of the
    two at most, in hedge mode it may have both."""

    instrument: InstrumentId
    side: Side

    def __str__(self) -> str:
        return f"{self.instrument} {'long' if self.side is Side.BUY else 'short'}"


class Position(Struct, frozen=True, kw_only=True):
    """`side` BUY = long. `quantity` base units, unsigned, 0 once closed. `entry_quantity` is all that was ever entered,
    `entry_cost` the same at the entry price. `realized` is gross of `fees`, both in quote coin; a fee charged in
    another coin (BNB) is in its fill and in that coin's wallet, never added to these. Times are venue UTC ms.
    `stop_loss_percent` is of the fill price. `trailing_*`, `take_profit_percent` and `time_limit_minutes` are what its
    signal asked for, None = nothing."""

    id: PositionId
    instrument: InstrumentId
    side: Side
    quantity: Quantity
    entry_quantity: Quantity
    entry_cost: Decimal
    stop_loss_percent: Decimal
    opened_ms: int
    trailing_activation_percent: Decimal | None = None
    trailing_callback_percent: Decimal | None = None
    take_profit_percent: Decimal | None = None
    time_limit_minutes: Decimal | None = None
    signal_id: SignalId = SignalId("")
    realized: Decimal = ZERO
    fees: Decimal = ZERO
    exit_quantity: Quantity = Quantity(ZERO)
    exit_cost: Decimal = ZERO
    closed_ms: int | None = None

    @property
    def key(self) -> PositionKey:
        return PositionKey(self.instrument, self.side)

    @property
    def entry_price(self) -> Price:
        return Price(self.entry_cost / self.entry_quantity)

    @property
    def open(self) -> bool:
        return self.quantity > ZERO

    @property
    def notional(self) -> Decimal:
        return self.quantity * self.entry_price

    def unrealized(self, mark: Decimal) -> Decimal:
        """Quote coin, before fees."""
        return (mark - self.entry_price) * self.quantity * self.side.sign

    def profit_percent(self, mark: Decimal) -> Decimal:
        """Of the entry price; leverage has no say in it (POS-11)."""
        return (mark / self.entry_price - 1) * HUNDRED * self.side.sign


class FillWithoutPosition(ValueError):
    """A reducing fill for which no open position is known, or one larger than it: ask the venue, change nothing."""


def open_or_add(position: Position | None, fill: FillReport, intent: OrderIntent, default_stop: Decimal) -> Position:
    """The position after a fill of its entry order; `position` is the one of the same direction, or None.

    An entry that goes on after its position was closed opens it again: what it made and cost before stays its own, or
    the books would forget it. Its time counts anew.
    """
    if position is None or not (position.open or position.id == intent.position_id):
        return Position(
            id=intent.position_id,
            instrument=fill.instrument,
            side=intent.side,
            quantity=fill.quantity,
            entry_quantity=fill.quantity,
            entry_cost=fill.quantity * fill.price,
            stop_loss_percent=intent.stop_loss_percent if intent.stop_loss_percent is not None else default_stop,
            opened_ms=fill.venue_time_ms,
            trailing_activation_percent=intent.trailing_activation_percent,
            trailing_callback_percent=intent.trailing_callback_percent,
            take_profit_percent=intent.take_profit_percent,
            time_limit_minutes=intent.time_limit_minutes,
            signal_id=intent.signal_id,
            fees=_fee(fill),
        )
    held = Quantity(position.quantity + fill.quantity)
    entered = Quantity(position.entry_quantity + fill.quantity)
    cost = position.entry_cost + fill.quantity * fill.price
    if position.quantity != position.entry_quantity:  # some of it is gone
        cost = (position.quantity * position.entry_price + fill.quantity * fill.price) / held * entered
    return replace(
        position,
        quantity=held,
        opened_ms=min(position.opened_ms, fill.venue_time_ms) if position.open else fill.venue_time_ms,
        entry_quantity=entered,
        entry_cost=cost,
        fees=position.fees + _fee(fill),
        closed_ms=None,
    )


def closing_key(fill: FillReport) -> PositionKey:
    """The position a fill can have shrunk: in hedge mode the one it names, in one-way mode the other direction's."""
    if fill.position_side is PositionSide.BOTH:
        return PositionKey(fill.instrument, fill.side.opposite)
    return PositionKey(fill.instrument, Side.BUY if fill.position_side is PositionSide.LONG else Side.SELL)


def reduce(position: Position | None, fill: FillReport) -> Position:
    """The position after a fill of a closing order."""
    if position is None or fill.side is position.side or fill.quantity > position.quantity:
        raise FillWithoutPosition(f"{fill.instrument}: {fill.side} {fill.quantity} closes nothing we know of")
    remaining = Quantity(position.quantity - fill.quantity)
    return replace(
        position,
        quantity=remaining,
        realized=position.realized + (fill.price - position.entry_price) * fill.quantity * position.side.sign,
        fees=position.fees + _fee(fill),
        exit_quantity=Quantity(position.exit_quantity + fill.quantity),
        exit_cost=position.exit_cost + fill.quantity * fill.price,
        closed_ms=fill.venue_time_ms if remaining == ZERO else None,
    )


def _fee(fill: FillReport) -> Decimal:
    """In quote coin, which a linear instrument settles in; ZERO for another coin: 0.01 BNB is not 0.01 USDT."""
    settles_in = fill.instrument.symbol.rpartition(":")[2]
    return fill.fee if fill.fee_asset == settles_in else ZERO
