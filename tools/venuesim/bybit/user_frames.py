"""Engine events as frames of the private socket, in the order the venue tells them.

Of one moment: the orders as they stand, their executions, the positions, the stops that came or went with them, and
last the wallet. An order that was filled at once is told filled only. Positions follow every order event, also when
nothing about them changed; the wallet follows only when money or the orders' margin did.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from msgspec import Struct

from tools.venuesim.bybit.account_rows import AccountRows
from tools.venuesim.bybit.errors import Row
from tools.venuesim.bybit.order_rows import OrderRows
from tools.venuesim.bybit.position_rows import PositionRows
from tools.venuesim.exchange.events import (
    AccountChanged,
    AccountReason,
    ConditionalUpdate,
    Event,
    LeverageChanged,
    MarginModeChanged,
    OrderAmended,
    OrderCanceled,
    OrderExpired,
    OrderNew,
    OrderTrade,
)
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import (
    Conditional,
    ConditionalStatus,
    Order,
    Origin,
    PositionSide,
)

_QUIET = frozenset({ConditionalStatus.TRIGGERED, ConditionalStatus.FINISHED})
"""States that the child order's own rows tell."""
_WITHOUT_ID = frozenset({"execution.fast"})
_FAST = (
    "category", "symbol", "execId", "execPrice", "execQty", "orderId", "isMaker", "orderLinkId", "side", "execTime",
    "seq",
)  # fmt: skip


class UserFrame(Struct, frozen=True):
    """One message: its rows, and what faults can match it by."""

    kind: str
    rows: list[Row]
    now_ms: int
    number: int
    symbol: str | None = None
    client_id: str | None = None

    def payload(self, topic: str) -> Row:
        """The message under the topic it was subscribed by."""
        body: Row = {"topic": topic, "creationTime": self.now_ms, "data": self.rows}
        if self.kind in _WITHOUT_ID:
            return body
        # Unique for each message; nothing can be read from its order.
        return {"id": f"{self.now_ms}{self.number:06d}_{self.symbol or 'ACCOUNT'}", **body}


@dataclass(slots=True)
class _Moment:
    """What one batch of events amounts to."""

    liquidated: list[Order] = field(default_factory=list)
    orders: dict[int | str, Order | Conditional] = field(default_factory=dict)
    trades: list[OrderTrade] = field(default_factory=list)
    attached: dict[int, Conditional] = field(default_factory=dict)
    """Conditional orders that came or went by a fill."""
    positions: dict[tuple[str, PositionSide], None] = field(default_factory=dict)
    funding: list[str] = field(default_factory=list)
    assets: dict[str, None] = field(default_factory=dict)


class UserFrames:
    """Turns event batches into messages."""

    def __init__(self, exchange: Exchange, orders: OrderRows, positions: PositionRows, account: AccountRows) -> None:
        self._exchange = exchange
        self._orders = orders
        self._positions = positions
        self._account = account
        self._number = 0
        self._held: dict[tuple[str, PositionSide], Row] = {}
        """Position rows as last told."""
        self._money: dict[str, tuple[Decimal, Decimal]] = {}
        """Wallet and margin of orders by asset, as last told."""

    def begin(self) -> None:
        """Somebody listens for the first time, or again: what is told from now on is compared with this moment."""
        self._money = {asset: self._tied(asset) for asset in self._exchange.assets()}
        held = [(row.symbol, row.position_side) for row in self._exchange.positions()]
        self._held = {key: self._positions.pushed(*key) for key in held}

    def of(self, events: tuple[Event, ...], now_ms: int) -> Iterator[UserFrame]:
        """The messages of one batch."""
        moment = self._moment(events)
        yield from self._liquidations(moment, now_ms)
        for row in moment.orders.values():
            yield self._order(row, now_ms)
        yield from self._executions(moment.trades, now_ms)
        yield from self._funding(moment.funding, now_ms)
        for key in moment.positions:
            yield self._position(key, now_ms)
        for conditional in moment.attached.values():
            yield self._order(conditional, now_ms)
        yield from self._wallet(moment.assets, now_ms)

    def _moment(self, events: tuple[Event, ...]) -> _Moment:
        moment = _Moment()
        for event in events:
            match event:
                case OrderNew(order=order) | OrderCanceled(order=order) | OrderExpired(order=order):
                    self._add_order(moment, order)
                case OrderAmended(order=order):
                    self._add_order(moment, order)
                case OrderTrade(order=order):
                    if order.origin is Origin.LIQUIDATION:
                        moment.liquidated.append(order)
                    self._add_order(moment, order)
                    moment.trades.append(event)
                case ConditionalUpdate(conditional=conditional):
                    self._add_conditional(moment, conditional)
                case AccountChanged():
                    self._add_account(moment, event)
                case LeverageChanged(symbol=symbol) | MarginModeChanged(symbol=symbol):
                    self._touch(moment, symbol, None)
                case _:
                    pass
        return moment

    def _add_order(self, moment: _Moment, order: Order) -> None:
        moment.orders[order.id] = order
        self._touch(moment, order.symbol, order.position_side)

    def _add_conditional(self, moment: _Moment, row: Conditional) -> None:
        if row.status in _QUIET:
            return
        if moment.trades:
            moment.attached[row.id] = row
        else:
            moment.orders[f"conditional/{row.id}"] = row
        self._touch(moment, row.symbol, row.position_side)

    def _add_account(self, moment: _Moment, event: AccountChanged) -> None:
        for balance in event.balances:
            moment.assets[balance.asset] = None
        for position in event.positions:
            moment.positions[position.symbol, position.position_side] = None
        if event.reason is AccountReason.FUNDING_FEE and event.symbol is not None:
            moment.funding.append(event.symbol)
            self._touch(moment, event.symbol, None)

    def _touch(self, moment: _Moment, symbol: str, side: PositionSide | None) -> None:
        """The position rows an event belongs to are told again; None stands for all of the symbol."""
        sides = [side] if side is not None else self._positions.sides(symbol)
        for one in sides:
            moment.positions[symbol, one] = None
        moment.assets[self._exchange.instrument(symbol).settle] = None

    def _liquidations(self, moment: _Moment, now_ms: int) -> Iterator[UserFrame]:
        """A position that is taken over is marked first, as it last was."""
        for order in moment.liquidated:
            row = self._held.get((order.symbol, order.position_side))
            if row is not None and row["side"]:
                yield self._frame("position", [{**row, "positionStatus": "Liq"}], now_ms, order.symbol)

    def _order(self, order: Order | Conditional, now_ms: int) -> UserFrame:
        row = self._orders.pushed(order)
        return self._frame("order", [row], now_ms, order.symbol, row["orderLinkId"] or None)

    def _executions(self, trades: list[OrderTrade], now_ms: int) -> Iterator[UserFrame]:
        """The fills of one order at one moment come in one message; the fast topic is a moment ahead."""
        by_order: dict[int, list[OrderTrade]] = {}
        for event in trades:
            by_order.setdefault(event.order.id, []).append(event)
        for events in by_order.values():
            rows = [self._orders.pushed_execution(event.order, event.fill) for event in events]
            symbol, client_id = events[0].order.symbol, rows[0]["orderLinkId"] or None
            fast = [_fast(row) for row in rows if row["execType"] == "Trade"]
            if fast:
                yield self._frame("execution.fast", fast, now_ms, symbol, client_id)
            yield self._frame("execution", rows, now_ms, symbol, client_id)

    def _funding(self, symbols: list[str], now_ms: int) -> Iterator[UserFrame]:
        for symbol in symbols:
            yield self._frame("execution", [self._orders.pushed_funding(symbol)], now_ms, symbol)

    def _position(self, key: tuple[str, PositionSide], now_ms: int) -> UserFrame:
        row = self._held[key] = self._positions.pushed(*key)
        return self._frame("position", [row], now_ms, key[0])

    def _wallet(self, assets: dict[str, None], now_ms: int) -> Iterator[UserFrame]:
        changed = []
        for asset in assets:
            money = self._tied(asset)
            if self._money.get(asset) != money:
                self._money[asset] = money
                changed.append(asset)
        if changed:
            yield self._frame("wallet", [self._account.pushed(changed)], now_ms, None)

    def _tied(self, asset: str) -> tuple[Decimal, Decimal]:
        balance = self._exchange.balance(asset)
        return balance.wallet, balance.order_margin

    def _frame(
        self, kind: str, rows: list[Row], now_ms: int, symbol: str | None, client_id: str | None = None
    ) -> UserFrame:
        self._number += 1
        return UserFrame(kind, rows, now_ms, self._number, symbol, client_id)


def _fast(row: Row) -> Row:
    """A fill on the fast topic, which does not name the orders that rested."""
    found = {name: row[name] for name in _FAST}
    return {**found, "orderLinkId": ""} if row["isMaker"] else found
