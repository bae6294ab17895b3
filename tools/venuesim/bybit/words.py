"""The venue's words for the engine's terms, both ways."""

from __future__ import annotations

from tools.venuesim.exchange.model import (
    Conditional,
    ConditionalType,
    Expiry,
    MarginMode,
    Order,
    OrderType,
    Origin,
    PositionMode,
    PositionSide,
    Reference,
    SelfTrade,
    Side,
    TimeInForce,
)

SIDE = {Side.BUY: "Buy", Side.SELL: "Sell"}
SIDE_OF = {word: side for side, word in SIDE.items()}
ORDER_TYPE = {OrderType.MARKET: "Market", OrderType.LIMIT: "Limit"}
TIF = {
    TimeInForce.GTC: "GTC",
    TimeInForce.IOC: "IOC",
    TimeInForce.FOK: "FOK",
    TimeInForce.GTX: "PostOnly",
    TimeInForce.GTD: "GTC",
}
TIF_OF = {"GTC": TimeInForce.GTC, "IOC": TimeInForce.IOC, "FOK": TimeInForce.FOK, "PostOnly": TimeInForce.GTX}
POSITION_IDX = {PositionSide.BOTH: 0, PositionSide.LONG: 1, PositionSide.SHORT: 2}
POSITION_SIDE_OF = {number: side for side, number in POSITION_IDX.items()}
TRIGGER_BY = {Reference.LAST: "LastPrice", Reference.MARK: "MarkPrice", Reference.INDEX: "IndexPrice"}
REFERENCE_OF = {word: reference for reference, word in TRIGGER_BY.items()}
MARGIN_MODE = {MarginMode.CROSS: "REGULAR_MARGIN", MarginMode.ISOLATED: "ISOLATED_MARGIN"}
MARGIN_MODE_OF = {word: mode for mode, word in MARGIN_MODE.items()}
POSITION_MODE_OF = {0: PositionMode.ONE_WAY, 3: PositionMode.HEDGE}
SMP = {
    SelfTrade.NONE: "None",
    SelfTrade.EXPIRE_MAKER: "CancelMaker",
    SelfTrade.EXPIRE_TAKER: "CancelTaker",
    SelfTrade.EXPIRE_BOTH: "CancelBoth",
}
SMP_OF = {word: mode for mode, word in SMP.items()}

RISING, FALLING = 1, 2
CREATED_BY_USER = "CreateByUser"
_STOPS = {
    ConditionalType.STOP: "StopLoss",
    ConditionalType.STOP_LIMIT: "StopLoss",
    ConditionalType.TAKE_PROFIT: "TakeProfit",
    ConditionalType.TAKE_PROFIT_LIMIT: "TakeProfit",
    ConditionalType.TRAILING: "TrailingStop",
}
_ORIGINS = {
    Origin.LIQUIDATION: "CreateByLiq",
    Origin.ADL: "CreateByAdl_PassThrough",
    Origin.SETTLEMENT: "CreateBySettle",
}
EXEC_TYPE = {
    Origin.CLIENT: "Trade",
    Origin.LIQUIDATION: "BustTrade",
    Origin.ADL: "AdlTrade",
    Origin.SETTLEMENT: "Settle",
}
REJECT_REASON = {
    Expiry.IOC_REMAINDER: "EC_NoImmediateQtyToFill",
    Expiry.MARKET_REMAINDER: "EC_NoImmediateQtyToFill",
    Expiry.FOK_NOT_FILLABLE: "EC_NoEnoughQtyToFill",
    Expiry.POST_ONLY_WOULD_TAKE: "EC_PostOnlyWillTakeLiquidity",
}
CANCEL_TYPE = {
    Expiry.REDUCE_ONLY: "CancelByReduceOnly",
    Expiry.LIQUIDATION: "CancelByPrepareLiq",
    Expiry.POSITION_CLOSED: "CancelByTpSlTsClear",
    Expiry.SYMBOL_CLOSED: "CancelBySettle",
    Expiry.SELF_TRADE: "CancelBySmp",
}


# The other one of a pair of stops of a part has fired.
CANCELED_BY_STOP = "CancelByOCOTpCanceledBySlTriggered"
CANCELED_BY_PROFIT = "CancelByOCOSlCanceledByTpTriggered"


def stop_order_type(row: Conditional | Order) -> str:
    """Stop for an order with a trigger of its own, StopLoss, TakeProfit, TrailingStop for those of a position."""
    if isinstance(row, Order):
        return row.extras.get("stopOrderType", "")
    if row.attached or row.type is ConditionalType.TRAILING:
        word = _STOPS[row.type]
        return f"Partial{word}" if not row.close_position and word != "TrailingStop" else word
    return "Stop"


def create_type(row: Conditional | Order, stop_type: str) -> str:
    """Who made an order."""
    if isinstance(row, Order) and row.origin is not Origin.CLIENT:
        return _ORIGINS[row.origin]
    return f"CreateBy{stop_type}" if stop_type not in ("", "Stop", "UNKNOWN") else CREATED_BY_USER


def trigger_direction(row: Conditional) -> int:
    """1: fires when the price rises to the trigger; 2: when it falls; trailing stops like the stop they are."""
    stop = row.type.is_stop_loss
    return RISING if (row.side is Side.BUY) is stop else FALLING


def conditional_type(side: Side, direction: int, *, limit: bool) -> ConditionalType:
    """The neutral type of an order with a trigger in this direction."""
    stop = (side is Side.BUY) is (direction == RISING)
    if stop:
        return ConditionalType.STOP_LIMIT if limit else ConditionalType.STOP
    return ConditionalType.TAKE_PROFIT_LIMIT if limit else ConditionalType.TAKE_PROFIT
