"""The trading socket (/v5/trade): order commands over a WebSocket, carried out and limited like their REST endpoints.

The session is logged in once; its commands need no signature. The account's events never come here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Protocol

from msgspec.structs import replace

from tools.venuesim.bybit.connection import GONE, IdleCut, parsed, short_id
from tools.venuesim.bybit.errors import VenueError, envelope, json_response
from tools.venuesim.json_text import json_bytes, json_text
from tools.venuesim.wire import Host, Lane, Outbox, Request, RequestInfo, Response

OPS = {
    "order.create": "/v5/order/create",
    "order.amend": "/v5/order/amend",
    "order.cancel": "/v5/order/cancel",
    "order.create-batch": "/v5/order/create-batch",
    "order.amend-batch": "/v5/order/amend-batch",
    "order.cancel-batch": "/v5/order/cancel-batch",
}
LONGEST_ID = 36
KEPT_IDS = 10_000
REPEATED_LOGIN = 20001
REPEATED_ID = 20006
UNKNOWN_OP = 10404
SERVER_ERROR = 10016
BAD_REQUEST = 10001
_HEADERS = ("X-Bapi-Limit", "X-Bapi-Limit-Status", "X-Bapi-Limit-Reset-Timestamp", "Traceid", "Timenow")


class Endpoints(Protocol):
    """The façade as this socket uses it."""

    def describe(self, request: Request) -> RequestInfo: ...

    def carry_out(self, request: Request) -> Response:
        """A private request whose sender is known already: no key, no signature; errors are answers."""
        ...

    def check_login(self, args: object) -> None:
        """Raises `VenueError` unless the arguments of an auth command are right."""
        ...

    def check_time(self, timestamp: str | None, recv_window: str | None) -> None:
        """Raises `VenueError` unless the stamp lies in the window."""
        ...


class TradeSocket:
    """One connection to /v5/trade."""

    def __init__(
        self,
        host: Host,
        outbox: Outbox,
        endpoints: Endpoints,
        limit_ms: int,
        names: Random,
        left: Callable[[TradeSocket], None],
    ) -> None:
        self._left = left
        self._host = host
        self._outbox = outbox
        self._endpoints = endpoints
        self._conn_id = short_id(names)
        self._names = names
        self._logged_in = False
        self._used_ids: deque[str] = deque(maxlen=KEPT_IDS)
        self._idle = IdleCut(host, outbox, limit_ms)

    def describe(self, text: str) -> RequestInfo | None:
        """Lane, symbol and client ids of a command; None for pings."""
        command = parsed(text)
        op = command.get("op")
        if op == "ping":
            return None
        if isinstance(op, str) and op in OPS:
            return replace(self._endpoints.describe(_request(op, command)), op=op)
        return RequestInfo(lane=Lane.SESSION, op=op if isinstance(op, str) else "?")

    def receive(self, text: str) -> None:
        """auth, ping, or one order command."""
        self._idle.touch()
        command = parsed(text)
        op = command.get("op")
        if op == "ping":
            pong = {"retCode": 0, "retMsg": "OK", "op": "pong", "data": [str(self._host.now_ms())]}
            self._outbox.reply(json_text({**pong, "connId": self._conn_id}))
        elif op == "auth":
            self._log_in(command)
        else:
            self._command(command, op if isinstance(op, str) else "")

    def refuse(self, text: str, error: Response) -> None:
        """An injected error, in this socket's form."""
        command = parsed(text)
        self._answer(command, str(command.get("op", "")), error)

    def closed(self) -> None:
        """The socket is gone."""
        self._idle.stop()
        self._left(self)

    def revoke(self) -> None:
        """The key is no longer valid."""
        if self._logged_in:
            self._outbox.close(GONE, "API key is invalid.")

    def _log_in(self, command: dict[str, Any]) -> None:
        try:
            if self._logged_in:
                raise VenueError(REPEATED_LOGIN, "Repeat auth")
            self._endpoints.check_login(command.get("args"))
        except VenueError as error:
            self._tell_login(command, error.code, error.text)
            if not self._logged_in:
                self._outbox.close(GONE, error.text)
            return
        self._logged_in = True
        self._tell_login(command, 0, "OK")

    def _tell_login(self, command: dict[str, Any], code: int, text: str) -> None:
        answer = {"retCode": code, "retMsg": text, "op": "auth", "connId": self._conn_id}
        if "reqId" in command:
            answer = {"reqId": command["reqId"], **answer}
        self._outbox.reply(json_text(answer), code=code)

    def _command(self, command: dict[str, Any], op: str) -> None:
        try:
            self._check(command, op)
        except VenueError as error:
            body = envelope(error.result, self._host.now_ms(), code=error.code, message=error.text)
            self._answer(command, op, json_response(body, code=error.code))
            return
        self._answer(command, op, self._endpoints.carry_out(_request(op, command)))

    def _check(self, command: dict[str, Any], op: str) -> None:
        if op not in OPS:
            raise VenueError(UNKNOWN_OP)
        if not self._logged_in:
            raise VenueError(10003, "Request not authorized")
        number = str(command.get("reqId") or "")
        if len(number) > LONGEST_ID:
            raise VenueError(BAD_REQUEST, "reqId invalid")
        if number and number in self._used_ids:
            raise VenueError(REPEATED_ID)
        self._used_ids.append(number)
        headers = command.get("header")
        sent: Mapping[str, Any] = headers if isinstance(headers, dict) else {}
        self._endpoints.check_time(_plain(sent.get("X-BAPI-TIMESTAMP")), _plain(sent.get("X-BAPI-RECV-WINDOW")))
        args = command.get("args")
        if not isinstance(args, list) or len(args) != 1 or not isinstance(args[0], dict):
            raise VenueError(BAD_REQUEST, "args invalid")

    def _answer(self, command: dict[str, Any], op: str, response: Response) -> None:
        body = parsed(response.body.decode("utf-8", "replace"))
        code = body.get("retCode", response.code if isinstance(response.code, int) else SERVER_ERROR)
        answer: dict[str, Any] = {"reqId": command["reqId"]} if "reqId" in command else {}
        answer |= {
            "retCode": code,
            "retMsg": body.get("retMsg", f"HTTP {response.status}"),
            "op": op,
            "data": body.get("result", {}),
            "retExtInfo": body.get("retExtInfo", {}),
            "header": self._headers(response),
            "connId": self._conn_id,
        }
        self._outbox.reply(json_text(answer), code=code)

    def _headers(self, response: Response) -> dict[str, str]:
        """Those of the REST answer."""
        sent = {name.lower(): value for name, value in response.headers.items()}
        sent.setdefault("traceid", f"{self._names.getrandbits(128):032x}")
        sent.setdefault("timenow", str(self._host.now_ms()))
        return {name: sent[name.lower()] for name in _HEADERS if name.lower() in sent}


def _request(op: str, command: dict[str, Any]) -> Request:
    """The REST request a command stands for."""
    args = command.get("args")
    body = args[0] if isinstance(args, list) and args and isinstance(args[0], dict) else {}
    return Request(method="POST", path=OPS[op], body=json_bytes(body))


def _plain(value: object) -> str | None:
    return None if value in (None, "") else str(value)
