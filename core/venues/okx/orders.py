"""Order intent -> OKX request parameters: exactly the keys the endpoint documents (ORD-12).

Values are text, but for the booleans, which are JSON's. Sizes are contracts.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from core.domain.money import HUNDRED, Price, Quantity, plain
from core.domain.order import Order, OrderIntent, OrderStatus, OrderType, TriggerReference
from core.domain.signal import Side
from core.venues.okx.contracts import Contract
from core.venues.okx.facts import CALLBACK_PERCENT

Params = dict[str, Any]
MARKET = "-1"
"""A trigger order's price for "at market"."""


class AccountMode(Struct, frozen=True, kw_only=True):
    """How the account is set, as far as an order has to say it. `hedge_mode`: long and short side by side.
    `ties_stops`: a stop may be tied to its position, so that it goes with it (not in portfolio margin)."""

    hedge_mode: bool = False
    ties_stops: bool = True


def placement(
    intent: OrderIntent, contract: Contract, mode: AccountMode, *, margin: str, stop: OrderIntent | None = None
) -> Params:
    """A plain order, its stop travelling with it. `margin` is `cross` or `isolated`. Raises ValueError when the intent
    lacks the price its type needs, UncountableError when its size is no exact number of contracts."""
    params: Params = {
        "instId": contract.inst_id,
        "tdMode": margin,
        "side": _SIDE[intent.side],
        "ordType": _TYPE[intent.type],
        "sz": contract.count(intent.quantity),
        "clOrdId": str(intent.client_order_id),
    }
    if intent.type is not OrderType.MARKET:
        if intent.price is None:
            raise ValueError(f"{intent.client_order_id}: a limit order without a price")
        params["px"] = plain(intent.price)
    if stop is not None:
        params["attachAlgoOrds"] = [{"attachAlgoClOrdId": str(stop.client_order_id)} | _trigger(stop)]
    return params | _position(intent, mode)


def stop_placement(intent: OrderIntent, contract: Contract, mode: AccountMode, *, margin: str) -> Params:
    """A stop of its own. Tied to its position, because otherwise it would outlive it (§5.3)."""
    params: Params = {
        "instId": contract.inst_id,
        "tdMode": margin,
        "side": _SIDE[intent.side],
        "ordType": "conditional",
        "sz": contract.count(intent.quantity),
        "algoClOrdId": str(intent.client_order_id),
        "reduceOnly": True,
    }
    if mode.ties_stops:
        params["cxlOnClosePos"] = True
    return params | _trigger(intent) | _position(intent, mode)


def trail_placement(intent: OrderIntent, contract: Contract, mode: AccountMode, *, margin: str) -> Params:
    """A trailing stop. It cannot be tied to its position: whoever placed it takes it away (§5.3)."""
    if intent.trailing_callback_percent is None:
        raise ValueError(f"{intent.client_order_id}: a trailing stop without a callback")
    params: Params = {
        "instId": contract.inst_id,
        "tdMode": margin,
        "side": _SIDE[intent.side],
        "ordType": "move_order_stop",
        "sz": contract.count(intent.quantity),
        "algoClOrdId": str(intent.client_order_id),
        "callbackRatio": plain(intent.trailing_callback_percent / HUNDRED),
        "reduceOnly": True,
    }
    if intent.trigger_price is not None:
        params["activePx"] = plain(intent.trigger_price)
    return params | _position(intent, mode)


def callback_refusal(intent: OrderIntent) -> str | None:
    """Why the venue has no trailing stop like this one; None for every other order."""
    if intent.type is not OrderType.TRAILING_STOP:
        return None
    least, most = CALLBACK_PERCENT
    callback = intent.trailing_callback_percent
    if callback is not None and least <= callback <= most:
        return None
    return f"the callback of a trailing order is {plain(least)} to {plain(most)} % at OKX, not {callback} %"


def amendment(order: Order, contract: Contract, *, trigger_price: Price, quantity: Quantity) -> Params:
    """Of a resting stop; a size that stays is not sent."""
    params: Params = {
        "instId": contract.inst_id,
        "algoClOrdId": str(order.client_order_id),
        "newSlTriggerPx": plain(trigger_price),
        "newSlOrdPx": MARKET,
    }
    return params if quantity == order.quantity else params | {"newSz": contract.count(quantity)}


def is_resting_stop(order: Order) -> bool:
    """A stop that has not fired; what it becomes is a plain order with an id of the venue's own."""
    fired = order.status in {OrderStatus.TRIGGERED, OrderStatus.PARTIALLY_FILLED}
    return order.intent.conditional and not fired


def cancellation(order: Order, contract: Contract) -> Params:
    """One row for `cancel-algos` or the body of `cancel-order`; an order that somebody else sent may have the venue's
    id alone."""
    if is_resting_stop(order):
        if not order.client_order_id and order.venue_order_id:
            return {"instId": contract.inst_id, "algoId": str(order.venue_order_id)}
        return {"instId": contract.inst_id, "algoClOrdId": str(order.client_order_id)}
    if order.venue_order_id and (order.intent.conditional or not order.client_order_id):
        return {"instId": contract.inst_id, "ordId": str(order.venue_order_id)}
    return {"instId": contract.inst_id, "clOrdId": str(order.client_order_id)}


_TYPE = {OrderType.MARKET: "market", OrderType.LIMIT_IOC: "ioc", OrderType.POST_ONLY: "post_only"}
_SIDE = {Side.BUY: "buy", Side.SELL: "sell"}
_REFERENCE = {TriggerReference.MARK_PRICE: "mark", TriggerReference.CONTRACT_PRICE: "last"}


def _trigger(stop: OrderIntent) -> dict[str, str]:
    if stop.trigger_price is None:
        raise ValueError(f"{stop.client_order_id}: a stop without a trigger price")
    return {
        "slTriggerPx": plain(stop.trigger_price),
        "slOrdPx": MARKET,
        "slTriggerPxType": _REFERENCE[stop.trigger_reference],
    }


def _position(intent: OrderIntent, mode: AccountMode) -> Params:
    """How the order says what it may do to a position: reduceOnly in net mode, posSide in long/short mode."""
    if mode.hedge_mode:
        held = intent.side.opposite if intent.reduce_only else intent.side
        return {"posSide": "long" if held is Side.BUY else "short"}
    return {"reduceOnly": True} if intent.reduce_only else {}
