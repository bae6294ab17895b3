"""Reports as JSON, for the control socket and the status page."""

from __future__ import annotations

import json
from decimal import Decimal

from msgspec import to_builtins

from core.domain.money import plain


def json_text(told: object) -> str:
    """Structs become objects, at any depth; Decimals texts without an exponent."""
    return json.dumps(to_builtins(told, builtin_types=(Decimal,), str_keys=True, enc_hook=str), default=plain)
