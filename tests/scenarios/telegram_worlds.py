"""The simulated world with a phone in it: the real daemon, the real bot, Telegram in process, virtual time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from core.orchestrator import Host
from tests.fakes.bot_api import TOKEN
from tests.fakes.sim_transport import Line, Watch
from tests.fakes.telegram_line import Phone
from tests.scenarios.worlds import SimulatedWorld
from tests.tgbot.desks import no_picture
from tgbot.bot import TelegramAccount, TelegramBot
from tgbot.registry import Draw
from tgbot.roles import Roster


class TelegramWorld(SimulatedWorld):
    """The chat's own user is its owner. `pictures` are the data of what was drawn."""

    def __init__(self, folder: Path, venues: Sequence[str] = ("binance",), **settings: Any) -> None:
        super().__init__(folder, venues, **settings)
        self.phone = Phone(self.clock)
        self.pictures: list[Mapping[str, object]] = []

    def _host(self, watch: Watch) -> tuple[Host, dict[str, Line]]:
        host, lines = super()._host(watch)
        account = TelegramAccount(token=TOKEN, roster=Roster(chat_id=self.phone.chat_id), network=self.phone.line)
        draw: Draw = self._draw
        return replace(host, messenger=partial(TelegramBot, account=account, clock=self.clock, draw=draw)), lines

    async def _draw(self, data: Mapping[str, object]) -> bytes:
        self.pictures.append(data)
        return await no_picture(data)

    async def confirm(self, command: str, words: str, *, seconds: float = 60.0) -> str:
        """Write the command, press what it asks for, and read the answer that has these words."""
        await self.phone.ask(command, "Press within")
        since = len(self.phone.shown)
        self.phone.press("✅")
        return await self.phone.read(words, since=since, seconds=seconds)
