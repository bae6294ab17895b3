"""Alerts for tests, and somebody who hears them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core.alerts.feed import Feed
from core.alerts.grouping import Message
from core.domain.alerts import AlertKind
from core.engine.ports import Level
from core.engine.records import AlertRecord, JournalState

NOTHING = JournalState(orders=(), positions=(), seen_signals=frozenset(), unfinished_waves=(), values={})
NOW_MS = 1_790_000_000_000


def an_alert(
    seq: int, text: str = "", level: Level = Level.INFO, kind: AlertKind = AlertKind.WAVE, time_ms: int = NOW_MS
) -> AlertRecord:
    return AlertRecord(seq=seq, time_ms=time_ms, level=level.value, kind=kind.value, text=text or f"alert {seq}")


class Recipient:
    """Takes what a feed brings, in virtual time: one message a second, unless it is `down`."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.down = False
        self.messages: list[Message] = []
        self.at: list[float] = []

    async def run(self) -> None:
        while True:
            await self.feed.ready()
            if (message := self.feed.take()) is None:
                continue
            while self.down:
                self.feed.fails("no answer")
                await asyncio.sleep(30)
            self.messages.append(message)
            self.at.append(asyncio.get_running_loop().time())
            self.feed.done(message)
            await asyncio.sleep(1)

    @property
    def lines(self) -> list[str]:
        return [line for message in self.messages for line in message.text.split("\n")]


@asynccontextmanager
async def listening(*recipients: Recipient) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(one.run(), name="recipient") for one in recipients]
        yield
        for task in started:
            task.cancel()
