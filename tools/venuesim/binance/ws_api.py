"""The WebSocket API (/ws-fapi/v1): orders and queries over a socket, answered like their REST endpoints."""

from __future__ import annotations

import json
from typing import Any, Protocol

from tools.venuesim.binance import signing
from tools.venuesim.binance.errors import VenueError
from tools.venuesim.binance.limits import (
    ORDERS_PER_MINUTE,
    ORDERS_PER_TEN_SECONDS,
    WEIGHT_PER_MINUTE,
    Limits,
)
from tools.venuesim.binance.params import Params
from tools.venuesim.binance.sockets import KeepAlive
from tools.venuesim.wire import Host, Lane, Outbox, RequestInfo

# Method -> endpoint; the flag says whether a signature is needed.
_METHODS: dict[str, tuple[str, str, bool]] = {
    "order.place": ("POST", "/fapi/v1/order", True),
    "order.modify": ("PUT", "/fapi/v1/order", True),
    "order.cancel": ("DELETE", "/fapi/v1/order", True),
    "order.status": ("GET", "/fapi/v1/order", True),
    "algoOrder.place": ("POST", "/fapi/v1/algoOrder", True),
    "algoOrder.cancel": ("DELETE", "/fapi/v1/algoOrder", True),
    "account.balance": ("GET", "/fapi/v2/balance", True),
    "v2/account.balance": ("GET", "/fapi/v3/balance", True),
    "account.status": ("GET", "/fapi/v2/account", True),
    "v2/account.status": ("GET", "/fapi/v3/account", True),
    "account.position": ("GET", "/fapi/v2/positionRisk", True),
    "v2/account.position": ("GET", "/fapi/v3/positionRisk", True),
    "userDataStream.start": ("POST", "/fapi/v1/listenKey", False),
    "userDataStream.ping": ("PUT", "/fapi/v1/listenKey", False),
    "userDataStream.stop": ("DELETE", "/fapi/v1/listenKey", False),
    "depth": ("GET", "/fapi/v1/depth", False),
    "ticker.price": ("GET", "/fapi/v1/ticker/price", False),
    "ticker.book": ("GET", "/fapi/v1/ticker/bookTicker", False),
}
_PUBLIC = frozenset({"depth", "ticker.price", "ticker.book"})


class Endpoints(Protocol):
    """The façade as this socket uses it."""

    @property
    def limits(self) -> Limits: ...

    def call(self, method: str, path: str, params: Params) -> object:
        """Runs an endpoint; raises `VenueError`."""
        ...

    def lane_of(self, method: str, path: str) -> Lane:
        """What an endpoint is for."""
        ...

    def check_key(self, key: str | None) -> None:
        """Raises -2014 or -2015."""
        ...


class ApiSocket:
    """One connection. Account events never come here; they come on the private stream."""

    def __init__(self, host: Host, outbox: Outbox, endpoints: Endpoints) -> None:
        self._host = host
        self._outbox = outbox
        self._endpoints = endpoints
        self._keep_alive = KeepAlive(host, outbox)
        endpoints.limits.weight.roll(host.now_ms())

    def describe(self, text: str) -> RequestInfo | None:
        """Lane, symbol and client ids of a request."""
        command = _parsed(text)
        method = str(command.get("method", "?"))
        sent = command.get("params")
        params: dict[str, Any] = sent if isinstance(sent, dict) else {}
        names = ("newClientOrderId", "origClientOrderId", "clientAlgoId")
        ids = tuple(str(params[name]) for name in names if params.get(name))
        known = _METHODS.get(method)
        lane = self._endpoints.lane_of(known[0], known[1]) if known else Lane.SESSION
        symbol = params.get("symbol")
        return RequestInfo(lane=lane, symbol=str(symbol) if symbol else None, client_ids=ids, op=method)

    def receive(self, text: str) -> None:
        """One request; its answer carries the same id."""
        command = _parsed(text)
        method, sent = str(command.get("method", "")), command.get("params")
        values = {key: _plain(value) for key, value in sent.items()} if isinstance(sent, dict) else {}
        answer: dict[str, Any] = {"id": command.get("id")}
        code: int | None = None
        try:
            answer |= {"status": 200, "result": self._result(method, values)}
        except VenueError as error:
            code = error.code
            answer |= {"status": error.status, "error": error.body()}
        if values.get("returnRateLimits") != "false":
            answer["rateLimits"] = self._rate_limits(method)
        self._outbox.reply(json.dumps(answer, separators=(",", ":")), code=code, status=answer["status"])

    def closed(self) -> None:
        """The socket is gone."""
        self._keep_alive.stop()

    def _result(self, method: str, values: dict[str, str]) -> object:
        known = _METHODS.get(method)
        if known is None:
            raise VenueError(-1020, text="This operation is not supported.")
        if method not in _PUBLIC:
            self._endpoints.check_key(values.get("apiKey"))
        if known[2]:
            signing.check_time(values.get("timestamp"), values.get("recvWindow"), self._host.now_ms())
            unsigned = sorted((name, value) for name, value in values.items() if name != "signature")
            payload = "&".join(f"{name}={value}" for name, value in unsigned)
            signing.check_signature(values.get("signature"), signing.API_SECRET, payload)
        return self._endpoints.call(known[0], known[1], Params(values))

    def _rate_limits(self, method: str) -> list[dict[str, object]]:
        limits = self._endpoints.limits
        rows = [_limit("REQUEST_WEIGHT", "MINUTE", 1, WEIGHT_PER_MINUTE, limits.weight.used)]
        if method in ("order.place", "order.modify", "algoOrder.place"):
            rows = [
                _limit("ORDERS", "SECOND", 10, ORDERS_PER_TEN_SECONDS, limits.orders_ten_seconds.used),
                _limit("ORDERS", "MINUTE", 1, ORDERS_PER_MINUTE, limits.orders_minute.used),
            ]
        return rows


def _limit(kind: str, interval: str, number: int, limit: int, count: int) -> dict[str, object]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit, "count": count}


def _parsed(text: str) -> dict[str, Any]:
    try:
        command = json.loads(text)
    except ValueError:
        return {}
    return command if isinstance(command, dict) else {}


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
