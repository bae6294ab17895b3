"""A venue's breaker: entries pause after an error storm, a refusal for margin or a restriction, and are tried again
with growing waits (RSK-07, RSK-12, VAL-13). Protective orders never ask it. Times are UTC milliseconds, so that a
restart keeps the wait."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from core.domain.gate import Gate, passed, refused
from core.domain.ids import ClientOrderId
from core.domain.verdict import Reason


class PauseCause(StrEnum):
    ERRORS = "errors"
    """So many entries in a row that the venue did not answer or could not take."""
    MARGIN = "margin"
    RESTRICTED = "restricted"


_WAITS_MS = {
    PauseCause.ERRORS: (30_000, 15 * 60_000),
    PauseCause.MARGIN: (60_000, 30 * 60_000),
    PauseCause.RESTRICTED: (60_000, 60 * 60_000),
}
"""First wait and longest; each failed trial doubles it."""
_REASONS = {
    PauseCause.ERRORS: Reason.VENUE_ERRORS,
    PauseCause.MARGIN: Reason.MARGIN_PAUSE,
    PauseCause.RESTRICTED: Reason.ACCOUNT_RESTRICTED,
}


class Pause(Struct, frozen=True, kw_only=True):
    """`retry_at_ms` is when one entry may try again; `trial` is that entry while its answer is awaited."""

    cause: PauseCause
    detail: str
    since_ms: int
    wait_ms: int
    retry_at_ms: int
    trial: ClientOrderId | None = None


class Breaker(Struct, frozen=True, kw_only=True):
    """Of one venue. `errors` counts entries in a row that met a venue error; so many as the limit pause, 0 = never."""

    errors_limit: int
    errors: int = 0
    pause: Pause | None = None

    def failed(self, cause: PauseCause, detail: str, entry: ClientOrderId, now_ms: int) -> Breaker:
        """An entry met this trouble. Answers to entries that were sent before the pause change nothing about it."""
        errors = self.errors + 1 if cause is PauseCause.ERRORS else self.errors
        if self.pause is not None:
            if self.pause.trial != entry:
                return replace(self, errors=errors)
            wait = min(2 * self.pause.wait_ms, _WAITS_MS[cause][1])
            again = replace(self.pause, cause=cause, detail=detail, wait_ms=wait, retry_at_ms=now_ms + wait, trial=None)
            return replace(self, errors=errors, pause=again)
        if cause is PauseCause.ERRORS and not 0 < self.errors_limit <= errors:
            return replace(self, errors=errors)
        first = _WAITS_MS[cause][0]
        begun = Pause(cause=cause, detail=detail, since_ms=now_ms, wait_ms=first, retry_at_ms=now_ms + first)
        return replace(self, errors=errors, pause=begun)

    def succeeded(self, entry: ClientOrderId) -> Breaker:
        """The venue took an entry: no errors any more; the pause ends when this was its trial."""
        ended = self.pause is None or self.pause.trial == entry
        return replace(self, errors=0, pause=None if ended else self.pause)

    def judged(self, entry: ClientOrderId) -> Breaker:
        """The venue refused an entry for something of its own (price, symbol): it answers, so errors are over."""
        if self.pause is None or self.pause.trial != entry:
            return replace(self, errors=0)
        answers = self.pause.cause is PauseCause.ERRORS
        return replace(self, errors=0, pause=None if answers else replace(self.pause, trial=None))

    def tried(self, entry: ClientOrderId, now_ms: int) -> Breaker:
        """This entry goes out as the trial of a pause whose wait is over; the next may go a wait later."""
        if self.pause is None:
            return self
        return replace(self, pause=replace(self.pause, trial=entry, retry_at_ms=now_ms + self.pause.wait_ms))

    def gate(self, now_ms: int) -> Gate:
        """Lets entries through without a pause, and one when its wait is over."""
        limit = f"VENUE_ERRORS_LIMIT={self.errors_limit}"
        if self.pause is None:
            return passed("venue_pause", f"{self.errors} errors in a row", limit)
        if self.pause.cause is not PauseCause.ERRORS:
            limit = "none"
        seconds = -(-(self.pause.retry_at_ms - now_ms) // 1000)
        # More than the whole wait is left only where the clock was set back; a trial is safe, a wait of years is not.
        if seconds <= 0 or self.pause.retry_at_ms - now_ms > self.pause.wait_ms:
            return passed("venue_pause", f"{self.pause.cause}: tried again", note=self.pause.detail)
        detail = f"entries pause: {self.pause.detail}; tried again in {seconds} s"
        reason = _REASONS[self.pause.cause]
        return refused("venue_pause", reason, detail, value=self.pause.cause.value, limit=limit, seconds=seconds)
