"""Names of things. Everything is keyed by (venue, symbol); a client order id is a pure function of the intent."""

from __future__ import annotations

from base64 import b32encode
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple, NewType

ClientOrderId = NewType("ClientOrderId", str)
VenueOrderId = NewType("VenueOrderId", str)
TradeId = NewType("TradeId", str)
SignalId = NewType("SignalId", str)
WaveId = NewType("WaveId", str)
PositionId = NewType("PositionId", str)
Symbol = NewType("Symbol", str)
"""ccxt's unified form, e.g. `BTC/USDT:USDT`."""
Asset = NewType("Asset", str)

ID_PREFIX = "bw"
ID_LENGTH = 32
DIGEST_BYTES = 20
"""Make 32 letters, of which no more are kept."""


class VenueName(StrEnum):
    BINANCE = "binance"
    BYBIT = "bybit"
    OKX = "okx"


class InstrumentId(NamedTuple):
    """The key of every order, position, price and limit (INV-8); a tuple, because it is hashed on every frame."""

    venue: VenueName
    symbol: Symbol

    def __str__(self) -> str:
        return f"{self.venue}:{self.symbol}"


class Leg(StrEnum):
    """Which order of one signal's life an id belongs to."""

    ENTRY = "entry"
    STOP = "stop"
    FLATTEN = "flatten"
    CLOSE = "close"
    TAKE_PROFIT = "take_profit"
    """A part of the position, closed by a step of its take profit."""
    TRAIL = "trail"
    """The venue's own trailing order, beside the stop."""
    PROBE = "probe"
    """Sent by pre-flight to see whether orders are taken; cancelled at once."""


CLOSES_ALL = (Leg.FLATTEN, Leg.CLOSE)
"""Those that close all that is left of a position."""


@lru_cache(maxsize=1024)  # asked for again at each candle while a position is held
def client_order_id(account: str, signal_id: str, leg: Leg, attempt: int) -> ClientOrderId:
    """32 lower-case letters and digits, valid on all three venues (ORD-04).

    The same intent gives the same id after a restart and on another host; an attempt is a *different* order of the
    same leg (a replaced stop), never a re-send.
    """
    digest = sha256("\x1f".join((account, signal_id, leg, str(attempt))).encode()).digest()
    letters = b32encode(digest[:DIGEST_BYTES]).decode("ascii").lower()
    return ClientOrderId(ID_PREFIX + letters[: ID_LENGTH - len(ID_PREFIX)])


def is_ours(client_id: str) -> bool:
    """Whether an id seen at a venue has our shape; foreign orders are never touched."""
    return len(client_id) == ID_LENGTH and client_id.startswith(ID_PREFIX) and client_id.isalnum()
