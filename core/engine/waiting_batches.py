"""Signals that came before waves run: at the start, and while the task of the waves is started again."""

from __future__ import annotations

from collections import deque

import structlog

from core.engine.ports import SignalBatch

log = structlog.get_logger(__name__)

MOST_WAITING = 1_000


class WaitingBatches:
    """What is too much is refused and counted. Its signals are not marked as seen: a source may send them again."""

    def __init__(self) -> None:
        self._batches: deque[SignalBatch] = deque()
        self.refused = 0

    def __len__(self) -> int:
        return len(self._batches)

    def put(self, batch: SignalBatch) -> None:
        if len(self._batches) < MOST_WAITING:
            self._batches.append(batch)
            return
        self.refused += 1
        log.error("waves.too_many_wait", source=batch.source, signals=len(batch.signals), waiting=MOST_WAITING)

    def next(self) -> SignalBatch:
        """The oldest. Raises IndexError when none waits."""
        return self._batches.popleft()
