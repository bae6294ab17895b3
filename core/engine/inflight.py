"""Orders of unknown fate: the venue is asked, by client order id, until it answers. Nothing is sent again here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from core.clock import Clock
from core.domain.alerts import AlertKind
from core.domain.ids import ClientOrderId, InstrumentId, Leg, VenueName
from core.domain.money import plain
from core.domain.order import UNACKNOWLEDGED, Order, OrderIntent, OrderStatus
from core.domain.reports import FillReport
from core.engine.order_dispatch import NOT_OPEN
from core.engine.order_manager import OrderManager
from core.engine.owned_tasks import OwnedTasks, TaskOwner
from core.engine.ports import Level, NotFound, Notifier, VenueClient
from core.errors import Unreachable, VenueError

log = structlog.get_logger(__name__)

ASK_AFTER_SECONDS = (0.25, 0.75, 1.5, 3.0, 4.5, 5.0, 10.0)
"""Growing intervals between questions; the last one repeats. The stream usually answers before the first."""
CONSISTENCY_SECONDS = 10.0
"""A venue may deny an order it has just taken for this long (Binance: -2013 right after POST; REC-07)."""
TAKEN_CONSISTENCY_SECONDS = 60.0
"""For an entry that was acknowledged: a look-up that denies it is likelier to be behind than to be right, and another
entry would take its slot. What can only reduce need not wait for so long."""
STOP_CONSISTENCY_SECONDS = 1.0
"""For a stop. Waiting longer would cost the position at its deadline, and one that turns up later harms nobody: it can
only reduce, and the guardian cancels what is too much."""
FILLS_LOOK_BACK_MS = 60_000
ALARM_AFTER_QUESTIONS = 5
"""10 s after the order was sent (POS-03)."""


class InflightResolver:
    """One task per unresolved order, for as long as it is unresolved."""

    def __init__(
        self, *, orders: OrderManager, clients: Mapping[VenueName, VenueClient], clock: Clock, notifier: Notifier
    ) -> None:
        self._orders = orders
        self._clients = clients
        self._clock = clock
        self._notifier = notifier
        self._watched: set[ClientOrderId] = set()
        self._tasks: TaskOwner | None = None

    @property
    def unresolved(self) -> frozenset[ClientOrderId]:
        return frozenset(self._watched)

    async def run(self) -> None:
        async with OwnedTasks() as tasks:
            self._tasks = tasks
            self._watched.clear()  # of a run before this one nobody asks any more, not even for one that never began
            try:
                await asyncio.Event().wait()
            finally:
                self._tasks = None

    def watch(self, order: Order, cause: str) -> None:
        """Resolve this order; a second call for the same order changes nothing."""
        if self._tasks is None or order.client_order_id in self._watched:
            return
        self._watched.add(order.client_order_id)
        self._tasks.create_task(self._resolve(order.intent, cause), name=f"inflight/{order.client_order_id}")

    async def _resolve(self, intent: OrderIntent, cause: str) -> None:
        since, started_ms = self._clock.monotonic(), self._clock.now_ms()
        not_found = questions = 0
        told = False
        denied_for = STOP_CONSISTENCY_SECONDS if intent.leg is Leg.STOP else CONSISTENCY_SECONDS
        try:
            while True:
                pause = ASK_AFTER_SECONDS[min(questions, len(ASK_AFTER_SECONDS) - 1)]
                if await self._orders.wait(intent.instrument, lambda: self._settled(intent), pause):
                    return
                questions += 1
                log.info("inflight.asking", client_order_id=intent.client_order_id, cause=cause, question=questions)
                if questions == ALARM_AFTER_QUESTIONS:
                    text = f"{intent.instrument}: the outcome of {intent.leg} {intent.client_order_id} is still unknown"
                    told = True
                    self._notifier.notify(Level.CRITICAL, text, kind=AlertKind.UNKNOWN_ORDER)
                try:
                    if await self._ask(intent):
                        not_found += 1
                    else:
                        not_found, since = 0, self._clock.monotonic()
                    denied_s = self._clock.monotonic() - since
                    if not_found >= 2 and denied_s >= denied_for:
                        await self._conclude_absent(intent, started_ms, denied_s)
                except VenueError as error:
                    log.warning("inflight.no_answer", client_order_id=intent.client_order_id, error=str(error))
        finally:
            self._watched.discard(intent.client_order_id)
            if told and self._settled(intent):
                self._say_known(intent)

    def _say_known(self, intent: OrderIntent) -> None:
        order = self._orders.state.order(intent.client_order_id)
        became = "gone" if order is None else f"{order.status.value}, {plain(order.filled)} filled"
        text = f"{intent.instrument}: {intent.leg} {intent.client_order_id} is known again: {became}"
        self._notifier.notify(Level.INFO, text, kind=AlertKind.UNKNOWN_ORDER)

    def _settled(self, intent: OrderIntent) -> bool:
        order = self._orders.state.order(intent.client_order_id)
        return order is None or not order.undecided

    async def _ask(self, intent: OrderIntent) -> bool:
        """Whether the venue says that there is no such order; if not, it told us something."""
        if (client := self._clients.get(intent.instrument.venue)) is None:
            raise Unreachable(intent.instrument.venue, NOT_OPEN)
        answer = await client.query_order(intent)
        if isinstance(answer, NotFound):
            return True
        await self._orders.take([answer])
        await self._orders.drained()
        order = self._orders.state.order(intent.client_order_id)
        if order is not None and order.fills_missing:
            await self._fetch_fills(client, intent.instrument, order.venue_time_ms)
        return False

    async def _fetch_fills(self, client: VenueClient, instrument: InstrumentId, around_ms: int) -> Sequence[FillReport]:
        fills = await client.fills(instrument, around_ms - FILLS_LOOK_BACK_MS)
        await self._orders.take(fills)
        await self._orders.drained()
        return fills

    async def _conclude_absent(self, intent: OrderIntent, sent_ms: int, denied_s: float) -> None:
        """Only when trades agree: client ids are unique among open orders only, so a closed one can hide (ORD-03).

        `sent_ms`: UTC ms near the sending. A venue may tell trades without client ids; one since then on this side that
        belongs to no order we know may be this order's, so nothing is concluded until the venue told whose it is. One
        that the venue took and then forgot is over: it ended without a word, and what it traded is among the trades.
        """
        client = self._clients[intent.instrument.venue]
        order = self._orders.state.order(intent.client_order_id)
        if order is not None and order.venue_time_ms:
            sent_ms = min(sent_ms, order.venue_time_ms)
        fills = await self._fetch_fills(client, intent.instrument, sent_ms)
        order = self._orders.state.order(intent.client_order_id)
        if order is None or not order.undecided or order.fills_missing:
            return
        taken = order.status not in UNACKNOWLEDGED
        if taken and not intent.reduce_only and denied_s < TAKEN_CONSISTENCY_SECONDS:
            return
        named = taken and order.venue_order_id  # then no trade of it is a stranger's
        strangers = {} if named else {f.venue_order_id: f for f in fills if self._might_be(f, intent)}
        for venue_order_id, fill in strangers.items():
            owner = await client.client_id_of(intent.instrument, venue_order_id)
            if owner in (NotFound.NOT_FOUND, intent.client_order_id):
                log.warning("inflight.trade_of_nobody", client_order_id=intent.client_order_id, trade_id=fill.trade_id)
                return
        over = OrderStatus.CANCELED if taken else OrderStatus.ABSENT
        log.warning("inflight.absent", client_order_id=intent.client_order_id, concluded=over.value)
        await self._orders.take([self._orders.conclusion(intent, over, "the venue has no such order")])

    def _might_be(self, fill: FillReport, intent: OrderIntent) -> bool:
        """Whether the trade is of this side, and of no order we know."""
        if fill.side is not intent.side:
            return False
        state = self._orders.state
        by_client_id = bool(fill.client_order_id) and state.order(fill.client_order_id) is not None
        return not by_client_id and state.order_by_venue_id(fill.instrument, fill.venue_order_id) is None
