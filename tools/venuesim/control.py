"""The control interface under ``/_sim``: looking at the truth, moving the market, arming faults.

Decimals as texts, times in ms since the epoch, absent = null, symbols as the venue writes them. Never delayed,
limited, logged or faulted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar
from urllib.parse import parse_qs

from tools.venuesim.exchange.engine import MatchingEngine
from tools.venuesim.exchange.model import (
    CLOSING,
    Conditional,
    ConditionalType,
    Fill,
    MarginMode,
    Order,
    OrderType,
    PositionMode,
    Refused,
    Side,
)
from tools.venuesim.exchange.triggers import trailing_level
from tools.venuesim.faults import FaultError
from tools.venuesim.json_text import json_bytes
from tools.venuesim.kernel import Simulation
from tools.venuesim.wire import Response

PREFIX = "/_sim/"
Choice = TypeVar("Choice", bound=StrEnum)


class BadControl(ValueError):
    """A control request that makes no sense; the text says why."""


class Control:
    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._routes: Mapping[tuple[str, str], Callable[[Mapping[str, str], Any], object]] = {
            ("GET", "state"): self._get_state,
            ("GET", "requests"): self._get_requests,
            ("GET", "protection"): lambda _query, _body: simulation.protection(),
            ("GET", "fault"): lambda _query, _body: [row.describe() for row in simulation.faults.all()],
            ("POST", "fault"): lambda _query, body: {"id": simulation.arm(_table(body)).id},
            ("DELETE", "fault"): self._delete_fault,
            ("POST", "price"): self._post_price,
            ("POST", "account"): self._post_account,
            ("POST", "clock"): self._post_clock,
        }

    def handle(self, method: str, path: str, query: str, body: bytes) -> Response:
        """Answer one request for a path under ``PREFIX``."""
        name = path.removeprefix(PREFIX)
        route = self._routes.get((method, name))
        if route is None:
            known = any(name == other for _, other in self._routes)
            return _json(405 if known else 404, {"error": f"no {method} {path}"})
        try:
            arguments = {key: values[-1] for key, values in parse_qs(query, keep_blank_values=True).items()}
            # Amounts keep every digit; a fault's numbers are delays and shares.
            number = float if name == "fault" else Decimal
            document = json.loads(body, parse_float=number) if body.strip() else {}
            return _json(200, route(arguments, document))
        except (BadControl, FaultError, Refused) as error:
            return _json(400, {"error": str(error)})
        except json.JSONDecodeError as error:
            return _json(400, {"error": f"not JSON: {error}"})

    def state(self, *, ended: bool = False) -> dict[str, object]:
        """Balances, positions, orders and fills; ``ended`` adds the orders that are over."""
        engine = self._simulation.engine
        balances = {asset: engine.balance(asset) for asset in engine.assets()}
        return {
            "time": self._simulation.now_ms(),
            "balances": {
                asset: {"wallet": text(row.wallet), "available": text(row.available)} for asset, row in balances.items()
            },
            "positions": _positions(engine),
            "orders": self._orders(ended=ended),
            "fills": [self._fill(row) for row in engine.fills()],
        }

    def _get_state(self, query: Mapping[str, str], _body: Any) -> object:
        return self.state(ended=query.get("all") == "1")

    def _get_requests(self, query: Mapping[str, str], _body: Any) -> object:
        return self._simulation.log.since(_whole("since", query.get("since", "0")))

    def _delete_fault(self, query: Mapping[str, str], _body: Any) -> object:
        wanted = query.get("id")
        return {"deleted": self._simulation.faults.remove(None if wanted is None else _whole("id", wanted))}

    def _post_price(self, _query: Mapping[str, str], body: Any) -> object:
        table = _table(body, "symbol", "price", "mark", "hold_ms")
        mark = None if table.get("mark") is None else _positive("mark", table["mark"])
        self._simulation.engine.set_price(
            _symbol(table),
            _positive("price", table.get("price")),
            mark,
            float(_number("hold_ms", table.get("hold_ms", 0))),
        )
        return self.state()

    def _post_clock(self, _query: Mapping[str, str], body: Any) -> object:
        delta = _number("advance_ms", _table(body, "advance_ms").get("advance_ms"))
        if delta < 0:
            raise BadControl("advance_ms must not be negative: time never runs backwards")
        self._simulation.advance(float(delta))
        return self.state()

    def _post_account(self, _query: Mapping[str, str], body: Any) -> object:
        table = _table(body, "asset", "wallet", "position_mode", "margin_mode", "leverage", "permissions", "position")
        changes = [
            self._wallet(table),
            self._position_mode(table),
            self._permissions(table),
            *self._symbol_settings(table),
            self._position(table),
        ]
        # Everything was parsed before anything is changed.
        for change in changes:
            if change is not None:
                change()
        return self.state()

    def _wallet(self, table: Mapping[str, Any]) -> Callable[[], None] | None:
        if table.get("wallet") is None:
            return None
        asset = table.get("asset")
        if not self._simulation.engine.accepts(str(asset)):
            raise BadControl(f"unknown asset {asset!r}")
        amount = _number("wallet", table["wallet"])
        return lambda: self._simulation.engine.operator.set_wallet(str(asset), amount)

    def _position_mode(self, table: Mapping[str, Any]) -> Callable[[], None] | None:
        if table.get("position_mode") is None:
            return None
        mode = _choice(PositionMode, "position_mode", table["position_mode"])
        return lambda: self._simulation.engine.operator.set_position_mode(mode)

    def _permissions(self, table: Mapping[str, Any]) -> Callable[[], None] | None:
        names = table.get("permissions")
        if names is None:
            return None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise BadControl("permissions must be a list of texts")

        def change() -> None:
            self._simulation.engine.permissions = frozenset(names)

        return change

    def _symbol_settings(self, table: Mapping[str, Any]) -> list[Callable[[], None]]:
        """Leverage and margin mode: of the position's symbol when one is named, of all symbols otherwise."""
        operator = self._simulation.engine.operator
        position = table.get("position")
        named = position.get("symbol") if isinstance(position, Mapping) else None
        symbols = [named] if named else [row.symbol for row in self._simulation.engine.instruments()]
        changes: list[Callable[[], None]] = []
        if table.get("leverage") is not None:
            leverage = int(_positive("leverage", table["leverage"]))
            changes += [partial(operator.set_leverage, name, leverage) for name in symbols]
        if table.get("margin_mode") is not None:
            mode = _choice(MarginMode, "margin_mode", table["margin_mode"])
            if self._simulation.venue.policy.margin_mode_of_account:
                symbols = [row.symbol for row in self._simulation.engine.instruments()]
            changes += [partial(operator.set_margin_mode, name, mode) for name in symbols]
        return changes

    def _position(self, table: Mapping[str, Any]) -> Callable[[], None] | None:
        position = table.get("position")
        if position is None:
            return None
        row = _table(position, "symbol", "qty", "entry")
        symbol = _symbol(row)
        self._simulation.engine.instrument(symbol)
        qty = _number("qty", row.get("qty"))
        entry = _positive("entry", row.get("entry")) if qty else Decimal(0)
        return lambda: self._simulation.engine.operator.set_position(symbol, qty, entry)

    def _orders(self, *, ended: bool) -> list[dict[str, object]]:
        engine = self._simulation.engine
        orders = engine.orders() if ended else engine.open_orders()
        conditionals = engine.conditionals() if ended else engine.open_conditionals()
        return [*map(self._order, orders), *map(self._conditional, conditionals)]

    def _order(self, row: Order) -> dict[str, object]:
        return {
            "id": self._simulation.venue.order_id(row),
            "client_id": row.client_id or None,
            "symbol": row.symbol,
            "side": row.side.value,
            "type": row.type.value,
            "qty": text(row.qty),
            "filled": text(row.filled),
            "price": text(row.price) if row.type is OrderType.LIMIT else None,
            "stop_price": None,
            "reduce_only": _only_reduces(row),
            "close_position": row.close_position,
            "status": row.status.value,
        }

    def _conditional(self, row: Conditional) -> dict[str, object]:
        level = trailing_level(row) if row.type is ConditionalType.TRAILING else row.trigger_price
        return {
            "id": self._simulation.venue.order_id(row),
            "client_id": row.client_id or None,
            "symbol": row.symbol,
            "side": row.side.value,
            "type": row.type.value,
            "qty": text(self._covered(row)),
            "filled": "0",
            "price": text(row.price) if row.type.is_limit else None,
            "stop_price": text(level),
            "reduce_only": _only_reduces(row),
            "close_position": row.close_position,
            "status": "untriggered" if row.status.is_resting else row.status.value,
        }

    def _covered(self, row: Conditional) -> Decimal | None:
        """One that belongs to its position is for whatever that holds."""
        if row.qty is not None or not (row.attached and row.status.is_resting):
            return row.qty
        return abs(self._simulation.engine.position(row.symbol, row.position_side).qty)

    def _fill(self, row: Fill) -> dict[str, object]:
        venue = self._simulation.venue
        order = self._simulation.engine.order(row.symbol, order_id=row.order_id)
        return {
            "id": venue.fill_id(row),
            "order_id": venue.order_id(order),
            "client_id": row.client_id or None,
            "symbol": row.symbol,
            "side": "buy" if row.side is Side.BUY else "sell",
            "qty": text(row.qty),
            "price": text(row.price),
            "fee": text(row.fee),
            "fee_asset": row.fee_asset,
            "realized": text(row.realized),
            "maker": row.maker,
            "time": row.time_ms,
        }


def text(value: Decimal | None) -> str | None:
    """A plain number without exponent or padding."""
    return None if value is None else format(value.normalize() + 0, "f")


def _positions(engine: MatchingEngine) -> list[dict[str, object]]:
    return [
        {
            "symbol": row.symbol,
            "side": "long" if row.qty > 0 else "short",
            "qty": text(abs(row.qty)),
            "entry": text(row.entry),
            "mark": text(engine.quote(row.symbol).mark),
            "leverage": row.leverage,
        }
        for row in engine.positions()
    ]


def _only_reduces(row: Order | Conditional) -> bool:
    """Marked so, or for closing, or in hedge mode by its side."""
    return row.reduce_only or row.close_position or (row.position_side, row.side) in CLOSING


def _json(status: int, document: object) -> Response:
    return Response(
        status=status,
        headers={"content-type": "application/json"},
        body=json_bytes(document),
    )


def _table(body: Any, *known: str) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise BadControl("the body must be an object")
    if known and (unknown := [key for key in body if key not in known]):
        raise BadControl(f"unknown key {unknown[0]!r}; known: {', '.join(known)}")
    return body


def _symbol(table: Mapping[str, Any]) -> str:
    symbol = table.get("symbol")
    if not isinstance(symbol, str):
        raise BadControl("symbol is missing")
    return symbol


def _number(name: str, value: object) -> Decimal:
    try:
        if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
            number = Decimal(value)
            if number.is_finite():
                return number
    except InvalidOperation:
        pass
    raise BadControl(f"{name} must be a number")


def _positive(name: str, value: object) -> Decimal:
    number = _number(name, value)
    if number <= 0:
        raise BadControl(f"{name} must be positive")
    return number


def _whole(name: str, value: str) -> int:
    if not value.isdigit():
        raise BadControl(f"{name} must be a whole number")
    return int(value)


def _choice(kind: type[Choice], name: str, value: object) -> Choice:
    try:
        return kind(str(value))
    except ValueError as error:
        raise BadControl(f"{name} must be one of {', '.join(row.value for row in kind)}") from error
