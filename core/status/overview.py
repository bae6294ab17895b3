"""One look at the daemon: its picture and its health, the same for the page, the control socket and whoever watches."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from core.clock import Clock
from core.engine.queries import StatusReport
from core.status.health import Health, HealthLimits, judge

DISK_SECONDS = 10.0
"""How often the disk is asked; it is a call into the system, and may wait where the folder is not on this host."""


class Overview:
    """`status` makes the picture; `folders` are those that must not run full."""

    def __init__(
        self, *, status: Callable[[], StatusReport], limits: HealthLimits, folders: Collection[Path], clock: Clock
    ) -> None:
        self._status = status
        self._limits = limits
        self._folders = folders
        self._clock = clock
        self._free: int | None = None
        self._asked = float("-inf")

    def look(self) -> tuple[StatusReport, Health]:
        """Now. Nothing is awaited."""
        report = self._status()
        return report, judge(report, self._limits, self._room())

    def health(self) -> Health:
        """Now."""
        return self.look()[1]

    def _room(self) -> int | None:
        """Bytes on the fullest disk, as told a few seconds ago; None where it cannot be told."""
        now = self._clock.monotonic()
        if now - self._asked >= DISK_SECONDS:
            self._asked = now
            self._free = min((free for folder in self._folders if (free := _free(folder)) is not None), default=None)
        return self._free


def _free(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
