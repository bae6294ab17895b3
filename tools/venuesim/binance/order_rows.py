"""Orders, conditional orders and trades as REST answers print them: the field set differs by endpoint."""

from __future__ import annotations

from typing import Any

from tools.venuesim.binance.formats import money, padded, short, stripped
from tools.venuesim.binance.symbol_table import SymbolTable
from tools.venuesim.binance.words import (
    CONDITIONAL_STATUS,
    CONDITIONAL_TYPE,
    ORDER_TYPE,
    POSITION_SIDE,
    SIDE,
    TIF,
    WORKING_TYPE,
    order_status,
)
from tools.venuesim.exchange.model import ZERO, Conditional, ConditionalType, Fill, Instrument, Order

Row = dict[str, Any]


class OrderRows:
    """Prints rows with the digits of their symbols."""

    def __init__(self, table: SymbolTable) -> None:
        self._table = table

    def acknowledged(self, order: Order) -> Row:
        """POST and DELETE answers: no avgPrice, cumQuote or time since 2026-07."""
        qty = self._table.qty
        return {
            "orderId": order.id,
            "symbol": order.symbol,
            "status": order_status(order),
            "clientOrderId": order.client_id,
            "price": self._table.price(order.symbol, order.price),
            "origQty": qty(order.symbol, order.qty),
            "executedQty": qty(order.symbol, order.filled),
            "cumQty": qty(order.symbol, order.filled),
            **self._terms(order),
            "stopPrice": self._table.price(order.symbol, None),
            **self._conditions(order),
            "updateTime": order.updated_ms,
        }

    def accepted(self, order: Order) -> Row:
        """An ACK answer: NEW with zeros, also when the order filled at once."""
        nothing = self._table.qty(order.symbol, None)
        return self.acknowledged(order) | {"status": "NEW", "executedQty": nothing, "cumQty": nothing}

    def amended(self, order: Order) -> Row:
        """PUT answers: the acknowledged order with `pair`, and `modifyId` where the request had one."""
        row = {**self.acknowledged(order), "pair": order.symbol}
        if "modifyId" in order.extras:
            row["modifyId"] = int(order.extras["modifyId"])
        return row

    def price_and_qty(self, order: Order) -> tuple[str, str]:
        """As histories of amendments print them."""
        return stripped(order.price or ZERO), stripped(order.qty)

    def queried(self, order: Order) -> Row:
        """GET order, openOrder and openOrders: everything padded."""
        row = self.acknowledged(order)
        del row["cumQty"]
        average = self._table.average(order.symbol, order.avg_price)
        return {
            **row,
            "avgPrice": padded(average, self._table.price_digits(order.symbol) + 1),
            "cumQuote": self._table.quote(order.symbol, order.quote_filled),
            "time": order.created_ms,
        }

    def listed(self, order: Order) -> Row:
        """allOrders and forceOrders: zeros print as "0", with `pair` and `cumBase`."""
        row = self.queried(order)
        if order.price is None:
            row["price"] = "0"
        if not order.filled:
            row["executedQty"] = row["cumQuote"] = "0"
        return {**row, "stopPrice": "0", "cumBase": "0", "pair": order.symbol}

    def trade(self, fill: Fill, instrument: Instrument) -> Row:
        """A row of userTrades; it carries no client order id."""
        return {
            "symbol": fill.symbol,
            "id": fill.id,
            "orderId": fill.order_id,
            "pair": fill.symbol,
            "side": SIDE[fill.side],
            "price": self._table.price(fill.symbol, fill.price),
            "qty": stripped(fill.qty),
            "realizedPnl": money(fill.realized) if fill.realized else "0",
            "quoteQty": self._table.quote(fill.symbol, fill.price * fill.qty),
            "commission": money(fill.fee),
            "commissionAsset": fill.fee_asset,
            "time": fill.time_ms,
            "buyer": SIDE[fill.side] == "BUY",
            "maker": fill.maker,
            "positionSide": POSITION_SIDE[fill.position_side],
            "baseQty": "0",
            "marginAsset": instrument.settle,
        }

    def algo_acknowledged(self, algo: Conditional) -> Row:
        """POST algoOrder: padded numbers, `icebergQuantity` null."""
        price = self._table.price
        return {
            **self._algo_head(algo),
            "quantity": _quantity(algo),
            "algoStatus": CONDITIONAL_STATUS[algo.status],
            "triggerPrice": price(algo.symbol, algo.trigger_price),
            "price": price(algo.symbol, algo.price),
            **self._algo_tail(algo),
        }

    def algo_open(self, algo: Conditional) -> Row:
        """A row of openAlgoOrders: short numbers."""
        return {
            **self._algo_head(algo),
            "quantity": _quantity(algo),
            "algoStatus": CONDITIONAL_STATUS[algo.status],
            "actualOrderId": str(algo.child_id) if algo.child_id is not None else "",
            "actualQty": "0.0",
            "triggerPrice": short(algo.trigger_price or ZERO),
            "price": short(algo.price or ZERO),
            **self._algo_tail(algo),
            "isActivated": algo.activated,
        }

    def algo_listed(self, algo: Conditional, child: Order | None) -> Row:
        """allAlgoOrders and GET algoOrder; actualQty and actualType appear once triggered."""
        symbol = algo.symbol
        average = self._table.average(symbol, child.avg_price if child else None)
        row: Row = {
            **self._algo_head(algo),
            "quantity": _quantity(algo),
            "algoStatus": CONDITIONAL_STATUS[algo.status],
            "actualOrderId": str(child.id) if child else "",
            "actualPrice": padded(average, self._table.price_digits(symbol) + 1),
        }
        if child:
            row |= {"actualQty": stripped(child.filled), "actualType": ORDER_TYPE[child.type]}
        return {
            **row,
            "triggerPrice": self._table.price(symbol, algo.trigger_price),
            "price": self._table.price(symbol, algo.price),
            "tpOrderType": "",
            **self._algo_tail(algo),
            "isActivated": algo.activated,
        }

    def _terms(self, order: Order) -> Row:
        return {
            "timeInForce": TIF[order.tif],
            "type": ORDER_TYPE[order.type],
            "reduceOnly": order.reduce_only,
            "closePosition": order.close_position,
            "side": SIDE[order.side],
            "positionSide": POSITION_SIDE[order.position_side],
        }

    def _conditions(self, order: Order) -> Row:
        return {
            "workingType": order.extras.get("workingType", "CONTRACT_PRICE"),
            "priceProtect": order.extras.get("priceProtect") == "true",
            "origType": ORDER_TYPE[order.type],
            "priceMatch": order.extras.get("priceMatch", "NONE"),
            "selfTradePreventionMode": order.extras.get("selfTradePreventionMode", "EXPIRE_MAKER"),
            "goodTillDate": order.good_till_ms or 0,
        }

    def _algo_head(self, algo: Conditional) -> Row:
        return {
            "algoId": algo.id,
            "clientAlgoId": algo.client_id,
            "algoType": "CONDITIONAL",
            "orderType": CONDITIONAL_TYPE[algo.type],
            "symbol": algo.symbol,
            "side": SIDE[algo.side],
            "positionSide": POSITION_SIDE[algo.position_side],
            "timeInForce": algo.extras.get("timeInForce") or TIF[algo.tif],
        }

    def _algo_tail(self, algo: Conditional) -> Row:
        row: Row = {
            "icebergQuantity": None,
            "selfTradePreventionMode": algo.extras.get("selfTradePreventionMode", "EXPIRE_MAKER"),
            "workingType": WORKING_TYPE[algo.reference],
            "priceMatch": algo.extras.get("priceMatch", "NONE"),
            "closePosition": algo.close_position,
            "priceProtect": algo.extras.get("priceProtect") == "true",
            "reduceOnly": algo.reduce_only,
        }
        if algo.type is ConditionalType.TRAILING:
            row["activatePrice"] = self._table.price(algo.symbol, algo.activation_price)
            row["callbackRate"] = short((algo.callback_rate or ZERO) * 100)
        return {
            **row,
            "createTime": algo.created_ms,
            "updateTime": algo.updated_ms,
            "triggerTime": algo.triggered_ms or 0,
            "goodTillDate": algo.good_till_ms or 0,
        }


def _quantity(algo: Conditional) -> str:
    """A close-position order has no quantity of its own and prints "0"."""
    return stripped(algo.qty or ZERO)
