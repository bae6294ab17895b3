"""Questions about orders, trades, amendments and what the risk engine did."""

from __future__ import annotations

from collections.abc import Callable

from tools.venuesim.binance.errors import VenueError
from tools.venuesim.binance.order_requests import OrderRequests, which_order
from tools.venuesim.binance.order_rows import OrderRows, Row
from tools.venuesim.binance.params import Params
from tools.venuesim.binance.refusals import venue_terms
from tools.venuesim.binance.routing import Route, Routes, Security
from tools.venuesim.exchange.model import Order, Origin, Refusal
from tools.venuesim.wire import Host, Lane

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
UNFILLED_KEPT_MS = 3 * DAY_MS
ORDERS_KEPT_MS = 90 * DAY_MS
_NOT_FOUND = {Refusal.UNKNOWN_ORDER: -2013}


class Amendments:
    """What was changed about which order; the engine keeps only the newest state."""

    def __init__(self) -> None:
        self._rows: list[Row] = []

    def note(self, before: Order, after: Order, prices: Callable[[Order], tuple[str, str]], now_ms: int) -> None:
        """``prices`` prints an order's price and quantity."""
        (old_price, old_qty), (new_price, new_qty) = prices(before), prices(after)
        amendment: Row = {
            "price": {"before": old_price, "after": new_price},
            "origQty": {"before": old_qty, "after": new_qty},
            "count": before.amendments + 1,
        }
        if "modifyId" in after.extras:
            amendment["modifyId"] = int(after.extras["modifyId"])
        self._rows.append(
            {
                "amendmentId": len(self._rows) + 1,
                "symbol": after.symbol,
                "pair": after.symbol,
                "orderId": after.id,
                "clientOrderId": after.client_id,
                "time": now_ms,
                "amendment": amendment,
            }
        )

    def of(self, symbol: str) -> list[Row]:
        """Newest first, as the venue lists them."""
        return [row for row in reversed(self._rows) if row["symbol"] == symbol]


class OrderQueries:
    """Handlers that read."""

    def __init__(self, host: Host, requests: OrderRequests, rows: OrderRows, amendments: Amendments) -> None:
        self._host = host
        self._exchange = host.exchange
        self._requests = requests
        self._rows = rows
        self._amendments = amendments

    def routes(self) -> Routes:
        """This part of the API."""
        calls = {
            "order": self.query,
            "openOrder": self.query_open,
            "openOrders": self.open_orders,
            "allOrders": self.all_orders,
            "orderAmendment": self.amendments,
            "userTrades": self.user_trades,
            "forceOrders": self.force_orders,
        }
        return {("GET", f"/fapi/v1/{name}"): Route(call, Lane.QUERY, Security.READ) for name, call in calls.items()}

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
        start, end = time_range(params, self._host.now_ms())
        orders = [
            order
            for order in self._exchange.orders(symbol)
            if (order.id >= cursor if cursor is not None else start <= order.created_ms <= end) and self._is_kept(order)
        ]
        return [self._rows.listed(order) for order in orders[-limit:]]

    def amendments(self, params: Params) -> object:
        """GET orderAmendment: by order, or all of the symbol's in the window."""
        symbol = self._requests.symbol(params)
        limit = params.limit(50, 100)
        order_id, client_id = params.integer("orderId"), params.text("origClientOrderId")
        start, end = time_range(params, self._host.now_ms())
        rows = [
            row
            for row in self._amendments.of(symbol)
            if order_id in (None, row["orderId"])
            and client_id in (None, row["clientOrderId"])
            and start <= row["time"] <= end
        ]
        return rows[:limit]

    def force_orders(self, params: Params) -> object:
        """GET forceOrders: what the risk engine did, without client orders."""
        wanted = {"LIQUIDATION": Origin.LIQUIDATION, "ADL": Origin.ADL}
        word = params.text("autoCloseType")
        if word is not None and word not in wanted:
            raise VenueError(-1130, "autoCloseType")
        kinds = {wanted[word]} if word else set(wanted.values())
        symbol = self._requests.optional_symbol(params)
        limit = params.limit(50, 100)
        start, end = time_range(params, self._host.now_ms())
        orders = [
            order
            for order in self._exchange.orders(symbol)
            if order.origin in kinds and start <= order.created_ms <= end
        ]
        return [self._rows.listed(order) for order in orders[-limit:]]

    def user_trades(self, params: Params) -> object:
        """GET userTrades, ascending: from fromId on if given; otherwise `limit` keeps the oldest of the window."""
        symbol = self._requests.symbol(params)
        limit, cursor, order_id = params.limit(500, 1_000), params.integer("fromId"), params.integer("orderId")
        start, end = time_range(params, self._host.now_ms())
        oldest = self._host.now_ms() - ORDERS_KEPT_MS
        fills = [
            fill
            for fill in self._exchange.fills(symbol)
            if (fill.id >= cursor if cursor is not None else start <= fill.time_ms <= end)
            and order_id in (None, fill.order_id)
            and fill.time_ms >= oldest
        ]
        instrument = self._exchange.instrument(symbol)
        return [self._rows.trade(fill, instrument) for fill in fills[:limit]]

    def _find(self, params: Params) -> Order:
        symbol = self._requests.symbol(params)
        order_id, client_id = which_order(params)
        with venue_terms(self._exchange, symbol, _NOT_FOUND):
            order = self._exchange.order(symbol, order_id=order_id, client_id=client_id)
        if not self._is_kept(order):
            raise VenueError(-2013)
        return order

    def _is_kept(self, order: Order) -> bool:
        """Ended orders are forgotten: without fills after 3 days, the others after 90."""
        if order.status.is_open:
            return True
        return self._host.now_ms() - order.updated_ms <= (ORDERS_KEPT_MS if order.filled else UNFILLED_KEPT_MS)


def time_range(params: Params, now_ms: int) -> tuple[int, int]:
    """startTime and endTime at most 7 days apart; without them the last 7 days. -1023 when they are crossed."""
    start, end = params.time("startTime"), params.time("endTime")
    if start is not None and end is not None:
        if start > end:
            raise VenueError(-1023)
        if end - start > WEEK_MS:
            raise VenueError(-1127, 168)
    if end is None:
        end = now_ms if start is None else start + WEEK_MS
    return (start if start is not None else end - WEEK_MS), end
