"""What a venue counts of our requests, as we have to reckon it: by calendar windows, or by windows that roll along.

A calendar window begins anew on the venue's clock, and what is under way when one ends counts in the next one too,
because it may arrive there. A rolling window has no beginning: a request counts from the moment it could have arrived,
which is when it left, until one window after the last moment it can have arrived, which is when its answer came.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct

_ARRIVED_WITHIN = 5.0
"""A request without an answer for so many seconds has arrived by then, or never will: a venue that hangs must not take
the room of closing orders with it."""
_ROLLING_GUARD = 0.005
"""Seconds added to a rolling window: the venue's clock runs in milliseconds of its own."""


class Limit(Struct, frozen=True, kw_only=True):
    """One thing the venue counts. A charge to the bucket `name`, or to `name:anything`, is counted by it; of the second
    kind each has a counter of its own, made when it is needed (orders per instrument).

    Headers in lower case: `used_header` tells the running total of the window, of whatever request; `left_header` and
    `capacity_header` tell what is left, and of how much, in the bucket of the request that is answered.
    """

    bucket: str
    window_ms: int
    capacity: int
    rolling: bool = False
    used_header: str = ""
    left_header: str = ""
    capacity_header: str = ""

    @property
    def name(self) -> str:
        return self.used_header or f"{self.bucket}/{self.window_ms}ms"


@dataclass(slots=True, eq=False)
class Slot:
    """The part of one request in one counter. `at`: start of the calendar window, or monotonic seconds of sending."""

    cost: int
    at: float
    under_way: bool = True


class Counter(Protocol):
    """`venue_ms` is the venue's clock, `now` our monotonic seconds; each kind uses its own."""

    limit: Limit
    capacity: int
    used: int

    def roll(self, venue_ms: int, now: float) -> None: ...
    def take(self, cost: int, now: float) -> Slot: ...
    def settle(self, slot: Slot, now: float) -> None: ...
    def give_back(self, slot: Slot) -> None: ...
    def hear(self, headers: Mapping[str, str], now: float) -> None:
        """The answer to a request that was counted here."""
        ...

    def wait_ms(self, venue_ms: int, now: float) -> float:
        """Until more room is certain to come; infinity while only an answer can bring it."""
        ...


class CalendarCounter:
    def __init__(self, limit: Limit) -> None:
        self.limit, self.capacity = limit, limit.capacity
        self.start_ms = self.used = self.under_way = 0

    def roll(self, venue_ms: int, now: float) -> None:
        del now
        start = venue_ms - venue_ms % self.limit.window_ms
        if start > self.start_ms:
            self.start_ms, self.used = start, self.under_way
        elif start < self.start_ms - self.limit.window_ms:
            self.start_ms = start  # the reckoning was far ahead; what went out meanwhile has arrived in this window

    def take(self, cost: int, now: float) -> Slot:
        del now
        self.used += cost
        self.under_way += cost
        return Slot(cost, self.start_ms)

    def settle(self, slot: Slot, now: float) -> None:
        del now
        if slot.under_way:
            slot.under_way = False
            self.under_way -= slot.cost

    def give_back(self, slot: Slot) -> None:
        """Nothing was sent: the room is free again, unless the window it was in is over."""
        if slot.at == self.start_ms:
            self.used -= slot.cost

    def hear(self, headers: Mapping[str, str], now: float) -> None:
        """Calendar totals come with every answer, see `hear_total`."""

    def hear_total(self, headers: Mapping[str, str], start_ms: int) -> None:
        """Counts only when request and answer fell into one window: it may otherwise be the total of the one before."""
        told = headers.get(self.limit.used_header, "")
        if told.isdecimal() and start_ms == self.start_ms:
            self.used = max(self.used, int(told))

    def wait_ms(self, venue_ms: int, now: float) -> float:
        del now
        return self.limit.window_ms - venue_ms % self.limit.window_ms


class RollingCounter:
    def __init__(self, limit: Limit) -> None:
        self.limit, self.capacity = limit, limit.capacity
        self.used = 0
        self._window = limit.window_ms / 1000 + _ROLLING_GUARD
        self._away: deque[Slot] = deque()
        self._over: deque[tuple[float, int]] = deque()
        """(when it ceases to count, cost), in that order."""

    def roll(self, venue_ms: int, now: float) -> None:
        del venue_ms
        away, over = self._away, self._over
        while away and (not away[0].under_way or away[0].at + _ARRIVED_WITHIN <= now):
            self.settle(away.popleft(), now)
        while over and over[0][0] <= now:
            self.used -= over.popleft()[1]

    def take(self, cost: int, now: float) -> Slot:
        slot = Slot(cost, now)
        self.used += cost
        self._away.append(slot)
        return slot

    def settle(self, slot: Slot, now: float) -> None:
        if slot.under_way:
            slot.under_way = False
            self._over.append((now + self._window, slot.cost))

    def give_back(self, slot: Slot) -> None:
        if slot.under_way:
            slot.under_way = False
            self.used -= slot.cost

    def hear(self, headers: Mapping[str, str], now: float) -> None:
        """What is missing beyond our own count was used by others with the same account; it is taken to be as new as
        can be."""
        capacity = headers.get(self.limit.capacity_header, "") if self.limit.capacity_header else ""
        if capacity.isdecimal() and int(capacity) > 0:
            self.capacity = int(capacity)
        left = headers.get(self.limit.left_header, "") if self.limit.left_header else ""
        if left.isdecimal() and (others := self.capacity - int(left) - self.used) > 0:
            self.used += others
            self._over.append((now + self._window, others))

    def wait_ms(self, venue_ms: int, now: float) -> float:
        del venue_ms
        until = self._over[0][0] if self._over else math.inf
        if self._away:
            until = min(until, self._away[0].at + _ARRIVED_WITHIN)
        return max((until - now) * 1000, 0.0)


def counter_of(limit: Limit) -> CalendarCounter | RollingCounter:
    return RollingCounter(limit) if limit.rolling else CalendarCounter(limit)
