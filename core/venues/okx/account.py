"""What the account is and has: mode, rights, leverages, positions, balances."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog

from core.domain.ids import InstrumentId, Symbol, VenueName
from core.domain.money import decimal_of
from core.domain.reports import BalanceReport, PositionReport, Source
from core.engine.ports import MarginMode
from core.errors import MalformedPayload, Refused
from core.venues.okx import facts
from core.venues.okx.contracts import Contract, ContractTable
from core.venues.okx.margin import MarginBook
from core.venues.okx.parse import position_report
from core.venues.okx.payloads import AccountRow, Answer, ConfigRow, LeverageRow, PositionRow
from core.venues.okx.wallet import balance_reports
from core.venues.payload import some_in
from core.venues.reading import ReadPolicy

log = structlog.get_logger(__name__)


class AccountReads:
    """All raise VenueError, MalformedPayload."""

    def __init__(self, ccxt: Any, table: ContractTable, margin: MarginBook, reads: ReadPolicy) -> None:
        self._ccxt, self._table, self._margin, self._reads = ccxt, table, margin, reads

    async def config(self) -> ConfigRow:
        answer = await self._reads.shaped(self._ccxt.privateGetAccountConfig, {}, Answer[ConfigRow], "okx config")
        if len(answer.data) != 1 or answer.data[0].posMode not in facts.POSITION_MODES:
            raise MalformedPayload("okx config", "no account, or a position mode nobody knows")
        return answer.data[0]

    async def balances(self) -> list[BalanceReport]:
        answer = await self._reads.shaped(self._ccxt.privateGetAccountBalance, {}, Answer[AccountRow], "okx balance")
        if len(answer.data) != 1:
            raise MalformedPayload("okx balance", f"{len(answer.data)} accounts in it")
        return balance_reports(answer.data[0], Source.REST, complete=True)

    async def positions(self) -> tuple[list[PositionReport], frozenset[str]]:
        """Flat ones are missing from the venue's answer. Beside them the names of what is held and not listed."""
        call, params = self._ccxt.privateGetAccountPositions, {"instType": "SWAP"}
        rows = (await self._reads.shaped(call, params, Answer[PositionRow], "okx positions")).data
        told = self._margin.picture(
            position_report(row, contract, Source.REST)
            for row in rows
            if (contract := self._table.contract(row.instId)) is not None
        )
        strange = (row for row in rows if self._table.contract(row.instId) is None)
        return told, frozenset(row.instId for row in strange if some_in(row.pos))

    async def leverages(self) -> dict[Symbol, int]:
        """Of every listed swap in the margin mode its orders say; what the venue does not tell is missing."""
        by_mode: dict[MarginMode, list[Contract]] = {mode: [] for mode in MarginMode}
        for row in self._table.rows.values():
            if row.instrument.tradable:
                by_mode[self._margin.wanted(row.instrument.id)].append(row.contract)
        step = facts.LEVERAGES_PER_REQUEST
        told = await asyncio.gather(
            *(
                self._told(contracts[at : at + step], mode)
                for mode, contracts in by_mode.items()
                for at in range(0, len(contracts), step)
            )
        )
        return {symbol: leverage for some in told for symbol, leverage in some.items()}

    async def _told(self, contracts: Sequence[Contract], mode: MarginMode) -> dict[Symbol, int]:
        params = {"instId": ",".join(contract.inst_id for contract in contracts), "mgnMode": mode.value}
        call = self._ccxt.privateGetAccountLeverageInfo
        try:
            rows = (await self._reads.shaped(call, params, Answer[LeverageRow], "okx leverage-info")).data
        except Refused as error:
            # Portfolio margin has none to tell; a list with one odd name in it is refused as a whole.
            log.info("venue.leverage_not_told", venue=VenueName.OKX, first=contracts[0].inst_id, why=str(error))
            return {}
        told: dict[Symbol, set[str]] = {}
        for row in rows:
            if (contract := self._table.contract(row.instId)) is not None:
                told.setdefault(contract.instrument.symbol, set()).add(row.lever)
        # Long and short of an isolated swap may differ: then no single figure is its leverage.
        return {symbol: whole for symbol, words in told.items() if (whole := _whole(words)) is not None}

    async def set_leverage(
        self, instrument: InstrumentId, leverage: int, mode: MarginMode, *, hedge_mode: bool
    ) -> None:
        contract = self._table.contract_of(instrument)
        params = {"instId": contract.inst_id, "lever": str(leverage), "mgnMode": mode.value}
        # Only here do the two sides of a swap have leverages of their own.
        sides = ("long", "short") if hedge_mode and mode is MarginMode.ISOLATED else (None,)
        for side in sides:
            asked = params if side is None else params | {"posSide": side}
            call = self._ccxt.privatePostAccountSetLeverage
            rows = (await self._reads.shaped(call, asked, Answer[LeverageRow], "okx set-leverage")).data
            if {_whole({row.lever}) for row in rows} != {leverage}:
                raise Refused(
                    VenueName.OKX, f"{contract.inst_id}: asked for leverage {leverage}, the venue set another"
                )


def _whole(words: set[str]) -> int | None:
    """The one leverage these all say (`10`, `10.0`), None where they differ or it is no whole number. Raises
    MalformedPayload."""
    try:
        told = {decimal_of(word, "lever") for word in words}
    except ValueError as error:
        raise MalformedPayload("okx leverage", str(error)) from None
    (only, *others) = told
    return int(only) if not others and only == int(only) else None
