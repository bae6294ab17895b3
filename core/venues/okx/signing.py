"""Signatures of requests and logins. Pure: stamps come in, headers go out (§2)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from hmac import digest
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct
from msgspec.json import encode

API = "/api/v5/"
LOGIN_PATH = "/users/self/verify"
EXPIRING = frozenset({"trade/order", "trade/batch-orders"})
"""Requests whose late arrival must do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    key: str
    secret: str = field(repr=False)
    passphrase: str = field(repr=False)


class Signed(Struct, frozen=True, kw_only=True):
    """`path` begins with a slash and carries the query; `body` "" where there is none."""

    path: str
    headers: Mapping[str, str]
    body: str


def request(
    path: str, method: str, params: Mapping[str, Any] | list[Any], *, credentials: Credentials | None, now_ms: int
) -> Signed:
    """`path` as the documents name it behind `/api/v5/`; `credentials` None for a public one."""
    query = f"?{urlencode(params)}" if method == "GET" and params else ""
    body = encode(params).decode() if method != "GET" and params else ""
    target = f"{API}{path}{query}"
    if credentials is None:
        return Signed(path=target, headers={}, body=body)
    stamp = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    headers = {
        "OK-ACCESS-KEY": credentials.key,
        "OK-ACCESS-SIGN": signature(credentials, f"{stamp}{method}{target}{body}"),
        "OK-ACCESS-TIMESTAMP": stamp,
        "OK-ACCESS-PASSPHRASE": credentials.passphrase,
    }
    if body:
        headers["Content-Type"] = "application/json"
    return Signed(path=target, headers=headers, body=body)


def login(credentials: Credentials, now_ms: int) -> str:
    """The frame that logs a socket in; its stamp is in seconds and good for thirty of them."""
    stamp = str(now_ms // 1000)
    sign = signature(credentials, f"{stamp}GET{LOGIN_PATH}")
    row = {"apiKey": credentials.key, "passphrase": credentials.passphrase, "timestamp": stamp, "sign": sign}
    return encode({"op": "login", "args": [row]}).decode()


def signature(credentials: Credentials, text: str) -> str:
    return b64encode(digest(credentials.secret.encode(), text.encode(), sha256)).decode("ascii")
