"""What the daemon says in its log, kept for a test to read."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import structlog

Line = MutableMapping[str, Any]


class LogLines:
    """Every line from now on; they are printed as before."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        before = structlog.get_config()["processors"]
        structlog.configure(processors=[self._keep, *before])

    def of(self, event: str) -> list[Line]:
        return [line for line in self.lines if line["event"] == event]

    @property
    def notices(self) -> list[str]:
        """What people were told."""
        return [line["text"] for line in self.of("notice")]

    def _keep(self, _logger: object, method: str, line: Line) -> Line:
        self.lines.append({**line, "level": method})
        return line
