"""Leverage is read in bulk at start and set only where it differs; an unconfirmed symbol is not traded (VAL-10)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import structlog

from core.domain.events import Event, LeverageChanged
from core.domain.ids import InstrumentId, Symbol, VenueName
from core.engine.ports import VenueClient
from core.engine.state import StateView
from core.errors import VenueError

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 3.0
"""One symbol's silence may cost its own signal, never the wave it came with (SIG-05)."""


class LeverageKeeper:
    def __init__(self, *, clients: Mapping[VenueName, VenueClient], state: StateView, leverage: int) -> None:
        self._clients = clients
        self._state = state
        self._leverage = leverage
        self._at_venue: dict[InstrumentId, int] = {}
        self._setting: dict[InstrumentId, asyncio.Lock] = {}

    def learn(self, venue: VenueName, leverages: Mapping[Symbol, int]) -> None:
        """What the venue says now, for all its symbols."""
        for symbol, leverage in leverages.items():
            self._at_venue[InstrumentId(venue, symbol)] = leverage

    def on_events(self, events: Iterable[Event]) -> None:
        """Must-consumer: a leverage changed behind our back is not the confirmed one any more."""
        for event in events:
            if isinstance(event, LeverageChanged):
                self._at_venue[event.instrument] = event.leverage

    def confirmed(self, instrument: InstrumentId) -> int | None:
        """The leverage the venue told or acknowledged; None = never heard."""
        return self._at_venue.get(instrument)

    async def confirm(self, instrument: InstrumentId) -> None:
        """Set it where it differs and no position is open; on refusal the old figure stays and the entry is denied."""
        if self._at_venue.get(instrument) == self._leverage or self._state.positions_on(instrument):
            return
        async with self._setting.setdefault(instrument, asyncio.Lock()):
            if self._at_venue.get(instrument) == self._leverage:
                return
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._clients[instrument.venue].set_leverage(instrument.symbol, self._leverage)
            except (VenueError, TimeoutError) as error:
                why = str(error) or f"no answer within {ANSWER_SECONDS:g} s"
                log.warning("leverage.not_set", instrument=str(instrument), wanted=self._leverage, error=why)
                return
            self._at_venue[instrument] = self._leverage

    async def confirm_all(self, instruments: Iterable[InstrumentId]) -> None:
        """Warm every symbol, so that no wave pays the round trip."""
        await asyncio.gather(*(self.confirm(instrument) for instrument in instruments))
