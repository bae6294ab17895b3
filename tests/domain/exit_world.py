"""One position and its exits, played through prices: what the engine does with `judge`, without the engine."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from core.domain.aging import HOUR_MS, AgedRules
from core.domain.exits import (
    EVERY_PRICE,
    NONE_CONFIRMED,
    Band,
    Close,
    Confirmations,
    ExitReason,
    ExitRules,
    ExitState,
    Seen,
    Verdict,
    fresh_state,
    judge,
)
from core.domain.instrument import Instrument
from core.domain.money import Price
from core.domain.position import Position
from core.domain.prices import PriceSource
from core.domain.profit_steps import ProfitStep
from core.domain.signal import Side
from core.domain.trailing import TrailingRules, away, fallen, worth_moving
from tests.builders import NOW_MS, Number, a_position, an_instrument, price

BOTH = (Side.BUY, Side.SELL)
CENTS = an_instrument(tick="0.01")
STOP_PERCENT = Decimal(2)
FEE = Decimal("0.05")
"""Of one trade, percent."""


def percent_from(side: Side, gain: Number, entry: Number = 100) -> Price:
    """The price at which a position of this side has gained so much percent."""
    return Price(away(side, Decimal(entry), Decimal(gain)))


def some_trailing(activation: Number = "1.5", callback: Number = "0.5", *, interval_ms: int = 30_000) -> TrailingRules:
    return TrailingRules(
        activation_percent=Decimal(activation),
        callback_percent=Decimal(callback),
        interval_ms=interval_ms,
        least_step_percent=Decimal("0.1"),
        forced_step_percent=Decimal(1),
    )


def some_steps(*pairs: tuple[Number, Number]) -> tuple[ProfitStep, ...]:
    return tuple(ProfitStep(percent=Decimal(at), share=Decimal(share)) for at, share in pairs)


def some_aging(most: Number = 10) -> AgedRules:
    """Breakeven from 3 h, a growing loss from 11 h, faster from 21 h."""
    return AgedRules(
        from_hours=Decimal(3),
        grace_hours=Decimal(8),
        step_percent=Decimal("0.5"),
        acceleration=Decimal("1.2"),
        most_percent=Decimal(most),
    )


def some_rules(**changes: Any) -> ExitRules:
    """Nothing but the time limit, and what is asked for."""
    return replace(ExitRules(time_limit_ms=48 * HOUR_MS), **changes)


def seen(at: Number | None, *, after_ms: int = 0, resting: Number | None = None, **changes: Any) -> Seen:
    """A fresh price so long after the entry."""
    usual = Seen(
        now_ms=NOW_MS + after_ms,
        price=None if at is None else price(at),
        source=None if at is None else PriceSource.WEBSOCKET,
        age_ms=0,
        normal=at is not None,
        resting=None if resting is None else price(resting),
        passed=False,
    )
    return replace(usual, **changes)


@dataclass
class Life:
    """A position with its stop; the stop is moved when that is worth it and never by anything else."""

    rules: ExitRules
    position: Position
    resting: Price
    instrument: Instrument = CENTS
    moves: TrailingRules | None = field(default_factory=some_trailing)
    """None = the venue takes no move."""
    state: ExitState = field(init=False)
    confirmations: Confirmations = NONE_CONFIRMED
    band: Band = EVERY_PRICE
    acting: Band = EVERY_PRICE
    now_ms: int = NOW_MS
    moved: list[tuple[int, Price]] = field(default_factory=list)
    steps_done: int = 0
    closed: Close | None = None
    judged: int = 0

    def __post_init__(self) -> None:
        self.state = fresh_state(self.position)

    @property
    def reason(self) -> ExitReason | None:
        return None if self.closed is None else self.closed.reason

    def look(self, at: Number | None, *, wait_ms: int = 0, **changes: Any) -> Verdict:
        """Judge at this price and do what follows."""
        assert self.closed is None
        self.now_ms += wait_ms
        self.judged += 1
        here = seen(at, after_ms=self.now_ms - NOW_MS, resting=self.resting, steps_done=self.steps_done)
        if here.price is not None:
            here = replace(here, passed=fallen(self.position.side, here.price, self.resting))
        here = replace(here, **changes)
        verdict = judge(self.position, self.state, self.confirmations, self.rules, here, self.instrument)
        self.state, self.confirmations, self.band = verdict.state, verdict.confirmations, verdict.band
        self.acting = verdict.acting
        if verdict.close is not None and verdict.close.step is not None:
            self.steps_done = verdict.close.step + 1
            self.band = EVERY_PRICE
            if self.steps_done == len(self.rules.steps):
                self.closed = verdict.close
        elif verdict.close is not None:
            self.closed = verdict.close
        elif here.discretionary and here.normal:
            self._move()
        return verdict

    def tick(self, at: Number) -> Verdict | None:
        """As the engine does it: a calm price is not judged."""
        return None if self.band.calm(Decimal(at)) else self.look(at)

    def restart(self) -> None:
        """What is kept is kept, the rest is forgotten."""
        self.confirmations, self.band = NONE_CONFIRMED, EVERY_PRICE

    def _move(self) -> None:
        level, side, tick = self.state.level, self.position.side, self.instrument.tick
        if level is None or self.moves is None:
            return
        since = self.now_ms - self.moved[-1][0] if self.moved else None
        if worth_moving(side, self.resting, level, self.moves, tick, since_last_ms=since):
            self.moved.append((self.now_ms, level))
            self.resting, self.band = level, EVERY_PRICE


def a_life(side: Side = Side.BUY, *, at: Number = 100, **changes: Any) -> Life:
    """Of a position of this side with the rules that are asked for; the rest as in `Life`."""
    kept = {name: changes.pop(name) for name in ("moves", "instrument", "resting") if name in changes}
    kept.setdefault("resting", percent_from(side, -STOP_PERCENT, at))
    return Life(rules=some_rules(**changes), position=a_position(side=side, at=at), **kept)
