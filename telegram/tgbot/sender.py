"""Alerts to the one chat: in their order, at the common pace, waiting out floods and outages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from telegram import Bot, LinkPreviewOptions
from telegram.error import BadRequest, RetryAfter, TelegramError

from core.alerts.feed import Feed
from core.alerts.grouping import Message
from core.alerts.wording import MAX_UNITS, split, units
from tgbot.pace import Pace

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
_OF_THE_TEXT: Final = ("too long", "text is empty", "message empty", "non-empty", "entities", "entity", "utf-8")
"""Words of a refusal that no waiting changes. Any other is about the chat or the bot's rights in it: no fault of the
message, which waits until that is mended."""

_log = structlog.get_logger(__name__)


class Sender:
    """The Telegram channel of alerts. Their text is plain: nothing in it is markup, so nothing needs escaping (TEL-07).

    `redact` takes the token out of what is logged.
    """

    def __init__(
        self,
        bot: Bot,
        chat_id: int,
        *,
        feed: Feed,
        pace: Pace,
        redact: Callable[[str], str],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._bot = bot
        self._chat_id = chat_id
        self._feed = feed
        self._pace = pace
        self._redact = redact
        self._sleep = sleep
        pace.listen(self._flooded)

    async def run(self) -> None:
        """Until cancelled. A message counts as told when Telegram has taken all of its parts."""
        while True:
            await self._feed.ready()
            self._flooded()
            await self._pace.turn()  # before taking: what comes meanwhile goes along
            if (message := self._feed.take()) is None:
                continue
            if (refused := await self._deliver_all(message)) is None:
                self._feed.done(message)
            else:
                self._feed.refused(message, refused)

    def _flooded(self) -> None:
        """A flood keeps alerts from people like any outage, also one that an answer has met."""
        if (left_s := self._pace.held_s()) and self._feed.statistics().waiting:
            self._feed.fails(f"flood limit, nothing is taken for {left_s:.0f} s", lasts_s=left_s)

    async def _deliver_all(self, message: Message) -> str | None:
        for number, part in enumerate(split(message.text)):
            if number:
                await self._pace.turn()
            if (refused := await self._deliver(message, part, first=not number)) is not None:
                return refused
        return None

    async def _deliver(self, message: Message, part: str, *, first: bool) -> str | None:
        """Tries until Telegram takes it (None), or refuses it in a way that no waiting changes (why)."""
        pause = FIRST_PAUSE_S
        while True:
            heading = self._feed.heading(message) if first else ""
            try:
                await self._bot.send_message(
                    self._chat_id,
                    heading + part if units(heading + part) <= MAX_UNITS else part,
                    disable_notification=message.silent,
                    link_preview_options=LinkPreviewOptions(is_disabled=True),
                )
            except RetryAfter as flood:
                wait = flood.retry_after
                self._pace.hold(wait if isinstance(wait, int) else wait.total_seconds())
            except TelegramError as error:
                if isinstance(error, BadRequest) and _blames_the_text(error):
                    return self._redact(str(error))
                self._feed.fails(f"{type(error).__name__}: {self._redact(str(error))}")
                await self._sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
            else:
                self._feed.works()
                return None
            await self._pace.turn()


def _blames_the_text(error: BadRequest) -> bool:
    told = str(error).lower().replace("_", " ")
    return any(words in told for words in _OF_THE_TEXT)
