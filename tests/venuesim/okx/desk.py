"""The façade inside a simulation whose clock the test moves: signed requests and the control interface."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from tools.venuesim.control import Control
from tools.venuesim.kernel import Simulation, SimulationSettings
from tools.venuesim.okx.facade import VENUE
from tools.venuesim.okx.signing import signature
from tools.venuesim.wire import Dropped, Request, Response

START_MS = 1_790_000_000_000
BTC = "BTC-USDT-SWAP"
PLACE, BATCH, ALGO = "/api/v5/trade/order", "/api/v5/trade/batch-orders", "/api/v5/trade/order-algo"


class Desk:
    """`get` and `post` sign, send and give the whole answer; `ok` its rows."""

    def __init__(self, **settings: Any) -> None:
        self.now = float(START_MS)
        self.simulation = Simulation(VENUE, SimulationSettings(**{"symbols": 20, **settings}), START_MS)
        self.control = Control(self.simulation)
        self.responses: list[Response | Dropped] = []

    def run(self, milliseconds: float) -> None:
        target = self.now + milliseconds
        while (due := self.simulation.next_due()) is not None and due <= target:
            self.now = max(self.now, due)
            self.simulation.run_until(self.now)
        self.now = target
        self.simulation.run_until(target)

    def submit(
        self, method: str, path: str, params: object, headers: Mapping[str, str] | None = None, secret: str = "sim"
    ) -> Response:
        """Signs and sends; ``headers`` replace those that are usual, None takes one away."""
        query = urlencode(params) if method == "GET" and isinstance(params, Mapping) else ""
        body = b"" if method == "GET" else params if isinstance(params, bytes) else json.dumps(params).encode()
        stamp = (headers or {}).get("ok-access-timestamp") or iso(self.simulation.now_ms())
        target = f"{path}?{query}" if query else path
        sent = {
            "ok-access-key": "sim",
            "ok-access-passphrase": "sim",
            "ok-access-timestamp": stamp,
            "ok-access-sign": signature(secret, f"{stamp}{method}{target}{body.decode()}"),
            **(headers or {}),
        }
        request = Request(method=method, path=path, query=query, headers=sent, body=body)
        self.simulation.submit(request, self.responses.append)
        self.run(0)
        answer = self.responses[-1]
        assert isinstance(answer, Response)
        return answer

    def get(self, path: str, **params: Any) -> Any:
        return json.loads(self.submit("GET", f"/api/v5/{path}", params).body)

    def post(self, path: str, /, **params: Any) -> Any:
        return json.loads(self.submit("POST", f"/api/v5/{path}", params).body)

    def many(self, path: str, rows: Sequence[object]) -> Any:
        return json.loads(self.submit("POST", f"/api/v5/{path}", list(rows)).body)

    def ok(self, method: str, path: str, /, **params: Any) -> list[dict[str, Any]]:
        answer = self.get(path, **params) if method == "GET" else self.post(path, **params)
        assert answer["code"] == "0", answer
        rows: list[dict[str, Any]] = answer["data"]
        return rows

    def one(self, method: str, path: str, /, **params: Any) -> dict[str, Any]:
        """The only row."""
        rows = self.ok(method, path, **params)
        assert len(rows) == 1, rows
        return rows[0]

    def place(self, **params: Any) -> Any:
        """POST trade/order with sensible defaults, which None takes away; the whole answer."""
        return self.post("trade/order", **_given(params, side="buy", ordType="market", sz="1"))

    def order(self, **params: Any) -> str:
        """The same, accepted; its number."""
        answer = self.place(**params)
        assert answer["code"] == "0", answer
        return str(answer["data"][0]["ordId"])

    def stop(self, **params: Any) -> Any:
        """POST trade/order-algo with sensible defaults; the whole answer."""
        usual = {"side": "sell", "ordType": "conditional", "sz": "1", "reduceOnly": True}
        return self.post("trade/order-algo", **_given(params, **usual))

    def algo(self, **params: Any) -> str:
        """The same, accepted; its number."""
        answer = self.stop(**params)
        assert answer["code"] == "0", answer
        return str(answer["data"][0]["algoId"])

    def row(self, order_id: str, symbol: str = BTC) -> dict[str, Any]:
        return self.one("GET", "trade/order", instId=symbol, ordId=order_id)

    def algo_row(self, algo_id: str) -> dict[str, Any]:
        return self.one("GET", "trade/order-algo", algoId=algo_id)

    def position(self, symbol: str = BTC) -> dict[str, Any]:
        return self.one("GET", "account/positions", instId=symbol)

    def price(self, symbol: str = BTC) -> Decimal:
        return self.simulation.engine.quote(symbol).last

    def off(self, share: str, symbol: str = BTC) -> str:
        """A multiple of the price, on the grid."""
        tick = self.simulation.engine.instrument(symbol).tick
        return f"{(self.price(symbol) * Decimal(share) // tick * tick).normalize():f}"

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

    def _control(self, method: str, name: str, body: object) -> Any:
        path, _, query = name.partition("?")
        sent = b"" if body is None else json.dumps(body).encode()
        response = self.control.handle(method, f"/_sim/{path}", query, sent)
        assert response.status == 200, response.body
        return json.loads(response.body)


def iso(now_ms: int) -> str:
    moment = datetime.fromtimestamp(now_ms / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{now_ms % 1000:03d}Z"


def code_of(answer: Any) -> str:
    """The code that says why: that of the item where there is one."""
    data = answer["data"]
    return str(data[0]["sCode"] if data and "sCode" in data[0] else answer["code"])


def _given(params: dict[str, Any], **usual: Any) -> dict[str, Any]:
    given = {"instId": BTC, "tdMode": "cross", **usual, **params}
    return {name: value for name, value in given.items() if value is not None}
