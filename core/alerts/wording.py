"""Text that may be sent: cleaned of what could forge a line, split to what a message holds. Pure."""

from __future__ import annotations

import re
from typing import Final

MAX_UNITS: Final = 4096
"""Longest message Telegram takes, in UTF-16 code units."""
_UNSAFE: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def sanitized(text: str) -> str:
    """`text` without what could forge a line, turn its direction or not be sent at all; newlines stay."""
    return _UNSAFE.sub("�", text).strip() or "(empty)"


def split(text: str, limit: int = MAX_UNITS) -> tuple[str, ...]:
    """`text` in pieces of at most `limit` UTF-16 units, at line ends where there are any, never inside a character."""
    parts = []
    while units(text) > limit:
        cut = _fitting(text, limit)
        newline = text.rfind("\n", 0, cut)
        end = newline if newline > 0 else cut
        parts.append(text[:end])
        text = text[end:].removeprefix("\n")
    return (*parts, text) if text.strip() else tuple(parts)


def units(text: str) -> int:
    """Its length as Telegram counts it: UTF-16 code units."""
    return len(text) + sum(char > "\uffff" for char in text)


def _fitting(text: str, limit: int) -> int:
    """How many characters of `text` fit into `limit` units."""
    used = 0
    for index, char in enumerate(text):
        used += 2 if char > "\uffff" else 1
        if used > limit:
            return index
    return len(text)
