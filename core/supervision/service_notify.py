"""What the service manager (systemd) is told: that the daemon is ready, lives, or stops, in the words of `sd_notify`.

The pings that keep it from starting the daemon anew are sent only while that is healthy (`core/status/health.py`). What
makes it unhealthy is said first: as the state shown by `systemctl status`, in the log, and on `/healthz`. They are sent
from the event loop, so they stop as well when that hangs. Without NOTIFY_SOCKET nothing is sent.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from core.clock import Clock
from core.redaction import Redactor
from core.status.health import Health

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 5.0
"""Between two looks at the health; a watchdog of less than ten seconds is looked at twice in its time."""
STATUS_SECONDS: Final = 30.0
EXTEND_SECONDS: Final = 60.0
"""Asked for again at every look while the daemon starts: a venue may be waited for."""
MOST_STATUS: Final = 300


class NotifySocket:
    """Datagrams to the service manager; `environment` as it was handed to this process. Never raises, never waits."""

    def __init__(self, environment: Mapping[str, str], pid: int | None = None) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._failed = False
        self.watchdog_seconds = _watchdog_seconds(environment, os.getpid() if pid is None else pid)
        """How long it waits for a ping; None = it does not."""

    @property
    def there(self) -> bool:
        return bool(self._address)

    def send(self, **lines: str) -> None:
        """One message, e.g. `send(READY="1")`."""
        if not self._address:
            return
        text = "\n".join(f"{name}={' '.join(value.split())}" for name, value in lines.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as speaker:
                speaker.settimeout(0)
                speaker.sendto(text.encode(), self._address)
        except OSError as error:
            if not self._failed:
                log.warning("service.not_told", error=str(error))
            self._failed = True
        else:
            self._failed = False


class ServiceNotify:
    """Tells how the daemon stands. `status` is one line for people; `health` is asked once `ready` was called."""

    def __init__(self, to: NotifySocket, clock: Clock, redactor: Redactor | None = None) -> None:
        self._to = to
        self._clock = clock
        self._redactor = redactor or Redactor(())
        self._health: Callable[[], Health] | None = None
        self._status: Callable[[], str] = lambda: ""
        self._healthy = True
        self._told_at = float("-inf")

    @property
    def wanted(self) -> bool:
        """Whether there is anybody to tell."""
        return self._to.there

    def ready(self, health: Callable[[], Health], status: Callable[[], str]) -> None:
        """Trading may begin: every position is under its stop."""
        self._health, self._status = health, status
        self._to.send(READY="1", STATUS=self._shown(status()), WATCHDOG="1")
        self._told_at = self._clock.monotonic()

    def health(self) -> Health:
        """As it is judged now; while the daemon starts or stops nothing is."""
        return Health() if self._health is None else self._health()

    def stopping(self) -> None:
        self._health = None
        self._to.send(STOPPING="1", STATUS="stopping")

    async def run(self) -> None:
        """Until cancelled."""
        seconds = self._to.watchdog_seconds
        pause = LOOK_SECONDS if seconds is None else min(LOOK_SECONDS, seconds / 2)
        while True:
            self.look()
            await asyncio.sleep(pause)

    def look(self) -> None:
        """One look and, if all is well, one ping."""
        if self._health is None:
            self._to.send(EXTEND_TIMEOUT_USEC=str(round(EXTEND_SECONDS * 1e6)), WATCHDOG="1")
            return
        health = self._health()
        if health.healthy:
            if not self._healthy:
                log.warning("service.healthy_again")
            due = self._clock.monotonic() - self._told_at >= STATUS_SECONDS
            if due or not self._healthy:
                self._told_at = self._clock.monotonic()
                self._to.send(WATCHDOG="1", STATUS=self._shown(self._status()))
            else:
                self._to.send(WATCHDOG="1")
        else:
            why = "; ".join(health.reasons)
            if self._healthy:
                log.critical("service.unhealthy", why=why, meaning="no more pings: the service manager starts us anew")
            self._to.send(STATUS=self._shown(f"unhealthy: {why}"))
        self._healthy = health.healthy

    def _shown(self, text: str) -> str:
        return self._redactor.text(text)[:MOST_STATUS]


def _watchdog_seconds(environment: Mapping[str, str], pid: int) -> float | None:
    """None as well where the time is meant for another process, or is no time."""
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    text = environment.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isascii() and text.isdigit() and int(text) > 0 else None
