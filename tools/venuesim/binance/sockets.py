"""Stream sockets: subscriptions, the user data stream, pings, and the venue's limits on a connection."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from tools.venuesim.binance.listen_keys import ListenKeys
from tools.venuesim.binance.market_streams import MarketStreams
from tools.venuesim.binance.stream_names import SocketTarget, Stream, is_listen_key, parse_stream, pushes
from tools.venuesim.binance.user_frames import UserFrame
from tools.venuesim.json_text import json_text
from tools.venuesim.wire import Host, Lane, Outbox, RequestInfo, Response, Timer

PING_MS = 180_000
LIFETIME_MS = 24 * 3_600_000
FRAMES_PER_SECOND = 10
METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class KeepAlive:
    """Pings a socket every 3 minutes and ends it after 24 hours."""

    def __init__(self, host: Host, outbox: Outbox) -> None:
        self._host = host
        self._outbox = outbox
        self._end = host.call_later(LIFETIME_MS, lambda: outbox.close(1001, "24 hours"))
        self._next: Timer = host.call_later(PING_MS, self._ping)

    def stop(self) -> None:
        """The socket is gone."""
        self._end.cancel()
        self._next.cancel()

    def _ping(self) -> None:
        self._outbox.ping(str(self._host.now_ms()).encode())
        self._next = self._host.call_later(PING_MS, self._ping)


class UserStreams:
    """The sockets that hear the account. Only the active listenKey is served, on the private route."""

    def __init__(self, host: Host, keys: ListenKeys) -> None:
        self._host = host
        self._keys = keys
        self._sockets: list[StreamSocket] = []

    def add(self, socket: StreamSocket) -> None:
        """A socket that named a listenKey."""
        if socket not in self._sockets:
            self._sockets.append(socket)

    def remove(self, socket: StreamSocket) -> None:
        """The socket is gone."""
        if socket in self._sockets:
            self._sockets.remove(socket)

    @property
    def anyone(self) -> bool:
        """Whether building frames is worth the while."""
        return bool(self._sockets)

    def push(self, frame: UserFrame) -> None:
        """Sends an event to every socket whose key is active."""
        now_ms = self._host.now_ms()
        text = json_text(frame.payload)
        for socket in list(self._sockets):
            for key in socket.keys:
                if self._keys.knows(key, now_ms):
                    socket.push_user(key, text, frame)

    def end(self, key: str, frame: UserFrame) -> None:
        """Announces the end of a key; its sockets stay open and silent."""
        text = json_text(frame.payload)
        for socket in list(self._sockets):
            if key in socket.keys:
                socket.push_user(key, text, frame)


class StreamSocket:
    """One connection to /public, /market, /private or an old path without a route."""

    def __init__(
        self, host: Host, outbox: Outbox, target: SocketTarget, markets: MarketStreams, users: UserStreams
    ) -> None:
        self.keys: list[str] = []
        self._host = host
        self._outbox = outbox
        self._route = target.route
        self._combined = target.combined
        self._events = target.events
        self._markets = markets
        self._users = users
        self._names: list[str] = []
        self._streams: dict[str, Stream] = {}
        self._commands: deque[int] = deque(maxlen=FRAMES_PER_SECOND)
        self._keep_alive = KeepAlive(host, outbox)
        for name in (*target.names, *target.listen_keys):
            self._subscribe(name)

    def describe(self, text: str) -> RequestInfo | None:
        """The method of a control frame, "?" when it is not one."""
        command = _parsed(text)
        method = command.get("method") if isinstance(command, dict) else None
        return RequestInfo(lane=Lane.SESSION, op=method if isinstance(method, str) else "?")

    def receive(self, text: str) -> None:
        """A control frame; more than ten within a second end the connection."""
        now_ms = self._host.now_ms()
        if len(self._commands) == FRAMES_PER_SECOND and now_ms - self._commands[0] < 1_000:
            self._outbox.close(1008, "Too many requests")
            return
        self._commands.append(now_ms)
        command = _parsed(text)
        if not isinstance(command, dict):
            self._reply({"error": {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}}, code=3)
            return
        method, number = command.get("method"), command.get("id")
        if method not in METHODS:
            listed = ", ".join(f"`{name}`" for name in METHODS)
            text = f"Invalid request: unknown variant `{method}`, expected one of {listed}"
            self._reply({"error": {"code": 2, "msg": text}, "id": number}, code=2)
            return
        params = command.get("params") or []
        if not isinstance(params, list) or (method.endswith("SUBSCRIBE") and not all(_is_text(p) for p in params)):
            self._reply({"error": {"code": 2, "msg": "Invalid request: invalid type"}, "id": number}, code=2)
            return
        self._reply({"result": self._carry_out(method, params), "id": number})

    def refuse(self, text: str, error: Response) -> None:
        """An injected error for a control frame."""
        command = _parsed(text)
        number = command.get("id") if isinstance(command, dict) else None
        body = {"code": error.code or -1000, "msg": f"HTTP {error.status}"}
        self._reply({"error": body, "id": number}, code=-1000)

    def closed(self) -> None:
        """Gives up every subscription."""
        self._keep_alive.stop()
        self._users.remove(self)
        for stream in self._streams.values():
            self._markets.unsubscribe(self, stream)
        self._streams.clear()

    def push(self, stream: str, payload: str, *, event: str, symbol: str | None) -> None:
        """A market payload, wrapped on a combined socket."""
        text = f'{{"stream":"{stream}","data":{payload}}}' if self._combined else payload
        self._outbox.send(text, event=event, symbol=symbol)

    def push_user(self, key: str, payload: str, frame: UserFrame) -> None:
        """An account event, unless the path asked for other kinds only."""
        if self._events is not None and frame.event not in self._events:
            return
        text = f'{{"stream":"{key}","data":{payload}}}' if self._combined else payload
        self._outbox.send(text, event=frame.event, symbol=frame.symbol, client_id=frame.client_id)

    def _carry_out(self, method: str, params: list[Any]) -> object:
        if method == "SUBSCRIBE":
            for name in params:
                self._subscribe(name)
        elif method == "UNSUBSCRIBE":
            for name in params:
                self._unsubscribe(name)
        elif method == "LIST_SUBSCRIPTIONS":
            return list(self._names)
        elif method == "GET_PROPERTY":
            return self._combined
        elif params[:1] == ["combined"]:
            self._combined = bool(params[-1])
        return None

    def _subscribe(self, name: str) -> None:
        """Every name is acknowledged; one that belongs to another route is silent."""
        if name in self._names:
            return
        self._names.append(name)
        if is_listen_key(name):
            if self._route == "private":
                self.keys.append(name)
                self._users.add(self)
            return
        stream = parse_stream(name)
        if stream is not None and pushes(self._route, stream.route):
            self._streams[name] = stream
            self._markets.subscribe(self, stream)

    def _unsubscribe(self, name: str) -> None:
        if name in self._names:
            self._names.remove(name)
        if name in self.keys:
            self.keys.remove(name)
        stream = self._streams.pop(name, None)
        if stream is not None:
            self._markets.unsubscribe(self, stream)

    def _reply(self, answer: dict[str, object], code: int | None = None) -> None:
        self._outbox.reply(json_text(answer), code=code)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _is_text(value: object) -> bool:
    return isinstance(value, str)
