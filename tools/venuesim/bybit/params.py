"""Parameters of a request: the query of a GET, the JSON object of a POST, or one entry of a batch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl

from tools.venuesim.bybit.errors import VenueError


class Params:
    """Typed getters; an absent, null or empty value is None. Unknown parameters are ignored, as on the venue."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    @classmethod
    def of(cls, query: str, body: bytes) -> Params:
        """Of a whole request; empty where the body is not a JSON object."""
        return cls({**dict(parse_qsl(query)), **(_object(body) or {})})

    @classmethod
    def checked(cls, query: str, body: bytes) -> Params:
        """The same; raises `VenueError` 10001 for a body that is not a JSON object."""
        if body.strip() and _object(body) is None:
            raise VenueError(10001, "Request body is not a valid JSON object")
        return cls.of(query, body)

    def __contains__(self, name: str) -> bool:
        return self.text(name) is not None

    def text(self, name: str) -> str | None:
        """The value as text; booleans are "true" and "false"."""
        value = self._values.get(name)
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str | int | Decimal):
            return str(value) or None
        return None

    def required(self, name: str) -> str:
        """The value; 10001 when absent or empty."""
        value = self.text(name)
        if value is None:
            raise VenueError(10001, f"params error: {name} is required")
        return value

    def decimal(self, name: str) -> Decimal | None:
        """A finite number; 10001 when malformed."""
        value = self.text(name)
        if value is None:
            return None
        try:
            number = Decimal(value)
        except InvalidOperation:
            raise VenueError(10001, f"params error: {name} invalid") from None
        if not number.is_finite():
            raise VenueError(10001, f"params error: {name} invalid")
        return number

    def price(self, name: str) -> Decimal | None:
        """A number for which the venue takes "0" as not set."""
        return self.decimal(name) or None

    def integer(self, name: str) -> int | None:
        """A whole number; 10001 when malformed."""
        value = self.text(name)
        if value is None:
            return None
        if not value.lstrip("-").isdecimal():
            raise VenueError(10001, f"params error: {name} invalid")
        return int(value)

    def flag(self, name: str) -> bool:
        """true or false, also as text; absent is false."""
        value = (self.text(name) or "false").lower()
        if value not in ("true", "false"):
            raise VenueError(10001, f"params error: {name} invalid")
        return value == "true"

    def choice(self, name: str, allowed: Sequence[str], default: str | None = None) -> str:
        """One of the allowed words; 10001 for others, and without a default when absent."""
        value = self.text(name) or default
        if value is None or value not in allowed:
            raise VenueError(10001, f"params error: {name} invalid")
        return value

    def limit(self, default: int, most: int) -> int:
        """How many rows; 10001 outside 1..most."""
        value = self.integer("limit")
        if value is None:
            return default
        if not 1 <= value <= most:
            raise VenueError(10001, "params error: limit invalid")
        return value

    def entries(self, name: str) -> list[Params]:
        """A list of objects; entries of another kind are empty. Empty when there is no list."""
        value = self._values.get(name)
        if not isinstance(value, list):
            return []
        return [Params(entry if isinstance(entry, dict) else {}) for entry in value]

    def with_values(self, **values: str) -> Params:
        """These values on top."""
        return Params({**self._values, **values})


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body, parse_float=Decimal)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
