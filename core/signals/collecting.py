"""Signals that arrived together, on their way to becoming one wave of bounded size."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import structlog

from core.clock import Clock
from core.domain.signal import Signal, Unusable
from core.domain.verdict import Reason
from core.engine.ports import SignalBatch
from core.signals.parsing import SignalReader

log = structlog.get_logger(__name__)

MOST_SIGNALS = 1_000
"""Of one wave. The largest seen had 68; what is beyond the best thousand is not a wave but a broken server."""
SLICE = 100
"""Signals read before others get their turn on the loop."""


class Collection:
    """From the first signal on; `received` is that moment, monotonic seconds."""

    def __init__(self, source: str, clock: Clock) -> None:
        self._source = source
        self._received = clock.monotonic()
        self._received_ms = clock.now_ms()
        self._signals: list[Signal] = []
        self._unusable: list[Unusable] = []

    def add(self, read: Signal | Unusable) -> None:
        if isinstance(read, Signal):
            self._signals.append(read)
        else:
            self._unusable.append(read)

    def __len__(self) -> int:
        return len(self._signals) + len(self._unusable)

    def batch(self, counts: Counter[str]) -> SignalBatch:
        """The wave, its refusals counted by reason. Too many signals: the best scores stay (SIG-03)."""
        for unusable in self._unusable:
            counts[unusable.code] += 1
        signals = self._signals
        if (excess := len(signals) - MOST_SIGNALS) > 0:
            best = {id(s) for s in sorted(signals, key=lambda s: s.score, reverse=True)[:MOST_SIGNALS]}
            signals = [signal for signal in signals if id(signal) in best]
            counts[Reason.WAVE_TOO_LARGE.value] += excess
        if (untold := max(0, len(self._unusable) - MOST_SIGNALS)) or excess > 0:
            log.warning("signals.too_many", taken=len(signals), refused=max(0, excess), unusable_untold=untold)
        return SignalBatch(
            source=self._source,
            received=self._received,
            received_ms=self._received_ms,
            signals=tuple(signals),
            unusable=tuple(self._unusable[:MOST_SIGNALS]),
        )


async def read_all(reader: SignalReader, raws: Sequence[object], clock: Clock) -> list[Signal | Unusable]:
    """A whole frame of signals; the loop goes on meanwhile, however many they are (SIG-15)."""
    found: list[Signal | Unusable] = []
    for first in range(0, len(raws), SLICE):
        if first:
            await asyncio.sleep(0)
        now_ms = clock.now_ms()
        found += [reader.read(raw, now_ms) for raw in raws[first : first + SLICE]]
    return found
