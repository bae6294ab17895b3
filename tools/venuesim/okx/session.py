"""One connection, at whichever of the three addresses: login, subscriptions, order commands, keep-alive."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from msgspec import Struct

from tools.venuesim.json_text import json_text
from tools.venuesim.okx.channels import Place, Topic, parse
from tools.venuesim.okx.connection import KEY_CHANGED, LOGIN_FAILED, IdleCut, Quota, connection_id, parsed
from tools.venuesim.okx.errors import VenueError
from tools.venuesim.okx.market_streams import Key, MarketStreams
from tools.venuesim.okx.order_commands import OPS, Endpoints, OrderCommands, code_of
from tools.venuesim.okx.private_streams import UserStreams, interval_of
from tools.venuesim.okx.symbol_table import SymbolTable
from tools.venuesim.wire import Host, Lane, Outbox, RequestInfo, Response

PING, PONG = "ping", "pong"
_SESSION_OPS = ("login", "subscribe", "unsubscribe")
_COUNTED = frozenset({"orders", "account", "positions", "balance_and_position", "account-greeks", "orders-algo"})
"""Channels that only so many connections may have."""
_MOST_BYTES = 64 * 1024
_ID_LENGTH = 32


class Surroundings(Struct, frozen=True, kw_only=True):
    """What all sessions share."""

    table: SymbolTable
    markets: MarketStreams
    users: UserStreams
    endpoints: Endpoints
    names: Random
    """Makes the connections' names."""


class Session:
    """Implements `wire.StreamSession`."""

    def __init__(
        self,
        host: Host,
        outbox: Outbox,
        place: Place,
        surroundings: Surroundings,
        left: Callable[[Session], None],
    ) -> None:
        self._host = host
        self._outbox = outbox
        self._place = place
        self._table = surroundings.table
        self._markets = surroundings.markets
        self._users = surroundings.users
        self._endpoints = surroundings.endpoints
        self._commands = OrderCommands(host, surroundings.table, surroundings.endpoints)
        self._left = left
        self._conn_id = connection_id(surroundings.names)
        self._logged_in = False
        self._topics: dict[Key, Topic] = {}
        self._quota = Quota()
        self._idle = IdleCut(host, outbox)

    def describe(self, text: str) -> RequestInfo | None:
        """None for pings; the op of everything else, "?" where there is none."""
        if text == PING:
            return None
        command = parsed(text)
        op = command.get("op")
        if isinstance(op, str) and op in OPS:
            return self._commands.describe(op, command)
        return RequestInfo(lane=Lane.SESSION, op=op if isinstance(op, str) else "?")

    def receive(self, text: str) -> None:
        """ping, login, subscribe, unsubscribe, or an order command."""
        self._idle.touch()
        if text == PING:
            self._outbox.reply(PONG)
            return
        command = parsed(text)
        try:
            op = self._checked(text, command)
            if op in OPS:
                self._order(op, command)
            else:
                self._serve(op, command["args"], command)
        except VenueError as error:
            self._fail(command, error)

    def refuse(self, text: str, error: Response) -> None:
        """An injected error, in this socket's form."""
        command = parsed(text)
        answer = self._commands.refused(str(command.get("op", "")), command, error)
        self._outbox.reply(json_text(answer), code=code_of(answer))

    def closed(self) -> None:
        """The socket is gone."""
        self._idle.stop()
        for topic in list(self._topics.values()):
            self._drop(topic)
        self._left(self)

    def push(self, payload: str, *, event: str, symbol: str | None = None, client_id: str | None = None) -> None:
        """One frame of a channel."""
        self._idle.touch()
        self._outbox.send(payload, event=event, symbol=symbol, client_id=client_id)

    def revoke(self) -> None:
        """The key is no longer valid: a session that was logged in with it ends."""
        if self._logged_in:
            self._outbox.close(KEY_CHANGED, "Your API key has been updated or deleted. Please reconnect.")

    def _checked(self, text: str, command: dict[str, Any]) -> str:
        """The op of a command that may be carried out here."""
        op, args, number = command.get("op"), command.get("args"), str(command.get("id", ""))
        if not isinstance(op, str) or len(text) > _MOST_BYTES:
            raise _invalid(text)
        if len(number) > _ID_LENGTH or (number and not number.isalnum()):
            raise _invalid(text)
        if op in OPS:
            if self._place is not Place.PRIVATE:
                raise VenueError(60028)
            if not self._logged_in:
                raise VenueError(60011)
            return op
        if op not in _SESSION_OPS:
            raise VenueError(60019, op)
        if not isinstance(args, list) or not args:
            raise _invalid(text)
        if not self._quota.take(self._host.now_ms()):
            raise VenueError(60014)
        return op

    def _serve(self, op: str, args: list[Any], command: dict[str, Any]) -> None:
        if op == "login":
            self._log_in(args[0])
            return
        for argument in args:
            try:
                topic = parse(argument, self._place, self._table)
                if op == "subscribe":
                    self._subscribe(topic, argument, command)
                else:
                    self._drop(topic)
                    self._tell({"event": op, "arg": topic.argument}, command)
            except VenueError as error:
                self._fail(command, error)

    def _log_in(self, arguments: object) -> None:
        if self._logged_in:
            raise VenueError(60031)
        try:
            self._endpoints.check_login(arguments if isinstance(arguments, dict) else {})
        except VenueError as error:
            self._fail({}, error)
            self._outbox.close(LOGIN_FAILED, "Login failed.")
            return
        self._logged_in = True
        self._tell({"event": "login", "code": "0", "msg": ""}, {})

    def _subscribe(self, topic: Topic, argument: dict[str, object], command: dict[str, Any]) -> None:
        """The acknowledgement comes first, then how many connections have the channel, then what it tells."""
        channel = topic.channel
        if not channel.login:
            self._tell({"event": "subscribe", "arg": topic.argument}, command)
            self._drop(topic)
            self._topics[topic.key] = topic
            self._markets.subscribe(self, topic)
            return
        if not self._logged_in:
            raise VenueError(60011)
        interval_ms = interval_of(topic, argument)
        if channel.name in _COUNTED and not self._users.has_room(self, channel.name):
            self._count("channel-conn-count-error", channel.name, self._users.connections(channel.name))
            return
        self._tell({"event": "subscribe", "arg": topic.argument}, command)
        if channel.name in _COUNTED:
            others = self._users.connections(channel.name)
            mine = any(row.channel is channel for row in self._topics.values())
            self._count("channel-conn-count", channel.name, others + (not mine))
        self._topics[topic.key] = topic
        self._users.subscribe(self, topic, interval_ms)

    def _drop(self, topic: Topic) -> None:
        known = self._topics.pop(topic.key, None)
        if known is not None:
            (self._users if known.channel.login else self._markets).unsubscribe(self, known)

    def _order(self, op: str, command: dict[str, Any]) -> None:
        answer = self._commands.carry_out(op, command)
        self._idle.touch()
        self._outbox.reply(json_text(answer), code=code_of(answer))

    def _count(self, event: str, channel: str, count: int) -> None:
        row = {"event": event, "channel": channel, "connCount": str(count), "connId": self._conn_id}
        self._outbox.send(json_text(row), event=event)

    def _tell(self, answer: dict[str, Any], command: dict[str, Any], code: str | None = None) -> None:
        number = {"id": command["id"]} if "id" in command else {}
        self._outbox.reply(json_text({**number, **answer, "connId": self._conn_id}), code=code)

    def _fail(self, command: dict[str, Any], error: VenueError) -> None:
        self._tell({"event": "error", "code": error.code, "msg": error.text}, command, error.code)


def _invalid(text: str) -> VenueError:
    return VenueError(60012, text=f"Invalid request: {text}")
