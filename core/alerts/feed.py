"""The way of alerts to one channel: what waits, what was told, and since when nothing gets through."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import structlog
from msgspec import Struct

from core.alerts.grouping import GROUP_SECONDS, AlertQueue, Message
from core.clock import Clock
from core.engine.ports import Level
from core.engine.records import AlertRecord, Journal, StateRecord

BUSY: Final = 10
LONGEST_WINDOW_SECONDS: Final = 32.0
"""Where more than `BUSY` alerts waited the next message waits twice as long for company, up to so many seconds: a
thousand alerts in a minute are a few summaries (TEL-03). What is critical waits for nothing."""
KEY: Final = "alerts/"
"""Before a channel's name: how far it has come, among the journal's values."""
TOLD_AFTER_SECONDS: Final = 300.0
"""An outage of a channel is an alert of its own after that: the other channel tells it at once, this one on return."""

_log = structlog.get_logger(__name__)


class Progress(Struct, frozen=True):
    """The number of the newest alert told, and of the newest that was only counted."""

    sent: int
    summarised: int

    def waits(self, alert: AlertRecord) -> bool:
        """Whether `alert` has still to be told."""
        return alert.seq > (self.sent if alert.level == Level.CRITICAL else max(self.sent, self.summarised))


class FeedStatistics(Struct, frozen=True, kw_only=True):
    """Since the start: messages `sent` and `refused` (the channel would not take them in any form), alerts `dropped`
    (only counted in a summary). `failing`: why the newest attempt failed, else ""."""

    sent: int
    refused: int
    dropped: int
    waiting: int
    failing: str


class Feed:
    """One consumer waits with `ready`, takes a message, brings it to its people and calls `done` or `refused`.

    `done` is journaled without sync: after a crash the message whose answer was under way may be told once more, and no
    other. `trouble` is told once when messages have not got through for a while, and once when they do again ("").
    """

    def __init__(
        self,
        name: str,
        *,
        journal: Journal,
        clock: Clock,
        progress: Progress,
        mixed: bool = True,
        trouble: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.name = name
        self.progress = progress
        self._journal = journal
        self._clock = clock
        self._trouble = trouble
        self._queue = AlertQueue(mixed=mixed)
        self._under_way: Message | None = None
        self._since, self._window = 0.0, GROUP_SECONDS
        self._something, self._urgent, self._idle = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._sent = self._refused = 0
        self._failing, self._failing_since, self._told = "", 0.0, False

    def put(self, alert: AlertRecord, *, silent: bool) -> None:
        """Never waits, never raises."""
        if not self._something.is_set():
            self._since = self._clock.monotonic()
        self._queue.put(alert, silent=silent)
        self._wake()

    async def ready(self) -> None:
        """Until something is to be told, and what is not critical has waited for company."""
        while self._under_way is None:
            await self._something.wait()
            await self._company()
            if len(self._queue):
                return
            self._something.clear()

    def take(self) -> Message | None:
        """All that fits into one message, None when nothing waits. The same again until it is done or refused."""
        if self._under_way is None:
            busy = len(self._queue) > BUSY
            self._under_way = self._queue.take(self._clock.now_ms())
            self._window = min(2 * self._window, LONGEST_WINDOW_SECONDS) if busy else GROUP_SECONDS
            self._since = self._clock.monotonic()
        if not len(self._queue):
            self._something.clear()
            self._urgent.clear()
        return self._under_way

    def heading(self, message: Message) -> str:
        """To stand before the text in an attempt that is made now."""
        return message.heading(self._clock.now_ms())

    def done(self, message: Message) -> None:
        """Its people have it."""
        self._sent += 1
        self._past(message)

    def refused(self, message: Message, why: str) -> None:
        """The channel will never take it; it is in the log and goes no further."""
        self._refused += 1
        _log.error("alerts.refused", channel=self.name, alert=message.id, reason=why)
        self._past(message)

    def fails(self, why: str, *, lasts_s: float = 0.0) -> None:
        """An attempt has failed and will be repeated; logged once per outage. `lasts_s`: no attempt will be made for so
        long, so that an outage which will be long enough to be told is told now."""
        if not self._failing:
            self._failing_since = self._clock.monotonic()
            _log.warning("alerts.unreachable", channel=self.name, reason=why)
        self._failing = why
        if not self._told and self._clock.monotonic() + lasts_s - self._failing_since >= TOLD_AFTER_SECONDS:
            self._told = True
            self._trouble(why)

    def works(self) -> None:
        """An attempt was answered."""
        if not self._failing:
            return
        _log.info("alerts.reachable", channel=self.name, after_s=round(self._clock.monotonic() - self._failing_since))
        self._failing = ""
        if self._told:
            self._told = False
            self._trouble("")

    async def drain(self, timeout_s: float) -> bool:
        """Waits until nothing waits any more; False when that took longer."""
        self._urgent.set()  # the last words wait for no company
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def statistics(self) -> FeedStatistics:
        """A snapshot for the status page."""
        return FeedStatistics(
            sent=self._sent,
            refused=self._refused,
            dropped=self._queue.dropped_total,
            waiting=len(self._queue) + (self._under_way is not None),
            failing=self._failing,
        )

    def _wake(self) -> None:
        self._something.set()
        self._idle.clear()
        if self._queue.urgent:
            self._urgent.set()

    async def _company(self) -> None:
        wait = self._since + self._window - self._clock.monotonic()
        if wait <= 0 or self._urgent.is_set():
            return
        try:
            async with asyncio.timeout(wait):
                await self._urgent.wait()
        except TimeoutError:
            return

    def _past(self, message: Message) -> None:
        self.works()
        self._under_way = None
        self.progress = Progress(max(message.id, self.progress.sent), max(message.summarised, self.progress.summarised))
        self._journal.append_nowait([_record(self.name, self.progress, self._clock.now_ms())])
        if not len(self._queue):
            self._idle.set()


def restored(name: str, values: Mapping[str, str], newest: int) -> Progress:
    """How far this channel had come; one that is new, or whose record cannot be read, begins with what comes now."""
    text = values.get(KEY + name)
    try:
        told = json.loads(text or "")
        return Progress(int(told["sent"]), int(told["summarised"]))
    except (ValueError, TypeError, KeyError):
        if text is not None:
            _log.warning("alerts.progress_unreadable", channel=name)
        return Progress(newest, newest)


def begun(feeds: Iterable[Feed], now_ms: int) -> list[StateRecord]:
    """What makes a restart continue where these are now, were nothing told before it."""
    return [_record(feed.name, feed.progress, now_ms) for feed in feeds]


def _record(name: str, progress: Progress, now_ms: int) -> StateRecord:
    value = json.dumps({"sent": progress.sent, "summarised": progress.summarised})
    return StateRecord(key=KEY + name, value=value, time_ms=now_ms)
