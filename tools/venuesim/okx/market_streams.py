"""Who listens to which public channel, and when a channel may speak."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tools.venuesim.exchange.events import Event, MarketTick, OrderTrade, SymbolChanged
from tools.venuesim.exchange.model import Origin
from tools.venuesim.json_text import json_text
from tools.venuesim.okx.channels import Topic
from tools.venuesim.okx.formats import Row
from tools.venuesim.okx.market_feeds import Feed, Message, feed
from tools.venuesim.okx.market_rows import MarketRows
from tools.venuesim.okx.symbol_table import SymbolTable
from tools.venuesim.wire import Host

Key = tuple[tuple[str, str], ...]


class Listener(Protocol):
    """A socket as the streams see it."""

    def push(self, payload: str, *, event: str, symbol: str | None = None, client_id: str | None = None) -> None:
        """Sends one frame."""


class _Subscription:
    __slots__ = ("feed", "listeners", "spoke_ms", "topic", "waits")

    def __init__(self, topic: Topic, source: Feed | None) -> None:
        self.topic = topic
        self.feed = source
        """None for channels that follow events instead of a market."""
        self.listeners: dict[int, Listener] = {}
        self.spoke_ms = 0
        self.waits = False
        """Something is to be told as soon as the channel's pace allows."""


class MarketStreams:
    """Subscriptions by argument. A contract is watched at the engine only while somebody listens to it."""

    def __init__(self, host: Host, table: SymbolTable) -> None:
        self._host = host
        self._exchange = host.exchange
        self._table = table
        self._rows = MarketRows(host.exchange, table)
        self._by_key: dict[Key, _Subscription] = {}
        self._by_symbol: dict[str, list[_Subscription]] = {}

    def subscribe(self, listener: Listener, topic: Topic) -> None:
        """Start pushing; the channel's state comes first."""
        subscription = self._by_key.get(topic.key)
        if subscription is None:
            subscription = self._by_key[topic.key] = self._opened(topic)
        subscription.listeners[id(listener)] = listener
        message = subscription.feed.snapshot(self._host.now_ms()) if subscription.feed is not None else None
        if message is not None:
            listener.push(_text(topic, message), event=topic.channel.name, symbol=topic.symbol)

    def unsubscribe(self, listener: Listener, topic: Topic) -> None:
        """Stop pushing."""
        subscription = self._by_key.get(topic.key)
        if subscription is None or subscription.listeners.pop(id(listener), None) is None or subscription.listeners:
            return
        del self._by_key[topic.key]
        if topic.symbol is not None and subscription.feed is not None:
            self._by_symbol[topic.symbol].remove(subscription)
            self._exchange.unwatch(topic.symbol)

    def on_event(self, event: Event) -> None:
        """Moves of markets, changed contracts, and liquidations."""
        match event:
            case MarketTick(quote=quote):
                for subscription in list(self._by_symbol.get(quote.symbol, ())):
                    if subscription.feed is not None:
                        subscription.feed.note(event)
                        self._speak(subscription)
            case SymbolChanged(symbol=symbol):
                self._announce("instruments", symbol, lambda: self._table.wire_row(symbol))
            case OrderTrade(order=order, fill=fill) if order.origin is Origin.LIQUIDATION:
                price = order.price or fill.price
                self._announce(
                    "liquidation-orders",
                    order.symbol,
                    lambda: self._rows.liquidation(order.symbol, order.side, fill.qty, price, fill.time_ms),
                )

    def _opened(self, topic: Topic) -> _Subscription:
        if topic.symbol is None:
            return _Subscription(topic, None)
        self._exchange.watch(topic.symbol)
        subscription = _Subscription(topic, feed(self._exchange, self._rows, topic, topic.symbol))
        self._by_symbol.setdefault(topic.symbol, []).append(subscription)
        return subscription

    def _announce(self, channel: str, symbol: str, write: Callable[[], Row]) -> None:
        """One row to those who follow a channel for all contracts, or for some that this one is among."""
        for subscription in list(self._by_key.values()):
            topic = subscription.topic
            if topic.channel.name == channel and topic.has_contracts and self._is_among(topic, symbol):
                self._send(subscription, {"data": [write()]}, symbol)

    def _is_among(self, topic: Topic, symbol: str) -> bool:
        family, name = topic.argument.get("instFamily"), topic.argument.get("instId")
        return family in (None, self._table.family(symbol)) and name in (None, symbol)

    def _speak(self, subscription: _Subscription) -> None:
        """Now, or when the channel's pace allows it."""
        pace_ms = subscription.topic.channel.pace_ms
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
        if subscription.feed is not None:
            for message in subscription.feed.news(now_ms):
                self._send(subscription, message, subscription.topic.symbol)

    def _send(self, subscription: _Subscription, message: Message, symbol: str | None) -> None:
        topic = subscription.topic
        text = _text(topic, message)
        for listener in list(subscription.listeners.values()):
            listener.push(text, event=topic.channel.name, symbol=symbol)


def _text(topic: Topic, message: Message) -> str:
    return json_text({"arg": topic.argument, **message})
