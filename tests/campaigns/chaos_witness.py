"""What happened at one simulated exchange, by its own events: positions, what protected them, what was left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from core.domain.ids import is_ours
from tools.venuesim.exchange.engine import MatchingEngine
from tools.venuesim.exchange.events import (
    AccountChanged,
    ConditionalRefused,
    ConditionalUpdate,
    Event,
    Listener,
    MarketTick,
    OrderCanceled,
    OrderExpired,
    OrderNew,
    OrderTrade,
)
from tools.venuesim.exchange.model import CLOSING, Conditional, ConditionalType, Fill, Order, PositionSide, Side

Key = tuple[str, PositionSide]
ZERO = Decimal(0)


class Step(NamedTuple):
    """A trade and what it made of its position, signed."""

    time_ms: float
    symbol: str
    client_id: str
    only_reduces: bool
    before: Decimal
    after: Decimal


class Stand(NamedTuple):
    """The tightest stop level from this moment on, the price then, and of how much it is."""

    time_ms: float
    level: Decimal
    held: Decimal
    provisional: bool
    """It came with its entry and stands where the decision put it: it is moved once, either way."""


class Count(NamedTuple):
    """What stood after a change: positions that orders of ours opened and nobody else touched, and what these were
    bought or sold for. Of one that others enlarged too, only the venue's average is left: what remains after our own
    close is theirs, and counts once two readings have found it."""

    time_ms: float
    ours: int
    entered: Decimal
    flat: bool
    """Nobody holds anything."""
    opened: bool
    """The change was one of ours and made a position or enlarged it."""


@dataclass(slots=True, kw_only=True)
class Life:
    """One position. `opened_by` is the client id of the order, "" for what came from outside."""

    symbol: str
    side: int
    opened: float
    opened_by: str
    closed: float | None = None
    foreign_ms: list[float] = field(default_factory=list)
    """When somebody else traded in it or touched its stops."""
    stands: list[Stand] = field(default_factory=list)
    entered: Decimal = ZERO
    """What the part that is left was bought or sold for, in quote coin."""
    bought: Decimal = ZERO
    """What all orders of ours bought or sold for it, in quote coin."""
    made: Decimal = ZERO
    """Realised so far, less the fees of all its trades."""
    let_go_by: set[str] = field(default_factory=set)
    """Client ids of the orders that reduced it."""


@dataclass(slots=True, kw_only=True)
class Left:
    """An order of ours that rests and belongs to no position."""

    client_id: str
    symbol: str
    since: float
    until: float | None = None


class Witness:
    """Hears the exchange's events before its protocol makes frames of them; `say` gets a line for each that matters."""

    def __init__(self, engine: MatchingEngine, now_ms: Callable[[], float], say: Callable[[str], None]) -> None:
        self._engine, self._now_ms, self._say = engine, now_ms, say
        self._held: dict[Key, Decimal] = {}
        self._open: dict[Key, Life] = {}
        self._left: dict[str, Left] = {}
        self._first_levels: dict[int, Decimal] = {}
        self.lives: list[Life] = []
        self.steps: list[Step] = []
        self.left: list[Left] = []
        self.fills = 0
        self.moves = 0
        self.counts: list[Count] = []

    def before(self, then: Listener) -> Listener:
        def heard(events: tuple[Event, ...]) -> None:
            if not all(isinstance(event, MarketTick) for event in events):
                self._hear(events)
            then(events)

        return heard

    def touched(self, symbol: str) -> None:
        """Somebody else did something to what protects this symbol."""
        for (name, _), life in self._open.items():
            if name == symbol:
                life.foreign_ms.append(self._now_ms())

    def _hear(self, events: tuple[Event, ...]) -> None:
        trade: tuple[Order, Fill] | None = None
        symbols: dict[str, None] = {}
        for event in events:
            for line in _told(event):
                self._say(line)
            match event:
                case OrderTrade(order=order, fill=fill):
                    self.fills += 1
                    trade = order, fill
                case AccountChanged(positions=rows):
                    for row in rows:
                        self._sized((row.symbol, row.position_side), row.qty, trade)
                        symbols[row.symbol] = None
                    trade = None
                case ConditionalUpdate(conditional=row):
                    symbols[row.symbol] = None
                case OrderNew(order=order) | OrderCanceled(order=order) | OrderExpired(order=order):
                    symbols[order.symbol] = None
                case _:
                    pass
        for symbol in symbols:
            self._look(symbol)
            self._look_for_left(symbol)

    def _sized(self, key: Key, after: Decimal, by: tuple[Order, Fill] | None) -> None:
        before = self._held.get(key, ZERO)
        self._held[key] = after
        client_id = "" if by is None else by[0].client_id or ""
        if by is not None:
            self.steps.append(Step(self._now_ms(), key[0], client_id, _only_reduces(by[0]), before, after))
        life = self._open.get(key)
        if life is not None and not is_ours(client_id) and after != before:
            life.foreign_ms.append(self._now_ms())
        if life is not None and after != before:
            _booked(life, before, after, by)
        if life is not None and _sign(after) != life.side:
            life.closed = self._now_ms()
            del self._open[key]
            life = None
        if after and life is None:
            life = Life(symbol=key[0], side=_sign(after), opened=self._now_ms(), opened_by=client_id)
            _booked(life, ZERO, after, by)
            self._open[key] = life
            self.lives.append(life)
        if after != before:
            self._count(opened=is_ours(client_id) and abs(after) > abs(before))

    def _count(self, *, opened: bool) -> None:
        ours = [life for life in self._open.values() if is_ours(life.opened_by) and not life.foreign_ms]
        entered = sum((life.entered for life in ours), ZERO)
        flat = not any(self._held.values())
        self.counts.append(Count(self._now_ms(), len(ours), entered, flat=flat, opened=opened))

    def _look(self, symbol: str) -> None:
        for (name, position_side), life in self._open.items():
            if name != symbol:
                continue
            closing = Side.SELL if life.side > 0 else Side.BUY
            stops = [
                (row.trigger_price, row.attached and self._first_levels.setdefault(row.id, row.trigger_price))
                for row in self._engine.open_conditionals(symbol)
                if row.side is closing and row.position_side is position_side and row.closes
                if row.type.is_stop_loss and row.type is not ConditionalType.TRAILING and row.trigger_price is not None
            ]
            if not stops:
                continue
            level, first = max(stops) if life.side > 0 else min(stops)
            if not life.stands or life.stands[-1].level != level:
                self.moves += bool(life.stands)
                held = abs(self._held[name, position_side])
                life.stands.append(Stand(self._now_ms(), level, held, provisional=first == level))

    def _look_for_left(self, symbol: str) -> None:
        now = self._now_ms()
        resting = dict(self._resting(symbol))
        for client_id, (side, position_side) in resting.items():
            held = self._held.get((symbol, position_side), ZERO)
            closes_it = held and (side is Side.SELL) == (held > 0)
            if not closes_it and client_id not in self._left:
                left = self._left[client_id] = Left(client_id=client_id, symbol=symbol, since=now)
                self.left.append(left)
            elif closes_it and client_id in self._left:
                self._left.pop(client_id).until = now
        for client_id in [name for name, left in self._left.items() if left.symbol == symbol and name not in resting]:
            self._left.pop(client_id).until = now

    def _resting(self, symbol: str) -> Iterator[tuple[str, tuple[Side, PositionSide]]]:
        for row in self._engine.open_conditionals(symbol):
            if row.client_id and is_ours(row.client_id):
                yield row.client_id, (row.side, row.position_side)
        for order in self._engine.open_orders(symbol):
            if order.client_id and is_ours(order.client_id) and _only_reduces(order):
                yield order.client_id, (order.side, order.position_side)


def _booked(life: Life, before: Decimal, after: Decimal, by: tuple[Order, Fill] | None) -> None:
    """What a change from `before` to `after` made of its money; one without a trade only scales it."""
    if by is not None:
        life.made += by[1].realized - by[1].fee
    if abs(after) > abs(before):
        if by is not None and is_ours(by[0].client_id or ""):
            life.entered += abs(after - before) * by[1].price
            life.bought += abs(after - before) * by[1].price
        return
    life.let_go_by.add("" if by is None else by[0].client_id or "")
    if before:
        life.entered *= abs(after / before) if _sign(after) == _sign(before) else ZERO


def _only_reduces(order: Order) -> bool:
    return order.reduce_only or order.close_position or (order.position_side, order.side) in CLOSING


def _sign(quantity: Decimal) -> int:
    return (quantity > 0) - (quantity < 0)


def _told(event: Event) -> Iterator[str]:
    match event:
        case OrderTrade(order=order, fill=fill):
            only = " (only reduces)" if _only_reduces(order) else ""
            yield f"{order.symbol}: {_name(order)} {order.side.name} filled {fill.qty} at {fill.price}{only}"
        case OrderCanceled(order=order) | OrderExpired(order=order):
            yield f"{order.symbol}: {_name(order)} ended {order.status.value}, {order.filled} of {order.qty} filled"
        case AccountChanged(positions=rows, reason=reason):
            for row in rows:
                yield f"{row.symbol}: position {row.position_side.value} is {row.qty} ({reason.value})"
        case ConditionalUpdate(conditional=row):
            level = row.trigger_price if row.trigger_price is not None else "trailing"
            yield f"{row.symbol}: {_name(row)} {row.type.value} {row.side.name} at {level} is {row.status.value}"
        case ConditionalRefused(conditional=row, reason=why):
            yield f"{row.symbol}: {_name(row)} fired and was refused: {why.value}"
        case _:
            return


def _name(order: Order | Conditional) -> str:
    return (order.client_id or "unnamed")[:10]
