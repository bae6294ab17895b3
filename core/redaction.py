"""Taking secrets out of whatever is about to be shown: by value, by name, and by their place in a URL (SEC-05)."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus

from pydantic import SecretBytes, SecretStr

MASK = "***"
SHORTEST_SECRET = 6
"""Shorter ones are not searched for: the simulator's key `sim` would mask half of every message about it."""

SECRET_NAMES = (
    "signature",
    "listenkey",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "secret",
    "api_secret",
    "passphrase",
    "password",
    "authorization",
    "x-mbx-apikey",
    "x-bapi-api-key",
    "x-bapi-sign",
    "ok-access-key",
    "ok-access-sign",
    "ok-access-passphrase",
)
_NAMES = "|".join(re.escape(name) for name in SECRET_NAMES)
# A lone dash is how nothing is written: masked it would look like a secret that is set.
_ASSIGNED = re.compile(rf"""(?i)(?<![a-z])({_NAMES})(["']?\s*[=:]\s*["']?)(?:bearer\s+)?(?!-(?:\s|$))[^&\s"',;}}]+""")
_IN_PATH = re.compile(r"(/bot)\d+:[\w-]+|(/ws/|/private/)[A-Za-z0-9]{40,}")


def _forms(secret: str) -> set[str]:
    """How one secret may be written: plain, in URLs, in JSON (also twice), in a repr, in markup, in a CSV."""
    in_json = json.dumps(secret)[1:-1]
    return {
        secret,
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        in_json,
        json.dumps(in_json)[1:-1],
        repr(secret)[1:-1],
        secret.replace('"', '""'),
        html.escape(secret),
        html.escape(secret, quote=False),
    }


class Redactor:
    """Knows the secrets of this process. Pure; safe to use from any thread."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if len(secret) >= SHORTEST_SECRET for form in _forms(secret)}
        self._raw = [form.encode() for form in sorted(forms, key=len, reverse=True)]
        ordered = sorted(forms, key=len, reverse=True)  # the longest first: one secret may begin with another
        self._known = re.compile("|".join(re.escape(form) for form in ordered)) if ordered else None

    def text(self, text: str) -> str:
        """`text` with known secrets, values of secret names (`signature=…`) and keys in URL paths masked."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        text = _ASSIGNED.sub(rf"\1\2{MASK}", text)
        return _IN_PATH.sub(lambda match: (match[1] or match[2]) + MASK, text)

    def raw(self, data: bytes) -> bytes:
        """`data` with known secrets masked, and nothing else: made to be cheap where there are none."""
        for form in self._raw:
            if form in data:
                data = data.replace(form, MASK.encode())
        return data

    def mapping(self, values: Mapping[str, object]) -> dict[str, object]:
        """`values` with everything secret masked, in names as well as in values."""
        return {self.text(str(name)): self.value(value, str(name)) for name, value in values.items()}

    def value(self, value: object, name: str = "") -> object:
        """`value` with everything secret masked, inside mappings and sequences too; other objects become text."""
        if name.lower() in SECRET_NAMES and value is not None:
            return MASK
        match value:
            case None | bool() | int() | float():
                return value
            case str():
                return self.text(value)
            case SecretStr() | SecretBytes():
                return MASK
            case bytes():
                return self.text(value.decode("utf-8", "backslashreplace"))
            case Mapping():
                return self.mapping(value)
            case list() | tuple() | set() | frozenset():
                return [self.value(item) for item in value]
            case _:
                return self.text(str(value))
