"""Bybit's transaction log: every change of a wallet, as lines of the money ledger (§4).

One row of the venue is what a trade realised (`cashFlow`), its fee, and its funding at once: `change` = `cashFlow` +
`funding` - `fee`. Its `id` is shared by rows of the same order, so trade and type are part of ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final

from core.domain.ids import Asset, Symbol, TradeId, VenueName
from core.domain.ledger import Income, IncomeKind
from core.domain.money import ZERO
from core.errors import MalformedPayload
from core.venues.bybit import facts
from core.venues.bybit.payloads import TransactionRow
from core.venues.payload import amount_in, ms_in, say
from core.venues.symbols import SymbolTable

_TRADES: Final = frozenset({"TRADE", "LIQUIDATION", "ADL", "DELIVERY", "BLOCKTRADE"})
"""Kinds of rows (`type`) that a trade has brought, where they name one."""
_SETTLEMENT: Final = "SETTLEMENT"
_KINDS: Final[Mapping[str, IncomeKind]] = {
    "TRANSFER_IN": IncomeKind.TRANSFER,
    "TRANSFER_OUT": IncomeKind.TRANSFER,
    _SETTLEMENT: IncomeKind.SETTLED,
    "LIQUIDATION": IncomeKind.INSURANCE,
}
"""What the money of a row without a trade is; others are OTHER, with the word."""


def lines(row: TransactionRow, symbols: SymbolTable) -> list[Income]:
    """What one row says, part by part; nothing for one that changed no wallet. Raises MalformedPayload."""
    instrument = symbols.unified(row.symbol) if row.symbol else None
    symbol = None if instrument is None else instrument.symbol
    try:
        time_ms = ms_in(row.transactionTime, "transactionTime")
        parts = list(_parts(row, symbol))
    except ValueError as error:
        raise MalformedPayload("bybit transaction log", say(error)) from None
    return [
        Income(
            venue=VenueName.BYBIT,
            id=f"{row.id}/{row.type}/{row.tradeId or row.transactionTime}/{name}",
            asset=Asset(row.currency),
            kind=kind,
            amount=amount,
            venue_time_ms=time_ms,
            symbol=symbol,
            trade_id=TradeId(row.tradeId) if row.tradeId else None,
            word=row.type,
        )
        for name, kind, amount in parts
        if amount
    ]


def _parts(row: TransactionRow, symbol: Symbol | None) -> Iterator[tuple[str, IncomeKind, Decimal]]:
    """Name, kind and signed amount. Raises ValueError."""
    change = amount_in(row.change, "change")
    ours = row.category == facts.CATEGORY and symbol is not None
    if not ours:  # spot and the like move the same wallets: as a whole, by the venue's word
        yield "all", _KINDS.get(row.type, IncomeKind.OTHER), change
        return
    cash, funding, fee = (amount_in(text, name) for text, name in _figures(row))
    traded = row.type in _TRADES and bool(row.tradeId)
    yield "cash", IncomeKind.PROFIT if traded else _KINDS.get(row.type, IncomeKind.OTHER), cash
    yield "funding", IncomeKind.FUNDING, funding
    yield "fee", IncomeKind.FEE if traded else IncomeKind.OTHER, -fee
    # What the parts leave, taxes above all: of a trade it belongs to what the trade cost.
    rest = IncomeKind.FEE if traded else IncomeKind.OTHER
    yield "rest", rest, change - (cash + funding - fee) if change else ZERO


def _figures(row: TransactionRow) -> tuple[tuple[str, str], ...]:
    return (row.cashFlow, "cashFlow"), (row.funding, "funding"), (row.fee, "fee")
