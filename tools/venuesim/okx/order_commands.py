"""Order commands over the private socket, carried out and limited like their REST endpoints.

Contracts are named by their codes; an instId is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tools.venuesim.json_text import json_bytes
from tools.venuesim.okx.connection import parsed
from tools.venuesim.okx.errors import ALL_FAILED, OK, VenueError
from tools.venuesim.okx.formats import Row
from tools.venuesim.okx.symbol_table import SymbolTable
from tools.venuesim.wire import Host, Request, RequestInfo, Response

_TRADE = "/api/v5/trade"
OPS = {
    "order": f"{_TRADE}/order",
    "batch-orders": f"{_TRADE}/batch-orders",
    "cancel-order": f"{_TRADE}/cancel-order",
    "batch-cancel-orders": f"{_TRADE}/cancel-batch-orders",
    "amend-order": f"{_TRADE}/amend-order",
    "batch-amend-orders": f"{_TRADE}/amend-batch-orders",
}
_ITEM_CODES = range(51000, 59000)
_INTERNAL = "64007"


class Endpoints(Protocol):
    """The façade as the sockets use it."""

    def describe(self, request: Request) -> RequestInfo: ...

    def carry_out(
        self, method: str, path: str, items: Sequence[Mapping[str, object]], *, expires: str | None = None
    ) -> Row:
        """A private command whose sender is known already; raises ``VenueError`` for the command as a whole."""
        ...

    def check_login(self, arguments: Mapping[str, object]) -> None:
        """Raises ``VenueError`` 600xx unless the argument of a login is right."""
        ...


class OrderCommands:
    """Turns commands into calls, and their answers into the socket's form."""

    def __init__(self, host: Host, table: SymbolTable, endpoints: Endpoints) -> None:
        self._host = host
        self._table = table
        self._endpoints = endpoints

    def describe(self, op: str, command: Mapping[str, Any]) -> RequestInfo:
        """Lane, symbol and client ids."""
        args = [_without_name(arg) for arg in _arguments(command)]
        batch = op.startswith("batch-")
        body = args if batch else args[0] if args else {}
        info = self._endpoints.describe(Request(method="POST", path=OPS[op], body=json_bytes(body)))
        return RequestInfo(lane=info.lane, symbol=info.symbol, client_ids=info.client_ids, op=op)

    def carry_out(self, op: str, command: Mapping[str, Any]) -> Row:
        """The whole answer."""
        try:
            body = self._endpoints.carry_out("POST", OPS[op], self._items(op, command), expires=_expiry(command))
        except VenueError as error:
            return self._answer(op, command, error.code, error.text, [])
        # What went wrong is said by the items alone.
        return self._answer(op, command, body["code"], "", body["data"])

    def refused(self, op: str, command: Mapping[str, Any], error: Response) -> Row:
        """An injected error; codes about orders are those of the items."""
        body = parsed(error.body.decode("utf-8", "replace"))
        code = str(body.get("code", error.code or _INTERNAL))
        text = str(body.get("msg", f"HTTP {error.status}"))
        if not code.isdecimal() or int(code) not in _ITEM_CODES:
            return self._answer(op, command, code, text, [])
        rows: list[Row] = [
            {"clOrdId": str(arg.get("clOrdId", "")), "ordId": "", "tag": "", "ts": "", "sCode": code, "sMsg": text}
            for arg in _arguments(command)
        ]
        return self._answer(op, command, ALL_FAILED, "", rows)

    def _items(self, op: str, command: Mapping[str, Any]) -> list[Row]:
        args = command.get("args")
        if not isinstance(args, list) or not args or not all(isinstance(arg, dict) for arg in args):
            raise VenueError(60013)
        if len(args) > 1 and not op.startswith("batch-"):
            raise VenueError(60013)
        return [self._item(arg) for arg in args]

    def _item(self, arg: Row) -> Row:
        code = arg.get("instIdCode")
        if code in (None, ""):
            raise VenueError(50014, "instIdCode")
        text = str(code)
        # A name that no contract has is refused as such, item by item.
        symbol = (self._table.by_code(int(text)) if text.isdecimal() else None) or text
        return {**_without_name(arg), "instId": symbol}

    def _answer(self, op: str, command: Mapping[str, Any], code: str, text: str, rows: list[Row]) -> Row:
        stamp = str(self._host.now_ms() * 1000)
        found: Row = {"id": command["id"]} if "id" in command else {}
        return {**found, "op": op, "code": code, "msg": text, "data": rows, "inTime": stamp, "outTime": stamp}


def code_of(answer: Row) -> str:
    """For the request log: that of the first item where all failed."""
    if answer["code"] == ALL_FAILED and answer["data"]:
        return str(answer["data"][0].get("sCode", ALL_FAILED))
    return str(answer["code"] or OK)


def _arguments(command: Mapping[str, Any]) -> list[Row]:
    args = command.get("args")
    return [arg for arg in args if isinstance(arg, dict)] if isinstance(args, list) else []


def _without_name(arg: Row) -> Row:
    return {name: value for name, value in arg.items() if name != "instId"}


def _expiry(command: Mapping[str, Any]) -> str | None:
    value = command.get("expTime")
    return None if value in (None, "") else str(value)
