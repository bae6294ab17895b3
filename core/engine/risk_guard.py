"""RiskGuard: the only maker of `Approved`. Check and reserve are one synchronous step, so nothing can over-allocate."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Generic, TypeVar

import structlog
from msgspec import Struct
from msgspec.structs import replace

from core.clock import Clock
from core.domain.alerts import AlertKind
from core.domain.events import Event, OrderChanged
from core.domain.gate import Gate, first_refusal, passed, refused
from core.domain.ids import Asset, ClientOrderId, InstrumentId, Leg, VenueName
from core.domain.money import ZERO, Notional
from core.domain.order import UNACKNOWLEDGED, Order, OrderIntent
from core.domain.risk import RiskLimits, RiskUsage, TradingState, afford_gate, check, clock_gate, needed
from core.domain.risk_book import ResultRules
from core.domain.standing import Standing, strictest
from core.domain.verdict import Denied, Reason
from core.engine.clock_watch import ClockWatch
from core.engine.pauses import VenuePauses
from core.engine.ports import Accepted, Level, Notifier, Outcome, Unknown
from core.engine.records import Journal, StateRecord
from core.engine.risk_ledger import RiskLedger
from core.engine.state import StateView
from core.engine.trading_states import OURS, TradingStates

if TYPE_CHECKING:
    from core.engine.order_manager import OrderManager

log = structlog.get_logger(__name__)

T = TypeVar("T")
BALANCE_MAX_AGE_SECONDS = 60.0
"""An older balance refuses entries (RSK-02)."""
MINUTE_MS = 60_000
_ENTRIES_KEY = "risk_entries"


class Approved(Struct, Generic[T], frozen=True):
    """Permission as a type: `OrderManager.submit` takes nothing else, and only this module makes one."""

    value: T


class Ruling(Struct, frozen=True, kw_only=True):
    """The answer to one entry: every gate that was asked, and the permission when all of them let it through."""

    gates: tuple[Gate, ...]
    approved: Approved[OrderIntent] | None = None

    @property
    def denied(self) -> Denied | None:
        return first_refusal(self.gates)


STREAM, PRICES = "stream", "prices"
"""Who switches a venue off until its first connection has been reconciled, and until what is held there has a price."""


class RiskGuard:
    """Owns reservations and trading states. Money is in quote coin; USDT and USDC count alike.

    A trading state holds globally and for each venue (DESIGN §3.15). The KILL file and the limits of the ledger hold
    beside it, so that the end of one gives nothing away that another one holds back.
    """

    def __init__(
        self,
        *,
        state: StateView,
        limits: RiskLimits,
        results: ResultRules,
        quotes: Mapping[InstrumentId, Asset],
        quote_coins: frozenset[Asset],
        mark: Callable[[InstrumentId], Decimal | None],
        journal: Journal,
        clock: Clock,
        notifier: Notifier,
        most_positions: Callable[[VenueName], int | None],
    ) -> None:
        """`quotes` names the quote coin of each instrument, `quote_coins` those whose wallets are our equity; `mark`
        is None where the price is unknown or old; `most_positions`: how many a venue can hold stops for, None = any.
        """
        self.ledger = RiskLedger(
            state=state,
            rules=results,
            quote_coins=quote_coins,
            mark=mark,
            journal=journal,
            clock=clock,
            notifier=notifier,
        )
        self.pauses = VenuePauses(errors_limit=limits.errors_in_a_row, journal=journal, clock=clock, notifier=notifier)
        self.clocks = ClockWatch(clock)
        self._state = state
        self._limits = limits
        self._quotes = quotes
        self._most_positions = most_positions
        self._journal = journal
        self._clock = clock
        self._notifier = notifier
        self._reserved: dict[ClientOrderId, tuple[InstrumentId, Notional]] = {}
        self.states = TradingStates(journal=journal, clock=clock)
        self._venues_off: dict[VenueName, dict[str, str]] = {}
        self._entries: deque[int] = deque()
        self.limits = limits
        self.denials: Counter[Reason] = Counter()
        self.halts = 0
        """How often since the start trading was halted because something had broken."""

    def follow(self, orders: OrderManager) -> None:
        """Hear of every order, trade and answer from now on, and be asked before each entry leaves."""
        orders.listen(self.on_events)
        orders.listen(self.ledger.on_events)
        orders.on_trade(self.ledger.traded)
        orders.on_outcome(self._on_outcome)
        orders.last_word.give(self.objection)

    # trading state

    @property
    def standing(self) -> Standing:
        """The strictest of all that hold globally: what was said, the KILL file, limits that were reached."""
        return strictest([self.states.standing(), *self.ledger.standings()])

    def standing_of(self, venue: VenueName) -> Standing:
        """The same with what was said for this venue alone."""
        return strictest([self.states.standing(), *self.ledger.standings(), self.states.said(venue)])

    def venue_off_reason(self, venue: VenueName, by: str | None = None) -> str | None:
        """What was said first by anybody, or by one of those who may switch it off."""
        said = self._venues_off.get(venue, {})
        return next(iter(said.values()), None) if by is None else said.get(by)

    def set_state(self, state: TradingState, *, reason: str, author: str) -> None:
        """The global state, persisted with reason and author (DESIGN §3.15)."""
        self.states.put(Standing(state=state, reason=reason, author=author))

    def recall(self, values: Mapping[str, str]) -> None:
        """What was known before the restart, except the global trading state (`restore`). With the positions of the
        journal in the state already, and before anything else happens."""
        self.states.recall(values)
        self.ledger.recall(values)
        self.pauses.recall(values)
        self._entries = deque(json.loads(values.get(_ENTRIES_KEY, "[]")))

    def restore(self, values: Mapping[str, str]) -> Standing | None:
        """What an operator had set before the restart; None when nothing holds."""
        return self.states.restore(values)

    def resume(self, author: str, venue: VenueName | None = None) -> None:
        """Trade again, everywhere or on one venue, whatever had stopped entries; back-offs are over, too.

        Limits that were reached count anew from here: the loss so far, the row of stops and the drawdown are accepted.
        Raises ValueError while the KILL file exists or the daemon stops, and for a venue while all trading is stopped.
        """
        if self.states.killed:
            raise ValueError("the KILL file exists; remove it, then trading goes on by itself")
        if self.states.stopping:
            raise ValueError("the daemon is stopping; resume when it runs again")
        resumed = Standing(state=TradingState.ACTIVE, reason="resumed", author=author)
        if venue is None:
            self.ledger.resume()
        elif self.standing.state is not TradingState.ACTIVE:
            raise ValueError(f"all trading is {self.standing.state} ({self.standing.reason}); resume without a venue")
        for name in self.states.of_venues():
            if venue in (None, name):
                self.states.put(resumed, name)
        self.pauses.forget(venue)
        if venue is None:
            self.states.put(resumed)
        text = f"{'' if venue is None else f'{venue}: '}trading was resumed by {author}"
        self._notifier.notify(Level.INFO, text, kind=AlertKind.STATE, ends="halt" if venue is None else "")

    def restrict(self, reason: str, author: str, venue: VenueName | None = None) -> None:
        """No entries, everywhere or on one venue, until somebody resumes; loosens nothing stricter. Holds when met
        while starting."""
        reducing = Standing(state=TradingState.REDUCING, reason=reason, author=author)
        if venue is not None:
            if venue not in self.states.of_venues():
                self.states.put(reducing, venue)
        elif self.states.said().state is TradingState.ACTIVE or self.states.starting:
            self.states.put(reducing)

    def halt(self, reason: str, *, told: bool = False) -> None:
        """An invariant broke: no entries, no discretionary exits; protection goes on. `told`: people hear of it from
        whoever found it."""
        self.halts += 1
        self.set_state(TradingState.HALTED, reason=reason, author=OURS)
        if not told:
            text = f"trading is HALTED, {reason}; stops and closes go on; see the log, then resume"
            self._notifier.notify(Level.CRITICAL, text, kind=AlertKind.STATE, begins="halt")

    def ordered(self, standing: Standing, venue: VenueName | None = None) -> None:
        """Somebody has said it: it holds, and everybody is told."""
        before = self.states.said(venue)
        self.states.put(standing, venue)
        if self.states.said(venue) != before:
            where = "" if venue is None else f"{venue}: "
            text = f"{where}trading is {standing.state.value.upper()}: {standing.reason}, by {standing.author}"
            self._notifier.notify(Level.WARNING, text, kind=AlertKind.STATE)

    def set_venue(self, venue: VenueName, off_because: str | None, *, by: str) -> None:
        """Switch entries on one venue off (with the reason) or on again (None). Each speaks for themselves: a venue is
        on when nobody has a reason against it."""
        said = self._venues_off.setdefault(venue, {})
        if off_because is None:
            said.pop(by, None)
        else:
            said[by] = off_because

    # entries

    def approve_entry(self, intent: OrderIntent, notional: Notional) -> Ruling:
        """Check every limit and reserve, with no await between (VAL-14). The reservation ends with the order."""
        self.ledger.settle()
        usage = self._usage_for(intent.instrument)
        gates = self._gates(intent, notional, usage)
        if (denied := first_refusal(gates)) is not None:
            self.denials[denied.reason] += 1
            if denied.reason is Reason.BALANCE_TOO_LOW:
                self._note_shortage(intent.instrument, notional, usage)
            return Ruling(gates=gates)
        self._reserved[intent.client_order_id] = (intent.instrument, notional)
        self.pauses.approved(intent)
        self._entries.append(self._clock.now_ms())
        if self.entries_last_minute() and self._limits.max_entries_per_minute:
            self._note(_ENTRIES_KEY, list(self._entries))
        return Ruling(gates=gates, approved=Approved(intent))

    def affordable(self, instrument: InstrumentId, size: Notional, target: Notional) -> Gate:
        """Before anything is reserved: whether the venue's free balance carries such an entry at all."""
        usage = self._usage_for(instrument)
        gate = afford_gate(size, target, usage, self._limits, f"{self._quotes[instrument]} on {instrument.venue}")
        if gate.denied is not None:
            self.denials[gate.denied.reason] += 1
            self._note_shortage(instrument, size, usage)
        return gate

    def _note_shortage(self, instrument: InstrumentId, size: Notional, usage: RiskUsage) -> None:
        if usage.short_of is None and usage.free is not None:
            asset = self._quotes[instrument]
            self.pauses.fell_short(instrument.venue, asset, needed(size, self._limits), usage.free)

    def objection(self, intent: OrderIntent) -> Denied | None:
        """Why an approved entry must not leave any more (`LastWord`); None = it may."""
        denied = first_refusal((self._trading(intent.instrument.venue), self._venue(intent.instrument.venue)))
        if denied is not None:
            self.denials[denied.reason] += 1
        return denied

    def approve_reducing(self, intent: OrderIntent) -> Approved[OrderIntent]:
        """Stops, closes and flattening are always allowed, in every trading state; they can only reduce (INV-3)."""
        if not intent.reduce_only:
            raise ValueError(f"{intent.client_order_id} is not reduce-only")
        return Approved(intent)

    def reserved(self, instrument: InstrumentId) -> bool:
        """Whether an entry in this instrument is approved and not over."""
        return any(key == instrument for key, _ in self._reserved.values())

    def release(self, client_order_id: ClientOrderId) -> None:
        """The entry certainly did not happen, or its position now counts instead."""
        self._reserved.pop(client_order_id, None)

    def hold(self, order: Order) -> None:
        """Reserve for an entry that nobody approved in this run: from the journal, or believed absent too early."""
        price = order.intent.decision_price or order.intent.price
        if price is not None:
            self._reserved[order.client_order_id] = (order.instrument, Notional(order.intent.quantity * price))

    def on_events(self, events: Iterable[Event]) -> None:
        for event in events:
            if not isinstance(event, OrderChanged) or event.order.intent.leg is not Leg.ENTRY:
                continue
            if event.order.ended and not event.order.fills_missing:
                self.release(event.order.client_order_id)
            elif event.order.client_order_id not in self._reserved:
                self.hold(event.order)  # it was believed absent, and the venue has it after all

    def _on_outcome(self, intent: OrderIntent, outcome: Outcome) -> None:
        """An answer that was lost is no trouble of a venue whose stream has told of the order already (RSK-07)."""
        order = self._state.order(intent.client_order_id)
        told = order is not None and order.status not in UNACKNOWLEDGED
        self.pauses.on_outcome(intent, Accepted(reports=()) if told and isinstance(outcome, Unknown) else outcome)

    # figures

    def usage(self, venue: VenueName, asset: Asset, coin: str = "") -> RiskUsage:
        """Positions and exposure over all venues, of one base `coin` too; free balance of a quote coin on one venue.

        An instrument counts once: by the larger of its reservation and its position, so that a filling order is
        neither forgotten nor counted twice.
        """
        exposure: dict[InstrumentId, Decimal] = {}
        for position in self._state.positions():
            exposure[position.instrument] = exposure.get(position.instrument, ZERO) + position.notional
        for instrument, notional in self._reserved.values():
            exposure[instrument] = max(notional, exposure.get(instrument, ZERO))
        used = sum((n for i, n in exposure.items() if i.venue is venue and self._quotes.get(i) == asset), ZERO)
        age = self.balance_age(venue, asset)
        balance = self._state.balance(venue, asset)
        free = None
        if balance is not None and not balance.unusable and age is not None and age <= BALANCE_MAX_AGE_SECONDS:
            free = balance.wallet - used / self._limits.leverage
            if balance.available is not None:
                free = min(
                    free, balance.available - self._untold(venue, asset, balance.venue_time_ms) / self._limits.leverage
                )
        return RiskUsage(
            positions=len(exposure),
            exposure=sum(exposure.values(), ZERO),
            free=free,
            positions_on_venue=sum(1 for instrument in exposure if instrument.venue is venue),
            coin_exposure=sum((n for i, n in exposure.items() if _coin(i) == coin), ZERO) if coin else ZERO,
            entries_last_minute=self.entries_last_minute(),
            most_on_venue=self._most_positions(venue),
            balance_age=int(age or 0),
        )

    def _untold(self, venue: VenueName, asset: Asset, told_ms: int) -> Decimal:
        """Notional in this quote coin that the venue's own figure of `told_ms` (venue time) cannot contain yet: entries
        under way, and positions opened since."""
        since: dict[InstrumentId, Decimal] = {
            p.instrument: p.notional for p in self._state.positions() if p.opened_ms > told_ms
        }
        for instrument, notional in self._reserved.values():
            since[instrument] = max(notional, since.get(instrument, ZERO))
        return sum((n for i, n in since.items() if i.venue is venue and self._quotes.get(i) == asset), ZERO)

    def balance_age(self, venue: VenueName, asset: Asset) -> float | None:
        """Seconds since the venue last told it; None = it never did."""
        balance = self._state.balance(venue, asset)
        return None if balance is None else self._clock.monotonic() - balance.received

    def _usage_for(self, instrument: InstrumentId) -> RiskUsage:
        venue, asset = instrument.venue, self._quotes[instrument]
        usage = self.usage(venue, asset, _coin(instrument))
        return replace(usage, short_of=self.pauses.short_of(venue, asset, usage.free))

    def entries_last_minute(self) -> int:
        """Approved in the last 60 s; known after a restart only where MAX_ENTRIES_PER_MINUTE is set."""
        now = self._clock.now_ms()
        since = now - MINUTE_MS
        if self._entries and self._entries[-1] > now:  # the clock was set back: they went out now at the latest
            self._entries = deque(min(entry, now) for entry in self._entries)
        while self._entries and self._entries[0] <= since:
            self._entries.popleft()
        return len(self._entries)

    def _gates(self, intent: OrderIntent, notional: Notional, usage: RiskUsage) -> tuple[Gate, ...]:
        """In the order in which they are told: who stopped trading, what is unwell, what results say, what fits."""
        venue = intent.instrument.venue
        return (
            self._trading(venue),
            self._venue(venue),
            self._writable(),
            clock_gate(self.clocks.error_ms(venue), self._limits),
            self.pauses.gate(venue),
            *self.ledger.gates(intent),
            *check(notional, self._limits, usage),
        )

    def _trading(self, venue: VenueName) -> Gate:
        standing = self.states.standing(venue)
        if standing.state is TradingState.ACTIVE:
            return passed("trading_state", standing.state.value)
        where = "trading" if standing is self.states.standing() else f"trading on {venue}"
        detail = f"{where} is {standing.state}: {standing.reason}"
        state = standing.state.value
        return refused(
            "trading_state", Reason.NOT_ACTIVE, detail, value=state, limit="active", state=state, author=standing.author
        )

    def _venue(self, venue: VenueName) -> Gate:
        if (why := self.venue_off_reason(venue)) is None:
            return passed("venue", "on")
        return refused("venue", Reason.VENUE_OFF, why, value="off", limit="on", venue=venue)

    @property
    def journal_writable(self) -> bool:
        """Entries wait for it."""
        return self._journal.writable

    def _writable(self) -> Gate:
        if self.journal_writable:
            return passed("journal", "writable")
        what = "the journal cannot be written; no entry without it"
        return refused("journal", Reason.JOURNAL_UNWRITABLE, what, value="unwritable", limit="writable")

    def _note(self, key: str, value: object) -> None:
        self._journal.append_nowait([StateRecord(key=key, value=json.dumps(value), time_ms=self._clock.now_ms())])


def _coin(instrument: InstrumentId) -> str:
    """BTC of BTC/USDT:USDT and of BTC/USDC:USDC."""
    return instrument.symbol.partition("/")[0]
