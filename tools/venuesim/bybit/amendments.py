"""Changes of open orders: price and quantity of those in the book, trigger, price and quantity of those that wait."""

from __future__ import annotations

from decimal import Decimal

from tools.venuesim.bybit.errors import VenueError
from tools.venuesim.bybit.order_requests import OrderRequests, reference_of
from tools.venuesim.bybit.params import Params
from tools.venuesim.bybit.words import trigger_direction
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import AmendConditional, AmendRequest, Conditional, Order

_ENTRY_LEGS = ("takeProfit", "stopLoss")


class Amendments:
    """Carries out one amend command on the order it means."""

    def __init__(self, exchange: Exchange, requests: OrderRequests) -> None:
        self._exchange = exchange
        self._requests = requests

    def amend(self, params: Params, row: Order | Conditional) -> Order | Conditional:
        """The order after the change. Raises `VenueError`, and `Refused` as the engine does."""
        if isinstance(row, Order):
            return self._order(params, row)
        return self._conditional(params, row)

    def _order(self, params: Params, row: Order) -> Order:
        qty, price = params.decimal("qty"), params.price("price")
        if qty is not None and row.filled and qty <= row.filled:
            raise VenueError(110064)
        if any(leg in params for leg in _ENTRY_LEGS):
            return self._legs(params, row)
        if price is not None:
            price = self._requests.banded(self._exchange.instrument(row.symbol), row.side, price)
        return self._exchange.amend(AmendRequest(symbol=row.symbol, order_id=row.id, qty=qty, price=price))

    def _conditional(self, params: Params, row: Conditional) -> Conditional:
        trigger = params.price("triggerPrice")
        reference = reference_of(params, "triggerBy") if "triggerBy" in params else None
        if trigger is not None and row.activation_price is None and row.trigger_price is not None:
            watched = reference or row.reference
            self._requests.check_trigger(row.symbol, trigger, watched, trigger_direction(row))
        return self._exchange.amend_conditional(
            AmendConditional(
                symbol=row.symbol,
                conditional_id=row.id,
                trigger_price=trigger,
                price=params.price("price"),
                qty=_changed(params.decimal("qty"), row.qty),
                reference=reference,
            )
        )


def _changed(wanted: Decimal | None, now: Decimal | None) -> Decimal | None:
    """A quantity the client repeats is no change; that of a whole position cannot be set."""
    return None if now is None else wanted
