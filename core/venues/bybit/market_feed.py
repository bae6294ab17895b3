"""Bybit's public stream: one channel per wanted symbol tells mark, bid and ask together (§9).

The first frame of a channel is whole, the others tell only what has changed, bid and ask each by itself. So what was
said last holds while the connection lives, and is kept here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
from msgspec import UNSET

from core.domain.ids import Symbol
from core.domain.money import Price
from core.errors import MalformedPayload
from core.venues.bybit import facts
from core.venues.bybit.payloads import Head, TickerPush
from core.venues.market_stream import Tick
from core.venues.payload import UNREADABLE, price_in, whole_in
from core.venues.reconnecting import TextPing
from core.venues.subscriptions import Answered
from core.venues.symbols import SymbolTable

_TICKER = msgspec.json.Decoder(TickerPush)
_HEAD = msgspec.json.Decoder(Head)
_TICKERS_BEGIN = b'{"topic":"tickers.'
_NAMED = re.compile(r"tickers\.[A-Za-z0-9-]+")
_SNAPSHOT = "snapshot"

PING = TextPing(
    text=lambda: '{"req_id":"ping","op":"ping"}',
    every=facts.PING_SECONDS,
    within=facts.SILENCE_SECONDS - facts.PING_SECONDS,
)


@dataclass(slots=True)
class _Prices:
    mark: Price | None = None
    bid: Price | None = None
    ask: Price | None = None
    last: Price | None = None


class TickerRoute:
    """Implements market_stream.PublicRoute. What does not change is not told; a mark seldom stands still for long."""

    name = "tickers"
    batch = 100
    batch_bytes = facts.MOST_TOPIC_CHARACTERS
    acknowledges = True
    steady = True
    quiet_seconds = facts.QUIET_SECONDS
    ping = PING

    def __init__(self, stream_root: str, symbols: SymbolTable) -> None:
        self.url = stream_root + facts.PUBLIC_PATH
        self._symbols = symbols
        self._known: dict[str, _Prices] = {}
        self._asked: dict[str, int] = {}
        """The request each channel was last asked for in."""

    def channels(self, symbols: Iterable[Symbol]) -> Sequence[str]:
        listed = self._symbols.instruments
        return [f"tickers.{listed[symbol].venue_symbol}" for symbol in symbols if symbol in listed]

    def anew(self, symbols: Iterable[Symbol]) -> Sequence[str]:
        return self.channels(symbols)

    def confirmed_within(self, channel: str) -> float:
        del channel
        return facts.CONFIRM_SECONDS

    def connected(self) -> None:
        self._known.clear()
        self._asked.clear()

    def subscription(self, channels: Sequence[str], number: int) -> str:
        self._asked.update(dict.fromkeys(channels, number))
        return _request("subscribe", channels, number)

    def cancellation(self, channels: Sequence[str], number: int) -> str:
        for channel in channels:
            self._known.pop(channel.partition(".")[2], None)
            self._asked.pop(channel, None)
        return _request("unsubscribe", channels, number)

    def decode(self, frame: bytes) -> Sequence[Tick] | Answered | None:
        """A change of a symbol whose whole picture has not come tells nothing."""
        try:
            if frame.startswith(_TICKERS_BEGIN):
                return self._ticks(_TICKER.decode(frame))
            head = _HEAD.decode(frame)
            if head.topic.startswith("tickers."):
                return self._ticks(_TICKER.decode(frame))
        except (*UNREADABLE, ValueError) as error:
            raise MalformedPayload("bybit market stream", str(error)) from None
        return self._answer(head) if head.op == "subscribe" else None

    async def picture(self) -> Sequence[Tick]:
        """Every channel begins with what is."""
        return ()

    def _answer(self, head: Head) -> Answered | None:
        """To a whole request. A refusal mostly names a channel in its words, and by that one the request it answers
        where it has no number (a captured one had none)."""
        named = tuple(_NAMED.findall(head.ret_msg))
        number = whole_in(str(head.req_id))
        number = next((self._asked[name] for name in named if name in self._asked), None) if number is None else number
        if number is None:
            return None
        if head.success:
            return Answered(number=number)
        refused = "already subscribed" not in head.ret_msg
        return Answered(number=number, channels=named, refused=refused, words=head.ret_msg if refused else "")

    def _ticks(self, push: TickerPush) -> Sequence[Tick]:
        told = push.data
        instrument = self._symbols.unified(told.symbol)
        known = _Prices() if push.type == _SNAPSHOT else self._known.get(told.symbol)
        if instrument is None or known is None:
            return ()
        self._known[told.symbol] = known
        if told.markPrice is not UNSET:
            known.mark = price_in(told.markPrice, "markPrice")
        if told.bid1Price is not UNSET:
            known.bid = price_in(told.bid1Price, "bid1Price")
        if told.ask1Price is not UNSET:
            known.ask = price_in(told.ask1Price, "ask1Price")
        if told.lastPrice is not UNSET:
            known.last = price_in(told.lastPrice, "lastPrice")
        return (Tick(instrument.symbol, known.mark, known.bid, known.ask, push.ts, known.last, push.topic),)


def _request(op: str, channels: Sequence[str], number: int) -> str:
    return json.dumps({"req_id": str(number), "op": op, "args": list(channels)})
