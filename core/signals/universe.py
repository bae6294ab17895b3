"""Which instruments a strategy looks at: those that are named, or the most traded ones of each venue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

import structlog

from core.domain.ids import InstrumentId, VenueName
from core.domain.money import ZERO
from core.engine.ports import MarketReads
from core.errors import VenueError

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 10.0


class Universe(Protocol):
    @property
    def instruments(self) -> Sequence[InstrumentId]: ...
    async def refresh(self) -> None:
        """Look again; what a venue does not answer stays as it was. Raises nothing of a venue's."""
        ...


class NamedInstruments:
    """What the configuration names, where it is listed; `listed` is asked each time, for a venue may come later."""

    def __init__(self, listed: Callable[[], Sequence[InstrumentId]]) -> None:
        self._listed = listed
        self.instruments: Sequence[InstrumentId] = listed()

    async def refresh(self) -> None:
        self.instruments = self._listed()


class MostTraded:
    """Of every venue the `count` eligible instruments with the greatest turnover in 24 hours; a tie by name.

    Per venue, because turnover of different venues says nothing about the liquidity an entry would meet there.
    """

    def __init__(
        self, count: int, reads: Callable[[], Mapping[VenueName, MarketReads]], eligible: Callable[[InstrumentId], bool]
    ) -> None:
        """`reads` answers the venues that are in use at that moment."""
        self._count, self._reads, self._eligible = count, reads, eligible
        self._chosen: dict[VenueName, list[InstrumentId]] = {}

    @property
    def instruments(self) -> Sequence[InstrumentId]:
        return [instrument for chosen in self._chosen.values() for instrument in chosen]

    async def refresh(self) -> None:
        await asyncio.gather(*(self._look(venue, reads) for venue, reads in self._reads().items()))

    async def _look(self, venue: VenueName, reads: MarketReads) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                turnover = await reads.day_turnover()
        except (VenueError, TimeoutError) as error:
            log.warning("universe.not_read", venue=venue, error=str(error) or "no answer in time")
            return
        by_instrument = {InstrumentId(venue, symbol): traded for symbol, traded in turnover.items()}
        self._chosen[venue] = self._most(by_instrument)

    def _most(self, turnover: Mapping[InstrumentId, Decimal]) -> list[InstrumentId]:
        found = [(traded, i) for i, traded in turnover.items() if traded > ZERO and self._eligible(i)]
        return [instrument for _, instrument in sorted(found, key=lambda row: (-row[0], row[1]))[: self._count]]
