"""Request parameters: query and body merged as the venue does, read by typed getters that raise its own errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from urllib.parse import unquote_plus

from tools.venuesim.binance.errors import VenueError

_CLIENT_ID = re.compile(r"^[.A-Z:/a-z0-9_-]{1,36}$")
_MAX_MS = 253402300799000


def parse_pairs(text: str) -> dict[str, str]:
    """Splits `a=1&b=2`. A raw JSON array in a value survives: it holds no "&", and "=" is split once only."""
    pairs: dict[str, str] = {}
    for part in text.split("&"):
        if part:
            key, _, value = part.partition("=")
            pairs.setdefault(unquote_plus(key), unquote_plus(value))
    return pairs


class Params:
    """The parameters of one request (or of one row of a batch). A key sent twice: the query wins over the body."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    @classmethod
    def of(cls, query: str, body: str) -> Params:
        """Reads both places a parameter can stand in."""
        return cls({**parse_pairs(body), **parse_pairs(query)})

    def __contains__(self, name: str) -> bool:
        return bool(self._values.get(name))

    def text(self, name: str) -> str | None:
        """The value, or None when absent or empty."""
        return self._values.get(name) or None

    def required(self, name: str) -> str:
        """The value; -1102 when absent or empty."""
        value = self._values.get(name)
        if not value:
            raise VenueError(-1102, name)
        return value

    def any_case(self, name: str) -> str | None:
        """The value under any spelling of the name: ccxt sends `orderidlist`, the documents say `orderIdList`."""
        for key, value in self._values.items():
            if key.lower() == name.lower():
                return value or None
        return None

    def decimal(self, name: str) -> Decimal | None:
        """A finite number, None when absent; -1102 when malformed."""
        value = self._values.get(name)
        if not value:
            return None
        try:
            number = Decimal(value)
        except InvalidOperation:
            raise VenueError(-1102, name) from None
        if not number.is_finite():
            raise VenueError(-1102, name)
        return number

    def integer(self, name: str) -> int | None:
        """A whole number, None when absent; -1102 when malformed."""
        value = self._values.get(name)
        if not value:
            return None
        if not value.lstrip("-").isdecimal():
            raise VenueError(-1102, name)
        return int(value)

    def time(self, name: str) -> int | None:
        """Milliseconds since the epoch, None when absent; -1130 outside the calendar."""
        value = self.integer(name)
        if value is not None and not 0 <= value <= _MAX_MS:
            raise VenueError(-1130, name)
        return value

    def flag(self, name: str) -> bool:
        """ "true" or "false" in any case; absent is false; -1130 for anything else."""
        value = (self._values.get(name) or "false").lower()
        if value not in ("true", "false"):
            raise VenueError(-1130, name)
        return value == "true"

    def limit(self, default: int, maximum: int) -> int:
        """The `limit` parameter; -1130 beyond 1..maximum."""
        value = self.integer("limit")
        if value is None:
            return default
        if not 1 <= value <= maximum:
            raise VenueError(-1130, "limit")
        return value

    def choice(self, name: str, allowed: tuple[str, ...], default: str | None, code: int, *detail: object) -> str:
        """One of `allowed`; -1102 when absent without a default, `code` when another word was sent."""
        value = self._values.get(name) or default
        if value is None:
            raise VenueError(-1102, name)
        if value not in allowed:
            raise VenueError(code, *detail)
        return value

    def client_id(self, name: str) -> str | None:
        """A client order id; -4015 unless it matches the venue's pattern of 1 to 36 characters."""
        value = self.text(name)
        if value is not None and not _CLIENT_ID.match(value):
            raise VenueError(-4015)
        return value
