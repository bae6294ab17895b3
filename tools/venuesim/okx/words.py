"""The venue's words for the engine's terms, both ways."""

from __future__ import annotations

from tools.venuesim.exchange.model import (
    Conditional,
    ConditionalType,
    Expiry,
    MarginMode,
    Order,
    OrderStatus,
    OrderType,
    Origin,
    PositionMode,
    PositionSide,
    Reference,
    SelfTrade,
    Side,
    TimeInForce,
)

SWAP = "SWAP"
SIDE = {Side.BUY: "buy", Side.SELL: "sell"}
SIDE_OF = {word: side for side, word in SIDE.items()}
POSITION_SIDE = {PositionSide.BOTH: "net", PositionSide.LONG: "long", PositionSide.SHORT: "short"}
POSITION_SIDE_OF = {word: side for side, word in POSITION_SIDE.items()}
MARGIN_MODE = {MarginMode.CROSS: "cross", MarginMode.ISOLATED: "isolated"}
MARGIN_MODE_OF = {word: mode for mode, word in MARGIN_MODE.items()}
POSITION_MODE = {PositionMode.ONE_WAY: "net_mode", PositionMode.HEDGE: "long_short_mode"}
POSITION_MODE_OF = {word: mode for mode, word in POSITION_MODE.items()}
TRIGGER_BY = {Reference.LAST: "last", Reference.MARK: "mark", Reference.INDEX: "index"}
REFERENCE_OF = {word: reference for reference, word in TRIGGER_BY.items()}
SELF_TRADE_OF = {
    "cancel_maker": SelfTrade.EXPIRE_MAKER,
    "cancel_taker": SelfTrade.EXPIRE_TAKER,
    "cancel_both": SelfTrade.EXPIRE_BOTH,
}
SELF_TRADE = {mode: word for word, mode in SELF_TRADE_OF.items()} | {SelfTrade.NONE: ""}
# Order type -> what it is to the engine.
KIND_OF = {
    "market": (OrderType.MARKET, TimeInForce.IOC),
    "limit": (OrderType.LIMIT, TimeInForce.GTC),
    "post_only": (OrderType.LIMIT, TimeInForce.GTX),
    "fok": (OrderType.LIMIT, TimeInForce.FOK),
    "ioc": (OrderType.LIMIT, TimeInForce.IOC),
    "optimal_limit_ioc": (OrderType.MARKET, TimeInForce.IOC),
}
_LIMIT_KINDS = {
    TimeInForce.GTC: "limit",
    TimeInForce.GTX: "post_only",
    TimeInForce.FOK: "fok",
    TimeInForce.IOC: "ioc",
    TimeInForce.GTD: "limit",
}
STATE = {
    OrderStatus.NEW: "live",
    OrderStatus.PARTIALLY_FILLED: "partially_filled",
    OrderStatus.FILLED: "filled",
    OrderStatus.CANCELED: "canceled",
    OrderStatus.EXPIRED: "canceled",
}
CANCELED_BY_USER = "1"
CANCELED_BY_COUNTDOWN = "20"
CANCEL_SOURCE = {
    Expiry.IOC_REMAINDER: "14",
    Expiry.MARKET_REMAINDER: "14",
    Expiry.FOK_NOT_FILLABLE: "13",
    Expiry.POST_ONLY_WOULD_TAKE: "31",
    Expiry.REDUCE_ONLY: "23",
    Expiry.GOOD_TILL_DATE: "10",
    Expiry.LIQUIDATION: "3",
    Expiry.POSITION_CLOSED: "21",
    Expiry.SYMBOL_CLOSED: "7",
    Expiry.SELF_TRADE: "32",
}
CANCEL_REASON = {
    "1": "Order canceled by user",
    "3": "Canceled by liquidation risk",
    "7": "Canceled by delivery",
    "10": "Order expired",
    "13": "FOK order was canceled because it was not fully filled",
    "14": "The remaining part of the IOC order was canceled",
    "20": "Canceled by the Cancel All After countdown",
    "21": "The TP/SL order was canceled because the position was closed",
    "23": "Canceled by the reduce-only restriction",
    "31": "The post-only order would take liquidity",
    "32": "Self trade prevention",
}
CATEGORY = {
    Origin.CLIENT: "normal",
    Origin.LIQUIDATION: "full_liquidation",
    Origin.ADL: "adl",
    Origin.SETTLEMENT: "delivery",
}
_SOURCE = {"trigger": "6", "conditional": "7", "oco": "7", "move_order_stop": "25"}


def order_type(order: Order) -> str:
    """The order type as the client gave it, or as its kind is called."""
    given = order.extras.get("ordType")
    if order.conditional_id is None and given is not None:
        return given
    return "market" if order.type is OrderType.MARKET or order.origin is not Origin.CLIENT else _LIMIT_KINDS[order.tif]


def order_source(order: Order) -> str:
    """Which kind of algo order it was born from; "" for others."""
    return "" if order.conditional_id is None else _SOURCE.get(order.extras.get("algoType", ""), "13")


def leg_of(row: Conditional) -> str:
    """sl or tp for the legs of a TP/SL, trigger or trailing for the others."""
    kind = row.extras.get("algoType", "conditional")
    if kind == "trigger":
        return "trigger"
    if row.type is ConditionalType.TRAILING:
        return "trailing"
    return "sl" if row.type.is_stop_loss else "tp"


def position_side_of(order: Order | Conditional) -> str:
    """net, long or short."""
    return POSITION_SIDE[order.position_side]
