"""Who listens to which market stream, and when each stream speaks: with the market, or by the clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from tools.venuesim.binance.market_data import INTERVALS
from tools.venuesim.binance.market_frames import MarketFrames, Row
from tools.venuesim.binance.stream_names import Stream
from tools.venuesim.binance.symbol_table import SymbolTable
from tools.venuesim.exchange.events import Event, MarketTick, OrderTrade, SymbolChanged
from tools.venuesim.exchange.model import Depth, Origin
from tools.venuesim.json_text import json_text
from tools.venuesim.wire import Host

SECOND_MS = 1_000
LONG_JUMP_MS = 60_000
# Kinds that speak when something happens to a contract.
_ON_EVENT = frozenset({"forceOrder", "contractInfo"})
# Kinds that speak when the market moves; the others speak every so many seconds.
_WITH_MARKET = frozenset({"bookTicker", "trade", "aggTrade", "kline", "depth", "partialDepth"})
_MARK_SECONDS = {"1s": 1, "3s": 3, None: 3}
_SECONDS = {"miniTicker": 2, "ticker": 2, "miniTickerArray": 1, "tickerArray": 1, "bookTicker": 5}


class Listener(Protocol):
    """A socket as the market streams see it."""

    def push(self, stream: str, payload: str, *, event: str, symbol: str | None) -> None:
        """Sends one payload, wrapped if the socket is a combined one."""


@dataclass(slots=True)
class _Subscription:
    stream: Stream
    listeners: dict[int, Listener] = field(default_factory=dict)
    depth: Depth | None = None
    """The book as last told, for streams of changes."""
    candle_ms: int = 0
    """Open time of the candle told last."""
    told: dict[str, int] = field(default_factory=dict)
    """All-symbol streams: the update last told of each symbol."""

    @property
    def by_clock_s(self) -> int | None:
        """Seconds between two frames, None for streams that follow the market."""
        if self.stream.kind in ("markPrice", "markPriceArray"):
            return _MARK_SECONDS[self.stream.detail]
        if self.stream.kind in _ON_EVENT or (self.stream.kind in _WITH_MARKET and self.stream.symbol is not None):
            return None
        return _SECONDS[self.stream.kind]


class MarketStreams:
    """Subscriptions by stream name. A symbol is watched at the engine only while somebody needs its ticks."""

    def __init__(self, host: Host, table: SymbolTable) -> None:
        self._host = host
        self._exchange = host.exchange
        self._frames = MarketFrames(host.exchange, table)
        self._by_name: dict[str, _Subscription] = {}
        self._by_symbol: dict[str, list[_Subscription]] = {}
        self._symbols = {instrument.symbol for instrument in host.exchange.instruments()}
        self._clock_runs = False
        self._forced: dict[str, OrderTrade] = {}
        """The largest liquidation of each symbol in the running second."""

    def subscribe(self, listener: Listener, stream: Stream) -> None:
        """Starts pushing `stream` to `listener`; an unknown symbol stays silent, as on the venue."""
        if stream.symbol is not None and stream.symbol not in self._symbols:
            return
        subscription = self._by_name.get(stream.name)
        if subscription is None:
            subscription = self._by_name[stream.name] = _Subscription(stream)
            self._start(subscription)
        subscription.listeners[id(listener)] = listener

    def unsubscribe(self, listener: Listener, stream: Stream) -> None:
        """Stops pushing `stream` to `listener`."""
        subscription = self._by_name.get(stream.name)
        if subscription is None or subscription.listeners.pop(id(listener), None) is None:
            return
        if subscription.listeners:
            return
        del self._by_name[stream.name]
        if stream.kind in _WITH_MARKET and stream.symbol is not None:
            self._by_symbol[stream.symbol].remove(subscription)
            self._exchange.unwatch(stream.symbol)

    def on_tick(self, tick: MarketTick) -> None:
        """Pushes everything that follows this symbol's market."""
        for subscription in list(self._by_symbol.get(tick.quote.symbol, ())):
            for payload in self._of_tick(subscription, tick, self._host.now_ms()):
                self._push(subscription, payload)

    def on_event(self, event: Event) -> None:
        """Liquidations and changes of contracts."""
        match event:
            case OrderTrade(order=order) if order.origin is Origin.LIQUIDATION:
                self._force(event)
            case SymbolChanged(symbol=symbol, brackets=brackets):
                for subscription in self._speaking("contractInfo", symbol):
                    instrument = self._exchange.instrument(symbol)
                    frame = self._frames.contract_info(instrument, self._host.now_ms(), brackets=brackets)
                    self._push(subscription, frame)

    def _force(self, event: OrderTrade) -> None:
        """At most one a second and symbol, the largest."""
        symbol = event.order.symbol
        known = self._forced.get(symbol)
        if known is None:
            self._host.call_later(SECOND_MS, lambda: self._tell_forced(symbol))
        if known is None or event.fill.qty > known.fill.qty:
            self._forced[symbol] = event

    def _tell_forced(self, symbol: str) -> None:
        event = self._forced.pop(symbol)
        for subscription in self._speaking("forceOrder", symbol):
            self._push(subscription, self._frames.force_order(event.order, event.fill, self._host.now_ms()))

    def _speaking(self, kind: str, symbol: str) -> list[_Subscription]:
        return [
            row for row in self._by_name.values() if row.stream.kind == kind and row.stream.symbol in (None, symbol)
        ]

    def _start(self, subscription: _Subscription) -> None:
        symbol = subscription.stream.symbol
        if subscription.stream.kind in _ON_EVENT:
            return
        if subscription.by_clock_s is None and symbol is not None:
            if subscription.stream.kind in ("depth", "partialDepth"):
                subscription.depth = self._exchange.depth(symbol)
            self._by_symbol.setdefault(symbol, []).append(subscription)
            self._exchange.watch(symbol)
        elif not self._clock_runs:
            self._clock_runs = True
            self._wait_for_second()

    def _wait_for_second(self) -> None:
        behind_ms = self._host.behind_ms()
        # Frames of the seconds a long jump of the clock skips would be old news by the thousand.
        skipped_ms = int(behind_ms) if behind_ms > LONG_JUMP_MS else 0
        delay_ms = skipped_ms + SECOND_MS - (self._host.now_ms() + skipped_ms) % SECOND_MS
        self._host.call_later(delay_ms, self._on_second)

    def _on_second(self) -> None:
        by_clock = [subscription for subscription in self._by_name.values() if subscription.by_clock_s is not None]
        if not by_clock:
            self._clock_runs = False
            return
        now_ms = self._host.now_ms()
        second = round(now_ms / SECOND_MS)
        for subscription in by_clock:
            if second % (subscription.by_clock_s or 1) == 0:
                for payload in self._of_second(subscription, now_ms):
                    self._push(subscription, payload)
        self._wait_for_second()

    def _of_tick(self, subscription: _Subscription, tick: MarketTick, now_ms: int) -> Iterator[Row]:
        stream, symbol = subscription.stream, tick.quote.symbol
        match stream.kind:
            case "bookTicker":
                yield self._frames.book_ticker(tick.quote, now_ms)
            case "trade":
                yield self._frames.trade(symbol, tick.trade, now_ms)
            case "aggTrade":
                yield self._frames.agg_trade(symbol, tick.trade, now_ms)
            case "kline":
                yield from self._klines(subscription, tick, now_ms)
            case _:
                yield from self._depths(subscription, symbol, now_ms)

    def _klines(self, subscription: _Subscription, tick: MarketTick, now_ms: int) -> Iterator[Row]:
        """The running candle; before the first frame of a new one, the last frame of the one that closed."""
        interval = subscription.stream.detail or ""
        length_ms = INTERVALS.get(interval)
        if length_ms is None:
            return
        symbol = tick.quote.symbol
        candles = self._exchange.candles(symbol, length_ms, 2)
        if len(candles) > 1 and 0 < subscription.candle_ms < candles[-1].open_ms:
            before = tick.trade.id - candles[-1].trades
            yield self._frames.kline(symbol, interval, candles[-2], before, now_ms)
        subscription.candle_ms = candles[-1].open_ms
        yield self._frames.kline(symbol, interval, candles[-1], tick.trade.id, now_ms)

    def _depths(self, subscription: _Subscription, symbol: str, now_ms: int) -> Iterator[Row]:
        before, depth = subscription.depth, self._exchange.depth(symbol)
        subscription.depth = depth
        if before is None or before.update_id >= depth.update_id:
            return
        if subscription.stream.kind == "partialDepth":
            levels = int(subscription.stream.detail or 5)
            yield self._frames.partial_depth(symbol, depth, levels, before.update_id, now_ms)
        else:
            yield self._frames.depth_change(symbol, before, depth, now_ms)

    def _of_second(self, subscription: _Subscription, now_ms: int) -> Iterator[Row | list[Row]]:
        frames, symbol = self._frames, subscription.stream.symbol
        everything = sorted(self._symbols)
        match subscription.stream.kind:
            case "markPrice" if symbol is not None:
                yield frames.mark_price(symbol, now_ms)
            case "miniTicker" if symbol is not None:
                yield frames.mini_ticker(symbol, now_ms)
            case "ticker" if symbol is not None:
                yield frames.ticker(symbol, now_ms)
            case "markPriceArray":
                yield [frames.mark_price(name, now_ms) for name in everything]
            case "miniTickerArray":
                yield [frames.mini_ticker(name, now_ms) for name in self._changed(subscription)]
            case "tickerArray":
                yield [frames.ticker(name, now_ms) for name in self._changed(subscription)]
            case _:
                for name in self._changed(subscription):
                    yield frames.book_ticker(self._exchange.quote(name), now_ms)

    def _changed(self, subscription: _Subscription) -> list[str]:
        """The symbols whose market moved since this stream last spoke."""
        changed = []
        for name in sorted(self._symbols):
            update = self._exchange.quote(name).update_id
            if subscription.told.get(name) != update:
                subscription.told[name] = update
                changed.append(name)
        return changed

    def _push(self, subscription: _Subscription, payload: Row | list[Row]) -> None:
        text = json_text(payload)
        first = payload[0] if isinstance(payload, list) and payload else payload
        event = first["e"] if isinstance(first, dict) else subscription.stream.kind
        symbol = payload.get("s") or payload["o"]["s"] if isinstance(payload, dict) else None
        for listener in list(subscription.listeners.values()):
            listener.push(subscription.stream.name, text, event=event, symbol=symbol)
