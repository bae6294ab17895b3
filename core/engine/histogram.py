"""How often something took how long: counts by upper bound, taken in nanoseconds where it happens, read when asked."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

STAGE_BOUNDS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000)
"""Milliseconds: from a decision without a request to a wave that ends by its time limit."""


class Histogram:
    """`counts` has one more than `bounds`: what is beyond the last."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = STAGE_BOUNDS) -> None:
        """`bounds` rising; a value equal to one counts in it."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Below 0 counts as 0: two clocks may disagree by a little."""
        value = max(value, 0.0)
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        return sum(self.counts)
