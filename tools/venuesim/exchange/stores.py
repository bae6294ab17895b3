"""Orders and conditional orders by every key they are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from tools.venuesim.exchange.model import (
    ZERO,
    Conditional,
    Order,
    OrderType,
    Origin,
    PositionSide,
    Refusal,
    Refused,
    Side,
)


class OrderStore:
    """The newest snapshot of every order there ever was."""

    def __init__(self, first_id: int) -> None:
        self._next_id = first_id
        self._orders: dict[int, Order] = {}
        self._open: dict[str, dict[int, None]] = {}
        self._newest: dict[tuple[str | None, str], int] = {}

    def next_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def put(self, order: Order) -> None:
        if order.id not in self._orders:
            self._name(order)
        self._orders[order.id] = order
        open_ids = self._open.setdefault(order.symbol, {})
        if order.status.is_open:
            open_ids[order.id] = None
        else:
            open_ids.pop(order.id, None)

    def get(self, order_id: int) -> Order:
        return self._orders[order_id]

    def find(self, symbol: str, order_id: int | None, client_id: str | None) -> Order:
        """By order id, else by client id (the newest with it). Raises ``Refused(UNKNOWN_ORDER)``."""
        if order_id is None and client_id is not None:
            order_id = self._newest.get((symbol, client_id))
        order = self._orders.get(order_id) if order_id is not None else None
        if order is None or order.symbol != symbol:
            raise Refused(Refusal.UNKNOWN_ORDER)
        return order

    def by_client_id(self, symbol: str | None, client_id: str) -> Order | None:
        """The newest with this client id; None: of whatever symbol."""
        order_id = self._newest.get((symbol, client_id))
        return None if order_id is None else self._orders[order_id]

    def open(self, symbol: str | None = None) -> list[Order]:
        """Oldest first."""
        if symbol is not None:
            return [self._orders[number] for number in self._open.get(symbol, ())]
        return [self._orders[number] for number in sorted(n for ids in self._open.values() for n in ids)]

    def all(self, symbol: str | None = None) -> list[Order]:
        """Oldest first."""
        return [order for order in self._orders.values() if symbol is None or order.symbol == symbol]

    def symbols(self) -> Iterable[str]:
        """Those with open orders."""
        return (symbol for symbol, ids in self._open.items() if ids)

    def exposure(self, symbol: str, position_side: PositionSide | None = None) -> tuple[Decimal, Decimal]:
        """Notional of resting client buys and sells that could open a position; all position sides when None."""
        bid = ask = ZERO
        for order in self.open(symbol):
            if order.reduce_only or order.origin is not Origin.CLIENT or order.price is None:
                continue
            if position_side is not None and order.position_side is not position_side:
                continue
            if order.side is Side.BUY:
                bid += order.open_qty * order.price
            else:
                ask += order.open_qty * order.price
        return bid, ask

    def _name(self, order: Order) -> None:
        if order.client_id:
            self._newest[order.symbol, order.client_id] = order.id
            self._newest[None, order.client_id] = order.id

    def resting_reduce_only(self, symbol: str, side: Side, position_side: PositionSide) -> list[Order]:
        return [
            order
            for order in self.open(symbol)
            if order.reduce_only
            and order.type is OrderType.LIMIT
            and order.side is side
            and order.position_side is position_side
        ]


class ConditionalStore:
    """The newest snapshot of every conditional order there ever was."""

    def __init__(self, first_id: int) -> None:
        self._next_id = first_id
        self._rows: dict[int, Conditional] = {}
        self._resting: dict[str, dict[int, None]] = {}
        self._newest: dict[str, int] = {}

    def next_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def put(self, row: Conditional) -> None:
        if row.id not in self._rows and row.client_id:
            self._newest[row.client_id] = row.id
        self._rows[row.id] = row
        resting = self._resting.setdefault(row.symbol, {})
        if row.status.is_resting:
            resting[row.id] = None
        else:
            resting.pop(row.id, None)

    def get(self, conditional_id: int) -> Conditional:
        return self._rows[conditional_id]

    def find(self, conditional_id: int | None, client_id: str | None, symbol: str | None) -> Conditional:
        """Raises ``Refused(UNKNOWN_CONDITIONAL)``."""
        if conditional_id is None and client_id is not None:
            conditional_id = self._newest.get(client_id)
        row = self._rows.get(conditional_id) if conditional_id is not None else None
        if row is None or (symbol is not None and row.symbol != symbol):
            raise Refused(Refusal.UNKNOWN_CONDITIONAL)
        return row

    def by_client_id(self, client_id: str) -> Conditional | None:
        row_id = self._newest.get(client_id)
        return None if row_id is None else self._rows[row_id]

    def resting(self, symbol: str | None = None) -> list[Conditional]:
        """Waiting for their trigger, oldest first."""
        if symbol is not None:
            return [self._rows[number] for number in self._resting.get(symbol, ())]
        return [self._rows[number] for number in sorted(n for ids in self._resting.values() for n in ids)]

    def all(self, symbol: str | None = None) -> list[Conditional]:
        """Oldest first."""
        return [row for row in self._rows.values() if symbol is None or row.symbol == symbol]

    def symbols(self) -> Iterable[str]:
        """Those with resting conditional orders."""
        return (symbol for symbol, ids in self._resting.items() if ids)
