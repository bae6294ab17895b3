"""Opening the venues: which can be used, which cannot, and which do not serve right now and join later (NET-11)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog
from msgspec import Struct
from msgspec.structs import replace

from core.assembly import Engine
from core.config import Settings, venue_lines
from core.domain.alerts import AlertKind
from core.domain.ids import Asset, VenueName
from core.engine.ports import Level, MarketData, MarketReads, UserStream, VenueClient
from core.engine.records import JournalState
from core.engine.risk_guard import STREAM
from core.lifecycle.preflight import Check, Grade, Preflight, PreflightRules, examine
from core.lifecycle.preflight_questions import QUESTIONS
from core.lifecycle.probe import probe
from core.wiring.rules import margin_mode, sizing_rule

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 600.0
"""For a network that comes up later than this host: a service that nobody watches must not stay down for it."""
AGAIN_SECONDS = 1.0
"""Between two tries to open a late venue; its adapter lets a request out at growing intervals only."""


class _Late(Struct, frozen=True, kw_only=True):
    client: VenueClient
    stream: UserStream
    market: MarketData
    reads: MarketReads


class Opening:
    """`late` venues are out of the engine until they serve; everything else goes on without them. A venue at which the
    journal holds (`held`) something is never given up because it cannot be reached: somebody must see to it."""

    def __init__(self, engine: Engine, held: JournalState, *, patient: bool = False) -> None:
        """`patient`: a service manager started us, so a start into a dead network is waited for and not refused."""
        self._engine = engine
        self._patient = patient
        self._must_wait = False
        instruments = (*(o.instrument for o in held.orders), *(p.instrument for p in held.positions))
        self._held = {instrument.venue for instrument in instruments}
        self._rules = preflight_rules(engine.settings)
        self._late: dict[VenueName, _Late] = {}

    @property
    def late(self) -> tuple[VenueName, ...]:
        return tuple(self._late)

    async def examine(self, *, probing: bool = False) -> list[Preflight]:
        """Open every venue at once; those that may be used stay in the engine, with what they list learned. `probing`
        sends a far order to each of them and sees it gone."""
        results = await asyncio.gather(
            *(self._examine(client, self._engine.reads[venue]) for venue, client in self._engine.clients.items())
        )
        usable = any(result.grade in (Grade.OK, Grade.WARN) for result in results)
        for result in results:
            expected = usable or result.not_now or result.venue in self._held
            if result.grade is Grade.LATE and (expected or self._patient):
                self._must_wait = self._must_wait or expected
                self._put_aside(result.venue)
            elif result.grade in (Grade.OFF, Grade.LATE):
                self._engine.drop_venue(result.venue)
            else:
                self._learn(result)
        return await self._probed(results) if probing else list(results)

    async def until_one_serves(self, stop: asyncio.Event, seconds: float | None) -> None:
        """Wait while there is no venue to trade and one that will serve again; `seconds` None = as long as it takes, or
        `PATIENCE_SECONDS` for what could not even be reached."""
        if self._engine.clients or not self._late:
            return
        if seconds is None and not self._must_wait:
            seconds = PATIENCE_SECONDS
        waits = ", ".join(sorted(self._late))
        log.warning("start.waits", venues=waits)
        held = len(self._engine.orders.state.positions())
        open_there = f"; {held} positions are watched by nobody but their stops at the venue" if held else ""
        level = Level.CRITICAL if held else Level.WARNING
        self._engine.notifier.notify(level, f"the start waits for {waits}{open_there}", kind=AlertKind.START)
        try:
            async with asyncio.timeout(seconds):
                while not self._engine.clients and self._late and not stop.is_set():
                    await asyncio.sleep(AGAIN_SECONDS)
                    for venue in self.late:
                        await self._try(venue)
        except TimeoutError:
            log.warning("start.waited_in_vain", venues=sorted(self._late), seconds=seconds)

    async def join(self, venue: VenueName, begin: Callable[[VenueName], None]) -> None:
        """Until the venue serves, then `begin` starts what runs for it. Ends without it when it cannot be used."""
        while venue in self._late:
            await asyncio.sleep(AGAIN_SECONDS)
            await self._try(venue)
        if venue not in self._engine.clients:
            return
        self._engine.risk.set_venue(venue, "its private stream has not come up yet", by=STREAM)
        begin(venue)
        self._engine.notifier.notify(Level.INFO, f"{venue}: opened, it takes part from now on", kind=AlertKind.VENUE)
        wanted = self._rules.wanted(self._engine.clients[venue].instruments)
        await self._engine.leverage.confirm_all(instrument.id for instrument in wanted if instrument.tradable)

    async def _try(self, venue: VenueName) -> None:
        late = self._late[venue]
        result = await self._examine(late.client, late.reads)
        if result.grade is Grade.LATE:
            return
        del self._late[venue]
        if result.grade is Grade.OFF:
            what = "; ".join(check.what for check in result.checks if check.grade is Grade.OFF)
            self._engine.notifier.notify(Level.CRITICAL, f"{venue}: not used, {what}", kind=AlertKind.VENUE)
            return
        engine = self._engine
        engine.clients[venue], engine.streams[venue] = late.client, late.stream
        engine.markets[venue], engine.reads[venue] = late.market, late.reads
        self._learn(result)

    async def _probed(self, results: Sequence[Preflight]) -> list[Preflight]:
        engine = self._engine
        return [
            replace(result, checks=(*result.checks, await self._probe(result.venue)))
            if result.venue in engine.clients
            else result
            for result in results
        ]

    async def _probe(self, venue: VenueName) -> Check:
        engine = self._engine
        check = await probe(engine.clients[venue], engine.reads[venue], self._rules, f"probe/{venue}", engine.clock)
        _say(check)
        if check.grade is Grade.OFF:
            engine.drop_venue(venue)
        return check

    async def _examine(self, client: VenueClient, reads: MarketReads) -> Preflight:
        result = await examine(client, reads, self._rules, QUESTIONS)
        for check in result.checks:
            _say(check)
        return result

    def _learn(self, result: Preflight) -> None:
        self._engine.learn_instruments(result.venue)
        if result.account is not None:
            self._engine.watch.learn(result.venue, result.account)
            self._engine.watch.learn_rights(result.venue, result.rights)

    def _put_aside(self, venue: VenueName) -> None:
        engine = self._engine
        self._late[venue] = _Late(
            client=engine.clients[venue],
            stream=engine.streams[venue],
            market=engine.markets[venue],
            reads=engine.reads[venue],
        )
        engine.drop_venue(venue)


def preflight_rules(settings: Settings) -> PreflightRules:
    """What the settings ask of the venues."""
    told = (line.partition(": ") for line in venue_lines(settings))
    return PreflightRules(
        quotes=frozenset(Asset(quote) for quote in settings.trading.quote_coins),
        least_balance=settings.risk.minimum_active_balance_usd,
        sizing=sizing_rule(settings),
        leverage=settings.sizing.leverage,
        margin=margin_mode(settings),
        access={VenueName(name): where for name, _, where in told},
        withdrawal_allowed=settings.trading.allow_withdrawal_keys,
        local=frozenset(VenueName(name) for name, venue in settings.venues.items() if venue.environment == "local"),
    )


def _say(check: Check) -> None:
    say = log.info if check.grade is Grade.OK else log.warning
    say("preflight", venue=check.where, grade=check.grade.value, about=check.about, what=check.what)
