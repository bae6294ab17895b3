"""What goes wrong outside the venues: the signal server, the KILL file, a full disk; and limits that are reached.

Drawn from a chance of its own, so that what a seed means for the venues does not depend on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

Line = Mapping[str, Any]
"""Of a script of tools/signal_feed.py."""
OPPOSITE = {"LONG": "SHORT", "SHORT": "LONG"}
FIRST_SECONDS = 3.0
DAYS_AGO = "2026-01-02T03:04:05Z"
GARBAGE: Sequence[str] = (
    "",
    "nonsense",
    "{",
    "[]",
    "null",
    "3",
    "[" * 3_000,
    '"' + "x" * 300_000 + '"',
    '{"type": "signal"}',
    '{"type": "signal", "id": null, "pair_symbol": "BTCUSDT", "direction": "LONG"}',
    '{"type": "signal", "id": {}, "pair_symbol": [], "direction": 1, "timestamp": "$now"}',
    '{"type": "signals_snapshot", "count": 2, "data": "two"}',
    '{"type": "signals_snapshot", "count": 3, "data": [1, null, {}]}',
    '{"type": "signals", "count": 1, "data": [[]]}',
    '{"type": "auth_required"}',
    '{"type": "heartbeat", "timestamp": null}',
    '{"type": "error", "message": null}',
    '{"type": ["signal"]}',
    '{"type": "something new", "data": {}}',
)
"""Frames that tell nothing that could be traded."""
WRONG: Sequence[Mapping[str, Any]] = (
    {"direction": "UP"},
    {"direction": None},
    {"exchange": "nowhere"},
    {"pair_symbol": "NOSUCHUSDT"},
    {"pair_symbol": "BTC-PERP/../../etc"},
    {"total_score": "NaN"},
    {"total_score": -1e308},
    {"timestamp": DAYS_AGO},
    {"timestamp": "2099-01-01T00:00:00Z"},
    {"timestamp": "yesterday"},
    {"id": "i-" * 4_500},
    {"stop_loss_filter": "-3"},
    {"take_profit_filter": "Infinity"},
)
"""What makes a signal of a kind that must be refused, or at least lose what is wrong with it."""


class Outside(NamedTuple):
    """`lines` are added to the script of the signal server; the first of each pair of `kill_file` and `disk` is when it
    begins, the second when it is over, seconds."""

    lines: tuple[Line, ...]
    kill_file: tuple[tuple[float, float], ...]
    disk: tuple[tuple[float, float], ...]
    cancels: tuple[tuple[float, int], ...]
    """When somebody wants one order cancelled, and which of those that rest."""
    asks: tuple[float, ...]


def limits_of(seed: int) -> Mapping[str, Any]:
    """Limits on positions and money, half a position above a whole number of them, so that one too many shows."""
    chance = Random(f"chaos/limits/{seed}")
    return {
        "MAX_EXPOSURE_USD": chance.choices((10_000, 150, 250, 450), (6, 1, 1, 2))[0],
        "MAX_EXPOSURE_PER_SYMBOL_USD": chance.choices((0, 150), (4, 1))[0],
        "MAX_POSITIONS_PER_VENUE": chance.choices((0, 1, 3), (4, 1, 1))[0],
        "MAX_ENTRIES_PER_MINUTE": chance.choices((0, 3), (5, 1))[0],
    }


def outside(seed: int, waves: Sequence[Line], chaos_s: float) -> Outside:
    """A pure function of what it is given."""
    chance = Random(f"chaos/outside/{seed}")
    return Outside(
        lines=tuple(_server(chance, seed, waves, chaos_s)),
        kill_file=tuple(_windows(chance, chaos_s, (8, 1, 1), 20.0)),
        disk=tuple(_windows(chance, chaos_s, (8, 1, 1), 10.0)),
        cancels=tuple(_cancels(chance, chaos_s)),
        asks=tuple(_times(chance, chaos_s, chance.choice((0, 1)))),
    )


def _times(chance: Random, chaos_s: float, number: int) -> Iterator[float]:
    for _ in range(number):
        yield round(chance.uniform(FIRST_SECONDS, chaos_s - 1.0), 2)


def _windows(chance: Random, chaos_s: float, weights: Sequence[int], longest_s: float) -> Iterator[tuple[float, float]]:
    """None, one or two stretches of time that do not overlap."""
    at_s = 0.5
    for _ in range(chance.choices((0, 1, 2), weights)[0]):
        since = chance.uniform(at_s, chaos_s)
        until = min(since + chance.uniform(0.3, longest_s), chaos_s)
        yield round(since, 2), round(until, 2)
        at_s = until + 0.1
        if at_s >= chaos_s - 1.0:
            return


def _cancels(chance: Random, chaos_s: float) -> Iterator[tuple[float, int]]:
    for at_s in _times(chance, chaos_s, chance.choices((0, 1, 3), (4, 1, 1))[0]):
        yield at_s, chance.randrange(20)


def _server(chance: Random, seed: int, waves: Sequence[Line], chaos_s: float) -> Iterator[Line]:
    """Connections that drop, silence, garbage, signals told again, and signals that are none."""
    for number in range(chance.choices((0, 1, 3, 8), (4, 3, 2, 1))[0]):
        at_ms = round(chance.uniform(FIRST_SECONDS, chaos_s) * 1_000)
        match chance.choice(("close", "silence", "garbage", "garbage", "again", "again", "wrong", "wrong")):
            case "close":
                yield {"at_ms": at_ms, "close": chance.choice((1000, 1001, 1006, 1011, 1012))}
            case "silence":
                longest = round(chaos_s * 1_000) - at_ms
                yield {"at_ms": at_ms, "silence_ms": max(1, min(chance.choice((500, 5_000, 40_000, 90_000)), longest))}
            case "garbage":
                yield {"at_ms": at_ms, "raw": chance.choice(GARBAGE)}
            case "again":
                yield from _again(chance, [wave for wave in waves if wave["at_ms"] < at_ms], at_ms)
            case _:
                sound = {
                    "id": f"{seed}-wrong-{number}",
                    "exchange": "binance",
                    "pair_symbol": "BTCUSDT",
                    "direction": "LONG",
                    "total_score": 80,
                    "timestamp": "$now",
                }
                yield {"at_ms": at_ms, "signals": [{**sound, **chance.choice(WRONG)}]}


def _again(chance: Random, before: Sequence[Line], at_ms: int) -> Iterator[Line]:
    """A signal told before, with a new time; as it was, turned round, twice in one breath, or raw with an old time."""
    if not before:
        return
    signal = dict(chance.choice(chance.choice(before)["signals"]))
    turned = {**signal, "direction": OPPOSITE[signal["direction"]]}
    match chance.choice(("same", "turned", "twice", "raw")):
        case "same":
            yield {"at_ms": at_ms, "signals": [signal]}
        case "turned":
            yield {"at_ms": at_ms, "signals": [turned]}
        case "twice":
            yield {"at_ms": at_ms, "signals": [signal, turned, signal]}
        case _:
            yield {"at_ms": at_ms, "raw": json.dumps({**signal, "type": "signal", "timestamp": DAYS_AGO})}
