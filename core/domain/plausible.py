"""Whether a new price is to be believed: one rogue tick, ten times off, must fire nothing (MKT-11)."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from core.domain.money import HUNDRED, Price


def near(price: Price, other: Price, percent: Decimal) -> bool:
    """Whether the two are at most `percent` of `other` apart."""
    return abs(price - other) * HUNDRED <= percent * other


def believed(price: Price, last: Price | None, others: Iterable[Price], percent: Decimal) -> bool:
    """A step of at most `percent` from the `last` believed price needs nobody; a jump, or a first price, is believed
    when one other source says about the same. A real crash is seen by both, and acts at once."""
    if last is not None and near(price, last, percent):
        return True
    return any(near(price, other, percent) for other in others)
