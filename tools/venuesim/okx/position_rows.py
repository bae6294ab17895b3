"""Positions as the venue prints them. Sizes in contracts, signed in net mode."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import (
    ZERO,
    Balance,
    Conditional,
    MarginMode,
    Position,
    PositionSide,
    PositionView,
)
from tools.venuesim.okx.algo_book import AlgoBook
from tools.venuesim.okx.formats import Row, money, short, stamp
from tools.venuesim.okx.order_rows import average
from tools.venuesim.okx.record import AccountRecord, Closed
from tools.venuesim.okx.symbol_table import SymbolTable
from tools.venuesim.okx.words import MARGIN_MODE, POSITION_SIDE, SWAP, TRIGGER_BY, leg_of

_RATIO = Decimal("1E-10")
_BLANK = dict.fromkeys(
    ("baseBal", "baseBorrowed", "baseInterest", "bizRefId", "bizRefType", "clSpotInUseAmt", "deltaBS", "deltaPA",
     "gammaBS", "gammaPA", "hedgedPos", "interest", "liab", "liabCcy", "maxSpotInUseAmt", "optVal",
     "pendingCloseOrdLiabVal", "posCcy", "quoteBal", "quoteBorrowed", "quoteInterest", "spotInUseAmt",
     "spotInUseCcy", "thetaBS", "thetaPA", "vegaBS", "vegaPA"),
    "",
)  # fmt: skip
# Return on margin up to which each rank reaches; the highest rank is closed out first.
_ADL_RANKS = (Decimal("-0.1"), ZERO, Decimal("0.1"), Decimal("0.5"))


class PositionRows:
    """Rows of one account's positions, valued at the moment."""

    def __init__(self, exchange: Exchange, record: AccountRecord, table: SymbolTable, book: AlgoBook) -> None:
        self._exchange = exchange
        self._record = record
        self._table = table
        self._book = book
        self._pools: dict[str, Balance] = {}

    def open(self) -> list[tuple[str, PositionSide]]:
        """Which rows hold something."""
        return [(row.symbol, row.position_side) for row in self._exchange.positions()]

    def many(self, keys: Iterable[tuple[str, PositionSide]]) -> list[Row]:
        """Rows of account/positions at one moment: what they share is looked at once."""
        self._pools = {asset: self._exchange.balance(asset) for asset in self._exchange.assets()}
        try:
            return [self.listed(symbol, side) for symbol, side in keys]
        finally:
            self._pools = {}

    def listed(self, symbol: str, side: PositionSide) -> Row:
        """A row of account/positions."""
        view = self._exchange.position_view(symbol, side)
        row, holding = view.position, self._record.holding(symbol, side)
        quote, instrument = self._exchange.quote(symbol), self._exchange.instrument(symbol)
        isolated = row.margin_mode is MarginMode.ISOLATED
        at_last = (quote.last - row.entry) * row.qty
        return {
            **_BLANK,
            "adl": _adl_rank(view),
            "availPos": "" if side is PositionSide.BOTH else self._table.size(symbol, abs(row.qty)),
            "avgPx": average(row.entry) if row.qty else "",
            "bePx": average(_break_even(row, instrument.taker_fee)) if row.qty else "",
            "cTime": stamp(holding.created_ms),
            "ccy": instrument.settle,
            "closeOrderAlgo": self._closing_algos(symbol, row),
            "fee": money(-holding.fees),
            "fundingFee": money(holding.funding),
            "idxPx": short(quote.index),
            "imr": "" if isolated else money(view.initial_margin),
            "instId": symbol,
            "instType": SWAP,
            "last": short(quote.last),
            "lever": str(row.leverage),
            "liqPenalty": money(holding.penalty),
            "liqPx": average(view.liquidation_price) if row.qty else "",
            "margin": money(row.isolated_wallet) if isolated else "",
            "markPx": short(view.mark),
            "mgnMode": MARGIN_MODE[row.margin_mode],
            "mgnRatio": self._margin_ratio(view),
            "mmr": money(view.maintenance),
            "nonSettleAvgPx": "",
            "notionalUsd": money(abs(view.notional)),
            "pnl": money(holding.pnl),
            "pos": self._size(row),
            "posId": str(holding.id),
            "posSide": POSITION_SIDE[side],
            "realizedPnl": money(holding.realized),
            "settledPnl": "",
            "tradeId": "" if holding.trade_id is None else str(holding.trade_id),
            "uTime": stamp(holding.updated_ms),
            "upl": money(view.unrealized),
            "uplLastPx": money(at_last),
            "uplRatio": _ratio(view.unrealized, view.initial_margin),
            "uplRatioLastPx": _ratio(at_last, view.initial_margin),
            "usdPx": "1",
        }

    def pushed(self, symbol: str, side: PositionSide, now_ms: int) -> Row:
        """A row of the positions channel."""
        return {**self.listed(symbol, side), "pTime": stamp(now_ms)}

    def brief(self, symbol: str, side: PositionSide) -> Row:
        """A row of posData in balance_and_position."""
        row = self._exchange.position(symbol, side)
        holding = self._record.holding(symbol, side)
        return {
            "avgPx": average(row.entry) if row.qty else "",
            "baseBal": "",
            "ccy": self._exchange.instrument(symbol).settle,
            "instId": symbol,
            "instType": SWAP,
            "mgnMode": MARGIN_MODE[row.margin_mode],
            "nonSettleAvgPx": "",
            "pos": self._size(row),
            "posCcy": "",
            "posId": str(holding.id),
            "posSide": POSITION_SIDE[side],
            "quoteBal": "",
            "settledPnl": "",
            "tradeId": "" if holding.trade_id is None else str(holding.trade_id),
            "uTime": stamp(holding.updated_ms),
        }

    def ended(self, row: Closed) -> Row:
        """A row of positions-history."""
        holding = row.holding
        entry = holding.open_value / holding.opened if holding.opened else ZERO
        margin = holding.open_value / holding.leverage
        return {
            "cTime": stamp(holding.created_ms),
            "ccy": self._exchange.instrument(row.symbol).settle,
            "closeAvgPx": average(holding.close_value / holding.closed) if holding.closed else "",
            "closeTotalPos": self._table.size(row.symbol, holding.closed),
            "direction": "long" if holding.long else "short",
            "fee": money(-holding.fees),
            "fundingFee": money(holding.funding),
            "instId": row.symbol,
            "instType": SWAP,
            "lever": str(holding.leverage),
            "liqPenalty": money(holding.penalty),
            "mgnMode": MARGIN_MODE[holding.margin_mode],
            "nonSettleAvgPx": "",
            "openAvgPx": average(entry),
            "openMaxPos": self._table.size(row.symbol, holding.largest),
            "pnl": money(holding.pnl),
            "pnlRatio": _ratio(holding.realized, margin),
            "posId": str(holding.id),
            "posSide": POSITION_SIDE[row.position_side],
            "realizedPnl": money(holding.realized),
            "settledPnl": "",
            "triggerPx": "",
            "type": row.kind,
            "uTime": stamp(row.time_ms),
            "uly": self._table.family(row.symbol),
        }

    def _size(self, row: Position) -> str:
        qty = row.qty if row.position_side is PositionSide.BOTH else abs(row.qty)
        return self._table.size(row.symbol, qty)

    def _margin_ratio(self, view: PositionView) -> str:
        """Equity over maintenance margin: 1 is where the position is liquidated."""
        row = view.position
        if not view.maintenance:
            return ""
        if row.margin_mode is MarginMode.ISOLATED:
            return _ratio(row.isolated_wallet + view.unrealized, view.maintenance)
        settle = self._exchange.instrument(row.symbol).settle
        balance = self._pools.get(settle) or self._exchange.balance(settle)
        return _ratio(balance.cross_wallet + balance.cross_unrealized, balance.maintenance)

    def _closing_algos(self, symbol: str, row: Position) -> list[Row]:
        """The algo orders that close all of it, one row for the legs of one order."""
        found: dict[str, Row] = {}
        for conditional in self._exchange.open_conditionals(symbol):
            if conditional.close_position and conditional.position_side is row.position_side:
                name = str(self._book.of(conditional.id).id)
                known = found.setdefault(name, {**_NO_CLOSING, "algoId": name})
                known |= _closing_leg(conditional)
        return list(found.values())


_NO_CLOSING = {
    "closeFraction": "1",
    "slTriggerPx": "",
    "slTriggerPxType": "",
    "tpTriggerPx": "",
    "tpTriggerPxType": "",
}


def _closing_leg(row: Conditional) -> Row:
    leg = leg_of(row)
    if leg not in ("sl", "tp"):
        return {}
    return {f"{leg}TriggerPx": short(row.trigger_price), f"{leg}TriggerPxType": TRIGGER_BY[row.reference]}


def _break_even(row: Position, fee: Decimal) -> Decimal:
    """Where closing pays for both fees."""
    direction = 1 if row.qty > 0 else -1
    return row.break_even / (1 - fee * direction)


def _ratio(part: Decimal, whole: Decimal) -> str:
    return short((part / whole).quantize(_RATIO)) if whole else "0"


def _adl_rank(view: PositionView) -> str:
    if not view.position.qty or not view.initial_margin:
        return "0"
    gain = view.unrealized / view.initial_margin
    return str(1 + sum(gain > level for level in _ADL_RANKS))
