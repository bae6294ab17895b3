"""Algo orders: what the venue calls one order may be two conditional orders of the engine (one-cancels-other).

The legs share a name in their extras (``algo``); the first leg gives the algo order its number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from tools.venuesim.exchange.events import ConditionalUpdate, Event
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import ZERO, Conditional, ConditionalStatus, Refusal, Refused
from tools.venuesim.okx.formats import Row

FIRED = frozenset({ConditionalStatus.TRIGGERING, ConditionalStatus.TRIGGERED, ConditionalStatus.FINISHED})
_ENDED = frozenset({ConditionalStatus.CANCELED, ConditionalStatus.EXPIRED})
# What a leg's extras carry for this book.
GROUP, LEGS = "algo", "legs"


@dataclass(slots=True)
class Algo:
    """One algo order. ``legs`` are numbers of conditional orders."""

    symbol: str
    client_id: str
    kind: str
    """The venue's ordType."""
    expected: int
    last: Decimal = ZERO
    """The last price when it was placed."""
    legs: list[int] = field(default_factory=list)
    removed: set[int] = field(default_factory=set)
    """Legs that an amendment deleted."""
    told: Row | None = None
    """What was last pushed about it, without what changes by itself."""

    @property
    def id(self) -> int:
        return self.legs[0]

    @property
    def complete(self) -> bool:
        """False while one of its legs was not accepted yet, or never."""
        return len(self.legs) >= self.expected


class AlgoBook:
    """All algo orders of the account, kept in step by the engine's events."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._by_group: dict[str, Algo] = {}
        self._by_leg: dict[int, Algo] = {}
        self._by_name: dict[str, Algo] = {}

    def observe(self, events: tuple[Event, ...]) -> None:
        """Take in one batch."""
        for event in events:
            if isinstance(event, ConditionalUpdate):
                self._register(event.conditional)

    def all(self) -> list[Algo]:
        """Oldest first; those that came about only."""
        return [algo for algo in self._by_group.values() if algo.complete]

    def of(self, conditional_id: int) -> Algo:
        """The algo order a leg belongs to."""
        return self._by_leg.get(conditional_id) or self._register(self._row(conditional_id))

    def find(self, *, algo_id: int | None, client_id: str | None) -> Algo:
        """By number, else the newest of that name. Raises ``Refused(UNKNOWN_CONDITIONAL)``."""
        algo = self._by_leg.get(algo_id) if algo_id is not None else self._by_name.get(client_id or "")
        if algo is None or not algo.complete or algo_id not in (None, algo.id):
            raise Refused(Refusal.UNKNOWN_CONDITIONAL)
        return algo

    def rows(self, algo: Algo) -> list[Conditional]:
        """Its legs as they stand, without those an amendment deleted."""
        return [self._row(leg) for leg in algo.legs if leg not in algo.removed]

    def named(self, client_id: str) -> bool:
        """Whether a waiting algo order has this name."""
        algo = self._by_name.get(client_id)
        return algo is not None and state_of(self.rows(algo)) == "live"

    def _register(self, row: Conditional) -> Algo:
        group = row.extras.get(GROUP) or str(row.id)
        algo = self._by_group.get(group)
        if algo is None:
            algo = self._by_group[group] = Algo(
                symbol=row.symbol,
                client_id=row.extras.get("algoClOrdId", ""),
                kind=row.extras.get("algoType", "conditional"),
                expected=int(row.extras.get(LEGS, "1")),
                last=self._exchange.quote(row.symbol).last,
            )
            if algo.client_id:
                self._by_name[algo.client_id] = algo
        if row.id not in algo.legs:
            algo.legs.append(row.id)
            self._by_leg[row.id] = algo
        return algo

    def _row(self, leg: int) -> Conditional:
        return self._exchange.conditional(conditional_id=leg)


def fired_leg(rows: list[Conditional]) -> Conditional | None:
    """The leg whose trigger was reached."""
    return next((row for row in rows if row.status in FIRED or row.status is ConditionalStatus.REJECTED), None)


def state_of(rows: list[Conditional]) -> str:
    """The state of an algo order with these legs."""
    fired = fired_leg(rows)
    if fired is not None:
        return "order_failed" if fired.status is ConditionalStatus.REJECTED else "effective"
    return "canceled" if not rows or any(row.status in _ENDED for row in rows) else "live"
