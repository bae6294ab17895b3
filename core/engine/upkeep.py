"""Upkeep: what has to be done again and again so that the hot path finds everything ready.

Every venue's clock is measured, its trading rules are loaded anew, its connections are kept open. Rules are also loaded
at once when a refusal says that ours are stale (VAL-20); what changed is said, and stops are looked at again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog
from msgspec import Struct

from core.clock import Clock
from core.domain.alerts import AlertKind
from core.domain.ids import InstrumentId, Symbol, VenueName
from core.domain.instrument import Instrument
from core.domain.order import OrderIntent
from core.engine.ports import About, Level, MarketData, Notifier, Outcome, Rejected, VenueClient
from core.engine.protection_manager import ProtectionManager
from core.engine.state import StateView
from core.errors import VenueError

log = structlog.get_logger(__name__)

CLOCK_SECONDS = 600.0
"""Clocks drift by milliseconds in that time; the venue accepts a request that is ten seconds old (NET-01)."""
DOUBT_SECONDS = 20.0
"""A measurement this new has told already whether the clock is to blame."""
WARM_SECONDS = 75.0
"""Half of the pool's keep-alive: a connection that was used once in between is never cold."""
RENEW_PAUSE_SECONDS = 10.0
"""Refusals that go on with rules this new are not the rules' fault."""
CHANGES_SAID = 5
_ASKS_FOR_RULES = (About.STALE_RULES, About.NOT_TRADING)


class UpkeepRules(Struct, frozen=True, kw_only=True):
    """`refresh_seconds` between two loads of the trading rules; `connections` are kept open per venue."""

    refresh_seconds: float
    connections: int


class Upkeep:
    def __init__(
        self,
        *,
        clients: Mapping[VenueName, VenueClient],
        markets: Mapping[VenueName, MarketData],
        state: StateView,
        protection: ProtectionManager,
        learn: Callable[[VenueName], None],
        serves: Callable[[VenueName], bool],
        rules: UpkeepRules,
        notifier: Notifier,
        clock: Clock,
    ) -> None:
        """`learn` takes over what the client of a venue lists now; `serves` is False while a venue has an outage."""
        self._clients = clients
        self._markets = markets
        self._state = state
        self._protection = protection
        self._learn = learn
        self._serves = serves
        self._rules = rules
        self._notifier = notifier
        self._clock = clock
        self._loaded: dict[VenueName, float] = {}
        self._asked_clock: dict[VenueName, float] = {}
        self._renewing: dict[VenueName, asyncio.Task[None]] = {}
        self._told: set[InstrumentId] = set()
        self._measured: Callable[[VenueName], None] = lambda _venue: None
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Until cancelled. What a venue says or does not say never ends it."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._every(CLOCK_SECONDS, self.measure_clock), name="upkeep/clocks")
            tasks.create_task(self._every(self._rules.refresh_seconds, self.renew), name="upkeep/rules")
            tasks.create_task(self._every(WARM_SECONDS, self._warm), name="upkeep/connections")
            try:
                await asyncio.Event().wait()
            finally:
                self._tasks = None  # what a stop or a close meets while the daemon ends must not find an ended owner

    def on_outcome(self, intent: OrderIntent, outcome: Outcome) -> None:
        """The venue's answer to an order may say that our rules are not its rules any more."""
        if isinstance(outcome, Rejected) and outcome.about in _ASKS_FOR_RULES:
            self.ask(intent.instrument.venue)

    def on_clock(self, measured: Callable[[VenueName], None]) -> None:
        """Told of each measurement of a venue's clock that succeeded."""
        self._measured = measured

    def ask(self, venue: VenueName) -> None:
        """Load the rules of this venue soon; asked again while they are loading or just loaded nothing happens."""
        age = self._clock.monotonic() - self._loaded.get(venue, float("-inf"))
        if self._tasks is None or venue in self._renewing or age < RENEW_PAUSE_SECONDS or venue not in self._clients:
            return
        task = self._tasks.create_task(self._load(venue), name=f"upkeep/rules/{venue}")
        self._renewing[venue] = task
        task.add_done_callback(lambda _done: self._renewing.pop(venue, None))

    async def renew(self, venue: VenueName) -> None:
        """Load the rules now, or wait for the load under way. Never raises VenueError: the old rules then stay."""
        self.ask(venue)
        if (running := self._renewing.get(venue)) is not None:
            await asyncio.wait([running])

    async def _load(self, venue: VenueName) -> None:
        client = self._clients[venue]
        before = dict(client.instruments)
        try:
            await client.load_instruments()
        except VenueError as error:
            log.warning("venue.rules_not_loaded", venue=venue, error=str(error))
            return
        self._loaded[venue] = self._clock.monotonic()
        self._learn(venue)
        self._compare(venue, before, client.instruments)

    def _compare(
        self, venue: VenueName, before: Mapping[Symbol, Instrument], after: Mapping[Symbol, Instrument]
    ) -> None:
        changed = [i for symbol, i in after.items() if symbol in before and before[symbol] is not i]
        changes = [change for i in changed for change in _changes(before[i.id.symbol], i)]
        log.info(
            "venue.rules", venue=venue, markets=len(after), new=len(after.keys() - before.keys()),
            changed=len(changes), first=changes[:CHANGES_SAID],
        )  # fmt: skip
        held = {position.instrument for position in self._state.positions()}
        for instrument in changed:
            if instrument.id in held:
                self._look_again(before[instrument.id.symbol], instrument)
        for instrument in after.values():
            self._note_status(instrument, held=instrument.id in held)
        gone = [i.id.symbol for i in after.values() if not i.tradable and i.id not in held]
        if (market := self._markets.get(venue)) is not None:
            market.drop(gone)

    def _look_again(self, before: Instrument, after: Instrument) -> None:
        """The guardian replaces a stop that lies off the new tick; one that still stands is left alone."""
        if not (changes := _changes(before, after)):
            return
        log.warning("venue.rules_of_a_position", instrument=str(after.id), changes=changes)
        for position in self._state.positions_on(after.id):
            self._protection.guard(position.key)

    def _note_status(self, instrument: Instrument, *, held: bool) -> None:
        """One alert while a symbol with a position is not traded (VAL-21)."""
        if instrument.tradable or not held:
            self._told.discard(instrument.id)
        elif instrument.id not in self._told:
            self._told.add(instrument.id)
            what = f"is not traded any more ({instrument.status or 'no status'}) and a position is open"
            self._notifier.notify(
                Level.CRITICAL, f"{instrument.id}: {what}; closing it stays possible, look at it", kind=AlertKind.RULES
            )

    async def measure_clock(self, venue: VenueName) -> None:
        """Measure the offset of this venue's clock anew. Never raises VenueError: the old offset then stays."""
        before = self._clients[venue].clock_offset_ms
        self._asked_clock[venue] = self._clock.monotonic()
        try:
            await self._clients[venue].measure_clock()
        except VenueError as error:
            log.warning("venue.clock_not_measured", venue=venue, error=str(error))
            return
        self._measured(venue)
        offset = self._clients[venue].clock_offset_ms
        log.info("venue.clock", venue=venue, offset_ms=offset, moved_ms=offset - before)

    def doubt_clock(self, venue: VenueName) -> None:
        """Measure it soon, for prices come late by it: with a wrong offset all of them would be too old to go by until
        the next measurement. Asked again within `DOUBT_SECONDS` of a measurement nothing happens."""
        age = self._clock.monotonic() - self._asked_clock.get(venue, float("-inf"))
        if self._tasks is None or age < DOUBT_SECONDS or venue not in self._clients or not self._serves(venue):
            return
        self._asked_clock[venue] = self._clock.monotonic()
        self._tasks.create_task(self.measure_clock(venue), name=f"upkeep/clock/{venue}")

    async def _warm(self, venue: VenueName) -> None:
        if self._serves(venue):
            await self._clients[venue].warm(self._rules.connections)

    async def _every(self, seconds: float, duty: Callable[[VenueName], Awaitable[None]]) -> None:
        """All venues at once: a slow one costs the others nothing but its own turn (NET-10)."""
        while True:
            await asyncio.sleep(seconds)
            await asyncio.gather(*(duty(venue) for venue in list(self._clients) if self._serves(venue)))


def _changes(before: Instrument, after: Instrument) -> list[str]:
    """E.g. `BTC/USDT:USDT tick 0.10 -> 0.01`. Brackets that are told for the first time are no change of them."""
    pairs = ((name, getattr(before, name), getattr(after, name)) for name in Instrument.__struct_fields__)
    learnt = not before.brackets
    return [
        f"{after.id.symbol} {name} {_shown(old)} -> {_shown(new)}"
        for name, old, new in pairs
        if old != new and not (learnt and name == "brackets")
    ]


def _shown(value: object) -> str:
    return f"{len(value)} brackets" if isinstance(value, tuple) else str(value)
