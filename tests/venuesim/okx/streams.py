"""Sockets at the façade inside a simulation whose clock the test moves."""

from __future__ import annotations

import json
from typing import Any

from tests.venuesim.okx.desk import Desk
from tools.venuesim.okx.signing import LOGIN_PATH, signature
from tools.venuesim.sockets import Socket
from tools.venuesim.wire import Frame, FrameKind, Response

PUBLIC, PRIVATE, BUSINESS = "public", "private", "business"
QUIET = {"extraParams": '{"updateInterval": "0"}'}
"""No pushes without news."""
SWAPS = {"instType": "SWAP"}


class Wire:
    """The other end of one socket."""

    def __init__(self, desk: StreamDesk) -> None:
        self.desk = desk
        self.socket: Socket | None = None
        self.texts: list[str] = []
        self.closed: int | None = None

    def take(self, frame: Frame) -> None:
        if frame.kind is FrameKind.CLOSE:
            self.closed = frame.close_code
        elif frame.kind is FrameKind.TEXT:
            self.texts.append(frame.data.decode())
            self.desk.heard.append(frame.data.decode())

    @property
    def all(self) -> list[dict[str, Any]]:
        """Frames that are JSON objects."""
        return [json.loads(text) for text in self.texts if text.startswith("{")]

    @property
    def pushed(self) -> list[dict[str, Any]]:
        return [row for row in self.all if "data" in row and "arg" in row]

    @property
    def answers(self) -> list[dict[str, Any]]:
        return [row for row in self.all if "data" not in row or "op" in row]

    def of(self, channel: str) -> list[dict[str, Any]]:
        return [row for row in self.pushed if row["arg"]["channel"] == channel]

    def rows(self, channel: str) -> list[Any]:
        """The rows of a channel in arrival order."""
        return [row for frame in self.of(channel) for row in frame["data"]]

    def forget(self) -> None:
        self.texts.clear()

    def say(self, command: object) -> Any:
        """Sends; the newest answer."""
        assert self.socket is not None
        self.socket.receive(command if isinstance(command, str) else json.dumps(command))
        self.desk.run(0)
        return self.answers[-1] if self.answers else None

    def ask(self, op: str, *args: Any, **more: Any) -> Any:
        return self.say({"op": op, "args": list(args), **more})

    def subscribe(self, channel: str, **named: Any) -> Any:
        return self.ask("subscribe", {"channel": channel, **named})

    def log_in(
        self, *, key: str = "sim", secret: str = "sim", passphrase: str = "sim", timestamp: object = None
    ) -> Any:
        stamp = str(timestamp if timestamp is not None else self.desk.simulation.now_ms() // 1000)
        made = signature(secret, f"{stamp}GET{LOGIN_PATH}")
        return self.ask("login", {"apiKey": key, "passphrase": passphrase, "timestamp": stamp, "sign": made})


class StreamDesk(Desk):
    """`heard` is what came over all sockets, in order."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.heard: list[str] = []

    def connect(self, place: str) -> Wire:
        wire = Wire(self)
        socket = self.simulation.connect(f"/ws/v5/{place}", "", {}, wire.take)
        assert not isinstance(socket, Response), socket
        wire.socket = socket
        return wire

    def private(self, *channels: str, place: str = PRIVATE) -> Wire:
        """Logged in, with channels that tell news only; what they told first is forgotten."""
        wire = self.connect(place)
        assert wire.log_in()["event"] == "login"
        for channel in channels:
            named = {} if channel in ("account", "balance_and_position") else SWAPS
            wire.subscribe(channel, **named, **(QUIET if channel in ("account", "positions") else {}))
        assert not [row for row in wire.answers if row["event"] == "error"], wire.answers
        wire.forget()
        self.heard.clear()
        return wire

    def everything(self) -> tuple[Wire, Wire]:
        """The private and the business socket with all channels of the account."""
        private = self.private("orders", "positions", "balance_and_position", "account", "liquidation-warning")
        return private, self.private("orders-algo", "algo-advance", place=BUSINESS)

    def public(self, *channels: str, place: str = PUBLIC, **named: Any) -> Wire:
        wire = self.connect(place)
        for channel in channels:
            wire.subscribe(channel, **named)
        assert not [row for row in wire.answers if row["event"] == "error"], wire.answers
        return wire

    @property
    def story(self) -> list[str]:
        """What the account's channels told, in order over all sockets: channel and the word that matters."""
        frames = [json.loads(text) for text in self.heard if text.startswith("{")]
        told = [(frame["arg"]["channel"], frame["data"]) for frame in frames if "data" in frame and "arg" in frame]
        return [f"{channel} {_word(channel, row)}" for channel, rows in told for row in rows]


def _word(channel: str, row: dict[str, Any]) -> str:
    match channel:
        case "positions" | "liquidation-warning":
            return f"{row['posSide']} {row['pos']}"
        case "balance_and_position":
            return str(row["eventType"])
        case "account":
            return ",".join(coin["ccy"] for coin in row["details"])
        case _:
            return str(row["state"])
