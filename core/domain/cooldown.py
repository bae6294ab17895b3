"""Waiting before the next entry in a symbol that a position was just closed in, whoever closed it (TRL-13).

Several waits may apply to one entry: after a loss or a win on either side, to the side that was closed or to the other
one, after another hand than ours. The one that ends last counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

from msgspec import Struct

from core.domain.gate import Gate, passed, refused
from core.domain.signal import Side
from core.domain.verdict import Reason

MS_PER_SECOND = 1_000


class CloseKind(StrEnum):
    """By what the position made, after its fees."""

    LOSS = "loss"
    WIN = "win"
    EVEN = "even"


class LastClose(Struct, frozen=True, kw_only=True):
    """`side` of the position, `at_ms` UTC by our clock. `external`: somebody else's order closed, shrank or grew the
    position (REC-12); the venue's liquidation is one."""

    side: Side
    kind: CloseKind
    at_ms: int
    external: bool = False

    def __str__(self) -> str:
        return f"{self.kind}, by another hand" if self.external else self.kind.value


class CooldownRules(Struct, frozen=True, kw_only=True):
    """Seconds, 0 = off."""

    after_loss: int = 0
    after_win: int = 0
    same_side: int = 0
    opposite_side: int = 0
    after_external: int = 0

    @property
    def longest_ms(self) -> int:
        waits = (self.after_loss, self.after_win, self.same_side, self.opposite_side, self.after_external)
        return max(waits) * MS_PER_SECOND


def cooldown_gate(closes: Iterable[LastClose], side: Side, rules: CooldownRules, now_ms: int) -> Gate:
    """Refuses while a wait of one of these closes of a symbol runs; the one that ends last is told. The moment it ends,
    entries pass."""
    waits = [
        (close.at_ms + seconds * MS_PER_SECOND, seconds, setting, close)
        for close in closes
        for seconds, setting in _waits(close, side, rules)
        if seconds > 0
    ]
    if not waits:
        return passed("cooldown", "none")
    end_ms, wait, setting, close = max(waits, key=lambda found: found[:3])
    limit = f"{setting}={wait}"
    if end_ms <= now_ms:
        return passed("cooldown", "over", limit)
    left = -(-(end_ms - now_ms) // MS_PER_SECOND)
    detail = f"closed {close} {(now_ms - close.at_ms) // MS_PER_SECOND} s ago, {left} s to wait"
    return refused(
        "cooldown", Reason.COOLDOWN, detail, value=f"{left} s left", limit=limit, setting=setting, closed=str(close)
    )


def _waits(close: LastClose, side: Side, rules: CooldownRules) -> Iterator[tuple[int, str]]:
    if close.kind is CloseKind.LOSS:
        yield rules.after_loss, "COOLDOWN_AFTER_LOSS_SECONDS"
    if close.kind is CloseKind.WIN:
        yield rules.after_win, "COOLDOWN_AFTER_WIN_SECONDS"
    if close.external:
        yield rules.after_external, "COOLDOWN_AFTER_EXTERNAL_SECONDS"
    if side is close.side:
        yield rules.same_side, "COOLDOWN_SAME_SIDE_SECONDS"
    else:
        yield rules.opposite_side, "COOLDOWN_OPPOSITE_SIDE_SECONDS"
