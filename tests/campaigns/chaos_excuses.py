"""When something may be otherwise than it must: the process is down, a venue misbehaves, somebody else trades."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.campaigns.chaos_faults import HARMLESS
from tests.campaigns.chaos_plan import BANNED_SECONDS, CALM_SECONDS
from tests.campaigns.chaos_record import Record, Window
from tests.scenarios.worlds import Daemon

DEADLINE_SECONDS = 3.0
FLATTENED_SECONDS = 2.0
"""After the deadline, for the close to be filled."""
RECOVERY_SECONDS = 30.0
"""After a fault ended, or a start: a venue that did not serve is asked again at growing intervals."""
FOREIGN_SECONDS = 12.0
"""For taking over what somebody else opened: two readings, and a pause of five seconds after the last one."""
UNSEEN_SECONDS = 60.0
"""What somebody did behind our back while frames were lost is found by the next reading."""
SWEEP_SECONDS = 110.0
"""Two readings that agree, 45 s apart."""


def longest_uncovered(since: float, until: float, excuses: Iterable[Window]) -> float:
    """The longest stretch of [since, until] that no window covers, seconds."""
    longest, at = 0.0, since
    for window in sorted(excuses):
        if window.until <= at or window.since >= until:
            continue
        longest = max(longest, window.since - at)
        at = max(at, window.until)
    return max(longest, until - at)


def excuses(record: Record, venue: str) -> Iterator[Window]:
    """When a position may stand bare: the process is down, or the venue does not do what it should."""
    for window in record.down:
        yield Window(window.since, window.until + RECOVERY_SECONDS)
    faulty = [window for window in record.faulty if window.venue == venue and window.why not in HARMLESS]
    for window in faulty:
        banned = window.why in ("revoke_key", "rate_limit") and record.plan.calm_s > CALM_SECONDS
        yield Window(window.since, window.until + (BANNED_SECONDS if banned else RECOVERY_SECONDS))
    for window in record.own_hand:
        if window.venue == venue:
            unseen = any(w.since < window.since < w.until + UNSEEN_SECONDS for w in faulty)
            yield Window(window.since, window.since + (UNSEEN_SECONDS if unseen else FOREIGN_SECONDS))


def given_up(record: Record, daemon: Daemon) -> set[str]:
    """Venues whose key was refused at the newest start: they are off until the next one, and people are told."""
    starts = [window for window in record.down if window.why == "start"]
    refused_then = {
        window.venue
        for window in record.faulty
        if window.why == "revoke_key"
        and starts
        and window.since <= starts[-1].until
        and starts[-1].since <= window.until
    }
    return refused_then - {row.venue.value for row in daemon.status.venues}


def strangers(record: Record, venue: str) -> set[str]:
    """Symbols the owner touched where what others open is left alone."""
    if record.plan.settings["EXTERNAL_POSITIONS"] != "ignore":
        return set()
    return {window.why for window in record.own_hand if window.venue == venue}
