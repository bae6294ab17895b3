"""Pages of lists: a limit, a cursor that names the last row told, and windows of time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import quote, unquote

from tools.venuesim.bybit.errors import VenueError
from tools.venuesim.bybit.params import Params

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
T = TypeVar("T")


def page(
    rows: Sequence[T], params: Params, name: Callable[[T], str], *, default: int, most: int
) -> tuple[Sequence[T], str]:
    """The rows after the cursor, and the cursor of the next page, "" after the last. ``name`` tells rows apart."""
    limit = params.limit(default, most)
    first = 0
    cursor = unquote(params.text("cursor") or "")
    if cursor:
        last = cursor.partition(",")[0]
        first = next((index + 1 for index, row in enumerate(rows) if name(row) == last), len(rows))
    found = rows[first : first + limit]
    if not found or first + limit >= len(rows):
        return found, ""
    return found, quote(f"{name(found[-1])},{name(found[-1])}", safe="")


def window(params: Params, now_ms: int) -> tuple[int, int]:
    """startTime and endTime at most seven days apart; without them the last seven days. 10001 otherwise."""
    start, end = params.integer("startTime"), params.integer("endTime")
    if start is not None and end is not None and not 0 <= end - start <= WEEK_MS:
        raise VenueError(10001, "startTime and endTime must be within 7 days")
    if end is None:
        end = now_ms if start is None else start + WEEK_MS
    return (start if start is not None else end - WEEK_MS), end
