"""The private socket: login, subscriptions to account topics, and who gets which frame. No topic has a snapshot."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from tools.venuesim.bybit.connection import GONE, IdleCut, parsed, short_id
from tools.venuesim.bybit.dead_mans_switch import TOPIC as SWITCH_TOPIC
from tools.venuesim.bybit.dead_mans_switch import DeadMansSwitch
from tools.venuesim.bybit.errors import VenueError
from tools.venuesim.bybit.user_frames import UserFrame
from tools.venuesim.json_text import json_text
from tools.venuesim.wire import Host, Lane, Outbox, RequestInfo, Response

TOPICS = frozenset({"order", "execution", "execution.fast", "position", "wallet", "greeks", SWITCH_TOPIC})
CATEGORISED = frozenset({"order", "execution", "execution.fast", "position"})
CATEGORIES = frozenset({"linear", "inverse", "spot", "option"})
_OPS = ("auth", "subscribe", "unsubscribe")


class Login(Protocol):
    """Who may open a session."""

    def check_login(self, args: object) -> None:
        """The arguments of an auth command: key, expiry in ms (text or number), signature. Raises `VenueError`."""
        ...


class UserStreams:
    """The private sockets that are logged in; ``began`` is called when somebody listens again after nobody did."""

    def __init__(self, began: Callable[[], None]) -> None:
        self._began = began
        self._sockets: list[PrivateSocket] = []
        self._switch: DeadMansSwitch | None = None

    def guard(self, switch: DeadMansSwitch) -> None:
        """Tell this one when the last connection that arms it is lost, and when one is back."""
        self._switch = switch

    def chose(self, socket: PrivateSocket) -> None:
        """A socket listens to other topics than before."""
        if self._switch is not None and SWITCH_TOPIC in socket.kinds:
            self._switch.back()

    @property
    def wanted(self) -> frozenset[str]:
        """Kinds of frames anybody listens to; building others is not worth the while."""
        return frozenset(kind for socket in self._sockets for kind in socket.kinds)

    def add(self, socket: PrivateSocket) -> None:
        self._sockets.append(socket)

    def remove(self, socket: PrivateSocket) -> None:
        if socket not in self._sockets:
            return
        self._sockets.remove(socket)
        if self._switch is not None and SWITCH_TOPIC in socket.kinds and SWITCH_TOPIC not in self.wanted:
            self._switch.lost()

    def listen(self) -> None:
        """A socket is about to listen."""
        if not self.wanted:
            self._began()

    def push(self, frame: UserFrame) -> None:
        """To everybody who listens to this kind."""
        for socket in list(self._sockets):
            socket.push(frame)

    def revoke(self) -> None:
        """The key is no longer valid: its sessions end."""
        for socket in list(self._sockets):
            socket.end("API key is invalid.")


class PrivateSocket:
    """One connection to /v5/private."""

    def __init__(
        self, host: Host, outbox: Outbox, streams: UserStreams, login: Login, limit_ms: int, names: Random
    ) -> None:
        self.kinds: dict[str, list[str]] = {}
        """Kind of frame -> the topics it was asked for by ("order", "order.linear")."""
        self._host = host
        self._outbox = outbox
        self._streams = streams
        self._login = login
        self._conn_id = short_id(names)
        self._logged_in = False
        self._topics: list[str] = []
        self._idle = IdleCut(host, outbox, limit_ms)

    def describe(self, text: str) -> RequestInfo | None:
        """None for pings; the op of everything else, "?" where there is none."""
        op = parsed(text).get("op")
        return None if op == "ping" else RequestInfo(lane=Lane.SESSION, op=op if isinstance(op, str) else "?")

    def receive(self, text: str) -> None:
        """auth, subscribe, unsubscribe or ping."""
        self._idle.touch()
        command = parsed(text)
        op = command.get("op")
        if op == "ping":
            self._answer(command, {"op": "pong", "args": [str(self._host.now_ms())]})
        elif op == "auth":
            self._log_in(command)
        elif op not in _OPS:
            self._tell(command, str(op or ""), "error:invalid op")
        elif not self._logged_in:
            self._tell(command, op, "error:request not authorized")
        else:
            self._choose(command, op, command.get("args"))

    def refuse(self, text: str, error: Response) -> None:
        """An injected error, in this socket's form."""
        command = parsed(text)
        self._tell(command, str(command.get("op", "")), f"error:{error.code or error.status}")

    def closed(self) -> None:
        """The socket is gone."""
        self._idle.stop()
        self._streams.remove(self)

    def push(self, frame: UserFrame) -> None:
        """One frame, once for each of its topics that was asked for."""
        for topic in self.kinds.get(frame.kind, ()):
            self._idle.touch()
            text = json_text(frame.payload(topic))
            self._outbox.send(text, event=frame.kind, symbol=frame.symbol, client_id=frame.client_id)

    def end(self, reason: str) -> None:
        """The venue ends the session."""
        self._outbox.close(GONE, reason)

    def _log_in(self, command: dict[str, Any]) -> None:
        try:
            self._login.check_login(command.get("args"))
        except VenueError as error:
            self._tell(command, "auth", error.text, error.code)
            self._outbox.close(GONE, error.text)
            return
        if not self._logged_in:
            self._logged_in = True
            self._streams.add(self)
        self._tell(command, "auth")

    def _choose(self, command: dict[str, Any], op: str, args: object) -> None:
        names = [arg for arg in args if isinstance(arg, str)] if isinstance(args, list) else []
        problem = _problem(names) if op == "subscribe" else ""
        again = [name for name in names if name in self._topics]
        if op == "subscribe" and again and not problem:
            problem = f"error:handler already subscribed,topic:{again[0]}"
        if not problem:
            self._topics = [name for name in self._topics if name not in names]
            if op == "subscribe":
                self._streams.listen()
                self._topics += names
            self._sort()
            self._streams.chose(self)
        self._tell(command, op, problem)

    def _sort(self) -> None:
        self.kinds = {}
        for name in self._topics:
            kind, category = _parts(name)
            if category in ("", "linear"):
                self.kinds.setdefault(kind, []).append(name)

    def _tell(self, command: dict[str, Any], op: str, problem: str = "", code: int | str | None = None) -> None:
        answer = {"success": not problem, "ret_msg": problem, "op": op}
        self._answer(command, answer, (code or "error") if problem else None)

    def _answer(self, command: dict[str, Any], answer: dict[str, Any], code: int | str | None = None) -> None:
        answer |= {"conn_id": self._conn_id}
        if "req_id" in command:
            answer = {"req_id": command["req_id"], **answer}
        self._outbox.reply(json_text(answer), code=code)


def _parts(name: str) -> tuple[str, str]:
    """Kind and category of a topic; the category is "" for the form that covers all."""
    kind, _, category = name.rpartition(".")
    return (kind, category) if kind in CATEGORISED and category in CATEGORIES else (name, "")


def _problem(names: list[str]) -> str:
    """Why a request is void: nothing in it, an unknown topic, or both forms of topics together."""
    if not names:
        return "Params Error"
    for name in names:
        if _parts(name)[0] not in TOPICS:
            return f"error:handler not found,topic:{name}"
    forms = {bool(category) for kind, category in map(_parts, names) if kind in CATEGORISED}
    return "error:all-in-one and categorised topics in one request" if len(forms) > 1 else ""
