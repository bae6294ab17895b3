"""The trading socket (/ws-fapi/v1): orders and queries over a WebSocket, answered like their REST endpoints.

Order counts are shared with REST, request weight is not. A session may be logged on with an Ed25519 key; its requests
then need neither key nor signature.
"""

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
    request_weight,
)
from tools.venuesim.binance.params import Params
from tools.venuesim.binance.sockets import KeepAlive
from tools.venuesim.json_text import json_text
from tools.venuesim.wire import Host, Lane, Outbox, RequestInfo, Response

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
_ORDERS = frozenset({"order.place", "order.modify", "algoOrder.place"})
_SESSION_WEIGHT = 2
HANDSHAKE_WEIGHT = 5


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

    def check_key(self, key: str | None) -> str:
        """The key; raises -2014 or -2015."""
        ...

    def left(self, socket: ApiSocket) -> None:
        """The connection is gone."""
        ...


class ApiSocket:
    """One connection. Account events never come here; they come on the private stream."""

    def __init__(self, host: Host, outbox: Outbox, endpoints: Endpoints, *, tells_limits: bool) -> None:
        self._host = host
        self._outbox = outbox
        self._endpoints = endpoints
        self._tells_limits = tells_limits
        self._keep_alive = KeepAlive(host, outbox)
        self._connected_ms = host.now_ms()
        self._key: str | None = None
        """Of the session that is logged on."""
        self._authorized_ms: int | None = None

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
        tells_limits = values.get("returnRateLimits", str(self._tells_limits).lower()) != "false"
        try:
            answer: dict[str, Any] = {"status": 200, "result": self._result(method, values)}
            code = None
        except VenueError as error:
            answer, code = {"status": error.status, "error": error.body()}, error.code
        if tells_limits:
            answer["rateLimits"] = self._rate_limits(method)
        self._answer({"id": command.get("id"), **answer}, code)

    def refuse(self, text: str, error: Response) -> None:
        """An injected error, in this socket's form."""
        try:
            body = json.loads(error.body)
        except ValueError:
            body = {}
        code = body.get("code", -1000)
        answer = {"id": _parsed(text).get("id"), "status": error.status}
        self._answer({**answer, "error": {"code": code, "msg": body.get("msg", "")}}, code)

    def revoke(self) -> None:
        """Ends a session whose key is no longer valid, and says so unasked."""
        if self._key is not None:
            self._log_off()
            text = json_text({"id": None, "status": 401, "error": VenueError(-2015).body()})
            self._outbox.send(text, event="error")

    def closed(self) -> None:
        """The socket is gone."""
        self._keep_alive.stop()
        self._endpoints.left(self)

    def _answer(self, answer: dict[str, Any], code: int | None) -> None:
        self._outbox.reply(json_text(answer), code=code, status=answer["status"])

    def _result(self, method: str, values: dict[str, str]) -> object:
        session = {"session.logon": self._log_on, "session.status": self._status, "session.logout": self._log_off}
        pool, now_ms = self._endpoints.limits.socket, self._host.now_ms()
        if method in session:
            pool.charge(now_ms, _SESSION_WEIGHT)
            return session[method](values)
        known = _METHODS.get(method)
        if known is None:
            raise VenueError(-1020)
        http_method, path, signed = known
        params = Params(values)
        pool.charge(now_ms, request_weight(http_method, path, params))
        if method not in _PUBLIC:
            self._authorise(values, signed=signed)
        return self._endpoints.call(http_method, path, params)

    def _authorise(self, values: dict[str, str], *, signed: bool) -> None:
        """By key and signature, or by the session when neither was sent."""
        by_session = self._key is not None and "signature" not in values
        key = self._endpoints.check_key(self._key if by_session else values.get("apiKey"))
        if signed:
            signing.check_time(values.get("timestamp"), values.get("recvWindow"), self._host.now_ms())
            if not by_session:
                signing.check_signed_by(key, values.get("signature"), _payload(values))

    def _log_on(self, values: dict[str, str]) -> object:
        """session.logon: Ed25519 keys only."""
        key = self._endpoints.check_key(values.get("apiKey"))
        signing.check_time(values.get("timestamp"), values.get("recvWindow"), self._host.now_ms())
        if key != signing.ED25519_KEY:
            raise VenueError(-4056)
        signing.check_signed_by(key, values.get("signature"), _payload(values))
        self._key, self._authorized_ms = key, self._host.now_ms()
        return self._status({})

    def _log_off(self, _: dict[str, str] | None = None) -> object:
        self._key = self._authorized_ms = None
        return self._status({})

    def _status(self, _: dict[str, str]) -> object:
        return {
            "apiKey": self._key,
            "authorizedSince": self._authorized_ms,
            "connectedSince": self._connected_ms,
            "returnRateLimits": self._tells_limits,
            "serverTime": self._host.now_ms(),
        }

    def _rate_limits(self, method: str) -> list[dict[str, object]]:
        limits, now_ms = self._endpoints.limits, self._host.now_ms()
        if method not in _ORDERS:
            return [_limit("REQUEST_WEIGHT", "MINUTE", 1, WEIGHT_PER_MINUTE, limits.socket.used(now_ms))]
        ten_seconds, minute = limits.orders_used(now_ms)
        return [
            _limit("ORDERS", "SECOND", 10, ORDERS_PER_TEN_SECONDS, ten_seconds),
            _limit("ORDERS", "MINUTE", 1, ORDERS_PER_MINUTE, minute),
        ]


def _limit(kind: str, interval: str, number: int, limit: int, count: int) -> dict[str, object]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit, "count": count}


def _payload(values: dict[str, str]) -> str:
    """What was signed: all parameters by name, values as sent."""
    return "&".join(f"{name}={value}" for name, value in sorted(values.items()) if name != "signature")


def _parsed(text: str) -> dict[str, Any]:
    try:
        command = json.loads(text)
    except ValueError:
        return {}
    return command if isinstance(command, dict) else {}


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
