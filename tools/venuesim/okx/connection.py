"""What all sockets share: frames as objects, a name for the connection, its limits, and the cut of the silent ones."""

from __future__ import annotations

import json
from collections import deque
from random import Random
from typing import Any

from tools.venuesim.wire import Host, Outbox, Timer

IDLE_MS = 30_000
"""Without a frame in either direction for so long, the venue ends a connection."""
HOUR_MS = 3_600_000
COMMANDS_PER_HOUR = 480
"""Logins and changes of subscriptions on one connection."""
LOGIN_FAILED, IDLE, KEY_CHANGED = 4001, 4004, 4007
_DIGITS = "0123456789abcdef"


def parsed(text: str) -> dict[str, Any]:
    """The object in a frame; empty for anything else."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def connection_id(random: Random) -> str:
    """A connection's name."""
    return "".join(random.choices(_DIGITS, k=8))


class Quota:
    """How many commands a connection has left."""

    def __init__(self) -> None:
        self._used: deque[int] = deque()

    def take(self, now_ms: int) -> bool:
        """Whether one more is allowed; it is counted then."""
        while self._used and not now_ms - HOUR_MS < self._used[0] <= now_ms:
            self._used.popleft()
        if len(self._used) >= COMMANDS_PER_HOUR:
            return False
        self._used.append(now_ms)
        return True


class IdleCut:
    """Ends a connection on which nothing has passed for the limit."""

    def __init__(self, host: Host, outbox: Outbox) -> None:
        self._host = host
        self._outbox = outbox
        self._last_ms = host.now_ms()
        self._timer: Timer = host.call_later(IDLE_MS, self._look)

    def touch(self) -> None:
        """Something passed."""
        self._last_ms = self._host.now_ms()

    def stop(self) -> None:
        """The socket is gone."""
        self._timer.cancel()

    def _look(self) -> None:
        behind_ms = self._host.behind_ms()
        if behind_ms > IDLE_MS:
            # The clock jumps: nobody could have spoken meanwhile.
            self._last_ms = self._host.now_ms() + int(behind_ms)
            self._timer = self._host.call_later(behind_ms + IDLE_MS, self._look)
            return
        left_ms = self._last_ms + IDLE_MS - self._host.now_ms()
        if left_ms <= 0:
            self._outbox.close(IDLE, "No data received in 30s.")
        else:
            # A clock turned back must not keep a connection longer than its limit.
            self._timer = self._host.call_later(min(left_ms, IDLE_MS), self._look)
