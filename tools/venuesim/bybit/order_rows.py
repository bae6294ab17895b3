"""Orders and executions as the venue prints them: over REST, and in pushed frames."""

from __future__ import annotations

from decimal import Decimal

from tools.venuesim.bybit.errors import Row
from tools.venuesim.bybit.ids import order_id
from tools.venuesim.bybit.market_frames import fixed, short
from tools.venuesim.bybit.record import AccountRecord, Execution
from tools.venuesim.bybit.words import (
    CANCEL_TYPE,
    CANCELED_BY_PROFIT,
    CANCELED_BY_STOP,
    ORDER_TYPE,
    POSITION_IDX,
    REJECT_REASON,
    SIDE,
    SMP,
    TIF,
    TRIGGER_BY,
    create_type,
    stop_order_type,
    trigger_direction,
)
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import (
    ZERO,
    Conditional,
    ConditionalStatus,
    ConditionalType,
    Expiry,
    Fill,
    Instrument,
    Order,
    OrderStatus,
    Refusal,
    TimeInForce,
)
from tools.venuesim.exchange.triggers import trailing_level

CATEGORY = {"category": "linear"}
_STATUS = {
    OrderStatus.NEW: "New",
    OrderStatus.PARTIALLY_FILLED: "PartiallyFilled",
    OrderStatus.FILLED: "Filled",
    OrderStatus.CANCELED: "Cancelled",
    OrderStatus.EXPIRED: "Cancelled",
}
_CONDITIONAL_STATUS = {
    ConditionalStatus.NEW: "Untriggered",
    ConditionalStatus.TRIGGERING: "Triggered",
    ConditionalStatus.TRIGGERED: "Triggered",
    ConditionalStatus.FINISHED: "Triggered",
    ConditionalStatus.CANCELED: "Deactivated",
    ConditionalStatus.REJECTED: "Rejected",
    ConditionalStatus.EXPIRED: "Deactivated",
}
_REFUSED_CHILD = {
    Refusal.MARKET_BOUND: "EC_ReachMarketPriceLimit",
    Refusal.SYMBOL_NOT_TRADING: "EC_InvalidSymbolStatus",
}
_UNKNOWN = "UNKNOWN"
_NO_ERROR = "EC_NoError"
_BY_USER = ("CancelByUser", "EC_PerCancelRequest")
_AVERAGE = Decimal("1E-10")
# Only in pushed rows of executions.
_PUSHED_EXECUTION = {"isLeverage": "0", "marketUnit": ""}


def average(value: Decimal) -> str:
    """An average price: at most ten decimals."""
    return short(value.quantize(_AVERAGE))


class OrderRows:
    """Rows of one order, whether it still waits for its trigger or not."""

    def __init__(self, exchange: Exchange, record: AccountRecord) -> None:
        self._exchange = exchange
        self._record = record

    def listed(self, row: Order | Conditional) -> Row:
        """A row of realtime and history."""
        known = self._row(row)
        instrument = self._exchange.instrument(row.symbol)
        nothing = fixed(ZERO, instrument.tick)
        blanks = dict.fromkeys(("triggerPrice", "takeProfit", "stopLoss", "lastPriceOnCreated"), nothing)
        blanks |= dict.fromkeys(("stopOrderType", "tpTriggerBy", "slTriggerBy", "triggerBy"), _UNKNOWN)
        return {name: blanks.get(name, value) if value == "" else value for name, value in known.items()}

    def pushed(self, row: Order | Conditional) -> Row:
        """A row of the order topic."""
        known = self._row(row)
        record = self._record.order(row)
        instrument = self._exchange.instrument(row.symbol)
        if isinstance(row, Order) and not row.status.is_open:
            known |= {"leavesQty": "0" if row.status is OrderStatus.FILLED else known["leavesQty"]}
        return CATEGORY | known | {"closedPnl": short(record.realized), "feeCurrency": instrument.settle}

    def execution(self, execution: Execution) -> Row:
        """A row of execution/list."""
        instrument = self._exchange.instrument(execution.symbol)
        tick, step = instrument.tick, instrument.step
        funding = execution.kind == "Funding"
        return {
            "symbol": execution.symbol,
            "orderId": execution.order_id,
            "orderLinkId": execution.link_id,
            "side": SIDE[execution.side],
            "orderPrice": "0" if funding else fixed(execution.order_price, tick),
            "orderQty": "0" if funding else fixed(execution.order_qty, step),
            "leavesQty": "0" if funding else fixed(execution.leaves, step),
            "createType": "" if funding else execution.create_type,
            "orderType": "UNKNOWN" if funding else ORDER_TYPE[execution.order_type],
            "stopOrderType": execution.stop_order_type or _UNKNOWN,
            "execFee": short(execution.fee),
            "execId": execution.id,
            "execPrice": fixed(execution.price, tick),
            "execQty": fixed(execution.qty, step),
            "execType": execution.kind,
            "execValue": short(execution.value),
            "execTime": str(execution.time_ms),
            "feeCurrency": execution.fee_asset,
            "isMaker": execution.maker,
            "feeRate": short(execution.fee_rate),
            "tradeIv": "",
            "markIv": "",
            "markPrice": fixed(execution.mark, tick),
            "indexPrice": fixed(execution.index, tick),
            "underlyingPrice": "",
            "blockTradeId": "",
            "closedSize": fixed(execution.closed, step),
            "extraFees": "",
            "seq": execution.sequence,
        }

    def pushed_execution(self, order: Order, fill: Fill) -> Row:  # noqa: ARG002 - as the frames know it
        """A row of the execution topic."""
        return self._pushed(self._record.execution(fill))

    def pushed_funding(self, symbol: str) -> Row:
        """The newest payment of a symbol as a row of the execution topic."""
        return self._pushed(self._record.last_funding(symbol))

    def _pushed(self, execution: Execution) -> Row:
        result = {"execPnl": short(execution.realized), "extraFees": []}
        return CATEGORY | self.execution(execution) | _PUSHED_EXECUTION | result

    def _row(self, row: Order | Conditional) -> Row:
        """What both forms share; "" stands for what is not set."""
        record = self._record.order(row)
        instrument = self._exchange.instrument(row.symbol)
        extras, stop_type = row.extras, stop_order_type(row)
        own = self._order(row, instrument) if isinstance(row, Order) else self._waiting(row, instrument)
        return {
            "orderId": order_id(row),
            "orderLinkId": row.client_id,
            "parentOrderLinkId": self._parent(row),
            "blockTradeId": "",
            "symbol": row.symbol,
            "side": SIDE[row.side],
            "isLeverage": "",
            "positionIdx": POSITION_IDX[row.position_side],
            "createType": create_type(row, stop_type),
            "cumExecFee": short(sum(record.fees.values(), ZERO)),
            "cumFeeDetail": {asset: short(fee) for asset, fee in record.fees.items()},
            "timeInForce": TIF[row.tif] if own["orderType"] == "Limit" else TIF[TimeInForce.IOC],
            "stopOrderType": stop_type,
            "orderIv": "",
            "takeProfit": extras.get("takeProfit", ""),
            "stopLoss": extras.get("stopLoss", ""),
            "tpTriggerBy": extras.get("tpTriggerBy", ""),
            "slTriggerBy": extras.get("slTriggerBy", ""),
            "tpslMode": extras.get("tpslMode", ""),
            "tpLimitPrice": extras.get("tpLimitPrice", ""),
            "slLimitPrice": extras.get("slLimitPrice", ""),
            "lastPriceOnCreated": fixed(record.last, instrument.tick) if record.last else "",
            "reduceOnly": row.reduce_only or row.close_position,
            "closeOnTrigger": extras.get("closeOnTrigger") == "true",
            "placeType": "",
            "smpType": SMP[row.self_trade],
            "smpGroup": 0,
            "smpOrderId": "",
            "slippageToleranceType": extras.get("slippageToleranceType", _UNKNOWN),
            "slippageTolerance": extras.get("slippageTolerance", ""),
            "createdTime": str(row.created_ms),
            "updatedTime": str(row.updated_ms),
            "extraFees": "",
            "rpiTakerAccess": False,
            "rpiMatchedQty": "0",
            **own,
        }

    def _order(self, order: Order, instrument: Instrument) -> Row:
        """An order in the book, or one that was."""
        price = order.price if order.price is not None else self._record.order(order).bound
        cancel_type, reason = _end(order)
        leaves = order.open_qty
        return {
            "price": fixed(price, instrument.tick),
            "qty": fixed(order.qty, instrument.step),
            "orderType": ORDER_TYPE[order.type],
            "orderStatus": _STATUS[order.status],
            "cancelType": cancel_type,
            "rejectReason": reason,
            "avgPrice": average(order.avg_price) if order.avg_price else "",
            "leavesQty": fixed(leaves, instrument.step),
            "leavesValue": short(leaves * price),
            "cumExecQty": fixed(order.filled, instrument.step),
            "cumExecValue": short(order.quote_filled),
            **self._trigger(order, instrument),
        }

    def _parent(self, row: Order | Conditional) -> str:
        """The name of the entry a stop came with."""
        if isinstance(row, Order):
            if row.conditional_id is None:
                return ""
            row = self._exchange.conditional(conditional_id=row.conditional_id)
        return row.parent.client_id if row.parent is not None else ""

    def _trigger(self, order: Order, instrument: Instrument) -> Row:
        """An order born from a trigger still shows it."""
        if order.conditional_id is None:
            return {"triggerPrice": "", "triggerDirection": 0, "triggerBy": ""}
        return _trigger_of(self._exchange.conditional(conditional_id=order.conditional_id), instrument)

    def _waiting(self, row: Conditional, instrument: Instrument) -> Row:
        """An order that waits for its trigger, or ended before it."""
        qty = row.qty if row.qty is not None else self._closable(row)
        price = row.price if row.price is not None else ZERO
        leaves = qty if row.status.is_resting else ZERO
        value = leaves * (price or row.trigger_price or self._record.order(row).last)
        cancel_type, reason = _dropped(row)
        return {
            "price": fixed(price, instrument.tick) if price else "0",
            "qty": fixed(qty, instrument.step),
            "orderType": "Limit" if row.type.is_limit else "Market",
            "orderStatus": _CONDITIONAL_STATUS[row.status],
            "cancelType": cancel_type,
            "rejectReason": reason,
            "avgPrice": "",
            "leavesQty": fixed(leaves, instrument.step),
            "leavesValue": short(value),
            "cumExecQty": fixed(ZERO, instrument.step),
            "cumExecValue": "0",
            **_trigger_of(row, instrument),
        }

    def _closable(self, row: Conditional) -> Decimal:
        """A stop of a whole position has its quantity."""
        held = self._exchange.position(row.symbol, row.position_side).qty
        return abs(held) if held * row.side.sign < 0 else ZERO


def _trigger_of(row: Conditional, instrument: Instrument) -> Row:
    price = row.trigger_price
    if row.type is ConditionalType.TRAILING:
        price = trailing_level(row) if row.status.is_resting and row.activated else row.activation_price
    return {
        "triggerPrice": fixed(price.quantize(instrument.tick), instrument.tick) if price is not None else "",
        "triggerDirection": trigger_direction(row),
        "triggerBy": TRIGGER_BY[row.reference],
    }


def _end(order: Order) -> tuple[str, str]:
    """Why an order was cancelled: by whom, and for what reason of the matching."""
    if order.expiry is not None:
        return CANCEL_TYPE.get(order.expiry, _UNKNOWN), REJECT_REASON.get(order.expiry, _NO_ERROR)
    return _BY_USER if order.status is OrderStatus.CANCELED else (_UNKNOWN, _NO_ERROR)


def _dropped(row: Conditional) -> tuple[str, str]:
    """The same for an order that never came to its trigger, or could not follow it."""
    if row.status is ConditionalStatus.CANCELED:
        return _BY_USER[0], _NO_ERROR
    if row.reason is Expiry.PARTNER:
        return CANCELED_BY_STOP if not row.type.is_stop_loss else CANCELED_BY_PROFIT, _NO_ERROR
    if isinstance(row.reason, Expiry):
        return CANCEL_TYPE.get(row.reason, _UNKNOWN), _NO_ERROR
    if row.reason is not None:
        return _UNKNOWN, _REFUSED_CHILD.get(row.reason, "EC_Others")
    return _UNKNOWN, _NO_ERROR
