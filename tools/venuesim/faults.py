"""Injected faults: the vocabulary, what each may match, and the book of those that are armed.

A fault is a table of the keys in ``KEYS``. Its occasions are the requests, frames or orders its ``match`` fits
(every value a pattern with ``*`` and ``?``; ``stream`` also fits as a part of the socket's path). It lets ``after``
of them pass, then acts on ``count`` of them (-1: until deleted; left out: 1, or -1 where ``duration_ms`` bounds
it), beginning at ``at_ms`` (since the epoch; values below 10^11 count from the moment the fault is armed) and for
``duration_ms``. For kinds that act on occasions ``fraction`` picks that share of them: evenly without ``seed``
(0.5 = every second one, beginning with the second), at random with it. Every fault counts its own occasions,
so several of one kind do not disturb each other.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from math import floor, isfinite
from pathlib import Path
from random import Random
from typing import Any

from msgspec import Struct


class Scope(StrEnum):
    """What a kind acts on."""

    REQUEST = "request"
    FRAME = "frame"
    SOCKET = "socket"
    ORDER = "order"
    ACTION = "action"
    """Happens once, by itself."""
    FACADE = "facade"
    """Only the protocol can do it."""


KINDS: Mapping[str, Scope] = {
    "latency": Scope.REQUEST,
    "drop_request": Scope.REQUEST,
    "drop_response": Scope.REQUEST,
    "http_error": Scope.REQUEST,
    "timeout_after_execution": Scope.REQUEST,
    "event_before_reply": Scope.REQUEST,
    "stale_rest": Scope.REQUEST,
    "empty_rest": Scope.REQUEST,
    "maintenance": Scope.REQUEST,
    "duplicate_event": Scope.FRAME,
    "reorder_events": Scope.FRAME,
    "delay_event": Scope.FRAME,
    "lose_event": Scope.FRAME,
    "garbage_frame": Scope.FRAME,
    "huge_frame": Scope.FRAME,
    "disconnect_stream": Scope.SOCKET,
    "half_open_stream": Scope.SOCKET,
    "reject_order": Scope.ORDER,
    "reject_stop": Scope.ORDER,
    "partial_fill": Scope.ORDER,
    "slow_fill": Scope.ORDER,
    "gap_price": Scope.ACTION,
    "halt_symbol": Scope.ACTION,
    "change_filters": Scope.ACTION,
    "liquidate": Scope.ACTION,
    "adl": Scope.ACTION,
    "clock_skew": Scope.ACTION,
    "listen_key_expired": Scope.FACADE,
    "rate_limit": Scope.FACADE,
    "revoke_key": Scope.FACADE,
}
SHARES = (Scope.REQUEST, Scope.FRAME, Scope.SOCKET)
"""Where ``fraction`` means a share of the occasions; elsewhere it is the kind's own number."""
MATCH_KEYS = ("method", "path", "symbol", "client_id", "stream", "event")
KEYS = (
    "kind", "match", "after", "count", "at_ms", "duration_ms", "delay_ms", "status", "body", "code", "phase",
    "fraction", "seed",
)  # fmt: skip
RELATIVE_BELOW = 1e11


class FaultError(ValueError):
    """A fault that cannot be armed; the text names what is wrong."""


class Occasion(Struct, frozen=True, kw_only=True):
    """Something a fault may act on. None = does not apply."""

    method: str | None = None
    path: str | None = None
    symbol: str | None = None
    client_ids: tuple[str, ...] = ()
    stream: str | None = None
    event: str | None = None
    phase: str | None = None
    """Which of several points in one order's life this is; a fault without a phase means "before"."""


@dataclass(slots=True, kw_only=True)
class Fault:
    id: int
    kind: str
    armed_ms: float
    match: Mapping[str, str] = field(default_factory=dict)
    after: int = 0
    count: int = 1
    at_ms: float | None = None
    duration_ms: float | None = None
    delay_ms: float | None = None
    status: int | None = None
    body: object = None
    code: int | str | None = None
    phase: str | None = None
    fraction: float | None = None
    seed: int | None = None
    seen: int = 0
    hits: int = 0
    trouble: str | None = None
    """Why it could not be carried out when its time came."""
    rng: Random | None = None

    @property
    def scope(self) -> Scope:
        return KINDS[self.kind]

    @property
    def starts_ms(self) -> float:
        if self.at_ms is None:
            return self.armed_ms
        return self.armed_ms + self.at_ms if self.at_ms < RELATIVE_BELOW else self.at_ms

    @property
    def symbol(self) -> str | None:
        return self.match.get("symbol")

    def fits(self, occasion: Occasion) -> bool:
        if occasion.phase is not None and occasion.phase != (self.phase or "before"):
            return False
        return all(_fits(key, pattern, occasion) for key, pattern in self.match.items())

    def running(self, now_ms: float) -> bool:
        if now_ms < self.starts_ms:
            return False
        return self.duration_ms is None or now_ms < self.starts_ms + self.duration_ms

    def strikes(self) -> bool:
        """Count one fitting occasion; True when the fault acts on it."""
        self.seen += 1
        if self.seen <= self.after or (self.count >= 0 and self.hits >= self.count):
            return False
        if self.fraction is not None and self.scope in SHARES and not self._picks(self.seen - self.after):
            return False
        self.hits += 1
        return True

    def describe(self) -> dict[str, object]:
        row: dict[str, object] = {key: getattr(self, key) for key in KEYS}
        return {"id": self.id, **row, "match": dict(self.match), "hits": self.hits, "seen": self.seen,
                "trouble": self.trouble}  # fmt: skip

    def _picks(self, number: int) -> bool:
        share = self.fraction or 0.0
        if self.rng is not None:
            return self.rng.random() < share
        return floor(number * share) > floor((number - 1) * share)


class FaultBook:
    def __init__(self) -> None:
        self._faults: dict[int, Fault] = {}
        self._by_kind: dict[str, list[Fault]] = {}
        self._next_id = 1

    def add(self, table: Mapping[str, Any], now_ms: float) -> Fault:
        """Arm a fault. Raises FaultError naming the unknown kind or key or the bad value."""
        values = parse(table)
        fault = Fault(id=self._next_id, armed_ms=now_ms, **values)
        if fault.seed is not None:
            fault.rng = Random(fault.seed)
        self._next_id += 1
        self._faults[fault.id] = fault
        self._by_kind.setdefault(fault.kind, []).append(fault)
        return fault

    def remove(self, fault_id: int | None = None) -> int:
        """Forget one fault, or all; how many there were."""
        doomed = [row for row in self._faults.values() if fault_id is None or row.id == fault_id]
        for row in doomed:
            del self._faults[row.id]
            self._by_kind[row.kind].remove(row)
        return len(doomed)

    def all(self) -> list[Fault]:
        return list(self._faults.values())

    def has(self, fault: Fault) -> bool:
        return fault.id in self._faults

    def take(self, kind: str, occasion: Occasion, now_ms: float) -> Fault | None:
        """The first fault of the kind that acts here. Every fitting one counts the occasion."""
        struck: Fault | None = None
        for fault in self._by_kind.get(kind, ()):
            if fault.running(now_ms) and fault.fits(occasion) and fault.strikes() and struck is None:
                struck = fault
        return struck


def parse(table: Mapping[str, Any]) -> dict[str, Any]:
    """The checked values of a fault table. Raises FaultError."""
    for key in table:
        if key not in KEYS:
            raise FaultError(f"unknown key {key!r}; known: {', '.join(KEYS)}")
    kind = table.get("kind")
    if kind not in KINDS:
        raise FaultError(f"unknown kind {kind!r}; known: {', '.join(KINDS)}")
    values: dict[str, Any] = {key: value for key, value in table.items() if value is not None}
    values["match"] = _match(values.get("match", {}))
    for key in ("after", "count", "status", "seed"):
        if key in values and (not isinstance(values[key], int) or isinstance(values[key], bool)):
            raise FaultError(f"{key} must be a whole number")
    for key in ("at_ms", "duration_ms", "delay_ms", "fraction"):
        if key in values:
            values[key] = _number(key, values[key])
    if values.get("phase") not in (None, "before", "after"):
        raise FaultError("phase must be before or after")
    if "code" in values and not isinstance(values["code"], int | str):
        raise FaultError("code must be a number or a text")
    values.setdefault("count", -1 if "duration_ms" in values else 1)
    return values


def load(path: Path) -> list[dict[str, Any]]:
    """The ``[[fault]]`` tables of a file, checked. Raises FaultError naming file and table, OSError."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise FaultError(f"{path}: {error}") from error
    if unknown := [key for key in document if key != "fault"]:
        raise FaultError(f"{path}: unknown table {unknown[0]!r}; only [[fault]] is known")
    tables: list[dict[str, Any]] = document.get("fault", [])
    for number, table in enumerate(tables, start=1):
        try:
            parse(table)
        except FaultError as error:
            raise FaultError(f"{path}, fault {number}: {error}") from error
    return tables


def _fits(key: str, pattern: str, occasion: Occasion) -> bool:
    if key == "client_id":
        return any(fnmatchcase(name, pattern) for name in occasion.client_ids)
    value: str | None = getattr(occasion, key)
    if value is None:
        return False
    return fnmatchcase(value, pattern) or (key == "stream" and pattern in value)


def _match(table: object) -> dict[str, str]:
    if not isinstance(table, Mapping):
        raise FaultError("match must be a table")
    for key, value in table.items():
        if key not in MATCH_KEYS:
            raise FaultError(f"unknown match key {key!r}; known: {', '.join(MATCH_KEYS)}")
        if value is not None and not isinstance(value, str):
            raise FaultError(f"match.{key} must be a text")
    return {key: value for key, value in table.items() if value is not None}


def _number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise FaultError(f"{key} must be a number")
    return float(value)
