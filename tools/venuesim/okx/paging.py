"""Pages of lists: newest first, between the rows that ``after`` and ``before`` name, and within times."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from tools.venuesim.okx.params import Params

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
T = TypeVar("T")


def page(rows: Iterable[T], params: Params, number: Callable[[T], int], *, most: int = 100) -> list[T]:
    """``rows`` come oldest first; ``after`` asks for older ones than that number, ``before`` for newer ones."""
    after, before = params.integer("after"), params.integer("before")
    found = [row for row in rows if (after is None or number(row) < after) and (before is None or number(row) > before)]
    limit = params.limit(most, most)
    # Asked for newer ones than a row, the page begins at that row.
    found = found[:limit] if before is not None and after is None else found[-limit:]
    return found[::-1]


def within(params: Params, time_ms: int) -> bool:
    """Whether a time lies between ``begin`` and ``end``, both included."""
    begin, end = params.integer("begin"), params.integer("end")
    return (begin is None or time_ms >= begin) and (end is None or time_ms <= end)


def of_instruments(params: Params, symbol: str) -> bool:
    """Whether a contract is among those asked for by instType, instFamily, uly and instId."""
    if (params.text("instType") or "SWAP") not in ("SWAP", "ANY"):
        return False
    wanted = params.words("instId")
    family = params.text("instFamily") or params.text("uly")
    return (not wanted or symbol in wanted) and (family is None or symbol == f"{family}-SWAP")
