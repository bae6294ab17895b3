"""How often one symbol's price is told, learnt from when it came; whole milliseconds.

One limit for all symbols called the slow ones stale and blocked every entry (MKT-06): what is too old for a symbol that
ticks ten times a second is what a quiet one never beats. So a limit is at least twice the symbol's own interval, within
a bound: a dead feed must not become its own measure.
"""

from __future__ import annotations

_SLOWER, _FASTER = 2, 16
"""A gap longer than usual is believed by half at once, a shorter one by little: ticks come in bursts."""
INTERVALS = 2


def learned(interval_ms: int, gap_ms: int) -> int:
    """The interval as it is known after one more gap; 0 = nothing is known yet. A gap that is an outage is the caller's
    to leave out."""
    if not interval_ms:
        return gap_ms
    if gap_ms > interval_ms:
        return interval_ms + (gap_ms - interval_ms + _SLOWER - 1) // _SLOWER
    return interval_ms - (interval_ms - gap_ms) // _FASTER


def widened(limit_ms: int, interval_ms: int, factor: int) -> int:
    """A limit as it holds for a symbol of that interval: never below what is configured, at most `factor` times it."""
    return min(max(limit_ms, INTERVALS * interval_ms), factor * limit_ms)
