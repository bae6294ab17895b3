"""The façade inside a simulation whose clock the test moves."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from tests.venuesim.binance.bench import START_MS
from tools.venuesim.binance import signing
from tools.venuesim.binance.facade import VENUE
from tools.venuesim.kernel import Simulation, SimulationSettings
from tools.venuesim.wire import Dropped, Frame, FrameKind, Request, Response


class Desk:
    """A simulation whose clock the test moves, with one private stream."""

    def __init__(self, **settings: Any) -> None:
        self.now = float(START_MS)
        self.simulation = Simulation(VENUE, SimulationSettings(symbols=20, **settings), START_MS)
        self.frames: list[tuple[float, Any]] = []
        self.raw: list[bytes] = []
        """Every text frame as it came, garbage too."""
        self.closes: list[int] = []
        self.replied_ms = 0.0
        self.answers: list[tuple[float, Response | Dropped]] = []
        self.reconnect()
        self.begun = self.now

    def reconnect(self) -> None:
        """A private stream on the key of the moment."""
        key = json.loads(self._answered("POST", "/fapi/v1/listenKey", "").body)["listenKey"]
        self.open("/private/ws", f"listenKey={key}")

    def open(self, path: str, query: str) -> None:
        socket = self.simulation.connect(path, query, {}, self._take)
        assert not isinstance(socket, Response)

    def run(self, milliseconds: float) -> None:
        target = self.now + milliseconds
        while (due := self.simulation.next_due()) is not None and due <= target:
            self.now = max(self.now, due)
            self.simulation.run_until(self.now)
        self.now = target
        self.simulation.run_until(target)

    def submit(self, method: str, path: str, params: dict[str, Any]) -> None:
        text = urlencode({"timestamp": self.simulation.now_ms(), **params})
        self._submit(method, path, f"{text}&signature={signing.signature('sim', text)}")

    def ask(self, method: str, path: str, **params: Any) -> Any:
        """Sends and waits; the JSON of the answer."""
        self.submit(method, path, params)
        self.run(2_000)
        answer = self.answers[-1][1]
        assert isinstance(answer, Response)
        return json.loads(answer.body)

    @property
    def events(self) -> list[str]:
        return [payload["e"] for _, payload in self.frames]

    def _answered(self, method: str, path: str, query: str) -> Response:
        self._submit(method, path, query)
        self.run(2_000)
        answer = self.answers.pop()[1]
        assert isinstance(answer, Response)
        return answer

    def _submit(self, method: str, path: str, query: str, key: str | None = "sim") -> None:
        headers = {} if key is None else {"x-mbx-apikey": key}
        request = Request(method=method, path=path, query=query, headers=headers)
        self.simulation.submit(request, lambda result: self.answers.append((self.now, result)))

    def plain(self, method: str, path: str, key: str | None = "sim") -> Response:
        """Sends without parameters and waits."""
        self._submit(method, path, "", key)
        self.run(0)
        answer = self.answers[-1][1]
        assert isinstance(answer, Response)
        return answer

    def trading_socket(self) -> Callable[..., Any]:
        """Connects; call it with a method and parameters, it signs, waits and returns the answer."""
        replies: list[Any] = []

        def take(frame: Frame) -> None:
            if frame.kind is FrameKind.TEXT:
                self.replied_ms = self.now
                replies.append(json.loads(frame.data))

        socket = self.simulation.connect("/ws-fapi/v1", "", {}, take)
        assert not isinstance(socket, Response)

        def ask(method: str, **params: Any) -> Any:
            values = {"apiKey": "sim", "timestamp": self.simulation.now_ms(), **params}
            payload = "&".join(f"{name}={value}" for name, value in sorted(values.items()))
            signed = {**values, "signature": signing.signature("sim", payload)}
            socket.receive(json.dumps({"id": "1", "method": method, "params": signed}))
            self.run(1_000)
            return replies[-1]

        return ask

    def _take(self, frame: Frame) -> None:
        if frame.kind is FrameKind.CLOSE:
            self.closes.append(frame.close_code)
        if frame.kind is not FrameKind.TEXT:
            return
        self.raw.append(frame.data)
        if frame.data.startswith(b"{"):
            self.frames.append((self.now, json.loads(frame.data)))
