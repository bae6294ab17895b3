"""Reconciler: at start, after every stream gap, periodically, and whenever a report cannot be true.

One run per venue at a time. It takes the mass status, asks by id for every order that is not in it, fetches trades for
positions that differ, and only when a second reading agrees books what remains as done elsewhere. Both may be old:
what takes protection away and is borne out by nothing else waits (`core/engine/doubts.py`), and its stop stays.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from enum import StrEnum

import structlog
from msgspec.structs import replace

from core.clock import Clock
from core.domain.alerts import AlertKind
from core.domain.events import Event, Inconsistent, PositionTold
from core.domain.ids import ClientOrderId, InstrumentId, Leg, PositionId, VenueName
from core.domain.money import ZERO, Price, Quantity, plain
from core.domain.order import UNACKNOWLEDGED, Order, OrderStatus
from core.domain.position import Position, PositionKey
from core.domain.reconciliation import (
    Mismatch,
    adopted,
    closed_elsewhere,
    entered_ms,
    entry_differs,
    evidence,
    key_of,
    missing_orders,
    orphans,
    position_mismatches,
)
from core.domain.reports import FillReport, PositionReport, Report
from core.engine.bookkeeping import Bookkeeper
from core.engine.doubts import UNEXPLAINED_SECONDS, Doubts
from core.engine.giving_way import FEW_IN_A_ROW, Way
from core.engine.order_manager import OrderManager
from core.engine.ports import Level, MassStatus, NotFound, Notifier, StreamState, UserStream, VenueClient
from core.engine.prefetch import Prefetcher
from core.engine.protection_manager import ProtectionManager
from core.engine.taking_back import take_back
from core.errors import VenueError

log = structlog.get_logger(__name__)

PERIOD_SECONDS = 45.0
"""Below the 60 s after which a balance or position counts as stale."""
POLL_SECONDS = 5.0
"""Between readings while a private stream is down (90 of Binance's weights each, of 2,400 a minute)."""
PAUSE_SECONDS = 5.0
"""After a run: what reconciliation cannot put right asks for it again at once, and must not hammer the venue."""
TOLD_AT_ONCE = 32
"""So many reports of one reading are taken in one step: all of an account that holds little."""
SECOND_READING_SECONDS = 1.0
"""Between two readings that must agree before something is booked as done elsewhere."""
DENIED_SECONDS = 10.0
"""An order that was acknowledged once is believed gone after being denied for so long, in look-ups that answered."""
TRADES_LOOK_BACK_MS = 60_000
ENTRY_LOOK_BACK_MS = 7 * 86_400_000 - 2 * TRADES_LOOK_BACK_MS
"""How far the trades of a position that is taken over are read for when it was entered: what one request covers."""
TOLD_SECONDS = 0.5
"""After the stream spoke of a position: its trades come within the same millisecond, or were not ours."""
ORPHAN_MIN_AGE_MS = 10_000
MANY_ORPHANS = 10
"""More than these at once are said (STP-16)."""


class ExternalPositions(StrEnum):
    """What becomes of positions opened elsewhere. PROTECT and MANAGE both take them over with a stop; MANAGE also lets
    exit rules act on them."""

    IGNORE = "ignore"
    PROTECT = "protect"
    MANAGE = "manage"


class Reconciler:
    def __init__(
        self,
        *,
        clients: Mapping[VenueName, VenueClient],
        streams: Mapping[VenueName, UserStream],
        orders: OrderManager,
        protection: ProtectionManager,
        prefetcher: Prefetcher,
        books: Bookkeeper,
        clock: Clock,
        notifier: Notifier,
        external: ExternalPositions = ExternalPositions.PROTECT,
    ) -> None:
        self._clients = clients
        self._streams = streams
        self._orders = orders
        self._protection = protection
        self._prefetcher = prefetcher
        self._books = books
        self._clock = clock
        self._notifier = notifier
        self._external = external
        self._left_alone: dict[PositionKey, Quantity] = {}
        self._other_entries: dict[PositionId, Price] = {}
        self._locks: defaultdict[VenueName, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._asked = asyncio.Event()
        self._due: set[VenueName] = set()
        self._told: set[InstrumentId] = set()
        self._denied: dict[VenueName, dict[ClientOrderId, float]] = {}
        self._suspects: dict[VenueName, frozenset[ClientOrderId]] = {}
        self._unlisted: dict[VenueName, dict[InstrumentId, float]] = {}
        self._said_gone: set[PositionId] = set()
        self._gone_since: dict[VenueName, float] = {}
        self._doubts = Doubts(clock)
        self._read_at: dict[VenueName, float] = {}
        self.last_ms: dict[VenueName, int] = {}
        self.discrepancies: Counter[str] = Counter()

    async def run(self) -> None:
        """Periodically, and at once for venues somebody asked for; a venue that does not answer is tried again.

        A venue whose private stream is down is polled instead, every few seconds, until the stream is back.
        """
        while True:
            turns = {venue: self._turn(venue) for venue in self._clients}
            first = min(turns.values(), default=PERIOD_SECONDS)
            try:
                async with asyncio.timeout(first):
                    await self._asked.wait()
            except TimeoutError:
                self._due.update(venue for venue, turn in turns.items() if turn <= first)
            self._asked.clear()
            for venue in sorted(self._due):
                self._due.discard(venue)
                if venue not in self._clients:
                    continue  # late at the start: it is reconciled when it joins
                try:
                    await self.reconcile(venue)
                except VenueError as error:
                    log.warning("reconcile.failed", venue=venue, error=str(error))
            await asyncio.sleep(PAUSE_SECONDS)

    def _turn(self, venue: VenueName) -> float:
        """Seconds until this venue is read by itself: by its own last reading, so that polling a blind one does not
        starve the others."""
        if self._streams[venue].state is StreamState.DOWN:
            return POLL_SECONDS
        now = self._clock.monotonic()
        return max(0.0, self._read_at.setdefault(venue, now) + PERIOD_SECONDS - now)

    @property
    def in_doubt(self) -> frozenset[InstrumentId]:
        """Where the venue tells less than the book has, and nothing explains it yet."""
        return self._doubts.instruments

    def ask(self, venue: VenueName) -> None:
        """Reconcile this venue soon."""
        self._due.add(venue)
        self._asked.set()

    def on_events(self, events: Sequence[Event]) -> None:
        """Must-consumer: an impossible report, or a position that is not ours, makes its venue suspect."""
        for event in events:
            if isinstance(event, Inconsistent):
                self.ask(event.instrument.venue)
            elif isinstance(event, PositionTold) and event.instrument not in self._told:
                self._told.add(event.instrument)
                asyncio.get_running_loop().call_later(TOLD_SECONDS, self._compare, event.instrument)

    def _compare(self, instrument: InstrumentId) -> None:
        """Whether trades have explained what the stream said of this position (UDS-01); if not, read the venue."""
        self._told.discard(instrument)
        state = self._orders.state
        told = [report for report in state.venue_positions() if report.instrument == instrument]
        differing = position_mismatches(state.positions_on(instrument), told)
        if not self._busy(instrument) and any(self._left_alone.get(m.key) != m.venue for m in differing):
            self.ask(instrument.venue)

    async def reconcile(self, venue: VenueName) -> None:
        """Make our picture the venue's. Raises VenueError; then nothing was concluded."""
        async with self._locks[venue]:
            client = self._clients[venue]
            listable = [o.client_order_id for o in self._live(venue) if o.status not in UNACKNOWLEDGED]
            status = await client.mass_status()
            before, way = self._orders.state.venue_positions(), Way()
            await self._take(status, way)
            await self._ask_for_missing(client, missing_orders(self._live(venue), status.orders, listable))
            await way.turn()
            mismatches = self._mismatches(venue, status)
            doubted = await self._settle(client, mismatches, before) if mismatches else set()
            for key in self._doubts.keep(venue, doubted):
                log.info("reconcile.doubt_over", position=str(key))
            await way.turn()
            await self._compare_entries(venue, status, way)
            await self._settle_gone(venue, status)
            await self._forget_unlisted(venue, status)
            await way.turn()
            await self._sweep(venue, status)
            await way.turn()
            await self._guard_everything(venue, status)
            self._prefetcher.confirmed(venue)
            self._read_at[venue] = self._clock.monotonic()
            self.last_ms[venue] = self._clock.now_ms()
            log.debug(
                "reconcile.done",
                venue=venue,
                orders=len(status.orders),
                positions=len(status.positions),
                balances=len(status.balances),
                mismatches=len(mismatches),
            )

    async def _take(self, status: MassStatus, way: Way) -> None:
        """In parts where it is much, each report being complete in itself."""
        reports: list[Report] = [*status.orders, *status.positions, *status.balances]
        for start in range(0, len(reports), TOLD_AT_ONCE):
            await self._orders.take(reports[start : start + TOLD_AT_ONCE])
            await self._orders.drained()
            await way.turn()

    async def _ask_for_missing(self, client: VenueClient, missing: Sequence[Order]) -> None:
        """Each by its id, in every store: an order that is in no list has usually just ended.

        All at once: a start with ten positions would else take seconds of round trips before the first stop is set.
        """
        before, now = self._denied.get(client.name, {}), self._clock.monotonic()
        denied: dict[ClientOrderId, float] = {}
        asking = (client.query_order(order.intent) for order in missing)
        answers = await asyncio.gather(*asking, return_exceptions=True)
        for order, answer in zip(missing, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            if not isinstance(answer, NotFound):
                await self._orders.take([answer])
            elif self._orders.state.order(order.client_order_id) is order:
                denied[order.client_order_id] = before.get(order.client_order_id, now)
                await self._believe_denial(order, now - denied[order.client_order_id])
        self._denied[client.name] = denied
        await self._orders.drained()
        for order in self._live(client.name):
            if (order.status in UNACKNOWLEDGED or order.fills_missing) and not self._awaits_entry(order):
                self._orders.resolve(order, "found undecided by reconciliation")
                self.ask(client.name)  # what hides behind it can be judged only when it is decided

    def _awaits_entry(self, order: Order) -> bool:
        """A stop that came with an entry of which the end is not known: it does not exist yet, and may well come."""
        entry = None if order.intent.attached_to is None else self._orders.state.order(order.intent.attached_to)
        return entry is not None and not entry.ended

    async def _believe_denial(self, order: Order, denied_for: float) -> None:
        """A venue may deny an order it has just taken, so only what it denies again after a while is gone (REC-07)."""
        if denied_for < DENIED_SECONDS:
            self.ask(order.instrument.venue)
            return
        self._note("order_vanished", order.instrument, f"{order.client_order_id} is unknown to the venue")
        if order.undecided:  # it cannot rest: whether it traded is found out, and then it is over
            self._orders.resolve(order, "the venue took it, and knows it no more")
        if order.intent.leg in (Leg.STOP, Leg.TRAIL):  # a second one harms nobody: it can only reduce
            gone = self._orders.conclusion(order.intent, OrderStatus.CANCELED, "unknown to the venue")
            await self._orders.take([gone])

    def _mismatches(self, venue: VenueName, status: MassStatus) -> list[Mismatch]:
        """Differences that nothing in flight can explain."""
        found = position_mismatches(self._positions(venue), status.positions)
        return [m for m in found if not self._busy(m.instrument)]

    def _busy(self, instrument: InstrumentId) -> bool:
        return any(o.status in UNACKNOWLEDGED or o.fills_missing for o in self._orders.state.live_orders(instrument))

    async def _settle(
        self, client: VenueClient, mismatches: list[Mismatch], before: Sequence[PositionReport]
    ) -> set[PositionKey]:
        """Book what trades or a second reading bear out; what is still in doubt. `before`: what the venue had told of
        positions until this run."""
        entered: dict[PositionKey, int | None] = {}
        history: dict[PositionKey, Sequence[FillReport]] = {}
        for mismatch in mismatches:
            known = self._orders.state.position(mismatch.key)
            since = (self._clock.now_ms() if known is None else known.opened_ms) - TRADES_LOOK_BACK_MS
            opened_ms = None if mismatch.report is None else mismatch.report.opened_ms
            unknown = known is None and opened_ms is None and self._external is not ExternalPositions.IGNORE
            fills = await client.fills(mismatch.instrument, since - (ENTRY_LOOK_BACK_MS if unknown else 0))
            history[mismatch.key] = fills
            if known is not None:
                await take_back(self._orders, client, known, fills)
            entered[mismatch.key] = entered_ms(mismatch.key, mismatch.venue, fills) if unknown else opened_ms
            await self._orders.take([fill for fill in fills if fill.venue_time_ms >= since])
        await self._orders.drained()
        await asyncio.sleep(SECOND_READING_SECONDS)
        second = await client.positions()
        await self._orders.take(second)
        await self._orders.drained()
        first, doubted = {m.key: m.venue for m in mismatches}, set()
        for mismatch in position_mismatches(self._positions(client.name), second):
            agreed = first.get(mismatch.key) == mismatch.venue
            if not agreed or self._busy(mismatch.instrument):
                self.ask(client.name)
            elif self._believes(mismatch, before, second, history[mismatch.key]):
                self._book(mismatch, entered.get(mismatch.key))
            else:
                doubted.add(mismatch.key)
                self.ask(client.name)
        return doubted

    def _believes(
        self,
        mismatch: Mismatch,
        before: Sequence[PositionReport],
        rows: Sequence[PositionReport],
        fills: Sequence[FillReport],
    ) -> bool:
        """Two readings agree, and something else speaks for them, or they have agreed for long enough."""
        known = self._orders.state.position(mismatch.key)
        traded_ms, refused = self._last_trade_ms(mismatch.key, fills), self._refused(known)
        basis = evidence(mismatch, known, before, rows, fills, traded_ms, refused=refused)
        said = self._doubts.waiting(mismatch)
        if self._doubts.believed(mismatch, basis):
            return True
        if not said:
            what = f"the venue tells {plain(mismatch.venue)}, the book has {plain(mismatch.ours)}, and {basis}"
            self._note("position_in_doubt", mismatch.instrument, f"{mismatch.key}: {what}")
            text = f"{mismatch.key}: {what}; its stop stays and entries wait until that has lasted"
            self._notifier.notify(Level.WARNING, text, kind=AlertKind.DISCREPANCY)
        return False

    def _last_trade_ms(self, key: PositionKey, fills: Sequence[FillReport]) -> int:
        """Venue UTC ms of the newest trade in this position that it lists and the book has as well; 0 = there is none.
        An order's own stamp will not do: a cancel moves it, and no position."""
        state, newest = self._orders.state, 0
        for fill in fills:
            order = state.order(fill.client_order_id) if fill.client_order_id else None
            order = order or state.order_by_venue_id(fill.instrument, fill.venue_order_id)
            if order is None or fill.trade_id not in order.trade_ids:
                continue
            if (fill.side if order.intent.leg is Leg.ENTRY else fill.side.opposite) is key.side:
                newest = max(newest, fill.venue_time_ms)
        return newest

    def _refused(self, known: Position | None) -> bool:
        """Whether the venue had nothing to reduce for a close of this position. Right after an entry that proves
        nothing: it may not see the position itself yet (POS-02)."""
        if known is None:
            return False
        orders = self._orders.state.orders_of(known.id)
        traded_ms = max((order.venue_time_ms for order in orders if order.filled), default=known.opened_ms)
        resting_ms = max((order.venue_time_ms for order in orders if order.status is OrderStatus.ACCEPTED), default=0)
        since_ms = max(traded_ms + UNEXPLAINED_SECONDS * 1000, resting_ms)
        told = (self._orders.rejection(order.client_order_id) for order in orders)
        return any(no is not None and no.nothing_to_reduce and no.time_ms >= since_ms for no in told)

    def _book(self, mismatch: Mismatch, entered: int | None) -> None:
        known = self._orders.state.position(mismatch.key)
        at_ms = self._clock.now_ms() if entered is None else entered
        position = adopted(mismatch, self._books.default_stop_percent, known, at_ms)
        if known is None and self._external is ExternalPositions.IGNORE:
            self._leave_alone(mismatch)
            return
        what = f"the venue holds {plain(mismatch.venue)}, the book {plain(mismatch.ours)}"
        self._note("position", mismatch.instrument, f"{mismatch.key}: {what}")
        self._notifier.notify(
            Level.WARNING, f"{mismatch.key}: {what}; the venue's figure is taken over", kind=AlertKind.DISCREPANCY
        )
        if known is not None and position is None:
            self._orders.put_position(closed_elsewhere(known, self._clock.now_ms()))
        if position is not None and known is None and entered is None:
            text = f"{mismatch.key}: when it was entered is not known; its age counts from now"
            self._notifier.notify(Level.WARNING, text, kind=AlertKind.EXTERNAL)
        if position is not None and mismatch.report is not None:
            self._orders.take_over(position, mismatch.report.venue_time_ms)

    async def _compare_entries(self, venue: VenueName, status: MassStatus, way: Way) -> None:
        """Another average at the venue is recorded beside ours and said once; ours is never rewritten (POS-04)."""
        rows = defaultdict[PositionKey | None, list[PositionReport]](list)
        for row in status.positions:
            rows[key_of(row)].append(row)
        for position in self._positions(venue):
            await way.step()
            for report in rows.get(position.key, ()):
                told = report.entry_price
                if told is None or not entry_differs(position, report) or self._other_entries.get(position.id) == told:
                    continue
                self._other_entries[position.id] = told
                what = f"{position.key}: entered at {plain(position.entry_price)}, the venue's average is {plain(told)}"
                self._note("entry_price", position.instrument, what)
                self._notifier.notify(Level.WARNING, what, kind=AlertKind.DISCREPANCY)
        held = {position.id for position in self._orders.state.positions()}
        self._other_entries = {key: told for key, told in self._other_entries.items() if key in held}

    async def _settle_gone(self, venue: VenueName, status: MassStatus) -> None:
        """What the journal has open in a contract that the venue lists no longer: nobody can ask for it, and its rows
        cannot be read. So it is over only when for a while the venue holds nothing at all that is not listed."""
        held = self._orders.state.positions()
        gone = [p for p in held if p.instrument.venue is venue and not self._lists(venue, p.instrument)]
        for position in gone:
            if position.id not in self._said_gone:
                self._said_gone.add(position.id)
                what = f"{position.key}: {plain(position.quantity)} is open by the journal"
                self._note("not_listed", position.instrument, f"{what}, and not listed")
                text = f"{what} and the venue lists it no longer; nothing of it can be sent or read, look there"
                self._notifier.notify(Level.CRITICAL, text, kind=AlertKind.RULES)
        self._said_gone &= {position.id for position in held}
        if not gone or status.unlisted:
            self._gone_since.pop(venue, None)
            return
        now = self._clock.monotonic()
        if now - self._gone_since.setdefault(venue, now) < UNEXPLAINED_SECONDS:
            self.ask(venue)
            return
        over = [o.intent for p in gone for o in self._orders.state.live_orders(p.instrument)]
        await self._orders.take([self._orders.conclusion(i, OrderStatus.CANCELED, "not listed") for i in over])
        await self._orders.drained()
        for position in gone:
            what = f"{position.key}: not listed, and the venue holds nothing of it; it is booked closed"
            self._note("position", position.instrument, what)
            self._notifier.notify(Level.WARNING, what, kind=AlertKind.DISCREPANCY)
            self._orders.put_position(closed_elsewhere(position, self._clock.now_ms()))

    def _leave_alone(self, mismatch: Mismatch) -> None:
        """Opened elsewhere, and the policy is to keep our hands off: said once, never half adopted (REC-06)."""
        if self._left_alone.get(mismatch.key) != mismatch.venue:
            self._left_alone[mismatch.key] = mismatch.venue
            self._note("external", mismatch.instrument, f"{mismatch.key} {plain(mismatch.venue)} was opened elsewhere")
            text = f"{mismatch.key} {plain(mismatch.venue)} was opened elsewhere and is left alone (EXTERNAL_POSITIONS)"
            self._notifier.notify(Level.WARNING, text, kind=AlertKind.EXTERNAL)

    async def _forget_unlisted(self, venue: VenueName, status: MassStatus) -> None:
        """A venue lists no flat symbols, so a close missed in a gap would block its symbol for ever.

        What neither we nor its readings know of for a while is flat.
        """
        state, now = self._orders.state, self._clock.monotonic()
        listed = {report.instrument for report in status.positions}
        gone = [
            report
            for report in state.venue_positions()
            if report.instrument.venue is venue
            and report.quantity != ZERO
            and report.instrument not in listed
            and not state.positions_on(report.instrument)
        ]
        before = self._unlisted.get(venue, {})
        since = {report.instrument: before.get(report.instrument, now) for report in gone}
        agreed = [report for report in gone if now - since[report.instrument] >= UNEXPLAINED_SECONDS]
        self._unlisted[venue] = since
        if len(agreed) < len(gone):
            self.ask(venue)
        await self._orders.take([replace(report, quantity=Quantity(ZERO), entry_price=None) for report in agreed])
        await self._orders.drained()

    async def _sweep(self, venue: VenueName, status: MassStatus) -> None:
        """Cancel stops that protect nothing: seen in two runs, old enough, and the venue flat there both times."""
        known: dict[ClientOrderId, Order] = {}
        for report in status.orders:
            if (order := self._orders.state.order(report.client_order_id)) is not None:
                known[report.client_order_id] = order
        held = {key_of(p) for p in status.positions if p.quantity != ZERO}
        flat_there = [r for r in status.orders if PositionKey(r.instrument, r.side.opposite) not in held]
        found = orphans(flat_there, known, self._positions(venue))
        old = [r for r in found if status.requested_ms - r.venue_time_ms >= ORPHAN_MIN_AGE_MS]
        for report in old:
            order = known.get(report.client_order_id)
            if report.client_order_id in self._suspects.get(venue, ()) and order is not None:
                self._note("orphan", report.instrument, f"{report.client_order_id} protects nothing; cancelled")
                await self._orders.cancel(order)
        if len(old) > MANY_ORPHANS and len(self._suspects.get(venue, ())) <= MANY_ORPHANS:
            self._notifier.notify(
                Level.CRITICAL, f"{venue}: {len(old)} stops of ours protect nothing", kind=AlertKind.DISCREPANCY
            )
        self._suspects[venue] = frozenset(report.client_order_id for report in old)

    async def _guard_everything(self, venue: VenueName, status: MassStatus) -> None:
        """Few at a time: their guardians all look in the turn that comes next."""
        told, way = {key_of(report) for report in status.positions if report.quantity != ZERO}, Way(FEW_IN_A_ROW)
        for position in self._positions(venue):
            if position.key in told or self._protection.confirmed(position.key):
                self._protection.guard(position.key)
            await way.step()

    def _live(self, venue: VenueName) -> list[Order]:
        return [order for order in self._orders.state.all_live_orders() if self._lists(venue, order.instrument)]

    def _positions(self, venue: VenueName) -> list[Position]:
        return [position for position in self._orders.state.positions() if self._lists(venue, position.instrument)]

    def _lists(self, venue: VenueName, instrument: InstrumentId) -> bool:
        """What is not listed (any more) is left out of every comparison: a reading that lacks it says nothing of it."""
        return instrument.venue is venue and instrument.symbol in self._clients[venue].instruments

    def _note(self, kind: str, instrument: InstrumentId, what: str) -> None:
        self.discrepancies[kind] += 1
        log.warning("reconcile.discrepancy", kind=kind, instrument=str(instrument), what=what)
        self._books.note("discrepancy", {"kind": kind, "instrument": str(instrument), "what": what})
