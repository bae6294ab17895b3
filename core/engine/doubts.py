"""Differences between the venue and the book that nothing explains yet: since when each has stood, unchanged."""

from __future__ import annotations

from collections.abc import Collection

from core.clock import Clock
from core.domain.ids import InstrumentId, VenueName
from core.domain.money import Quantity
from core.domain.position import PositionKey
from core.domain.reconciliation import Evidence, Mismatch

UNEXPLAINED_SECONDS = 10.0
"""A figure that takes protection away is believed after standing for so long in readings that agree."""
OLDER_SECONDS = 60.0
"""The same of a row that is older, by its own stamp, than what we know."""


class Doubts:
    """What waits to be believed. Meanwhile the book, and every stop that follows from it, stays as it is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: dict[PositionKey, tuple[Quantity, float]] = {}

    def believed(self, mismatch: Mismatch, evidence: Evidence) -> bool:
        """Whether the venue's figure is to be booked now; if not, it is remembered."""
        if evidence.suffices:
            return True
        now = self._clock.monotonic()
        figure, since = self._since.get(mismatch.key, (None, now))
        if figure != mismatch.venue:
            since = now
        self._since[mismatch.key] = (mismatch.venue, since)
        old = evidence is Evidence.OLDER and mismatch.venue < mismatch.ours
        return now - since >= (OLDER_SECONDS if old else UNEXPLAINED_SECONDS)

    def waiting(self, mismatch: Mismatch) -> bool:
        """Whether just this has been seen before."""
        known = self._since.get(mismatch.key)
        return known is not None and known[0] == mismatch.venue

    def keep(self, venue: VenueName, still: Collection[PositionKey]) -> list[PositionKey]:
        """Forget what the newest reading of `venue` does not say any more; those forgotten."""
        gone = [key for key in self._since if key.instrument.venue is venue and key not in still]
        for key in gone:
            del self._since[key]
        return gone

    @property
    def instruments(self) -> frozenset[InstrumentId]:
        """What is in doubt now."""
        return frozenset(key.instrument for key in self._since)
