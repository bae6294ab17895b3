"""A simulation in the test's own hands: requests, sockets and time without a server."""

from __future__ import annotations

import json
from typing import Any

from tests.venuesim.builders import BTC, START_MS, d
from tests.venuesim.plain_facade import VENUE, PlainFacade
from tools.venuesim.control import Control
from tools.venuesim.kernel import Simulation, SimulationSettings
from tools.venuesim.sockets import Socket
from tools.venuesim.wire import Dropped, Frame, FrameKind, Request, Response


class Call:
    """One request and what became of it."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.result: Response | Dropped | None = None
        self.answered_ms: float | None = None

    def reply(self, result: Response | Dropped) -> None:
        assert self.result is None, "answered twice"
        self.result = result
        self.answered_ms = self._rig.now - START_MS

    @property
    def dropped(self) -> bool:
        return isinstance(self.result, Dropped)

    @property
    def status(self) -> int:
        assert isinstance(self.result, Response)
        return self.result.status

    @property
    def json(self) -> Any:
        assert isinstance(self.result, Response)
        return json.loads(self.result.body)


class Client:
    """One socket's other end."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.frames: list[tuple[float, Frame]] = []
        self.socket: Socket | None = None

    def deliver(self, frame: Frame) -> None:
        self.frames.append((self._rig.now - START_MS, frame))

    @property
    def texts(self) -> list[str]:
        return [frame.data.decode() for _, frame in self.frames if frame.kind is FrameKind.TEXT]

    @property
    def times(self) -> list[float]:
        return [when for when, _ in self.frames]

    @property
    def closed_with(self) -> int | None:
        codes = [frame.close_code for _, frame in self.frames if frame.kind is FrameKind.CLOSE]
        return codes[0] if codes else None

    def say(self, text: str) -> None:
        assert self.socket is not None
        self.socket.receive(text)


class Rig:
    def __init__(self, **settings: Any) -> None:
        self.log: list[str] = []
        self.now = float(START_MS)
        self.simulation = Simulation(VENUE, SimulationSettings(**settings), START_MS, self.log.append)
        self.control = Control(self.simulation)
        self.post("price", symbol=BTC, price="1000", hold_ms=10**12)

    @property
    def facade(self) -> PlainFacade:
        facade = self.simulation.facade
        assert isinstance(facade, PlainFacade)
        return facade

    def pass_ms(self, delta: float) -> None:
        """Let time pass, stopping at everything that is due on the way."""
        target = self.now + delta
        while (due := self.simulation.next_due()) is not None and due <= target:
            self.now = max(self.now, due)
            self.simulation.run_until(self.now)
        self.now = target
        self.simulation.run_until(target)

    def call(self, method: str, path: str, **query: object) -> Call:
        call = Call(self)
        text = "&".join(f"{key}={value}" for key, value in query.items())
        self.simulation.submit(Request(method=method, path=path, query=text), call.reply)
        return call

    def order(self, **query: object) -> Call:
        return self.call("POST", "/order", **query)

    def stop(self, trigger: object = 900, **query: object) -> Call:
        return self.call("POST", "/stop", trigger=trigger, **query)

    def connect(self, path: str = "/ws", query: str = "") -> Client | Response:
        client = Client(self)
        socket = self.simulation.connect(path, query, {}, client.deliver)
        if isinstance(socket, Response):
            return socket
        client.socket = socket
        return client

    def client(self) -> Client:
        client = self.connect()
        assert isinstance(client, Client)
        return client

    def fault(self, kind: str, match: dict[str, str] | None = None, **keys: Any) -> int:
        return int(self.post("fault", kind=kind, match=match or {}, **keys)["id"])

    def get(self, path: str) -> Any:
        name, _, query = path.partition("?")
        return self._control("GET", name, query, b"")

    def post(self, name: str, **body: Any) -> Any:
        return self._control("POST", name, "", json.dumps(body).encode())

    def delete(self, path: str) -> Any:
        name, _, query = path.partition("?")
        return self._control("DELETE", name, query, b"")

    def refuses(self, name: str, **body: Any) -> str:
        """The text of a 400."""
        response = self.control.handle("POST", f"/_sim/{name}", "", json.dumps(body).encode())
        assert response.status == 400
        return str(json.loads(response.body)["error"])

    def held(self) -> str:
        """Total position in BTC, as text."""
        rows = self.get("state")["positions"]
        return str(sum(d(row["qty"]) if row["side"] == "long" else -d(row["qty"]) for row in rows))

    def _control(self, method: str, name: str, query: str, body: bytes) -> Any:
        response = self.control.handle(method, f"/_sim/{name}", query, body)
        assert response.status == 200, response.body
        return json.loads(response.body)
