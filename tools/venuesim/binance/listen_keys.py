"""The listenKey of the account: one at a time, alive for 60 minutes after its last extension."""

from __future__ import annotations

import random

from tools.venuesim.binance.errors import VenueError

LIFETIME_MS = 60 * 60_000
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class ListenKeys:
    """One key per account: a second POST answers the same one, so two processes share it. Times in ms."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"listen-key-{seed}")
        self._key: str | None = None
        self._expires_ms = 0

    def create(self, now_ms: int) -> str:
        """The active key, extended, or a new one."""
        key = self._key if self._key is not None and self.active(now_ms) else self._make()
        self._key, self._expires_ms = key, now_ms + LIFETIME_MS
        return key

    def _make(self) -> str:
        return "".join(self._random.choices(_ALPHABET, k=64))

    def extend(self, now_ms: int) -> str:
        """Another 60 minutes; -1125 when no key is active."""
        if not self.active(now_ms):
            raise VenueError(-1125)
        return self.create(now_ms)

    def close(self, now_ms: int) -> str:
        """Ends the key at once and returns it; -1125 when no key is active."""
        if not self.active(now_ms) or self._key is None:
            raise VenueError(-1125)
        key, self._key = self._key, None
        return key

    def active(self, now_ms: int) -> bool:
        """Whether a key exists that has not run out."""
        return self._key is not None and now_ms < self._expires_ms

    def knows(self, key: str, now_ms: int) -> bool:
        """Whether `key` is the active one."""
        return self.active(now_ms) and key == self._key

    def overdue(self, now_ms: int) -> str | None:
        """The key that has just run out, once; the façade announces it on its sockets."""
        if self._key is None or now_ms < self._expires_ms:
            return None
        key, self._key = self._key, None
        return key

    @property
    def expires_ms(self) -> int | None:
        """When the active key runs out unless extended, None without one."""
        return self._expires_ms if self._key is not None else None
