"""Decoded payloads into shapes, and their texts into numbers with what "", "0" and absence mean.

| function | "" or None | "0" | "INF" | negative |
|---|---|---|---|---|
| `price_in` | not told | not told | ValueError | ValueError |
| `positive_in` | ValueError | ValueError | ValueError | ValueError |
| `quantity_in` | 0 | 0 | ValueError | ValueError |
| `ceiling_in` | no limit | no limit | no limit | ValueError |
| `amount_in` | 0 | 0 | ValueError | allowed: money, fees, signed sizes |
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final, TypeVar

import msgspec

from core.domain.money import LARGEST, ZERO, Price, Quantity, decimal_of
from core.errors import MalformedPayload

_K = TypeVar("_K")
_T = TypeVar("_T")

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidOperation)
"""What decoding raises: text that is no UTF-8, nesting that is too deep and a number with an exponent too large for a
Decimal are no DecodeError of msgspec's."""
AFTER_ALL_MS: Final = 10**14
"""No venue's clock will ever be there (the year 5138); a number beyond is no time, and breaks what computes with it."""
Ms = Annotated[int, msgspec.Meta(ge=0, lt=AFTER_ALL_MS)]
"""UTC milliseconds as venues tell them; 0 where they tell none."""
Leverage = Annotated[int, msgspec.Meta(ge=0, le=1_000)]
"""No venue of ours goes beyond 200."""


def shaped(payload: Any, shape: type[_T], source: str) -> _T:
    """A decoded REST payload as `shape`. Raises MalformedPayload."""
    try:
        return msgspec.convert(payload, shape)
    except msgspec.ValidationError as error:
        raise MalformedPayload(source, str(error)) from None


def price_in(text: str | None, field: str) -> Price | None:
    """Raises ValueError."""
    if not text:
        return None
    value = decimal_of(text, field)
    if value < 0:
        raise ValueError(f"{field}: a negative price")
    return Price(value) if value else None


def positive_in(text: str | None, field: str) -> Decimal:
    """A trade has a price and a size; without them it must not reach arithmetic (POS-03). Raises ValueError."""
    value = decimal_of(text, field)
    if value <= 0:
        raise ValueError(f"{field}: not positive")
    return value


def quantity_in(text: str | None, field: str) -> Quantity:
    """Unsigned. Raises ValueError."""
    value = decimal_of(text, field) if text else ZERO
    if value < 0:
        raise ValueError(f"{field}: a negative quantity")
    return Quantity(value)


def ceiling_in(text: str | None, field: str) -> Decimal:
    """The most a venue allows. Where it names no limit that is more than anything: zero would allow nothing (VAL-06).
    Raises ValueError."""
    if not text or str(text).upper() == "INF":
        return LARGEST
    value = decimal_of(text, field)
    if value < 0:
        raise ValueError(f"{field}: a negative limit")
    return value or LARGEST


def amount_in(text: str | None, field: str) -> Decimal:
    """Signed. Raises ValueError."""
    return decimal_of(text, field) if text else ZERO


def some_in(text: str) -> bool:
    """Whether a size is told that is not zero; one that cannot be read may be any."""
    return bool(text.strip("+-0."))


def note_page(found: dict[_K, _T], page: Mapping[_K, _T], source: str, *, last: bool) -> None:
    """Adds a page of a list. One that is not the last must hold something new: else the venue would be asked for the
    same page for ever. Raises MalformedPayload."""
    known = len(found)
    found |= page
    if not last and len(found) == known:
        raise MalformedPayload(source, "a list whose pages do not end")


def ms_in(text: str, field: str) -> int:
    """UTC milliseconds. Raises ValueError."""
    value = whole_in(text)
    if value is None or value >= AFTER_ALL_MS:
        raise ValueError(f"{field}: not a time")
    return value


def whole_in(text: str) -> int | None:
    """None for what is not a few digits: numbers of requests, and others that have no field of their own."""
    return int(text) if len(text) <= 18 and text.isascii() and text.isdecimal() else None


def say(error: KeyError | ValueError) -> str:
    """What was wrong with a payload: a word that is in no table, or a number."""
    return f"unknown word {error}" if isinstance(error, KeyError) else str(error)
