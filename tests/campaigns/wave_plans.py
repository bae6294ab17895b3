"""What the wave campaign plays: how many waves of what size, within which limits, and what the venues do meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from tools.bench.venues import BINANCE, BYBIT, OKX, VenueFacts

ENTRIES, STOPS = "entries", "stops"
PATHS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    BINANCE.name: {ENTRIES: ("/fapi/v1/order",), STOPS: ("/fapi/v1/algoOrder",)},
    BYBIT.name: {ENTRIES: ("/v5/order/create*",), STOPS: ("/v5/position/trading-stop",)},
    OKX.name: {
        ENTRIES: ("/api/v5/trade/order", "/api/v5/trade/batch-orders"),
        STOPS: ("/api/v5/trade/order-algo", "/api/v5/trade/amend-algos"),
    },
}
"""Where each venue takes its orders: what a fault's `about` stands for."""
ARMED_BEFORE_MS = 1_000
FULL_GAP_SECONDS = 15.0
"""Bybit takes ten orders a second: its share of 68 is entered, and closed again, in some three each."""
HALF: Mapping[str, Any] = {"count": -1, "fraction": 0.5}


class Weather(Struct, frozen=True, kw_only=True):
    """What the venues do to every wave; `about` entries or stops is spelt as each venue does.

    `refuses`: an entry may honestly end without a position, told with a reason. `gap_seconds`: the waves must be this
    far apart, because finding out what became of an order takes a while.
    """

    faults: tuple[Mapping[str, Any], ...] = ()
    refuses: bool = False
    gap_seconds: float = 5.0

    def at(self, facts: VenueFacts, seed: int) -> Iterator[Mapping[str, Any]]:
        """The faults as that venue's simulator wants them. Where a wave's entries are one request, half of them is a
        coin thrown for each wave, by `seed`."""
        for fault in self.faults:
            own = {key: value for key, value in fault.items() if key not in ("about", "codes")}
            if "codes" in fault and facts.name in fault["codes"]:
                own["code"] = fault["codes"][facts.name]
            if facts.attaches and "fraction" in own:
                own.setdefault("seed", seed)
            about = fault.get("about")
            if about is None:
                yield own
                continue
            for path in PATHS[facts.name][about]:
                yield own | {"match": {"method": "POST", "path": path}}


FAULTS: Mapping[str, Weather] = {
    "none": Weather(),
    "drop_response": Weather(faults=({"kind": "drop_response", "about": ENTRIES, **HALF},), gap_seconds=20.0),
    "drop_response_stops": Weather(faults=({"kind": "drop_response", "about": STOPS, **HALF},), gap_seconds=20.0),
    "drop_request": Weather(
        faults=({"kind": "drop_request", "about": ENTRIES, **HALF},), refuses=True, gap_seconds=40.0
    ),
    "unknown": Weather(faults=({"kind": "timeout_after_execution", "about": ENTRIES, **HALF},), gap_seconds=20.0),
    "bad_gateway": Weather(
        faults=(
            {"kind": "http_error", "status": 502, "body": "<html>", "phase": "after", "about": ENTRIES, **HALF},
            {"kind": "http_error", "status": 502, "body": "<html>", "phase": "after", "about": STOPS, **HALF},
        ),
        gap_seconds=20.0,
    ),
    "reject_stop": Weather(faults=({"kind": "reject_stop", "codes": {BINANCE.name: -2010}, "count": 5},)),
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


class Plan(Struct, frozen=True, kw_only=True):
    """`sizes`: signals per wave, over all venues. `limit`: entries a wave may have (MAX_TRADES_PER_WAVE,
    MAX_TRADES_PER_WAVE_TOTAL and MAX_POSITIONS alike). `first_ms`: from the daemon's coming to the first wave.
    `steady_after`: waves that may still fill caches before the daemon's memory counts as its resting level."""

    name: str
    sizes: tuple[int, ...]
    limit: int
    latency_ms: float = 250.0
    first_ms: int = 2_000
    gap_seconds: float = 5.0
    steady_after: int = 3

    def symbols(self, venues: int) -> int:
        """How many instruments each venue must list."""
        return max(40, *(-(-size * 5 // (4 * venues)) for size in self.sizes))


def plans(names: list[str], waves: int, latency_ms: float, gap_seconds: float) -> list[Plan]:
    """Those of `names` (small, medium, large, full), each of `waves` waves, full ones of a quarter as many."""
    known = {
        "small": Plan(name="small", sizes=(6,) * waves, limit=6, latency_ms=latency_ms, gap_seconds=gap_seconds),
        "medium": Plan(name="medium", sizes=(30,) * waves, limit=30, latency_ms=latency_ms, gap_seconds=gap_seconds),
        "large": Plan(
            name="large",
            sizes=(68, *(500,) * waves),
            limit=10,
            latency_ms=latency_ms,
            gap_seconds=gap_seconds,
            steady_after=5,
        ),
        "full": Plan(
            name="full",
            sizes=(68,) * max(1, waves // 4),
            limit=68,
            latency_ms=latency_ms,
            gap_seconds=max(gap_seconds, FULL_GAP_SECONDS),
        ),
    }
    return [known[name] for name in names]
