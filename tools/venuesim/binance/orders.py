"""Commands about orders: place, test, amend, cancel, batches, and the dead man's switch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from tools.venuesim.binance.errors import VenueError
from tools.venuesim.binance.order_queries import Amendments
from tools.venuesim.binance.order_requests import OrderRequests, which_order
from tools.venuesim.binance.order_rows import OrderRows
from tools.venuesim.binance.params import Params
from tools.venuesim.binance.refusals import translate, venue_terms
from tools.venuesim.binance.routing import Route, Routes, Security
from tools.venuesim.binance.words import SIDE
from tools.venuesim.exchange.model import AmendRequest, Order, OrderType, Refusal, Refused
from tools.venuesim.wire import Host, Lane, Timer

MAX_BATCH = 5
MAX_BATCH_CANCEL = 10
_AMEND = {Refusal.UNKNOWN_ORDER: -2013, Refusal.SYMBOL_NOT_TRADING: -5024}
_CANCEL_ALL_DONE = {"code": 200, "msg": "The operation of cancel all open order is done."}


class OrderEndpoints:
    """Handlers for /fapi/v1/order and its relatives."""

    def __init__(self, host: Host, requests: OrderRequests, rows: OrderRows, amendments: Amendments) -> None:
        self._host = host
        self._exchange = host.exchange
        self._requests = requests
        self._rows = rows
        self._amendments = amendments
        self._countdowns: dict[str, Timer] = {}

    def routes(self) -> Routes:
        """This part of the API."""
        trade = Security.TRADE
        return {
            ("POST", "/fapi/v1/order"): Route(self.place, Lane.ORDER, trade, orders=(1, 1)),
            ("POST", "/fapi/v1/order/test"): Route(self.test, Lane.QUERY, trade),
            ("PUT", "/fapi/v1/order"): Route(self.amend, Lane.AMEND, trade, orders=(1, 1)),
            ("DELETE", "/fapi/v1/order"): Route(self.cancel, Lane.CANCEL, trade),
            ("POST", "/fapi/v1/batchOrders"): Route(self.place_batch, Lane.ORDER, trade, orders=(5, 1)),
            ("PUT", "/fapi/v1/batchOrders"): Route(self.amend_batch, Lane.AMEND, trade, orders=(5, 1)),
            ("DELETE", "/fapi/v1/batchOrders"): Route(self.cancel_batch, Lane.CANCEL, trade),
            ("DELETE", "/fapi/v1/allOpenOrders"): Route(self.cancel_all, Lane.CANCEL, trade),
            ("POST", "/fapi/v1/countdownCancelAll"): Route(self.countdown, Lane.CANCEL, trade),
        }

    def place(self, params: Params) -> object:
        """POST order. ACK (the default) answers the order as accepted, RESULT as it stands after matching."""
        kind = params.choice("newOrderRespType", ("ACK", "RESULT"), "ACK", -1136)
        with venue_terms(self._exchange, params.text("symbol")):
            order = self._exchange.place(self._requests.order(params, self._host.now_ms()))
        return self._rows.acknowledged(order) if kind == "RESULT" else self._rows.accepted(order)

    def test(self, params: Params) -> object:
        """POST order/test: every check of an order, without the order."""
        with venue_terms(self._exchange, params.text("symbol")):
            self._exchange.check(self._requests.order(params, self._host.now_ms()))
        return {}

    def amend(self, params: Params) -> object:
        """PUT order: quantity and either price or priceMatch are mandatory, side must be the order's own."""
        symbol = self._requests.symbol(params)
        order_id, client_id = which_order(params)
        side = params.required("side")
        qty, price = params.decimal("quantity"), params.decimal("price")
        matched = params.text("priceMatch") not in (None, "NONE")
        if qty is None or (price is None and not matched):
            raise VenueError(-1102, "quantity" if qty is None else "price")

        with venue_terms(self._exchange, symbol, _AMEND):
            before = self._exchange.order(symbol, order_id=order_id, client_id=client_id)
            self._check_amendable(before, side, params)
            wanted = self._requests.matched_price(symbol, before.side, params) if matched else price
            extras = dict(before.extras)
            if "modifyId" in params:
                extras["modifyId"] = params.required("modifyId")
            request = AmendRequest(symbol=symbol, order_id=before.id, qty=qty, price=wanted, extras=extras)
            after = self._exchange.amend(request)
        if after.amendments > before.amendments:
            self._amendments.note(before, after, self._rows.price_and_qty, self._host.now_ms())
        return self._rows.amended(after)

    def cancel(self, params: Params) -> object:
        """DELETE order; -2011 for one that is not open."""
        symbol = self._requests.symbol(params)
        order_id, client_id = which_order(params)
        with venue_terms(self._exchange, symbol):
            order = self._exchange.cancel(symbol, order_id=order_id, client_id=client_id)
        return self._rows.acknowledged(order)

    def place_batch(self, params: Params) -> object:
        """POST batchOrders: one answer per row, order objects and errors mixed, in request order."""
        return [self._row_of(self.place, entry) for entry in self._batch(params)]

    def amend_batch(self, params: Params) -> object:
        """PUT batchOrders: as above."""
        return [self._row_of(self.amend, entry) for entry in self._batch(params)]

    def cancel_batch(self, params: Params) -> object:
        """DELETE batchOrders by order ids or by client ids."""
        symbol = self._requests.symbol(params)
        ids, names = params.any_case("orderIdList"), params.any_case("origClientOrderIdList")
        if ids is None and names is None:
            raise VenueError(-1102, "orderIdList")
        if ids is not None and names is not None:
            raise VenueError(-1128)
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

    def _batch(self, params: Params) -> Sequence[Any]:
        entries = _json_list(params.required("batchOrders"), "batchOrders")
        if not 0 < len(entries) <= MAX_BATCH:
            raise VenueError(-4082)
        return entries

    def _check_amendable(self, order: Order, side: str, params: Params) -> None:
        if not order.status.is_open:
            raise VenueError(-2013)
        if order.type is not OrderType.LIMIT:
            raise VenueError(-5025)
        if side != SIDE[order.side]:
            raise VenueError(-1130, "side")
        if params.flag("reduceOnly") and not order.reduce_only:
            raise VenueError(-5047)

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
