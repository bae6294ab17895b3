"""The account's books: one line for each change of a wallet."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

from msgspec import Struct

from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import ZERO, Income, IncomeType, Origin
from tools.venuesim.okx.formats import Row, money, short, stamp
from tools.venuesim.okx.order_rows import FIRST_BILL_ID, bill_id, client_order_id, sub_type, trade_id
from tools.venuesim.okx.record import AccountRecord, FilledRecord
from tools.venuesim.okx.symbol_table import SymbolTable
from tools.venuesim.okx.words import MARGIN_MODE, SWAP

_OTHER_BILLS = FIRST_BILL_ID + 500_000_000_000_000_000
_TRADE, _TRANSFER, _LIQUIDATION, _FUNDING, _ADL = "2", "1", "5", "8", "9"
_PAID, _RECEIVED = "173", "174"
_BLANK = dict.fromkeys(
    ("clOrdId", "earnAmt", "earnApr", "execType", "fillFwdPx", "fillIdxPx", "fillMarkPx", "fillMarkVol", "fillPxUsd",
     "fillPxVol", "fillTime", "from", "instId", "mgnMode", "notes", "ordId", "px", "sz", "tag", "to", "tradeId"),
    "",
)  # fmt: skip
_TYPES = {Origin.CLIENT: _TRADE, Origin.LIQUIDATION: _LIQUIDATION, Origin.ADL: _ADL, Origin.SETTLEMENT: "3"}


class Bill(Struct, frozen=True, kw_only=True):
    """One line. Amounts with their sign."""

    id: int
    asset: str
    symbol: str | None
    type: str
    sub_type: str
    change: Decimal
    balance: Decimal
    """After it."""
    time_ms: int
    fee: Decimal = ZERO
    pnl: Decimal = ZERO
    filled: FilledRecord | None = None


class Bills:
    """Lines made from the engine's record of the wallets."""

    def __init__(self, exchange: Exchange, record: AccountRecord, table: SymbolTable) -> None:
        self._exchange = exchange
        self._record = record
        self._table = table

    def all(self) -> list[Bill]:
        """Oldest first; profit and fee of a fill are one line."""
        balances: defaultdict[str, Decimal] = defaultdict(Decimal)
        fills = {row.fill.id: row for row in self._record.fills()}
        parts: dict[int, list[Income]] = {}
        for income in self._exchange.income():
            key = income.trade_id if income.trade_id in fills and income.trade_id is not None else -income.id
            parts.setdefault(key, []).append(income)
        lines = []
        for key, group in parts.items():
            first, change = group[0], sum((row.amount for row in group), ZERO)
            balances[first.asset] += change
            filled = fills.get(key)
            if filled is None:
                lines.append(_plain(first, change, balances[first.asset]))
            else:
                lines.append(_of_fill(filled, group, balances[first.asset]))
        return lines

    def row(self, bill: Bill) -> Row:
        """A row of account/bills."""
        known = {
            **_BLANK,
            "bal": money(bill.balance),
            "balChg": money(bill.change),
            "billId": str(bill.id),
            "ccy": bill.asset,
            "fee": money(bill.fee),
            "instType": SWAP if bill.symbol is not None else "",
            "instId": bill.symbol or "",
            "interest": "0",
            "pnl": money(bill.pnl),
            "posBal": "0",
            "posBalChg": "0",
            "subType": bill.sub_type,
            "ts": stamp(bill.time_ms),
            "type": bill.type,
        }
        return known if bill.filled is None else known | self._circumstances(bill.filled)

    def _circumstances(self, row: FilledRecord) -> Row:
        fill, order = row.fill, row.order
        size = self._table.size
        return {
            "clOrdId": client_order_id(order),
            "execType": "M" if fill.maker else "T",
            "fillIdxPx": short(row.index),
            "fillMarkPx": short(row.mark),
            "fillTime": stamp(fill.time_ms),
            "mgnMode": MARGIN_MODE[row.margin_mode],
            "ordId": str(fill.order_id),
            "posBal": size(fill.symbol, abs(row.held)),
            "posBalChg": size(fill.symbol, fill.qty if not row.closed else -row.closed),
            "px": short(fill.price),
            "sz": size(fill.symbol, fill.qty),
            "tag": order.extras.get("tag", ""),
            "tradeId": trade_id(fill),
        }


def _of_fill(row: FilledRecord, group: list[Income], balance: Decimal) -> Bill:
    fill = row.fill
    return Bill(
        id=bill_id(fill.id),
        asset=fill.fee_asset,
        symbol=fill.symbol,
        type=_TYPES[fill.origin],
        sub_type=sub_type(row),
        change=sum((part.amount for part in group), ZERO),
        balance=balance,
        time_ms=fill.time_ms,
        fee=-fill.fee,
        pnl=fill.realized,
        filled=row,
    )


def _plain(income: Income, change: Decimal, balance: Decimal) -> Bill:
    gains = change > 0
    kinds = {
        IncomeType.FUNDING_FEE: (_FUNDING, _RECEIVED if gains else _PAID),
        IncomeType.INSURANCE_CLEAR: (_LIQUIDATION, "110"),
        IncomeType.TRANSFER: (_TRANSFER, "11" if gains else "12"),
    }
    kind, sub = kinds.get(income.type, (_TRANSFER, "11"))
    return Bill(
        id=_OTHER_BILLS + income.id,
        asset=income.asset,
        symbol=income.symbol,
        type=kind,
        sub_type=sub,
        change=change,
        balance=balance,
        time_ms=income.time_ms,
        pnl=change if kind == _FUNDING else ZERO,
    )
