"""Numbers: Decimal end to end, text becomes a number once, at the edge."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import NewType

Price = NewType("Price", Decimal)
"""Quote coin per one base unit."""
Quantity = NewType("Quantity", Decimal)
"""Base units, never contracts; unsigned unless a docstring says signed."""
Notional = NewType("Notional", Decimal)
"""Quote coin (USDT and USDC count as 1)."""

ZERO = Decimal(0)
HUNDRED = Decimal(100)
LARGEST = Decimal(10) ** 18
"""Nothing a venue trades is larger; a number beyond it is a broken payload, not a size."""


def decimal_of(text: object, field: str) -> Decimal:
    """A finite Decimal from a venue's or a signal's text or integer.

    Raises ValueError naming `field` for NaN, infinity, None, "", a float (it has already lost digits) and anything
    beyond `LARGEST`. What None, "" and "0" mean otherwise is the caller's field table, decided before calling.
    """
    if isinstance(text, bool) or not isinstance(text, str | int | Decimal):
        raise ValueError(f"{field}: {type(text).__name__} is not a decimal text")
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{field}: not a number") from None
    if not value.is_finite() or abs(value) > LARGEST:
        raise ValueError(f"{field}: out of range")
    return value


def plain(value: Decimal) -> str:
    """For wires, logs and people: no exponent, no trailing zeros (VAL-09)."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("", "-0") else text
