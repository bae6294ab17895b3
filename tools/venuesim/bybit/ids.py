"""Names of orders and fills: uuids that carry the engine's number, so that neither side needs a table.

A conditional order and the order born from it are one order on this venue and share their id.
"""

from __future__ import annotations

from hashlib import blake2b
from uuid import NAMESPACE_OID, uuid5

from tools.venuesim.exchange.model import Conditional, Order

FIRST_ORDER = 1
FIRST_CONDITIONAL = 1 << 40
_MASK = 0x5DEECE66D135
_NUMBER_DIGITS = 12


def order_id(row: Order | Conditional) -> str:
    """The id of an order, the same before and after its trigger."""
    if isinstance(row, Order) and row.conditional_id is not None:
        return _uuid(row.conditional_id)
    return _uuid(row.id)


def numbered_id(number: int) -> str:
    """The id of the engine's order or conditional order with this number."""
    return _uuid(number)


def number_of(text: str) -> int | None:
    """The engine's number in an id; None for an id this venue never gave."""
    tail = text[-_NUMBER_DIGITS:]
    try:
        number = int(tail, 16) ^ _MASK
    except ValueError:
        return None
    return number if text == _uuid(number) else None


def is_conditional(number: int) -> bool:
    """Whether the number is that of a conditional order."""
    return number >= FIRST_CONDITIONAL


def exec_id(fill_id: int) -> str:
    """The id of one fill."""
    return str(uuid5(NAMESPACE_OID, f"fill/{fill_id}"))


def funding_id(symbol: str, time_ms: int) -> str:
    """The id of one funding payment."""
    return str(uuid5(NAMESPACE_OID, f"funding/{symbol}/{time_ms}"))


def _uuid(number: int) -> str:
    head = blake2b(number.to_bytes(8, "big"), digest_size=10).hexdigest()
    return f"{head[:8]}-{head[8:12]}-4{head[13:16]}-a{head[17:20]}-{number ^ _MASK:0{_NUMBER_DIGITS}x}"
