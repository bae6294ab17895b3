"""A price's way between two waypoints: straight, in whole ticks, computable at any step without walking there."""

from __future__ import annotations

from msgspec import Struct


class Run(Struct, kw_only=True):
    """Steps ``first + 1`` to ``last`` lead from ``start`` to ``end``; each is one trade.

    Sums over its steps are differences of running totals, so that they come out the same however the steps are
    grouped.
    """

    first: int
    last: int
    start: int
    end: int
    lots: int
    """Traded over the whole run, at least one a step."""
    first_trade_id: int
    """The trade of step ``first + 1``."""
    held: bool = False
    """The price was put here from outside and stays."""
    at_ms: int | None = None
    """A single trade outside the steps happened at this time."""

    @property
    def length(self) -> int:
        return self.last - self.first

    @property
    def slope(self) -> float:
        return (self.end - self.start) / self.length

    def exact(self, step: int) -> float:
        """The price before it is rounded to ticks."""
        return self.start + self.slope * (step - self.first)

    def ticks(self, step: int) -> int:
        doubled = 2 * self.length
        return self.start + ((self.end - self.start) * 2 * (step - self.first) + self.length) // doubled

    def lots_until(self, step: int) -> int:
        return self.lots * (step - self.first) // self.length

    def worth_until(self, step: int) -> int:
        """Ticks * lots traded until this step, the price taken from the middle of each step's way."""
        done, length = step - self.first, self.length
        return self.lots * (2 * length * self.start * done + (self.end - self.start) * done * done) // (2 * length**2)
