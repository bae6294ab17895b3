"""OrderDispatch: commands out. Registered, durable, then on the wire, each to its outcome (DESIGN §3.1, INV-2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import structlog
from msgspec.structs import replace

from core.clock import Clock
from core.domain.ids import ClientOrderId, InstrumentId, Leg, VenueName
from core.domain.money import ZERO, Price, Quantity
from core.domain.order import Order, OrderIntent, OrderStatus
from core.domain.reports import OrderStatusReport, Report, Source
from core.engine.bookkeeping import Bookkeeper
from core.engine.first_step import Start, at_once, in_its_turn
from core.engine.last_word import LastWord
from core.engine.owned_tasks import TaskOwner
from core.engine.ports import About, Accepted, Departure, NotFound, Outcome, Rejected, Unknown, VenueClient
from core.engine.records import IntentRecord
from core.engine.risk_guard import Approved
from core.engine.state import REMEMBERED_ENDED_ORDERS, StateView
from core.errors import Refused, VenueError

log = structlog.get_logger(__name__)

OutcomeListener = Callable[[OrderIntent, Outcome], None]
SentListener = Callable[[OrderIntent], None]
NOT_OPEN = "the venue has not been opened yet"


class Reports(Protocol):
    """The door through which what a command met becomes state (the order manager)."""

    @property
    def counts(self) -> Counter[str]: ...
    async def take(self, reports: Sequence[Report]) -> None: ...
    async def drained(self) -> None: ...
    def apply(self, reports: Sequence[Report]) -> None: ...
    def register(self, order: Order) -> None: ...
    def unregister(self, client_order_id: ClientOrderId) -> None: ...
    def resolve(self, order: Order, cause: str) -> None: ...
    def broken(self, why: str) -> None: ...
    def doubt(self, instrument: InstrumentId, what: str) -> None: ...


class OrderDispatch:
    def __init__(
        self,
        *,
        clients: Mapping[VenueName, VenueClient],
        state: StateView,
        books: Bookkeeper,
        clock: Clock,
        reports: Reports,
        journal_wait_seconds: float,
    ) -> None:
        self._clients = clients
        self._state = state
        self._books = books
        self._clock = clock
        self._reports = reports
        self._journal_wait = journal_wait_seconds
        self._rejections: dict[ClientOrderId, Rejected] = {}
        self._unwritten: dict[ClientOrderId, bool] = {}
        """Orders whose row is not known to be on disk, and whether the journal has been given it."""
        self._outcomes: list[OutcomeListener] = []
        self._sent: list[SentListener] = []
        self.last_word = LastWord()

    def on_outcome(self, listener: OutcomeListener) -> None:
        self._outcomes.append(listener)

    def on_sent(self, listener: SentListener) -> None:
        self._sent.append(listener)

    def rejection(self, client_order_id: ClientOrderId) -> Rejected | None:
        return self._rejections.get(client_order_id)

    async def submit(
        self,
        tasks: TaskOwner,
        approved: Sequence[Approved[OrderIntent]],
        stops: Mapping[ClientOrderId, Approved[OrderIntent]],
        *,
        tightening: bool = False,
    ) -> None:
        """See `OrderManager.submit`; `tasks` own the sending."""
        new = {a.value.client_order_id: a.value for a in approved if self._state.order(a.value.client_order_id) is None}
        reducing = [Departure(intent=intent, tightening=tightening) for intent in new.values() if intent.reduce_only]
        entries = [
            self._departure(intent, stops.get(intent.client_order_id))
            for intent in new.values()
            if not intent.reduce_only
        ]
        if reducing and all(self._foretold(departure.intent) for departure in reducing):
            self._start_foretold(tasks, reducing)
        elif reducing:  # first: an entry that cannot be journaled must not hold them back
            await self._start(tasks, reducing, self._journal_wait, at_once)
        if entries:
            await self._start(tasks, entries, None, in_its_turn)

    def _foretold(self, intent: OrderIntent) -> bool:
        stops = reversed(self._state.orders_of(intent.position_id, Leg.STOP))
        return any(intent.foretold_by(stop.intent) and stop.client_order_id not in self._unwritten for stop in stops)

    def _departure(self, intent: OrderIntent, stop: Approved[OrderIntent] | None) -> Departure:
        objection = partial(self.last_word.on, intent)
        return Departure(intent=intent, stop=None if stop is None else stop.value, objection=objection)

    async def _start(
        self, tasks: TaskOwner, departures: Sequence[Departure], journal_wait: float | None, start: Start
    ) -> None:
        intents = self._registered(departures)
        try:
            await self._write(intents, journal_wait)
        except BaseException:  # not durable, or cancelled while waiting: certainly not sent, so it never was an order
            for intent in intents:
                self._reports.unregister(intent.client_order_id)
                self._unwritten.pop(intent.client_order_id, None)
            raise
        self._leave(tasks, departures, start)

    def _start_foretold(self, tasks: TaskOwner, departures: Sequence[Departure]) -> None:
        """What INV-2 wants on disk is there: the row is written while the request travels, and a restart in between
        knows the order by its name (`core/engine/attempts.py`)."""
        intents = self._registered(departures)
        self._leave(tasks, departures, at_once)
        writing = self._write(intents, self._journal_wait)
        tasks.create_task(writing, name=f"order-manager/journal/{intents[0].client_order_id}")

    def _registered(self, departures: Sequence[Departure]) -> list[OrderIntent]:
        intents = [intent for departure in departures for intent in _intents(departure)]
        for intent in intents:
            self._reports.register(Order(intent=intent))
            self._unwritten[intent.client_order_id] = False
        return intents

    async def _write(self, intents: Sequence[OrderIntent], journal_wait: float | None) -> None:
        now = self._clock.now_ms()
        self._unwritten.update((intent.client_order_id, True) for intent in intents)
        given = [name for name, given in self._unwritten.items() if given]
        if await self._books.durable([IntentRecord(intent=intent, time_ms=now) for intent in intents], journal_wait):
            for name in given:  # and what it was given before, which it writes before
                self._unwritten.pop(name, None)
        while len(self._unwritten) > REMEMBERED_ENDED_ORDERS:
            self._unwritten.pop(next(iter(self._unwritten)))

    def _leave(self, tasks: TaskOwner, departures: Sequence[Departure], start: Start) -> None:
        for venue, group in self._leaving(departures).items():
            for together in _batches(group, self._clients[venue].traits.entries_per_request):
                name = f"order-manager/submit/{together[0].intent.client_order_id}"
                start(tasks, self._send(venue, together), name)

    def _leaving(self, departures: Sequence[Departure]) -> dict[VenueName, list[Departure]]:
        """Those that go out now, by venue; of the others it is said why they do not."""
        leaving: dict[VenueName, list[Departure]] = {}
        for departure in departures:
            if (why := self.last_word.on(departure.intent)) is not None:
                self._reports.apply([self._never_sent(departure.intent, why)])
                continue
            if departure.intent.instrument.venue not in self._clients:
                self._keep_here(departure)
                continue
            for intent in _intents(departure):
                self._books.sent(intent)
                self._mark_in_flight(intent)
            for listener in self._sent:
                listener(departure.intent)
            leaving.setdefault(departure.intent.instrument.venue, []).append(departure)
        return leaving

    def _keep_here(self, departure: Departure) -> None:
        """Its venue was late at the start and has not been opened: nothing leaves, and who wanted it tries again."""
        for intent in _intents(departure):
            self._remember_rejection(intent, Rejected(code="", detail=NOT_OPEN, about=About.UNREACHED))
            self._reports.apply([self.conclusion(intent, OrderStatus.REJECTED, NOT_OPEN)])

    def _mark_in_flight(self, intent: OrderIntent) -> None:
        order = self._state.order(intent.client_order_id)
        if order is not None and order.status is OrderStatus.INITIALIZED:
            self._reports.register(Order(intent=intent, status=OrderStatus.IN_FLIGHT))

    async def _send(self, venue: VenueName, departures: Sequence[Departure]) -> None:
        outcomes: Sequence[Outcome]
        try:
            client = self._clients[venue]
            if len(departures) == 1:
                outcomes = [await client.submit(departures[0])]
            else:
                outcomes = await client.submit_together(departures)
                if len(outcomes) != len(departures):
                    raise ValueError(f"{len(outcomes)} outcomes for {len(departures)} orders")
        except Refused as error:  # a contract that is not listed: nothing has left
            outcomes = [Rejected(code=error.code, detail=error.what)] * len(departures)
        except Exception as error:  # swallow: whatever broke, the order may be at the venue: unknown, and trading halts
            log.exception("orders.submit_failed", client_order_id=departures[0].intent.client_order_id)
            self._reports.broken(f"sending an order failed inside the program: {error!r}")
            outcomes = [Unknown(cause=repr(error))] * len(departures)
        for departure, outcome in zip(departures, outcomes, strict=True):
            await self._settle(departure, outcome)

    async def _settle(self, departure: Departure, outcome: Outcome) -> None:
        intent, reports = departure.intent, self._reports
        if isinstance(outcome, Unknown):
            await reports.drained()  # what the stream has told of it by now counts
        if not (isinstance(outcome, Rejected) and outcome.about is About.WITHHELD):  # the venue has not been asked
            for listener in self._outcomes:
                listener(intent, outcome)
        match outcome:
            case Accepted(reports=told):
                await reports.take(told)
                await reports.drained()
                self._ask_if_untold(intent)
            case Rejected(about=About.WITHHELD):
                await reports.take([self._never_sent(intent, outcome.detail)])
            case Rejected():
                self._remember_rejection(intent, outcome)
                log.warning(
                    "orders.rejected", client_order_id=intent.client_order_id, code=outcome.code, why=outcome.detail
                )
                await reports.take([self.conclusion(intent, OrderStatus.REJECTED, f"{outcome.code} {outcome.detail}")])
            case Unknown(cause=cause):
                reports.counts["unknown_outcome"] += 1
                log.warning("orders.outcome_unknown", client_order_id=intent.client_order_id, cause=cause)
                if (order := self._state.order(intent.client_order_id)) is not None:
                    reports.resolve(order, cause)

    async def cancel(self, order: Order) -> None:
        """See `OrderManager.cancel`."""
        if (client := self._clients.get(order.instrument.venue)) is None:
            log.info("orders.cancel_unclear", client_order_id=order.client_order_id, outcome=NOT_OPEN)
            return
        outcome = await client.cancel(order)
        if isinstance(outcome, Accepted):
            await self._reports.take(outcome.reports)
        else:
            log.info("orders.cancel_unclear", client_order_id=order.client_order_id, outcome=str(outcome))
            await self._look_up(client, order)
        await self._reports.drained()

    async def amend_stop(
        self, order: Order, *, trigger_price: Price, quantity: Quantity, tightening: bool
    ) -> Rejected | None:
        """See `OrderManager.amend_stop`."""
        client = self._clients[order.instrument.venue]
        self._books.moving(order, trigger_price, quantity)
        outcome = await client.amend_stop(order, trigger_price=trigger_price, quantity=quantity, tightening=tightening)
        if isinstance(outcome, Accepted):
            await self._reports.take(outcome.reports)
        else:
            log.warning("orders.amend_unclear", client_order_id=order.client_order_id, outcome=str(outcome))
            await self._look_up(client, order)
        await self._reports.drained()
        return outcome if isinstance(outcome, Rejected) else None

    async def _look_up(self, client: VenueClient, order: Order) -> None:
        try:
            answer = await client.query_order(order.intent)
        except VenueError as error:
            log.warning("orders.state_unknown", client_order_id=order.client_order_id, error=str(error))
            return
        if not isinstance(answer, NotFound):
            await self._reports.take([answer])

    def _never_sent(self, intent: OrderIntent, why: str) -> OrderStatusReport:
        """An entry that must not leave any more has ended without having been an order of the venue."""
        log.warning("orders.withheld", client_order_id=intent.client_order_id, why=why)
        return self.conclusion(intent, OrderStatus.CANCELED, f"never sent: {why}")

    def _ask_if_untold(self, intent: OrderIntent) -> None:
        """An answer without a status is no status: find it out, never conclude from it (ORD-05). Nor is "taken" one of
        an order that cannot rest: the word of its end may be lost on the stream."""
        order = self._state.order(intent.client_order_id)
        if order is not None and order.undecided:
            self._reports.resolve(order, "the venue took it without telling its state")

    def _remember_rejection(self, intent: OrderIntent, rejection: Rejected) -> None:
        self._rejections[intent.client_order_id] = replace(rejection, time_ms=self._clock.now_ms())
        if len(self._rejections) > REMEMBERED_ENDED_ORDERS:
            self._rejections.pop(next(iter(self._rejections)))
        if rejection.nothing_to_reduce:  # our position may be a ghost: only a reading of the venue can tell (ORD-08)
            self._reports.doubt(intent.instrument, f"{intent.client_order_id}: the venue has nothing to reduce")

    def conclusion(self, intent: OrderIntent, status: OrderStatus, detail: str) -> OrderStatusReport:
        """See `OrderManager.conclusion`."""
        order = self._state.order(intent.client_order_id)
        return OrderStatusReport(
            instrument=intent.instrument,
            client_order_id=intent.client_order_id,
            venue_order_id=None,
            status=status,
            side=intent.side,
            quantity=intent.quantity,
            filled=order.reported_filled if order else Quantity(ZERO),
            average_price=None,
            trigger_price=intent.trigger_price,
            reduce_only=intent.reduce_only,
            conditional=intent.conditional,
            venue_time_ms=0,
            source=Source.REST,
            detail=detail,
        )


def _intents(departure: Departure) -> list[OrderIntent]:
    return [departure.intent] if departure.stop is None else [departure.intent, departure.stop]


def _batches(departures: Sequence[Departure], size: int) -> list[Sequence[Departure]]:
    """Orders that leave together go in as few requests as the venue has; a single one is a request of its own."""
    return [departures[start : start + size] for start in range(0, len(departures), size)]
