"""Orders and fills as the venue prints them: over REST, and in pushed frames. Sizes in contracts."""

from __future__ import annotations

import json
from decimal import Decimal

from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import Conditional, Fill, Order, OrderStatus, Origin
from tools.venuesim.okx.algo_book import AlgoBook
from tools.venuesim.okx.formats import Row, flag, money, short, stamp
from tools.venuesim.okx.record import AccountRecord, FilledRecord
from tools.venuesim.okx.symbol_table import SymbolTable
from tools.venuesim.okx.words import (
    CANCEL_REASON,
    CANCEL_SOURCE,
    CANCELED_BY_USER,
    CATEGORY,
    MARGIN_MODE,
    SELF_TRADE,
    SIDE,
    STATE,
    SWAP,
    order_source,
    order_type,
    position_side_of,
)

_AVERAGE = Decimal("1E-10")
_BLANK_ORDER = dict.fromkeys(
    ("attachAlgoClOrdId", "ccy", "pxType", "pxUsd", "pxVol", "quickMgnType", "slOrdPx", "slTriggerPx",
     "slTriggerPxType", "stpId", "tgtCcy", "tpOrdPx", "tpTriggerPx", "tpTriggerPxType", "tradeQuoteCcy"),
    "",
)  # fmt: skip
_BLANK_PUSHED = dict.fromkeys(("fillFwdPx", "fillMarkVol", "fillPxUsd", "fillPxVol"), "")
_BLANK_FILL = dict.fromkeys(("fillFwdPx", "fillMarkVol", "fillPxUsd", "fillPxVol"), "")
# By order: opening and closing, long and short.
_SUB_TYPES = {("buy", False): "3", ("sell", False): "4", ("sell", True): "5", ("buy", True): "6"}
_FORCED_SUB_TYPES = {Origin.LIQUIDATION: {"sell": "104", "buy": "105"}, Origin.ADL: {"sell": "125", "buy": "126"}}


def average(value: Decimal | None) -> str:
    """An average price: at most ten decimals; "" for None."""
    return "" if value is None else short(value.quantize(_AVERAGE))


def client_order_id(order: Order) -> str:
    """What the client called it; "" where it gave no name."""
    return order.client_id if order.origin is Origin.CLIENT and order.conditional_id is None else ""


def order_number(row: Order | Conditional) -> str:
    """ordId or algoId; both legs of one that cancels the other are one algo order."""
    partner = row.partner_id if isinstance(row, Conditional) else None
    return str(row.id if partner is None else min(row.id, partner))


def trade_id(fill: Fill) -> str:
    """Fills by the risk engine carry negative numbers."""
    return str(fill.id if fill.origin is Origin.CLIENT else -fill.id)


def sub_type(known: FilledRecord) -> str:
    """What a fill was for: opening or closing, long or short, or forced."""
    side = SIDE[known.fill.side]
    forced = _FORCED_SUB_TYPES.get(known.fill.origin)
    return _SUB_TYPES[side, bool(known.closed)] if forced is None else forced[side]


class OrderRows:
    """Rows of one account's orders."""

    def __init__(self, exchange: Exchange, record: AccountRecord, table: SymbolTable, book: AlgoBook) -> None:
        self._exchange = exchange
        self._record = record
        self._table = table
        self._book = book

    def listed(self, order: Order) -> Row:
        """A row of order, orders-pending and orders-history."""
        record = self._record.order(order)
        filled = record.fill if order.filled else None
        return {**self._row(order, filled), **self._filling(filled)}

    def pushed(self, order: Order, fill: Fill | None = None) -> Row:
        """A row of the orders channel; ``fill`` is the one that is the news."""
        filled = None if fill is None else self._record.fill(fill.id)
        return self._pushed(order, filled, filled or self._so_far(order))

    def pushed_amended(self, order: Order) -> Row:
        """The row after an amendment: it repeats the newest fill."""
        record = self._record.order(order)
        filled = self._so_far(order)
        row = self._pushed(order, filled, filled)
        if record.shrunk:
            return row | {"amendSource": "2"}
        return row | {"amendResult": "0", "amendSource": "1", "reqId": order.extras.get("reqId", "")}

    def fill(self, fill: Fill) -> Row:
        """A row of fills and fills-history."""
        known = self._record.fill(fill.id)
        instrument = self._exchange.instrument(fill.symbol)
        return {
            "billId": str(bill_id(fill.id)),
            "clOrdId": client_order_id(known.order),
            "execType": "M" if fill.maker else "T",
            "fee": money(-fill.fee),
            "feeCcy": fill.fee_asset,
            "feeRate": short(-(instrument.maker_fee if fill.maker else instrument.taker_fee)),
            "fillIdxPx": short(known.index),
            "fillMarkPx": short(known.mark),
            "fillPnl": money(fill.realized),
            "fillPx": short(fill.price),
            "fillSz": self._table.size(fill.symbol, fill.qty),
            "fillTime": stamp(fill.time_ms),
            "instId": fill.symbol,
            "instType": SWAP,
            "ordId": str(fill.order_id),
            "posSide": position_side_of(known.order),
            "side": SIDE[fill.side],
            "subType": sub_type(known),
            "tag": known.order.extras.get("tag", ""),
            "tradeId": trade_id(fill),
            "ts": stamp(fill.time_ms),
            **_BLANK_FILL,
        }

    def _so_far(self, order: Order) -> FilledRecord | None:
        return self._record.order(order).fill if order.filled else None

    def _row(self, order: Order, total: FilledRecord | None) -> Row:
        """What both forms share; ``total`` is the fill up to which fees and profits are summed."""
        record, extras = self._record.order(order), order.extras
        source = self._cancel_source(order)
        quote = self._exchange.instrument(order.symbol).settle
        algo = None if order.conditional_id is None else self._book.of(order.conditional_id)
        algo_id = "" if algo is None else str(algo.id)
        return {
            **_BLANK_ORDER,
            "accFillSz": self._table.size(order.symbol, order.filled),
            "algoClOrdId": "" if algo is None else algo.client_id,
            "algoId": algo_id,
            "attachAlgoOrds": attached_of(order),
            "avgPx": average(order.avg_price),
            "cTime": stamp(order.created_ms),
            "cancelSource": source,
            "cancelSourceReason": CANCEL_REASON.get(source, ""),
            "category": CATEGORY[order.origin],
            "ccy": extras.get("ccy", ""),
            "clOrdId": client_order_id(order),
            "fee": money(-total.fees) if total else "0",
            "feeCcy": quote,
            "instId": order.symbol,
            "instType": SWAP,
            "isTpLimit": "false",
            "lever": str(record.leverage),
            "linkedAlgoOrd": {"algoId": algo_id},
            "ordId": str(order.id),
            "ordType": order_type(order),
            "pnl": money(total.pnl) if total else "0",
            "posSide": position_side_of(order),
            "px": short(order.price) if order_type(order) not in ("market", "optimal_limit_ioc") else "",
            "rebate": "0",
            "rebateCcy": quote,
            "reduceOnly": flag(order.reduce_only or extras.get("reduceOnly") == "true"),
            "side": SIDE[order.side],
            "source": order_source(order),
            "state": STATE[order.status],
            "stpMode": SELF_TRADE[order.self_trade] or "cancel_maker",
            "sz": self._table.size(order.symbol, order.qty),
            "tag": extras.get("tag", ""),
            "tdMode": MARGIN_MODE[record.margin_mode],
            "uTime": stamp(order.updated_ms),
        }

    def _filling(self, filled: FilledRecord | None) -> Row:
        """The newest fill."""
        if filled is None:
            return {"fillPx": "", "fillSz": "0", "fillTime": "", "tradeId": ""}
        fill = filled.fill
        return {
            "fillPx": short(fill.price),
            "fillSz": self._table.size(fill.symbol, fill.qty),
            "fillTime": stamp(fill.time_ms),
            "tradeId": trade_id(fill),
        }

    def _pushed(self, order: Order, news: FilledRecord | None, total: FilledRecord | None) -> Row:
        quote = self._exchange.quote(order.symbol)
        fill = news.fill if news else None
        return {
            **self._row(order, total),
            **self._filling(news),
            **_BLANK_PUSHED,
            "amendResult": "",
            "amendSource": "",
            "code": "0",
            "execType": "" if fill is None else "M" if fill.maker else "T",
            "fillFee": "0" if fill is None else money(-fill.fee),
            "fillFeeCcy": "" if fill is None else fill.fee_asset,
            "fillIdxPx": "" if news is None else short(news.index),
            "fillMarkPx": "" if news is None else short(news.mark),
            "fillNotionalUsd": "" if fill is None else money(fill.qty * fill.price),
            "fillPnl": "0" if fill is None else money(fill.realized),
            "lastPx": short(quote.last),
            "msg": "",
            "notionalUsd": money(order.qty * (order.price if order.price is not None else quote.mark)),
            "reqId": "",
        }

    def _cancel_source(self, order: Order) -> str:
        if order.status is OrderStatus.CANCELED and order.expiry is None:
            return self._record.canceled_by.get(order.id, CANCELED_BY_USER)
        return CANCEL_SOURCE.get(order.expiry, "0") if order.expiry is not None else ""


def attached_of(row: Order | Conditional) -> list[Row]:
    """The attachAlgoOrds an entry was sent with."""
    found: list[Row] = json.loads(row.extras.get("attachAlgoOrds", "[]"))
    return found


def bill_id(fill_id: int) -> int:
    """The number of a fill's line in the account's books."""
    return FIRST_BILL_ID + fill_id


FIRST_BILL_ID = 3_100_000_000_000_000_000
