"""Who may call: key, passphrase, timestamp window and signature, over REST and at the login of a socket."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from tools.venuesim.okx.errors import VenueError
from tools.venuesim.wire import Request

# The simulator's one account; published, so that any client can be pointed at it.
API_KEY = "sim"
API_SECRET = "sim"
PASSPHRASE = "sim"

WINDOW_MS = 30_000
LOGIN_PATH = "/users/self/verify"


def signature(secret: str, payload: str) -> str:
    """Base64 HMAC-SHA256 of timestamp, method, path with its query, and body, exactly as sent."""
    return base64.b64encode(hmac.new(secret.encode(), payload.encode(), hashlib.sha256).digest()).decode()


def check_request(request: Request, now_ms: int) -> None:
    """Presence, key, passphrase, time, signature: the first thing wrong is raised as ``VenueError`` 501xx."""
    headers = request.headers
    for name, code in (("key", 50103), ("passphrase", 50104), ("sign", 50106), ("timestamp", 50107)):
        if not headers.get(f"ok-access-{name}"):
            raise VenueError(code)
    stamp = headers["ok-access-timestamp"]
    if headers["ok-access-key"] != API_KEY:
        raise VenueError(50111)
    if headers["ok-access-passphrase"] != PASSPHRASE:
        raise VenueError(50105)
    check_time(parsed_time(stamp), now_ms)
    target = f"{request.path}?{request.query}" if request.query else request.path
    body = request.body.decode("utf-8", "replace")
    if not _same(headers["ok-access-sign"], signature(API_SECRET, f"{stamp}{request.method}{target}{body}")):
        raise VenueError(50113)


def parsed_time(text: str) -> int:
    """ISO 8601 or seconds since the epoch, as ms. Raises ``VenueError`` 50112."""
    try:
        if "T" in text:
            moment = datetime.fromisoformat(text)
            return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
        return int(Decimal(text) * 1000)
    except (ValueError, InvalidOperation, OverflowError):
        raise VenueError(50112) from None


def check_time(stamp_ms: int, now_ms: int) -> None:
    """Raises ``VenueError`` 50102 beyond 30 seconds on either side."""
    if abs(now_ms - stamp_ms) > WINDOW_MS:
        raise VenueError(50102)


def check_login(arguments: Mapping[str, object], now_ms: int) -> None:
    """The argument of a login on a socket; its timestamp counts seconds. Raises ``VenueError`` 600xx."""
    stamp = str(arguments.get("timestamp") or "")
    if arguments.get("apiKey") != API_KEY:
        raise VenueError(60005)
    if arguments.get("passphrase") != PASSPHRASE:
        raise VenueError(60024)
    try:
        stamp_ms = int(Decimal(stamp) * 1000)
    except (InvalidOperation, ValueError):
        raise VenueError(60004) from None
    if abs(now_ms - stamp_ms) > WINDOW_MS:
        raise VenueError(60006)
    if not _same(str(arguments.get("sign") or ""), signature(API_SECRET, f"{stamp}GET{LOGIN_PATH}")):
        raise VenueError(60007)


def _same(sent: str, right: str) -> bool:
    return hmac.compare_digest(sent.encode(), right.encode())
