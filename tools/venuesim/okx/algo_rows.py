"""Algo orders as the venue prints them: over REST, and in pushed frames. Sizes in contracts."""

from __future__ import annotations

from decimal import Decimal

from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import (
    Conditional,
    ConditionalStatus,
    Order,
    Refusal,
    Refused,
)
from tools.venuesim.exchange.triggers import trailing_level
from tools.venuesim.okx.algo_book import FIRED, Algo, AlgoBook, fired_leg, state_of
from tools.venuesim.okx.formats import Row, flag, money, short, stamp
from tools.venuesim.okx.order_rows import attached_of, average
from tools.venuesim.okx.refusals import Deed, Refusals
from tools.venuesim.okx.symbol_table import SymbolTable
from tools.venuesim.okx.words import MARGIN_MODE, SIDE, SWAP, TRIGGER_BY, leg_of, position_side_of

_BLANK = dict.fromkeys(
    ("activePx", "callbackRatio", "callbackSpread", "ccy", "chaseType", "chaseVal", "clOrdId", "closeFraction",
     "isTradeBorrowMode", "maxChaseType", "maxChaseVal", "moveTriggerPx", "ordPx", "pxLimit", "pxSpread", "pxVar",
     "quickMgnType", "slOrdPx", "slTriggerPx", "slTriggerPxType", "szLimit", "tgtCcy", "timeInterval", "tpOrdPx",
     "tpTriggerPx", "tpTriggerPxType", "tradeQuoteCcy", "triggerPx", "triggerPxType"),
    "",
)  # fmt: skip
# Only over REST, and only pushed on the channel of the advanced kinds.
_NOT_PUSHED = ("chaseType", "chaseVal", "isTradeBorrowMode", "maxChaseType", "maxChaseVal", "tradeQuoteCcy")
_ADVANCED = (
    "activePx", "callbackRatio", "callbackSpread", "moveTriggerPx", "pxLimit", "pxSpread", "pxVar", "szLimit",
    "timeInterval",
)  # fmt: skip
# What the channel of the advanced kinds does not tell.
_NOT_ADVANCED = (
    "amendPxOnTriggerType", "attachAlgoOrds", "closeFraction", "last", "linkedOrd", "ordIdList", "quickMgnType",
    "uTime",
)  # fmt: skip
# What changes by itself, and is no news.
_DRIFTING = ("last", "uTime", "notionalUsd", "pTime", "moveTriggerPx", "amendResult", "reqId")
_MARKET = "-1"


def is_advance(row: Conditional) -> bool:
    """Whether it is told on the channel algo-advance instead of orders-algo."""
    return row.extras.get("algoType") == "move_order_stop"


class AlgoRows:
    """Rows of one account's algo orders."""

    def __init__(self, exchange: Exchange, book: AlgoBook, table: SymbolTable, refusals: Refusals) -> None:
        self._exchange = exchange
        self.book = book
        self._table = table
        self._refusals = refusals

    def listed(self, algo: Algo) -> Row:
        """A row of order-algo, orders-algo-pending and orders-algo-history."""
        return self._row(algo, self.book.rows(algo))

    def pushed(self, conditional: Conditional, now_ms: int) -> Row | None:
        """A row of orders-algo or algo-advance after this update; None when it shows clients nothing new.

        Call it once for each update, in their order.
        """
        algo = self.book.of(conditional.id)
        if not algo.complete or conditional.status in (ConditionalStatus.TRIGGERING, ConditionalStatus.FINISHED):
            return None
        rows = [conditional if row.id == conditional.id else row for row in self.book.rows(algo)]
        row = self._row(algo, rows)
        news = {name: value for name, value in row.items() if name not in _DRIFTING}
        if news == algo.told:
            return None
        amended = algo.told is not None and news["state"] == algo.told["state"] == "live"
        algo.told = news
        return self._as_pushed(row, conditional, now_ms, amended=amended)

    def _as_pushed(self, row: Row, conditional: Conditional, now_ms: int, *, amended: bool) -> Row:
        price = self._exchange.quote(conditional.symbol).mark
        qty = conditional.qty if conditional.qty is not None else self._held(conditional)
        known = {name: value for name, value in row.items() if name not in _NOT_PUSHED}
        known["notionalUsd"] = money(qty * price)
        if is_advance(conditional):
            told = {name: value for name, value in known.items() if name not in _NOT_ADVANCED}
            more = {"count": "1", "isTradeBorrowMode": False, "pTime": stamp(now_ms), "tradeQuoteCcy": ""}
            return {**told, **more}
        for name in _ADVANCED:
            del known[name]
        result = "0" if amended else ""
        return {**known, "amendResult": result, "reqId": conditional.extras.get("reqId", "") if amended else ""}

    def _row(self, algo: Algo, rows: list[Conditional]) -> Row:
        rows = rows or [self._exchange.conditional(conditional_id=algo.id)]
        first, state, fired = rows[0], state_of(rows), fired_leg(rows)
        extras = first.extras
        child = self._child(fired)
        row = {
            **_BLANK,
            "actualPx": average(child.avg_price) or short(child.price) if child else "",
            "actualSide": leg_of(fired) if fired is not None and leg_of(fired) in ("sl", "tp") else "",
            "actualSz": self._table.size(child.symbol, child.qty) if child else "0",
            "algoClOrdId": algo.client_id,
            "algoId": str(algo.id),
            "amendPxOnTriggerType": extras.get("amendPxOnTriggerType", "0"),
            "attachAlgoOrds": attached_of(first),
            "cTime": stamp(min(leg.created_ms for leg in rows)),
            "closeFraction": "1" if first.close_position else "",
            "failCode": self._fail_code(fired),
            "instId": algo.symbol,
            "instType": SWAP,
            "last": short(algo.last),
            "lever": str(self._exchange.config(algo.symbol).leverage),
            "linkedOrd": {"ordId": extras.get("entryId", "")},
            "ordId": str(child.id) if child else "",
            "ordIdList": [str(child.id)] if child else [],
            "ordType": algo.kind,
            "posSide": position_side_of(first),
            "reduceOnly": flag(_reduces(first)),
            "side": SIDE[first.side],
            "state": state,
            "sz": "" if first.qty is None else self._table.size(algo.symbol, first.qty),
            "tag": extras.get("tag", ""),
            "tdMode": extras.get("tdMode") or MARGIN_MODE[self._exchange.config(algo.symbol).margin_mode],
            "triggerTime": stamp(fired.triggered_ms) if fired is not None else "",
            "uTime": stamp(max(leg.updated_ms for leg in rows)),
        }
        for leg in rows:
            row |= _leg(leg)
        return row

    def _child(self, fired: Conditional | None) -> Order | None:
        if fired is None or fired.child_id is None:
            return None
        return self._exchange.order(fired.symbol, order_id=fired.child_id)

    def _fail_code(self, fired: Conditional | None) -> str:
        if fired is None or fired.status is not ConditionalStatus.REJECTED:
            return ""
        reason = fired.reason if isinstance(fired.reason, Refusal) else Refusal.REDUCE_ONLY_REJECTED
        return self._refusals.error(Refused(reason), Deed.PLACE, fired.symbol, fired.side, fired.position_side).code

    def _held(self, row: Conditional) -> Decimal:
        return abs(self._exchange.position(row.symbol, row.position_side).qty)


def _leg(row: Conditional) -> Row:
    """The fields that belong to this leg alone."""
    leg = leg_of(row)
    price = _MARKET if not row.type.is_limit else short(row.price)
    if leg == "trigger":
        return {"ordPx": price, "triggerPx": short(row.trigger_price), "triggerPxType": TRIGGER_BY[row.reference]}
    if leg == "trailing":
        level = trailing_level(row) if row.status.is_resting or row.status in FIRED else None
        return {
            "activePx": short(row.activation_price),
            "callbackRatio": short(row.callback_rate),
            "callbackSpread": short(row.callback_distance),
            "moveTriggerPx": average(level),
        }
    return {
        f"{leg}OrdPx": price,
        f"{leg}TriggerPx": short(row.trigger_price),
        f"{leg}TriggerPxType": TRIGGER_BY[row.reference],
    }


def _reduces(row: Conditional) -> bool:
    """In hedge mode the mark itself is not passed to the engine."""
    return row.reduce_only or row.close_position or row.attached or row.extras.get("reduceOnly") == "true"
