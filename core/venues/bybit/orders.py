"""Order intent -> Bybit request parameters: exactly the keys the endpoint documents (ORD-12).

Values are text, but for the booleans and the position index, which are JSON's.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from core.domain.money import HUNDRED, Price, plain
from core.domain.order import Order, OrderIntent, OrderStatus, OrderType, TriggerReference
from core.domain.signal import Side
from core.venues.bybit.facts import CATEGORY

Params = dict[str, Any]
ONE = Decimal(1)
NO_STOP = "0"
"""As a stop's level: none."""


def order_row(intent: OrderIntent, venue_symbol: str, index: int, stop: OrderIntent | None = None) -> Params:
    """An order, as one of a batch names it, with the stop that travels with it. Raises ValueError when the intent lacks
    the price its type needs, or is a stop."""
    params: Params = {
        "symbol": venue_symbol,
        "side": _SIDE[intent.side],
        "orderType": _TYPE[intent.type],
        "qty": plain(intent.quantity),
        "positionIdx": index,
        "orderLinkId": str(intent.client_order_id),
    }
    if intent.type is not OrderType.MARKET:
        if intent.price is None:
            raise ValueError(f"{intent.client_order_id}: a limit order without a price")
        params |= {"price": plain(intent.price), "timeInForce": _TIME_IN_FORCE[intent.type]}
    if intent.reduce_only:
        params["reduceOnly"] = True
    if stop is not None:
        params |= _stop(_level(stop), stop.trigger_reference)
    return params


def placement(intent: OrderIntent, venue_symbol: str, index: int, stop: OrderIntent | None = None) -> Params:
    """POST order/create."""
    return {"category": CATEGORY, **order_row(intent, venue_symbol, index, stop)}


def batch(rows: list[Params]) -> Params:
    """POST order/create-batch."""
    return {"category": CATEGORY, "request": rows}


def position_stop(intent: OrderIntent, venue_symbol: str, index: int, level: Price | None = None) -> Params:
    """POST position/trading-stop: the stop of the whole position, at `level` or where it was intended."""
    stop = _stop(_level(intent) if level is None else level, intent.trigger_reference)
    return {"category": CATEGORY, "symbol": venue_symbol, "positionIdx": index, **stop}


def no_position_stop(venue_symbol: str, index: int) -> Params:
    """POST position/trading-stop: none any more; a take profit stays."""
    base: Params = {"category": CATEGORY, "symbol": venue_symbol, "positionIdx": index}
    return base | {"tpslMode": "Full", "stopLoss": NO_STOP}


def position_trail(intent: OrderIntent, venue_symbol: str, index: int, tick: Decimal) -> Params:
    """POST position/trading-stop: the trailing stop of the whole position; its stop stays. The distance is one of
    prices, so the callback counts from where it begins to follow. Raises ValueError without a callback or a price."""
    start, callback = intent.trigger_price or intent.decision_price, intent.trailing_callback_percent
    if start is None or callback is None:
        raise ValueError(f"{intent.client_order_id}: a trailing stop without a callback or a price")
    ticks = (start * callback / HUNDRED / tick).to_integral_value(ROUND_HALF_UP)
    trail: Params = {"tpslMode": "Full", "trailingStop": plain(Decimal(max(ticks, ONE)) * tick)}
    if intent.trigger_price is not None:
        trail["activePrice"] = plain(intent.trigger_price)
    return {"category": CATEGORY, "symbol": venue_symbol, "positionIdx": index, **trail}


def no_position_trail(venue_symbol: str, index: int) -> Params:
    """POST position/trading-stop: no trailing stop any more; everything else stays."""
    base: Params = {"category": CATEGORY, "symbol": venue_symbol, "positionIdx": index}
    return base | {"tpslMode": "Full", "trailingStop": NO_STOP}


def cancellation(order: Order, venue_symbol: str) -> Params:
    """POST order/cancel, by client order id; a stop by the venue's, as it has no other, and so what somebody else has
    sent without one."""
    name = {"orderLinkId": str(order.client_order_id)}
    if order.venue_order_id is not None and (order.intent.conditional or not order.client_order_id):
        name = {"orderId": str(order.venue_order_id)}
    return {"category": CATEGORY, "symbol": venue_symbol, **name}


def has_fired(order: Order) -> bool:
    """A stop that is an ordinary order of the venue by now."""
    return order.status in {OrderStatus.TRIGGERED, OrderStatus.PARTIALLY_FILLED}


_SIDE = {Side.BUY: "Buy", Side.SELL: "Sell"}
_TYPE = {OrderType.MARKET: "Market", OrderType.LIMIT_IOC: "Limit", OrderType.POST_ONLY: "Limit"}
_TIME_IN_FORCE = {OrderType.LIMIT_IOC: "IOC", OrderType.POST_ONLY: "PostOnly"}
_TRIGGER = {TriggerReference.MARK_PRICE: "MarkPrice", TriggerReference.CONTRACT_PRICE: "LastPrice"}


def _stop(level: Price, reference: TriggerReference) -> Params:
    """The venue's own default for the trigger is the last price, so it is always said."""
    return {
        "tpslMode": "Full",
        "stopLoss": plain(level),
        "slTriggerBy": _TRIGGER[reference],
        "slOrderType": "Market",
    }


def _level(stop: OrderIntent) -> Price:
    if stop.trigger_price is None:
        raise ValueError(f"{stop.client_order_id}: a stop without a trigger price")
    return stop.trigger_price
