"""Numbers: Decimal end to end, text becomes a number once, at the edge."""

from __future__ import annotations

import re
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
FINEST_PLACES = 30
"""Nothing is quoted finer; `1e-999999999` is short on the wire and a billion characters once written out."""
_ORDINARY = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,30})?")
"""What venues send: within `LARGEST` and `FINEST_PLACES` by its length, so that nothing else needs judging. Nine such
numbers stand in one frame."""


def decimal_of(text: object, field: str) -> Decimal:
    """A finite Decimal from a venue's or a signal's text or integer.

    Raises ValueError naming `field` for NaN, infinity, None, "", a float (it has already lost digits), anything beyond
    `LARGEST` or finer than `FINEST_PLACES`, and what only Python takes for a number (`1_000`, other scripts' digits).
    What None, "" and "0" mean otherwise is the caller's field table, decided before calling.
    """
    if type(text) is str and _ORDINARY.fullmatch(text):
        return Decimal(text)
    if isinstance(text, bool) or not isinstance(text, str | int | Decimal):
        raise ValueError(f"{field}: {type(text).__name__} is not a decimal text")  # noqa: TRY004 - a fact about data
    if isinstance(text, str) and (not text.isascii() or "_" in text or text != text.strip()):
        raise ValueError(f"{field}: not a number")
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{field}: not a number") from None
    if not value.is_finite() or not _in_range(value):
        raise ValueError(f"{field}: out of range")
    return value


def _in_range(value: Decimal) -> bool:
    """Judged on the exponent first: arithmetic on an absurd one raises Overflow, which is no ValueError."""
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or not -FINEST_PLACES <= exponent <= LARGEST.adjusted():
        return False
    return value.adjusted() <= LARGEST.adjusted() and value.copy_abs() <= LARGEST


def plain(value: Decimal) -> str:
    """For wires, logs and people: no exponent, no trailing zeros (VAL-09)."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("", "-0") else text
