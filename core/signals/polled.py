"""The polled form: at set minutes the server is asked for signals until the wave of the expected candle is there."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from msgspec import Struct
from msgspec.structs import replace

from core.clock import Clock, iso_utc
from core.domain.candle_clock import expected_candle, last_check, next_check
from core.engine.ports import SignalBatch
from core.errors import MalformedPayload
from core.signals.candle_book import CandleBook
from core.signals.collecting import Collection, read_all
from core.signals.parsing import SignalReader

log = structlog.get_logger(__name__)

Say = Callable[[str], Awaitable[None]]
PING_SECONDS = 30.0
AHEAD_MS = 5_000
"""A due check is announced so long before, so that venues are asked and connections are warm when its wave comes."""
LONGEST_NAP_SECONDS = 30.0
"""A host clock that is set meanwhile is noticed after this time at the latest."""


class CheckPlan(Struct, frozen=True, kw_only=True):
    """`minutes` of the hour at which a check begins; it asks each `interval_seconds`, at most `duration_seconds`.
    `at_once`: look from the start on until there is a wave, whatever the minutes (`--once`)."""

    minutes: tuple[int, ...]
    interval_seconds: float
    duration_seconds: float
    at_once: bool = False

    def effective(self) -> CheckPlan:
        """With `at_once` every minute begins a check that lasts until the next one at least."""
        if not self.at_once:
            return self
        return replace(self, minutes=tuple(range(60)), duration_seconds=max(60.0, self.duration_seconds))


class PolledWaves:
    """`note` is told the candle of a wave before the wave is handed over, so that it can be kept over a restart."""

    def __init__(
        self,
        *,
        reader: SignalReader,
        plan: CheckPlan,
        book: CandleBook,
        clock: Clock,
        counts: Counter[str],
        emit: Callable[[SignalBatch], None],
        expect: Callable[[], None],
        note: Callable[[int], None],
    ) -> None:
        self._reader = reader
        self._plan = plan.effective()
        self._book = book
        self._clock = clock
        self._counts = counts
        self._emit = emit
        self._expect = expect
        self._note = note
        self._started = False
        self._checked_ms = 0
        """Beginning of the newest check that is over, by the clock."""
        self._announced_ms = 0
        self._last: tuple[object, int] = (None, 0)

    async def ask(self, say: Say) -> None:
        """Ask at the right times until cancelled. Begun anew with each connection: inside a check it asks at once."""
        if not self._started:
            self._started = True
            self._expect()
            await say("get_signals")  # what is there already does not wait for the next check minute (SIG-07)
            await asyncio.sleep(self._plan.interval_seconds)
        while True:
            now = self._clock.now_ms()
            self._mend(now)
            start = last_check(now, self._plan.minutes)
            if start > self._checked_ms and now < self._end(start):
                await self._check(say, start)
            else:
                await self._until_next(now)

    async def stay_alive(self, say: Say) -> None:
        """The pongs are what the server's heartbeats are in the other form."""
        while True:
            await asyncio.sleep(PING_SECONDS)
            await say("ping")

    async def take(self, frame: Mapping[str, Any]) -> None:
        """One `signals` answer. Raises MalformedPayload."""
        data = frame.get("data")
        if not isinstance(data, list):
            raise MalformedPayload("signals", "data is not a list")
        now = self._clock.now_ms()
        expected = expected_candle(now)
        if self._last == (data, expected):
            return  # the same answer as a second ago
        self._last = (data, expected)
        self._mend(now)
        batch = Collection(self._reader.source, self._clock)
        found = self._book.sort(await read_all(self._reader, data, self._clock), expected)
        if found.elsewhere:
            self._counts["other_candle"] += len(found.elsewhere)
            log.info("signals.other_candle", expected=iso_utc(expected), ids=[s.id for s in found.elsewhere[:10]])
        if found.wave:
            log.info("signals.wave", candle=iso_utc(expected), signals=len(found.wave), refused=len(found.refused))
            self._note(expected)
        for signal in found.wave:
            batch.add(signal)
        for unusable in found.refused:
            batch.add(unusable)
        if len(batch):
            self._emit(batch.batch(self._counts))

    async def _check(self, say: Say, start: int) -> None:
        """One check: over when its candle has had its wave, when its time is over, or when the next one begins."""
        while (now := self._clock.now_ms()) < self._end(start) and last_check(now, self._plan.minutes) == start:
            await say("get_signals")  # once also where the wave is known already: who comes late is told so
            await asyncio.sleep(self._plan.interval_seconds)
            if self._book.closed(expected_candle(now)):
                break
        self._checked_ms = start

    async def _until_next(self, now: int) -> None:
        due = next_check(now, self._plan.minutes)
        if now < due - AHEAD_MS:
            await asyncio.sleep(min((due - AHEAD_MS - now) / 1000, LONGEST_NAP_SECONDS))
            return
        if self._announced_ms != due and not self._book.closed(expected_candle(due)):
            self._announced_ms = due
            self._expect()
        await asyncio.sleep((due - now) / 1000)

    def _end(self, start: int) -> int:
        return start + round(self._plan.duration_seconds * 1000)

    def _mend(self, now: int) -> None:
        if self._book.mend(now):
            log.warning("signals.clock_was_wrong", meaning="the newest wave was handled in the future; it is forgotten")
        self._checked_ms = min(self._checked_ms, now)
