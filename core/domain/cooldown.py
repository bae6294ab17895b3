"""Waiting before the next entry in a symbol: after a loss, a win, into the other side, after another hand traded it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from core.domain.gate import Gate, passed, refused
from core.domain.signal import Side
from core.domain.verdict import Reason

MS_PER_MINUTE = 60_000


class CloseKind(StrEnum):
    LOSS = "loss"
    WIN = "win"
    EVEN = "even"
    EXTERNAL = "external"
    """Somebody else's order closed, shrank or grew the position (REC-12)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastClose:
    """`side` of the position, `at_ms` UTC by our clock."""

    side: Side
    kind: CloseKind
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CooldownRules:
    """Minutes, 0 = off."""

    after_loss: int = 0
    after_win: int = 0
    opposite_side: int = 0
    after_external: int = 0

    @property
    def longest_ms(self) -> int:
        return max(self.after_loss, self.after_win, self.opposite_side, self.after_external) * MS_PER_MINUTE


def cooldown_gate(last: LastClose | None, side: Side, rules: CooldownRules, now_ms: int) -> Gate:
    """Refuses while one of the waits runs; the longest is told. The minute it ends, entries pass."""
    waits = () if last is None else [wait for wait in _waits(last, side, rules) if wait[0] > 0]
    if last is None or not waits:
        return passed("cooldown", "none")
    minutes, setting = max(waits)
    left_ms = last.at_ms + minutes * MS_PER_MINUTE - now_ms
    limit = f"{setting}={minutes}"
    if left_ms <= 0:
        return passed("cooldown", "over", limit)
    seconds = -(-left_ms // 1000)
    detail = f"closed {last.kind} {(now_ms - last.at_ms) // 1000} s ago, {seconds} s to wait"
    return refused(
        "cooldown", Reason.COOLDOWN, detail, value=f"{seconds} s left", limit=limit, setting=setting, closed=last.kind
    )


def _waits(last: LastClose, side: Side, rules: CooldownRules) -> list[tuple[int, str]]:
    waits = []
    if last.kind is CloseKind.LOSS:
        waits.append((rules.after_loss, "COOLDOWN_AFTER_LOSS_MINUTES"))
    if last.kind is CloseKind.WIN:
        waits.append((rules.after_win, "COOLDOWN_AFTER_WIN_MINUTES"))
    if last.kind is CloseKind.EXTERNAL:
        waits.append((rules.after_external, "COOLDOWN_AFTER_EXTERNAL_MINUTES"))
    if side is not last.side:
        waits.append((rules.opposite_side, "COOLDOWN_OPPOSITE_SIDE_MINUTES"))
    return waits
