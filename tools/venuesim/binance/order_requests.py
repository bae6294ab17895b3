"""Parameters of order endpoints -> neutral requests, checked in the venue's order up to the filters."""

from __future__ import annotations

from decimal import Decimal

from tools.venuesim.binance.errors import VenueError
from tools.venuesim.binance.params import Params
from tools.venuesim.binance.symbol_table import SymbolTable
from tools.venuesim.binance.words import (
    CONDITIONAL_TYPE_OF,
    POSITION_SIDE_OF,
    SELF_TRADE_OF,
    SIDE_OF,
    TIF_OF,
    WORKING_TYPE_OF,
)
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import (
    ConditionalRequest,
    ConditionalType,
    OrderRequest,
    OrderType,
    PositionMode,
    PositionSide,
    SelfTrade,
    Side,
    TimeInForce,
)

ALGO_TYPES = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
_GTD_AHEAD_MS = 600_000
_GTD_LAST_MS = 253402300799000
_ECHOED = ("selfTradePreventionMode", "workingType", "priceProtect", "priceMatch", "modifyId")
_MATCH_LEVEL = {"OPPONENT": 1, "OPPONENT_5": 5, "QUEUE": 1, "QUEUE_5": 5, "QUEUE_10": 10, "QUEUE_20": 20}
_CALLBACK_PERCENT = (Decimal("0.1"), Decimal(10))


class OrderRequests:
    """Reads order parameters; the engine checks filters, margin and modes afterwards."""

    def __init__(self, exchange: Exchange, table: SymbolTable) -> None:
        self._exchange = exchange
        self._table = table

    def symbol(self, params: Params) -> str:
        """The mandatory symbol; -1121 when it is not listed."""
        return self._exchange.instrument(params.required("symbol")).symbol

    def optional_symbol(self, params: Params) -> str | None:
        """The symbol or None when absent; -1121 when it is not listed."""
        name = params.text("symbol")
        return self._exchange.instrument(name).symbol if name else None

    def order(self, params: Params, now_ms: int) -> OrderRequest:
        """A plain order. Raises -4120 for conditional types, -110x and -11xx for parameters, -1111 for decimals."""
        name = params.required("symbol")
        side = _side(params)
        kind = params.required("type")
        if kind in ALGO_TYPES:
            raise VenueError(-4120)
        if kind not in ("LIMIT", "MARKET"):
            raise VenueError(-1116)
        limit = kind == "LIMIT"
        client_id = params.client_id("newClientOrderId")
        qty = _required_decimal(params, "quantity")
        tif = _time_in_force(params, limit=limit)
        matched = params.text("priceMatch") not in (None, "NONE")
        price = _limit_price(params, limit=limit, matched=matched)
        position_side, reduce_only = self._position_terms(params)
        extras = _extras(params)
        symbol = self._exchange.instrument(name).symbol
        self._table.check_precision(symbol, price=price, qty=qty)
        if matched:
            price = self.matched_price(symbol, side, params)
        return OrderRequest(
            symbol=symbol,
            side=side,
            type=OrderType.LIMIT if limit else OrderType.MARKET,
            qty=qty,
            price=price,
            position_side=position_side,
            tif=tif,
            reduce_only=reduce_only,
            client_id=client_id,
            good_till_ms=_good_till(params, now_ms) if tif is TimeInForce.GTD else None,
            self_trade=_self_trade(params),
            extras=extras,
        )

    def conditional(self, params: Params, now_ms: int) -> ConditionalRequest:
        """An algo order. Raises -110x, -1116, -1130, -4135..-4138 and -1111 as the venue does."""
        if params.required("algoType") != "CONDITIONAL":
            raise VenueError(-1130, "algoType")
        name = params.required("symbol")
        side = _side(params)
        kind = CONDITIONAL_TYPE_OF.get(params.required("type"))
        if kind is None:
            raise VenueError(-1116)
        client_id = params.client_id("clientAlgoId")
        close_position = params.flag("closePosition")
        qty = _conditional_qty(params, kind, close_position=close_position)
        trigger = None if kind is ConditionalType.TRAILING else _required_decimal(params, "triggerPrice")
        price = _required_decimal(params, "price") if kind.is_limit else None
        reference = WORKING_TYPE_OF.get(params.text("workingType") or "CONTRACT_PRICE")
        if reference is None:
            raise VenueError(-4031, params.text("workingType"))
        position_side, reduce_only = self._position_terms(params)
        if close_position and reduce_only:
            raise VenueError(-4138)
        symbol = self._exchange.instrument(name).symbol
        self._table.check_precision(symbol, price=price, qty=qty)
        self._table.check_precision(symbol, price=trigger, qty=None)
        trailing = kind is ConditionalType.TRAILING
        return ConditionalRequest(
            symbol=symbol,
            side=side,
            type=kind,
            qty=qty,
            trigger_price=trigger,
            price=price,
            position_side=position_side,
            tif=_conditional_tif(params),
            reference=reference,
            reduce_only=reduce_only,
            close_position=close_position,
            callback_rate=_callback_rate(params) if trailing else None,
            activation_price=params.decimal("activatePrice") if trailing else None,
            client_id=client_id,
            good_till_ms=_good_till(params, now_ms) if params.text("timeInForce") == "GTD" else None,
            max_gap=self._table.trigger_protect(symbol) if params.flag("priceProtect") else None,
            self_trade=_self_trade(params),
            extras=_extras(params) | ({"timeInForce": "GTE_GTC"} if params.text("timeInForce") == "GTE_GTC" else {}),
        )

    def _position_terms(self, params: Params) -> tuple[PositionSide, bool]:
        """Position side and reduce-only mark; -1106 for the mark in hedge mode, as seen on the venue."""
        word = params.text("positionSide") or "BOTH"
        position_side = POSITION_SIDE_OF.get(word)
        if position_side is None:
            raise VenueError(-4060)
        hedge = self._exchange.position_mode is PositionMode.HEDGE
        if hedge and "reduceOnly" in params and position_side is not PositionSide.BOTH:
            raise VenueError(-1106, "reduceonly")
        return position_side, params.flag("reduceOnly")

    def matched_price(self, symbol: str, side: Side, params: Params) -> Decimal:
        """The price a priceMatch word stands for: a level of the opposite (OPPONENT) or own (QUEUE) side."""
        word = params.required("priceMatch")
        if word not in _MATCH_LEVEL:
            raise VenueError(-5037)
        depth = self._exchange.depth(symbol)
        buys_from_asks = (side is Side.BUY) == word.startswith("OPPONENT")
        levels = depth.asks if buys_from_asks else depth.bids
        if not levels:
            raise VenueError(-5041)
        return levels[min(_MATCH_LEVEL[word], len(levels)) - 1].price


def which_order(params: Params) -> tuple[int | None, str | None]:
    """orderId wins over origClientOrderId; -1102 when neither was sent."""
    order_id = params.integer("orderId")
    client_id = params.text("origClientOrderId")
    if order_id is None and client_id is None:
        raise VenueError(-1102, "orderId")
    return (order_id, None) if order_id is not None else (None, client_id)


def _side(params: Params) -> Side:
    side = SIDE_OF.get(params.required("side"))
    if side is None:
        raise VenueError(-1117)
    return side


def _required_decimal(params: Params, name: str) -> Decimal:
    value = params.decimal(name)
    if value is None:
        raise VenueError(-1102, name)
    return value


def _time_in_force(params: Params, *, limit: bool) -> TimeInForce:
    word = params.text("timeInForce")
    if not limit:
        if word is not None:
            raise VenueError(-1106, "timeinforce")
        return TimeInForce.GTC
    if word is None:
        raise VenueError(-1102, "timeinforce")
    if word not in TIF_OF:
        raise VenueError(-1115)
    return TIF_OF[word]


def _conditional_tif(params: Params) -> TimeInForce:
    word = params.text("timeInForce") or "GTC"
    if word == "GTE_GTC":
        return TimeInForce.GTC
    if word not in TIF_OF:
        raise VenueError(-1115)
    return TIF_OF[word]


def _limit_price(params: Params, *, limit: bool, matched: bool) -> Decimal | None:
    """The price of a limit order; priceMatch and price exclude each other, and a market order takes neither."""
    if not limit:
        if "price" in params:
            raise VenueError(-1106, "price")
        if matched:
            raise VenueError(-5038)
        return None
    if matched:
        if "price" in params:
            raise VenueError(-1106, "price")
        return None
    return _required_decimal(params, "price")


def _conditional_qty(params: Params, kind: ConditionalType, *, close_position: bool) -> Decimal | None:
    if not close_position:
        return _required_decimal(params, "quantity")
    if kind not in (ConditionalType.STOP, ConditionalType.TAKE_PROFIT):
        raise VenueError(-4136, params.text("type"))
    if params.decimal("quantity"):
        raise VenueError(-4137)
    return None


def _callback_rate(params: Params) -> Decimal:
    """Percent on the wire (0.1..10), a fraction for the engine."""
    percent = _required_decimal(params, "callbackRate")
    low, high = _CALLBACK_PERCENT
    if not low <= percent <= high:
        raise VenueError(-4132, params.text("callbackRate"))
    return percent / 100


def _good_till(params: Params, now_ms: int) -> int:
    moment = params.integer("goodTillDate")
    if moment is None:
        raise VenueError(-1102, "goodTillDate")
    if not now_ms + _GTD_AHEAD_MS < moment < _GTD_LAST_MS:
        raise VenueError(-5040)
    return moment


def _self_trade(params: Params) -> SelfTrade:
    """Without a word the maker expires, as live orders show; -5039 for a word the venue has not got."""
    mode = SELF_TRADE_OF.get(params.text("selfTradePreventionMode") or "EXPIRE_MAKER")
    if mode is None:
        raise VenueError(-5039)
    return mode


def _extras(params: Params) -> dict[str, str]:
    return {name: value for name in _ECHOED if (value := params.text(name)) is not None}
