"""Binance's public streams: marks and touch of all symbols on a channel each, the touch of wanted ones on its own too.

Trades of wanted symbols come on a socket of their own, where somebody goes by them.

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
from core.venues.binance.payloads import AggregateTrade, BookTicker, MarkPrice
from core.venues.market_stream import Tick
from core.venues.payload import UNREADABLE
from core.venues.symbols import SymbolTable

_T = TypeVar("_T")
_MARKS = msgspec.json.Decoder(list[MarkPrice])
_MARK = msgspec.json.Decoder(MarkPrice)
_TRADE = msgspec.json.Decoder(AggregateTrade)
_TOUCH = msgspec.json.Decoder(BookTicker)
_ALL_MARKS, _ALL_TOUCHES = "!markPrice@arr@1s", "!bookTicker"
CONFIRM_SECONDS = 10.0
"""A symbol that has told nothing for so long is asked for anew: one that does not move, in vain but at no cost."""
_USD_M = 1


class MarkRoute:
    """`!markPrice@arr@1s`: every symbol once a second. One that is missing there gets a channel of its own, on this
    connection."""

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
        self._alone: set[Symbol] = set()

    def channels(self, symbols: Iterable[Symbol]) -> Sequence[str]:
        return (_ALL_MARKS, *(self._own(symbol) for symbol in symbols if symbol in self._alone))

    def anew(self, symbols: Iterable[Symbol]) -> Sequence[str]:
        self._alone.update(symbol for symbol in symbols if symbol in self._symbols.instruments)
        return [self._own(symbol) for symbol in symbols if symbol in self._alone]

    def subscription(self, channels: Sequence[str], number: int) -> str:
        return _request("SUBSCRIBE", channels, number)

    def cancellation(self, channels: Sequence[str], number: int) -> str:
        return _request("UNSUBSCRIBE", channels, number)

    def decode(self, frame: bytes) -> Sequence[Tick] | None:
        if frame.startswith(b"["):
            return self._ticks(_decode(_MARKS, frame), _ALL_MARKS)
        if frame.startswith(b'{"e":"markPriceUpdate"'):
            row = _decode(_MARK, frame)
            return self._ticks([row], f"{row.symbol.lower()}@markPrice@1s")
        return None

    def confirmed_within(self, channel: str) -> float:
        del channel
        return CONFIRM_SECONDS

    def connected(self) -> None:
        self._alone.clear()

    async def picture(self) -> Sequence[Tick]:
        return ()

    def _ticks(self, rows: list[MarkPrice], channel: str) -> list[Tick]:
        ticks = []
        for row in rows:
            known = self._symbols.unified(row.symbol) if row.market == _USD_M else None
            if known is not None:
                mark = price_told(row.price, "p")
                ticks.append(Tick(known.symbol, mark, None, None, row.time, channel=channel))
        return ticks

    def _own(self, symbol: Symbol) -> str:
        return f"{self._symbols.venue_symbol(symbol).lower()}@markPrice@1s"


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
        return (_ALL_TOUCHES, *self.anew(symbols))

    def anew(self, symbols: Iterable[Symbol]) -> Sequence[str]:
        listed = self._symbols.instruments
        return [f"{listed[s].venue_symbol.lower()}@bookTicker" for s in symbols if s in listed]

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
        return (Tick(known.symbol, None, bid, ask, row.time, channel=f"{row.symbol.lower()}@bookTicker"),)

    def confirmed_within(self, channel: str) -> float:
        """Frames do not say which channel they are of: what all symbols share cannot be proven by one."""
        return 0.0 if channel == _ALL_TOUCHES else CONFIRM_SECONDS

    def connected(self) -> None:
        """Every frame here is whole."""

    async def picture(self) -> Sequence[Tick]:
        return await self._all_touches()


class TradeRoute:
    """`<symbol>@aggTrade` of wanted symbols. Silence is no age: nothing may have been traded."""

    name = "trades"
    batch = 100
    batch_bytes = None
    acknowledges = False
    ping = None
    steady = False
    quiet_seconds = 0.0

    def __init__(self, stream_root: str, symbols: SymbolTable) -> None:
        self.url = f"{stream_root}/market/ws"
        self._symbols = symbols

    def channels(self, symbols: Iterable[Symbol]) -> Sequence[str]:
        listed = self._symbols.instruments
        return [f"{listed[s].venue_symbol.lower()}@aggTrade" for s in symbols if s in listed]

    def anew(self, symbols: Iterable[Symbol]) -> Sequence[str]:
        return self.channels(symbols)

    def subscription(self, channels: Sequence[str], number: int) -> str:
        return _request("SUBSCRIBE", channels, number)

    def cancellation(self, channels: Sequence[str], number: int) -> str:
        return _request("UNSUBSCRIBE", channels, number)

    def decode(self, frame: bytes) -> Sequence[Tick] | None:
        if not frame.startswith(b'{"e":"aggTrade"'):
            return None
        row = _decode(_TRADE, frame)
        known = self._symbols.unified(row.symbol) if row.market == _USD_M else None
        if known is None:
            return None
        return (Tick(known.symbol, None, None, None, row.time, last=price_told(row.price, "p")),)

    def confirmed_within(self, channel: str) -> float:
        """Nothing may be traded for hours."""
        del channel
        return 0.0

    def connected(self) -> None:
        """Every frame here is whole."""

    async def picture(self) -> Sequence[Tick]:
        return ()


def _request(method: str, channels: Sequence[str], number: int) -> str:
    return json.dumps({"method": method, "params": list(channels), "id": number})


def _decode(decoder: msgspec.json.Decoder[_T], frame: bytes) -> _T:
    try:
        return decoder.decode(frame)
    except UNREADABLE as error:
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
