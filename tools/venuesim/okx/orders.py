"""Commands about orders: place, amend, cancel, close a position, and the dead man's switch."""

from __future__ import annotations

from decimal import Decimal

from tools.venuesim.exchange.model import (
    CLOSING,
    MarginMode,
    Order,
    OrderRequest,
    OrderType,
    PositionMode,
    PositionSide,
    Refusal,
    Refused,
    Side,
    TimeInForce,
)
from tools.venuesim.okx.errors import VenueError
from tools.venuesim.okx.formats import Row, stamp
from tools.venuesim.okx.order_requests import OrderRequests
from tools.venuesim.okx.order_rows import client_order_id
from tools.venuesim.okx.params import Params
from tools.venuesim.okx.record import AccountRecord
from tools.venuesim.okx.refusals import Deed, Refusals
from tools.venuesim.okx.routing import Items, Route, Routes, Scope, Security
from tools.venuesim.okx.words import CANCELED_BY_COUNTDOWN, MARGIN_MODE_OF, POSITION_SIDE
from tools.venuesim.wire import Host, Lane, Timer

_SINGLE_CALLS, _BATCH_ORDERS = 60, 300
_COUNTDOWN_S = range(10, 121)
_SECOND_MS = 1_000
PLACE, AMEND, CANCEL = "/api/v5/trade/order", "/api/v5/trade/amend-order", "/api/v5/trade/cancel-order"


class OrderEndpoints:
    """Handlers for /api/v5/trade; an item's answer says that it was taken, the stream tells what became of it."""

    def __init__(self, host: Host, requests: OrderRequests, refusals: Refusals, record: AccountRecord) -> None:
        self._host = host
        self._exchange = host.exchange
        self._requests = requests
        self._refusals = refusals
        self._record = record
        self._countdowns: dict[str, Timer] = {}

    def routes(self) -> Routes:
        """This part of the API."""
        trade = Security.TRADE
        routes: Routes = {}
        for path, batch, handler, lane in (
            (PLACE, "batch-orders", self.place, Lane.ORDER),
            (AMEND, "amend-batch-orders", self.amend, Lane.AMEND),
            (CANCEL, "cancel-batch-orders", self.cancel, Lane.CANCEL),
        ):
            counts = lane is not Lane.CANCEL
            for target, items, calls in (
                (path, Items.ONE, _SINGLE_CALLS),
                (f"/api/v5/trade/{batch}", Items.MANY, _BATCH_ORDERS),
            ):
                routes["POST", target] = Route(
                    handler=handler,
                    lane=lane,
                    security=trade,
                    calls=calls,
                    scope=Scope.INSTRUMENT,
                    items=items,
                    single=path,
                    counts_orders=counts,
                    timed=True,
                )
        routes["POST", "/api/v5/trade/close-position"] = Route(
            handler=self.close_position, lane=Lane.ORDER, security=trade, scope=Scope.INSTRUMENT
        )
        routes["POST", "/api/v5/trade/cancel-all-after"] = Route(
            handler=self.cancel_all_after, lane=Lane.CANCEL, security=trade, calls=1, per_ms=_SECOND_MS
        )
        return routes

    def place(self, params: Params) -> list[Row]:
        """One order."""
        request = self._requests.order(params)
        closes = request.reduce_only or (request.position_side, request.side) in CLOSING
        if request.attached and closes:
            raise VenueError(51333 if request.position_side is not PositionSide.BOTH else 51100)
        with self._refusals.placing(request):
            order = self._exchange.place(request)
        return [self._taken(order, tag=request.extras.get("tag", ""))]

    def amend(self, params: Params) -> list[Row]:
        """One amendment; asking for what already is counts as done."""
        symbol = self._requests.symbol(params)
        number, name = self._requests.which(params, "ordId", "clOrdId")
        with self._refusals.translated(Deed.AMEND, symbol):
            order = self._exchange.order(symbol, order_id=number, client_id=name)
            if not order.status.is_open:
                raise Refused(Refusal.UNKNOWN_ORDER)
            request = self._requests.amendment(params, order)
            try:
                order = self._exchange.amend(request)
            except Refused as refused:
                if refused.reason is not Refusal.NOTHING_TO_AMEND:
                    if params.flag("cxlOnFail"):
                        self._exchange.cancel(symbol, order_id=order.id)
                    raise
        return [self._taken(order, reqId=params.text("reqId") or "")]

    def cancel(self, params: Params) -> list[Row]:
        """One cancellation; 51400 for an order that is not open."""
        symbol = self._requests.symbol(params)
        number, name = self._requests.which(params, "ordId", "clOrdId")
        with self._refusals.translated(Deed.CANCEL, symbol):
            order = self._exchange.cancel(symbol, order_id=number, client_id=name)
        return [self._taken(order)]

    def close_position(self, params: Params) -> list[Row]:
        """Everything of a position at the market's price."""
        symbol = self._requests.symbol(params)
        mode = MARGIN_MODE_OF[params.choice("mgnMode", tuple(MARGIN_MODE_OF))]
        side = self._closed_side(params)
        row = self._exchange.position(symbol, side)
        if not row.qty or row.margin_mode is not mode:
            raise VenueError(51023)
        instrument = self._exchange.instrument(symbol)
        if abs(row.qty) > instrument.market_max_qty:
            raise VenueError(51108)
        self._clear_the_way(symbol, side, row.qty, cancel=params.flag("autoCxl"))
        request = self._closing(params, symbol, side, row.qty, mode)
        with self._refusals.placing(request):
            self._exchange.place(request)
        return [
            {
                "clOrdId": request.client_id or "",
                "instId": symbol,
                "posSide": POSITION_SIDE[side],
                "tag": params.text("tag") or "",
            }
        ]

    def cancel_all_after(self, params: Params) -> list[Row]:
        """Everything open is cancelled unless it is called again in time; algo orders stay."""
        seconds, tag = params.integer("timeOut"), params.text("tag") or ""
        if seconds is None:
            raise VenueError(50014, "timeOut")
        if seconds and seconds not in _COUNTDOWN_S:
            raise VenueError(51000, "timeOut")
        known = self._countdowns.pop(tag, None)
        if known is not None:
            known.cancel()
        now_ms = self._host.now_ms()
        if seconds:
            self._countdowns[tag] = self._host.call_later(seconds * _SECOND_MS, lambda: self._time_is_up(tag))
        trigger = now_ms + seconds * _SECOND_MS if seconds else 0
        return [{"tag": tag, "triggerTime": stamp(trigger), "ts": stamp(now_ms)}]

    def _time_is_up(self, tag: str) -> None:
        self._countdowns.pop(tag, None)
        for order in self._exchange.open_orders():
            if not tag or order.extras.get("tag") == tag:
                self._record.canceled_by[order.id] = CANCELED_BY_COUNTDOWN
                self._exchange.cancel(order.symbol, order_id=order.id)

    def _taken(self, order: Order, **more: str) -> Row:
        return {
            "clOrdId": client_order_id(order),
            "ordId": str(order.id),
            **more,
            "sCode": "0",
            "sMsg": "",
            "ts": stamp(self._host.now_ms()),
        }

    def _closed_side(self, params: Params) -> PositionSide:
        if self._exchange.position_mode is PositionMode.ONE_WAY:
            return PositionSide.BOTH
        return self._requests.position_side(params)

    def _clear_the_way(self, symbol: str, side: PositionSide, held: Decimal, *, cancel: bool) -> None:
        """Pending orders that close stand in the way: cancelled if wished, 51115 otherwise."""
        closing = Side.SELL if held > 0 else Side.BUY
        for order in self._exchange.open_orders(symbol):
            closes = order.reduce_only or (order.position_side, order.side) in CLOSING
            if order.position_side is side and order.side is closing and closes:
                if not cancel:
                    raise VenueError(51115)
                self._exchange.cancel(symbol, order_id=order.id)

    def _closing(
        self, params: Params, symbol: str, side: PositionSide, held: Decimal, mode: MarginMode
    ) -> OrderRequest:
        return OrderRequest(
            symbol=symbol,
            side=Side.SELL if held > 0 else Side.BUY,
            type=OrderType.MARKET,
            qty=abs(held),
            position_side=side,
            tif=TimeInForce.IOC,
            reduce_only=side is PositionSide.BOTH,
            client_id=self._requests.name(params, "clOrdId"),
            margin_mode=mode,
            extras={**self._requests.echoed(params), "ordType": "market"},
        )
