"""Messages for people as rows, and back: every statement about the table `alerts`."""

from __future__ import annotations

from typing import Any, Final

from core.engine.records import AlertRecord, AlertsOver

_PUT: Final = "INSERT INTO alerts (seq, time_ms, level, kind, text) VALUES (?, ?, ?, ?, ?) ON CONFLICT (seq) DO NOTHING"
MOST_REMOVED: Final = 500
"""At once, so that no commit takes long (JRN-02)."""
_REMOVE: Final = (
    "DELETE FROM alerts WHERE seq IN (SELECT seq FROM alerts WHERE seq < ? AND (level != 'critical' OR seq <= ?) "
    f"ORDER BY seq LIMIT {MOST_REMOVED})"
)
NEWEST: Final = "SELECT seq, time_ms, level, kind, text FROM alerts ORDER BY seq DESC LIMIT ?"

WRITES: Final = (_PUT, _REMOVE)
READS: Final = (NEWEST,)


def written(record: AlertRecord | AlertsOver) -> tuple[str, tuple[str | int, ...]]:
    """The statement and what is bound to it."""
    match record:
        case AlertRecord():
            return _PUT, (record.seq, record.time_ms, record.level, record.kind, record.text)
        case AlertsOver():
            return _REMOVE, (record.before, record.told)


def alert_of(row: tuple[Any, ...]) -> AlertRecord:
    """A message from a row of `NEWEST`."""
    seq, time_ms, level, kind, text = row
    return AlertRecord(seq=seq, time_ms=time_ms, level=str(level), kind=str(kind), text=str(text))
