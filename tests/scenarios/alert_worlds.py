"""A simulated world in which somebody hears the daemon's alerts, unless the line is down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from core.alerts.feed import Feed
from core.alerts.grouping import Message
from core.orchestrator import Host
from tests.fakes.sim_transport import Line, Watch
from tests.scenarios.worlds import SimulatedWorld


class Ear:
    """The messenger of a daemon: takes one message a second, none while it is `deaf`. Kept over restarts of it."""

    def __init__(self) -> None:
        self.deaf = False
        self.messages: list[Message] = []
        self.tries = 0
        self.feed: Feed | None = None

    def make(self, *, feed: Feed, **_: Any) -> Ear:
        """`core.alerts.messenger.MakeMessenger`."""
        self.feed = feed
        return self

    async def run(self) -> None:
        feed = self.feed
        assert feed is not None
        while True:
            await feed.ready()
            if (message := feed.take()) is None:
                continue
            while self.deaf:
                self.tries += 1
                feed.fails("no answer")
                await asyncio.sleep(30)
            self.messages.append(message)
            feed.done(message)
            await asyncio.sleep(1)

    @property
    def lines(self) -> list[str]:
        return [line for message in self.messages for line in message.text.split("\n")]


class AlertWorld(SimulatedWorld):
    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, **settings)
        self.ear = Ear()

    def _host(self, watch: Watch) -> tuple[Host, dict[str, Line]]:
        host, lines = super()._host(watch)
        make: Callable[..., Any] = self.ear.make
        return replace(host, messenger=make), lines
