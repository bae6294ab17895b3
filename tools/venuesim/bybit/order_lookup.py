"""Which order a request means: by the venue's id or the client's, whether it waits, works or has ended."""

from __future__ import annotations

from collections.abc import Iterable

from tools.venuesim.bybit.errors import VenueError
from tools.venuesim.bybit.ids import is_conditional, number_of
from tools.venuesim.bybit.params import Params
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import Conditional, Order, Refused


class OrderLookup:
    """A conditional order whose trigger has fired is found as the order born from it."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def named(self, params: Params, symbol: str) -> Order | Conditional | None:
        """By ``orderId``, which wins, or ``orderLinkId``; None when there is no such order. 10001 without either."""
        order_id, client_id = params.text("orderId"), params.text("orderLinkId")
        if order_id is not None:
            number = number_of(order_id)
            return None if number is None else self._numbered(number, symbol)
        if client_id is None:
            raise VenueError(10001, "params error: orderId or orderLinkId is required")
        return self.by_client_id(client_id, symbol)

    def open(self, params: Params, symbol: str, doing: str) -> Order | Conditional:
        """One that can still be changed; 110001 otherwise. ``doing`` is "cancel" or "replace"."""
        row = self.named(params, symbol)
        if row is None or not is_open(row):
            raise VenueError(110001, detail=doing)
        return row

    def by_client_id(self, client_id: str, symbol: str) -> Order | Conditional | None:
        """The order with this name."""
        try:
            return self._alive(self._exchange.conditional(client_id=client_id, symbol=symbol))
        except Refused:
            pass  # not a conditional order
        try:
            return self._exchange.order(symbol, client_id=client_id)
        except Refused:
            return None

    def all(self, symbol: str | None) -> list[Order | Conditional]:
        """Every order there ever was, newest first."""
        waiting = [row for row in self._exchange.conditionals(symbol) if row.child_id is None]
        return _newest_first([*self._exchange.orders(symbol), *waiting])

    def open_ones(self, symbol: str | None) -> list[Order | Conditional]:
        """Those that wait or work, newest first."""
        return _newest_first([*self._exchange.open_orders(symbol), *self._exchange.open_conditionals(symbol)])

    def _numbered(self, number: int, symbol: str) -> Order | Conditional | None:
        try:
            if is_conditional(number):
                return self._alive(self._exchange.conditional(conditional_id=number, symbol=symbol))
            return self._exchange.order(symbol, order_id=number)
        except Refused:
            return None

    def _alive(self, row: Conditional) -> Order | Conditional:
        return row if row.child_id is None else self._exchange.order(row.symbol, order_id=row.child_id)


def is_open(row: Order | Conditional) -> bool:
    """Whether it waits for its trigger or works in the book."""
    return row.status.is_open if isinstance(row, Order) else row.status.is_resting


def _newest_first(rows: Iterable[Order | Conditional]) -> list[Order | Conditional]:
    return sorted(rows, key=lambda row: (row.created_ms, isinstance(row, Order), row.id), reverse=True)
