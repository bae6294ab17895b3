"""Order endpoints: place, amend, cancel, batches, queries, trades, and the dead man's switch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from tools.venuesim.binance.errors import VenueError
from tools.venuesim.binance.order_requests import OrderRequests
from tools.venuesim.binance.order_rows import OrderRows
from tools.venuesim.binance.params import Params
from tools.venuesim.binance.refusals import translate
from tools.venuesim.binance.routing import Route, Routes, Security
from tools.venuesim.binance.words import SIDE
from tools.venuesim.exchange.model import AmendRequest, Order, OrderType, Origin, Refusal, Refused
from tools.venuesim.wire import Host, Lane, Timer

MAX_BATCH = 5
MAX_BATCH_CANCEL = 10
WEEK_MS = 7 * 86_400_000
_NOT_FOUND = {Refusal.UNKNOWN_ORDER: -2013}
_AMEND = {Refusal.UNKNOWN_ORDER: -2013, Refusal.SYMBOL_NOT_TRADING: -5024}
_CANCEL_ALL_DONE = {"code": 200, "msg": "The operation of cancel all open order is done."}


class OrderEndpoints:
    """Handlers for /fapi/v1/order and its relatives."""

    def __init__(self, host: Host, requests: OrderRequests, rows: OrderRows) -> None:
        self._host = host
        self._exchange = host.exchange
        self._requests = requests
        self._rows = rows
        self._countdowns: dict[str, Timer] = {}

    def routes(self) -> Routes:
        """This part of the API."""
        trade, read = Security.TRADE, Security.READ
        return {
            ("POST", "/fapi/v1/order"): Route(self.place, Lane.ORDER, trade, orders=(1, 1)),
            ("PUT", "/fapi/v1/order"): Route(self.amend, Lane.AMEND, trade, orders=(1, 1)),
            ("DELETE", "/fapi/v1/order"): Route(self.cancel, Lane.CANCEL, trade),
            ("GET", "/fapi/v1/order"): Route(self.query, Lane.QUERY, read),
            ("POST", "/fapi/v1/batchOrders"): Route(self.place_batch, Lane.ORDER, trade, orders=(5, 1)),
            ("DELETE", "/fapi/v1/batchOrders"): Route(self.cancel_batch, Lane.CANCEL, trade),
            ("DELETE", "/fapi/v1/allOpenOrders"): Route(self.cancel_all, Lane.CANCEL, trade),
            ("POST", "/fapi/v1/countdownCancelAll"): Route(self.countdown, Lane.CANCEL, trade),
            ("GET", "/fapi/v1/openOrder"): Route(self.query_open, Lane.QUERY, read),
            ("GET", "/fapi/v1/openOrders"): Route(self.open_orders, Lane.QUERY, read),
            ("GET", "/fapi/v1/allOrders"): Route(self.all_orders, Lane.QUERY, read),
            ("GET", "/fapi/v1/userTrades"): Route(self.user_trades, Lane.QUERY, read),
            ("GET", "/fapi/v1/forceOrders"): Route(self.force_orders, Lane.QUERY, read),
        }

    def place(self, params: Params) -> object:
        """POST order. ACK (the default) answers the order as accepted, RESULT as it stands after matching."""
        order = self._refusing(
            lambda: self._exchange.place(self._requests.order(params, self._host.now_ms())), params.text("symbol")
        )
        if params.text("newOrderRespType") == "RESULT":
            return self._rows.acknowledged(order)
        return self._rows.accepted(order)

    def amend(self, params: Params) -> object:
        """PUT order: price and quantity both mandatory, side must be the order's own."""
        symbol = self._requests.symbol(params)
        order_id, client_id = _which(params)
        side = params.required("side")
        qty, price = params.decimal("quantity"), params.decimal("price")
        if qty is None or price is None:
            raise VenueError(-1102, "quantity" if qty is None else "price")

        def change() -> Order:
            current = self._exchange.order(symbol, order_id=order_id, client_id=client_id)
            if not current.status.is_open:
                raise VenueError(-2013)
            if current.type is not OrderType.LIMIT:
                raise VenueError(-5025)
            if side != SIDE[current.side]:
                raise VenueError(-1130, "side")
            extras = dict(current.extras)
            if "modifyId" in params:
                extras["modifyId"] = params.required("modifyId")
            request = AmendRequest(symbol=symbol, order_id=current.id, qty=qty, price=price, extras=extras)
            return self._exchange.amend(request)

        return self._rows.amended(self._refusing(change, symbol, _AMEND))

    def cancel(self, params: Params) -> object:
        """DELETE order; -2011 for one that is not open."""
        symbol = self._requests.symbol(params)
        order_id, client_id = _which(params)
        order = self._refusing(lambda: self._exchange.cancel(symbol, order_id=order_id, client_id=client_id), symbol)
        return self._rows.acknowledged(order)

    def place_batch(self, params: Params) -> object:
        """POST batchOrders: one answer per row, order objects and errors mixed, in request order."""
        entries = _json_list(params.required("batchOrders"), "batchOrders")
        if not 0 < len(entries) <= MAX_BATCH:
            raise VenueError(-4082)
        return [self._row_of(self.place, entry) for entry in entries]

    def cancel_batch(self, params: Params) -> object:
        """DELETE batchOrders by order ids or by client ids."""
        symbol = self._requests.symbol(params)
        ids, names = params.any_case("orderIdList"), params.any_case("origClientOrderIdList")
        if ids is None and names is None:
            raise VenueError(-1102, "orderIdList")
        if ids is not None:
            wanted = [{"symbol": symbol, "orderId": str(entry)} for entry in _json_list(ids, "orderIdList")]
        else:
            listed = _json_list(names or "[]", "origClientOrderIdList")
            wanted = [{"symbol": symbol, "origClientOrderId": str(entry)} for entry in listed]
        if len(wanted) > MAX_BATCH_CANCEL:
            raise VenueError(-4032)
        return [self._row_of(self.cancel, entry) for entry in wanted]

    def cancel_all(self, params: Params) -> object:
        """DELETE allOpenOrders: a success also with nothing open; algo orders stay."""
        self._exchange.cancel_all(self._requests.symbol(params))
        return dict(_CANCEL_ALL_DONE)

    def countdown(self, params: Params) -> object:
        """POST countdownCancelAll: cancels the symbol's orders unless called again in time; 0 switches it off."""
        symbol = self._requests.symbol(params)
        delay_ms = params.integer("countdownTime")
        if delay_ms is None or delay_ms < 0:
            raise VenueError(-1102, "countdownTime")
        running = self._countdowns.pop(symbol, None)
        if running is not None:
            running.cancel()
        if delay_ms:
            self._countdowns[symbol] = self._host.call_later(delay_ms, lambda: self._count_down_over(symbol))
        return {"symbol": symbol, "countdownTime": str(delay_ms)}

    def query(self, params: Params) -> object:
        """GET order, open or ended; the newest where a client id was used again."""
        return self._rows.queried(self._find(params))

    def query_open(self, params: Params) -> object:
        """GET openOrder; -2013 for an ended one."""
        order = self._find(params)
        if not order.status.is_open:
            raise VenueError(-2013)
        return self._rows.queried(order)

    def open_orders(self, params: Params) -> object:
        """GET openOrders, of one symbol or of all."""
        symbol = self._requests.optional_symbol(params)
        return [self._rows.queried(order) for order in self._exchange.open_orders(symbol)]

    def all_orders(self, params: Params) -> object:
        """GET allOrders: from orderId on if given; `limit` keeps the newest."""
        symbol = self._requests.optional_symbol(params)
        limit, cursor = params.limit(500, 1_000), params.integer("orderId")
        start, end = _time_range(params, self._host.now_ms())
        orders = [
            order
            for order in self._exchange.orders(symbol)
            if (order.id >= cursor if cursor is not None else start <= order.created_ms <= end)
        ]
        return [self._rows.listed(order) for order in orders[-limit:]]

    def force_orders(self, params: Params) -> object:
        """GET forceOrders: what the risk engine did, without client orders."""
        wanted = {"LIQUIDATION": Origin.LIQUIDATION, "ADL": Origin.ADL}.get(params.text("autoCloseType") or "")
        symbol = self._requests.optional_symbol(params)
        limit = params.limit(50, 100)
        orders = [
            order
            for order in self._exchange.orders(symbol)
            if order.origin is not Origin.CLIENT and wanted in (None, order.origin)
        ]
        return [self._rows.listed(order) for order in orders[-limit:]]

    def user_trades(self, params: Params) -> object:
        """GET userTrades, ascending: from fromId on if given; otherwise `limit` keeps the oldest of the window."""
        symbol = self._requests.symbol(params)
        limit, cursor, order_id = params.limit(500, 1_000), params.integer("fromId"), params.integer("orderId")
        start, end = _time_range(params, self._host.now_ms())
        fills = [
            fill
            for fill in self._exchange.fills(symbol)
            if (fill.id >= cursor if cursor is not None else start <= fill.time_ms <= end)
            and order_id in (None, fill.order_id)
        ]
        instrument = self._exchange.instrument(symbol)
        return [self._rows.trade(fill, instrument) for fill in fills[:limit]]

    def _find(self, params: Params) -> Order:
        symbol = self._requests.symbol(params)
        order_id, client_id = _which(params)
        return self._refusing(
            lambda: self._exchange.order(symbol, order_id=order_id, client_id=client_id), symbol, _NOT_FOUND
        )

    def _refusing(
        self, command: Callable[[], Order], symbol: str | None, overrides: dict[Refusal, int] | None = None
    ) -> Order:
        try:
            return command()
        except Refused as refused:
            raise translate(refused, self._exchange, symbol, overrides) from refused

    def _row_of(self, command: Callable[[Params], object], entry: Any) -> object:
        try:
            return command(_entry_params(entry))
        except VenueError as error:
            return error.body()
        except Refused as refused:
            return translate(refused, self._exchange, None).body()

    def _count_down_over(self, symbol: str) -> None:
        self._countdowns.pop(symbol, None)
        self._exchange.cancel_all(symbol)


def _which(params: Params) -> tuple[int | None, str | None]:
    """orderId wins over origClientOrderId; -1102 when neither was sent."""
    order_id = params.integer("orderId")
    client_id = params.text("origClientOrderId")
    if order_id is None and client_id is None:
        raise VenueError(-1102, "orderId")
    return (order_id, None) if order_id is not None else (None, client_id)


def _time_range(params: Params, now_ms: int) -> tuple[int, int]:
    """startTime and endTime at most 7 days apart; without them the last 7 days."""
    start, end = params.time("startTime"), params.time("endTime")
    if start is not None and end is not None and end - start > WEEK_MS:
        raise VenueError(-1127, 168)
    if end is None:
        end = now_ms if start is None else start + WEEK_MS
    return (start if start is not None else end - WEEK_MS), end


def _json_list(text: str, name: str) -> Sequence[Any]:
    try:
        entries = json.loads(text)
    except ValueError:
        raise VenueError(-1130, name) from None
    if not isinstance(entries, list):
        raise VenueError(-1130, name)
    return entries


def _entry_params(entry: Any) -> Params:
    """One row of a batch; clients send numbers as strings or as JSON numbers."""
    if not isinstance(entry, dict):
        raise VenueError(-1130, "batchOrders")
    return Params({str(key): _plain(value) for key, value in entry.items()})


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
