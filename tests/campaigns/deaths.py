"""How a venue can be as good as dead, at the start or from some wave on."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from tests.campaigns.processes import Process, ask
from tools.bench.venues import BINANCE, BYBIT, VENUES, VenueFacts

FOREVER_MS: Final = 3_600_000
_BAN_STATUS: Final[Mapping[str, int]] = {BINANCE.name: 418, BYBIT.name: 403}
_LIMIT_STATUS: Final = 429
"""Where a venue knows no ban, everything is one request too many."""


def _banned(facts: VenueFacts) -> tuple[Mapping[str, Any], ...]:
    status = _BAN_STATUS.get(facts.name, _LIMIT_STATUS)
    return ({"kind": "rate_limit", "status": status, "duration_ms": FOREVER_MS},)


def _garbage(_facts: VenueFacts) -> tuple[Mapping[str, Any], ...]:
    page = {"kind": "http_error", "status": 200, "body": "<html><body>come back later</body></html>", "count": -1}
    return (page, {"kind": "garbage_frame", "count": -1})


def _key(_facts: VenueFacts) -> tuple[Mapping[str, Any], ...]:
    return ({"kind": "revoke_key"},)


_FAULTS: Final = {"banned": _banned, "garbage": _garbage, "key": _key}
HOWS: Final = ("down", "hang", *_FAULTS)


class Death(Struct, frozen=True, kw_only=True):
    """`wave`: before which it dies, counted from 1; 0 = before the daemon starts."""

    venue: str
    how: str
    wave: int = 0

    def __str__(self) -> str:
        return f"{self.venue}:{self.how}" + (f"@{self.wave}" if self.wave else "")

    def strike(self, process: Process, facts: VenueFacts, url: str) -> None:
        """Now. A process that hangs takes connections and says nothing on them."""
        if self.how == "down":
            process.kill()
        elif self.how == "hang":
            process.child.send_signal(signal.SIGSTOP)
        else:
            for fault in _FAULTS[self.how](facts):
                ask(f"{url}/_sim/fault", fault)


def parse(text: str) -> Death:
    """`NAME[:HOW[@WAVE]]`, HOW is down unless told. Raises ValueError with a sentence."""
    what, _, wave = text.partition("@")
    venue, _, how = what.partition(":")
    if venue not in VENUES:
        raise ValueError(f"{venue!r} is none of {', '.join(VENUES)}")
    if (how or "down") not in HOWS:
        raise ValueError(f"{how!r} is none of {', '.join(HOWS)}")
    if wave and not wave.isdecimal():
        raise ValueError(f"{wave!r} is no number of a wave")
    return Death(venue=venue, how=how or "down", wave=int(wave or 0))
