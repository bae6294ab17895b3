"""FaultWatch: faults that last, told once when they begin and once when they are over.

What happens at one moment is told where it happens; these are states, and nobody else looks at how long they last.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Final

import structlog
from msgspec import Struct

from core.clock import Clock
from core.domain.alerts import AlertKind
from core.domain.ids import VenueName
from core.engine.ports import Level, Notifier, UserStream

LOOK_SECONDS: Final = 1.0
DISK_SECONDS: Final = 60.0
STREAM_SECONDS: Final = 30.0
"""A private stream that is down so long: from then on entries are denied."""
CLOCK_SECONDS: Final = 30.0
"""A clock that jumped is measured anew within seconds; one that stays wrong so long could not be."""
DISK_OVER: Final = 1.1
"""So many times the limit must be free before the alarm is over: logs come and go."""

_log = structlog.get_logger(__name__)


class Disks(Struct, frozen=True, kw_only=True):
    """`folders` by the setting that names them; `least_free` bytes, 0 = they are not looked at. `worker` asks, because
    a disk may take its time; None = the loop's own threads."""

    folders: Mapping[str, Path]
    least_free: int
    worker: Executor | None


class FaultWatch:
    """`serves` is False while a venue has an outage, which is told as such and not once more as a silent stream;
    `explained` is True where somebody else has told why its stream is down, and only the end is left to tell.
    `clock_error_ms` is None when the clock could not be measured."""

    def __init__(
        self,
        *,
        streams: Mapping[VenueName, UserStream],
        serves: Callable[[VenueName], bool],
        explained: Callable[[VenueName], bool],
        clock_error_ms: Callable[[VenueName], int | None],
        most_clock_error_ms: int,
        disks: Disks,
        notifier: Notifier,
        clock: Clock,
    ) -> None:
        self._streams = streams
        self._serves = serves
        self._explained = explained
        self._clock_error_ms = clock_error_ms
        self._most_clock_error_ms = most_clock_error_ms
        self._disks = disks
        self._notifier = notifier
        self._clock = clock
        self._since: dict[tuple[AlertKind, str], float] = {}
        self._told: set[tuple[AlertKind, str]] = set()
        self._disk_at = float("-inf")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for venue in list(self._streams):
                self._look_at_stream(venue)
                self._look_at_clock(venue)
            if self._disks.least_free and self._clock.monotonic() - self._disk_at >= DISK_SECONDS:
                self._disk_at = self._clock.monotonic()
                await self._look_at_disks()
            await asyncio.sleep(LOOK_SECONDS)

    def _look_at_stream(self, venue: VenueName) -> None:
        down = self._streams[venue].live_since_ms is None and self._serves(venue)
        lasted = self._lasts(AlertKind.STREAM, venue, down)
        if down and self._explained(venue):
            self._told.add((AlertKind.STREAM, venue))
        elif lasted is not None and lasted >= STREAM_SECONDS:
            text = f"{venue}: the private stream has been down for {lasted:.0f} s; no entries, REST is asked instead"
            self._begin(Level.CRITICAL, AlertKind.STREAM, venue, text)
        elif not down and self._serves(venue):
            self._end(AlertKind.STREAM, venue, f"{venue}: the private stream is up again")

    def _look_at_clock(self, venue: VenueName) -> None:
        error = self._clock_error_ms(venue)
        wrong = (error is None or abs(error) > self._most_clock_error_ms) and self._serves(venue)
        lasted = self._lasts(AlertKind.CLOCK, venue, wrong)
        if lasted is not None and lasted >= CLOCK_SECONDS:
            how = "has not been measured for an hour" if error is None else f"jumped by {error} ms"
            text = f"{venue}: this host's clock {how} and could not be compared since; no entries there; check its time"
            self._begin(Level.CRITICAL, AlertKind.CLOCK, venue, text)
        elif not wrong:
            self._end(AlertKind.CLOCK, venue, f"{venue}: this host's clock is right again")

    async def _look_at_disks(self) -> None:
        loop, least = asyncio.get_running_loop(), self._disks.least_free
        found = await loop.run_in_executor(self._disks.worker, rooms, self._disks.folders)
        for name, free in found.items():
            if free < least:
                text = f"{name}: {_mib(free)} MiB free, less than ALERT_MIN_FREE_MB={_mib(least)}"
                self._begin(Level.CRITICAL, AlertKind.DISK, name, f"{text}; make room before the journal cannot grow")
            elif free >= least * DISK_OVER:
                self._end(AlertKind.DISK, name, f"{name}: {_mib(free)} MiB free again")

    def _lasts(self, kind: AlertKind, what: str, now: bool) -> float | None:  # noqa: FBT001 - the fact itself
        """Seconds for which it has been so; None = it is not."""
        if not now:
            self._since.pop((kind, what), None)
            return None
        return self._clock.monotonic() - self._since.setdefault((kind, what), self._clock.monotonic())

    def _begin(self, level: Level, kind: AlertKind, what: str, text: str) -> None:
        if (kind, what) not in self._told:
            self._told.add((kind, what))
            self._notifier.notify(level, text, kind=kind, begins=what)

    def _end(self, kind: AlertKind, what: str, text: str) -> None:
        if (kind, what) in self._told:
            self._told.discard((kind, what))
            self._notifier.notify(Level.INFO, text, kind=kind, ends=what)


def rooms(folders: Mapping[str, Path]) -> dict[str, int]:
    """Free bytes of each disk, by the names of the folders on it; one that cannot be asked is left out."""
    names: dict[int, str] = {}
    free: dict[int, int] = {}
    for name, folder in folders.items():
        try:
            disk, free_now = folder.stat().st_dev, shutil.disk_usage(folder).free
        except OSError as error:
            _log.warning("disk.not_measured", setting=name, reason=str(error))
            continue
        names[disk] = f"{names[disk]} and {name}" if disk in names else name
        free[disk] = free_now
    return {names[disk]: free[disk] for disk in names}


def _mib(number: int) -> int:
    return number // 1024**2
