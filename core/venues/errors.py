"""What a venue's refusal means, by table: (HTTP status, raw venue code) -> our exception tree.

ccxt's own mapping depends on the host name and softens codes, so it is not asked. A code that is in no table is
`Ambiguous`: for an order that means "look it up", never "rejected" (ORD-17).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from core.errors import Ambiguous, RateLimited, Refused, Unreachable, VenueError


class Meaning(StrEnum):
    """What a code says about the request that got it."""

    DONE = "done"
    """Already as asked ("no need to change"): a success (ORD-07)."""
    REFUSED = "refused"
    """A definite no; the same request will be refused again."""
    AUTH = "auth"
    """The key, the signature or this address are not accepted; permanent until the operator acts (SEC-03, NET-07)."""
    RESTRICTED = "restricted"
    """The account may do less than it used to, e.g. only reduce; the key is as good as it was (RSK-12)."""
    CLOCK = "clock"
    """Our time stamp was off; nothing was executed. Measure the offset, send again (NET-01)."""
    UNAVAILABLE = "unavailable"
    """Not now; nothing was executed."""
    MAINTENANCE = "maintenance"
    """The same, from a venue that serves nobody for a while (NET-11)."""
    LIMITED = "limited"
    """Too fast; nothing was executed."""
    UNKNOWN = "unknown"
    """Executed or not, the venue does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorTable:
    """One venue's codes, as text. `windows_ms` is the counting window behind a limit's code ("" = any other): silence
    lasts until it ends when the venue names no time."""

    venue: str
    codes: Mapping[str, Meaning]
    windows_ms: Mapping[str, int]

    def meaning(self, status: int, code: str, text: str) -> Meaning:
        """Of an answer that is not a success. `code` "" where the answer had none."""
        if status in {418, 429}:
            return Meaning.LIMITED
        if code in self.codes:
            return self.codes[code]
        if code == "" and status == 503 and text.startswith("Service Unavailable"):
            return Meaning.MAINTENANCE
        return Meaning.UNKNOWN

    def error(
        self,
        status: int,
        code: str,
        text: str,
        *,
        venue_ms: int,
        offset_ms: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> VenueError:
        """The exception to raise. `venue_ms` is the venue's clock, `offset_ms` what it is ahead of ours: the venue
        names times on its own clock, `RateLimited.retry_at_ms` is on ours."""
        what = _one_line(text) or f"HTTP {status}"
        match self.meaning(status, code, text):
            case Meaning.DONE | Meaning.REFUSED | Meaning.AUTH | Meaning.RESTRICTED | Meaning.CLOCK:
                return Refused(self.venue, what, code=code, status=status)
            case Meaning.UNAVAILABLE | Meaning.MAINTENANCE:
                return Unreachable(self.venue, what, code=code, status=status)
            case Meaning.LIMITED:
                window_ms = self.windows_ms.get(code, self.windows_ms[""])
                retry_at = _retry_at_ms(text, headers or {}, venue_ms, window_ms)
                return RateLimited(self.venue, what, retry_at_ms=retry_at - offset_ms, code=code, status=status)
            case Meaning.UNKNOWN:
                return Ambiguous(self.venue, what, code=code, status=status)

    def is_clock(self, error: VenueError) -> bool:
        return self.codes.get(error.code) is Meaning.CLOCK

    def is_key(self, error: VenueError) -> bool:
        """Whether everything signed will be refused like this."""
        return self.codes.get(error.code) is Meaning.AUTH

    def is_done(self, error: VenueError) -> bool:
        return self.codes.get(error.code) is Meaning.DONE


_BANNED_UNTIL = re.compile(r"banned until (\d{13})")
_LONGEST_PAUSE_MS = 3 * 24 * 3600 * 1000
"""The venues' longest documented ban; a later end is a misprint."""
_WINDOW_GUARD_MS = 250


def _retry_at_ms(text: str, headers: Mapping[str, str], venue_ms: int, window_ms: int) -> int:
    after = headers.get("retry-after", "")
    if after.isdecimal():
        return venue_ms + min(int(after) * 1000, _LONGEST_PAUSE_MS)
    until = _BANNED_UNTIL.search(text)
    if until is not None and venue_ms < int(until[1]) <= venue_ms + _LONGEST_PAUSE_MS:
        return int(until[1])
    return venue_ms - venue_ms % window_ms + window_ms + _WINDOW_GUARD_MS


def _one_line(text: str, longest: int = 200) -> str:
    """A venue's words as they may stand in a log: one line, printable, short (SEC-09)."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * longest]).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"
