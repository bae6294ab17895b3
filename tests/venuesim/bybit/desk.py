"""The façade inside a simulation whose clock the test moves: signed requests, sockets and the control interface."""

from __future__ import annotations

import hashlib
import hmac
import json
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from tools.venuesim.bybit.facade import VENUE
from tools.venuesim.control import Control
from tools.venuesim.kernel import Simulation, SimulationSettings
from tools.venuesim.sockets import Socket
from tools.venuesim.wire import Dropped, Frame, FrameKind, Request, Response

START_MS = 1_790_000_000_000
KEY = SECRET = "sim"
BTC = "BTCUSDT"
RECV_WINDOW = "5000"
ALL_TOPICS = ("order", "execution", "position", "wallet")


def signed(text: str) -> str:
    return hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()


class Wire:
    """The other end of one socket."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.socket: Socket | None = None
        self.texts: list[str] = []
        self.times: list[float] = []
        self.closed: int | None = None

    def take(self, frame: Frame) -> None:
        if frame.kind is FrameKind.CLOSE:
            self.closed = frame.close_code
        elif frame.kind is FrameKind.TEXT:
            self.texts.append(frame.data.decode())
            self.times.append(self.desk.now - START_MS)

    @property
    def all(self) -> list[dict[str, Any]]:
        """Frames that are JSON objects."""
        return [json.loads(text) for text in self.texts if text.startswith("{")]

    @property
    def pushed(self) -> list[dict[str, Any]]:
        return [row for row in self.all if "topic" in row]

    @property
    def answers(self) -> list[dict[str, Any]]:
        return [row for row in self.all if "topic" not in row]

    def of(self, topic: str) -> list[dict[str, Any]]:
        return [row for row in self.pushed if row["topic"] == topic]

    def rows(self, topic: str) -> list[dict[str, Any]]:
        """The data rows of a private topic in arrival order."""
        return [row for frame in self.of(topic) for row in frame["data"]]

    @property
    def story(self) -> list[str]:
        """What the private topics told, in order: topic and the word that matters."""
        return [f"{frame['topic']}:{_word(frame['topic'], row)}" for frame in self.pushed for row in frame["data"]]

    def forget(self) -> None:
        self.texts.clear()
        self.times.clear()

    def say(self, command: object) -> Any:
        """Sends; the newest answer."""
        assert self.socket is not None
        self.socket.receive(command if isinstance(command, str) else json.dumps(command))
        self.desk.run(0)
        return self.answers[-1] if self.answers else None

    def ask(self, op: str, *args: Any, **more: Any) -> Any:
        return self.say({"op": op, "args": list(args), **more})

    def log_in(self, *, key: str = KEY, secret: str = SECRET, expires: object = None) -> Any:
        stamp = expires if expires is not None else self.desk.simulation.now_ms() + 10_000
        made = hmac.new(secret.encode(), f"GET/realtime{stamp}".encode(), hashlib.sha256).hexdigest()
        return self.ask("auth", key, stamp, made)


class Desk:
    """`get` and `post` sign, send and give the whole answer; `ok` its result."""

    def __init__(self, **settings: Any) -> None:
        self.now = float(START_MS)
        self.simulation = Simulation(VENUE, SimulationSettings(**{"symbols": 20, **settings}), START_MS)
        self.control = Control(self.simulation)
        self.responses: list[tuple[float, Response | Dropped]] = []

    def run(self, milliseconds: float) -> None:
        target = self.now + milliseconds
        while (due := self.simulation.next_due()) is not None and due <= target:
            self.now = max(self.now, due)
            self.simulation.run_until(self.now)
        self.now = target
        self.simulation.run_until(target)

    def submit(self, method: str, path: str, params: dict[str, Any], *, key: str = KEY) -> None:
        """Signs and sends; the answer comes into `responses`."""
        query = urlencode(params) if method == "GET" else ""
        body = b"" if method == "GET" else json.dumps(params).encode()
        stamp = str(self.simulation.now_ms())
        headers = {
            "x-bapi-api-key": key,
            "x-bapi-timestamp": stamp,
            "x-bapi-recv-window": RECV_WINDOW,
            "x-bapi-sign": signed(f"{stamp}{key}{RECV_WINDOW}{query or body.decode()}"),
        }
        self._send(Request(method=method, path=path, query=query, headers=headers, body=body))

    def public(self, path: str, **params: Any) -> Any:
        """An unsigned GET; the whole answer."""
        self._send(Request(method="GET", path=path, query=urlencode(params)))
        return self._last()

    def get(self, path: str, **params: Any) -> Any:
        self.submit("GET", path, params)
        return self._last()

    def post(self, path: str, **params: Any) -> Any:
        self.submit("POST", path, params)
        return self._last()

    def ok(self, method: str, path: str, **params: Any) -> Any:
        self.submit(method, path, params)
        answer = self._last()
        assert answer["retCode"] == 0, answer
        return answer["result"]

    def order(self, **params: Any) -> Any:
        """POST order/create with sensible defaults, which None takes away."""
        given = {"category": "linear", "symbol": BTC, "side": "Buy", "orderType": "Market", "qty": "0.010", **params}
        return self.ok("POST", "/v5/order/create", **{k: v for k, v in given.items() if v is not None})

    def price(self, symbol: str = BTC) -> Decimal:
        return self.simulation.engine.quote(symbol).last

    def move(self, price: object, symbol: str = BTC) -> None:
        """Puts the market there and lets triggers run."""
        self.sim("price", symbol=symbol, price=str(price), hold_ms=10**9)

    def sim(self, name: str, **body: Any) -> Any:
        """POST to the control interface."""
        return self._control("POST", name, body)

    def look(self, name: str) -> Any:
        """GET from the control interface."""
        return self._control("GET", name, None)

    def fault(self, kind: str, match: dict[str, str] | None = None, **keys: Any) -> int:
        return int(self.sim("fault", kind=kind, match=match or {}, **keys)["id"])

    def connect(self, path: str, query: str = "") -> Wire:
        wire = Wire(self)
        socket = self.simulation.connect(path, query, {}, wire.take)
        assert not isinstance(socket, Response), socket
        wire.socket = socket
        return wire

    def public_stream(self, *topics: str) -> Wire:
        wire = self.connect("/v5/public/linear")
        if topics:
            answer = wire.ask("subscribe", *topics)
            assert [row for row in wire.answers if row["success"]], answer
        return wire

    def private_stream(self, *topics: str) -> Wire:
        wire = self.connect("/v5/private")
        assert wire.log_in()["success"]
        assert wire.ask("subscribe", *(topics or ALL_TOPICS))["success"]
        return wire

    def trading_stream(self) -> Wire:
        wire = self.connect("/v5/trade")
        assert wire.log_in()["retCode"] == 0
        return wire

    def _control(self, method: str, name: str, body: object) -> Any:
        path, _, query = name.partition("?")
        sent = b"" if body is None else json.dumps(body).encode()
        response = self.control.handle(method, f"/_sim/{path}", query, sent)
        assert response.status == 200, response.body
        return json.loads(response.body)

    def _send(self, request: Request) -> None:
        self.simulation.submit(request, lambda result: self.responses.append((self.now, result)))
        self.run(0)

    def _last(self) -> Any:
        answer = self.responses[-1][1]
        assert isinstance(answer, Response)
        return json.loads(answer.body)


def _word(topic: str, row: dict[str, Any]) -> str:
    match topic.split(".", maxsplit=1)[0]:
        case "order":
            return str(row["orderStatus"])
        case "execution":
            return str(row.get("execType", "fast"))
        case "position":
            return f"{row['side']}{row['size']}"
        case _:
            return ",".join(coin["coin"] for coin in row["coin"])
