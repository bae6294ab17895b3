"""Parameters of a request: the query of a GET, the JSON object of a POST, or one object of an array."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl

from tools.venuesim.okx.errors import VenueError

_BOOLEANS = {"true": True, "false": False}


class Params:
    """Typed getters; an absent, null or "" value is None. Unknown parameters are ignored, as on the venue."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    @classmethod
    def of_query(cls, query: str) -> Params:
        """Of a GET request."""
        return cls(dict(parse_qsl(query)))

    @property
    def values(self) -> Mapping[str, Any]:
        """As they were sent."""
        return self._values

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
        """The value; 50014 when absent or empty."""
        value = self.text(name)
        if value is None:
            raise VenueError(50014, name)
        return value

    def decimal(self, name: str) -> Decimal | None:
        """A finite number; 51000 when malformed."""
        value = self.text(name)
        if value is None:
            return None
        try:
            number = Decimal(value)
        except InvalidOperation:
            raise VenueError(51000, name) from None
        if not number.is_finite():
            raise VenueError(51000, name)
        return number

    def integer(self, name: str) -> int | None:
        """A whole number; 51000 when malformed."""
        value = self.text(name)
        if value is None:
            return None
        if not value.lstrip("-").isdecimal():
            raise VenueError(51000, name)
        return int(value)

    def flag(self, name: str) -> bool:
        """true or false, also as text; absent is false."""
        value = _BOOLEANS.get((self.text(name) or "false").lower())
        if value is None:
            raise VenueError(51000, name)
        return value

    def choice(self, name: str, allowed: Sequence[str], default: str | None = None) -> str:
        """One of the allowed words; 51000 for others, 50014 when absent without a default."""
        value = self.text(name) or default
        if value is None:
            raise VenueError(50014, name)
        if value not in allowed:
            raise VenueError(51000, name)
        return value

    def limit(self, default: int = 100, most: int = 100) -> int:
        """How many rows; 51000 outside 1..most."""
        value = self.integer("limit")
        if value is None:
            return default
        if value < 1:
            raise VenueError(51000, "limit")
        return min(value, most)

    def words(self, name: str) -> frozenset[str]:
        """A list separated by commas; empty when absent."""
        return frozenset((self.text(name) or "").split(",")) - {""}

    def entries(self, name: str) -> list[Params]:
        """A list of objects, also inside a text; empty when there is none."""
        value = self._values.get(name)
        if isinstance(value, str) and value:
            try:
                value = parsed(value.encode())
            except ValueError:
                raise VenueError(51000, name) from None
        if isinstance(value, dict):
            value = [value]
        if not isinstance(value, list):
            return []
        return [Params(entry if isinstance(entry, dict) else {}) for entry in value]

    def with_values(self, **values: Any) -> Params:
        """These values on top."""
        return Params({**self._values, **values})


def parsed(body: bytes) -> Any:
    """JSON with exact decimals; raises ValueError."""
    return json.loads(body, parse_float=Decimal)
