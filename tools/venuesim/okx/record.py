"""What this venue remembers beyond the engine: every fill with its circumstances, and what became of each holding.

Fed with each batch of events before anybody builds a frame from it.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from decimal import Decimal

from msgspec import Struct

from tools.venuesim.exchange.events import (
    AccountChanged,
    AccountReason,
    Event,
    LeverageChanged,
    OrderAmended,
    OrderNew,
    OrderTrade,
)
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import (
    ZERO,
    Fill,
    IncomeType,
    MarginMode,
    Order,
    Origin,
    PositionSide,
)

Key = tuple[str, PositionSide]
FIRST_POSITION_ID = 3_000_000_000_000_000_001


@dataclass(slots=True)
class OrderRecord:
    """What an order's rows show besides the order."""

    leverage: int
    margin_mode: MarginMode
    last: Decimal = ZERO
    """The last price when it was created."""
    amendments: int = 0
    shrunk: bool = False
    """Its newest amendment was made by the venue, to fit a reduce-only order to its position."""
    fill: FilledRecord | None = None
    """The newest one."""


class FilledRecord(Struct, frozen=True, kw_only=True):
    """One fill as it was at its moment."""

    fill: Fill
    order: Order
    fees: Decimal
    """Of the order up to this fill; positive = paid."""
    pnl: Decimal
    """The order's profit up to this fill."""
    mark: Decimal
    index: Decimal
    leverage: int
    margin_mode: MarginMode
    held: Decimal
    """The position after it, signed."""
    closed: Decimal
    """The part of it that reduced a position."""


@dataclass(slots=True)
class Holding:
    """One position row, as long as its number lasts."""

    id: int
    qty: Decimal = ZERO
    created_ms: int = 0
    updated_ms: int = 0
    trade_id: int | None = None
    pnl: Decimal = ZERO
    fees: Decimal = ZERO
    """Positive = paid."""
    funding: Decimal = ZERO
    """Positive = received."""
    penalty: Decimal = ZERO
    """Liquidation fees, negative."""
    open_value: Decimal = ZERO
    opened: Decimal = ZERO
    close_value: Decimal = ZERO
    closed: Decimal = ZERO
    largest: Decimal = ZERO
    long: bool = True
    leverage: int = 1
    margin_mode: MarginMode = MarginMode.CROSS

    @property
    def realized(self) -> Decimal:
        """Everything it brought so far."""
        return self.pnl - self.fees + self.funding + self.penalty


class Closed(Struct, frozen=True, kw_only=True):
    """A position's end, or a part of it, for the history of positions."""

    symbol: str
    position_side: PositionSide
    kind: str
    """1 partly, 2 wholly closed, 3 liquidated, 4 partly liquidated, 5 deleveraged."""
    holding: Holding
    time_ms: int


class AccountRecord:
    """See the module."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._orders: dict[int, OrderRecord] = {}
        self._fills: dict[int, FilledRecord] = {}
        self._holdings: dict[Key, Holding] = {}
        self._closed: list[Closed] = []
        self._next_id = FIRST_POSITION_ID
        self.canceled_by: dict[int, str] = {}
        """Orders that somebody else than the client cancelled, and the source their rows show."""

    def observe(self, events: tuple[Event, ...], now_ms: int) -> None:
        """Take in one batch."""
        for event in events:
            match event:
                case OrderNew(order=order):
                    self._born(order)
                case OrderTrade(order=order, fill=fill):
                    self._trade(order, fill)
                case OrderAmended(order=order):
                    record = self._born(order)
                    record.shrunk = order.amendments == record.amendments
                    record.amendments = order.amendments
                case AccountChanged():
                    self._account(event, now_ms)
                case LeverageChanged(symbol=symbol, leverage=leverage):
                    for (name, _), holding in self._holdings.items():
                        if name == symbol and holding.qty:
                            holding.updated_ms, holding.leverage = now_ms, leverage
                case _:
                    pass

    def order(self, order: Order) -> OrderRecord:
        """What is known about an order."""
        return self._orders.get(order.id) or self._born(order)

    def fill(self, fill_id: int) -> FilledRecord:
        """The circumstances of one fill. Raises KeyError for one this record never saw."""
        return self._fills[fill_id]

    def fills(self) -> list[FilledRecord]:
        """Oldest first."""
        return list(self._fills.values())

    def holding(self, symbol: str, side: PositionSide) -> Holding:
        """The position row's own history; it keeps its number while it is flat."""
        key = (symbol, side)
        if key not in self._holdings:
            self._holdings[key] = Holding(id=self._next_id)
            self._next_id += 1
        return self._holdings[key]

    @property
    def closed(self) -> list[Closed]:
        """Ended positions, oldest first, and then those that are closed in part."""
        partly = [
            Closed(symbol=symbol, position_side=side, kind="1", holding=copy(row), time_ms=row.updated_ms)
            for (symbol, side), row in self._holdings.items()
            if row.qty and row.closed
        ]
        return [*self._closed, *partly]

    def _born(self, order: Order) -> OrderRecord:
        known = self._orders.get(order.id)
        if known is None:
            config, quote = self._exchange.config(order.symbol), self._exchange.quote(order.symbol)
            known = OrderRecord(leverage=config.leverage, margin_mode=config.margin_mode, last=quote.last)
            self._orders[order.id] = known
        return known

    def _trade(self, order: Order, fill: Fill) -> None:
        record = self._born(order)
        before = record.fill
        quote = self._exchange.quote(fill.symbol)
        holding = self.holding(fill.symbol, fill.position_side)
        closed = self._hold(holding, fill)
        record.fill = self._fills[fill.id] = FilledRecord(
            fill=fill,
            order=order,
            fees=(before.fees if before else ZERO) + fill.fee,
            pnl=(before.pnl if before else ZERO) + fill.realized,
            mark=quote.mark,
            index=quote.index,
            leverage=record.leverage,
            margin_mode=record.margin_mode,
            held=holding.qty,
            closed=closed,
        )

    def _hold(self, holding: Holding, fill: Fill) -> Decimal:
        """Carry a fill over into its position; how much of it closed."""
        signed = fill.qty * fill.side.sign
        before = holding.qty
        closed = min(fill.qty, abs(before)) if before * signed < 0 else ZERO
        opened = fill.qty - closed
        share = fill.fee / fill.qty
        if closed:
            holding.pnl += fill.realized
            holding.fees += share * closed
            holding.close_value += closed * fill.price
            holding.closed += closed
            holding.qty += closed if before < 0 else -closed
            if not holding.qty:
                self._end(holding, fill, "2")
        if opened:
            if not holding.qty:
                self._begin(holding, fill)
            holding.fees += share * opened
            holding.open_value += opened * fill.price
            holding.opened += opened
            holding.qty += opened * fill.side.sign
            holding.largest = max(holding.largest, abs(holding.qty))
        holding.updated_ms = fill.time_ms
        if fill.origin is Origin.CLIENT:
            holding.trade_id = fill.id
        return closed

    def _begin(self, holding: Holding, fill: Fill) -> None:
        self._reset(holding, fill.time_ms, long=fill.side.sign > 0)
        config = self._exchange.config(fill.symbol)
        holding.leverage, holding.margin_mode = config.leverage, config.margin_mode

    def _reset(self, holding: Holding, now_ms: int, *, long: bool) -> None:
        holding.created_ms = now_ms
        holding.pnl = holding.fees = holding.funding = holding.penalty = ZERO
        holding.open_value = holding.opened = holding.close_value = holding.closed = holding.largest = ZERO
        holding.long = long

    def _end(self, holding: Holding, fill: Fill, kind: str) -> None:
        kinds = {Origin.LIQUIDATION: "3", Origin.ADL: "5"}
        self._closed.append(
            Closed(
                symbol=fill.symbol,
                position_side=fill.position_side,
                kind=kinds.get(fill.origin, kind),
                holding=copy(holding),
                time_ms=fill.time_ms,
            )
        )

    def _account(self, event: AccountChanged, now_ms: int) -> None:
        for row in event.positions:
            holding = self.holding(row.symbol, row.position_side)
            if holding.qty != row.qty:
                # Put there by an operator, not by a fill.
                self._reset(holding, now_ms, long=row.qty > 0)
                holding.qty, holding.updated_ms = row.qty, now_ms
                holding.opened, holding.open_value = abs(row.qty), abs(row.qty) * row.entry
                holding.largest = abs(row.qty)
                holding.leverage, holding.margin_mode = row.leverage, row.margin_mode
        if event.reason is AccountReason.FUNDING_FEE and event.symbol is not None:
            self._fund(event.symbol, now_ms)
        elif event.reason is AccountReason.INSURANCE_CLEAR and event.symbol is not None:
            self._penalise(event.symbol)

    def _fund(self, symbol: str, now_ms: int) -> None:
        amount = self._newest(symbol, IncomeType.FUNDING_FEE)
        rate = self._exchange.instrument(symbol).funding_rate * self._exchange.quote(symbol).mark
        rows = [row for row in self._exchange.positions() if row.symbol == symbol]
        if not rows:
            return
        # The event does not say which of two hedged positions it is about; what was paid does.
        row = min(rows, key=lambda row: abs(amount + row.qty * rate))
        holding = self.holding(symbol, row.position_side)
        holding.funding += amount
        holding.updated_ms = now_ms

    def _penalise(self, symbol: str) -> None:
        amount = self._newest(symbol, IncomeType.INSURANCE_CLEAR)
        ended = next((row for row in reversed(self._closed) if row.symbol == symbol), None)
        if ended is not None:
            ended.holding.penalty += amount

    def _newest(self, symbol: str, kind: IncomeType) -> Decimal:
        rows = reversed(self._exchange.income())
        return next((row.amount for row in rows if row.type is kind and row.symbol == symbol), ZERO)
