"""Who sent a request: key, time window, and the signature over exactly the bytes that came."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256

from tools.venuesim.bybit.errors import VenueError

API_KEY = "sim"
API_SECRET = "sim"
DEFAULT_WINDOW_MS = 5_000
AHEAD_MS = 1_000
"""How far a stamp may lie in the venue's future."""
_LOGIN = "GET/realtime"
_LOGIN_ARGS = 3


def signature(secret: str, text: str) -> str:
    """HMAC-SHA256 in lower-case hex."""
    return hmac.new(secret.encode(), text.encode(), sha256).hexdigest()


def check_key(key: str | None) -> None:
    """Raises `VenueError` 10003 for any key but the account's."""
    if key != API_KEY:
        raise VenueError(10003)


def check_time(timestamp: str | None, recv_window: str | None, now_ms: int) -> None:
    """Raises `VenueError` 10002 unless ``now - window <= timestamp < now + 1 s``."""
    window = recv_window or str(DEFAULT_WINDOW_MS)
    sent = timestamp or ""
    if not sent.isdecimal() or not window.isdecimal():
        raise VenueError(10001, f"params error: timestamp or recv_window invalid [{sent}] [{window}]")
    if not now_ms - int(window) <= int(sent) < now_ms + AHEAD_MS:
        raise VenueError(10002, detail=(sent, now_ms, window))


def check_signature(headers: Mapping[str, str], payload: str) -> None:
    """Raises `VenueError` 10004. ``payload``: the raw query of a GET, the raw body of a POST."""
    stamp, key = headers.get("x-bapi-timestamp", ""), headers.get("x-bapi-api-key", "")
    text = f"{stamp}{key}{headers.get('x-bapi-recv-window', '')}{payload}"
    sent = headers.get("x-bapi-sign", "")
    if not hmac.compare_digest(sent.encode(), signature(API_SECRET, text).encode()):
        raise VenueError(10004, detail=text)


def check_login(args: object, now_ms: int) -> None:
    """The arguments of a socket's auth command: key, expiry in ms (text or number), signature."""
    if not isinstance(args, list) or len(args) != _LOGIN_ARGS:
        raise VenueError(10001, "Params Error")
    key, expires, sent = (str(part) for part in args)
    check_key(key)
    if not expires.isdecimal() or int(expires) <= now_ms:
        raise VenueError(10004, "Request has expired")
    if not hmac.compare_digest(sent.encode(), signature(API_SECRET, f"{_LOGIN}{expires}").encode()):
        raise VenueError(10004, "Error sign, please check your signature generation algorithm.")
