"""What a venue lets us send, shared fairly: protection first, then closes, cancels, tightenings, entries, data.

Venues count in buckets: Binance what requests weigh and how many orders they carry, over everything; Bybit requests per
endpoint and second; OKX orders per endpoint and instrument, and per account. A `Charge` names the buckets it is counted
in; `rate_counters` reckons each. `acquire` returns at once while there is room in all of them and waits otherwise.

- An entry also sets aside the order its stop will need, where that is an order of its own; only a stop may use it up,
  or closes of protected positions would leave fresh ones naked.
- Entries and data never touch the last part of a window (`LANE_SHARE_PERCENT`).
- What only tightens a stop, or trails beside one, leaves a position that is protected as it is: it waits for everything
  that protects, closes or cancels, goes before entries, which would starve it otherwise, and has a limit of its own
  where a venue counts it together with stops (NET-03).
- Who waits for one bucket holds up nobody who needs others.

Capacities are the venue's own published ones (`learn`, headers); until it has told them, those of its documents.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from core.errors import RateLimited
from core.venues.rate_counters import CalendarCounter, Counter, Limit, Slot, counter_of

if TYPE_CHECKING:
    from core.clock import Clock


class Lane(IntEnum):
    """Who goes first when it is tight."""

    PROTECTION = 0
    CLOSE = 1
    CANCEL = 2
    TIGHTEN = 3
    """A move of a stop that only improves it, or an order beside it."""
    ENTRY = 4
    DATA = 5


LANE_SHARE_PERCENT = {
    Lane.PROTECTION: 100,
    Lane.CLOSE: 100,
    Lane.CANCEL: 99,
    Lane.TIGHTEN: 96,
    Lane.ENTRY: 96,
    Lane.DATA: 85,
}
"""How far each lane may fill a window; a request larger than that goes when the window is empty. 4 % of Binance's 300
orders leaves 12 for stops that nobody promised, and for closes; of Bybit's 10 it leaves one."""
PROMISE_MS = 15_000
"""How long an entry's promise for its stop stands: fill, stop and retries take less; an unfilled entry needs none."""
MOST_WAITING = 5_000
"""In one lane; more than a venue serves within the longest wait."""
LONGEST_WAIT_SECONDS = 90.0
RAMP_MS = 20_000
RAMP_FIRST_PERCENT = 25
"""After a silence the venue demanded of everything, tightenings, entries and data come back over this time, beginning
with this part of their share (NET-02). Stops and cancels have it all at once."""
_RAMP_LOOK_MS = 500
_GUARD_MS = 20
"""A calendar window is taken to begin this much later than our reckoning of the venue's clock."""
_MOST_IDLE_COUNTERS = 256
_LOOKED_AT_AT_ONCE = 3  # more than come, so that the idle ones are gone in the end; few, because a request waits
TIGHTENINGS = "tightenings"
"""The bucket of our own that they count in besides; a venue's facts name its limit, if it needs one. Nobody else counts
in it, so that all of it is theirs: of a venue's windows their share leaves enough for others."""


class Charge(Struct, frozen=True, kw_only=True):
    """Cost of one request by bucket; the first bucket is the endpoint's own, which a limit's answer is about.

    `promises`: by bucket, what must surely follow (an entry's stop). `commands`: it places, moves or cancels orders, so
    that without an answer it says nothing of the venue.
    """

    lane: Lane
    costs: Mapping[str, int]
    promises: Mapping[str, int] = MappingProxyType({})
    commands: bool = False

    @property
    def endpoint(self) -> str:
        return next(iter(self.costs), "")


_only_tightens: ContextVar[bool] = ContextVar("only_tightens", default=False)


@contextmanager
def only_tightening(*, applies: bool) -> Iterator[None]:
    """While it `applies`, commands of this task that would rank with protection go by the lane of tightenings. A
    request does not say by itself which of the two it is."""
    before = _only_tightens.set(applies)
    try:
        yield
    finally:
        _only_tightens.reset(before)


def ranked(charge: Charge) -> Charge:
    """A venue's charge for a request, in the lane of what it is sent for."""
    if not (_only_tightens.get() and charge.commands and charge.lane is Lane.PROTECTION):
        return charge
    return replace(charge, lane=Lane.TIGHTEN, costs={**charge.costs, TIGHTENINGS: 1})


@dataclass(slots=True, eq=False)
class Ticket:
    """Leave to send one request; `settle` it when the answer, or none, has come."""

    charge: Charge
    slots: tuple[tuple[Counter, Slot], ...]
    starts: tuple[int, ...]
    settled: bool = False


@dataclass(slots=True, eq=False)
class _Waiter:
    charge: Charge
    number: int
    granted: asyncio.Future[Ticket]


class _Lane:
    """Those who wait in one lane, by the buckets they need: only the first of each kind has to be looked at."""

    def __init__(self) -> None:
        self.groups: dict[tuple[str, ...], deque[_Waiter]] = {}
        self.count = 0

    def add(self, waiter: _Waiter) -> None:
        self.groups.setdefault(tuple(waiter.charge.costs), deque()).append(waiter)
        self.count += 1

    def remove(self, waiter: _Waiter) -> None:
        key = tuple(waiter.charge.costs)
        group = self.groups.get(key)
        if group is not None and waiter in group:
            group.remove(waiter)
            self.count -= 1
            if not group:
                del self.groups[key]

    def in_order(self) -> list[deque[_Waiter]]:
        return sorted(self.groups.values(), key=lambda group: group[0].number)


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
        self._limits: dict[str, list[Limit]] = {}
        self._counters: dict[str, list[Counter]] = {}
        self._particular: deque[str] = deque()
        """The buckets of single instruments, the one that was looked at longest ago first."""
        self._totals: list[CalendarCounter] = []
        self._promises: dict[str, deque[float]] = {}
        self._lanes = tuple(_Lane() for _ in Lane)
        self._silent_until = -math.inf
        self._blocked: dict[str, float] = {}
        """Both in monotonic seconds: a pause is a duration, and a clock that is set must not begin it anew (OPS-09)."""
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None
        self.statistics = BudgetStatistics()
        self.learn(limits)

    # --- leave to send ------------------------------------------------------------------------------------------------

    async def acquire(self, charge: Charge) -> Ticket:
        """Leave to send; at once while there is room. Raises RateLimited when it would take too long, and at once for
        a request larger than a whole window. A bucket without a known limit counts nothing."""
        if not self.waiting() and self._shortage(charge, self._now()) is None:
            return self._grant(charge)
        return await self._wait(charge)

    def settle(self, ticket: Ticket, headers: Mapping[str, str] | None = None) -> None:
        """The request ended; `headers` are those of its answer."""
        if ticket.settled:
            return
        ticket.settled = True
        venue_ms, now = moment = self._now()
        for counter, slot in ticket.slots:
            counter.roll(venue_ms, now)
            counter.settle(slot, now)
            if headers:
                counter.hear(headers, now)
        for total, start in zip(self._totals, ticket.starts, strict=False):  # those learned since have no start
            total.roll(venue_ms, now)
            if headers:
                total.hear_total(headers, start)
        self._drain(moment)

    def give_back(self, ticket: Ticket) -> None:
        """Nothing was sent: the room is free again."""
        for counter, slot in ticket.slots:
            counter.give_back(slot)
        self.settle(ticket)

    def _grant(self, charge: Charge) -> Ticket:
        now = self._clock.monotonic()
        slots = tuple(
            (counter, counter.take(cost, now)) for bucket, cost in charge.costs.items() for counter in self._of(bucket)
        )
        if charge.lane is Lane.PROTECTION:
            for bucket, cost in charge.costs.items():
                promised = self._promises.get(bucket, ())
                for _ in range(min(cost, len(promised))):
                    self._promises[bucket].popleft()
        for bucket, count in charge.promises.items():
            self._promises.setdefault(bucket, deque()).extend([now] * count)
        self.statistics.granted += 1
        return Ticket(charge, slots, tuple(total.start_ms for total in self._totals))

    # --- what the venue tells -----------------------------------------------------------------------------------------

    def learn(self, limits: Sequence[Limit]) -> None:
        """The venue's published limits: a capacity replaces ours, a limit we did not know is kept from now on."""
        for limit in limits:
            known = self._limits.setdefault(limit.bucket, [])
            same = [old for old in known if (old.window_ms, old.rolling) == (limit.window_ms, limit.rolling)]
            known[:] = [old for old in known if old not in same] + [limit]
            counters = [c for c in self._existing(limit.bucket) if c.limit in same]
            for counter in counters:
                counter.limit, counter.capacity = limit, limit.capacity
            if not same:
                for bucket in [b for b in self._counters if _family(b) == limit.bucket]:
                    self._count(bucket, limit)
                if limit.used_header and limit.bucket not in self._counters:
                    self._of(limit.bucket)  # its header comes with every answer
        self._drain(self._now())

    def block_until(self, retry_at_ms: int) -> None:
        """The venue demanded silence: nothing goes out before `retry_at_ms` (our clock), stops included (NET-02)."""
        if (until := self._monotonic(retry_at_ms)) > self._silent_until:
            self._silent_until = until
            self.statistics.blocks += 1

    def block(self, bucket: str, retry_at_ms: int) -> None:
        """The same for one bucket, or for all of a family by its name; everything else goes on."""
        now, until = self._clock.monotonic(), self._monotonic(retry_at_ms)
        if until > self._blocked.get(bucket, -math.inf):
            self._blocked = {name: end for name, end in self._blocked.items() if end > now} | {bucket: until}
            self.statistics.blocks += 1

    def _monotonic(self, our_ms: int) -> float:
        return self._clock.monotonic() + (our_ms - self._clock.now_ms()) / 1000

    @property
    def blocked_until_ms(self) -> int:
        """Our clock, UTC ms; in the past when not everything is blocked."""
        if self._silent_until == -math.inf:
            return 0
        return self._clock.now_ms() + math.ceil((self._silent_until - self._clock.monotonic()) * 1000)

    def figures(self) -> BudgetStatistics:
        """`used` by the limit's name; of counters per instrument by bucket."""
        venue_ms, now = self._now()
        used = {}
        for bucket, counters in self._counters.items():
            for counter in counters:
                counter.roll(venue_ms, now)
                used[counter.limit.name if bucket == counter.limit.bucket else bucket] = counter.used
        self.statistics.used = used
        return self.statistics

    def waiting(self) -> int:
        """Requests that wait for room now, in all lanes."""
        return sum([lane.count for lane in self._lanes])

    def headroom(self) -> dict[str, float]:
        """By lane: the part of what it may send in a window that is free now, in the fullest window of those that count
        everything or an endpoint; those of single instruments are left out. 0 while all is silent."""
        moment, our_ms = self._now(), self._clock.now_ms()
        shared = [c for bucket, counters in self._counters.items() if bucket == _family(bucket) for c in counters]
        for counter in shared:
            counter.roll(*moment)
        free: dict[str, float] = {}
        for lane in Lane:
            share = 0 if our_ms < self.blocked_until_ms else self._share_percent(lane, our_ms)
            parts = (1 - counter.used * 100 / (counter.capacity * share) if share else 0.0 for counter in shared)
            free[lane.name.lower()] = round(max(0.0, min(parts, default=1.0 if share else 0.0)), 4)
        return free

    # --- room ---------------------------------------------------------------------------------------------------------

    def _now(self) -> tuple[int, float]:
        return self._venue_ms() - _GUARD_MS, self._clock.monotonic()

    def _shortage(self, charge: Charge, moment: tuple[int, float]) -> dict[str, float] | None:
        """None = it may go. Otherwise what there is no room in, each with the ms until it is worth looking again."""
        our_ms = self._clock.now_ms()
        if our_ms < self.blocked_until_ms:
            return dict.fromkeys(charge.costs, self.blocked_until_ms - our_ms)
        share = self._share_percent(charge.lane, our_ms)
        short = {}
        for bucket, cost in charge.costs.items():
            wait_ms = self._blocked_for(bucket) or self._wait_ms(charge, bucket, cost, share, moment)
            if wait_ms > 0:
                short[bucket] = wait_ms
        return short or None

    def _wait_ms(self, charge: Charge, bucket: str, cost: int, share: int, moment: tuple[int, float]) -> float:
        """0 while there is room in all counters of a bucket."""
        if cost == 0:
            return 0
        aside = 0
        if charge.lane is not Lane.PROTECTION:
            aside = self._promised(bucket, moment[1]) + charge.promises.get(bucket, 0)
        longest = 0.0
        if bucket == TIGHTENINGS:
            share = share * 100 // LANE_SHARE_PERCENT[Lane.TIGHTEN]
        for counter in self._of(bucket):
            counter.roll(*moment)
            allowed = counter.capacity * share // 100
            if allowed < cost + aside <= counter.capacity:
                allowed = cost + aside  # larger than its share: alone, in an empty window
            if counter.used + cost + aside > allowed:
                longest = max(longest, counter.wait_ms(*moment), 1.0)
        return longest

    def _promised(self, bucket: str, now: float) -> int:
        promised = self._promises.get(bucket)
        if not promised:
            return 0
        while promised and promised[0] < now - PROMISE_MS / 1000:
            promised.popleft()
        if not promised:
            del self._promises[bucket]
        return len(promised)

    def _share_percent(self, lane: Lane, our_ms: int) -> int:
        share = LANE_SHARE_PERCENT[lane]
        since_ms = our_ms - self.blocked_until_ms
        if lane < Lane.TIGHTEN or since_ms >= RAMP_MS:
            return share
        return share * (RAMP_FIRST_PERCENT * RAMP_MS + (100 - RAMP_FIRST_PERCENT) * since_ms) // (100 * RAMP_MS)

    def _blocked_for(self, bucket: str) -> int:
        """Milliseconds, 0 = not blocked."""
        if not self._blocked:
            return 0
        ends = [end for name in (bucket, _family(bucket)) if (end := self._blocked.get(name)) is not None]
        return max(0, math.ceil((max(ends) - self._clock.monotonic()) * 1000)) if ends else 0

    def _of(self, bucket: str) -> list[Counter]:
        counters = self._counters.get(bucket)
        if counters is None:
            limits = self._limits.get(family := _family(bucket))
            if not limits:
                return []
            if bucket != family:
                self._forget_idle()
                self._particular.append(bucket)
            for limit in limits:
                self._count(bucket, limit)
            counters = self._counters[bucket]
        return counters

    def _count(self, bucket: str, limit: Limit) -> None:
        counter = counter_of(limit)
        self._counters.setdefault(bucket, []).append(counter)
        if isinstance(counter, CalendarCounter) and limit.used_header:
            self._totals.append(counter)

    def _existing(self, family: str) -> Iterator[Counter]:
        for bucket, counters in self._counters.items():
            if _family(bucket) == family:
                yield from counters

    def _forget_idle(self) -> None:
        if len(self._particular) < _MOST_IDLE_COUNTERS:
            return
        moment = self._now()
        for _ in range(_LOOKED_AT_AT_ONCE):
            bucket = self._particular.popleft()
            for counter in self._counters[bucket]:
                counter.roll(*moment)
            if any(counter.used for counter in self._counters[bucket]):
                self._particular.append(bucket)
            else:
                del self._counters[bucket]

    # --- waiting ------------------------------------------------------------------------------------------------------

    async def _wait(self, charge: Charge) -> Ticket:
        self._refuse_if_hopeless(charge)
        lane = self._lanes[charge.lane]
        if lane.count >= MOST_WAITING:
            self.statistics.refused += 1
            what, now_ms = f"{lane.count} requests wait already", self._clock.now_ms()
            raise RateLimited(self._venue, what, retry_at_ms=now_ms, bucket=charge.endpoint)
        self._number += 1
        waiter = _Waiter(charge, self._number, asyncio.get_running_loop().create_future())
        lane.add(waiter)
        self._drain(self._now())
        if waiter.granted.done():
            return waiter.granted.result()
        self.statistics.waited += 1
        try:
            async with asyncio.timeout(LONGEST_WAIT_SECONDS):
                return await waiter.granted
        except (TimeoutError, asyncio.CancelledError) as end:
            if waiter.granted.done() and not waiter.granted.cancelled():
                self.give_back(waiter.granted.result())  # granted and given up in the same turn of the loop
            if isinstance(end, asyncio.CancelledError):
                raise
            self.statistics.refused += 1
            what, now_ms = "waited too long for room to send", self._clock.now_ms()
            raise RateLimited(self._venue, what, retry_at_ms=now_ms, bucket=charge.endpoint) from None
        finally:
            lane.remove(waiter)
            if self._timer is not None and not any(lane.count for lane in self._lanes):
                self._timer.cancel()
                self._timer = None

    def _refuse_if_hopeless(self, charge: Charge) -> None:
        now = self._clock.now_ms()
        blocked = max([self.blocked_until_ms, *(now + self._blocked_for(bucket) for bucket in charge.costs)])
        too_large = any(
            cost + charge.promises.get(bucket, 0) > counter.capacity
            for bucket, cost in charge.costs.items()
            for counter in self._of(bucket)
        )
        too_long = blocked > now + LONGEST_WAIT_SECONDS * 1000
        if too_large or too_long or self._lanes[charge.lane].count >= MOST_WAITING:
            self.statistics.refused += 1
            bucket = None if blocked == self.blocked_until_ms and too_long else charge.endpoint
            raise RateLimited(self._venue, "no room to send", retry_at_ms=max(blocked, now + 1000), bucket=bucket)

    def _drain(self, moment: tuple[int, float]) -> None:
        """Grant in lane order. Who cannot go yet keeps those behind and below from what it is short of."""
        if not any(lane.count for lane in self._lanes):
            return
        look_ms = math.inf
        contended: set[str] = set()
        for lane in self._lanes:
            for group in lane.in_order() if lane.count else ():
                while group:
                    waiter = group[0]
                    if waiter.granted.done():
                        lane.remove(waiter)
                        continue
                    if not contended.isdisjoint(bucket for bucket, cost in waiter.charge.costs.items() if cost):
                        break
                    short = self._shortage(waiter.charge, moment)
                    if short is not None:
                        contended.update(short)
                        look_ms = min(look_ms, *short.values())
                        break
                    lane.remove(waiter)
                    waiter.granted.set_result(self._grant(waiter.charge))
        self._set_timer(look_ms)

    def _set_timer(self, look_ms: float) -> None:
        """`look_ms`: the soonest that room may come by itself; answers bring room too, and look by themselves."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not any(lane.count for lane in self._lanes):
            return
        ramping = self.blocked_until_ms <= self._clock.now_ms() < self.blocked_until_ms + RAMP_MS
        wait_ms = max(min(look_ms, _RAMP_LOOK_MS if ramping else PROMISE_MS), 1)
        self._timer = asyncio.get_running_loop().call_later(wait_ms / 1000, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._drain(self._now())


def _family(bucket: str) -> str:
    return bucket.partition(":")[0]
