"""What must be true of trailed positions, by the simulator's own record; what is not is said in a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

from tools.bench.venues import refused
from tools.venuesim.exchange.engine import MatchingEngine
from tools.venuesim.exchange.events import (
    AccountChanged,
    ConditionalUpdate,
    Event,
    Listener,
    OrderTrade,
)
from tools.venuesim.exchange.model import PositionSide, Side

SETTLED_MS = 5_000.0
"""A stop that came with its entry is moved to its place behind the fill within so long; what follows only tightens."""
WITHOUT_MS = 10_000.0
INTERVAL_MS = 30_000.0
FORCED = Decimal("0.01")
TOO_OFTEN = frozenset({-1003, -1015, 10006, 10018, 10429, "50011", "50061", "51113"})
"""What the venues say to whoever asks too often."""
OVERTAKEN = frozenset({-2021, -2022, 10001, 110017, "51169", "51277", "51278", "51279", "51280"})
"""What they say of a stop the price has passed while it was on its way, or of a close whose position went meanwhile:
the market was faster than half the latency. Bybit has no code of its own for the first."""

Rows = Sequence[Mapping[str, Any]]


class Stand(NamedTuple):
    """What protects one position from this moment on: the tightest level that rests for it, None = nothing rests."""

    time_ms: float
    level: Decimal | None


@dataclass(slots=True, kw_only=True)
class Life:
    """One position by the exchange's own events. `entries` and `exits` are the client ids of orders that traded."""

    symbol: str
    side: int
    opened: float
    closed: float | None = None
    stands: list[Stand] = field(default_factory=list)
    entries: set[str] = field(default_factory=set)
    by_stop: bool = False

    @property
    def settled(self) -> list[Stand]:
        """From the level behind its fill onwards."""
        early = [stand for stand in self.stands if stand.time_ms <= self.opened + SETTLED_MS]
        return [*early[-1:], *self.stands[len(early) :]]

    @property
    def moves(self) -> list[tuple[Stand, Stand]]:
        """Each change of the level from one that stood, while it was open."""
        return [(a, b) for a, b in pairwise(self.settled) if a.level is not None and b.level not in (None, a.level)]


class Watch:
    """Hears every event of the exchange before the venue's own frames are made of it."""

    def __init__(self, engine: MatchingEngine, now_ms: Callable[[], float]) -> None:
        self._engine, self._now_ms = engine, now_ms
        self._open: dict[tuple[str, PositionSide], Life] = {}
        self.lives: list[Life] = []
        self.flips: list[str] = []

    def before(self, then: Listener) -> Listener:
        def heard(events: tuple[Event, ...]) -> None:
            for event in events:
                if isinstance(event, OrderTrade):
                    self._traded(event)
                elif isinstance(event, AccountChanged):
                    for row in event.positions:
                        self._sized(row.symbol, row.position_side, row.qty)
            for symbol in {event.conditional.symbol for event in events if isinstance(event, ConditionalUpdate)}:
                self._look(symbol)
            then(events)

        return heard

    def _traded(self, event: OrderTrade) -> None:
        order = event.order
        life = self._open.get((order.symbol, order.position_side))
        if life is None or (order.side is Side.BUY) == (life.side > 0):
            return
        life.by_stop = life.by_stop or order.conditional_type is not None

    def _sized(self, symbol: str, position_side: PositionSide, quantity: Decimal) -> None:
        key, sign = (symbol, position_side), (quantity > 0) - (quantity < 0)
        life = self._open.get(key)
        if life is not None and sign != life.side:
            life.closed = self._now_ms()
            del self._open[key]
            if sign:
                self.flips.append(f"{symbol} went from one side to the other in one step")
            life = None
        if sign and life is None:
            life = self._open[key] = Life(symbol=symbol, side=sign, opened=self._now_ms())
            self.lives.append(life)
            self._look(symbol)

    def _look(self, symbol: str) -> None:
        for (name, position_side), life in self._open.items():
            if name != symbol:
                continue
            closing = Side.SELL if life.side > 0 else Side.BUY
            levels = [
                row.trigger_price
                for row in self._engine.open_conditionals(symbol)
                if row.side is closing and row.position_side is position_side and row.closes
                if row.type.is_stop_loss and row.trigger_price is not None
            ]
            level = (max if life.side > 0 else min)(levels) if levels else None
            if not life.stands or life.stands[-1].level != level:
                life.stands.append(Stand(self._now_ms(), level))


def naked(protection: Rows) -> list[str]:
    """Every stretch without full cover after the first stop was there, however short."""
    return [
        f"{row['symbol']} {row['side']} had {gap['uncovered_qty']} without a stop for "
        f"{(gap['to'] if gap['to'] is not None else float('nan')) - gap['from']:.1f} ms, "
        f"{(gap['from'] - row['opened']) / 1000:.1f} s after it was opened"
        for row in protection
        for gap in row["intervals"]
        if row["protected"] is not None and gap["from"] >= row["protected"] and gap["to"] != gap["from"]
    ]


def never_protected(protection: Rows, simulation_ms: float) -> list[str]:
    """Positions that had no stop at all for longer than it may take to close them instead."""
    rows = [row for row in protection if row["protected"] is None]
    return [
        f"{row['symbol']} had no stop for all its {lasted / 1000:.1f} s"
        for row in rows
        if (lasted := (row["closed"] or simulation_ms) - row["opened"]) > WITHOUT_MS
    ]


def flips(lives: Sequence[Life], entries: Mapping[str, int]) -> list[str]:
    """Positions that no entry opened; `entries` is how many entry orders traded, by symbol."""
    opened = Counter(life.symbol for life in lives)
    return [
        f"{symbol} was opened {times} times by {entries.get(symbol, 0)} entries"
        for symbol, times in opened.items()
        if times > entries.get(symbol, 0)
    ]


def loosened(lives: Iterable[Life]) -> list[str]:
    """Moves of what protects a position away from the price."""
    return [
        f"{life.symbol}: the stop of {'long' if life.side > 0 else 'short'} went from {a.level} to {b.level}"
        for life, a, b in _moves(lives)
        if (b.level - a.level) * life.side < 0
    ]


def too_often(lives: Iterable[Life]) -> list[str]:
    """Moves that follow the last one within half a minute and gain less than one percent."""
    wrong = []
    for life in lives:
        last: float | None = None
        for _, a, b in _moves([life]):
            soon = last is not None and b.time_ms - last < INTERVAL_MS
            if soon and last is not None and abs(b.level - a.level) < a.level * FORCED:
                gained = (b.level - a.level) * life.side / a.level * 100
                wrong.append(f"{life.symbol}: moved again after {(b.time_ms - last) / 1000:.3f} s for {gained:.2f} %")
            last = b.time_ms
    return wrong


def refusals(requests: Rows) -> Counter[str]:
    """What the venue refused, by lane, path and code."""
    return Counter(f"{row['lane']} {row['path']} {row['code']}" for row in requests if refused(row))


def refused_as_too_often(requests: Rows) -> list[str]:
    rows = [row for row in requests if refused(row)]
    return [
        f"{row['method']} {row['path']} was refused as too often: {row['status']} {row['code']}"
        for row in rows
        if row["status"] in (418, 429) or row["code"] in TOO_OFTEN
    ]


def refused_without_need(requests: Rows) -> list[str]:
    """What the market does not explain."""
    rows = [row for row in requests if refused(row) and row["code"] not in OVERTAKEN]
    return [f"{row['method']} {row['path']} was refused: {row['status']} {row['code']}" for row in rows]


class _Level(NamedTuple):
    time_ms: float
    level: Decimal


def _moves(lives: Iterable[Life]) -> Iterator[tuple[Life, _Level, _Level]]:
    for life in lives:
        for a, b in life.moves:
            if a.level is not None and b.level is not None:
                yield life, _Level(a.time_ms, a.level), _Level(b.time_ms, b.level)
