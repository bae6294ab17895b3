"""Algo (conditional) order endpoints. They live in a store of their own until their trigger fires."""

from __future__ import annotations

from tools.venuesim.binance.errors import VenueError
from tools.venuesim.binance.order_requests import OrderRequests
from tools.venuesim.binance.order_rows import OrderRows
from tools.venuesim.binance.params import Params
from tools.venuesim.binance.refusals import venue_terms
from tools.venuesim.binance.routing import Route, Routes, Security
from tools.venuesim.exchange.model import Conditional, Order, Refusal
from tools.venuesim.wire import Host, Lane

_NOT_FOUND = {Refusal.UNKNOWN_CONDITIONAL: -2013}


class AlgoEndpoints:
    """Handlers for /fapi/v1/algoOrder and its relatives."""

    def __init__(self, host: Host, requests: OrderRequests, rows: OrderRows) -> None:
        self._host = host
        self._exchange = host.exchange
        self._requests = requests
        self._rows = rows

    def routes(self) -> Routes:
        """This part of the API."""
        trade, read = Security.TRADE, Security.READ
        return {
            ("POST", "/fapi/v1/algoOrder"): Route(self.place, Lane.STOP, trade, orders=(1, 1)),
            ("DELETE", "/fapi/v1/algoOrder"): Route(self.cancel, Lane.CANCEL, trade),
            ("GET", "/fapi/v1/algoOrder"): Route(self.query, Lane.QUERY, read),
            ("DELETE", "/fapi/v1/algoOpenOrders"): Route(self.cancel_all, Lane.CANCEL, trade),
            ("GET", "/fapi/v1/openAlgoOrders"): Route(self.open_orders, Lane.QUERY, read),
            ("GET", "/fapi/v1/allAlgoOrders"): Route(self.all_orders, Lane.QUERY, read),
        }

    def place(self, params: Params) -> object:
        """POST algoOrder. No margin check before the trigger; -2021 when the trigger is already met."""
        with venue_terms(self._exchange, params.text("symbol")):
            algo = self._exchange.place_conditional(self._requests.conditional(params, self._host.now_ms()))
        return self._rows.algo_acknowledged(algo)

    def cancel(self, params: Params) -> object:
        """DELETE algoOrder; the code is the string "200". -2011 once it is not waiting any more."""
        algo_id, client_id = _which(params)
        with venue_terms(self._exchange, None):
            algo = self._exchange.cancel_conditional(conditional_id=algo_id, client_id=client_id)
        return {"algoId": algo.id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"}

    def cancel_all(self, params: Params) -> object:
        """DELETE algoOpenOrders of one symbol; plain orders stay."""
        self._exchange.cancel_all_conditionals(self._requests.symbol(params))
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    def query(self, params: Params) -> object:
        """GET algoOrder, waiting or ended; -2013 when unknown."""
        algo_id, client_id = _which(params)
        with venue_terms(self._exchange, None, _NOT_FOUND):
            algo = self._exchange.conditional(conditional_id=algo_id, client_id=client_id)
        return self._rows.algo_listed(algo, self._child(algo))

    def open_orders(self, params: Params) -> object:
        """GET openAlgoOrders, a bare array, of one symbol or of all."""
        symbol, wanted = self._requests.optional_symbol(params), params.integer("algoId")
        return [
            self._rows.algo_open(algo) for algo in self._exchange.open_conditionals(symbol) if wanted in (None, algo.id)
        ]

    def all_orders(self, params: Params) -> object:
        """GET allAlgoOrders of one symbol, newest first."""
        symbol = self._requests.symbol(params)
        limit, cursor = params.limit(500, 1_000), params.integer("algoId")
        start, end = params.time("startTime"), params.time("endTime")
        page = max(params.integer("page") or 1, 1)
        algos = [
            algo
            for algo in self._exchange.conditionals(symbol)
            if (cursor is None or algo.id >= cursor)
            and (start is None or algo.created_ms >= start)
            and (end is None or algo.created_ms <= end)
        ]
        shown = algos[::-1][(page - 1) * limit : page * limit]
        return [self._rows.algo_listed(algo, self._child(algo)) for algo in shown]

    def _child(self, algo: Conditional) -> Order | None:
        if algo.child_id is None:
            return None
        return self._exchange.order(algo.symbol, order_id=algo.child_id)


def _which(params: Params) -> tuple[int | None, str | None]:
    """algoId wins over clientAlgoId; -1102 when neither was sent."""
    algo_id, client_id = params.integer("algoId"), params.text("clientAlgoId")
    if algo_id is None and client_id is None:
        raise VenueError(-1102, "algoId")
    return (algo_id, None) if algo_id is not None else (None, client_id)
