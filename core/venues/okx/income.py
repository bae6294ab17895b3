"""OKX's bills: every change of a wallet, as lines of the money ledger (§4). `balChg` is `pnl` plus `fee`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from core.domain.ids import Asset, TradeId, VenueName
from core.domain.ledger import Income, IncomeKind
from core.errors import MalformedPayload
from core.venues.okx import facts
from core.venues.okx.contracts import ContractTable
from core.venues.okx.payloads import Answer, BillRow
from core.venues.payload import amount_in, ms_in
from core.venues.reading import ReadPolicy

RECENT_MS: Final = 7 * 24 * 3600 * 1000 - 3600 * 1000
"""`account/bills` has seven days; an hour less, because they end by the venue's clock."""
_TRADES: Final = frozenset({"2", "3", "5", "9"})
"""Trade, delivery, liquidation, auto-deleveraging: where the bill names a trade, it comes from one."""
_KINDS: Final[Mapping[str, IncomeKind]] = {
    "1": IncomeKind.TRANSFER,
    "5": IncomeKind.INSURANCE,
    "6": IncomeKind.TRANSFER,
    "8": IncomeKind.FUNDING,
    "10": IncomeKind.INSURANCE,
}
"""A bill's `type`; what is missing is OTHER, with the number."""


async def history(ccxt: Any, table: ContractTable, reads: ReadPolicy, since_ms: int, now_ms: int) -> list[Income]:
    """All lines from `since_ms` on, oldest first. Raises VenueError, MalformedPayload."""
    recent = since_ms >= now_ms - RECENT_MS
    call = ccxt.privateGetAccountBills if recent else ccxt.privateGetAccountBillsArchive
    params = {"limit": str(facts.PAGE), "begin": str(since_ms - 1)}
    found: dict[str, BillRow] = {}
    while True:
        page = (await reads.shaped(call, params, Answer[BillRow], "okx bills")).data
        new = [row for row in page if row.billId not in found]
        found |= {row.billId: row for row in new}
        if len(page) < facts.PAGE or not new:
            return _oldest_first(found.values(), table, since_ms)
        params = params | {"after": page[-1].billId}


def _oldest_first(rows: Iterable[BillRow], table: ContractTable, since_ms: int) -> list[Income]:
    told = [line for row in rows for line in lines(row, table) if line.venue_time_ms >= since_ms]
    return sorted(told, key=lambda line: line.venue_time_ms)


def lines(row: BillRow, table: ContractTable) -> list[Income]:
    """What one bill says, part by part. Raises MalformedPayload."""
    contract = table.contract(row.instId) if row.instId else None
    try:
        time_ms = ms_in(row.ts, "ts")
        parts = list(_parts(row, swap=contract is not None))
    except ValueError as error:
        raise MalformedPayload("okx bill", str(error)) from None
    return [
        Income(
            venue=VenueName.OKX,
            id=f"{row.billId}/{name}",
            asset=Asset(row.ccy),
            kind=kind,
            amount=amount,
            venue_time_ms=time_ms,
            symbol=None if contract is None else contract.instrument.symbol,
            trade_id=TradeId(row.tradeId) if row.tradeId not in {"", "0"} else None,
            word=row.type,
        )
        for name, kind, amount in parts
        if amount
    ]


def _parts(row: BillRow, *, swap: bool) -> Iterator[tuple[str, IncomeKind, Decimal]]:
    """Name, kind and signed amount. Raises ValueError."""
    change = amount_in(row.balChg, "balChg")
    if not (swap and row.type in _TRADES and row.tradeId not in {"", "0"}):
        yield "all", _KINDS.get(row.type, IncomeKind.OTHER), change
        return
    profit, fee = amount_in(row.pnl, "pnl"), amount_in(row.fee, "fee")
    yield "pnl", IncomeKind.PROFIT, profit
    yield "fee", IncomeKind.FEE, fee
    yield "rest", IncomeKind.FEE, change - profit - fee
