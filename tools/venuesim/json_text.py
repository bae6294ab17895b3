"""What a venue says, as JSON without spaces."""

from __future__ import annotations

from msgspec.json import Encoder

_encode = Encoder().encode


def json_bytes(payload: object) -> bytes:
    """Of dicts, lists, texts, numbers and booleans; a Decimal becomes a text, NaN null."""
    return _encode(payload)


def json_text(payload: object) -> str:
    """As `json_bytes`, for a frame of text."""
    return _encode(payload).decode()
