"""Leverage and margin mode: read in bulk at start, set only where they differ; an unconfirmed symbol is not traded
(VAL-10, CFG-08)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import structlog

from core.domain.events import Event, LeverageChanged
from core.domain.ids import InstrumentId, Symbol, VenueName
from core.engine.ports import MarginMode, VenueClient
from core.engine.state import StateView
from core.errors import VenueError

log = structlog.get_logger(__name__)

_NOT_TOLD: Mapping[Symbol, MarginMode] = {}
ANSWER_SECONDS = 3.0
"""One symbol's silence may cost its own signal, never the wave it came with (SIG-05)."""
NOT_IN_TIME = f"not within {ANSWER_SECONDS:g} s: the venue's limits have no room for it, or it does not answer"
SHOWN = 5


class LeverageKeeper:
    def __init__(
        self,
        *,
        clients: Mapping[VenueName, VenueClient],
        state: StateView,
        leverage: int,
        margin: MarginMode | None = None,
    ) -> None:
        """`margin` None = as the account has it."""
        self._clients = clients
        self._state = state
        self._leverage = leverage
        self._margin = margin
        self._at_venue: dict[InstrumentId, int] = {}
        self._margins: dict[InstrumentId, MarginMode] = {}
        self._setting: dict[InstrumentId, asyncio.Lock] = {}
        self._troubles: dict[InstrumentId, str] = {}

    def learn(
        self, venue: VenueName, leverages: Mapping[Symbol, int], margins: Mapping[Symbol, MarginMode] = _NOT_TOLD
    ) -> None:
        """What the venue says now, for all its symbols."""
        for symbol, leverage in leverages.items():
            self._at_venue[InstrumentId(venue, symbol)] = leverage
        for symbol, margin in margins.items():
            self._margins[InstrumentId(venue, symbol)] = margin

    def on_events(self, events: Iterable[Event]) -> None:
        """Must-consumer: a leverage changed behind our back is not the confirmed one any more."""
        for event in events:
            if isinstance(event, LeverageChanged):
                self._at_venue[event.instrument] = event.leverage

    def confirmed(self, instrument: InstrumentId) -> int | None:
        """The leverage the venue told or acknowledged; None = never heard, or in another margin mode than wanted."""
        return self._at_venue.get(instrument) if self._margin_is_right(instrument) else None

    def trouble(self, instrument: InstrumentId) -> str:
        """Why it could not be set when it was last tried; "" = it was not tried, or it is right."""
        return "" if self._is_right(instrument) else self._troubles.get(instrument, "")

    def settled(self, instrument: InstrumentId) -> bool:
        """Whether there is nothing to set: it is right, or an open position keeps it as it is."""
        return self._is_right(instrument) or bool(self._state.positions_on(instrument))

    async def confirm(self, instrument: InstrumentId) -> None:
        """Set it where it differs and no position is open; on refusal the old figure stays and the entry is denied."""
        if (why := await self._confirm(instrument)) is not None:
            log.warning("leverage.not_set", instrument=str(instrument), wanted=self._wanted, error=why)

    async def _confirm(self, instrument: InstrumentId) -> str | None:
        """Why it could not be done, None when all is well."""
        if self.settled(instrument):
            return None
        async with self._setting.setdefault(instrument, asyncio.Lock()):
            if self._is_right(instrument):
                return None
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._set(instrument)
            except (VenueError, TimeoutError) as error:
                why = str(error) or NOT_IN_TIME
                self._troubles[instrument] = why
                return why
            self._troubles.pop(instrument, None)
            return None

    async def _set(self, instrument: InstrumentId) -> None:
        client = self._clients[instrument.venue]
        if self._margin is not None and not self._margin_is_right(instrument):
            await client.set_margin_mode(instrument.symbol, self._margin)
            self._margins[instrument] = self._margin
        if self._at_venue.get(instrument) != self._leverage:
            await client.set_leverage(instrument.symbol, self._leverage)
            self._at_venue[instrument] = self._leverage

    def _is_right(self, instrument: InstrumentId) -> bool:
        return self._at_venue.get(instrument) == self._leverage and self._margin_is_right(instrument)

    def _margin_is_right(self, instrument: InstrumentId) -> bool:
        return self._margin is None or self._margins.get(instrument) is self._margin

    @property
    def _wanted(self) -> str:
        return f"{self._leverage}" + (f" {self._margin}" if self._margin is not None else "")

    async def confirm_all(self, instruments: Iterable[InstrumentId]) -> None:
        """Warm every symbol, so that no wave pays the round trip. Those that a venue's limits keep waiting for too long
        are asked for again by the first signal that wants them; one line for each reason."""
        wanted = list(instruments)
        answers = await asyncio.gather(*(self._confirm(instrument) for instrument in wanted))
        failed: dict[tuple[VenueName, str], list[Symbol]] = {}
        for instrument, why in zip(wanted, answers, strict=True):
            if why is not None:
                failed.setdefault((instrument.venue, why), []).append(instrument.symbol)
        for (venue, why), symbols in failed.items():
            say = log.info if why == NOT_IN_TIME else log.warning  # the first signal that wants them asks again
            say(
                "leverage.not_set", venue=venue, symbols=len(symbols), first=symbols[:SHOWN], wanted=self._wanted,
                error=why,
            )  # fmt: skip
