"""What clients asked, when, and when they were answered."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tools.venuesim.wire import RequestInfo

KEPT = 100_000
"""Lines held in memory; the file of ``--log`` has them all."""


@dataclass(slots=True, kw_only=True)
class Line:
    """One request or socket command; times in ms since the epoch."""

    n: int
    received: float
    method: str
    path: str
    info: RequestInfo
    answered: float | None = None
    status: int | None = None
    code: int | str | None = None
    done: bool = False

    def describe(self) -> dict[str, object]:
        ids = self.info.client_ids
        return {
            "n": self.n,
            "received": round(self.received, 3),
            "answered": None if self.answered is None else round(self.answered, 3),
            "method": self.method,
            "path": self.path,
            "lane": self.info.lane.value,
            "client_id": ids[0] if ids else None,
            "client_ids": list(ids),
            "status": self.status,
            "code": self.code,
        }


class RequestLog:
    """Numbers requests from 1. ``write`` gets each finished line as JSON text, the open ones at ``finish``."""

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        self._lines: deque[Line] = deque(maxlen=KEPT)
        self._count = 0
        self._write = write

    def open(self, now_ms: float, method: str, path: str, info: RequestInfo) -> Line:
        self._count += 1
        line = Line(n=self._count, received=now_ms, method=method, path=path, info=info)
        self._lines.append(line)
        return line

    def answer(self, line: Line, now_ms: float, status: int | None, code: int | str | None) -> None:
        line.answered, line.status, line.code = now_ms, status, code
        self._end(line)

    def lose(self, line: Line) -> None:
        """It will never be answered."""
        self._end(line)

    def since(self, number: int) -> list[dict[str, object]]:
        return [line.describe() for line in self._lines if line.n > number]

    def finish(self) -> None:
        for line in self._lines:
            if not line.done:
                self._end(line)

    def _end(self, line: Line) -> None:
        line.done = True
        if self._write is not None:
            self._write(json.dumps(line.describe()))
