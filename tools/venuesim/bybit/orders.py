"""Commands about orders: create, amend, cancel, cancel all, and batches of them."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from tools.venuesim.bybit.amendments import Amendments
from tools.venuesim.bybit.errors import OK, Row, VenueError, worded
from tools.venuesim.bybit.ids import order_id
from tools.venuesim.bybit.limits import Limits
from tools.venuesim.bybit.order_lookup import OrderLookup
from tools.venuesim.bybit.order_requests import OrderRequests
from tools.venuesim.bybit.params import Params
from tools.venuesim.bybit.refusals import venue_terms
from tools.venuesim.bybit.routing import Answer, Route, Routes, Security
from tools.venuesim.bybit.words import stop_order_type
from tools.venuesim.exchange.model import (
    ZERO,
    Conditional,
    ConditionalRequest,
    Order,
    OrderRequest,
    OrderType,
)
from tools.venuesim.wire import Host, Lane

PER_SECOND = 10
MAX_BATCH = 20
MAX_CANCELLED = 500
_TEN_THOUSAND = 10_000
_FILTERS = ("Order", "StopOrder", "tpslOrder")
Command = Callable[[Params], Row]


class OrderEndpoints:
    """Handlers for /v5/order. An answer says that a command was taken; the private stream tells what became of it."""

    def __init__(
        self, host: Host, requests: OrderRequests, lookup: OrderLookup, amendments: Amendments, limits: Limits
    ) -> None:
        self._host = host
        self._exchange = host.exchange
        self._requests = requests
        self._lookup = lookup
        self._amendments = amendments
        self._limits = limits

    def routes(self) -> Routes:
        """This part of the API."""
        trade = Security.TRADE
        return {
            ("POST", "/v5/order/create"): Route(self.create, Lane.ORDER, trade, PER_SECOND),
            ("POST", "/v5/order/amend"): Route(self.amend, Lane.AMEND, trade, PER_SECOND),
            ("POST", "/v5/order/cancel"): Route(self.cancel, Lane.CANCEL, trade, PER_SECOND),
            ("POST", "/v5/order/cancel-all"): Route(self.cancel_all, Lane.CANCEL, trade, PER_SECOND),
            ("POST", "/v5/order/create-batch"): Route(self.create_batch, Lane.ORDER, trade, PER_SECOND, batch=True),
            ("POST", "/v5/order/amend-batch"): Route(self.amend_batch, Lane.AMEND, trade, PER_SECOND, batch=True),
            ("POST", "/v5/order/cancel-batch"): Route(self.cancel_batch, Lane.CANCEL, trade, PER_SECOND, batch=True),
            ("POST", "/v5/order/pre-check"): Route(self.pre_check, Lane.QUERY, trade, PER_SECOND),
        }

    def create(self, params: Params) -> Row:
        """POST create: an order, or with a trigger price one that waits for it."""
        with venue_terms(self._exchange, params.text("symbol")):
            request = self._requests.create(params)
            if isinstance(request, ConditionalRequest):
                return _names(self._exchange.place_conditional(request))
            return _names(self._place(request))

    def amend(self, params: Params) -> Row:
        """POST amend: whatever is given changes, the rest stays. A quantity is the new total, filled part included."""
        symbol = self._requests.instrument(params).symbol
        with venue_terms(self._exchange, symbol):
            return _names(self._amendments.amend(params, self._lookup.open(params, symbol, "replace")))

    def cancel(self, params: Params) -> Row:
        """POST cancel; 110001 for an order that is not open."""
        symbol = self._requests.instrument(params).symbol
        with venue_terms(self._exchange, symbol):
            row = self._lookup.open(params, symbol, "cancel")
            self._cancel(row)
        return _names(row)

    def cancel_all(self, params: Params) -> Row:
        """POST cancel-all: of a symbol, a base or a settle coin; all kinds unless ``orderFilter`` names one."""
        if params.text("category") != "linear":
            raise VenueError(10001, "params error: category invalid")
        wanted = [row for row in self._lookup.open_ones(None) if self._is_meant(row, params)][:MAX_CANCELLED]
        for row in wanted:
            with venue_terms(self._exchange, row.symbol):
                self._cancel(row)
        return {"list": [_names(row) for row in wanted], "success": "1"}

    def create_batch(self, params: Params) -> Answer:
        """POST create-batch."""
        return self._batch(params, "/v5/order/create-batch", self.create, stamped=True)

    def amend_batch(self, params: Params) -> Answer:
        """POST amend-batch."""
        return self._batch(params, "/v5/order/amend-batch", self.amend)

    def cancel_batch(self, params: Params) -> Answer:
        """POST cancel-batch."""
        return self._batch(params, "/v5/order/cancel-batch", self.cancel)

    def pre_check(self, params: Params) -> Row:
        """POST pre-check: every check of an order without the order, and the margin rates around it in 1/10000."""
        request = self._requests.create(params)
        if isinstance(request, ConditionalRequest):
            raise VenueError(10001, "conditional orders are not supported")
        with venue_terms(self._exchange, request.symbol):
            self._exchange.check(request)
        before = self._rates(ZERO, ZERO)
        after = self._rates(*self._added(request))
        return {
            "orderId": "",
            "orderLinkId": request.client_id or "",
            "preImrE4": before[0],
            "preMmrE4": before[1],
            "postImrE4": after[0],
            "postMmrE4": after[1],
        }

    def _place(self, request: OrderRequest) -> Order:
        """A close beyond the largest order is split up; the first part carries the client's name."""
        instrument = self._exchange.instrument(request.symbol)
        most = instrument.market_max_qty if request.type is OrderType.MARKET else instrument.max_qty
        if not request.reduce_only or request.qty <= most:
            return self._exchange.place(request)
        held = abs(self._exchange.position(request.symbol, request.position_side).qty)
        first = self._exchange.place(replace(request, qty=min(most, held or most)))
        left = min(request.qty, held) - first.qty
        while left > 0:
            left -= self._exchange.place(replace(request, qty=min(most, left), client_id=None)).qty
        return first

    def _cancel(self, row: Order | Conditional) -> None:
        if isinstance(row, Order):
            self._exchange.cancel(row.symbol, order_id=row.id)
        else:
            self._exchange.cancel_conditional(conditional_id=row.id, symbol=row.symbol)

    def _is_meant(self, row: Order | Conditional, params: Params) -> bool:
        instrument = self._exchange.instrument(row.symbol)
        symbol, base, settle = (params.text(name) for name in ("symbol", "baseCoin", "settleCoin"))
        if symbol is None and base is None and settle is None:
            raise VenueError(10001, "params error: symbol, settleCoin or baseCoin is required")
        kind, stop = params.choice("orderFilter", (*_FILTERS, ""), ""), params.text("stopOrderType")
        waits = isinstance(row, Conditional)
        return (
            symbol in (None, row.symbol)
            and base in (None, instrument.base)
            and settle in (None, instrument.settle)
            and (not kind or waits is (kind != "Order"))
            and (stop is None or (waits and stop_order_type(row) == stop))
        )

    def _batch(self, params: Params, path: str, command: Command, *, stamped: bool = False) -> Answer:
        """Row i of the result pairs with row i of retExtInfo; entries beyond the limit of the second carry 10006."""
        self._limits.check_open(self._host.now_ms())
        category, entries = params.text("category") or "", params.entries("request")
        if category != "linear":
            raise VenueError(10001, "params error: category invalid")
        if not 0 < len(entries) <= MAX_BATCH:
            raise VenueError(10001, f"params error: request must hold 1 to {MAX_BATCH} orders")
        rows: list[Row] = []
        outcomes: list[Row] = []
        for entry in entries:
            names, outcome = self._one(entry.with_values(category=category), path, command)
            row = {"category": category, "symbol": entry.text("symbol") or "", **names}
            if stamped:
                row["createAt"] = str(self._host.now_ms()) if names["orderId"] else ""
            rows.append(row)
            outcomes.append(outcome)
        return Answer({"list": rows}, extra={"list": outcomes})

    def _one(self, entry: Params, path: str, command: Command) -> tuple[Row, Row]:
        nothing = {"orderId": "", "orderLinkId": entry.text("orderLinkId") or ""}
        if not self._limits.take(path, self._host.now_ms(), PER_SECOND):
            return nothing, {"code": 10006, "msg": worded(10006)}
        try:
            return command(entry), {"code": 0, "msg": OK}
        except VenueError as error:
            return nothing, {"code": error.code, "msg": error.text}

    def _added(self, request: OrderRequest) -> tuple[Decimal, Decimal]:
        """Initial and maintenance margin the order would need."""
        instrument = self._exchange.instrument(request.symbol)
        price = request.price if request.price is not None else self._exchange.quote(request.symbol).mark
        value = ZERO if request.reduce_only else request.qty * price
        return value / self._exchange.config(request.symbol).leverage, instrument.maintenance(value)

    def _rates(self, initial: Decimal, maintenance: Decimal) -> tuple[int, int]:
        balances = [self._exchange.balance(asset) for asset in self._exchange.assets()]
        equity = sum((row.margin_balance for row in balances), ZERO)
        if equity <= 0:
            return 0, 0
        initial += sum((row.position_margin + row.order_margin for row in balances), ZERO)
        maintenance += sum((row.maintenance for row in balances), ZERO)
        return int(initial / equity * _TEN_THOUSAND), int(maintenance / equity * _TEN_THOUSAND)


def _names(row: Order | Conditional) -> dict[str, Any]:
    return {"orderId": order_id(row), "orderLinkId": row.client_id}
