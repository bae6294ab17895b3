"""A frame of the signal server -> one JSON object, or refused: what is too large or too deep costs next to nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from core.errors import MalformedPayload

MAX_FRAME_BYTES = 1024 * 1024
MAX_DEPTH = 32
_CONSTANTS = {"NaN": Decimal("NaN"), "Infinity": Decimal("Infinity"), "-Infinity": Decimal("-Infinity")}


def decode_frame(data: bytes) -> Mapping[str, Any]:
    """One JSON object; its fractions are Decimals. Raises MalformedPayload for anything else, by size first (SIG-15).

    NaN and Infinity, which are no JSON but what careless servers write, are kept: the field they stand in refuses
    them, and the other signals of the frame are not lost with it (SIG-14).
    """
    if len(data) > MAX_FRAME_BYTES:
        raise MalformedPayload("signal frame", f"{len(data)} bytes, more than {MAX_FRAME_BYTES}")
    try:
        value = json.loads(data, parse_float=Decimal, parse_constant=_CONSTANTS.__getitem__)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise MalformedPayload("signal frame", f"not JSON ({type(error).__name__})") from None
    if not isinstance(value, dict):
        raise MalformedPayload("signal frame", "not an object")
    if _too_deep(value):
        raise MalformedPayload("signal frame", f"deeper than {MAX_DEPTH} levels")
    return value


def _too_deep(value: object) -> bool:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            return True
        inside: list[object] = []
        for item in level:
            inside.extend(item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
        level = inside
    return False
