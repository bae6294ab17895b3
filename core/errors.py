"""Every exception Breakwater raises on purpose, drawn as the tree it is. The question each answers is *who acts*.

BreakwaterError
├── ConfigError            the operator fixes the configuration; the daemon does not start (exit status 2)
├── StartRefused           the operator fixes the account or the host (exit status 3)
│   └── AlreadyRunning     another daemon holds the lock of this account or data folder
├── MalformedPayload       nobody yet: the payload is set aside, counted and reported, never half-applied
├── VenueError             what a venue did to one request
│   ├── Unreachable        retry: the request certainly did nothing (or was only a read)
│   ├── RateLimited        wait until `retry_at_ms`
│   ├── Refused            a definite no, with the venue's raw code; never retried unchanged
│   └── Ambiguous          ask: the command may or may not have been executed
├── JournalUnwritable      entries stop; reduce-only orders still go out and are journaled later
├── JournalUnreadable      a tool has nothing to tell: the operator looks where the journal is
└── InvariantBroken        trading halts, protection stays standing, the operator is called
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class BreakwaterError(Exception):
    """Root of the tree; never raised itself."""


class ConfigProblem(Protocol):
    """One thing wrong with the configuration; `str()` of it is a full sentence naming variable, value and fix."""

    @property
    def variable(self) -> str: ...


class ConfigError(BreakwaterError):
    """The configuration cannot be used. Carries *all* problems found, never just the first."""

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class StartRefused(BreakwaterError):
    """The daemon will not start trading; the message says what to change."""


class AlreadyRunning(StartRefused):
    """Another process holds the single-instance lock."""


class MalformedPayload(BreakwaterError):
    """Text from outside did not parse. `source` names where it came from; the text itself is not in the message."""

    def __init__(self, source: str, what: str) -> None:
        self.source, self.what = source, what
        super().__init__(f"{source}: {what}")


class VenueError(BreakwaterError):
    """A request to a venue did not end in success. `code` is the venue's raw code as text, "" where there was none."""

    def __init__(self, venue: str, what: str, *, code: str = "", status: int = 0) -> None:
        self.venue, self.what, self.code, self.status = venue, what, code, status
        super().__init__(f"{venue}: {what}" + (f" (code {code})" if code else f" (HTTP {status})" if status else ""))


class Unreachable(VenueError):
    """Nothing was executed: the connection failed before the request left, or the venue says so."""


class RateLimited(VenueError):
    """The venue asks for silence until `retry_at_ms` (UTC ms); nothing was executed. `bucket` names what has to be
    silent where that is only one kind of request; None = everything."""

    def __init__(
        self, venue: str, what: str, *, retry_at_ms: int, bucket: str | None = None, code: str = "", status: int = 0
    ) -> None:
        self.retry_at_ms, self.bucket = retry_at_ms, bucket
        super().__init__(venue, what, code=code, status=status)


class Refused(VenueError):
    """The venue understood and said no."""


class Ambiguous(VenueError):
    """Sent, and the answer does not tell whether it was executed: look it up, never send blindly again."""


class JournalUnwritable(BreakwaterError):
    """The journal did not take a record that had to be durable."""


class JournalUnreadable(BreakwaterError):
    """There is no journal, or not one that this program can read."""


class InvariantBroken(BreakwaterError):
    """Something that must be impossible happened; the daemon goes HALTED and keeps every stop standing."""
