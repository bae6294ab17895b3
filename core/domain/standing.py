"""Who said which trading state, and why. Several may hold at once, globally and for one venue; the strictest counts."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from core.domain.risk import TradingState

_STRICTNESS = {TradingState.ACTIVE: 0, TradingState.REDUCING: 1, TradingState.HALTED: 2}


class Standing(Struct, frozen=True, kw_only=True):
    """`flatten`: a panic that has not closed everything yet."""

    state: TradingState
    reason: str
    author: str
    flatten: bool = False


def strictest(standings: Iterable[Standing]) -> Standing:
    """The first of the strictest ones. Raises ValueError when there is none."""
    found: Standing | None = None
    for standing in standings:
        if found is None or _STRICTNESS[standing.state] > _STRICTNESS[found.state]:
            found = standing
    if found is None:
        raise ValueError("nothing holds")
    return found
