"""What the exit engine keeps of one open position, and the counters of all of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

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
)
from core.domain.money import plain
from core.domain.position import Position, PositionKey


@dataclass(slots=True, eq=False)
class ExitWatch:
    """`band` holds the prices at which nothing has to be judged, `acting` those at which nothing is done (Verdict).
    `moved_by` is the rule that wants the stop where it is
    wanted. `attempted` monotonic seconds of the last try to move it; `refused` moves in a row; `steps_skipped`
    take-profit steps without a slice of their own."""

    key: PositionKey
    rules: ExitRules
    state: ExitState
    confirmations: Confirmations = NONE_CONFIRMED
    band: Band = EVERY_PRICE
    acting: Band = EVERY_PRICE
    moved_by: ExitReason | None = None
    attempted: float | None = None
    steps_skipped: int = 0
    part_not_before: float = 0.0
    move_not_before: float = 0.0
    refused: int = 0
    advice: str = ""
    closing: bool = False
    moving: bool = False
    taking: bool = False
    conflict: bool = False
    waiting: bool = False
    failed: bool = False


@dataclass(slots=True)
class ExitCounts:
    """Since the start. `analyses` are ticks and looks at a position, whatever came of them."""

    analyses: int = 0
    trailing_checks: int = 0
    stops_moved: int = 0
    moves_refused: int = 0
    waited_for_price: int = 0
    critical_on_old_price: int = 0
    closes: Counter[str] = field(default_factory=Counter)


def figures_of(state: ExitState, position: Position, close: Close, seen: Seen) -> dict[str, str]:
    """What the decision was made from, for the execution row, the audit and people."""
    price = seen.price
    return {
        "rule": close.reason.value,
        "price": "" if price is None else plain(price),
        "price_source": "" if seen.source is None else seen.source.value,
        "price_age_ms": str(seen.age_ms),
        "profit": "unknown" if price is None else plain(round(position.profit_percent(price), 3)),
        "best_price": "" if state.peak is None else plain(state.peak),
        "stop": "" if seen.resting is None else plain(seen.resting),
        "held_ms": str(seen.now_ms - position.opened_ms),
    }
