"""Reads of orders, algo orders and fills, with the windows in which the venue still knows them."""

from __future__ import annotations

from collections.abc import Callable

from tools.venuesim.exchange.model import Order, OrderStatus
from tools.venuesim.okx.algo_book import Algo, state_of
from tools.venuesim.okx.algo_rows import AlgoRows
from tools.venuesim.okx.errors import VenueError
from tools.venuesim.okx.formats import Row, stamp
from tools.venuesim.okx.order_requests import OrderRequests
from tools.venuesim.okx.order_rows import OrderRows, bill_id
from tools.venuesim.okx.paging import DAY_MS, HOUR_MS, of_instruments, page, within
from tools.venuesim.okx.params import Params
from tools.venuesim.okx.record import AccountRecord, FilledRecord
from tools.venuesim.okx.refusals import Deed, Refusals
from tools.venuesim.okx.routing import Route, Routes, Scope, Security
from tools.venuesim.okx.words import STATE, order_type
from tools.venuesim.wire import Host, Lane

_WEEK_MS, _MONTHS_MS, _FILL_DAYS_MS = 7 * DAY_MS, 90 * DAY_MS, 3 * DAY_MS
_UNFILLED_MS = 2 * HOUR_MS
"""How long a cancelled order without fills is remembered."""
_ALGO_KINDS = ("conditional", "oco", "trigger", "move_order_stop", "iceberg", "twap", "chase")
_TOGETHER = frozenset({"conditional", "oco"})
_ALGO_STATES = ("effective", "canceled", "order_failed")
_ACCOUNT_RATE = "1000"
_SECOND_MS = 1_000
ORDER, ALGO = "/api/v5/trade/order", "/api/v5/trade/order-algo"


class OrderQueries:
    """Handlers for the GET side of /api/v5/trade."""

    def __init__(
        self,
        host: Host,
        requests: OrderRequests,
        refusals: Refusals,
        rows: OrderRows,
        algos: AlgoRows,
        record: AccountRecord,
    ) -> None:
        self._host = host
        self._exchange = host.exchange
        self._requests = requests
        self._refusals = refusals
        self._rows = rows
        self._algos = algos
        self._book = algos.book
        self._record = record

    def routes(self) -> Routes:
        """This part of the API."""
        calls: dict[str, tuple[Callable[[Params], list[Row]], int]] = {
            "orders-pending": (self.pending, 60),
            "orders-history": (self.history, 40),
            "orders-history-archive": (self.archive, 20),
            "fills": (self.fills, 60),
            "fills-history": (self.fills_history, 10),
            "order-algo": (self.algo, 20),
            "orders-algo-pending": (self.algos_pending, 20),
            "orders-algo-history": (self.algos_history, 20),
        }
        routes: Routes = {
            ("GET", f"/api/v5/trade/{name}"): Route(
                handler=handler, lane=Lane.QUERY, security=Security.READ, calls=limit
            )
            for name, (handler, limit) in calls.items()
        }
        routes["GET", ORDER] = Route(
            handler=self.order, lane=Lane.QUERY, security=Security.READ, calls=60, scope=Scope.INSTRUMENT
        )
        routes["GET", "/api/v5/trade/account-rate-limit"] = Route(
            handler=self.account_rate, lane=Lane.ACCOUNT, security=Security.READ, calls=1, per_ms=_SECOND_MS
        )
        return routes

    def order(self, params: Params) -> list[Row]:
        """One order; 51603 where there is none, or it is forgotten. The newest one of a name that was used again."""
        symbol = self._requests.symbol(params)
        number, name = self._requests.which(params, "ordId", "clOrdId")
        with self._refusals.translated(Deed.QUERY, symbol):
            order = self._exchange.order(symbol, order_id=number, client_id=name)
        if not order.status.is_open and not self._remembered(order, _MONTHS_MS):
            raise VenueError(51603)
        return [self._rows.listed(order)]

    def pending(self, params: Params) -> list[Row]:
        """What is open."""
        found = [order for order in self._exchange.open_orders() if _wanted(params, order)]
        return [self._rows.listed(order) for order in page(found, params, lambda order: order.id)]

    def history(self, params: Params) -> list[Row]:
        """What ended in the last seven days; cancelled without a fill: in the last two hours."""
        return self._ended(params, _WEEK_MS)

    def archive(self, params: Params) -> list[Row]:
        """The same for three months."""
        return self._ended(params, _MONTHS_MS)

    def fills(self, params: Params) -> list[Row]:
        """Of the last three days."""
        return self._fills(params, _FILL_DAYS_MS)

    def fills_history(self, params: Params) -> list[Row]:
        """Of the last three months."""
        params.required("instType")
        return self._fills(params, _MONTHS_MS)

    def algo(self, params: Params) -> list[Row]:
        """One algo order, whatever became of it."""
        number, name = self._requests.which(params, "algoId", "algoClOrdId")
        with self._refusals.translated(Deed.QUERY, None):
            found = self._book.find(algo_id=number, client_id=name)
        return [self._algos.listed(found)]

    def algos_pending(self, params: Params) -> list[Row]:
        """Those of one kind that wait; conditional and oco may be asked for together."""
        kinds = _algo_kinds(params)
        name, number = params.text("algoClOrdId"), params.text("algoId")
        found = [algo for algo in self._of(kinds, params) if self._state(algo) == "live"]
        found = [algo for algo in found if name is None or algo.client_id == name]
        found = [algo for algo in found if number is None or str(algo.id) == number]
        return [self._algos.listed(algo) for algo in page(found, params, lambda algo: algo.id)]

    def algos_history(self, params: Params) -> list[Row]:
        """Those of one kind in one state, or one by its number."""
        kinds = _algo_kinds(params)
        number = params.text("algoId")
        state = None if number is not None else params.choice("state", _ALGO_STATES)
        found = [
            algo
            for algo in self._of(kinds, params)
            if (self._state(algo) == state if number is None else str(algo.id) == number)
            and self._state(algo) != "live"
        ]
        return [self._algos.listed(algo) for algo in page(found, params, lambda algo: algo.id)]

    def account_rate(self, params: Params) -> list[Row]:  # noqa: ARG002 - a handler
        """How many orders the account may send in two seconds."""
        now = stamp(self._host.now_ms())
        return [
            {
                "accRateLimit": _ACCOUNT_RATE,
                "fillRatio": "",
                "mainFillRatio": "",
                "nextAccRateLimit": _ACCOUNT_RATE,
                "ts": now,
            }
        ]

    def _ended(self, params: Params, window_ms: int) -> list[Row]:
        params.required("instType")
        found = [
            order
            for order in self._exchange.orders()
            if not order.status.is_open
            and _wanted(params, order)
            and within(params, order.created_ms)
            and self._remembered(order, window_ms)
        ]
        return [self._rows.listed(order) for order in page(found, params, lambda order: order.id)]

    def _remembered(self, order: Order, window_ms: int) -> bool:
        if order.status is not OrderStatus.FILLED and not order.filled:
            window_ms = _UNFILLED_MS
        return self._host.now_ms() - order.updated_ms <= window_ms

    def _fills(self, params: Params, window_ms: int) -> list[Row]:
        oldest = self._host.now_ms() - window_ms
        order_id = params.text("ordId")

        def wanted(row: FilledRecord) -> bool:
            fill = row.fill
            right = fill.time_ms >= oldest and within(params, fill.time_ms) and of_instruments(params, fill.symbol)
            return right and (order_id is None or str(fill.order_id) == order_id)

        found = [row for row in self._record.fills() if wanted(row)]
        return [self._rows.fill(row.fill) for row in page(found, params, lambda row: bill_id(row.fill.id))]

    def _of(self, kinds: frozenset[str], params: Params) -> list[Algo]:
        return [algo for algo in self._book.all() if algo.kind in kinds and of_instruments(params, algo.symbol)]

    def _state(self, algo: Algo) -> str:
        return state_of(self._book.rows(algo))


def _wanted(params: Params, order: Order) -> bool:
    state, kinds, category = params.text("state"), params.words("ordType"), params.text("category")
    return (
        of_instruments(params, order.symbol)
        and (state is None or STATE[order.status] == state)
        and (not kinds or order_type(order) in kinds)
        and category in (None, "normal")
    )


def _algo_kinds(params: Params) -> frozenset[str]:
    """ordType is required, one kind only but for conditional and oco; 51000 otherwise."""
    params.required("ordType")
    kinds = params.words("ordType")
    if not kinds <= set(_ALGO_KINDS) or (len(kinds) > 1 and not kinds <= _TOGETHER):
        raise VenueError(51000, "ordType")
    return kinds
