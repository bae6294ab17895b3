"""A bot with a desk that has no daemon, and the phone beside it; time is the loop's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from core.alerts.alerts import Alerts
from core.domain.alerts import AlertKind, Noise
from core.engine.records import JournalState
from tests.fakes.bot_api import CHAT, TOKEN
from tests.fakes.diary import Diary
from tests.fakes.fake_journal import FakeJournal
from tests.fakes.telegram_line import Phone
from tests.fakes.virtual_loop import VirtualClock
from tests.tgbot.desks import FakeDesk, no_picture
from tgbot.bot import TelegramAccount, TelegramBot
from tgbot.roles import Roster

OWNER, OPERATOR, VIEWER, STRANGER = 1, 2, 3, 9
LISTED = Roster(chat_id=CHAT, owners={OWNER}, operators={OPERATOR}, viewers={VIEWER})
NOTHING = JournalState(orders=(), positions=(), seen_signals=frozenset(), unfinished_waves=(), values={})


class Rig:
    def __init__(self, roster: Roster = LISTED, **more: Any) -> None:
        self.clock = VirtualClock()
        self.phone = Phone(self.clock, roster.chat_id)
        self.desk = FakeDesk()
        self.handled: list[int] = []
        self.alerts = Alerts(
            journal=FakeJournal(Diary()), clock=self.clock, noise=dict.fromkeys(AlertKind, Noise.ON), held=NOTHING
        )
        self.bot = TelegramBot(
            account=TelegramAccount(token=TOKEN, roster=roster, network=self.phone.line, mask=more.pop("mask", str)),
            desk=self.desk.desk,
            feed=self.alerts.feed("telegram"),
            clock=self.clock,
            on_update=self.handled.append,
            draw=more.pop("draw", no_picture),
            **more,
        )

    @property
    def done(self) -> list[tuple[str, ...]]:
        """What was ordered, with its author."""
        return self.desk.commands.done

    @property
    def audited(self) -> list[tuple[str, str, str]]:
        """Author, command and what became of it."""
        told = [facts for kind, facts in self.desk.audit.records if kind == "telegram.command"]
        return [(facts["author"], facts["command"], facts["what"]) for facts in told]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Rig]:
        task = asyncio.create_task(self.bot.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
