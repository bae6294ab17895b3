"""How the runs before this one ended: said at the start, which is slower and more careful after several abnormal ends.

A daemon that something kills again and again would enter, ask and send as often as its supervisor starts it (REC-09).
Its first start after an abnormal end waits for nothing, for a position may have no stop yet; each further one within
ten minutes waits longer, and from the third on it only protects until somebody resumes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Final

import structlog

from core.assembly import Engine
from core.domain.alerts import AlertKind
from core.engine.bookkeeping import position_facts
from core.engine.ports import Level
from core.engine.records import Journal, StateRecord
from core.lifecycle.readiness import or_stop

log = structlog.get_logger(__name__)

RUN_KEY: Final = "run"
STARTS_KEY: Final = "abnormal_starts"
RUNNING, STOPPED = "running", "stopped"
WINDOW_MS: Final = 600_000
MOST_STARTS: Final = 3
"""Abnormal ones within the window, from which on nothing is entered."""
FIRST_DELAY_SECONDS, MOST_DELAY_SECONDS = 2.0, 60.0


class LastRun:
    """`values` as the journal held them, `now_ms` of this start (UTC milliseconds)."""

    def __init__(self, values: Mapping[str, str], now_ms: int) -> None:
        self.abnormal = values.get(RUN_KEY) == RUNNING
        before: list[int] = json.loads(values.get(STARTS_KEY, "[]"))
        self._before = [ms for ms in before if 0 <= now_ms - ms < WINDOW_MS]
        self.starts = [*self._before, now_ms] if self.abnormal else self._before
        self._now_ms = now_ms

    @property
    def delay_seconds(self) -> float:
        """To be waited before the venues are asked anything: none the first time, then twice as long each time."""
        if not self.abnormal or len(self.starts) < 2:
            return 0.0
        doubled: int = 2 ** (len(self.starts) - 2)
        return min(MOST_DELAY_SECONDS, FIRST_DELAY_SECONDS * doubled)

    async def pause(self, engine: Engine, stop: asyncio.Event) -> None:
        """Waits `delay_seconds`, and says so: a start that does nothing looks like one that hangs."""
        if not (seconds := self.delay_seconds):
            return
        log.warning("start.pauses", seconds=seconds, abnormal_starts=len(self.starts))
        text = f"the start pauses {seconds:g} s: {len(self.starts)} within ten minutes after runs that were not stopped"
        engine.notifier.notify(Level.WARNING, text, kind=AlertKind.START)
        await or_stop(stop, asyncio.sleep(seconds))

    def note(self, journal: Journal) -> None:
        """Counts this start, before anything it does can end it."""
        if self.abnormal:
            self._put(journal, self.starts)

    def take_back(self, journal: Journal) -> None:
        """A start that was refused has not run: it is no further end of a run."""
        if self.abnormal:
            self._put(journal, self._before)

    def tell(self, engine: Engine) -> None:
        """What is not known about the past is said (JRN-03)."""
        if not self.abnormal:
            return
        text = "the last run ended without being stopped: its newest notes may be missing, the venues tell the rest"
        engine.notifier.notify(Level.WARNING, text, kind=AlertKind.START)
        # The log may lack what the journal has: a replay of it goes on from what is open by the journal.
        held = [position_facts(position) for position in engine.orders.state.positions()]
        engine.audit.record("unclean_start", {"within_ten_minutes": len(self.starts), "positions": held})
        if len(self.starts) >= MOST_STARTS:
            why = f"{len(self.starts)} starts in {WINDOW_MS // 60_000} min after runs that were not stopped"
            engine.risk.restrict(f"{why}; see why they ended, then resume", "last-run")
            engine.notifier.notify(
                Level.CRITICAL, f"{why}: positions are protected, no entries until you resume", kind=AlertKind.STATE
            )

    def _put(self, journal: Journal, starts: list[int]) -> None:
        journal.append_nowait([StateRecord(key=STARTS_KEY, value=json.dumps(starts), time_ms=self._now_ms)])
