"""The public socket: subscriptions to market topics and to the state of the system."""

from __future__ import annotations

from random import Random
from typing import Any

from tools.venuesim.bybit.connection import IDLE_MS, IdleCut, long_id, parsed
from tools.venuesim.bybit.market_streams import MarketStreams
from tools.venuesim.bybit.topics import MAX_ARGS_CHARS, Topic, parse_topic
from tools.venuesim.json_text import json_text
from tools.venuesim.wire import Host, Lane, Outbox, RequestInfo, Response

SYSTEM_TOPIC = "system.status"
_OPS = ("subscribe", "unsubscribe")


class _NotSubscribed(Exception):
    """An argument the venue does not accept; the whole request is void."""


class PublicSocket:
    """One connection to /v5/public/<category>. Only linear contracts exist; other categories know no symbol."""

    def __init__(self, host: Host, outbox: Outbox, markets: MarketStreams, category: str, names: Random) -> None:
        self._outbox = outbox
        self._markets = markets
        self._category = category
        self._topics: dict[str, Topic | None] = {}
        self._conn_id = long_id(names)
        self._idle = IdleCut(host, outbox, IDLE_MS)

    def describe(self, text: str) -> RequestInfo | None:
        """None for pings; the op of everything else, "?" where there is none."""
        op = parsed(text).get("op")
        return None if op == "ping" else RequestInfo(lane=Lane.SESSION, op=op if isinstance(op, str) else "?")

    def receive(self, text: str) -> None:
        """subscribe, unsubscribe or ping."""
        self._idle.touch()
        command = parsed(text)
        op, args = command.get("op"), command.get("args")
        if op == "ping":
            self._reply(command, "ping", "pong")
        elif op not in _OPS or not isinstance(args, list) or not all(isinstance(arg, str) for arg in args):
            self._reply(command, str(op or ""), "error:invalid op" if op not in _OPS else "Params Error", ok=False)
        elif op == "subscribe":
            self._subscribe(command, args)
        else:
            for name in args:
                self._drop(name)
            self._reply(command, "unsubscribe")

    def refuse(self, text: str, error: Response) -> None:
        """An injected error, in this socket's form."""
        command = parsed(text)
        self._reply(command, str(command.get("op", "")), f"error:{error.code or error.status}", ok=False)

    def closed(self) -> None:
        """Gives up every subscription."""
        self._idle.stop()
        for name in list(self._topics):
            self._drop(name)

    def push(self, payload: str, *, event: str, symbol: str) -> None:
        """One frame of a topic."""
        self._idle.touch()
        self._outbox.send(payload, event=event, symbol=symbol)

    def _subscribe(self, command: dict[str, Any], args: list[str]) -> None:
        try:
            wanted = self._checked(args)
        except _NotSubscribed as problem:
            self._reply(command, "subscribe", str(problem), ok=False)
            return
        # The acknowledgement comes first, then what the topics tell a newcomer.
        self._reply(command, "subscribe")
        for name, topic in wanted.items():
            self._topics[name] = topic
            if topic is not None:
                self._markets.subscribe(self, topic)

    def _checked(self, args: list[str]) -> dict[str, Topic | None]:
        """The topics of one request; None stands for the system's state, which never changes here."""
        if sum(map(len, [*self._topics, *args])) > MAX_ARGS_CHARS:
            raise _NotSubscribed(f"args length exceeds {MAX_ARGS_CHARS}")
        wanted: dict[str, Topic | None] = {}
        for name in args:
            if name in self._topics or name in wanted:
                raise _NotSubscribed(f"error:handler already subscribed,topic:{name}")
            wanted[name] = self._topic(name)
        return wanted

    def _topic(self, name: str) -> Topic | None:
        if self._category == "misc/status":
            if name != SYSTEM_TOPIC:
                raise _NotSubscribed(f"Invalid topic: {name}")
            return None
        topic = parse_topic(name)
        if topic is None:
            raise _NotSubscribed(f"Invalid topic: {name}")
        if self._category != "linear" or not self._markets.knows(topic.symbol):
            raise _NotSubscribed(f"Invalid symbol :[{name}]")
        return topic

    def _drop(self, name: str) -> None:
        topic = self._topics.pop(name, None)
        if topic is not None:
            self._markets.unsubscribe(self, topic)

    def _reply(self, command: dict[str, Any], op: str, message: str = "", *, ok: bool = True) -> None:
        answer = {
            "success": ok,
            "ret_msg": message,
            "conn_id": self._conn_id,
            "req_id": command.get("req_id", ""),
            "op": op,
        }
        self._outbox.reply(json_text(answer), code=None if ok else "error")
