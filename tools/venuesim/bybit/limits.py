"""How often somebody may ask: each endpoint by the account in a rolling second, everything by the address in five."""

from __future__ import annotations

from collections import deque

from tools.venuesim.bybit.errors import VenueError

SECOND_MS = 1_000
ADDRESS_MS = 5_000
ADDRESS_CALLS = 600
BAN_MS = 600_000
"""How long an address that asked too often gets nothing but a page that says so."""


class Banned(Exception):
    """The network in front of the venue lets nothing of this address through."""


class Limits:
    """All counters. Times are the venue's, in ms."""

    def __init__(self) -> None:
        self._calls: dict[str, deque[int]] = {}
        self._address: deque[int] = deque()
        self._banned_until_ms = 0
        self._refused_until_ms = 0

    def refuse_until(self, until_ms: int, *, banned: bool) -> None:
        """Private calls are answered 10006, or the whole address is banned, whatever was used."""
        if banned:
            self._banned_until_ms = until_ms
        else:
            self._refused_until_ms = until_ms

    def charge_address(self, now_ms: int) -> None:
        """Book a call of any kind. Raises `Banned`."""
        if now_ms < self._banned_until_ms:
            raise Banned
        calls = _recent(self._address, now_ms - ADDRESS_MS)
        if len(calls) >= ADDRESS_CALLS:
            self._banned_until_ms = now_ms + BAN_MS
            raise Banned
        calls.append(now_ms)

    def charge(self, path: str, now_ms: int, per_second: int) -> None:
        """Book a private call. Raises `VenueError` 10006."""
        if not self.take(path, now_ms, per_second):
            raise VenueError(10006)

    def check_open(self, now_ms: int) -> None:
        """Raises `VenueError` 10006 while everything is refused; books nothing."""
        if now_ms < self._refused_until_ms:
            raise VenueError(10006)

    def take(self, path: str, now_ms: int, per_second: int) -> bool:
        """The same, one entry of a batch at a time; False when there is no room."""
        if now_ms < self._refused_until_ms:
            return False
        calls = _recent(self._calls.setdefault(path, deque()), now_ms - SECOND_MS)
        if len(calls) >= per_second:
            return False
        calls.append(now_ms)
        return True

    def headers(self, path: str, now_ms: int, per_second: int) -> dict[str, str]:
        """What every private answer carries: the limit, what is left of it, and when there will be more."""
        calls = _recent(self._calls.setdefault(path, deque()), now_ms - SECOND_MS)
        left = max(0, per_second - len(calls))
        reset_ms = now_ms if left or not calls else calls[0] + SECOND_MS
        if now_ms < self._refused_until_ms:
            left, reset_ms = 0, self._refused_until_ms
        return {
            "X-Bapi-Limit": str(per_second),
            "X-Bapi-Limit-Status": str(left),
            "X-Bapi-Limit-Reset-Timestamp": str(reset_ms),
        }


def _recent(calls: deque[int], after_ms: int) -> deque[int]:
    """Without what is too old. A clock turned back empties it as well."""
    while calls and (calls[0] <= after_ms or calls[-1] > after_ms + 2 * ADDRESS_MS):
        calls.popleft()
    return calls
