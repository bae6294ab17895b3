"""The venue's words for the engine's enumerations, both ways."""

from __future__ import annotations

from tools.venuesim.exchange.model import (
    ConditionalStatus,
    ConditionalType,
    Expiry,
    MarginMode,
    Order,
    OrderStatus,
    OrderType,
    PositionSide,
    Reference,
    SelfTrade,
    Side,
    TimeInForce,
)

SIDE = {Side.BUY: "BUY", Side.SELL: "SELL"}
POSITION_SIDE = {PositionSide.BOTH: "BOTH", PositionSide.LONG: "LONG", PositionSide.SHORT: "SHORT"}
ORDER_TYPE = {OrderType.MARKET: "MARKET", OrderType.LIMIT: "LIMIT"}
TIF = {
    TimeInForce.GTC: "GTC",
    TimeInForce.IOC: "IOC",
    TimeInForce.FOK: "FOK",
    TimeInForce.GTX: "GTX",
    TimeInForce.GTD: "GTD",
}
ORDER_STATUS = {
    OrderStatus.NEW: "NEW",
    OrderStatus.PARTIALLY_FILLED: "PARTIALLY_FILLED",
    OrderStatus.FILLED: "FILLED",
    OrderStatus.CANCELED: "CANCELED",
    OrderStatus.EXPIRED: "EXPIRED",
}
CONDITIONAL_TYPE = {
    ConditionalType.STOP: "STOP_MARKET",
    ConditionalType.STOP_LIMIT: "STOP",
    ConditionalType.TAKE_PROFIT: "TAKE_PROFIT_MARKET",
    ConditionalType.TAKE_PROFIT_LIMIT: "TAKE_PROFIT",
    ConditionalType.TRAILING: "TRAILING_STOP_MARKET",
}
CONDITIONAL_STATUS = {
    ConditionalStatus.NEW: "NEW",
    ConditionalStatus.TRIGGERING: "TRIGGERING",
    ConditionalStatus.TRIGGERED: "TRIGGERED",
    ConditionalStatus.FINISHED: "FINISHED",
    ConditionalStatus.CANCELED: "CANCELED",
    ConditionalStatus.REJECTED: "REJECTED",
    ConditionalStatus.EXPIRED: "EXPIRED",
}
WORKING_TYPE = {Reference.LAST: "CONTRACT_PRICE", Reference.MARK: "MARK_PRICE"}
# Upper case in symbolConfig and in requests, lower case in positionRisk v2 and the stream.
MARGIN_MODE = {MarginMode.CROSS: "CROSSED", MarginMode.ISOLATED: "ISOLATED"}
MARGIN_MODE_LOWER = {MarginMode.CROSS: "cross", MarginMode.ISOLATED: "isolated"}
# The field `er` of order events.
EXPIRY_CODE = {
    None: "0",
    Expiry.IOC_REMAINDER: "2",
    Expiry.REDUCE_ONLY: "4",
    Expiry.LIQUIDATION: "5",
    Expiry.POSITION_CLOSED: "6",
    Expiry.GOOD_TILL_DATE: "6",
    Expiry.SYMBOL_CLOSED: "7",
    Expiry.MARKET_REMAINDER: "9",
    Expiry.FOK_NOT_FILLABLE: "10",
    Expiry.POST_ONLY_WOULD_TAKE: "11",
    Expiry.SELF_TRADE: "1",
}
SELF_TRADE_OF = {mode.value.upper(): mode for mode in SelfTrade}

SIDE_OF = {word: side for side, word in SIDE.items()}
POSITION_SIDE_OF = {word: side for side, word in POSITION_SIDE.items()}
TIF_OF = {word: tif for tif, word in TIF.items()}
CONDITIONAL_TYPE_OF = {word: kind for kind, word in CONDITIONAL_TYPE.items()}
WORKING_TYPE_OF = {word: reference for reference, word in WORKING_TYPE.items()}
MARGIN_MODE_OF = {word: mode for mode, word in MARGIN_MODE.items()}


def order_status(order: Order) -> str:
    """The status, which names self-trade prevention apart from other expiries."""
    return "EXPIRED_IN_MATCH" if order.expiry is Expiry.SELF_TRADE else ORDER_STATUS[order.status]
