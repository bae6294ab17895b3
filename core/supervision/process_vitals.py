"""The pictures of the process that status, metrics and health are made from (`core/engine/vitals.py`)."""

from __future__ import annotations

from collections.abc import Callable

from core.engine.vitals import LagRow, QueueRow, TaskRow
from core.supervision.loop_watch import LoopWatch
from core.supervision.tasks import Supervisor


class DaemonVitals:
    """Implements `ProcessVitals`. `loop` is None in simulation, where time itself waits for the loop."""

    def __init__(self, tasks: Supervisor, loop: LoopWatch | None, queues: Callable[[], tuple[QueueRow, ...]]) -> None:
        self._tasks, self._loop, self._queues = tasks, loop, queues

    def tasks(self) -> tuple[TaskRow, ...]:
        return self._tasks.rows()

    def lag(self) -> LagRow:
        return LagRow() if self._loop is None else self._loop.row()

    def queues(self) -> tuple[QueueRow, ...]:
        return self._queues()
