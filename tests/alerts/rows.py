"""Alerts for tests."""

from core.domain.alerts import AlertKind
from core.engine.ports import Level
from core.engine.records import AlertRecord, JournalState

NOTHING = JournalState(orders=(), positions=(), seen_signals=frozenset(), unfinished_waves=(), values={})
NOW_MS = 1_790_000_000_000


def an_alert(
    seq: int, text: str = "", level: Level = Level.INFO, kind: AlertKind = AlertKind.WAVE, time_ms: int = NOW_MS
) -> AlertRecord:
    return AlertRecord(seq=seq, time_ms=time_ms, level=level.value, kind=kind.value, text=text or f"alert {seq}")
