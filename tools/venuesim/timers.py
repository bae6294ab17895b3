"""One heap of timed actions."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(order=True, slots=True)
class Timed:
    due_ms: float
    number: int
    action: Callable[[], None] = field(compare=False)
    canceled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.canceled = True


class Timers:
    """Actions by their time; those of the same time in the order they were given."""

    def __init__(self) -> None:
        self._heap: list[Timed] = []
        self._count = 0

    def add(self, due_ms: float, action: Callable[[], None]) -> Timed:
        self._count += 1
        timed = Timed(due_ms, self._count, action)
        heapq.heappush(self._heap, timed)
        return timed

    def next_due(self) -> float | None:
        while self._heap and self._heap[0].canceled:
            heapq.heappop(self._heap)
        return self._heap[0].due_ms if self._heap else None

    def pop_due(self, now_ms: float) -> Timed | None:
        due = self.next_due()
        if due is None or due > now_ms:
            return None
        return heapq.heappop(self._heap)
