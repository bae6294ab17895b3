"""The two clocks: monotonic seconds for deadlines, UTC milliseconds for stamps. Nothing else reads the time."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds on the event loop's scale; only differences mean something."""
        ...

    def now_ms(self) -> int:
        """UTC milliseconds since the epoch, this host's opinion."""
        ...


class SystemClock:
    """Production: the event loop's own time, and the host's wall clock."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


def iso_utc(ms: int) -> str:
    """ISO 8601 with milliseconds and offset, e.g. `2026-09-19T12:00:00.123+00:00`."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
