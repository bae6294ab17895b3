"""A façade over a real engine with a clock the test moves: no sockets, no waiting."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any
from urllib.parse import urlencode

from tools.venuesim.binance import signing
from tools.venuesim.binance.facade import VENUE
from tools.venuesim.exchange.engine import MatchingEngine
from tools.venuesim.exchange.market import MarketSettings
from tools.venuesim.exchange.model import PositionMode
from tools.venuesim.exchange.state import EngineSettings, OpenGate
from tools.venuesim.timers import Timed, Timers
from tools.venuesim.wire import Injected, Request, Response, StreamSession

START_MS = 1_790_000_000_000


@dataclass
class Fault:
    """A fault as the façade sees it."""

    kind: str
    status: int | None = None
    code: int | str | None = None
    body: object = None
    delay_ms: float | None = None
    duration_ms: float | None = None
    fraction: float | None = None


@dataclass
class Sent:
    """What one socket got."""

    frames: list[dict[str, Any] | list[Any]] = field(default_factory=list)
    replies: list[dict[str, Any]] = field(default_factory=list)
    events: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    pings: int = 0
    closed: tuple[int, str] | None = None

    def send(
        self, payload: str | bytes, *, event: str, symbol: str | None = None, client_id: str | None = None
    ) -> None:
        self.frames.append(json.loads(payload))
        self.events.append((event, symbol, client_id))

    def reply(self, payload: str | bytes, *, code: int | str | None = None, status: int | None = None) -> None:
        self.replies.append(json.loads(payload))

    def ping(self, data: bytes = b"") -> None:
        self.pings += 1

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = (code, reason)

    def of(self, event: str) -> list[dict[str, Any]]:
        """The payloads of one event type, wrapping removed."""
        rows = [frame["data"] if isinstance(frame, dict) and "stream" in frame else frame for frame in self.frames]
        return [row for row in rows if isinstance(row, dict) and row.get("e") == event]

    @property
    def types(self) -> list[str]:
        """Event types in arrival order; order and algo events with their status."""
        names = []
        for frame in self.frames:
            assert isinstance(frame, dict)
            body = frame.get("o", {})
            names.append(f"{frame['e']}:{body['X']}" if isinstance(body, dict) and "X" in body else frame["e"])
        return names


class Bench:
    """Implements `wire.Host`; `get`, `post`, `put`, `delete` sign and send, `run` moves the clock."""

    def __init__(self, *, symbols: int = 20, mode: PositionMode = PositionMode.ONE_WAY, balance: str = "10000") -> None:
        self.seed = 1
        self.clock_ms = float(START_MS)
        self.timers = Timers()
        settings = EngineSettings(
            policy=VENUE.policy,
            market=MarketSettings(seed=1, start_ms=START_MS, hz=2.0),
            balances={"USDT": Decimal(balance), "USDC": Decimal(balance)},
            position_mode=mode,
        )
        self.exchange = MatchingEngine(VENUE.instruments(symbols, 1), settings, self)
        self.facade = VENUE.facade(self)
        self.exchange.connect(self.facade.on_events, OpenGate())

    def now_ms(self) -> int:
        return int(self.clock_ms)

    def market_ms(self) -> float:
        return self.clock_ms

    def call_later(self, delay_ms: float, action: Callable[[], None]) -> Timed:
        return self.timers.add(self.clock_ms + delay_ms, action)

    def behind_ms(self) -> float:
        return 0.0

    def rng(self, name: str) -> Random:
        return Random(name)

    def take_fault(
        self, kind: str, *, symbol: str | None = None, client_id: str | None = None, path: str | None = None
    ) -> Injected | None:
        return None

    def run(self, milliseconds: float) -> None:
        """Moves the clock, running every timer and a market tick each half second."""
        end = self.clock_ms + milliseconds
        while True:
            due = self.timers.pop_due(min(end, self.clock_ms + 500 - self.clock_ms % 500))
            if due is not None:
                self.clock_ms = max(self.clock_ms, due.due_ms)
                due.action()
                continue
            self.clock_ms = min(end, self.clock_ms + 500 - self.clock_ms % 500)
            self.exchange.tick()
            if self.clock_ms >= end:
                return

    def leap(self, milliseconds: float) -> None:
        """Moves the clock far: timers run, the market does not tick in between."""
        end = self.clock_ms + milliseconds
        while (due := self.timers.pop_due(end)) is not None:
            self.clock_ms = max(self.clock_ms, due.due_ms)
            due.action()
        self.clock_ms = end

    def raw(self, method: str, path: str, query: str = "", body: str = "", key: str | None = "sim") -> Response:
        headers = {"x-mbx-apikey": key} if key is not None else {}
        request = Request(method=method, path=path, query=query, headers=headers, body=body.encode())
        return self.facade.handle(request)

    def send(self, method: str, path: str, **params: Any) -> Response:
        """A signed request: parameters in the body for POST and PUT, in the query otherwise."""
        text = urlencode({"timestamp": self.now_ms(), **params})
        text += f"&signature={signing.signature('sim', text)}"
        in_body = method in ("POST", "PUT")
        return self.raw(method, path, query="" if in_body else text, body=text if in_body else "")

    def ok(self, method: str, path: str, **params: Any) -> Any:
        """The answer of a request that must succeed."""
        response = self.send(method, path, **params)
        assert response.status == 200, response.body
        return json.loads(response.body)

    def code(self, method: str, path: str, **params: Any) -> int:
        """The error code of a request that must fail."""
        response = self.send(method, path, **params)
        assert response.status != 200, response.body
        number = json.loads(response.body)["code"]
        assert response.code == number
        assert isinstance(number, int)
        return number

    def public(self, path: str, **params: Any) -> Any:
        response = self.raw("GET", path, query=urlencode(params), key=None)
        assert response.status == 200, response.body
        return json.loads(response.body)

    def order(self, **params: Any) -> Any:
        """POST order with sensible defaults."""
        return self.ok("POST", "/fapi/v1/order", **order_params(**params))

    def refused_order(self, **params: Any) -> int:
        return self.code("POST", "/fapi/v1/order", **order_params(**params))

    def stop(self, **params: Any) -> Any:
        """POST algoOrder with sensible defaults."""
        return self.ok("POST", "/fapi/v1/algoOrder", **stop_params(**params))

    def refused_stop(self, **params: Any) -> int:
        return self.code("POST", "/fapi/v1/algoOrder", **stop_params(**params))

    def price(self, symbol: str = "BTCUSDT") -> Decimal:
        return self.exchange.quote(symbol).last

    def move(self, price: Decimal | str, symbol: str = "BTCUSDT") -> None:
        """Puts last, book, index and mark."""
        self.exchange.set_price(symbol, Decimal(price), hold_ms=60_000)

    def open(self, path: str, query: str = "") -> tuple[StreamSession, Sent]:
        """Connects a socket."""
        sent = Sent()
        session = self.facade.open_stream(path, query, {}, sent)
        assert not isinstance(session, Response)
        return session, sent

    def api(self, query: str = "") -> Api:
        """A connected trading socket."""
        return Api(self, *self.open("/ws-fapi/v1", query))

    def user_stream(self) -> Sent:
        """A connected private stream."""
        key = json.loads(self.raw("POST", "/fapi/v1/listenKey").body)["listenKey"]
        return self.open("/private/ws", f"listenKey={key}")[1]


class Api:
    """The trading socket's other end: `ask` signs, sends and returns the answer."""

    def __init__(self, bench: Bench, session: StreamSession, sent: Sent) -> None:
        self._bench = bench
        self.session = session
        self.sent = sent

    def ask(self, method: str, *, key: str = "sim", **params: Any) -> Any:
        return self.plain(method, **self.signed(key, params))

    def plain(self, method: str, **params: Any) -> Any:
        """Without key and signature."""
        self.session.receive(json.dumps({"id": str(len(self.sent.replies)), "method": method, "params": params}))
        return self.sent.replies[-1]

    def signed(self, key: str, params: dict[str, Any]) -> dict[str, Any]:
        values = {"apiKey": key, "timestamp": self._bench.now_ms(), **params}
        payload = "&".join(f"{name}={value}" for name, value in sorted(values.items()))
        return {**values, "signature": sign(key, payload)}


def sign(key: str, payload: str) -> str:
    """With the secret or the private key of one of the account's keys."""
    if key != signing.ED25519_KEY:
        return signing.signature(signing.API_SECRET, payload)
    return base64.b64encode(signing.session_key().sign(payload.encode())).decode()


def order_params(**params: Any) -> dict[str, Any]:
    given = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.010", "newOrderRespType": "RESULT"}
    return {name: value for name, value in {**given, **params}.items() if value is not None}


def stop_params(**params: Any) -> dict[str, Any]:
    given = {
        "algoType": "CONDITIONAL",
        "symbol": "BTCUSDT",
        "side": "SELL",
        "type": "STOP_MARKET",
        "quantity": "0.010",
        "triggerPrice": "70000",
        "workingType": "MARK_PRICE",
        "reduceOnly": "true",
    }
    return {name: value for name, value in {**given, **params}.items() if value is not None}
