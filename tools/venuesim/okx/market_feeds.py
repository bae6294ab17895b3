"""One public channel of one contract each: what it last told, and what it has to say now.

A newcomer gets the state as last told; what follows are changes to exactly that, for everybody alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from tools.venuesim.exchange.events import MarketTick
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import Depth, Level
from tools.venuesim.okx.bars import Bar, bars
from tools.venuesim.okx.channels import BOOKS, CANDLES, Topic
from tools.venuesim.okx.formats import Row, stamp
from tools.venuesim.okx.market_rows import CHECKED_LEVELS, MarketRows, checksum

BOOK_REPEAT_MS = 60_000
"""A book that does not change says so after so long, with equal numbers."""
# A state that does not change is told again after so long; other channels tell changes only.
_REPEAT_MS = {"mark-price": 10_000, "open-interest": 3_000, "funding-rate": 60_000}
_FIRST = -1
"""What a whole book stands for as its predecessor."""

Message = dict[str, Any]
"""A push without its argument."""


class Feed(Protocol):
    def snapshot(self, now_ms: int) -> Message | None:
        """What a new subscriber gets at once; None for channels without state."""
        ...

    def note(self, tick: MarketTick) -> None:
        """The market moved; told when the channel's pace allows it."""
        ...

    def news(self, now_ms: int) -> Iterator[Message]:
        """Messages for everybody: what happened since it was last called."""
        ...


class StateFeed:
    """Channels whose every push is the whole state: tickers, mark price, funding, limits, open interest."""

    def __init__(self, name: str, symbol: str, write: Callable[[str, int], Row]) -> None:
        self._symbol = symbol
        self._write = write
        self._repeat_ms = _REPEAT_MS.get(name)
        self._told: Row = {}
        self._told_ms = 0

    def snapshot(self, now_ms: int) -> Message:
        row = self._write(self._symbol, now_ms)
        if not self._told:
            self._told, self._told_ms = _state(row), now_ms
        return {"data": [row]}

    def note(self, tick: MarketTick) -> None:
        """The state is the exchange's."""

    def news(self, now_ms: int) -> Iterator[Message]:
        row = self._write(self._symbol, now_ms)
        state = _state(row)
        again = self._repeat_ms is not None and not 0 <= now_ms - self._told_ms < self._repeat_ms
        if state != self._told or again:
            self._told, self._told_ms = state, now_ms
            yield {"data": [row]}


class TradeFeed:
    """trades and trades-all."""

    def __init__(self, symbol: str, write: Callable[[str, Any], Row]) -> None:
        self._symbol = symbol
        self._write = write
        self._waiting: list[Row] = []

    def snapshot(self, now_ms: int) -> Message | None:  # noqa: ARG002 - the interface's signature
        return None

    def note(self, tick: MarketTick) -> None:
        self._waiting.append(self._write(self._symbol, tick.trade))

    def news(self, now_ms: int) -> Iterator[Message]:  # noqa: ARG002 - the interface's signature
        rows, self._waiting = self._waiting, []
        # One price level each.
        for row in rows:
            yield {"data": [row]}


class CandleFeed:
    """candle<interval> and its likes: the running candle; before the first of a new one, the closed one once more."""

    def __init__(self, exchange: Exchange, symbol: str, interval: str, write: Callable[[Bar], list[str]]) -> None:
        self._exchange = exchange
        self._symbol = symbol
        self._interval = interval
        self._write = write
        self._start_ms = self._last_two()[-1].start_ms

    def snapshot(self, now_ms: int) -> Message:  # noqa: ARG002 - the interface's signature
        return {"data": [self._write(self._last_two()[-1])]}

    def note(self, tick: MarketTick) -> None:
        """The candles are the exchange's."""

    def news(self, now_ms: int) -> Iterator[Message]:  # noqa: ARG002 - the interface's signature
        recent = self._last_two()
        if len(recent) > 1 and self._start_ms < recent[-1].start_ms:
            yield {"data": [self._write(recent[0])]}
        self._start_ms = recent[-1].start_ms
        yield {"data": [self._write(recent[-1])]}

    def _last_two(self) -> list[Bar]:
        return bars(self._exchange, self._symbol, self._interval, 2)


class TopFeed:
    """bbo-tbt and books5: the best levels, always whole."""

    def __init__(self, exchange: Exchange, rows: MarketRows, topic: Topic, symbol: str) -> None:
        self._exchange = exchange
        self._rows = rows
        self._symbol = symbol
        self._depth = BOOKS[topic.channel.name]
        self._names_contract = topic.channel.name != "bbo-tbt"
        self._told: tuple[Sequence[Level], Sequence[Level]] | None = None

    def snapshot(self, now_ms: int) -> Message:
        depth = self._exchange.depth(self._symbol)
        self._told = self._told or self._best(depth)
        return self._message(depth, now_ms)

    def note(self, tick: MarketTick) -> None:
        """The book is the exchange's."""

    def news(self, now_ms: int) -> Iterator[Message]:
        depth = self._exchange.depth(self._symbol)
        best = self._best(depth)
        if best != self._told:
            self._told = best
            yield self._message(depth, now_ms)

    def _best(self, depth: Depth) -> tuple[Sequence[Level], Sequence[Level]]:
        return depth.bids[: self._depth], depth.asks[: self._depth]

    def _message(self, depth: Depth, now_ms: int) -> Message:
        row: Row = {
            "asks": self._rows.levels(self._symbol, depth.asks[: self._depth]),
            "bids": self._rows.levels(self._symbol, depth.bids[: self._depth]),
        }
        if self._names_contract:
            row["instId"] = self._symbol
        return {"data": [{**row, "ts": stamp(now_ms), "seqId": depth.update_id}]}


class BookFeed:
    """books: the levels, then those that changed, chained by numbers.

    The venue has begun to leave out the first message and the checksum; clients of both ages can follow this one.
    """

    def __init__(self, exchange: Exchange, rows: MarketRows, symbol: str) -> None:
        self._exchange = exchange
        self._rows = rows
        self._symbol = symbol
        self._told = exchange.depth(symbol)
        self._told_ms = 0

    def snapshot(self, now_ms: int) -> Message:
        self._told_ms = self._told_ms or now_ms
        bids, asks = self._levels(self._told.bids), self._levels(self._told.asks)
        return self._message("snapshot", bids, asks, _FIRST, now_ms)

    def note(self, tick: MarketTick) -> None:
        """The book is the exchange's."""

    def news(self, now_ms: int) -> Iterator[Message]:
        before, depth = self._told, self._exchange.depth(self._symbol)
        bids, asks = self._changes(before.bids, depth.bids), self._changes(before.asks, depth.asks)
        changed = bool(bids or asks)
        if not changed and 0 <= now_ms - self._told_ms < BOOK_REPEAT_MS:
            return
        if changed:
            self._told = depth
        self._told_ms = now_ms
        yield self._message("update", bids, asks, before.update_id, now_ms)

    def _changes(self, before: Sequence[Level], after: Sequence[Level]) -> list[list[str]]:
        known = {level.price: level.qty for level in before}
        kept = {level.price for level in after}
        changed = self._levels([row for row in after if known.get(row.price) != row.qty])
        gone = self._levels([row for row in before if row.price not in kept])
        return changed + [[row[0], "0", "0", "0"] for row in gone]

    def _levels(self, levels: Sequence[Level]) -> list[list[str]]:
        return self._rows.levels(self._symbol, levels[: BOOKS["books"]])

    def _message(
        self, action: str, bids: list[list[str]], asks: list[list[str]], previous: int, now_ms: int
    ) -> Message:
        told = self._told
        row = {
            "asks": asks,
            "bids": bids,
            "ts": stamp(now_ms),
            "checksum": checksum(self._levels(told.bids[:CHECKED_LEVELS]), self._levels(told.asks[:CHECKED_LEVELS])),
            "prevSeqId": previous,
            "seqId": told.update_id,
        }
        return {"action": action, "data": [row]}


def _state(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "ts"}


def feed(exchange: Exchange, rows: MarketRows, topic: Topic, symbol: str) -> Feed:
    """What speaks for a channel of one contract."""
    name = topic.channel.name
    states = {
        "tickers": rows.ticker,
        "mark-price": rows.mark,
        "price-limit": rows.pushed_limit,
        "open-interest": rows.interest,
        "funding-rate": rows.funding,
        "index-tickers": rows.index_ticker,
    }
    if name in states:
        return StateFeed(name, symbol, states[name])
    if name == "books":
        return BookFeed(exchange, rows, symbol)
    if name in BOOKS:
        return TopFeed(exchange, rows, topic, symbol)
    if name == "trades":
        return TradeFeed(symbol, rows.pushed_trade)
    if name == "trades-all":
        return TradeFeed(symbol, rows.trade)
    kind = next(kind for kind in CANDLES if name.startswith(kind))
    if kind == "candle":
        return CandleFeed(exchange, symbol, name.removeprefix(kind), lambda bar: rows.candle(symbol, bar))
    return CandleFeed(exchange, symbol, name.removeprefix(kind), rows.price_candle)
