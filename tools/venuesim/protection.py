"""The venue's own record of how long each position stood without a stop.

Cover is what would close the position at a loss limit: resting stop-losses and armed trailing stops on the closing
side that can only close, quantities summed, and the working child of a triggered one. Take profits are no cover.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from tools.venuesim.exchange.events import (
    AccountChanged,
    ConditionalUpdate,
    Event,
    OrderAmended,
    OrderCanceled,
    OrderExpired,
)
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import (
    CLOSING,
    ZERO,
    Conditional,
    ConditionalType,
    Order,
    PositionSide,
    Side,
)


@dataclass(slots=True)
class Interval:
    """A stretch without full cover; ``uncovered`` is the most that lacked it at once."""

    start: float
    end: float | None
    uncovered: Decimal


@dataclass(slots=True, kw_only=True)
class Life:
    """One position from opening to close."""

    symbol: str
    side: str
    opened: float
    protected: float | None = None
    """When it was first covered in full."""
    closed: float | None = None
    uncovered: Decimal = ZERO
    intervals: list[Interval] = field(default_factory=list)

    def cover(self, uncovered: Decimal, now_ms: float) -> None:
        self.uncovered = uncovered
        running = self.intervals[-1] if self.intervals and self.intervals[-1].end is None else None
        if not uncovered:
            if running is not None:
                running.end = now_ms
            if self.protected is None:
                self.protected = now_ms
        elif running is None:
            self.intervals.append(Interval(now_ms, None, uncovered))
        else:
            running.uncovered = max(running.uncovered, uncovered)

    def end(self, now_ms: float) -> None:
        self.closed = now_ms
        self.uncovered = ZERO
        if self.intervals and self.intervals[-1].end is None:
            self.intervals[-1].end = now_ms

    def describe(self, now_ms: float) -> dict[str, object]:
        lengths = [(now_ms if row.end is None else row.end) - row.start for row in self.intervals]
        running = bool(self.intervals) and self.intervals[-1].end is None
        return {
            "symbol": self.symbol,
            "side": self.side,
            "opened": round(self.opened, 3),
            "protected": None if self.protected is None else round(self.protected, 3),
            "closed": None if self.closed is None else round(self.closed, 3),
            "max_unprotected_ms": round(max(lengths, default=0.0), 3),
            "naked_now_ms": round(lengths[-1], 3) if running else 0,
            "uncovered_qty": format(self.uncovered.normalize(), "f"),
            "intervals": [
                {
                    "from": round(row.start, 3),
                    "to": None if row.end is None else round(row.end, 3),
                    "uncovered_qty": format(row.uncovered.normalize(), "f"),
                }
                for row in self.intervals
            ],
        }


class ProtectionRecord:
    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._lives: list[Life] = []
        self._open: dict[tuple[str, PositionSide], Life] = {}

    def observe(self, events: Iterable[Event], now_ms: float) -> None:
        """Look at what one batch of events may have changed."""
        symbols: dict[str, None] = {}
        for event in events:
            match event:
                case AccountChanged(positions=rows):
                    symbols.update((row.symbol, None) for row in rows)
                case ConditionalUpdate(conditional=row):
                    symbols[row.symbol] = None
                case OrderCanceled(order=order) | OrderExpired(order=order) | OrderAmended(order=order):
                    symbols[order.symbol] = None
                case _:
                    continue
        for symbol in symbols:
            for side in PositionSide:
                self._look(symbol, side, now_ms)

    def describe(self, now_ms: float) -> list[dict[str, object]]:
        return [life.describe(now_ms) for life in self._lives]

    def _look(self, symbol: str, position_side: PositionSide, now_ms: float) -> None:
        qty = self._exchange.position(symbol, position_side).qty
        life = self._open.get((symbol, position_side))
        name = "long" if qty > 0 else "short"
        if life is not None and (not qty or life.side != name):
            life.end(now_ms)
            del self._open[symbol, position_side]
            life = None
        if not qty:
            return
        if life is None:
            life = Life(symbol=symbol, side=name, opened=now_ms)
            self._lives.append(life)
            self._open[symbol, position_side] = life
        closing = Side.SELL if qty > 0 else Side.BUY
        life.cover(max(ZERO, abs(qty) - self._cover(symbol, position_side, closing, abs(qty))), now_ms)

    def _cover(self, symbol: str, position_side: PositionSide, closing: Side, size: Decimal) -> Decimal:
        total = ZERO
        for row in self._exchange.open_conditionals(symbol):
            if row.side is closing and row.position_side is position_side and _limits_loss(row):
                total += size if row.qty is None else row.qty
        for order in self._exchange.open_orders(symbol):
            if order.side is closing and order.position_side is position_side and _is_stop_child(order):
                total += order.open_qty
        return total


def _limits_loss(row: Conditional) -> bool:
    if not row.closes or not row.type.is_stop_loss:
        return False
    return row.type is not ConditionalType.TRAILING or row.activated


def _is_stop_child(order: Order) -> bool:
    closes = order.reduce_only or order.close_position or (order.position_side, order.side) in CLOSING
    return closes and order.conditional_type is not None and order.conditional_type.is_stop_loss
