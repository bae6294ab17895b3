"""What the process says of itself: its tasks, its event loop, its queues. Frozen pictures for status and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct, field

VITAL = ("orders", "inflight", "protection")
"""Tasks the daemon is nothing without: while one of them is not running nothing may be entered."""


class TaskRow(Struct, frozen=True, kw_only=True):
    """A long-lived task. `running_s` since it was started last, `progress_s` since it did something; seconds."""

    name: str
    running: bool
    running_s: float
    progress_s: float
    restarts: int = 0
    failures: int = 0
    """Also of tasks within it that ended alone."""
    why: str | None = None
    """How it ended, or what failed in it, last; None once it has run steadily since."""
    again_in_s: float | None = None
    """When it is not running: until it is started again."""


class LagRow(Struct, frozen=True, kw_only=True):
    """How late the event loop's turns come, milliseconds. `late` counts those above the limit since the start."""

    now_ms: float = 0.0
    """The longest delay of the last seconds."""
    p99_ms: float = 0.0
    max_ms: float = 0.0
    """Of the last minute, both."""
    late: int = 0
    culprit: str | None = None
    """Where the loop stood when it was late last."""
    buckets: Mapping[float, int] = field(default_factory=dict)
    """Turns by upper bound in seconds, not cumulated, since the start; the last bound is infinity."""
    sum_s: float = 0.0


class QueueRow(Struct, frozen=True, kw_only=True):
    """`bound` is the most it holds. `dropped` since the start: what its overflow rule threw away."""

    name: str
    depth: int
    bound: int
    dropped: int = 0


class ProcessVitals(Protocol):
    def tasks(self) -> tuple[TaskRow, ...]: ...
    def lag(self) -> LagRow: ...
    def queues(self) -> tuple[QueueRow, ...]: ...


class NoVitals:
    """Where no process runs around the engine (a backtest, a test of one part)."""

    def tasks(self) -> tuple[TaskRow, ...]:
        return ()

    def lag(self) -> LagRow:
        return LagRow()

    def queues(self) -> tuple[QueueRow, ...]:
        return ()
