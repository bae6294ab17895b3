"""What a venue lets us send, shared fairly: protection first, then closes, cancels, entries, data.

The venue counts in calendar-aligned windows (Binance: weight per minute, orders per ten seconds and per minute) and
tells its counters in headers. `acquire` returns at once while there is room and waits for the next window otherwise.
Three rules keep it inside the venue's own count:

- what is still under way when a window ends counts in the next one too, because it may arrive there;
- an entry also sets aside the order its stop will need, and that promise moves into the next window with it; only a
  stop may use it up, or closes of protected positions would leave fresh ones naked;
- entries and data never touch the last part of a window (`LANE_SHARE_PERCENT`).

Capacities are the venue's own published ones (`learn`); until it has told them, those of its documents.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from core.errors import RateLimited

if TYPE_CHECKING:
    from core.clock import Clock


class Lane(IntEnum):
    """Who goes first when it is tight."""

    PROTECTION = 0
    CLOSE = 1
    CANCEL = 2
    ENTRY = 3
    DATA = 4


LANE_SHARE_PERCENT = {
    Lane.PROTECTION: 100,
    Lane.CLOSE: 100,
    Lane.CANCEL: 99,
    Lane.ENTRY: 96,
    Lane.DATA: 85,
}
"""How far each lane may fill a window. 4 % of Binance's 300 orders leaves 12 for stops that nobody promised,
and for closes."""
PROMISE_MS = 15_000
"""How long an entry's promise for its stop stands: fill, stop and retries take less; an unfilled entry needs none."""
LONGEST_WAIT_SECONDS = 90.0
MOST_WAITING = 5_000
RAMP_MS = 20_000
RAMP_FIRST_PERCENT = 25
"""After a silence the venue demanded, entries and data come back over this time, beginning with this part of their
share (NET-02). Stops and cancels have it all at once."""
_RAMP_LOOK_MS = 500
_GUARD_MS = 20
"""A window is taken to begin this much later than our reckoning of the venue's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """Cost of one request. `promise`: orders that must surely follow it (an entry's stop)."""

    lane: Lane
    weight: int = 0
    orders: int = 0
    promise: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One counter of the venue; `header` is where it tells the running total (lower case)."""

    header: str
    window_ms: int
    capacity: int
    counts_orders: bool


@dataclass(slots=True, eq=False)
class Ticket:
    """Leave to send one request; `settle` it when the answer, or none, has come."""

    charge: Charge
    starts: tuple[int, ...] = ()
    settled: bool = False


@dataclass(slots=True, eq=False)
class _Counter:
    limit: Limit
    start_ms: int = 0
    used: int = 0
    under_way: int = 0

    def cost(self, charge: Charge) -> int:
        return charge.orders if self.limit.counts_orders else charge.weight

    def roll(self, venue_ms: int) -> None:
        start = venue_ms - venue_ms % self.limit.window_ms
        if start > self.start_ms:
            self.start_ms, self.used = start, self.under_way
        elif start < self.start_ms - self.limit.window_ms:
            self.start_ms = start  # the reckoning was far ahead; what went out meanwhile has arrived in this window

    def room(self, charge: Charge, promised: int, share_percent: int) -> bool:
        cost = self.cost(charge)
        if cost == 0:
            return True
        aside = 0
        if self.limit.counts_orders and charge.lane is not Lane.PROTECTION:
            aside = promised + charge.promise
        return self.used + cost + aside <= self.limit.capacity * share_percent // 100


@dataclass(slots=True, eq=False)
class _Waiter:
    charge: Charge
    granted: asyncio.Future[Ticket]


@dataclass(slots=True)
class BudgetStatistics:
    """For status and metrics; counts since the start."""

    granted: int = 0
    waited: int = 0
    refused: int = 0
    blocks: int = 0
    used: dict[str, int] = field(default_factory=dict)


class RequestBudget:
    """One per venue and key, the only throttle there is. Not thread-safe; belongs to one loop."""

    def __init__(
        self, venue: str, limits: Sequence[Limit], clock: Clock, *, venue_ms: Callable[[], int] | None = None
    ) -> None:
        """`venue_ms` is our best reckoning of the venue's clock (host clock plus measured offset)."""
        self._venue, self._clock = venue, clock
        self._venue_ms = venue_ms or clock.now_ms
        self._counters = [_Counter(limit) for limit in limits]
        self._promises: deque[float] = deque()
        self._waiting: tuple[deque[_Waiter], ...] = tuple(deque() for _ in Lane)
        self._blocked_until_ms = 0
        self._timer: asyncio.TimerHandle | None = None
        self.statistics = BudgetStatistics()

    async def acquire(self, charge: Charge) -> Ticket:
        """Leave to send; at once while there is room. Raises RateLimited when it would take too long."""
        self._roll()
        if self._may_pass(charge):
            return self._grant(charge)
        return await self._wait(charge)

    def settle(self, ticket: Ticket, headers: Mapping[str, str] | None = None) -> None:
        """The request ended. A header counts only when request and answer fell into one window: it may otherwise be the
        total of the window before."""
        if ticket.settled:
            return
        ticket.settled = True
        self._roll()
        for counter, start in zip(self._counters, ticket.starts, strict=False):  # counters learned since have no start
            counter.under_way -= counter.cost(ticket.charge)
            told = headers.get(counter.limit.header, "") if headers else ""
            if told.isdecimal() and start == counter.start_ms:
                counter.used = max(counter.used, int(told))
        if any(self._waiting):
            self._drain()

    def learn(self, limits: Sequence[Limit]) -> None:
        """The venue's published limits: a capacity replaces ours, a counter we did not know is kept from now on."""
        known = {counter.limit.header: counter for counter in self._counters}
        for limit in limits:
            if (counter := known.get(limit.header)) is None:
                self._counters.append(_Counter(limit))
            else:
                counter.limit = limit
        if any(self._waiting):
            self._roll()
            self._drain()

    def block_until(self, retry_at_ms: int) -> None:
        """The venue demanded silence: nothing goes out before `retry_at_ms` (our clock), stops included (NET-02)."""
        if retry_at_ms > self._blocked_until_ms:
            self._blocked_until_ms = retry_at_ms
            self.statistics.blocks += 1

    @property
    def blocked_until_ms(self) -> int:
        """Our clock, UTC ms; in the past when nothing is blocked."""
        return self._blocked_until_ms

    def figures(self) -> BudgetStatistics:
        self._roll()
        self.statistics.used = {counter.limit.header: counter.used for counter in self._counters}
        return self.statistics

    def _may_pass(self, charge: Charge) -> bool:
        if self._clock.now_ms() < self._blocked_until_ms:
            return False
        if any(self._waiting[lane] for lane in range(charge.lane + 1)):
            return False
        return self._has_room(charge)

    def _has_room(self, charge: Charge) -> bool:
        promised, share = len(self._promises), self._share_percent(charge.lane)
        return all(counter.room(charge, promised, share) for counter in self._counters)

    def _share_percent(self, lane: Lane) -> int:
        share = LANE_SHARE_PERCENT[lane]
        since_ms = self._clock.now_ms() - self._blocked_until_ms
        if lane < Lane.ENTRY or since_ms >= RAMP_MS:
            return share
        return share * (RAMP_FIRST_PERCENT * RAMP_MS + (100 - RAMP_FIRST_PERCENT) * since_ms) // (100 * RAMP_MS)

    def _grant(self, charge: Charge) -> Ticket:
        for counter in self._counters:
            cost = counter.cost(charge)
            counter.used += cost
            counter.under_way += cost
        if charge.lane is Lane.PROTECTION:
            for _ in range(min(charge.orders, len(self._promises))):
                self._promises.popleft()
        self._promises.extend([self._clock.monotonic()] * charge.promise)
        self.statistics.granted += 1
        return Ticket(charge, tuple(counter.start_ms for counter in self._counters))

    async def _wait(self, charge: Charge) -> Ticket:
        now = self._clock.now_ms()
        longest_ms = now + int(LONGEST_WAIT_SECONDS * 1000)
        queue = self._waiting[charge.lane]
        if self._blocked_until_ms > longest_ms or len(queue) >= MOST_WAITING:
            self.statistics.refused += 1
            raise RateLimited(self._venue, "no room to send", retry_at_ms=max(self._blocked_until_ms, now + 1000))
        waiter = _Waiter(charge, asyncio.get_running_loop().create_future())
        queue.append(waiter)
        self.statistics.waited += 1
        self._set_timer()
        try:
            async with asyncio.timeout(LONGEST_WAIT_SECONDS):
                return await waiter.granted
        except TimeoutError:
            self.statistics.refused += 1
            raise RateLimited(self._venue, "waited too long for room to send", retry_at_ms=longest_ms) from None
        except asyncio.CancelledError:
            if waiter.granted.done() and not waiter.granted.cancelled():
                self.give_back(waiter.granted.result())  # granted and cancelled in the same turn of the loop
            raise
        finally:
            self._leave(queue, waiter)

    def give_back(self, ticket: Ticket) -> None:
        """Nothing was sent: the room is free again, unless the window it was in is over."""
        for counter, start in zip(self._counters, ticket.starts, strict=False):
            if start == counter.start_ms:
                counter.used -= counter.cost(ticket.charge)
        self.settle(ticket)

    def _leave(self, queue: deque[_Waiter], waiter: _Waiter) -> None:
        if waiter in queue:
            queue.remove(waiter)
        if not any(self._waiting) and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _drain(self) -> None:
        """Grant in lane order. A lane whose first cannot go yet keeps the lanes below it from what it needs."""
        if self._clock.now_ms() < self._blocked_until_ms:
            return
        needs_weight = needs_orders = False
        for queue in self._waiting:
            while queue:
                charge = queue[0].charge
                contended = (needs_weight and charge.weight) or (needs_orders and charge.orders)
                if contended or not self._has_room(charge):
                    needs_weight = needs_weight or charge.weight > 0
                    needs_orders = needs_orders or charge.orders > 0
                    break
                waiter = queue.popleft()
                if not waiter.granted.done():
                    waiter.granted.set_result(self._grant(charge))

    def _roll(self) -> None:
        venue_ms = self._venue_ms() - _GUARD_MS
        for counter in self._counters:
            counter.roll(venue_ms)
        oldest = self._clock.monotonic() - PROMISE_MS / 1000
        while self._promises and self._promises[0] < oldest:
            self._promises.popleft()

    def _set_timer(self) -> None:
        if self._timer is not None:
            return
        venue_ms = self._venue_ms() - _GUARD_MS
        # The end of a block is looked at by itself: a stop must not wait for the window after it.
        wait_ms = self._blocked_until_ms - self._clock.now_ms()
        if wait_ms <= 0:
            wait_ms = min(c.limit.window_ms - venue_ms % c.limit.window_ms for c in self._counters)
            ramping = self._clock.now_ms() < self._blocked_until_ms + RAMP_MS
            wait_ms = max(min(wait_ms, _RAMP_LOOK_MS if ramping else PROMISE_MS), 1)
        self._timer = asyncio.get_running_loop().call_later(wait_ms / 1000, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._roll()
        self._drain()
        if any(self._waiting):
            self._set_timer()
