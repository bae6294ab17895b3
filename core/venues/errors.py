"""What a venue's refusal means, by table: (HTTP status, raw venue code) -> our exception tree.

ccxt's own mapping depends on the host name and softens codes, so it is not asked. A code that is in no table is
`Ambiguous`: for an order that means "look it up", never "rejected" (ORD-17).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field

from core.errors import Ambiguous, RateLimited, Refused, Unreachable, VenueError
from core.venues.payload import whole_in


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


ENDPOINT = ""
"""As `Silence.bucket`: the bucket the request itself was counted in first."""


class Silence(Struct, frozen=True, kw_only=True):
    """What a limit's answer demands, for how long where it names no end itself."""

    ms: int
    calendar: bool = False
    """Until the running calendar window of that length is over, instead of that long from now."""
    bucket: str | None = None
    """What has to be silent: None = everything, `ENDPOINT`, or a bucket (or family of buckets) by name."""


class ErrorTable(Struct, frozen=True, kw_only=True):
    """One venue's codes, as text.

    `statuses` are HTTP statuses that mean the same whatever the body says; a code comes after them. `silences` go by
    code, then by HTTP status as text (which is a limit then, where there is no code), then "" = any other limit.
    `reset_header` is where the venue tells the end of a limit, in ms of its own clock (lower case).
    `maintenance_pages` are (HTTP status, how its text begins) of answers without a code. `remedies` say what to change
    where the venue's own words do not (CFG-08). `doubtful` are codes of `AUTH` that a single order gets as well, with a
    key that is good, for a right it lacks.
    """

    venue: str
    codes: Mapping[str, Meaning]
    silences: Mapping[str, Silence]
    statuses: Mapping[int, Meaning] = field(default_factory=dict)
    reset_header: str = ""
    maintenance_pages: tuple[tuple[int, str], ...] = ()
    remedies: Mapping[str, str] = field(default_factory=dict)
    doubtful: frozenset[str] = frozenset()

    def meaning(self, status: int, code: str, text: str) -> Meaning:
        """Of an answer that is not a success. `code` "" where the answer had none."""
        if status in self.statuses:
            return self.statuses[status]
        if code in self.codes:
            return self.codes[code]
        if code == "" and any(status == page and text.startswith(begin) for page, begin in self.maintenance_pages):
            return Meaning.MAINTENANCE
        if code == "" and str(status) in self.silences:
            return Meaning.LIMITED
        return Meaning.UNKNOWN

    def silence(self, status: int, code: str) -> Silence:
        """What a limit's answer is about."""
        by_code = self.silences.get(code) if code else None
        return by_code or self.silences.get(str(status)) or self.silences[""]

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
        names times on its own clock, `RateLimited.retry_at_ms` is on ours. `RateLimited.bucket` is `Silence.bucket`;
        who sent it knows what the request was counted in and puts a name in the place of `ENDPOINT`."""
        what = _one_line(text) or f"HTTP {status}"
        if code in self.remedies:
            what = f"{what}; {self.remedies[code]}"
        match self.meaning(status, code, text):
            case Meaning.DONE | Meaning.REFUSED | Meaning.AUTH | Meaning.RESTRICTED | Meaning.CLOCK:
                return Refused(self.venue, what, code=code, status=status)
            case Meaning.UNAVAILABLE | Meaning.MAINTENANCE:
                return Unreachable(self.venue, what, code=code, status=status)
            case Meaning.LIMITED:
                silence = self.silence(status, code)
                retry_at = self._retry_at_ms(text, headers or {}, venue_ms, silence) - offset_ms
                return RateLimited(
                    self.venue, what, retry_at_ms=retry_at, bucket=silence.bucket, code=code, status=status
                )
            case Meaning.UNKNOWN:
                return Ambiguous(self.venue, what, code=code, status=status)

    def _retry_at_ms(self, text: str, headers: Mapping[str, str], venue_ms: int, silence: Silence) -> int:
        """On the venue's clock. An end that the venue names counts, unless it cannot be one."""
        after = headers.get("retry-after", "")
        if (seconds := whole_in(after)) is not None:
            return venue_ms + min(seconds * 1000, _LONGEST_PAUSE_MS)
        named = [until[1]] if (until := _BANNED_UNTIL.search(text)) is not None else []
        if self.reset_header and silence.bucket is not None:  # it tells of a bucket, and nothing of a ban
            named.append(headers.get(self.reset_header, ""))
        for stamp in named:
            end = whole_in(stamp)
            if end is not None and venue_ms < end <= venue_ms + _LONGEST_PAUSE_MS:
                return end + (0 if until is not None else _RESET_GUARD_MS)
        if silence.calendar:
            return venue_ms - venue_ms % silence.ms + silence.ms + _WINDOW_GUARD_MS
        return venue_ms + silence.ms

    def is_clock(self, error: VenueError) -> bool:
        return self.codes.get(error.code) is Meaning.CLOCK

    def is_key(self, error: VenueError) -> bool:
        """Whether everything signed will be refused like this."""
        return self.codes.get(error.code) is Meaning.AUTH

    def is_key_for_sure(self, error: VenueError) -> bool:
        """The same, also where an order was refused like this."""
        return self.is_key(error) and error.code not in self.doubtful

    def is_done(self, error: VenueError) -> bool:
        return self.codes.get(error.code) is Meaning.DONE


_BANNED_UNTIL = re.compile(r"banned until (\d{13})")
_LONGEST_PAUSE_MS = 3 * 24 * 3600 * 1000
"""The venues' longest documented ban; a later end is a misprint."""
_WINDOW_GUARD_MS = 250
_RESET_GUARD_MS = 20
"""The venue's clock is known to us no better than to some milliseconds."""


_MARKUP = re.compile(r"(?is)<(style|script)\b.*?(?:</\1>|$)|<[^>]*(?:>|$)")


def _one_line(text: str, longest: int = 200) -> str:
    """A venue's words as they may stand in a log: one line, printable, short (SEC-09); of a web page its words only."""
    text = text[: 20 * longest].lstrip()
    if text.startswith("<"):
        text = f"a web page: {_MARKUP.sub(' ', text).strip()}"
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * longest]).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"
