"""What this venue remembers beyond the engine: every execution with its circumstances, and the results of holdings.

Fed with each batch of events before anybody builds a frame from it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from tools.venuesim.bybit.ids import exec_id, funding_id, order_id
from tools.venuesim.bybit.words import EXEC_TYPE, create_type, stop_order_type
from tools.venuesim.exchange.events import (
    AccountChanged,
    AccountReason,
    ConditionalUpdate,
    Event,
    OrderNew,
    OrderTrade,
)
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import (
    ZERO,
    Conditional,
    Fill,
    IncomeType,
    Order,
    OrderType,
    PositionSide,
    Side,
)

FIRST_SEQUENCE = 8_000_000_000
NEVER_TRADED = -1
Key = tuple[str, PositionSide]


class Execution(Struct, frozen=True, kw_only=True):
    """One fill, or one funding payment, as it was at its moment."""

    id: str
    kind: str
    symbol: str
    order_id: str
    link_id: str
    side: Side
    position_side: PositionSide
    qty: Decimal
    price: Decimal
    fee: Decimal
    """Positive = paid."""
    fee_asset: str
    fee_rate: Decimal
    maker: bool
    time_ms: int
    sequence: int
    mark: Decimal
    index: Decimal
    order_type: OrderType
    order_price: Decimal
    order_qty: Decimal
    leaves: Decimal = ZERO
    closed: Decimal = ZERO
    """The part that reduced a position."""
    realized: Decimal = ZERO
    stop_order_type: str = ""
    create_type: str = "CreateByUser"

    @property
    def value(self) -> Decimal:
        return self.qty * self.price


class Closing(Struct, frozen=True, kw_only=True):
    """What one order closed, over all of its fills."""

    symbol: str
    order_id: str
    order_type: OrderType
    order_price: Decimal
    order_qty: Decimal
    side: Side
    leverage: int
    kind: str
    closed: Decimal = ZERO
    entry_value: Decimal = ZERO
    exit_value: Decimal = ZERO
    pnl: Decimal = ZERO
    """Closing fees taken off."""
    fills: int = 0
    created_ms: int = 0
    updated_ms: int = 0


@dataclass(slots=True)
class Holding:
    """One position row's results."""

    qty: Decimal = ZERO
    current: Decimal = ZERO
    """Of what is held now: fees and funding included."""
    total: Decimal = ZERO
    """Of all time."""
    created_ms: int = 0
    opened_ms: int = 0
    updated_ms: int = 0
    sequence: int = NEVER_TRADED


@dataclass(slots=True)
class OrderRecord:
    """What an order's rows show besides the order."""

    last: Decimal = ZERO
    """The last price when it was created."""
    bound: Decimal = ZERO
    """How far a market order may go."""
    fees: dict[str, Decimal] = field(default_factory=dict)
    realized: Decimal = ZERO


class AccountRecord:
    """See the module."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._sequence = FIRST_SEQUENCE
        self._executions: list[Execution] = []
        self._by_fill: dict[int, Execution] = {}
        self._funding: dict[str, Execution] = {}
        self._closings: dict[str, Closing] = {}
        self._holdings: dict[Key, Holding] = {}
        self._orders: dict[str, OrderRecord] = {}
        self._results: defaultdict[str, Decimal] = defaultdict(Decimal)

    def observe(self, events: tuple[Event, ...], now_ms: int) -> None:
        """Take in one batch."""
        self._sequence += 1
        for event in events:
            match event:
                case OrderNew(order=order):
                    self._born(order)
                case ConditionalUpdate(conditional=row):
                    self._born(row)
                case OrderTrade(order=order, fill=fill):
                    self._trade(order, fill)
                case AccountChanged():
                    self._account(event, now_ms)
                case _:
                    pass

    @property
    def executions(self) -> list[Execution]:
        """Oldest first."""
        return self._executions

    def execution(self, fill: Fill) -> Execution:
        """The circumstances of one fill."""
        return self._by_fill[fill.id]

    def last_funding(self, symbol: str) -> Execution:
        """The newest payment; raises KeyError when there was none."""
        return self._funding[symbol]

    @property
    def closings(self) -> list[Closing]:
        """Oldest first."""
        return list(self._closings.values())

    def holding(self, symbol: str, side: PositionSide) -> Holding:
        """The results of one position row, zeros before its first fill."""
        return self._holdings.get((symbol, side)) or Holding()

    def order(self, row: Order | Conditional) -> OrderRecord:
        """What is known about an order; a conditional order and its child are one."""
        return self._orders.get(order_id(row)) or OrderRecord()

    def result(self, asset: str) -> Decimal:
        """Everything an asset's positions ever brought: profits, fees, funding."""
        return self._results[asset]

    def _born(self, row: Order | Conditional) -> None:
        name = order_id(row)
        if name not in self._orders:
            self._orders[name] = OrderRecord(last=self._exchange.quote(row.symbol).last)
        if isinstance(row, Order) and row.type is OrderType.MARKET:
            instrument = self._exchange.instrument(row.symbol)
            bound = self._exchange.quote(row.symbol).mark * (1 + instrument.market_bound * row.side.sign)
            self._orders[name].bound = bound // instrument.tick * instrument.tick

    def _trade(self, order: Order, fill: Fill) -> None:
        holding = self._holdings.setdefault((fill.symbol, fill.position_side), Holding(created_ms=fill.time_ms))
        signed = fill.qty * fill.side.sign
        before, after = holding.qty, holding.qty + signed
        closed = min(fill.qty, abs(before)) if before * signed < 0 else ZERO
        execution = self._remember(order, fill, closed)
        self._results[fill.fee_asset] += fill.realized - fill.fee
        result = fill.realized - fill.fee
        if closed == fill.qty and closed:
            holding.current += result
        else:
            # Opened from nothing, added to, or turned round: only what belongs to the new holding counts.
            opening = fill.fee * (fill.qty - closed) / fill.qty
            holding.current = (holding.current if before and not closed else ZERO) - opening
        if before == ZERO or before * after < 0:
            holding.opened_ms = fill.time_ms
        holding.total += result
        holding.qty = after
        holding.updated_ms = fill.time_ms
        holding.sequence = self._sequence
        if closed:
            self._close(order, execution)
        record = self._orders.setdefault(order_id(order), OrderRecord(last=fill.price))
        record.fees[fill.fee_asset] = record.fees.get(fill.fee_asset, ZERO) + fill.fee
        record.realized += fill.realized

    def _remember(self, order: Order, fill: Fill, closed: Decimal) -> Execution:
        instrument, quote = self._exchange.instrument(fill.symbol), self._exchange.quote(fill.symbol)
        stop = stop_order_type(order)
        execution = Execution(
            id=exec_id(fill.id),
            kind=EXEC_TYPE[fill.origin],
            symbol=fill.symbol,
            order_id=order_id(order),
            link_id=order.client_id,
            side=fill.side,
            position_side=fill.position_side,
            qty=fill.qty,
            price=fill.price,
            fee=fill.fee,
            fee_asset=fill.fee_asset,
            fee_rate=instrument.maker_fee if fill.maker else instrument.taker_fee,
            maker=fill.maker,
            time_ms=fill.time_ms,
            sequence=self._sequence,
            mark=quote.mark,
            index=quote.index,
            order_type=order.type,
            order_price=order.price if order.price is not None else self.order(order).bound,
            order_qty=order.qty,
            leaves=order.qty - order.filled,
            closed=closed,
            realized=fill.realized,
            stop_order_type=stop,
            create_type=create_type(order, stop),
        )
        self._executions.append(execution)
        self._by_fill[fill.id] = execution
        return execution

    def _close(self, order: Order, row: Execution) -> None:
        known = self._closings.get(row.order_id) or Closing(
            symbol=row.symbol,
            order_id=row.order_id,
            order_type=row.order_type,
            order_price=row.order_price,
            order_qty=row.order_qty,
            side=row.side,
            leverage=self._exchange.config(row.symbol).leverage,
            kind=row.kind,
            created_ms=order.created_ms,
        )
        # A sale closed a long one: what it cost is the price it brought less the profit.
        entry_value = row.price * row.closed + row.realized * row.side.sign
        self._closings[row.order_id] = replace(
            known,
            closed=known.closed + row.closed,
            entry_value=known.entry_value + entry_value,
            exit_value=known.exit_value + row.price * row.closed,
            pnl=known.pnl + row.realized - row.fee * row.closed / row.qty,
            fills=known.fills + 1,
            updated_ms=row.time_ms,
        )

    def _account(self, event: AccountChanged, now_ms: int) -> None:
        for row in event.positions:
            holding = self._holdings.setdefault((row.symbol, row.position_side), Holding(created_ms=now_ms))
            if holding.qty != row.qty:
                # Put there by an operator, not by a fill.
                holding.qty, holding.opened_ms, holding.updated_ms = row.qty, now_ms, now_ms
        if event.reason is AccountReason.FUNDING_FEE and event.symbol is not None:
            self._fund(event.symbol, now_ms)

    def _fund(self, symbol: str, now_ms: int) -> None:
        instrument, quote = self._exchange.instrument(symbol), self._exchange.quote(symbol)
        amount = next(
            entry.amount
            for entry in reversed(self._exchange.income())
            if entry.type is IncomeType.FUNDING_FEE and entry.symbol == symbol
        )
        rate = instrument.funding_rate * quote.mark
        # The event does not say which of two hedged positions it is about; what was paid does.
        row = min(
            (row for row in self._exchange.positions() if row.symbol == symbol),
            key=lambda row: abs(amount + row.qty * rate),
        )
        holding = self._holdings.setdefault((symbol, row.position_side), Holding(created_ms=now_ms))
        holding.current += amount
        holding.total += amount
        holding.sequence = self._sequence
        self._results[instrument.settle] += amount
        name = funding_id(f"{row.symbol}/{row.position_side}", now_ms)
        execution = Execution(
            id=name,
            kind="Funding",
            symbol=row.symbol,
            order_id=name,
            link_id="",
            side=Side.BUY if row.qty > 0 else Side.SELL,
            position_side=row.position_side,
            qty=abs(row.qty),
            price=quote.mark,
            fee=-amount,
            fee_asset=instrument.settle,
            fee_rate=instrument.funding_rate,
            maker=False,
            time_ms=now_ms,
            sequence=self._sequence,
            mark=quote.mark,
            index=quote.index,
            order_type=OrderType.MARKET,
            order_price=ZERO,
            order_qty=ZERO,
        )
        self._executions.append(execution)
        self._funding[row.symbol] = execution
