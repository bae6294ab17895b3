"""Binance's public streams: marks and touch of all symbols on a channel each, the touch of wanted ones on its own too.

The two classes of streams have routes of their own; on the wrong one they are acknowledged and silent (§1.1).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from decimal import Decimal
from typing import TypeVar

import msgspec

from core.domain.ids import Symbol
from core.domain.money import Price, decimal_of
from core.errors import MalformedPayload
from core.venues.binance.payloads import BookTicker, MarkPrice
from core.venues.market_stream import Tick
from core.venues.symbols import SymbolTable

_T = TypeVar("_T")
_MARKS = msgspec.json.Decoder(list[MarkPrice])
_TOUCH = msgspec.json.Decoder(BookTicker)
_USD_M = 1


class MarkRoute:
    """`!markPrice@arr@1s`: every symbol once a second."""

    name = "marks"
    batch = 1
    batch_bytes = None
    acknowledges = False
    ping = None
    steady = True
    quiet_seconds = 0.0

    def __init__(self, stream_root: str, symbols: SymbolTable) -> None:
        self.url = f"{stream_root}/market/ws"
        self._symbols = symbols

    def channels(self, symbols: Iterable[Symbol]) -> Sequence[str]:
        del symbols
        return ("!markPrice@arr@1s",)

    def subscription(self, channels: Sequence[str], number: int) -> str:
        return _request("SUBSCRIBE", channels, number)

    def cancellation(self, channels: Sequence[str], number: int) -> str:
        return _request("UNSUBSCRIBE", channels, number)

    def decode(self, frame: bytes) -> Sequence[Tick] | None:
        if not frame.startswith(b"["):
            return None
        ticks = []
        for row in _decode(_MARKS, frame):
            known = self._symbols.unified(row.symbol) if row.market == _USD_M else None
            if known is not None:
                mark = price_told(row.price, "p")
                ticks.append(Tick(symbol=known.symbol, mark=mark, bid=None, ask=None, venue_time_ms=row.time))
        return ticks

    def connected(self) -> None:
        """Every frame here is whole."""

    async def picture(self) -> Sequence[Tick]:
        return ()


class TouchRoute:
    """`!bookTicker`, every symbol that moved every 5 s, and `<symbol>@bookTicker` in real time for wanted ones."""

    name = "touch"
    batch = 100
    batch_bytes = None
    acknowledges = False
    ping = None
    steady = False
    quiet_seconds = 0.0

    def __init__(
        self, stream_root: str, symbols: SymbolTable, all_touches: Callable[[], Awaitable[Sequence[Tick]]]
    ) -> None:
        """`all_touches` reads them by request, because the first frame of all may be 5 s away. Raises VenueError."""
        self.url = f"{stream_root}/public/ws"
        self._symbols = symbols
        self._all_touches = all_touches

    def channels(self, symbols: Iterable[Symbol]) -> Sequence[str]:
        listed = self._symbols.instruments
        own = (f"{listed[s].venue_symbol.lower()}@bookTicker" for s in symbols if s in listed)
        return ("!bookTicker", *own)

    def subscription(self, channels: Sequence[str], number: int) -> str:
        return _request("SUBSCRIBE", channels, number)

    def cancellation(self, channels: Sequence[str], number: int) -> str:
        return _request("UNSUBSCRIBE", channels, number)

    def decode(self, frame: bytes) -> Sequence[Tick] | None:
        if not frame.startswith(b'{"e":"bookTicker"'):
            return None
        row = _decode(_TOUCH, frame)
        known = self._symbols.unified(row.symbol) if row.market == _USD_M else None
        if known is None:
            return None
        bid, ask = price_told(row.bid, "b"), price_told(row.ask, "a")
        return (Tick(symbol=known.symbol, mark=None, bid=bid, ask=ask, venue_time_ms=row.time),)

    def connected(self) -> None:
        """Every frame here is whole."""

    async def picture(self) -> Sequence[Tick]:
        return await self._all_touches()


def _request(method: str, channels: Sequence[str], number: int) -> str:
    return json.dumps({"method": method, "params": list(channels), "id": number})


def _decode(decoder: msgspec.json.Decoder[_T], frame: bytes) -> _T:
    try:
        return decoder.decode(frame)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedPayload("binance market stream", str(error)) from None


def price_told(text: str, field: str) -> Price | None:
    """None for zero: one side of the book is empty, or there is no mark yet. Raises MalformedPayload."""
    try:
        value = decimal_of(text, field)
    except ValueError as error:
        raise MalformedPayload("binance market stream", str(error)) from None
    if value < Decimal(0):
        raise MalformedPayload("binance market stream", f"{field} is negative")
    return Price(value) if value else None
