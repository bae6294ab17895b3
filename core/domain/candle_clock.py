"""The 15-minute candles of polled waves: which one is expected when, and when a server is asked. All times UTC ms."""

from __future__ import annotations

from collections.abc import Collection

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
CANDLE_MS = 15 * MINUTE_MS


def expected_candle(now_ms: int) -> int:
    """Open of the candle whose signals are due now: minutes 0-15 the previous hour's :45, 16-30 :00, 31-45 :15,
    46-59 :30 (PRODUCT §2 W). A candle closes 15 minutes after its open, its signals come 3 to 8 minutes later."""
    minute = now_ms % HOUR_MS // MINUTE_MS
    return now_ms - now_ms % HOUR_MS + (max(0, minute - 1) // 15 - 1) * CANDLE_MS


def candle_of(time_ms: int) -> int:
    """Open of the candle this moment lies in."""
    return time_ms - time_ms % CANDLE_MS


def last_check(now_ms: int, minutes: Collection[int]) -> int:
    """The newest beginning of one of these minutes of the hour, now included. Raises ValueError for no minutes."""
    hour = now_ms - now_ms % HOUR_MS
    return max(
        start for m in minutes for start in (hour + m * MINUTE_MS, hour - HOUR_MS + m * MINUTE_MS) if start <= now_ms
    )


def next_check(now_ms: int, minutes: Collection[int]) -> int:
    """The next beginning of one of these minutes of the hour, later than now. Raises ValueError for no minutes."""
    hour = now_ms - now_ms % HOUR_MS
    return min(
        start for m in minutes for start in (hour + m * MINUTE_MS, hour + HOUR_MS + m * MINUTE_MS) if start > now_ms
    )
