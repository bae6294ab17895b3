"""ClockWatch: whether the measured offset of each venue's clock still holds. The offset is applied to every request, so
its size does not matter; a host clock that jumped since it was measured makes it wrong (NET-01)."""

from __future__ import annotations

from msgspec import Struct

from core.clock import Clock
from core.domain.ids import VenueName

MEASURED_MAX_AGE_SECONDS = 3_600.0
"""Clocks drift by milliseconds in that time; beyond it several measurements in a row have failed."""


class _Measurement(Struct, frozen=True):
    """`ahead_ms`: wall clock minus monotonic clock."""

    at: float
    ahead_ms: float


class ClockWatch:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._measured: dict[VenueName, _Measurement] = {}

    def measured(self, venue: VenueName) -> None:
        """The offset of this venue's clock has just been measured."""
        self._measured[venue] = self._now()

    def error_ms(self, venue: VenueName) -> int | None:
        """How far this host's clock has jumped since; None = not measured for too long.

        A venue that is asked about for the first time has just been opened, which measures its clock.
        """
        now = self._now()
        known = self._measured.setdefault(venue, now)
        if now.at - known.at > MEASURED_MAX_AGE_SECONDS:
            return None
        return round(now.ahead_ms - known.ahead_ms)

    def _now(self) -> _Measurement:
        at = self._clock.monotonic()
        return _Measurement(at, self._clock.now_ms() - at * 1000)
