"""Who listens to which public topic, and when a topic may speak."""

from __future__ import annotations

from typing import Protocol

from tools.venuesim.bybit.market_feeds import (
    BookFeed,
    Feed,
    KlineFeed,
    LiquidationFeed,
    PriceLimitFeed,
    TickerFeed,
    TopFeed,
    TradeFeed,
)
from tools.venuesim.bybit.market_frames import MarketRows
from tools.venuesim.bybit.topics import Topic
from tools.venuesim.exchange.events import Event, MarketTick, OrderTrade
from tools.venuesim.exchange.model import Origin
from tools.venuesim.json_text import json_text
from tools.venuesim.wire import Host


class Listener(Protocol):
    """A socket as the market streams see it."""

    def push(self, payload: str, *, event: str, symbol: str) -> None:
        """Sends one frame."""


class _Subscription:
    __slots__ = ("feed", "listeners", "spoke_ms", "waits")

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.listeners: dict[int, Listener] = {}
        self.spoke_ms = 0
        self.waits = False
        """Something is to be told as soon as the topic's pace allows."""


class MarketStreams:
    """Subscriptions by topic. A symbol is watched at the engine only while somebody listens to it."""

    def __init__(self, host: Host, rows: MarketRows) -> None:
        self._host = host
        self._exchange = host.exchange
        self._rows = rows
        self._by_name: dict[str, _Subscription] = {}
        self._by_symbol: dict[str, list[_Subscription]] = {}
        self._numbers: dict[str, int] = {}
        """The last u of every book topic there ever was."""

    def knows(self, symbol: str) -> bool:
        """Whether there is such a contract."""
        return any(row.symbol == symbol for row in self._exchange.instruments())

    def subscribe(self, listener: Listener, topic: Topic) -> None:
        """Start pushing; the topic's state comes first. The symbol must exist."""
        subscription = self._by_name.get(topic.name)
        if subscription is None:
            self._exchange.watch(topic.symbol)
            subscription = self._by_name[topic.name] = _Subscription(self._feed(topic))
            self._by_symbol.setdefault(topic.symbol, []).append(subscription)
        subscription.listeners[id(listener)] = listener
        frame = subscription.feed.snapshot(self._host.now_ms())
        if frame is not None:
            listener.push(json_text(frame), event=topic.kind, symbol=topic.symbol)

    def unsubscribe(self, listener: Listener, topic: Topic) -> None:
        """Stop pushing."""
        subscription = self._by_name.get(topic.name)
        if subscription is None or subscription.listeners.pop(id(listener), None) is None or subscription.listeners:
            return
        del self._by_name[topic.name]
        self._by_symbol[topic.symbol].remove(subscription)
        if isinstance(subscription.feed, BookFeed | TopFeed):
            self._numbers[topic.name] = subscription.feed.number
        self._exchange.unwatch(topic.symbol)

    def book_number(self, symbol: str) -> int:
        """The u of GET orderbook: that of the deepest book that is streamed, as changes are put on top of it."""
        books = [row.feed for row in self._by_symbol.get(symbol, ()) if isinstance(row.feed, BookFeed)]
        if not books:
            return self._exchange.depth(symbol).update_id
        return max(books, key=lambda feed: int(feed.topic.detail)).number

    def on_event(self, event: Event) -> None:
        """Moves of markets, and liquidations."""
        match event:
            case MarketTick(quote=quote):
                for subscription in list(self._by_symbol.get(quote.symbol, ())):
                    subscription.feed.note(event)
                    self._speak(subscription)
            case OrderTrade(order=order) if order.origin is Origin.LIQUIDATION:
                self._liquidated(event)

    def _liquidated(self, event: OrderTrade) -> None:
        order, fill = event.order, event.fill
        for subscription in list(self._by_symbol.get(order.symbol, ())):
            if isinstance(subscription.feed, LiquidationFeed):
                price = order.price or fill.price
                subscription.feed.add(self._rows.liquidation(order.symbol, order.side, fill.qty, price, fill.time_ms))
                self._speak(subscription)

    def _speak(self, subscription: _Subscription) -> None:
        """Now, or when the topic's pace allows it."""
        pace_ms = subscription.feed.topic.pace_ms
        now_ms = self._host.now_ms()
        # The venue's clock may have been turned back meanwhile: nobody waits longer than the pace.
        wait_ms = min(pace_ms, subscription.spoke_ms + pace_ms - now_ms)
        if wait_ms <= 0:
            self._tell(subscription, now_ms)
        elif not subscription.waits:
            subscription.waits = True
            self._host.call_later(wait_ms, lambda: self._tell_late(subscription))

    def _tell_late(self, subscription: _Subscription) -> None:
        subscription.waits = False
        if subscription.listeners:
            self._tell(subscription, self._host.now_ms())

    def _tell(self, subscription: _Subscription, now_ms: int) -> None:
        subscription.spoke_ms = now_ms
        topic = subscription.feed.topic
        for frame in subscription.feed.news(now_ms):
            text = json_text(frame)
            for listener in list(subscription.listeners.values()):
                listener.push(text, event=topic.kind, symbol=topic.symbol)

    def _feed(self, topic: Topic) -> Feed:
        exchange, rows = self._exchange, self._rows
        match topic.kind:
            case "tickers":
                return TickerFeed(exchange, rows, topic)
            case "publicTrade":
                return TradeFeed(rows, topic)
            case "kline":
                return KlineFeed(exchange, rows, topic)
            case "priceLimit":
                return PriceLimitFeed(rows, topic)
            case "allLiquidation":
                return LiquidationFeed(topic)
        number = max(exchange.depth(topic.symbol).update_id, self._numbers.get(topic.name, 0) + 1)
        if topic.detail == "1":
            return TopFeed(exchange, rows, topic, number)
        return BookFeed(exchange, rows, topic, number)
