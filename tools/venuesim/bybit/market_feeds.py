"""One public topic each: what it last told, and what it has to say now.

A subscriber gets the state as last told as a snapshot; what follows are changes to exactly that, for everybody alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Protocol

from tools.venuesim.bybit.errors import Row
from tools.venuesim.bybit.market_frames import Bar, MarketRows, bars
from tools.venuesim.bybit.topics import Topic
from tools.venuesim.exchange.events import MarketTick
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import Depth, Level, PublicTrade

REPEAT_MS = 3_000
"""An unchanged best bid and ask is told again after so long."""
DAY_PART_MS = 1_000
"""How often the slow fields of a ticker are looked at."""


class Feed(Protocol):
    @property
    def topic(self) -> Topic: ...

    def snapshot(self, now_ms: int) -> Row | None:
        """What a new subscriber gets at once; None for topics without state."""
        ...

    def note(self, tick: MarketTick) -> None:
        """The market moved; told when the topic's pace allows it."""
        ...

    def news(self, now_ms: int) -> Iterator[Row]:
        """Frames for everybody: what happened since it was last called."""
        ...


class TickerFeed:
    """tickers.<symbol>: a whole row, then only what changed."""

    def __init__(self, exchange: Exchange, rows: MarketRows, topic: Topic) -> None:
        self.topic = topic
        self._exchange = exchange
        self._rows = rows
        self._day: Row = {}
        self._day_ms = 0
        self._directions = Directions()
        self._told = self._row(0)

    def snapshot(self, now_ms: int) -> Row:
        return self._frame("snapshot", {"symbol": self.topic.symbol, **self._told}, now_ms)

    def note(self, tick: MarketTick) -> None:
        self._directions.of(tick.trade)

    def news(self, now_ms: int) -> Iterator[Row]:
        row = self._row(now_ms)
        changed = {key: value for key, value in row.items() if self._told.get(key) != value}
        self._told = row
        if changed:
            yield self._frame("delta", {"symbol": self.topic.symbol, **changed}, now_ms)

    def _row(self, now_ms: int) -> Row:
        symbol = self.topic.symbol
        if not self._day or not 0 <= now_ms - self._day_ms < DAY_PART_MS:
            self._day, self._day_ms = self._rows.day(symbol), now_ms
        prices = self._rows.prices(self._exchange.quote(symbol))
        return {"tickDirection": self._directions.last, **prices, **self._day}

    def _frame(self, kind: str, data: Row, now_ms: int) -> Row:
        sequence = self._exchange.quote(self.topic.symbol).update_id
        return {"topic": self.topic.name, "type": kind, "data": data, "cs": sequence, "ts": now_ms}


class TradeFeed:
    """publicTrade.<symbol>."""

    def __init__(self, rows: MarketRows, topic: Topic) -> None:
        self.topic = topic
        self._rows = rows
        self._directions = Directions()
        self._waiting: list[Row] = []

    def snapshot(self, now_ms: int) -> Row | None:  # noqa: ARG002 - the interface's signature
        return None

    def note(self, tick: MarketTick) -> None:
        direction = self._directions.of(tick.trade)
        self._waiting.append(self._rows.trade(self.topic.symbol, tick.trade, direction))

    def news(self, now_ms: int) -> Iterator[Row]:
        rows, self._waiting = self._waiting, []
        if rows:
            yield {"topic": self.topic.name, "type": "snapshot", "ts": now_ms, "data": rows}


class KlineFeed:
    """kline.<interval>.<symbol>: the running candle; before the first of a new one, the closed one once more."""

    def __init__(self, exchange: Exchange, rows: MarketRows, topic: Topic) -> None:
        self.topic = topic
        self._exchange = exchange
        self._rows = rows
        self._start_ms = self._last_two()[-1].start_ms

    def snapshot(self, now_ms: int) -> Row:
        return self._frame([self._last_two()[-1]], now_ms)

    def note(self, tick: MarketTick) -> None:
        """The candles are the exchange's."""

    def news(self, now_ms: int) -> Iterator[Row]:
        recent = self._last_two()
        if len(recent) > 1 and self._start_ms < recent[-1].start_ms:
            yield self._frame([recent[0]], now_ms)
        self._start_ms = recent[-1].start_ms
        yield self._frame([recent[-1]], now_ms)

    def _last_two(self) -> list[Bar]:
        return bars(self._exchange, self.topic.symbol, self.topic.detail, 2)

    def _frame(self, recent: list[Bar], now_ms: int) -> Row:
        data = [self._rows.kline(self.topic.detail, bar, now_ms) for bar in recent]
        return {"topic": self.topic.name, "data": data, "ts": now_ms, "type": "snapshot"}


class BookFeed:
    """orderbook.<depth>.<symbol>: the levels, then those that changed; u grows by one with each push."""

    def __init__(self, exchange: Exchange, rows: MarketRows, topic: Topic, number: int) -> None:
        self.topic = topic
        self.number = number
        self._exchange = exchange
        self._rows = rows
        self._told = exchange.depth(topic.symbol)
        self._grid = self._units()

    def snapshot(self, now_ms: int) -> Row:
        return self._frame("snapshot", *self._whole(), now_ms)

    def note(self, tick: MarketTick) -> None:
        """The book is the exchange's."""

    def news(self, now_ms: int) -> Iterator[Row]:
        before, self._told = self._told, self._exchange.depth(self.topic.symbol)
        if self._grid != self._units():
            # Prices that were told on the old grid could not be taken back one by one.
            self._grid = self._units()
            self.number += 1
            yield self.snapshot(now_ms)
            return
        bids, asks = self._changes(before.bids, self._told.bids), self._changes(before.asks, self._told.asks)
        if bids or asks:
            self.number += 1
            yield self._frame("delta", bids, asks, now_ms)

    def _units(self) -> tuple[Decimal, Decimal]:
        instrument = self._exchange.instrument(self.topic.symbol)
        return instrument.tick, instrument.step

    def _whole(self) -> tuple[list[list[str]], list[list[str]]]:
        deepest = int(self.topic.detail)
        symbol = self.topic.symbol
        return (
            self._rows.levels(symbol, self._told.bids[:deepest]),
            self._rows.levels(symbol, self._told.asks[:deepest]),
        )

    def _changes(self, before: tuple[Level, ...], after: tuple[Level, ...]) -> list[list[str]]:
        known = {level.price: level.qty for level in before}
        kept = {level.price for level in after}
        changed = self._rows.levels(self.topic.symbol, [row for row in after if known.get(row.price) != row.qty])
        gone = self._rows.levels(self.topic.symbol, [row for row in before if row.price not in kept])
        return changed + [[price, "0"] for price, _ in gone]

    def _frame(self, kind: str, bids: list[list[str]], asks: list[list[str]], now_ms: int) -> Row:
        data = {"s": self.topic.symbol, "b": bids, "a": asks, "u": self.number, "seq": self._told.update_id}
        head = {"topic": self.topic.name, "type": kind, "ts": now_ms}
        return {**head, "data": data, "cts": self._told.time_ms}


class TopFeed:
    """orderbook.1.<symbol>: the best bid and ask, always whole, also when they have not changed for a while."""

    def __init__(self, exchange: Exchange, rows: MarketRows, topic: Topic, number: int) -> None:
        self.topic = topic
        self.number = number
        self._exchange = exchange
        self._rows = rows
        self._told = exchange.depth(topic.symbol)
        self._told_ms = 0

    def snapshot(self, now_ms: int) -> Row:
        self._told_ms = now_ms
        return self._frame(now_ms)

    def note(self, tick: MarketTick) -> None:
        """The book is the exchange's."""

    def news(self, now_ms: int) -> Iterator[Row]:
        before, self._told = self._told, self._exchange.depth(self.topic.symbol)
        if _best(before) != _best(self._told):
            self.number += 1
        elif now_ms - self._told_ms < REPEAT_MS:
            return
        self._told_ms = now_ms
        yield self._frame(now_ms)

    def _frame(self, now_ms: int) -> Row:
        symbol, told = self.topic.symbol, self._told
        bids, asks = self._rows.levels(symbol, told.bids[:1]), self._rows.levels(symbol, told.asks[:1])
        data = {"s": symbol, "b": bids, "a": asks, "u": self.number, "seq": told.update_id}
        # The venue puts ts before type here, unlike in the deeper books.
        return {
            "topic": self.topic.name,
            "ts": now_ms,
            "type": "snapshot",
            "data": data,
            "cts": told.time_ms,
        }


class PriceLimitFeed:
    """priceLimit.<symbol>: the band of limit prices, when it moved."""

    def __init__(self, rows: MarketRows, topic: Topic) -> None:
        self.topic = topic
        self._rows = rows
        self._told = rows.price_limit(topic.symbol)

    def snapshot(self, now_ms: int) -> Row:
        return {"topic": self.topic.name, "data": self._told, "ts": now_ms}

    def note(self, tick: MarketTick) -> None:
        """The band follows the mark price."""

    def news(self, now_ms: int) -> Iterator[Row]:
        row = self._rows.price_limit(self.topic.symbol)
        if row != self._told:
            self._told = row
            yield self.snapshot(now_ms)


class LiquidationFeed:
    """allLiquidation.<symbol>."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self._waiting: list[Row] = []

    def snapshot(self, now_ms: int) -> Row | None:  # noqa: ARG002 - the interface's signature
        return None

    def note(self, tick: MarketTick) -> None:
        """The market has no part in it."""

    def add(self, row: Row) -> None:
        """A position of this symbol was liquidated."""
        self._waiting.append(row)

    def news(self, now_ms: int) -> Iterator[Row]:
        rows, self._waiting = self._waiting, []
        if rows:
            yield {"topic": self.topic.name, "type": "snapshot", "ts": now_ms, "data": rows}


class Directions:
    """How each trade's price compares with the one before: PlusTick, ZeroPlusTick, MinusTick, ZeroMinusTick."""

    def __init__(self) -> None:
        self.last = "ZeroPlusTick"
        self._before: PublicTrade | None = None

    def of(self, trade: PublicTrade) -> str:
        """The direction of the next trade."""
        if self._before is not None:
            change = trade.price - self._before.price
            if change:
                self.last = "PlusTick" if change > 0 else "MinusTick"
            elif not self.last.startswith("Zero"):
                self.last = f"Zero{self.last}"
        self._before = trade
        return self.last


def _best(depth: Depth) -> tuple[Level, Level]:
    return depth.bids[0], depth.asks[0]
