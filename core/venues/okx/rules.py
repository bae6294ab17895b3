"""Loads the venue's trading rules, and the position tiers of those swaps that are in use.

Tiers come five families a request, ten requests in two seconds: of 300 families that is twelve seconds and no start can
wait for it. So they are read for the families somebody trades, when the rules are loaded the next time; until then a
position's size is limited by nothing but the venue's own refusal, which is about this symbol only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import structlog

from core.domain.ids import InstrumentId, VenueName
from core.errors import MalformedPayload, VenueError
from core.venues.okx import facts
from core.venues.okx.contracts import ContractTable, Listed
from core.venues.okx.instruments import listing, with_tiers
from core.venues.okx.payloads import Answer, MarkRow, TierRow
from core.venues.payload import price_in
from core.venues.reading import ReadPolicy, together

log = structlog.get_logger(__name__)


class Rules:
    def __init__(self, ccxt: Any, table: ContractTable, reads: ReadPolicy) -> None:
        self._ccxt, self._table, self._reads = ccxt, table, reads
        self._families: dict[str, None] = {}

    def used(self, instrument: InstrumentId) -> None:
        """Somebody trades it: its tiers are worth a request."""
        self._families[self._table.contract_of(instrument).family] = None

    async def load(self) -> None:
        """Replaces the table as a whole; parsed off the loop. Raises VenueError, MalformedPayload."""
        rows = await self._reads.run(lambda: self._ccxt.publicGetPublicInstruments({"instType": "SWAP"}))
        known = self._table.rows
        listed = await self._ccxt.seam.off_loop(lambda: listing(rows, self._ccxt.parse_market, known))
        if listed.unusable:
            first = next(iter(listed.unusable.items()))
            log.warning("venue.markets_unusable", venue=VenueName.OKX, count=len(listed.unusable), first=first)
        usable = await self._with_tiers(listed.usable)
        try:
            self._table.take(usable)
        except ValueError as error:
            raise MalformedPayload("okx instruments", str(error)) from None

    async def _with_tiers(self, listed: Sequence[Listed]) -> Sequence[Listed]:
        """Without an answer about tiers the old brackets stay: they are no reason to be without rules."""
        families = list(self._families)
        if not families:
            return listed
        step = facts.FAMILIES_PER_REQUEST
        try:
            tiers, marks = await together(
                asyncio.gather(*(self._tiers(families[at : at + step]) for at in range(0, len(families), step))),
                self._marks(),
            )
            return with_tiers(listed, (tier for some in tiers for tier in some), marks)
        except (VenueError, MalformedPayload) as error:
            log.warning("venue.tiers_unread", venue=VenueName.OKX, families=len(families), error=str(error))
            return listed

    async def _tiers(self, families: Sequence[str]) -> list[TierRow]:
        params = {"instType": "SWAP", "tdMode": "cross", "instFamily": ",".join(families)}
        call = self._ccxt.publicGetPublicPositionTiers
        return (await self._reads.shaped(call, params, Answer[TierRow], "okx position-tiers")).data

    async def _marks(self) -> dict[str, Decimal]:
        call = self._ccxt.publicGetPublicMarkPrice
        rows = (await self._reads.shaped(call, {"instType": "SWAP"}, Answer[MarkRow], "okx mark-price")).data
        try:
            told = {row.instId: price_in(row.markPx, "markPx") for row in rows}
        except ValueError as error:
            raise MalformedPayload("okx mark-price", str(error)) from None
        return {name: mark for name, mark in told.items() if mark is not None}
