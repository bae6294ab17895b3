"""What can be wrong with the configuration, as a sentence an operator can act on."""

from __future__ import annotations

from msgspec import Struct

MASK = "***"


class Problem(Struct, frozen=True, kw_only=True):
    """One thing wrong. `value` is None where nothing was given, and already masked where it is or may be a secret."""

    variable: str
    what: str
    fix: str
    value: str | None = None
    source: str = ""

    def __str__(self) -> str:
        shown = self.variable if self.value is None else f"{self.variable}={self.value}"
        origin = f" ({self.source})" if self.source else ""
        return f"{shown}{origin}: {self.what}; {self.fix}"


def printable(text: str, limit: int = 60) -> str:
    """`text` on one line, control characters escaped and cut to `limit`, so that a crafted value forges no output."""
    cleaned = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return cleaned if len(cleaned) <= limit else cleaned[:limit] + "…"
