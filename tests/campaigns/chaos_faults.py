"""One fault of each kind of the simulator's vocabulary, drawn by chance, as a table the simulator takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from tests.campaigns.wave_plans import ENTRIES, PATHS, STOPS
from tools.venuesim.faults import KINDS, Scope

BAN_STATUS: Mapping[str, int] = {"binance": 418, "bybit": 403, "okx": 429}
PAGE = "<html><body>Bad gateway</body></html>"
LONGEST_SECONDS = 25.0
ENDURING = frozenset(kind for kind, scope in KINDS.items() if scope in (Scope.REQUEST, Scope.SOCKET))
"""Kinds that last and may be struck again."""
HARMLESS = frozenset({"duplicate_event", "reorder_events", "gap_price"})
"""Kinds under which a position must be covered as soon as ever."""

Draw = Callable[[Random, str, str], dict[str, Any]]


def kinds_at(venue: str) -> list[str]:
    """Everything that venue's façade can do."""
    return [kind for kind in KINDS if kind != "listen_key_expired" or venue == "binance"]


def a_fault(chance: Random, kind: str, venue: str, symbol: str, left_s: float) -> dict[str, Any]:
    """`left_s`: it must be over by itself after so long, unless it is one that `forgive` takes back."""
    lasts_s = min(chance.uniform(1.0, LONGEST_SECONDS), max(1.0, left_s - 1.0))
    table: dict[str, Any] = {
        "kind": kind,
        "duration_ms": round(lasts_s * 1000.0),
        **_DRAWN[kind](chance, venue, symbol),
    }
    if KINDS[kind] in (Scope.REQUEST, Scope.FRAME) and "count" not in table:
        table |= {"fraction": chance.choice((0.2, 0.5, 1.0)), "seed": chance.randrange(1_000)}
    return {key: value for key, value in table.items() if value is not None}


def _about(chance: Random, venue: str) -> dict[str, Any]:
    """Requests of one sort, or all."""
    sort = chance.choice(("all", "reads", "writes", ENTRIES, ENTRIES, STOPS, STOPS))
    if sort == "all":
        return {}
    if sort in (ENTRIES, STOPS):
        return {"match": {"method": "POST", "path": chance.choice(PATHS[venue][sort])}}
    return {"match": {"method": "GET" if sort == "reads" else "POST"}}


def _latency(chance: Random, venue: str, _symbol: str) -> dict[str, Any]:
    return {**_about(chance, venue), "delay_ms": round(chance.choice((300, 1_500, 5_000, 12_000)) * chance.random())}


def _request(chance: Random, venue: str, _symbol: str) -> dict[str, Any]:
    return _about(chance, venue)


def _write(chance: Random, venue: str, _symbol: str) -> dict[str, Any]:
    sort = chance.choice((ENTRIES, STOPS))
    return {"match": {"method": "POST", "path": chance.choice(PATHS[venue][sort])}}


def _late_reply(chance: Random, venue: str, symbol: str) -> dict[str, Any]:
    return {**_write(chance, venue, symbol), "delay_ms": chance.choice((50, 400, 1_500))}


def _http_error(chance: Random, venue: str, _symbol: str) -> dict[str, Any]:
    status, body = chance.choice((500, 502, 503, 504)), chance.choice((None, PAGE))
    return {**_about(chance, venue), "status": status, "body": body, "phase": chance.choice(("before", "after"))}


def _read(chance: Random, _venue: str, _symbol: str) -> dict[str, Any]:
    """For a few seconds only: a venue that tells the same untruth for longer is believed."""
    return {"match": {"method": "GET"}, "duration_ms": round(chance.uniform(300.0, 4_000.0))}


def _nothing(_chance: Random, _venue: str, _symbol: str) -> dict[str, Any]:
    return {}


def _late_frame(chance: Random, _venue: str, _symbol: str) -> dict[str, Any]:
    return {"delay_ms": chance.choice((100, 600, 3_000))}


def _few_frames(chance: Random, _venue: str, _symbol: str) -> dict[str, Any]:
    return {"count": chance.randint(1, 5)}


def _one_frame(_chance: Random, _venue: str, _symbol: str) -> dict[str, Any]:
    return {"count": 1}


def _socket(chance: Random, _venue: str, _symbol: str) -> dict[str, Any]:
    return {"count": chance.choice((1, 1, 3, -1))}


def _silence(chance: Random, _venue: str, _symbol: str) -> dict[str, Any]:
    return {"count": chance.choice((1, 1, 2))}


def _refusal(chance: Random, _venue: str, symbol: str) -> dict[str, Any]:
    return {"count": chance.choice((1, 2, 4)), **chance.choice(({}, {"match": {"symbol": symbol}}))}


def _refused_stop(chance: Random, venue: str, symbol: str) -> dict[str, Any]:
    return {**_refusal(chance, venue, symbol), "phase": chance.choice(("before", "before", "after"))}


def _part(chance: Random, _venue: str, symbol: str) -> dict[str, Any]:
    again = chance.choice((None, 200, 2_000))
    return {"count": chance.choice((1, 3)), "fraction": chance.choice((0.1, 0.5, 0.9)), "delay_ms": again}


def _gap(chance: Random, _venue: str, symbol: str) -> dict[str, Any]:
    return {
        "match": {"symbol": symbol},
        "fraction": chance.choice((-1, 1)) * chance.choice((0.01, 0.03, 0.1)),
        "duration_ms": chance.choice((0, 1_000, 4_000)),
    }


def _of_symbol(_chance: Random, _venue: str, symbol: str) -> dict[str, Any]:
    return {"match": {"symbol": symbol}}


def _filters(chance: Random, _venue: str, symbol: str) -> dict[str, Any]:
    return {"match": {"symbol": symbol}, "body": {chance.choice(("min_notional", "max_qty", "market_max_qty")): "60"}}


def _deleveraged(chance: Random, _venue: str, symbol: str) -> dict[str, Any]:
    return {"match": {"symbol": symbol}, "fraction": chance.choice((0.5, 1.0)), "duration_ms": None}


def _skew(chance: Random, _venue: str, _symbol: str) -> dict[str, Any]:
    return {"delay_ms": chance.choice((-1, 1)) * chance.choice((300, 1_500, 6_000))}


def _limited(chance: Random, venue: str, _symbol: str) -> dict[str, Any]:
    return {"status": chance.choice((429, BAN_STATUS[venue]))}


def _at_once(_chance: Random, _venue: str, _symbol: str) -> dict[str, Any]:
    return {"duration_ms": None}


_DRAWN: Mapping[str, Draw] = {
    "latency": _latency,
    "drop_request": _request,
    "drop_response": _request,
    "http_error": _http_error,
    "timeout_after_execution": _write,
    "event_before_reply": _late_reply,
    "stale_rest": _read,
    "empty_rest": _read,
    "maintenance": _nothing,
    "duplicate_event": _late_frame,
    "reorder_events": _late_frame,
    "delay_event": _late_frame,
    "lose_event": _nothing,
    "garbage_frame": _few_frames,
    "huge_frame": _one_frame,
    "disconnect_stream": _socket,
    "half_open_stream": _silence,
    "reject_order": _refusal,
    "reject_stop": _refused_stop,
    "partial_fill": _part,
    "slow_fill": _part,
    "gap_price": _gap,
    "halt_symbol": _of_symbol,
    "change_filters": _filters,
    "liquidate": _of_symbol,
    "adl": _deleveraged,
    "clock_skew": _skew,
    "listen_key_expired": _at_once,
    "rate_limit": _limited,
    "revoke_key": _nothing,
}
