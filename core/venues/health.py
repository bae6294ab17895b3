"""Whether a venue serves us at all, judged from what its requests met, and the gate that keeps asking at bay while not.

Single failures are the business of whoever asked. Here several in a row become a condition of the venue: it limits us,
is in maintenance, does not answer, or refuses the key. Until it serves again only what protects a position goes out,
and one question at growing intervals (NET-02, NET-05, NET-07, NET-11).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from core.engine.ports import Condition, VenueHealth
from core.errors import Ambiguous, RateLimited, Refused, Unreachable, VenueError
from core.venues.errors import Meaning
from core.venues.reconnecting import system_jitter

if TYPE_CHECKING:
    from core.clock import Clock
    from core.venues.errors import ErrorTable

MAINTENANCE_AFTER = 2
"""Answers in a row that say so; a single one may be one server of many."""
DOWN_AFTER = 3
DOWN_AFTER_SECONDS = 1.0
"""So many failures in a row, and over at least this time: one dropped connection carries several requests."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
KEY_LOOK_SECONDS = 600.0
"""A refused key is for the operator to mend, at the venue or here; this is how often it is looked whether he has."""

QUESTION_SECONDS = 0.02
"""One question may be several requests that leave together; one of them alone would be given up with the others."""


class HealthMonitor:
    """One per venue. `on_change` hears of every change of condition, synchronously."""

    def __init__(
        self,
        errors: ErrorTable,
        clock: Clock,
        on_change: Callable[[VenueHealth], None],
        *,
        jitter: Callable[[], float] = system_jitter,
    ) -> None:
        self._errors, self._clock, self._on_change, self._jitter = errors, clock, on_change, jitter
        self._health = VenueHealth(condition=Condition.UP)
        self._failures = 0
        self._first_failure = 0.0
        self._maintenance = 0
        self._signed_failed = False
        self._pause = FIRST_PAUSE
        self._next_look = 0.0
        self._asked_at = -math.inf
        self.kept_back = 0
        """Requests that were not sent because the venue does not serve them."""
        self.counts: Counter[str] = Counter()
        """How often each request met each failure, e.g. `POST order -2019` (NET-05)."""

    @property
    def health(self) -> VenueHealth:
        return self._health

    @property
    def next_look(self) -> float:
        """Monotonic seconds from which one question is let through again."""
        return self._next_look

    def admit(self, *, signed: bool, protective: bool) -> None:
        """Let a request go out, or raise what the venue would say. What protects a position always may."""
        condition = self._health.condition
        if protective or condition in (Condition.UP, Condition.LIMITED):
            return  # a limit's silence is kept by the request budget
        if condition is Condition.KEY_REFUSED and not signed:
            return
        if self._health.needs_signed and not signed:
            return  # it proves nothing either way, and others need it
        now = self._clock.monotonic()
        if now >= self._next_look:
            self._asked_at = now
            self._schedule(now)
        if now - self._asked_at < QUESTION_SECONDS:
            return
        self.kept_back += 1
        why = f"{self._health.detail}; not asked before {self._next_look - now:.0f} s are over"
        if condition is Condition.KEY_REFUSED:
            raise Refused(self._errors.venue, why, code=self._health.code, status=401)
        raise Unreachable(self._errors.venue, why, code=self._health.code)

    def succeeded(self, *, signed: bool) -> None:
        """The venue answered, yes or no: it serves this kind of request."""
        if signed or not self._signed_failed:
            self._failures = self._maintenance = 0
            self._signed_failed = False
        if self._health.condition is Condition.UP or (self._health.needs_signed and not signed):
            return
        self._pause = FIRST_PAUSE
        self._change(VenueHealth(condition=Condition.UP))

    def failed(self, error: VenueError, *, signed: bool, reading: bool) -> None:
        """`reading`: the request asked something; an order without an answer says nothing of the venue."""
        match error:
            case RateLimited() if error.bucket is not None:
                self.succeeded(signed=signed)  # one kind of request has to wait; it is there
            case RateLimited():
                self._limited(error)
            case Refused() if self._errors.is_key(error):
                self._key_refused(error, reading=reading)
            case Refused():
                self.succeeded(signed=signed)
            case _ if self._is_maintenance(error):
                self._maintenance += 1
                self._signed_failed = self._signed_failed or signed
                if self._maintenance >= MAINTENANCE_AFTER:
                    self._trip(Condition.MAINTENANCE, error, signed=signed)
            case Unreachable() if error.status:
                self.succeeded(signed=signed)  # too busy for this one; it is there
            case Unreachable() | Ambiguous() if reading or isinstance(error, Unreachable):
                self._not_served(error, signed=signed)

    def _key_refused(self, error: VenueError, *, reading: bool) -> None:
        """By its code, at the first call (SEC-03). After a refused order one question goes out at once: it tells
        whether the key is dead for everything."""
        sure = reading or self._errors.is_key_for_sure(error)
        if not sure or self._health.condition is Condition.KEY_REFUSED:
            return
        self._trip(Condition.KEY_REFUSED, error, signed=True)
        if not reading:
            self._next_look = self._clock.monotonic()

    def _not_served(self, error: VenueError, *, signed: bool) -> None:
        now = self._clock.monotonic()
        if self._failures == 0:
            self._first_failure = now
        self._failures += 1
        self._signed_failed = self._signed_failed or signed
        if self._failures >= DOWN_AFTER and now - self._first_failure >= DOWN_AFTER_SECONDS:
            self._trip(Condition.DOWN, error, signed=signed)

    def _limited(self, error: RateLimited) -> None:
        if self._health.condition is Condition.KEY_REFUSED:
            return
        known = self._health.until_ms if self._health.condition is Condition.LIMITED else None
        if known is None or error.retry_at_ms > known:
            self._change(
                VenueHealth(condition=Condition.LIMITED, detail=error.what, code=error.code, until_ms=error.retry_at_ms)
            )

    def _trip(self, condition: Condition, error: VenueError, *, signed: bool) -> None:
        if self._health.condition is not condition:
            self._pause = KEY_LOOK_SECONDS if condition is Condition.KEY_REFUSED else FIRST_PAUSE
            self._schedule(self._clock.monotonic())
            self._change(VenueHealth(condition=condition, detail=error.what, code=error.code, needs_signed=signed))

    def _schedule(self, now: float) -> None:
        self._next_look = now + self._pause * (0.5 + self._jitter() / 2)
        if self._health.condition is not Condition.KEY_REFUSED:
            self._pause = min(self._pause * 2, max(LONGEST_PAUSE, self._pause))

    def _is_maintenance(self, error: VenueError) -> bool:
        return self._errors.meaning(error.status, error.code, error.what) is Meaning.MAINTENANCE

    def _change(self, health: VenueHealth) -> None:
        self._health = health
        self._on_change(health)
