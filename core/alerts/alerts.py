"""Alerts: `core.engine.ports.Notifier` that keeps what people are told until every channel has told it."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final

from core.alerts.feed import Feed, begun, restored
from core.alerts.grouping import MOST_CRITICAL
from core.clock import Clock
from core.domain.alerts import NEVER_OFF, AlertKind, Noise
from core.engine.ports import Level
from core.engine.records import AlertRecord, AlertsOver, Journal, JournalState
from core.errors import JournalUnwritable

KEPT_MS: Final = 7 * 24 * 3_600_000
"""How long alerts stay in the journal; critical ones that nobody was told stay longer."""
TIDY_EVERY: Final = 100
"""Alerts between two looks for old ones."""
LONGEST_TEXT: Final = 20_000
"""Characters; a venue's answer may be longer than any message."""


class Alerts:
    """`noise` says of every kind how loud it is, `redact` takes secrets out of a text. Without a channel nothing is
    kept: the log has every notice. While the journal cannot be written alerts are kept in memory, and told from there.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        clock: Clock,
        noise: Mapping[AlertKind, Noise],
        held: JournalState,
        redact: Callable[[str], str] = str,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._noise = noise
        self._held = held
        self._redact = redact
        self._seq = max((alert.seq for alert in held.alerts), default=0)
        self._feeds: list[Feed] = []
        self._to_sync: deque[AlertRecord] = deque()
        self._wanted = asyncio.Event()
        self._running = False
        self.counts: Counter[tuple[AlertKind, Level]] = Counter()
        """Since the start, those that are off too."""

    def feed(self, name: str, *, mixed: bool = True) -> Feed:
        """The feed of a channel, with what it had not told when the last run ended. Every channel of the run asks for
        its own before anything is told."""
        progress = restored(name, self._held.values, self._seq)

        def trouble(why: str) -> None:
            self._say_trouble(name, why)

        feed = Feed(name, journal=self._journal, clock=self._clock, progress=progress, mixed=mixed, trouble=trouble)
        for alert in self._held.alerts:
            if progress.waits(alert) and alert.level in set(Level):
                feed.put(alert, silent=self._noise_of(alert) is Noise.SILENT)
        self._feeds.append(feed)
        self._journal.append_nowait(begun([feed], self._clock.now_ms()))
        return feed

    def notify(self, level: Level, text: str, *, kind: AlertKind, begins: str = "", ends: str = "") -> None:
        """Keeps a message for every channel; never waits, never raises."""
        del begins, ends  # `Notices` has seen to it
        self.counts[kind, level] += 1
        noise = self._noise[kind]
        if not self._feeds or (noise is Noise.OFF and kind not in NEVER_OFF):
            return
        now = self._clock.now_ms()
        self._seq = max(self._seq + 1, now * 1000)  # rises over restarts, and says when without another look
        text = self._redact(text)[:LONGEST_TEXT]
        alert = AlertRecord(seq=self._seq, time_ms=now, level=level.value, kind=kind.value, text=text)
        self._keep(alert)
        for feed in self._feeds:
            feed.put(alert, silent=noise is Noise.SILENT)
        if self.counts.total() % TIDY_EVERY == 0:
            self._tidy(now)

    async def run(self) -> None:
        """Until cancelled: what is critical is synced to the disk, while nobody waits for it."""
        self._running = True
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                await self._sync()
        finally:
            self._running = False
            self._journal.append_nowait(list(self._to_sync))
            self._to_sync.clear()

    async def _sync(self) -> None:
        alerts = list(self._to_sync)
        try:
            await self._journal.append(alerts)
        except JournalUnwritable:  # it says so itself; from here on they are stored when that is possible
            self._journal.append_nowait(alerts)
        for _ in alerts:
            self._to_sync.popleft()

    def _keep(self, alert: AlertRecord) -> None:
        if self._running and alert.level == Level.CRITICAL and len(self._to_sync) < MOST_CRITICAL:
            self._to_sync.append(alert)
            self._wanted.set()
        else:
            self._journal.append_nowait([alert])

    def _noise_of(self, alert: AlertRecord) -> Noise:
        known = alert.kind in set(AlertKind)
        return self._noise[AlertKind(alert.kind)] if known else Noise.ON

    def _say_trouble(self, name: str, why: str) -> None:
        if why:
            text = f"{name}: messages do not get through ({why}); they are kept and told on return"
            self.notify(Level.WARNING, text, kind=AlertKind.TELEGRAM)
        else:
            self.notify(Level.INFO, f"{name}: messages get through again", kind=AlertKind.TELEGRAM)

    def _tidy(self, now_ms: int) -> None:
        told = min(feed.progress.sent for feed in self._feeds)
        self._journal.append_nowait([AlertsOver(before=(now_ms - KEPT_MS) * 1000, told=told)])
