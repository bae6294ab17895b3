"""Who may call what: API key, timestamp window and signature, checked in the venue's order."""

from __future__ import annotations

import base64
import hashlib
import hmac

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tools.venuesim.binance.errors import VenueError

# The simulator's one account; published, so that any client can be pointed at it.
API_KEY = "sim"
API_SECRET = "sim"
# The same account with an Ed25519 key, which alone may log a session on; its private key is the hash of its name, so
# that any client can make it (`session_key`) and no key has to lie in a file.
ED25519_KEY = "sim-ed25519"

DEFAULT_RECV_WINDOW_MS = 5_000
MAX_RECV_WINDOW_MS = 60_000
AHEAD_MS = 1_000


def session_key() -> Ed25519PrivateKey:
    """The private key of `ED25519_KEY`; a client gets it as PEM by `private_bytes`."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(ED25519_KEY.encode()).digest())


def signature(secret: str, payload: str) -> str:
    """Lower-case hex HMAC-SHA256 of the query immediately followed by the body, exactly as sent."""
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def without_signature(query: str, body: str) -> str:
    """What was signed: query followed by body, with the `signature` pair removed wherever it stands."""
    return _drop(query) + _drop(body)


def _drop(text: str) -> str:
    if "signature=" not in text:
        return text
    return "&".join(pair for pair in text.split("&") if not pair.startswith("signature="))


def check_key(sent: str | None) -> str:
    """-2014 without a key, -2015 for one the venue does not know; the key otherwise."""
    if not sent:
        raise VenueError(-2014)
    for known in (API_KEY, ED25519_KEY):
        if hmac.compare_digest(sent.encode(), known.encode()):
            return known
    raise VenueError(-2015)


def check_time(timestamp: str | None, recv_window: str | None, now_ms: int) -> None:
    """Accepts iff timestamp < now + 1000 and now - timestamp <= recvWindow; -1102, -1130 or -1021 otherwise."""
    if not timestamp or not timestamp.lstrip("-").isdecimal():
        raise VenueError(-1102, "timestamp")
    window = DEFAULT_RECV_WINDOW_MS
    if recv_window:
        if not recv_window.isdecimal() or int(recv_window) > MAX_RECV_WINDOW_MS:
            raise VenueError(-1130, "recvWindow")
        window = int(recv_window)
    if int(timestamp) >= now_ms + AHEAD_MS:
        raise VenueError(-1021, text="Timestamp for this request was 1000ms ahead of the server's time.")
    if now_ms - int(timestamp) > window:
        raise VenueError(-1021)


def check_signed_by(key: str, sent: str | None, signed: str) -> None:
    """-1102 without a signature, -1022 for one this key did not make. `signed` comes from `without_signature`."""
    if key != ED25519_KEY:
        check_signature(sent, API_SECRET, signed)
        return
    if not sent:
        raise VenueError(-1102, "signature")
    try:
        session_key().public_key().verify(base64.b64decode(sent, validate=True), signed.encode())
    except (InvalidSignature, ValueError):
        raise VenueError(-1022) from None


def check_signature(sent: str | None, secret: str, signed: str) -> None:
    """The same for an HMAC key."""
    if not sent:
        raise VenueError(-1102, "signature")
    if not hmac.compare_digest(sent.encode(), signature(secret, signed).encode()):
        raise VenueError(-1022)
