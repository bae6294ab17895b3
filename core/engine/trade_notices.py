"""TradeNotices: tells people of what was traded, from the execution row that was just written and never from what was
intended (TEL-01)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

import structlog

from core.domain.alerts import AlertKind
from core.domain.ids import ClientOrderId, Leg
from core.domain.money import plain
from core.domain.order import Order
from core.domain.position import PositionKey
from core.engine.ports import Level, Notifier
from core.engine.state import StateView

log = structlog.get_logger(__name__)

REMEMBERED: Final = 1_000
"""Orders told of: a row may be written again when more is learned, and a late trade makes it another one."""
_UNKNOWN: Final = "?"


class TradeNotices:
    """An entry, a part that was let go, a close, a stop that was hit: one message for each order that traded."""

    def __init__(self, notifier: Notifier, state: StateView) -> None:
        self._notifier = notifier
        self._state = state
        self._told: OrderedDict[ClientOrderId, Decimal] = OrderedDict()

    def executed(self, order: Order, values: Mapping[str, str]) -> None:
        """`values` is the row of an order that has ended and traded. Never raises for what is missing in it."""
        if self._told.get(order.client_order_id) == order.filled:
            return
        self._told[order.client_order_id] = order.filled
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        try:
            kind, text = self._reduced(order, values) if order.intent.reduce_only else _entered(order, values)
        except Exception:  # swallow: trading goes on whatever a message is made of (TEL-01)
            log.exception("trades.not_told", client_order_id=order.client_order_id)
            kind, text = AlertKind.FILL, f"{order.instrument}: order {order.client_order_id} traded; the log says more"
        self._notifier.notify(Level.INFO, text, kind=kind)

    def _reduced(self, order: Order, values: Mapping[str, str]) -> tuple[AlertKind, str]:
        held = self._state.position(PositionKey(order.instrument, order.intent.side.opposite))
        left = held.quantity if held is not None and held.id == order.intent.position_id else Decimal(0)
        stopped = order.intent.leg in (Leg.STOP, Leg.TRAIL)
        kind = AlertKind.STOP_HIT if stopped else AlertKind.FILL if left else AlertKind.CLOSE
        what = {AlertKind.STOP_HIT: "stop hit", AlertKind.FILL: "let go a part", AlertKind.CLOSE: "closed"}[kind]
        parts = [f"{_position(order)}: {what}, {_traded(values)}", f"made {_made(values)} before fees"]
        if left:
            parts.append(f"{plain(left)} left")
        if not stopped and (reason := values.get("reason")):
            parts.append(reason)
        return kind, ", ".join(parts)


def _entered(order: Order, values: Mapping[str, str]) -> tuple[AlertKind, str]:
    return AlertKind.ENTRY, f"{_position(order)}: entered {_traded(values)}"


def _position(order: Order) -> str:
    side = order.intent.side.opposite if order.intent.reduce_only else order.intent.side
    return str(PositionKey(order.instrument, side))


def _traded(values: Mapping[str, str]) -> str:
    """Actual price, slippage against what was decided (positive = worse than it), fee."""
    parts = [f"{values.get('quantity', _UNKNOWN)} at {_short(values.get('fill_price'), 8)}"]
    if slip := values.get("slippage_percent"):
        parts.append(f"slippage {_short(slip, 3)} %")
    parts.append(f"fee {values.get('fees') or _UNKNOWN}")
    return ", ".join(parts)


def _made(values: Mapping[str, str]) -> str:
    """Before fees, and in percent of the entry price."""
    percent = values.get("realized_percent")
    return _short(values.get("realized"), 4) + ("" if percent is None else f" ({_short(percent, 2)} %)")


def _short(text: str | None, digits: int) -> str:
    """At most so many digits after the dot."""
    try:
        return _UNKNOWN if text is None else plain(round(Decimal(text), digits))
    except InvalidOperation:
        return text or _UNKNOWN
