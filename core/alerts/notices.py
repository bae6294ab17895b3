"""Notices for people: always a log line, and a message where alerts are attached. Never waits, never raises."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import structlog

from core.domain.alerts import AlertKind
from core.engine.ports import Level, Notifier

log = structlog.get_logger(__name__)

MOST_CONDITIONS: Final = 2_000
"""That have begun and not ended; far more than there are venues, positions and tasks. Beyond it the oldest is forgotten
and would be told again."""


class Notices:
    """`core.engine.ports.Notifier` from the first moment on, before and after alerts are attached. A condition that has
    begun is not told again before it has ended, by whoever notices it; a restart tells it anew."""

    def __init__(self) -> None:
        self._alerts: Notifier | None = None
        self._conditions: OrderedDict[tuple[AlertKind, str], None] = OrderedDict()

    def attach(self, alerts: Notifier) -> None:
        self._alerts = alerts

    def notify(self, level: Level, text: str, *, kind: AlertKind, begins: str = "", ends: str = "") -> None:
        if begins and self._begun(kind, begins):
            log.info("notice.goes_on", text=text, kind=kind.value)
            return
        self._conditions.pop((kind, ends), None)
        say = {Level.INFO: log.info, Level.WARNING: log.warning, Level.CRITICAL: log.critical}[level]
        say("notice", text=text, kind=kind.value)
        if self._alerts is not None:
            try:
                self._alerts.notify(level, text, kind=kind, begins=begins, ends=ends)
            except Exception:  # swallow: people are told by the log as well, and no message may stop a close (JRN-06)
                log.exception("notice.not_sent", level=level.value)

    def _begun(self, kind: AlertKind, what: str) -> bool:
        if (kind, what) in self._conditions:
            return True
        self._conditions[kind, what] = None
        while len(self._conditions) > MOST_CONDITIONS:
            self._conditions.popitem(last=False)
        return False
