"""How long things take on their way."""

from __future__ import annotations

from random import Random


class Delays:
    """Half the latency each way, plus a seeded jitter of up to ``jitter_ms`` on each leg."""

    def __init__(self, latency_ms: float, jitter_ms: float, rng: Random) -> None:
        self._half = latency_ms / 2
        self._jitter = jitter_ms
        self._rng = rng

    def leg(self) -> float:
        """One way, in ms."""
        return self._half + (self._rng.uniform(0, self._jitter) if self._jitter else 0.0)
