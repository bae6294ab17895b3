"""Notices for people: always a log line, and a message where a messenger is attached. Never waits, never raises."""

from __future__ import annotations

import structlog

from core.domain.alerts import AlertKind
from core.engine.ports import Level, Notifier

log = structlog.get_logger(__name__)


class Notices:
    """`core.engine.ports.Notifier` from the first moment on, before and after the messenger lives."""

    def __init__(self) -> None:
        self._messenger: Notifier | None = None

    def attach(self, messenger: Notifier) -> None:
        self._messenger = messenger

    def notify(self, level: Level, text: str, *, kind: AlertKind, begins: str = "", ends: str = "") -> None:
        say = {Level.INFO: log.info, Level.WARNING: log.warning, Level.CRITICAL: log.critical}[level]
        say("notice", text=text, kind=kind.value)
        if self._messenger is not None:
            try:
                self._messenger.notify(level, text, kind=kind, begins=begins, ends=ends)
            except Exception:  # swallow: people are told by the log as well, and no message may stop a close (JRN-06)
                log.exception("notice.not_sent", level=level.value)
