"""The one close pipeline (INV-1): reduce-only, marked before any await, repeated until the position is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial

import structlog

from core.clock import Clock
from core.domain.ids import InstrumentId, Leg, VenueName, client_order_id
from core.domain.instrument import Instrument
from core.domain.money import Price, Quantity, plain
from core.domain.order import Order, OrderIntent, OrderType
from core.domain.position import Position, PositionKey
from core.domain.protection import is_dust
from core.engine.order_manager import OrderManager
from core.engine.ports import Level, Notifier
from core.engine.risk_guard import RiskGuard

log = structlog.get_logger(__name__)

QUICK_ATTEMPTS = 2
"""Attempts before people are called; after them it is tried again at `SLOW_RETRY_SECONDS`, for as long as it takes."""
ANSWER_SECONDS = 3.0
SLOW_RETRY_SECONDS = 5.0


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
    ) -> None:
        """`mark` is the price a close is decided at; it only goes into the books."""
        self._accounts = accounts
        self._orders = orders
        self._risk = risk
        self._clock = clock
        self._notifier = notifier
        self._mark = mark
        self._instruments = instruments
        self._dust: dict[PositionKey, Quantity] = {}
        self._closing: dict[PositionKey, asyncio.Event] = {}

    def closing(self, key: PositionKey) -> bool:
        return key in self._closing

    def given_up(self, position: Position) -> bool:
        """Whether this is dust the venue has refused to close: it is listed, not tried again, not alarmed (VAL-19)."""
        return self._dust.get(position.key) == position.quantity

    async def flatten(self, key: PositionKey, why: str, *, leg: Leg = Leg.FLATTEN) -> None:
        """Return when nothing is left of the position, by our fills or by reconciliation, or only dust the venue will
        not take."""
        if (running := self._closing.get(key)) is not None:
            await running.wait()
            return
        self._closing[key] = asyncio.Event()
        try:
            await self._until_flat(key, why, leg)
        finally:
            self._closing.pop(key).set()

    async def _until_flat(self, key: PositionKey, why: str, leg: Leg) -> None:
        tries = 0
        while (position := self._orders.state.position(key)) is not None:
            tries += 1
            if tries == 1:
                log.warning("close.started", position=str(key), leg=leg.value, why=why)
            if tries == QUICK_ATTEMPTS + 1:
                self._notifier.notify(Level.CRITICAL, f"{key}: cannot be closed, still trying ({why})")
            slow = tries > QUICK_ATTEMPTS
            if slow and await self._orders.wait(key.instrument, partial(self._flat, key), SLOW_RETRY_SECONDS):
                break
            order = self._working_close(position) or await self._send(position, leg, why)
            await self._orders.wait(key.instrument, partial(self._decided, order, key), ANSWER_SECONDS)
            if self._refused_dust(order, position):
                return
            if self._found_nothing(order):  # the venue is being read again; until then a repeat could only be refused
                await self._orders.wait(key.instrument, partial(self._flat, key), ANSWER_SECONDS)
        log.info("close.done", position=str(key), tries=tries)

    async def _send(self, position: Position, leg: Leg, why: str) -> OrderIntent:
        attempt = next_attempt(self._orders.state.orders_of(position.id), leg)
        mark = self._mark(position.instrument)
        intent = OrderIntent(
            client_order_id=client_order_id(self._accounts[position.instrument.venue], position.id, leg, attempt),
            instrument=position.instrument,
            leg=leg,
            attempt=attempt,
            signal_id=position.signal_id,
            position_id=position.id,
            side=position.side.opposite,
            type=OrderType.MARKET,
            quantity=position.quantity,
            reduce_only=True,
            decision_price=None if mark is None else Price(mark),
            reason=why,
        )
        await self._orders.submit([self._risk.approve_reducing(intent)])
        return intent

    def _refused_dust(self, order: OrderIntent, position: Position) -> bool:
        """Notes and tells once what cannot be closed because it is less than the venue's smallest order."""
        instrument = self._instruments.get(position.instrument)
        if instrument is None or not is_dust(position, instrument):
            return False
        if self._orders.rejection(order.client_order_id) is None or self._flat(position.key):
            return False
        if not self.given_up(position):
            what = f"{position.key}: {plain(position.quantity)} is left, less than the venue takes in one order"
            self._notifier.notify(Level.WARNING, f"{what}; it stays there as dust")
            log.warning("position.dust", position=str(position.key), quantity=plain(position.quantity))
        self._dust[position.key] = position.quantity
        return True

    def _working_close(self, position: Position) -> OrderIntent | None:
        """A close that is under way or unknown: wait for it, a second one would be a second order."""
        for order in self._orders.state.orders_of(position.id):
            if order.intent.leg in (Leg.FLATTEN, Leg.CLOSE) and not order.ended:
                return order.intent
        return None

    def _found_nothing(self, intent: OrderIntent) -> bool:
        rejection = self._orders.rejection(intent.client_order_id)
        return rejection is not None and rejection.nothing_to_reduce

    def _decided(self, intent: OrderIntent, key: PositionKey) -> bool:
        order = self._orders.state.order(intent.client_order_id)
        return self._flat(key) or order is None or (order.ended and not order.fills_missing)

    def _flat(self, key: PositionKey) -> bool:
        return self._orders.state.position(key) is None


def next_attempt(orders: list[Order], leg: Leg) -> int:
    """The number after the highest used for this leg of a position: a new order, never a re-send of an old one."""
    return 1 + max((order.intent.attempt for order in orders if order.intent.leg is leg), default=-1)
