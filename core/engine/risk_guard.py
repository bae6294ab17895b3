"""RiskGuard: the only maker of `Approved`. Check and reserve are one synchronous step, so nothing can over-allocate."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Generic, TypeVar

import structlog

from core.clock import Clock
from core.domain.events import Event, OrderChanged
from core.domain.gate import Gate, first_refusal, passed, refused
from core.domain.ids import Asset, ClientOrderId, InstrumentId, Leg, VenueName
from core.domain.money import ZERO, Notional
from core.domain.order import Order, OrderIntent
from core.domain.risk import RiskLimits, RiskUsage, TradingState, check
from core.domain.verdict import Denied, Reason
from core.engine.ports import Journal, StateRecord
from core.engine.state import StateView

log = structlog.get_logger(__name__)

T = TypeVar("T")
BALANCE_MAX_AGE_SECONDS = 60.0
"""An older balance refuses entries (RSK-02)."""
_STATE_KEY = "trading_state"


@dataclass(frozen=True, slots=True)
class Approved(Generic[T]):
    """Permission as a type: `OrderManager.submit` takes nothing else, and only this module makes one."""

    value: T


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The answer to one entry: every gate that was asked, and the permission when all of them let it through."""

    gates: tuple[Gate, ...]
    approved: Approved[OrderIntent] | None = None

    @property
    def denied(self) -> Denied | None:
        return first_refusal(self.gates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The global trading state, why, and who set it."""

    state: TradingState
    reason: str
    author: str


_STARTING = Standing(state=TradingState.HALTED, reason="starting", author="breakwater")


class RiskGuard:
    """Owns reservations and trading state. Money is in quote coin; USDT and USDC count alike."""

    def __init__(
        self,
        *,
        state: StateView,
        limits: RiskLimits,
        quotes: Mapping[InstrumentId, Asset],
        journal: Journal,
        clock: Clock,
    ) -> None:
        self._state = state
        self._limits = limits
        self._quotes = quotes
        self._journal = journal
        self._clock = clock
        self._reserved: dict[ClientOrderId, tuple[InstrumentId, Notional]] = {}
        self._standing = _STARTING
        self._venues_off: dict[VenueName, str] = {}
        self.denials: Counter[Reason] = Counter()

    # trading state

    @property
    def standing(self) -> Standing:
        return self._standing

    def venue_off_reason(self, venue: VenueName) -> str | None:
        return self._venues_off.get(venue)

    def set_state(self, state: TradingState, *, reason: str, author: str) -> None:
        """Persisted with reason and author (DESIGN §3.15)."""
        if state is self._standing.state and reason == self._standing.reason:
            return
        self._standing = Standing(state=state, reason=reason, author=author)
        expected = state is TradingState.ACTIVE or (author == "breakwater" and state is TradingState.REDUCING)
        say = log.info if expected else log.warning
        say("risk.trading_state", state=state.value, reason=reason, author=author)
        value = json.dumps({"state": state.value, "reason": reason, "author": author})
        self._journal.append_nowait([StateRecord(key=_STATE_KEY, value=value, time_ms=self._clock.now_ms())])

    def restore(self, values: Mapping[str, str]) -> Standing | None:
        """What an operator had set before the restart; None when nothing holds."""
        if (text := values.get(_STATE_KEY)) is None:
            return None
        held = json.loads(text)
        if held["author"] == "breakwater" or held["state"] == TradingState.ACTIVE:
            return None
        return Standing(state=TradingState(held["state"]), reason=held["reason"], author=held["author"])

    def restrict(self, reason: str, author: str) -> None:
        """No entries until somebody resumes; loosens nothing stricter. Holds when met while starting."""
        if self._standing.state is TradingState.ACTIVE or self._standing == _STARTING:
            self.set_state(TradingState.REDUCING, reason=reason, author=author)

    def halt(self, reason: str) -> None:
        """An invariant broke: no entries, no discretionary exits; protection goes on."""
        self.set_state(TradingState.HALTED, reason=reason, author="breakwater")

    def set_venue(self, venue: VenueName, off_because: str | None) -> None:
        """Switch entries on one venue off (with the reason) or on again (None)."""
        if off_because is None:
            self._venues_off.pop(venue, None)
        else:
            self._venues_off[venue] = off_because

    # entries

    def approve_entry(self, intent: OrderIntent, notional: Notional) -> Ruling:
        """Check every limit and reserve, with no await between (VAL-14). The reservation ends with the order."""
        gates = self._gates(intent, notional)
        if (denied := first_refusal(gates)) is not None:
            self.denials[denied.reason] += 1
            return Ruling(gates=gates)
        self._reserved[intent.client_order_id] = (intent.instrument, notional)
        return Ruling(gates=gates, approved=Approved(intent))

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

    # figures

    def usage(self, venue: VenueName, asset: Asset) -> RiskUsage:
        """Positions and exposure over all venues; free balance of one quote coin on one venue.

        An instrument counts once: by the larger of its reservation and its position, so that a filling order is
        neither forgotten nor counted twice.
        """
        exposure: dict[InstrumentId, Decimal] = {}
        for position in self._state.positions():
            exposure[position.instrument] = exposure.get(position.instrument, ZERO) + position.notional
        for instrument, notional in self._reserved.values():
            exposure[instrument] = max(notional, exposure.get(instrument, ZERO))
        used = sum((n for i, n in exposure.items() if i.venue is venue and self._quotes.get(i) == asset), ZERO)
        balance = self._state.balance(venue, asset)
        free = None
        if balance is not None and self._clock.monotonic() - balance.received <= BALANCE_MAX_AGE_SECONDS:
            free = balance.wallet - used / self._limits.leverage
        return RiskUsage(positions=len(exposure), exposure=sum(exposure.values(), ZERO), free=free)

    def _gates(self, intent: OrderIntent, notional: Notional) -> tuple[Gate, ...]:
        venue = intent.instrument.venue
        usage = self.usage(venue, self._quotes[intent.instrument])
        return (self._trading(), self._venue(venue), self._writable(), *check(notional, self._limits, usage))

    def _trading(self) -> Gate:
        standing = self._standing
        if standing.state is TradingState.ACTIVE:
            return passed("trading_state", standing.state.value)
        detail = f"trading is {standing.state}: {standing.reason}"
        state = standing.state.value
        return refused(
            "trading_state", Reason.NOT_ACTIVE, detail, value=state, limit="active", state=state, author=standing.author
        )

    def _venue(self, venue: VenueName) -> Gate:
        if (why := self._venues_off.get(venue)) is None:
            return passed("venue", "on")
        return refused("venue", Reason.VENUE_OFF, why, value="off", limit="on", venue=venue)

    def _writable(self) -> Gate:
        if self._journal.writable:
            return passed("journal", "writable")
        what = "the journal cannot be written; no entry without it"
        return refused("journal", Reason.JOURNAL_UNWRITABLE, what, value="unwritable", limit="writable")
