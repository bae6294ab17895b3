"""How often somebody may ask: rolling windows for each endpoint, often for each instrument of it, and for all orders.

No header tells what is left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from tools.venuesim.okx.errors import VenueError

TWO_SECONDS_MS = 2_000
ORDERS_PER_TWO_SECONDS = 1_000
"""New and amended orders of a sub-account."""
_ORDERS = "account orders"
_OK_STATUS, _TOO_MANY = 200, 429


class Limits:
    """All counters. Times are the venue's, in ms."""

    def __init__(self) -> None:
        self._calls: dict[str, deque[int]] = {}
        self._refused_until_ms = 0
        self._refused_status = _TOO_MANY

    def refuse_until(self, until_ms: int, status: int | None) -> None:
        """Everything is answered 50011, with HTTP 429 or as asked for with 200, whatever was used."""
        self._refused_until_ms = until_ms
        self._refused_status = _OK_STATUS if status == _OK_STATUS else _TOO_MANY

    def charge(self, names: Sequence[str], now_ms: int, calls: int, per_ms: int) -> None:
        """Book one call on each counter named. Raises ``VenueError`` 50011, having booked nothing."""
        if now_ms < self._refused_until_ms:
            raise VenueError(50011, status=self._refused_status)
        if not self._take(names, now_ms, calls, per_ms):
            raise VenueError(50011)

    def charge_orders(self, count: int, now_ms: int) -> None:
        """Book new or amended orders of the account. Raises ``VenueError`` 50061."""
        if not self._take([_ORDERS] * count, now_ms, ORDERS_PER_TWO_SECONDS, TWO_SECONDS_MS):
            raise VenueError(50061)

    def _take(self, names: Sequence[str], now_ms: int, calls: int, per_ms: int) -> bool:
        for name in dict.fromkeys(names):
            counter = self._calls.setdefault(name, deque())
            # A clock turned back empties it as well.
            while counter and not now_ms - per_ms < counter[0] <= now_ms:
                counter.popleft()
            if len(counter) + names.count(name) > calls:
                return False
        for name in names:
            self._calls[name].append(now_ms)
        return True
