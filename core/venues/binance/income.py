"""Binance's income history: every change of a futures wallet, as lines of the money ledger (§8.2, §8.3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from core.domain.ids import Asset, TradeId, VenueName
from core.domain.ledger import Income, IncomeKind
from core.domain.money import decimal_of
from core.errors import MalformedPayload
from core.venues.binance.payloads import IncomeRow
from core.venues.payload import say
from core.venues.symbols import SymbolTable

WINDOW_MS: Final = 7 * 24 * 3600 * 1000 - 1
PAGE: Final = 1000
_KINDS: Final[Mapping[str, IncomeKind]] = {
    "REALIZED_PNL": IncomeKind.PROFIT,
    "DELIVERED_SETTELMENT": IncomeKind.PROFIT,
    "COMMISSION": IncomeKind.FEE,
    "FUNDING_FEE": IncomeKind.FUNDING,
    "SPECIAL_FUNDING_FEE": IncomeKind.FUNDING,
    "TRANSFER": IncomeKind.TRANSFER,
    "INTERNAL_TRANSFER": IncomeKind.TRANSFER,
    "CROSS_COLLATERAL_TRANSFER": IncomeKind.TRANSFER,
    "STRATEGY_UMFUTURES_TRANSFER": IncomeKind.TRANSFER,
    "COIN_SWAP_DEPOSIT": IncomeKind.TRANSFER,
    "COIN_SWAP_WITHDRAW": IncomeKind.TRANSFER,
    "INSURANCE_CLEAR": IncomeKind.INSURANCE,
}
"""The venue's `incomeType`; what is missing is OTHER, with the word."""

Ask = Callable[[dict[str, str]], Awaitable[list[IncomeRow]]]


async def history(ask: Ask, symbols: SymbolTable, since_ms: int, now_ms: int) -> list[Income]:
    """All lines from `since_ms` on, oldest first: window by window, and within one page by page, from the time of the
    last line on. Raises MalformedPayload, and what `ask` raises."""
    found: dict[str, Income] = {}
    start = since_ms
    while start <= now_ms:
        end = start + WINDOW_MS
        page = await ask({"startTime": str(start), "endTime": str(end), "limit": str(PAGE)})
        found |= {line.id: line for line in (_line(row, symbols) for row in page)}
        if len(page) < PAGE:
            start = end + 1
            continue
        newest = max(row.time for row in page)
        if newest <= start:
            raise MalformedPayload("binance income", f"more than {PAGE} lines in one millisecond")
        start = newest
    return sorted(found.values(), key=lambda line: line.venue_time_ms)


def _line(row: IncomeRow, symbols: SymbolTable) -> Income:
    """The venue's number is unique together with the type: profit and fee of a trade share it."""
    instrument = symbols.unified(row.symbol) if row.symbol else None
    try:
        return Income(
            venue=VenueName.BINANCE,
            id=f"{row.tranId}/{row.incomeType}",
            asset=Asset(row.asset),
            kind=_KINDS.get(row.incomeType, IncomeKind.OTHER),
            amount=decimal_of(row.income, "income"),
            venue_time_ms=row.time,
            symbol=None if instrument is None else instrument.symbol,
            trade_id=TradeId(row.tradeId) if row.tradeId else None,
            word=row.incomeType,
        )
    except ValueError as error:
        raise MalformedPayload("binance income", say(error)) from None
