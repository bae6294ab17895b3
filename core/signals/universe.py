"""Which instruments a strategy looks at: those that are named, or those the rules choose at each venue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

import structlog

from core.domain.ids import Asset, InstrumentId, Symbol, VenueName
from core.domain.instrument import Instrument
from core.domain.money import ZERO, Price
from core.domain.universe import Offered, UniverseRules, choose
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


class ByRules:
    """Of every venue and every quote coin with money in it the instruments that the rules choose."""

    def __init__(
        self,
        rules: UniverseRules,
        reads: Callable[[], Mapping[VenueName, MarketReads]],
        *,
        offered: Callable[[VenueName], Iterable[Instrument]],
        balance: Callable[[VenueName, Asset], Decimal | None],
        now_ms: Callable[[], int],
    ) -> None:
        """`reads` answers the venues in use at that moment, `offered` what may be entered there, `balance` the wallet
        of a quote coin (None = not told)."""
        self._rules, self._reads = rules, reads
        self._offered, self._balance, self._now_ms = offered, balance, now_ms
        self._chosen: dict[VenueName, list[InstrumentId]] = {}

    @property
    def instruments(self) -> Sequence[InstrumentId]:
        return [instrument for chosen in self._chosen.values() for instrument in chosen]

    async def refresh(self) -> None:
        await asyncio.gather(*(self._look(venue, reads) for venue, reads in self._reads().items()))

    async def _look(self, venue: VenueName, reads: MarketReads) -> None:
        funded = self._funded(venue)
        if not funded:
            self._chosen[venue] = []
            return
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                turnover, touches = await asyncio.gather(reads.day_turnover(), self._touches(reads))
        except (VenueError, TimeoutError) as error:
            log.warning("universe.not_read", venue=venue, error=str(error) or "no answer in time")
            return
        chosen: list[InstrumentId] = []
        for quote, instruments in funded.items():
            offered = (
                Offered(instrument=i, turnover=turnover.get(i.id.symbol), touch=touches.get(i.id.symbol))
                for i in instruments
            )
            choice = choose(offered, self._rules, self._now_ms())
            log.info(
                "universe.chosen",
                venue=venue,
                quote=quote,
                chosen=len(choice.chosen),
                of=len(instruments),
                left_out=dict(choice.left_out),
            )
            chosen += choice.chosen
        self._chosen[venue] = chosen

    def _funded(self, venue: VenueName) -> dict[Asset, list[Instrument]]:
        """What is offered, by quote coin, of the coins whose balance is above the minimum."""
        by_quote: dict[Asset, list[Instrument]] = {}
        for instrument in self._offered(venue):
            by_quote.setdefault(instrument.quote, []).append(instrument)
        poor = [quote for quote in by_quote if (self._balance(venue, quote) or ZERO) <= self._rules.least_balance]
        for quote in poor:
            log.info("universe.no_balance", venue=venue, quote=quote, balance=str(self._balance(venue, quote)))
            del by_quote[quote]
        return by_quote

    async def _touches(self, reads: MarketReads) -> Mapping[Symbol, tuple[Price, Price]]:
        return await reads.touches() if self._rules.most_spread_percent else {}
