"""Questions about orders, executions and closed positions."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from tools.venuesim.bybit.errors import Row, VenueError
from tools.venuesim.bybit.ids import order_id
from tools.venuesim.bybit.market_frames import fixed
from tools.venuesim.bybit.order_lookup import OrderLookup, is_open
from tools.venuesim.bybit.order_rows import OrderRows, average
from tools.venuesim.bybit.paging import DAY_MS, page, window
from tools.venuesim.bybit.params import Params
from tools.venuesim.bybit.position_rows import money
from tools.venuesim.bybit.record import AccountRecord, Closing, Execution
from tools.venuesim.bybit.routing import Handler, Route, Routes, Security
from tools.venuesim.bybit.words import ORDER_TYPE, SIDE
from tools.venuesim.exchange.model import Conditional, Order
from tools.venuesim.wire import Host, Lane

RECENT_CLOSED = 500
UNFILLED_KEPT_MS = DAY_MS
EMPTY_CATEGORIES = ("inverse", "spot", "option")
Some = Order | Conditional


class OrderQueries:
    """Handlers that read. Other categories than linear have empty lists."""

    def __init__(self, host: Host, lookup: OrderLookup, rows: OrderRows, record: AccountRecord) -> None:
        self._host = host
        self._exchange = host.exchange
        self._lookup = lookup
        self._rows = rows
        self._record = record

    def routes(self) -> Routes:
        """This part of the API."""
        calls: dict[str, Handler] = {
            "/v5/order/realtime": self.realtime,
            "/v5/order/history": self.history,
            "/v5/execution/list": self.executions,
            "/v5/position/closed-pnl": self.closed_pnl,
        }
        return {("GET", path): Route(call, Lane.QUERY, Security.READ) for path, call in calls.items()}

    def realtime(self, params: Params) -> Row:
        """GET realtime: open orders; by id also those that ended lately; with openOnly=1 only these."""
        if (category := self._category(params)) in EMPTY_CATEGORIES:
            return _nothing(category)
        named = "orderId" in params or "orderLinkId" in params
        if not named and not any(name in params for name in ("symbol", "baseCoin", "settleCoin")):
            raise VenueError(10001, "params error: symbol, settleCoin or baseCoin is required")
        wanted = self._scope(params)
        if named:
            rows = self._named(params, wanted)
        elif params.integer("openOnly"):
            ended = [row for row in self._lookup.all(params.text("symbol")) if not is_open(row)]
            rows = [row for row in ended[:RECENT_CLOSED] if wanted(row)]
        else:
            rows = [row for row in self._lookup.open_ones(params.text("symbol")) if wanted(row)]
        return self._orders(rows, params)

    def history(self, params: Params) -> Row:
        """GET history: ended orders; those without a fill are forgotten after a day."""
        if (category := self._category(params)) in EMPTY_CATEGORIES:
            return _nothing(category)
        wanted, status = self._scope(params), params.text("orderStatus")
        if "orderId" in params or "orderLinkId" in params:
            rows = self._named(params, wanted)
        else:
            start, end = window(params, self._host.now_ms())
            known = self._lookup.all(params.text("symbol"))
            rows = [row for row in known if wanted(row) and start <= row.created_ms <= end]
        kept = [row for row in rows if not is_open(row) and self._is_kept(row)]
        if status is not None:
            kept = [row for row in kept if self._rows.listed(row)["orderStatus"] == status]
        return self._orders(kept, params)

    def executions(self, params: Params) -> Row:
        """GET execution/list, newest first."""
        if (category := self._category(params)) in EMPTY_CATEGORIES:
            return _nothing(category)
        start, end = window(params, self._host.now_ms())
        asked = {name: params.text(name) for name in ("symbol", "orderId", "orderLinkId", "execType")}
        base = params.text("baseCoin")
        by_order = asked["orderId"] is not None or asked["orderLinkId"] is not None

        def is_meant(row: Execution) -> bool:
            has = {"symbol": row.symbol, "orderId": row.order_id, "orderLinkId": row.link_id, "execType": row.kind}
            if any(value is not None and has[name] != value for name, value in asked.items()):
                return False
            if base is not None and self._exchange.instrument(row.symbol).base != base:
                return False
            return by_order or start <= row.time_ms <= end

        rows = [row for row in reversed(self._record.executions) if is_meant(row)]
        found, cursor = page(rows, params, lambda row: row.id, default=50, most=100)
        listed = [self._rows.execution(row) for row in found]
        return {"category": "linear", "list": listed, "nextPageCursor": cursor}

    def closed_pnl(self, params: Params) -> Row:
        """GET closed-pnl: one row for each order that closed something, newest first."""
        if (category := self._category(params)) in EMPTY_CATEGORIES:
            return _nothing(category)
        start, end = window(params, self._host.now_ms())
        symbol = params.text("symbol")
        rows = [
            row
            for row in reversed(self._record.closings)
            if symbol in (None, row.symbol) and start <= row.updated_ms <= end
        ]
        found, cursor = page(rows, params, lambda row: row.order_id, default=50, most=100)
        return {"category": "linear", "list": [self._closing(row) for row in found], "nextPageCursor": cursor}

    def _category(self, params: Params) -> str:
        return params.choice("category", ("linear", *EMPTY_CATEGORIES))

    def _scope(self, params: Params) -> Callable[[Some], bool]:
        symbol, base, settle = (params.text(name) for name in ("symbol", "baseCoin", "settleCoin"))
        kind = params.choice("orderFilter", ("Order", "StopOrder", "tpslOrder", "any"), "any")

        def is_meant(row: Some) -> bool:
            instrument = self._exchange.instrument(row.symbol)
            if kind != "any" and isinstance(row, Conditional) is (kind == "Order"):
                return False
            return (
                symbol in (None, row.symbol) and base in (None, instrument.base) and settle in (None, instrument.settle)
            )

        return is_meant

    def _named(self, params: Params, wanted: Callable[[Some], bool]) -> list[Some]:
        symbol = params.text("symbol")
        symbols = [symbol] if symbol is not None else [row.symbol for row in self._exchange.instruments()]
        found = (self._lookup.named(params, name) for name in symbols)
        return [row for row in found if row is not None and wanted(row)][:1]

    def _orders(self, rows: list[Some], params: Params) -> Row:
        found, cursor = page(rows, params, order_id, default=20, most=50)
        listed = [self._rows.listed(row) for row in found]
        return {"category": "linear", "list": listed, "nextPageCursor": cursor}

    def _is_kept(self, row: Some) -> bool:
        filled = isinstance(row, Order) and bool(row.filled)
        return filled or self._host.now_ms() - row.updated_ms <= UNFILLED_KEPT_MS

    def _closing(self, row: Closing) -> Row:
        instrument = self._exchange.instrument(row.symbol)
        return {
            "symbol": row.symbol,
            "orderId": row.order_id,
            "orderType": ORDER_TYPE[row.order_type],
            "orderPrice": fixed(row.order_price, instrument.tick),
            "qty": fixed(row.order_qty, instrument.step),
            "side": SIDE[row.side],
            "leverage": str(row.leverage),
            "execType": row.kind,
            "closedSize": fixed(row.closed, instrument.step),
            "avgEntryPrice": average(_ratio(row.entry_value, row.closed)),
            "avgExitPrice": average(_ratio(row.exit_value, row.closed)),
            "cumEntryValue": money(row.entry_value),
            "cumExitValue": money(row.exit_value),
            "closedPnl": money(row.pnl),
            "fillCount": str(row.fills),
            "createdTime": str(row.created_ms),
            "updatedTime": str(row.updated_ms),
        }


def _ratio(value: Decimal, qty: Decimal) -> Decimal:
    return value / qty if qty else Decimal(0)


def _nothing(category: str) -> Row:
    return {"category": category, "list": [], "nextPageCursor": ""}
