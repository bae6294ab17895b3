"""Outages: what the daemon does about a venue that does not serve it, and about its return.

The adapter tells that a venue limits us, is in maintenance, does not answer or refuses the key. Entries there stop with
the reason, people hear of begin and end once each, and on return the venue is reconciled. Positions rest on the stops
that lie at the venue; stops and closes are always tried (NET-02, NET-07, NET-11).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import structlog

from core.clock import Clock
from core.domain.alerts import AlertKind
from core.domain.ids import VenueName
from core.engine.ports import Condition, Level, Notifier, VenueClient, VenueHealth
from core.engine.risk_guard import STREAM, RiskGuard
from core.errors import VenueError

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
"""How often it is tried whether the adapter lets a question through; it decides when one really goes out."""
LONG_SILENCE_MS = 60_000
REFUSALS = 3
"""Of a private stream in a row, before people are told: each was asked with a fresh time stamp."""
_MEANING = {
    Condition.LIMITED: "it limits our requests",
    Condition.MAINTENANCE: "it is in maintenance",
    Condition.DOWN: "it does not answer",
    Condition.KEY_REFUSED: "it refuses the API key",
}
BY = "outages"
"""Who speaks, when a venue is switched off here."""
_RESTS = "positions there rest on their stops at the venue"
_UNMANAGED = (
    "positions there: their stops remain at the venue and act, but cannot be managed until it takes the key again"
)


class Outages:
    def __init__(
        self,
        *,
        clients: Mapping[VenueName, VenueClient],
        risk: RiskGuard,
        reconcile: Callable[[VenueName], None],
        notifier: Notifier,
        clock: Clock,
    ) -> None:
        """`reconcile` asks for a reconciliation and returns at once."""
        self._clients = clients
        self._risk = risk
        self._reconcile = reconcile
        self._notifier = notifier
        self._clock = clock
        self._health: dict[VenueName, VenueHealth] = {}
        self._since: dict[VenueName, float] = {}
        self._trouble = asyncio.Event()

    def serves(self, venue: VenueName) -> bool:
        return venue not in self._health

    def condition(self, venue: VenueName) -> Condition:
        health = self._health.get(venue)
        return Condition.UP if health is None else health.condition

    def on_health(self, venue: VenueName, health: VenueHealth) -> None:
        """Every change of the venue's condition; called by the adapter in the step in which it noticed."""
        if health.condition is Condition.UP:
            self._over(venue)
            return
        known = self._health.get(venue)
        self._health[venue] = health
        self._since.setdefault(venue, self._clock.monotonic())
        self._trouble.set()
        self._risk.set_venue(venue, f"{_MEANING[health.condition]}{_until(health)} ({health.detail}); {_RESTS}", by=BY)
        if known is None or known.condition is not health.condition:
            log.error("venue.outage", venue=venue, condition=health.condition.value, what=health.detail)
            key = health.condition is Condition.KEY_REFUSED
            text = f"{venue}: no entries, {self._said(health)}; {_UNMANAGED if key else _RESTS}"
            self._notifier.notify(self._level(health), text, kind=AlertKind.KEY if key else AlertKind.VENUE)

    def on_stream_refused(self, venue: VenueName, why: str, times: int) -> None:
        """The venue refused the private stream's login or a topic, so often in a row. What it does not tell is read
        instead; entries wait until a stream is up and its gap reconciled, which lifts this (UDS-10)."""
        if times == REFUSALS and self.serves(venue):
            self._risk.set_venue(venue, f"its private stream was refused {times} times ({why}); {_RESTS}", by=STREAM)
            said = f"its private stream was refused {times} times: {why}; it is read every few seconds instead"
            self._notifier.notify(Level.CRITICAL, f"{venue}: no entries, {said}; {_RESTS}", kind=AlertKind.STREAM)

    async def run(self) -> None:
        """Look whether venues in trouble serve again, until cancelled."""
        while True:
            await self._trouble.wait()
            await asyncio.gather(*(self._look(venue) for venue in list(self._health) if venue in self._clients))
            if not self._health:
                self._trouble.clear()
                continue
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self, venue: VenueName) -> None:
        health = self._health.get(venue)
        if health is None:
            return  # it came back between being listed here and being asked
        if health.until_ms is not None and self._clock.now_ms() < health.until_ms:
            return
        try:
            await self._clients[venue].positions()
        except VenueError as error:
            log.debug("venue.still_out", venue=venue, why=str(error))

    def _over(self, venue: VenueName) -> None:
        health = self._health.pop(venue, None)
        if health is None:
            return
        lasted = self._clock.monotonic() - self._since.pop(venue)
        self._risk.set_venue(venue, None, by=BY)
        log.info("venue.serves_again", venue=venue, after_s=round(lasted, 1))
        self._notifier.notify(Level.INFO, f"{venue}: serves again after {lasted:.0f} s", kind=AlertKind.VENUE)
        self._reconcile(venue)

    def _said(self, health: VenueHealth) -> str:
        said = f"{_MEANING[health.condition]}{_until(health)}: {health.detail}"
        if health.condition is Condition.KEY_REFUSED:
            said += "; check the key, its rights and its list of addresses"
        return said

    def _level(self, health: VenueHealth) -> Level:
        silence = 0 if health.until_ms is None else health.until_ms - self._clock.now_ms()
        short = health.condition is Condition.LIMITED and silence <= LONG_SILENCE_MS
        return Level.WARNING if short else Level.CRITICAL


def _until(health: VenueHealth) -> str:
    if health.until_ms is None:
        return ""
    return f" until {datetime.fromtimestamp(health.until_ms / 1000, UTC):%H:%M:%S} UTC"
