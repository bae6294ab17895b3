"""How long to wait before a signal server is tried again."""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom

SHORTEST_SECONDS, LONGEST_SECONDS = 5.0, 60.0
HEALTHY_AFTER_SECONDS = 60.0
"""A connection that lived so long starts the pauses anew; one that comes and goes does not (SIG-13)."""
SPREAD = 0.1
"""The most that is added by chance, so that many clients do not come back in the same moment."""


def _system_jitter() -> float:
    return SystemRandom().random()


class Backoff:
    """5 s doubling to 60 s. `jitter` gives 0..1."""

    def __init__(self, jitter: Callable[[], float] = _system_jitter) -> None:
        self._jitter = jitter
        self._failures = 0

    def after(self, lived_seconds: float) -> float:
        """Seconds to wait after a connection, or an attempt at one, that lived that long logged in."""
        if lived_seconds >= HEALTHY_AFTER_SECONDS:
            self._failures = 0
        pause = min(SHORTEST_SECONDS * 2.0 ** min(self._failures, 10), LONGEST_SECONDS)
        self._failures += 1
        return pause * (1 + SPREAD * self._jitter())
