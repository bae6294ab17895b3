"""Binance's public streams: `!markPrice@arr@1s` for every symbol, `<s>@bookTicker` for wanted ones."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec

from core.domain.ids import Symbol, VenueName
from core.domain.money import Price, decimal_of
from core.engine.ports import Quote
from core.errors import MalformedPayload
from core.venues.binance import facts
from core.venues.binance.payloads import BookTicker, MarkPrice
from core.venues.symbols import SymbolTable

_MARKS = msgspec.json.Decoder(list[MarkPrice])
_BOOK = msgspec.json.Decoder(BookTicker)
_USD_M = 1


class BinanceMarketFeed:
    """Implements market_stream.MarketFeed. Frames are kept as they came and become numbers when someone asks: an array
    of all symbols arrives every second and few of them are looked at."""

    venue = VenueName.BINANCE
    connection_seconds = facts.CONNECTION_SECONDS

    def __init__(self, stream_root: str, symbols: SymbolTable) -> None:
        self._symbols = symbols
        self.marks_url = f"{stream_root}/market/ws/!markPrice@arr@1s"
        self.books_url = f"{stream_root}/public/ws"
        self._marks: dict[str, tuple[MarkPrice, float]] = {}
        self._books: dict[str, tuple[BookTicker, float]] = {}

    def lists(self, symbol: Symbol) -> bool:
        return symbol in self._symbols.instruments

    def subscription(self, symbols: Sequence[Symbol], number: int) -> str:
        streams = [f"{self._symbols.venue_symbol(symbol).lower()}@bookTicker" for symbol in symbols]
        return json.dumps({"method": "SUBSCRIBE", "params": streams, "id": number})

    def take_marks(self, frame: bytes, received: float) -> None:
        if not frame.startswith(b"["):
            return  # an answer to a control frame
        try:
            rows = _MARKS.decode(frame)
        except msgspec.DecodeError as error:
            raise MalformedPayload("binance mark prices", str(error)) from None
        marks = self._marks
        for row in rows:
            known = marks.get(row.symbol)
            if row.market == _USD_M and (known is None or row.time >= known[0].time):
                marks[row.symbol] = (row, received)

    def take_book(self, frame: bytes, received: float) -> None:
        if b'"bookTicker"' not in frame[:64]:
            return
        try:
            row = _BOOK.decode(frame)
        except msgspec.DecodeError as error:
            raise MalformedPayload("binance book ticker", str(error)) from None
        known = self._books.get(row.symbol)
        if known is None or row.time >= known[0].time:
            self._books[row.symbol] = (row, received)

    def book_received(self, symbol: Symbol) -> float | None:
        book = self._books.get(self._symbols.venue_symbol(symbol))
        return None if book is None else book[1]

    def forget_books(self) -> None:
        self._books.clear()

    def quote(self, symbol: Symbol) -> Quote | None:
        """None before the first frame. The age is the mark price's, which comes every second; a book is pushed only
        when it changes, so its own age says nothing."""
        if symbol not in self._symbols.instruments:
            return None
        venue_symbol = self._symbols.venue_symbol(symbol)
        mark, book = self._marks.get(venue_symbol), self._books.get(venue_symbol)
        if mark is None and book is None:
            return None
        time, received = (mark[0].time, mark[1]) if mark is not None else (book[0].time, book[1]) if book else (0, 0.0)
        return Quote(
            mark=None if mark is None else _positive(mark[0].price),
            bid=None if book is None else _positive(book[0].bid),
            ask=None if book is None else _positive(book[0].ask),
            venue_time_ms=time,
            received=received,
        )


def _positive(text: str) -> Price | None:
    """A tick that is not a price (0, negative, NaN) is none (MKT-11)."""
    try:
        value = decimal_of(text, "price")
    except ValueError:
        return None
    return Price(value) if value > 0 else None
