"""What all sockets share: frames as objects, a name for the connection, and the cut of those nobody uses."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tools.venuesim.wire import Host, Outbox, Timer

IDLE_MS = 600_000
"""Without a frame in either direction for so long, the venue ends a connection."""
GONE = 1000
_UNITS_MS = {"s": 1_000, "m": 60_000}
_SHORTEST_MS, _LONGEST_MS = 30_000, 600_000
_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


def parsed(text: str) -> dict[str, Any]:
    """The object in a frame; empty for anything else."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def idle_limit_ms(query: str) -> int:
    """What ``max_active_time`` in a socket's address asks for (30s to 10m); the default otherwise."""
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name == "max_active_time" and value[-1:] in _UNITS_MS and value[:-1].isdecimal():
            asked_ms = int(value[:-1]) * _UNITS_MS[value[-1]]
            if _SHORTEST_MS <= asked_ms <= _LONGEST_MS:
                return asked_ms
    return IDLE_MS


def short_id(random: Random) -> str:
    """A connection's name on the private and the trading socket."""
    return "".join(random.choices(_LETTERS, k=20)) + "-" + "".join(random.choices(_LETTERS, k=3))


def long_id(random: Random) -> str:
    """A connection's name on the public socket: a uuid."""
    text = f"{random.getrandbits(128):032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


class IdleCut:
    """Ends a connection on which nothing has passed for the limit."""

    def __init__(self, host: Host, outbox: Outbox, limit_ms: int) -> None:
        self._host = host
        self._outbox = outbox
        self._limit_ms = limit_ms
        self._last_ms = host.now_ms()
        self._timer: Timer = host.call_later(limit_ms, self._look)

    def touch(self) -> None:
        """Something passed."""
        self._last_ms = self._host.now_ms()

    def stop(self) -> None:
        """The socket is gone."""
        self._timer.cancel()

    def _look(self) -> None:
        left_ms = self._last_ms + self._limit_ms - self._host.now_ms()
        if left_ms <= 0:
            self._outbox.close(GONE, "idle")
        else:
            # A clock turned back must not keep a connection longer than its limit.
            self._timer = self._host.call_later(min(left_ms, self._limit_ms), self._look)
