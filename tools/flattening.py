"""Makes one venue flat and proves it: entries cancelled, positions closed reduce-only, then what only closes removed.

Needs a client and nothing else: no journal, no daemon, no lock. Stops rest until two readings agree that the position
is gone; a reading that fails tells nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from msgspec.structs import replace

from core.clock import Clock
from core.domain.ids import InstrumentId, Leg, PositionId, SignalId, VenueName, client_order_id, is_ours
from core.domain.money import ZERO, Price, Quantity, plain
from core.domain.order import Order, OrderIntent, OrderStatus, OrderType
from core.domain.reconciliation import order_of
from core.domain.reports import OrderStatusReport, PositionReport, PositionSide
from core.domain.signal import Side
from core.engine.ports import Accepted, Departure, MassStatus, NotFound, Outcome, Rejected, Unknown, VenueClient
from core.errors import Refused, StartRefused, VenueError

SECONDS = 60.0
"""How long one venue is tried before what is left is told."""
AGREEING = 2
"""Readings in a row without a position before it is believed (nothing is concluded from one answer)."""
PAUSE_SECONDS = 0.02
"""Times the square of the round: what goes well needs four rounds, what does not must not eat the request budget."""
LONGEST_PAUSE_SECONDS = 2.0
FAILED_PAUSE_SECONDS = 1.0
SETTLE_SECONDS = 1.0
"""How long a close that was taken may take to show, before another one is sent."""
TRADES_BACK_MS = 7 * 24 * 3600 * 1000
"""How far back a position's opening trade is looked for."""


class Key(NamedTuple):
    """A position: one-way accounts hold one of the two directions, hedge accounts may hold both."""

    instrument: InstrumentId
    long: bool

    def __str__(self) -> str:
        return f"{self.instrument.symbol} {'long' if self.long else 'short'}"


@dataclass(slots=True, kw_only=True)
class Closing:
    """One position and what became of it. Quantities base units; `flat_s` seconds since the begin until a first
    reading was without it; `price` the average the venue told for the last close, None = it did not say."""

    key: Key
    quantity: Quantity
    flat: bool = False
    flat_s: float | None = None
    price: Price | None = None
    attempts: int = 0
    sent_at: float | None = None
    detail: str = ""


@dataclass(slots=True, kw_only=True)
class Flattened:
    """What was done at one venue. `left` names what is still there, in words; `failed` why it could not be used or was
    given up; `verified_s`, `removed_s` seconds since the begin until it was proved flat, and without orders."""

    venue: VenueName
    closings: dict[Key, Closing] = field(default_factory=dict)
    cancelled: int = 0
    left: list[str] = field(default_factory=list)
    failed: str = ""
    verified_s: float | None = None
    removed_s: float | None = None

    @property
    def done(self) -> bool:
        return not self.left and not self.failed


class Flattening:
    """`ours_only`: leave alone what is not ours, positions and orders. `began` is on the clock's monotonic scale."""

    def __init__(self, client: VenueClient, clock: Clock, *, began: float, ours_only: bool = False) -> None:
        self.client, self._clock, self._began = client, clock, began
        self._ours_only = ours_only
        self._whose: dict[Key, bool] = {}
        self._readings_without: Counter[Key] = Counter()
        self._flat_readings = 0
        self._stamp = clock.now_ms()
        self.result = Flattened(venue=client.name)

    async def read(self) -> MassStatus:
        """What is there and is ours to end. Raises VenueError."""
        status = await self.client.mass_status()
        held = [position for position in status.positions if position.quantity != ZERO]
        mine = [position for position in held if await self._is_mine(position, status.orders)]
        orders = [order for order in status.orders if self._is_mine_too(order)]
        return MassStatus(
            venue=status.venue,
            requested_ms=status.requested_ms,
            orders=tuple(orders),
            positions=tuple(mine),
            balances=status.balances,
        )

    async def open(self) -> None:
        """As often as it takes. Raises StartRefused, and Refused for what no repetition changes."""
        while not self.client.instruments:
            try:
                await self.client.open()
            except Refused:
                raise
            except VenueError as error:
                self.result.failed = str(error)
                await asyncio.sleep(FAILED_PAUSE_SECONDS)

    async def what_is_left(self) -> list[str]:
        """Of one reading, in words. Raises VenueError."""
        return _left(await self.read())

    async def run(self, seconds: float = SECONDS) -> Flattened:
        """Until it is proved flat and clean, or the time is over. Raises nothing for what a venue says."""
        last: MassStatus | None = None
        try:
            async with asyncio.timeout(seconds):
                for round_ in count():
                    try:
                        last = await self.read()
                    except VenueError as error:
                        self.result.failed = str(error)
                        await asyncio.sleep(FAILED_PAUSE_SECONDS)
                        continue
                    self.result.failed = ""
                    if await self._act(last):
                        break
                    await asyncio.sleep(min(PAUSE_SECONDS * round_**2, LONGEST_PAUSE_SECONDS))
        except TimeoutError:
            why = f"given up after {seconds:g} s"
            self.result.failed = f"{why}; {self.result.failed}" if self.result.failed else why
            self.result.left = [] if last is None else _left(last)
        return self.result

    async def _act(self, status: MassStatus) -> bool:
        """One round; whether everything is done."""
        now = self._clock.monotonic() - self._began
        self._note(status, now)
        if self._flat_readings >= AGREEING and self.result.verified_s is None:
            self.result.verified_s = now
        if self._flat_readings >= AGREEING and not status.orders:
            self.result.removed_s = now
            return True
        first = [order for order in status.orders if _goes_first(order)]
        await self._cancel(first)
        await self._close(status.positions)
        gone = [o for o in status.orders if not _goes_first(o) and self._readings_without[_closes(o)] >= AGREEING]
        await self._cancel(gone)
        return False

    def _note(self, status: MassStatus, now: float) -> None:
        held = {key_of(position): position for position in status.positions}
        self._flat_readings = 0 if held else self._flat_readings + 1
        for key in {*self.result.closings, *map(_closes, status.orders)} - held.keys():
            self._readings_without[key] += 1
        for key, position in held.items():
            self._readings_without[key] = 0
            self.result.verified_s = None
            one = self.result.closings.setdefault(key, Closing(key=key, quantity=Quantity(abs(position.quantity))))
            one.flat, one.flat_s = False, None
        for key, one in self.result.closings.items():
            if key not in held and not one.flat:
                one.flat, one.flat_s = True, now

    # --- closing ----------------------------------------------------------------------------------------------------

    async def _close(self, positions: Iterable[PositionReport]) -> None:
        await asyncio.gather(*(self._close_one(position) for position in positions))

    async def _close_one(self, position: PositionReport) -> None:
        one = self.result.closings[key_of(position)]
        now = self._clock.monotonic()
        if one.sent_at is not None and now - one.sent_at < SETTLE_SECONDS:
            return
        outcomes = await asyncio.gather(
            *(
                self.client.submit(Departure(intent=self._intent(one, quantity)))
                for quantity in self._parts(one.key.instrument, Quantity(abs(position.quantity)))
            )
        )
        refused = [outcome for outcome in outcomes if isinstance(outcome, Rejected)]
        one.sent_at = None if refused else self._clock.monotonic()
        one.detail = "; ".join(_said(outcome) for outcome in outcomes if not isinstance(outcome, Accepted))
        for outcome in outcomes:
            one.price = _price(outcome) or one.price

    def _parts(self, instrument: InstrumentId, quantity: Quantity) -> list[Quantity]:
        known = self.client.instruments.get(instrument.symbol)
        return [quantity] if known is None else known.market_parts(quantity)

    def _intent(self, one: Closing, quantity: Quantity) -> OrderIntent:
        """Each attempt is a new order; every one can only reduce, so that a late first one cannot turn the position."""
        identity = f"emergency_flat/{one.key.instrument}/{'long' if one.key.long else 'short'}/{self._stamp}"
        one.attempts += 1
        return OrderIntent(
            client_order_id=client_order_id("operator", identity, Leg.CLOSE, one.attempts),
            instrument=one.key.instrument,
            leg=Leg.CLOSE,
            attempt=one.attempts,
            signal_id=SignalId(""),
            position_id=PositionId(identity),
            side=Side.SELL if one.key.long else Side.BUY,
            type=OrderType.MARKET,
            quantity=quantity,
            reduce_only=True,
        )

    # --- orders -----------------------------------------------------------------------------------------------------

    async def _cancel(self, orders: Sequence[OrderStatusReport]) -> None:
        """What became of them the next reading tells: a refusal may mean that it is gone already."""
        outcomes = await asyncio.gather(*(self.client.cancel(self._named(order)) for order in orders))
        self.result.cancelled += sum(isinstance(outcome, Accepted) for outcome in outcomes)

    def _named(self, report: OrderStatusReport) -> Order:
        """Where stops belong to positions, and go with them, a nameless order that waits for its trigger and is to be
        cancelled is one of its own: it is named by the venue's id, as one that has fired is."""
        order = order_of(report)
        if self.client.traits.whole_position_stops and report.conditional and not report.client_order_id:
            return replace(order, status=OrderStatus.TRIGGERED)
        return order

    # --- whose ------------------------------------------------------------------------------------------------------

    def _is_mine_too(self, order: OrderStatusReport) -> bool:
        return not self._ours_only or is_ours(order.client_order_id)

    async def _is_mine(self, position: PositionReport, orders: Sequence[OrderStatusReport]) -> bool:
        if not self._ours_only:
            return True
        key = key_of(position)
        if key not in self._whose:
            protected = any(is_ours(o.client_order_id) and o.reduce_only and _closes(o) == key for o in orders)
            self._whose[key] = protected or await self._opened_by_us(key)
        return self._whose[key]

    async def _opened_by_us(self, key: Key) -> bool:
        """By the last trade that made it larger."""
        opening = Side.BUY if key.long else Side.SELL
        told = await self.client.fills(key.instrument, self._clock.now_ms() - TRADES_BACK_MS)
        last = next((fill for fill in reversed(told) if fill.side is opening), None)
        if last is None:
            return False
        name = last.client_order_id or await self.client.client_id_of(key.instrument, last.venue_order_id)
        return not isinstance(name, NotFound) and is_ours(name)


async def flatten(
    client: VenueClient, clock: Clock, *, began: float, ours_only: bool = False, seconds: float = SECONDS
) -> Flattened:
    """Open the client, make its venue flat, prove it. Raises nothing for what a venue says; the caller closes."""
    flattening = Flattening(client, clock, began=began, ours_only=ours_only)
    try:
        async with asyncio.timeout(seconds):
            await flattening.open()
    except (StartRefused, Refused) as error:
        flattening.result.failed = str(error)
        return flattening.result
    except TimeoutError:
        flattening.result.failed = flattening.result.failed or f"it could not be opened within {seconds:g} s"
        return flattening.result
    return await flattening.run(seconds)


def key_of(position: PositionReport) -> Key:
    if position.position_side is PositionSide.BOTH:
        return Key(position.instrument, position.quantity > ZERO)
    return Key(position.instrument, position.position_side is PositionSide.LONG)


def _goes_first(order: OrderStatusReport) -> bool:
    """What would open something, and a plain close in the book: it protects nothing, and venues that set its size aside
    refuse to close that part a second time."""
    return not order.reduce_only or not order.conditional


def _closes(order: OrderStatusReport) -> Key:
    return Key(order.instrument, order.side is Side.SELL)


def _left(status: MassStatus) -> list[str]:
    held = [f"{plain(abs(position.quantity))} {key_of(position)}" for position in status.positions]
    orders = [
        f"order {order.client_order_id or order.venue_order_id} {order.side.value} {order.instrument.symbol}"
        for order in status.orders
    ]
    return [*held, *orders]


def _said(outcome: Outcome) -> str:
    match outcome:
        case Rejected():
            return f"{outcome.code} {outcome.detail}".strip()
        case Unknown():
            return f"not answered: {outcome.cause}"
        case Accepted():
            return ""


def _price(outcome: Outcome) -> Price | None:
    if not isinstance(outcome, Accepted):
        return None
    told = (report.average_price for report in outcome.reports if isinstance(report, OrderStatusReport))
    return next((price for price in told if price is not None), None)
