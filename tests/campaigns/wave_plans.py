"""What the wave campaign plays: how many waves of what size, within which limits, and what the venue does meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ENTRIES = {"method": "POST", "path": "/fapi/v1/order"}
STOPS = {"method": "POST", "path": "/fapi/v1/algoOrder"}
ARMED_BEFORE_MS = 1_000
HALF: Mapping[str, Any] = {"count": -1, "fraction": 0.5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What the venue does to every wave. `refuses`: an entry may honestly end without a position, told with a reason.
    `gap_seconds`: the waves must be this far apart, because finding out what became of an order takes a while."""

    faults: tuple[Mapping[str, Any], ...] = ()
    refuses: bool = False
    gap_seconds: float = 5.0


FAULTS: Mapping[str, Weather] = {
    "none": Weather(),
    "drop_response": Weather(faults=({"kind": "drop_response", "match": ENTRIES, **HALF},), gap_seconds=20.0),
    "drop_response_stops": Weather(faults=({"kind": "drop_response", "match": STOPS, **HALF},), gap_seconds=20.0),
    "drop_request": Weather(
        faults=({"kind": "drop_request", "match": ENTRIES, **HALF},), refuses=True, gap_seconds=40.0
    ),
    "unknown": Weather(faults=({"kind": "timeout_after_execution", "match": ENTRIES, **HALF},), gap_seconds=20.0),
    "bad_gateway": Weather(
        faults=(
            {"kind": "http_error", "status": 502, "body": "<html>", "phase": "after", "match": ENTRIES, **HALF},
            {"kind": "http_error", "status": 502, "body": "<html>", "phase": "after", "match": STOPS, **HALF},
        ),
        gap_seconds=20.0,
    ),
    "reject_stop": Weather(faults=({"kind": "reject_stop", "code": -2010, "count": 5},)),
    "duplicate_event": Weather(faults=({"kind": "duplicate_event", "count": -1},)),
    "reorder_events": Weather(faults=({"kind": "reorder_events", "count": -1},)),
    "delay_event": Weather(faults=({"kind": "delay_event", "delay_ms": 600, **HALF},)),
    "lose_event": Weather(faults=({"kind": "lose_event", "seed": 1, **HALF},), gap_seconds=40.0),
    "disconnect_stream": Weather(
        faults=tuple(
            {"kind": "disconnect_stream", "match": {"stream": "/private"}, "at_ms": ARMED_BEFORE_MS + later}
            for later in (120, 290, 900)
        ),
        gap_seconds=10.0,
    ),
}
"""`--faults` by name. They are armed shortly before each wave and taken back before its positions are closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`sizes`: signals per wave. `limit`: entries a wave may have (MAX_TRADES_PER_WAVE and MAX_POSITIONS alike).
    `steady_after`: waves that may still fill caches before the daemon's memory counts as its resting level."""

    name: str
    sizes: tuple[int, ...]
    limit: int
    latency_ms: float = 250.0
    first_ms: int = 5_000
    gap_seconds: float = 5.0
    steady_after: int = 3

    @property
    def symbols(self) -> int:
        return max(40, *(size + size // 4 for size in self.sizes))

    def allowed(self, wave: int) -> int:
        return min(self.sizes[wave], self.limit)


def plans(names: list[str], waves: int, latency_ms: float, gap_seconds: float) -> list[Plan]:
    """Those of `names` (small, large), each of `waves` waves."""
    known = {
        "small": Plan(name="small", sizes=(6,) * waves, limit=6, latency_ms=latency_ms, gap_seconds=gap_seconds),
        "large": Plan(
            name="large",
            sizes=(68, *(500,) * waves),
            limit=10,
            latency_ms=latency_ms,
            gap_seconds=gap_seconds,
            steady_after=5,
        ),
    }
    return [known[name] for name in names]
