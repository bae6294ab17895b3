"""The one close pipeline (INV-1): reduce-only, marked before any await, repeated until the position is gone.

The stop rests until the position is gone: only then its guardian cancels it, so that nothing is ever uncovered while a
close is under way. A part of a position is closed by one order; the guardian makes the stop smaller after its fill.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from types import MappingProxyType

import structlog
from msgspec import Struct

from core.clock import Clock
from core.domain.alerts import AlertKind
from core.domain.ids import CLOSES_ALL, ClientOrderId, InstrumentId, Leg, PositionId, VenueName, client_order_id
from core.domain.instrument import Instrument
from core.domain.money import ZERO, Price, Quantity, plain
from core.domain.order import Order, OrderIntent, OrderType
from core.domain.position import Position, PositionKey
from core.domain.protection import is_dust
from core.engine.attempts import Attempts
from core.engine.holdings import Holding
from core.engine.order_manager import OrderManager
from core.engine.ports import Level, Notifier
from core.engine.risk_guard import RiskGuard
from core.engine.stale_rules import Renew, nobody_renews, renewed, stale

log = structlog.get_logger(__name__)

QUICK_ATTEMPTS = 2
"""Attempts before people are called; after them it is tried again at `SLOW_RETRY_SECONDS`, for as long as it takes."""
ANSWER_SECONDS = 3.0
SLOW_RETRY_SECONDS = 5.0
MOST_SLOW_PAUSES = 6
"""The pause grows by itself so many times: half a minute at most."""
VENUE_AGREES_SECONDS = 2.0
"""How long the venue's own figure may lag behind the fills that closed a position, before it is read (POS-02)."""
TRIES_A_STEP = 100
"""Numbers of one step of a take profit: its orders are `step * 100` and those after it."""
UNNOTED_REASON = "closed by an earlier run; why was not written down"
NO_FIGURES: Mapping[str, str] = MappingProxyType({})


class Part(Struct, frozen=True, kw_only=True):
    """What one step of a take profit closes (0 first), base units; at `limit` or not at all, None = at market."""

    step: int
    quantity: Quantity
    limit: Price | None = None


class Closer:
    """Flattens positions at market. A second close of the same position joins the first one."""

    def __init__(
        self,
        *,
        accounts: Mapping[VenueName, str],
        orders: OrderManager,
        risk: RiskGuard,
        clock: Clock,
        notifier: Notifier,
        mark: Callable[[InstrumentId], Decimal | None],
        instruments: Mapping[InstrumentId, Instrument],
        explain: Callable[[ClientOrderId, Mapping[str, str]], None] = lambda _id, _figures: None,
    ) -> None:
        """`mark` is the price a close is decided at; it only goes into the books, like what `explain` is given."""
        self._accounts = accounts
        self._orders = orders
        self._risk = risk
        self._clock = clock
        self._notifier = notifier
        self._mark = mark
        self._instruments = instruments
        self._explain = explain
        self._renew_rules: Renew = nobody_renews
        self._dust: dict[PositionKey, Quantity] = {}
        self._closing: dict[PositionKey, asyncio.Event] = {}
        self._attempts = {leg: Attempts(leg) for leg in CLOSES_ALL}

    def on_stale_rules(self, renew: Renew) -> None:
        """Who loads a venue's trading rules anew when it refused a close by others."""
        self._renew_rules = renew

    def closing(self, key: PositionKey) -> bool:
        return key in self._closing

    def given_up(self, position: Position) -> bool:
        """Whether this is dust the venue has refused to close: it is listed, not tried again, not alarmed (VAL-19)."""
        dust = self._dust.get(position.key)
        return dust is not None and dust == position.quantity

    async def flatten(
        self,
        key: PositionKey,
        why: str,
        *,
        of: PositionId | None = None,
        leg: Leg = Leg.FLATTEN,
        figures: Mapping[str, str] = NO_FIGURES,
        begun: Callable[[], None] = lambda: None,
    ) -> None:
        """Return when nothing is left of the position `of` (None = the one that is open now), by our fills or by
        reconciliation, or only dust the venue will not take; one that is opened after it is left alone. `figures` are
        kept with the order that closes it; `begun` is called once that is on its way, to tell people."""
        if (running := self._closing.get(key)) is not None:
            await running.wait()
            return
        self._closing[key] = asyncio.Event()
        try:
            await self._until_flat(key, of, why, leg, figures, begun)
        finally:
            self._closing.pop(key).set()
        await self._venue_agrees(key)

    async def take_part(self, position: Position, part: Part, why: str, figures: Mapping[str, str]) -> bool:
        """Close it by one order; True when something was filled, or may be. The order's number is its memory: a step
        that has one is not ordered again, also after a restart (TRL-12)."""
        held = self._orders.state.position(position.key)
        if held is None or held.id != position.id or part.quantity >= held.quantity:
            return False  # meanwhile something else closed it, or most of it
        attempt = self._next_try(position, part.step)
        intent = self._intent(position, Leg.TAKE_PROFIT, attempt, part.quantity, why, limit=part.limit)
        self._explain(intent.client_order_id, figures)
        await self._orders.submit([self._risk.approve_reducing(intent)])
        await self._orders.wait(position.instrument, partial(self._decided, intent, position.key), ANSWER_SECONDS)
        order = self._orders.state.order(intent.client_order_id)
        return order is None or _counts(order)

    def unnoted(self, held: Sequence[Holding]) -> list[OrderIntent]:
        """Closes of them that may have left, or still be on their way, although no file knows (`Attempts`)."""
        return [
            self._intent(holding, leg, attempt, holding.quantity, UNNOTED_REASON)
            for leg, attempts in self._attempts.items()
            for holding, attempt in attempts.unnoted(held)
        ]

    def steps_taken(self, position: Position) -> int:
        """How many steps of its take profit were ordered: the highest with an order that traded, or still may."""
        taken = [order.intent.attempt // TRIES_A_STEP + 1 for order in self._parts(position) if _counts(order)]
        return max(taken, default=0)

    def tries(self, position: Position, step: int) -> int:
        """Orders of this step so far."""
        return self._next_try(position, step) - step * TRIES_A_STEP

    def _next_try(self, position: Position, step: int) -> int:
        mine = [o.intent.attempt for o in self._parts(position) if o.intent.attempt // TRIES_A_STEP == step]
        return max(mine, default=step * TRIES_A_STEP - 1) + 1

    def _parts(self, position: Position) -> list[Order]:
        return self._orders.state.orders_of(position.id, Leg.TAKE_PROFIT)

    async def _venue_agrees(self, key: PositionKey) -> None:
        """The venue's own word that it is flat, or it is read (INV-5)."""
        if self._orders.state.position(key) is not None:
            return
        if not await self._orders.wait(key.instrument, partial(self._venue_is_flat, key), VENUE_AGREES_SECONDS):
            self._orders.doubt(key.instrument, f"{key} is closed by its fills, and the venue still shows a position")

    def _venue_is_flat(self, key: PositionKey) -> bool:
        if self._orders.state.position(key) is not None:
            return True  # the next one is there already; the venue's figure is about that
        told = (report for report in self._orders.state.venue_positions() if report.instrument == key.instrument)
        return not any(report.quantity * key.side.sign > ZERO for report in told)

    async def _until_flat(
        self,
        key: PositionKey,
        of: PositionId | None,
        why: str,
        leg: Leg,
        figures: Mapping[str, str],
        begun: Callable[[], None],
    ) -> None:
        tries, about, held = 0, of, None
        while (position := self._orders.state.position(key)) is not None:
            about = about or position.id
            if position.id != about:
                break  # that one is gone, and another has been opened since
            if held is not None and position.quantity < held:
                tries = min(tries, QUICK_ATTEMPTS - 1)  # it is being closed, in more than one order
            held = position.quantity
            tries += 1
            if tries == QUICK_ATTEMPTS + 1:
                text = f"{key}: cannot be closed, still trying ({why}); look at the venue"
                self._notifier.notify(Level.CRITICAL, text, kind=AlertKind.UNCLOSABLE, begins=about)
            slow = tries > QUICK_ATTEMPTS
            pause = SLOW_RETRY_SECONDS * min(tries - QUICK_ATTEMPTS, MOST_SLOW_PAUSES)
            if slow and await self._orders.wait(key.instrument, partial(self._flat, key), pause):
                break
            order = self.under_way(position) or await self._send(position, leg, why, figures)
            if tries == 1:
                await asyncio.sleep(0)  # the order leaves before anybody is told of it
                log.warning("close.started", position=str(key), leg=leg.value, why=why)
                begun()
            await self._orders.wait(key.instrument, partial(self._decided, order, key), ANSWER_SECONDS)
            if self._refused_dust(order, position):
                return
            await self._before_the_next(order, key)
        log.info("close.done", position=str(key), tries=tries)
        if tries > QUICK_ATTEMPTS:
            text = f"{key}: closed after {tries} attempts"
            self._notifier.notify(Level.INFO, text, kind=AlertKind.UNCLOSABLE, ends=about or "")

    async def _before_the_next(self, order: OrderIntent, key: PositionKey) -> None:
        """A repeat that could only be refused is not sent: other rules are loaded, or the venue is read again first."""
        rejection = self._orders.rejection(order.client_order_id)
        if stale(rejection):
            await renewed(self._renew_rules, key.instrument.venue)
        elif rejection is not None and rejection.nothing_to_reduce:
            await self._orders.wait(key.instrument, partial(self._flat, key), ANSWER_SECONDS)

    async def _send(self, position: Position, leg: Leg, why: str, figures: Mapping[str, str]) -> OrderIntent:
        attempt = self._attempts[leg].next(position, self._orders.state.orders_of(position.id, leg))
        intent = self._intent(position, leg, attempt, self._at_once(position), why)
        self._explain(intent.client_order_id, figures)
        await self._orders.submit([self._risk.approve_reducing(intent)])
        return intent

    def _at_once(self, position: Position) -> Quantity:
        """As much as the venue takes in one order, on its step as it is now; all of it where that is nothing."""
        instrument = self._instruments.get(position.instrument)
        if instrument is None:
            return position.quantity
        rule = instrument.market_lot
        return instrument.round_quantity(min(position.quantity, rule.maximum), rule) or position.quantity

    def _intent(
        self,
        position: Position | Holding,
        leg: Leg,
        attempt: int,
        quantity: Quantity,
        why: str,
        *,
        limit: Price | None = None,
    ) -> OrderIntent:
        mark = self._mark(position.instrument)
        return OrderIntent(
            client_order_id=client_order_id(self._accounts[position.instrument.venue], position.id, leg, attempt),
            instrument=position.instrument,
            leg=leg,
            attempt=attempt,
            signal_id=position.signal_id,
            position_id=position.id,
            side=position.side.opposite,
            type=OrderType.MARKET if limit is None else OrderType.LIMIT_IOC,
            quantity=quantity,
            reduce_only=True,
            price=limit,
            decision_price=None if mark is None else Price(mark),
            reason=why,
        )

    def _refused_dust(self, order: OrderIntent, position: Position) -> bool:
        """Notes and tells once what cannot be closed because it is less than the venue's smallest order."""
        instrument = self._instruments.get(position.instrument)
        if instrument is None or not is_dust(position, instrument):
            return False
        if self._orders.rejection(order.client_order_id) is None or self._flat(position.key):
            return False
        if not self.given_up(position):
            what = f"{position.key}: {plain(position.quantity)} is left, less than the venue takes in one order"
            self._notifier.notify(Level.WARNING, f"{what}; it stays there as dust", kind=AlertKind.UNCLOSABLE)
            log.warning("position.dust", position=str(position.key), quantity=plain(position.quantity))
        self._dust[position.key] = position.quantity
        return True

    def under_way(self, position: Position) -> OrderIntent | None:
        """A close that is on its way or unknown: wait for it, a second one would be a second order."""
        state = self._orders.state
        closes = [order for leg in CLOSES_ALL for order in state.orders_of(position.id, leg)]
        return next((order.intent for order in closes if not order.ended), None)

    def _decided(self, intent: OrderIntent, key: PositionKey) -> bool:
        order = self._orders.state.order(intent.client_order_id)
        return self._flat(key) or order is None or (order.ended and not order.fills_missing)

    def _flat(self, key: PositionKey) -> bool:
        return self._orders.state.position(key) is None


def _counts(order: Order) -> bool:
    """Whether it traded, or nobody can say yet that it will not."""
    return bool(order.filled or order.fills_missing) or not order.ended
