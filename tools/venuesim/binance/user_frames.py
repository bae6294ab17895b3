"""Engine events as user data stream payloads, in the order the venue sends them."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from msgspec import Struct

from tools.venuesim.binance.formats import money_stripped, stripped
from tools.venuesim.binance.order_rows import Row
from tools.venuesim.binance.symbol_table import SymbolTable
from tools.venuesim.binance.words import (
    CONDITIONAL_STATUS,
    CONDITIONAL_TYPE,
    EXPIRY_CODE,
    MARGIN_MODE,
    MARGIN_MODE_LOWER,
    ORDER_TYPE,
    POSITION_SIDE,
    SIDE,
    TIF,
    WORKING_TYPE,
    order_status,
)
from tools.venuesim.exchange.events import (
    AccountChanged,
    AssetsModeChanged,
    ConditionalUpdate,
    Event,
    LeverageChanged,
    MarginCalled,
    MarginModeChanged,
    OrderAmended,
    OrderCanceled,
    OrderExpired,
    OrderNew,
    OrderTrade,
)
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import (
    ZERO,
    Balance,
    Conditional,
    ConditionalStatus,
    Expiry,
    Fill,
    Order,
    Origin,
    Position,
    PositionMode,
    PositionSide,
    Refusal,
    Side,
)

_TRIGGERED = frozenset({ConditionalStatus.TRIGGERED, ConditionalStatus.FINISHED})
_FAILED = frozenset({ConditionalStatus.REJECTED, ConditionalStatus.EXPIRED})
_REASON_TEXT: dict[Refusal | Expiry, str] = {
    Refusal.REDUCE_ONLY_REJECTED: "Reduce Only reject",
    Refusal.INSUFFICIENT_MARGIN: "Margin is insufficient",
    Refusal.INJECTED: "Unknown error",
}
_ENTRY_UNIT = Decimal("1E-11")


class UserFrame(Struct, frozen=True):
    """One payload and what faults can match it by."""

    event: str
    payload: Row
    symbol: str | None = None
    client_id: str | None = None


class UserFrames:
    """Turns event batches into payloads. Numbers are stripped of trailing zeros, except in TRADE_LITE."""

    def __init__(self, exchange: Exchange, table: SymbolTable) -> None:
        self._exchange = exchange
        self._table = table

    def of(self, events: tuple[Event, ...], now_ms: int) -> Iterator[UserFrame]:
        """Frames of one batch: TRADE_LITE, NEW, ACCOUNT_UPDATE, TRADE with equal times, as captured live."""
        told_lite: int | None = None
        account_told = -1
        for index, event in enumerate(events):
            following = events[index + 1] if index + 1 < len(events) else None
            match event:
                case OrderNew(order=order):
                    if isinstance(following, OrderTrade) and following.order.id == order.id and _is_trade(order):
                        told_lite = following.fill.id
                        yield self._lite(following, now_ms)
                    yield self._order(order, "NEW", now_ms)
                case OrderTrade() if not _is_trade(event.order):
                    # The risk engine's own fills come before what they did to the account.
                    yield self._trade(event, now_ms)
                case OrderTrade():
                    if told_lite != event.fill.id:
                        yield self._lite(event, now_ms)
                    if isinstance(following, AccountChanged):
                        account_told = index + 1
                        yield self._account(following, now_ms)
                    yield self._trade(event, now_ms)
                case AccountChanged() if index != account_told:
                    yield self._account(event, now_ms)
                case _:
                    frame = self._single(event, now_ms)
                    if frame is not None:
                        yield frame

    def _single(self, event: Event, now_ms: int) -> UserFrame | None:
        match event:
            case OrderCanceled(order=order):
                return self._order(order, "CANCELED", now_ms)
            case OrderExpired(order=order):
                return self._order(order, "EXPIRED", now_ms)
            case OrderAmended(order=order):
                return self._order(order, "AMENDMENT", now_ms)
            case ConditionalUpdate(conditional=algo, child=child):
                return self._algo(algo, child, now_ms)
            case AssetsModeChanged(multi_assets=enabled):
                payload = _head("ACCOUNT_CONFIG_UPDATE", now_ms) | {"ai": {"j": enabled}}
                return UserFrame("ACCOUNT_CONFIG_UPDATE", payload)
            case MarginCalled():
                return self._margin_call(event, now_ms)
            case LeverageChanged(symbol=symbol, leverage=leverage):
                payload = _head("ACCOUNT_CONFIG_UPDATE", now_ms) | {"ac": {"s": symbol, "l": leverage}}
                return UserFrame("ACCOUNT_CONFIG_UPDATE", payload, symbol)
            case MarginModeChanged(symbol=symbol):
                return self._margin_mode(symbol, now_ms)
            case _:
                return None

    def expired_key(self, key: str, now_ms: int) -> UserFrame:
        """The announcement after which a stream stays silent."""
        return UserFrame("listenKeyExpired", {"e": "listenKeyExpired", "E": now_ms, "listenKey": key})

    def _lite(self, event: OrderTrade, now_ms: int) -> UserFrame:
        order, fill = event.order, event.fill
        price, qty = self._table.price, self._table.qty
        payload = {
            "e": "TRADE_LITE",
            "E": now_ms,
            "T": fill.time_ms,
            "s": order.symbol,
            "q": qty(order.symbol, order.qty),
            "p": price(order.symbol, order.price),
            "m": fill.maker,
            "c": order.client_id,
            "S": SIDE[order.side],
            "L": price(order.symbol, fill.price),
            "l": qty(order.symbol, fill.qty),
            "t": fill.id,
            "i": order.id,
        }
        return UserFrame("TRADE_LITE", payload, order.symbol, order.client_id)

    def _order(self, order: Order, execution: str, now_ms: int) -> UserFrame:
        bids, asks = self._resting(order.symbol)
        body = self._order_body(order, execution, fill=None, bids=bids, asks=asks)
        if execution == "AMENDMENT" and "modifyId" in order.extras:
            body["M"] = order.extras["modifyId"]
        return self._order_frame(order, body, now_ms)

    def _trade(self, event: OrderTrade, now_ms: int) -> UserFrame:
        execution = "TRADE" if _is_trade(event.order) else "CALCULATED"
        body = self._order_body(
            event.order, execution, fill=event.fill, bids=event.bid_notional, asks=event.ask_notional
        )
        return self._order_frame(event.order, body, now_ms)

    def _order_frame(self, order: Order, body: Row, now_ms: int) -> UserFrame:
        payload = {"e": "ORDER_TRADE_UPDATE", "T": order.updated_ms, "E": now_ms, "o": body}
        return UserFrame("ORDER_TRADE_UPDATE", payload, order.symbol, order.client_id)

    def _order_body(self, order: Order, execution: str, *, fill: Fill | None, bids: Decimal, asks: Decimal) -> Row:
        kind = ORDER_TYPE[order.type]
        return {
            "s": order.symbol,
            "c": order.client_id,
            "S": SIDE[order.side],
            "o": kind,
            "f": TIF[order.tif],
            "q": stripped(order.qty),
            "p": stripped(order.price or ZERO),
            "ap": stripped(self._table.average(order.symbol, order.avg_price)),
            "sp": "0",
            "x": execution,
            "X": _status_word(order, execution),
            "i": order.id,
            "l": stripped(fill.qty) if fill else "0",
            "z": stripped(order.filled),
            "L": stripped(fill.price) if fill else "0",
            "n": money_stripped(fill.fee) if fill else "0",
            "N": fill.fee_asset if fill else self._exchange.instrument(order.symbol).settle,
            "T": order.updated_ms,
            "t": fill.id if fill else 0,
            "b": stripped(bids),
            "a": stripped(asks),
            "m": fill.maker if fill else False,
            "R": order.reduce_only,
            "wt": order.extras.get("workingType", "CONTRACT_PRICE"),
            "ot": kind,
            "ps": POSITION_SIDE[order.position_side],
            "cp": order.close_position,
            "rp": money_stripped(fill.realized) if fill else "0",
            "pP": order.extras.get("priceProtect") == "true",
            "si": 0,
            "ss": 0,
            "V": order.extras.get("selfTradePreventionMode", "EXPIRE_MAKER"),
            "pm": order.extras.get("priceMatch", "NONE"),
            "gtd": order.good_till_ms or 0,
            "er": EXPIRY_CODE[order.expiry],
        }

    def _resting(self, symbol: str) -> tuple[Decimal, Decimal]:
        """The symbol's resting bid and ask notional after the event."""
        sums = {Side.BUY: ZERO, Side.SELL: ZERO}
        for order in self._exchange.open_orders(symbol):
            sums[order.side] += order.open_qty * (order.price or ZERO)
        return sums[Side.BUY], sums[Side.SELL]

    def _account(self, event: AccountChanged, now_ms: int) -> UserFrame:
        body: Row = {
            "B": [_balance(balance, event.change) for balance in event.balances],
            "P": [self._position(position) for position in event.positions],
            "m": event.reason.value.upper(),
        }
        if event.symbol is not None and event.reason.value == "funding_fee":
            body["S"] = event.symbol
        return UserFrame("ACCOUNT_UPDATE", _head("ACCOUNT_UPDATE", now_ms) | {"a": body}, event.symbol)

    def _margin_mode(self, symbol: str, now_ms: int) -> UserFrame:
        """A change of margin mode is told as rows of the symbol, without balances."""
        hedge = self._exchange.position_mode is PositionMode.HEDGE
        sides = (PositionSide.LONG, PositionSide.SHORT) if hedge else (PositionSide.BOTH,)
        rows = [self._position(self._exchange.position(symbol, side)) for side in sides]
        body = {"B": [], "P": rows, "m": "MARGIN_TYPE_CHANGE"}
        return UserFrame("ACCOUNT_UPDATE", _head("ACCOUNT_UPDATE", now_ms) | {"a": body}, symbol)

    def _margin_call(self, event: MarginCalled, now_ms: int) -> UserFrame:
        rows = [
            {
                "s": view.position.symbol,
                "ps": POSITION_SIDE[view.position.position_side],
                "pa": stripped(view.position.qty),
                "mt": MARGIN_MODE[view.position.margin_mode],
                "iw": money_stripped(view.position.isolated_wallet),
                "mp": money_stripped(view.mark),
                "up": money_stripped(view.unrealized),
                "mm": money_stripped(view.maintenance),
            }
            for view in event.views
        ]
        payload: Row = {"e": "MARGIN_CALL", "E": now_ms}
        if event.cross_wallet is not None:
            payload["cw"] = money_stripped(event.cross_wallet)
        return UserFrame("MARGIN_CALL", payload | {"p": rows})

    def _position(self, position: Position) -> Row:
        mark = self._exchange.quote(position.symbol).mark if position.qty else ZERO
        return {
            "s": position.symbol,
            "pa": stripped(position.qty),
            "ep": stripped(position.entry.quantize(_ENTRY_UNIT)),
            "cr": money_stripped(position.realized),
            "up": money_stripped(position.qty * (mark - position.entry)),
            "mt": MARGIN_MODE_LOWER[position.margin_mode],
            "iw": money_stripped(position.isolated_wallet),
            "ps": POSITION_SIDE[position.position_side],
            "ma": self._exchange.instrument(position.symbol).settle,
            "bep": stripped(position.break_even.quantize(_ENTRY_UNIT)),
        }

    def _algo(self, algo: Conditional, child: Order | None, now_ms: int) -> UserFrame:
        body: Row = {
            "caid": algo.client_id,
            "aid": algo.id,
            "at": "CONDITIONAL",
            "o": CONDITIONAL_TYPE[algo.type],
            "s": algo.symbol,
            "S": SIDE[algo.side],
            "ps": POSITION_SIDE[algo.position_side],
            "f": algo.extras.get("timeInForce") or TIF[algo.tif],
            "q": stripped(algo.qty or ZERO),
            "X": CONDITIONAL_STATUS[algo.status],
            "ai": str(child.id) if child and algo.status in _TRIGGERED else "",
            **self._algo_outcome(algo, child),
            "tp": stripped(algo.trigger_price or ZERO),
            "p": stripped(algo.price or ZERO),
            "V": algo.extras.get("selfTradePreventionMode", "EXPIRE_MAKER"),
            "wt": WORKING_TYPE[algo.reference],
            "pm": algo.extras.get("priceMatch", "NONE"),
            "cp": algo.close_position,
            "pP": algo.extras.get("priceProtect") == "true",
            "R": algo.reduce_only,
            "tt": algo.triggered_ms or 0,
            "gtd": algo.good_till_ms or 0,
        }
        if algo.status in _FAILED:
            body["rm"] = _reason_text(algo.reason)
        body["ia"] = algo.activated
        payload = {"e": "ALGO_UPDATE", "T": algo.updated_ms, "E": now_ms, "o": body}
        return UserFrame("ALGO_UPDATE", payload, algo.symbol, algo.client_id)

    def _algo_outcome(self, algo: Conditional, child: Order | None) -> Row:
        """Average price and quantity of the child: zero in TRIGGERED, final in FINISHED, absent before."""
        if child is None or algo.status not in _TRIGGERED:
            return {}
        done = algo.status is ConditionalStatus.FINISHED
        average = self._table.average(algo.symbol, child.avg_price)
        return {
            "ap": stripped(average) if done else "0",
            "aq": stripped(child.filled) if done else "0",
            "act": ORDER_TYPE[child.type],
        }


def _head(event: str, now_ms: int) -> dict[str, Any]:
    return {"e": event, "T": now_ms, "E": now_ms}


def _is_trade(order: Order) -> bool:
    """Liquidations and ADL are told as CALCULATED and have no TRADE_LITE."""
    return order.origin is Origin.CLIENT


def _status_word(order: Order, execution: str) -> str:
    return "NEW" if execution == "NEW" else order_status(order)


def _balance(balance: Balance, change: Decimal) -> Row:
    return {
        "a": balance.asset,
        "wb": money_stripped(balance.wallet),
        "cw": money_stripped(balance.cross_wallet),
        "bc": money_stripped(change),
    }


def _reason_text(reason: Refusal | Expiry | None) -> str:
    if reason is None:
        return ""
    return _REASON_TEXT.get(reason) or reason.value.replace("_", " ").capitalize()
