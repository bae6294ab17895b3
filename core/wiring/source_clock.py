"""The clock of signal sources: theirs is right, so a signal's age is judged by a venue's clock and not by this host's,
which may have been set by an hour (OPS-09)."""

from __future__ import annotations

from core.assembly import Engine
from core.clock import Clock


class SourceClock:
    """`core.clock.Clock` with UTC as the first venue in use has it; a jump of ours since its clock was measured is
    taken out at once. Without a venue it is this host's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._host: Clock = engine.clock

    def monotonic(self) -> float:
        return self._host.monotonic()

    def now_ms(self) -> int:
        now = self._host.now_ms()
        for venue, client in self._engine.clients.items():
            return now + client.clock_offset_ms - (self._engine.risk.clocks.error_ms(venue) or 0)
        return now
