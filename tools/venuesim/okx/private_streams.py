"""Who listens to which private channel: filters, first messages, and the pushes that come at regular times."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tools.venuesim.exchange.events import Event
from tools.venuesim.json_text import json_text
from tools.venuesim.okx.account import UID
from tools.venuesim.okx.channels import ANY, PAGED, Topic
from tools.venuesim.okx.errors import VenueError
from tools.venuesim.okx.formats import Row
from tools.venuesim.okx.market_streams import Key, Listener
from tools.venuesim.okx.user_frames import SNAPSHOT, UserFrame, UserFrames
from tools.venuesim.okx.words import SWAP
from tools.venuesim.wire import Host, Timer

ROWS_PER_PAGE = 50
CONNECTIONS_PER_CHANNEL = 30
DEFAULT_INTERVAL_MS = 5_000
_INTERVALS_MS = (0, 2_000, 3_000, 4_000)


class _Subscription:
    """One argument of one connection."""

    __slots__ = ("interval_ms", "listener", "timer", "topic")

    def __init__(self, listener: Listener, topic: Topic, interval_ms: int) -> None:
        self.listener = listener
        self.topic = topic
        self.interval_ms = interval_ms
        """How often it is told without news; 0: never."""
        self.timer: Timer | None = None

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


class UserStreams:
    """All private subscriptions of the account."""

    def __init__(self, host: Host, frames: UserFrames) -> None:
        self._host = host
        self._frames = frames
        self._by_key: dict[tuple[int, Key], _Subscription] = {}

    def connections(self, channel: str) -> int:
        """How many connections have subscribed to a channel."""
        return len({key[0] for key, row in self._by_key.items() if row.topic.channel.name == channel})

    def has_room(self, listener: Listener, channel: str) -> bool:
        """False when as many other connections as may be have the channel."""
        others = {key[0] for key, row in self._by_key.items() if row.topic.channel.name == channel} - {id(listener)}
        return len(others) < CONNECTIONS_PER_CHANNEL

    def subscribe(self, listener: Listener, topic: Topic, interval_ms: int) -> None:
        """Start pushing; the state of the account comes first, where the channel has one."""
        self.unsubscribe(listener, topic)
        if not self._by_key:
            self._frames.begin()
        subscription = self._by_key[id(listener), topic.key] = _Subscription(listener, topic, interval_ms)
        frame = self._frames.snapshot(topic.channel.name, self._host.now_ms())
        if frame is not None:
            _push(subscription, frame)
        if topic.channel.name in PAGED:
            self._wait(subscription)

    def unsubscribe(self, listener: Listener, topic: Topic) -> None:
        """Stop pushing."""
        subscription = self._by_key.pop((id(listener), topic.key), None)
        if subscription is not None:
            subscription.stop()

    def on_events(self, events: tuple[Event, ...], now_ms: int) -> None:
        """One batch, to everybody whom it concerns."""
        wanted = {row.topic.channel.name for row in self._by_key.values()}
        for frame in self._frames.of(events, now_ms, wanted):
            for subscription in list(self._by_key.values()):
                if subscription.topic.channel.name == frame.channel:
                    _push(subscription, frame)

    def _wait(self, subscription: _Subscription) -> None:
        if subscription.interval_ms:
            # While the clock jumps nobody waits for every push on the way.
            delay_ms = max(subscription.interval_ms, self._host.behind_ms())
            subscription.timer = self._host.call_later(delay_ms, lambda: self._tell_again(subscription))

    def _tell_again(self, subscription: _Subscription) -> None:
        frame = self._frames.snapshot(subscription.topic.channel.name, self._host.now_ms())
        if frame is not None and frame.rows:
            _push(subscription, frame)
        self._wait(subscription)


def interval_of(topic: Topic, argument: Mapping[str, object]) -> int:
    """How often, in ms, a subscription asks to be told without news. Raises ``VenueError`` 60013."""
    extra = argument.get("extraParams")
    if topic.channel.name not in PAGED or not extra:
        return DEFAULT_INTERVAL_MS
    try:
        found = json.loads(str(extra))
        interval_ms = int(found.get("updateInterval", DEFAULT_INTERVAL_MS))
    except (ValueError, AttributeError, TypeError):
        raise VenueError(60013) from None
    if interval_ms not in (*_INTERVALS_MS, DEFAULT_INTERVAL_MS):
        raise VenueError(60013)
    return interval_ms


def _push(subscription: _Subscription, frame: UserFrame) -> None:
    """What of a message this subscription asked for, in pages where the channel has them."""
    topic = subscription.topic
    rows = _fitting(topic, frame)
    if frame.rows and not rows and frame.event != SNAPSHOT:
        return
    argument = {**topic.argument, "uid": UID}
    if frame.channel not in PAGED:
        if rows:
            _send(subscription, frame, {"arg": argument, "data": rows})
        return
    pages = [rows[first : first + ROWS_PER_PAGE] for first in range(0, len(rows), ROWS_PER_PAGE)] or [[]]
    for number, page in enumerate(pages, start=1):
        place = {"eventType": frame.event, "curPage": number, "lastPage": number == len(pages)}
        _send(subscription, frame, {"arg": argument, **place, "data": page})


def _send(subscription: _Subscription, frame: UserFrame, message: Row) -> None:
    subscription.listener.push(json_text(message), event=frame.channel, symbol=frame.symbol, client_id=frame.client_id)


def _fitting(topic: Topic, frame: UserFrame) -> list[Row]:
    asked = topic.argument
    if "ccy" in asked and frame.channel == "account":
        return [_of_coin(row, asked["ccy"]) for row in frame.rows if _of_coin(row, asked["ccy"])["details"]]
    if not topic.has_contracts:
        return []
    return [row for row in frame.rows if "instId" not in row or _is_asked_for(asked, row)]


def _of_coin(row: Row, coin: str) -> Row:
    return {**row, "details": [detail for detail in row["details"] if detail["ccy"] == coin]}


def _is_asked_for(asked: Mapping[str, str], row: Row) -> bool:
    symbol: str = row["instId"]
    return (
        asked.get("instType", SWAP) in (SWAP, ANY)
        and asked.get("instId", symbol) == symbol
        and asked.get("instFamily", symbol.removesuffix("-SWAP")) == symbol.removesuffix("-SWAP")
        and asked.get("algoId", row.get("algoId")) == row.get("algoId")
    )
