"""Which signals of an answer are the wave of its candle, and which come too late. Once per candle and source."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from core.clock import iso_utc
from core.domain.candle_clock import candle_of
from core.domain.signal import Signal, Unusable
from core.domain.verdict import Reason

TOLD_REMEMBERED = 20_000


class Sorted(Struct, frozen=True, kw_only=True):
    """`wave` is empty unless this answer is the wave. `refused` are told once, however often they are answered.
    `elsewhere`: signals of a candle that is neither expected nor handled, seen for the first time."""

    wave: tuple[Signal, ...]
    refused: tuple[Unusable, ...]
    elsewhere: tuple[Signal, ...]


class CandleBook:
    """`newest_ms`: open of the newest candle whose wave was handled, UTC ms, 0 = none; it outlives a restart."""

    def __init__(self, newest_ms: int = 0) -> None:
        self.newest_ms = newest_ms
        self._told: dict[tuple[str, str, str], None] = {}

    def closed(self, candle_ms: int) -> bool:
        """Whether the wave of this candle was handled, or that of a later one."""
        return candle_ms <= self.newest_ms

    def mend(self, now_ms: int) -> bool:
        """Forget a candle of the future: the clock was wrong when it was handled. True when there was one (SIG-06)."""
        wrong = self.newest_ms > now_ms
        if wrong:
            self.newest_ms = 0
        return wrong

    def sort(self, answer: Iterable[Signal | Unusable], expected_ms: int) -> Sorted:
        """The first answer with a signal of the expected candle is its wave and closes it."""
        wave: list[Signal] = []
        refused: list[Unusable] = []
        others: list[Signal] = []
        taken: set[str] = set()
        for read in answer:
            if isinstance(read, Unusable):
                refused += self._once(read)
            elif candle_of(read.event_time_ms) != expected_ms or self.closed(expected_ms):
                others.append(read)
            elif read.id in taken:
                refused += self._once(_unusable(read, Reason.ALREADY_SEEN, "its id stands twice in one answer"))
            else:
                taken.add(read.id)
                wave.append(read)
        for signal in wave:
            self._tell((signal.id, "", ""))
        if wave:
            self.newest_ms = expected_ms
        late, elsewhere = self._judge(others)
        return Sorted(wave=tuple(wave), refused=(*refused, *late), elsewhere=elsewhere)

    def _judge(self, others: Iterable[Signal]) -> tuple[list[Unusable], tuple[Signal, ...]]:
        late: list[Unusable] = []
        elsewhere: list[Signal] = []
        for signal in others:
            candle = candle_of(signal.event_time_ms)
            if not self.closed(candle):
                if self._tell((signal.id, str(candle), "elsewhere")):
                    elsewhere.append(signal)
            elif (signal.id, "", "") not in self._told:
                what = "was handled" if candle == self.newest_ms else "is older than the newest handled"
                late += self._once(_unusable(signal, Reason.WAVE_CLOSED, f"the wave of {iso_utc(candle)} {what}"))
        return late, tuple(elsewhere)

    def _once(self, unusable: Unusable) -> list[Unusable]:
        return [unusable] if self._tell((unusable.id, unusable.code, unusable.symbol)) else []

    def _tell(self, key: tuple[str, str, str]) -> bool:
        """False when it was told before."""
        if key in self._told:
            return False
        self._told[key] = None
        if len(self._told) > TOLD_REMEMBERED:
            del self._told[next(iter(self._told))]
        return True


def _unusable(signal: Signal, reason: Reason, detail: str) -> Unusable:
    return Unusable(
        id=signal.id, source=signal.source, code=reason.value, detail=detail, symbol=signal.instrument.symbol
    )
