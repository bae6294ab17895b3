"""The pushed form: one snapshot after login, then `signal` frames; a wave is what arrives together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from core.clock import Clock
from core.domain.signal import Signal, Unusable
from core.engine.ports import SignalBatch
from core.errors import MalformedPayload
from core.signals.collecting import MOST_SIGNALS, Collection, read_all
from core.signals.parsing import SignalReader

STILL_COMING_SECONDS = 0.005
LONGEST_BURST = 5
"""A burst that is still coming in when its time is over (a frame within the last 5 ms) is heard out, at most to five
times `collect_seconds`: on a busy host half of a large wave would become a wave of its own, with slots of its own."""


class PushedWaves:
    """`emit` gets every wave exactly as it was collected, replays included: once-only is the wave processor's."""

    def __init__(
        self,
        *,
        reader: SignalReader,
        collect_seconds: float,
        clock: Clock,
        counts: Counter[str],
        emit: Callable[[SignalBatch], None],
    ) -> None:
        self._reader = reader
        self._collect_seconds = collect_seconds
        self._clock = clock
        self._counts = counts
        self._emit = emit
        self._open: Collection | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._began = self._heard = 0.0

    def take(self, frame: Mapping[str, Any]) -> None:
        """One `signal` frame."""
        self.add(self._reader.read(frame, self._clock.now_ms()))

    def add(self, read: Signal | Unusable) -> None:
        """What has just been read of one."""
        self._heard = self._clock.monotonic()
        if self._open is None:
            self._open, self._began = Collection(self._reader.source, self._clock), self._heard
            self._closing = asyncio.get_running_loop().call_later(self._collect_seconds, self._time_over)
        self._open.add(read)
        if len(self._open) >= MOST_SIGNALS:
            self.close_wave()

    async def take_snapshot(self, data: object) -> None:
        """The signals of a `signals_snapshot`: one wave. Raises MalformedPayload."""
        if not isinstance(data, list):
            raise MalformedPayload("signals_snapshot", "data is not a list")
        if data:
            snapshot = Collection(self._reader.source, self._clock)
            for read in await read_all(self._reader, data, self._clock):
                snapshot.add(read)
            self._emit(snapshot.batch(self._counts))

    def _time_over(self) -> None:
        now = self._clock.monotonic()
        still_coming = now - self._heard < STILL_COMING_SECONDS
        if still_coming and now - self._began < LONGEST_BURST * self._collect_seconds:
            self._closing = asyncio.get_running_loop().call_later(STILL_COMING_SECONDS, self._time_over)
        else:
            self.close_wave()

    def close_wave(self) -> None:
        """Hand over what was collected so far."""
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        if self._open is not None:
            wave, self._open = self._open, None
            self._emit(wave.batch(self._counts))
