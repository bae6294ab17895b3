"""Order intent -> Binance request parameters: exactly the keys the endpoint documents, all values text (ORD-12)."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from core.domain.money import plain
from core.domain.order import Order, OrderIntent, OrderStatus, OrderType
from core.domain.signal import Side
from core.venues.binance.facts import CALLBACK_PERCENT


class Store(StrEnum):
    """Binance keeps untriggered conditional orders apart from all others."""

    PLAIN = "plain"
    CONDITIONAL = "conditional"


class Command(Struct, frozen=True, kw_only=True):
    store: Store
    params: dict[str, str]


def placement(intent: OrderIntent, venue_symbol: str, *, hedge_mode: bool) -> Command:
    """Raises ValueError when the intent lacks what its type needs."""
    params = {"symbol": venue_symbol, "side": _SIDE[intent.side]}
    match intent.type:
        case OrderType.STOP_MARKET:
            if intent.trigger_price is None:
                raise ValueError(f"{intent.client_order_id}: a stop without a trigger price")
            params |= {
                "algoType": "CONDITIONAL",
                "type": "STOP_MARKET",
                "quantity": plain(intent.quantity),
                "triggerPrice": plain(intent.trigger_price),
                "workingType": intent.trigger_reference.value,
                "clientAlgoId": intent.client_order_id,
            }
            return Command(store=Store.CONDITIONAL, params=params | _position(intent, hedge_mode=hedge_mode))
        case OrderType.TRAILING_STOP:
            trail = params | _trailing(intent) | _position(intent, hedge_mode=hedge_mode)
            return Command(store=Store.CONDITIONAL, params=trail)
        case OrderType.LIMIT_IOC | OrderType.POST_ONLY:
            if intent.price is None:
                raise ValueError(f"{intent.client_order_id}: a limit order without a price")
            params |= {"type": "LIMIT", "timeInForce": _TIME_IN_FORCE[intent.type], "price": plain(intent.price)}
        case OrderType.MARKET:
            params |= {"type": "MARKET"}
    params |= {
        "quantity": plain(intent.quantity),
        "newClientOrderId": intent.client_order_id,
        # The final state instead of a bare acknowledgement (ORD-10).
        "newOrderRespType": "RESULT",
    }
    return Command(store=Store.PLAIN, params=params | _position(intent, hedge_mode=hedge_mode))


def cancellation(order: Order, venue_symbol: str) -> Command:
    """By client order id. A stop that fired lives on as a plain order under the same id."""
    fired = order.status in {OrderStatus.TRIGGERED, OrderStatus.PARTIALLY_FILLED}
    if order.intent.conditional and not fired:
        params = {"symbol": venue_symbol, "clientAlgoId": str(order.client_order_id)}
        return Command(store=Store.CONDITIONAL, params=params)
    return Command(store=Store.PLAIN, params={"symbol": venue_symbol, "origClientOrderId": str(order.client_order_id)})


def callback_refusal(intent: OrderIntent) -> str | None:
    """Why the venue has no trailing stop like this one; None for every other order."""
    if intent.type is not OrderType.TRAILING_STOP:
        return None
    least, most = CALLBACK_PERCENT
    callback = intent.trailing_callback_percent
    if callback is not None and least <= callback <= most:
        return None
    return f"the callback of a trailing order is {plain(least)} to {plain(most)} % at Binance, not {callback} %"


def _trailing(intent: OrderIntent) -> dict[str, str]:
    if intent.trailing_callback_percent is None:
        raise ValueError(f"{intent.client_order_id}: a trailing stop without a callback")
    activation = {} if intent.trigger_price is None else {"activatePrice": plain(intent.trigger_price)}
    return activation | {
        "algoType": "CONDITIONAL",
        "type": "TRAILING_STOP_MARKET",
        "quantity": plain(intent.quantity),
        "callbackRate": plain(intent.trailing_callback_percent),
        "workingType": intent.trigger_reference.value,
        "clientAlgoId": intent.client_order_id,
    }


_TIME_IN_FORCE = {OrderType.LIMIT_IOC: "IOC", OrderType.POST_ONLY: "GTX"}
_SIDE = {Side.BUY: "BUY", Side.SELL: "SELL"}


def _position(intent: OrderIntent, *, hedge_mode: bool) -> dict[str, str]:
    """How the order says what it may do to a position: reduceOnly is refused in hedge mode, positionSide decides."""
    if hedge_mode:
        held = intent.side.opposite if intent.reduce_only else intent.side
        return {"positionSide": "LONG" if held is Side.BUY else "SHORT"}
    return {"reduceOnly": "true"} if intent.reduce_only else {}
