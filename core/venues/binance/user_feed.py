"""Binance's private stream: the listen key and the events (UDS-03, UDS-13)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import structlog

from core.domain.ids import VenueName
from core.domain.reports import Report
from core.errors import MalformedPayload, Refused
from core.venues.binance import facts
from core.venues.binance.parse import account_event, algo_event, config_event, margin_call_event, order_event
from core.venues.binance.payloads import (
    AccountEvent,
    AlgoEvent,
    ConfigEvent,
    EventName,
    ListenKey,
    MarginCallEvent,
    OrderTradeUpdate,
)
from core.venues.payload import UNREADABLE, shaped
from core.venues.private_session import KeyExpiredError, PrivateSession
from core.venues.symbols import SymbolTable

log = structlog.get_logger(__name__)

_NAME = msgspec.json.Decoder(EventName)
_ORDER = msgspec.json.Decoder(OrderTradeUpdate)
_ALGO = msgspec.json.Decoder(AlgoEvent)
_ACCOUNT = msgspec.json.Decoder(AccountEvent)
_CONFIG = msgspec.json.Decoder(ConfigEvent)
_MARGIN_CALL = msgspec.json.Decoder(MarginCallEvent)

_SILENT = frozenset({"TRADE_LITE"})
"""Known and of no use to us: an early notice without totals, whose trade is told again in full."""
_WORTH_A_LINE = frozenset({"CONDITIONAL_ORDER_TRIGGER_REJECT"})


class UserFrames:
    """Bytes -> reports. The event's name stands first in every frame seen, so it is read without parsing the rest."""

    def __init__(self, symbols: SymbolTable) -> None:
        self._symbols = symbols
        self._decoders: dict[bytes, Callable[[bytes], Sequence[Report] | None]] = {
            b"ORDER_TRADE_UPDATE": lambda frame: order_event(_ORDER.decode(frame), self._symbols),
            b"ACCOUNT_UPDATE": lambda frame: account_event(_ACCOUNT.decode(frame), self._symbols),
            b"ALGO_UPDATE": lambda frame: algo_event(_ALGO.decode(frame), self._symbols),
            b"ACCOUNT_CONFIG_UPDATE": lambda frame: config_event(_CONFIG.decode(frame), self._symbols),
            b"MARGIN_CALL": lambda frame: margin_call_event(_MARGIN_CALL.decode(frame), self._symbols),
            b"listenKeyExpired": _expired,
        }

    def decode(self, frame: bytes) -> Sequence[Report] | None:
        """Reports in order; None for an event we do not know. Raises MalformedPayload, KeyExpiredError."""
        try:
            name = _name(frame)
            decoder = self._decoders.get(name)
            return decoder(frame) if decoder is not None else self._other(name.decode())
        except UNREADABLE as error:
            raise MalformedPayload("binance user stream", str(error)) from None

    def _other(self, name: str) -> Sequence[Report] | None:
        if name in _WORTH_A_LINE:
            log.warning("stream.notice", venue=VenueName.BINANCE, name=name)
            return ()
        if name in _SILENT:
            return ()
        log.info("stream.unknown_event", venue=VenueName.BINANCE, name=name[:40])
        return None


def _name(frame: bytes) -> bytes:
    if frame.startswith(b'{"e":"'):
        return frame[6 : frame.index(b'"', 6)] if b'"' in frame[6:64] else b""
    return _NAME.decode(frame).name.encode()


def _expired(_frame: bytes) -> Sequence[Report]:
    raise KeyExpiredError


class ListenKeySession:
    """Implements private_session.PrivateSession: the key in the URL is login and subscription in one."""

    name = "listen-key"
    topics: Sequence[str] = ()
    pictured: frozenset[str] = frozenset()
    ping = None

    def __init__(self, url: str, frames: UserFrames) -> None:
        self.url = url
        self.decode = frames.decode

    def login(self) -> str | None:
        return None

    def subscription(self) -> Sequence[str]:
        return ()


class BinanceUserFeed:
    """Implements private_session.PrivateFeed; `ccxt` is a `PortedExchange`."""

    venue = VenueName.BINANCE
    keep_alive_seconds = facts.LISTEN_KEY_SECONDS
    connection_seconds = facts.CONNECTION_SECONDS
    gate = None

    def __init__(self, ccxt: Any, stream_root: str, symbols: SymbolTable) -> None:
        self._ccxt, self._stream_root = ccxt, stream_root
        self._frames = UserFrames(symbols)

    async def sessions(self) -> Sequence[PrivateSession]:
        """POST gives the key that is alive, or a new one, and extends it by an hour either way."""
        key = shaped(await self._ccxt.fapiPrivatePostListenKey(), ListenKey, "binance listenKey").listenKey
        # The routed path: on the old unrouted one a key connects and stays silent for ever.
        return (ListenKeySession(f"{self._stream_root}/private/ws?listenKey={key}", self._frames),)

    async def keep_alive(self) -> None:
        try:
            await self._ccxt.fapiPrivatePutListenKey()
        except Refused as error:
            if error.code == facts.NO_SUCH_LISTEN_KEY:
                raise KeyExpiredError from error
            raise
