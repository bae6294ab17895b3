"""Changes of open orders: price, quantity and stops of those in the book; trigger too of those that wait."""

from __future__ import annotations

from tools.venuesim.bybit.errors import VenueError
from tools.venuesim.bybit.order_requests import LEGS, OrderRequests, attachment, reference_of
from tools.venuesim.bybit.params import Params
from tools.venuesim.bybit.words import TRIGGER_BY, trigger_direction
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import (
    AmendConditional,
    AmendRequest,
    Attachment,
    Conditional,
    ConditionalType,
    Order,
)

_PREFIX = {"takeProfit": "tp", "stopLoss": "sl"}


class Amendments:
    """Carries out one amend command on the order it means."""

    def __init__(self, exchange: Exchange, requests: OrderRequests) -> None:
        self._exchange = exchange
        self._requests = requests

    def amend(self, params: Params, row: Order | Conditional) -> Order | Conditional:
        """The order after the change. Raises `VenueError`, and `Refused` as the engine does."""
        return self._order(params, row) if isinstance(row, Order) else self._conditional(params, row)

    def _order(self, params: Params, row: Order) -> Order:
        qty, price = params.decimal("qty"), params.price("price")
        if qty is not None and row.filled and qty <= row.filled:
            raise VenueError(110064)
        legs: tuple[Attachment, ...] | None = None
        extras: dict[str, str] = {}
        if any(leg in params for leg in LEGS):
            legs, extras = self._legs(params, row)
        return self._exchange.amend(
            AmendRequest(
                symbol=row.symbol,
                order_id=row.id,
                qty=qty,
                price=price,
                attached=legs,
                clamp_price=self._requests.clamps,
                extras=extras,
            )
        )

    def _conditional(self, params: Params, row: Conditional) -> Conditional:
        trigger = params.price("triggerPrice")
        reference = reference_of(params, "triggerBy") if "triggerBy" in params else None
        trailing = row.type is ConditionalType.TRAILING
        if trigger is not None and not trailing:
            watched = reference or row.reference
            self._requests.check_trigger(row.symbol, trigger, watched, trigger_direction(row))
        return self._exchange.amend_conditional(
            AmendConditional(
                symbol=row.symbol,
                conditional_id=row.id,
                trigger_price=None if trailing else trigger,
                activation_price=trigger if trailing else None,
                price=params.price("price"),
                # A stop of the whole position has no quantity of its own to change.
                qty=None if row.qty is None else params.decimal("qty"),
                reference=reference,
            )
        )

    def _legs(self, params: Params, row: Order) -> tuple[tuple[Attachment, ...], dict[str, str]]:
        """The stops an entry comes with from now on: "0" takes one away, one left out stays."""
        if row.filled:
            raise VenueError(110059)
        instrument = self._exchange.instrument(row.symbol)
        base = params.price("price") or row.price
        self._requests.attachments(params, instrument, row.side, base)
        mode = params.text("tpslMode") or row.extras.get("tpslMode") or "Full"
        kept = {("stopLoss" if leg.kind.is_stop_loss else "takeProfit"): leg for leg in row.attached}
        extras: dict[str, str] = {"tpslMode": mode}
        for leg in LEGS:
            if leg not in params:
                continue
            price = params.price(leg)
            extras[leg] = f"{price:f}" if price is not None else ""
            if price is None:
                kept.pop(leg, None)
                continue
            kept[leg] = attachment(params, leg, whole=mode == "Full")
            extras[f"{_PREFIX[leg]}TriggerBy"] = TRIGGER_BY[kept[leg].reference]
        return tuple(kept.values()), extras
