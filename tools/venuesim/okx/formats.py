"""How the venue prints: everything is a text, numbers without trailing zeros, nothing is ""."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

Row = dict[str, Any]
_MONEY = Decimal("1E-10")


def short(value: Decimal | None) -> str:
    """A number without trailing zeros or exponent; "" for None."""
    if value is None:
        return ""
    if not value:
        return "0"
    return f"{value.normalize():f}"


def money(value: Decimal | None) -> str:
    """An amount, at most ten decimals."""
    return "" if value is None else short(value.quantize(_MONEY))


def flag(value: bool) -> str:  # noqa: FBT001 - the value itself is the subject
    """true or false as text."""
    return "true" if value else "false"


def stamp(value: int | None) -> str:
    """A time in ms; "" for None."""
    return "" if value is None else str(value)
