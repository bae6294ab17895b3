"""Showing answers in the one chat that is served: at the common pace, as plain text where their form is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import structlog
from telegram import Bot, LinkPreviewOptions, Message, MessageEntity
from telegram.error import BadRequest, RetryAfter, TelegramError

from tgbot.keyboards import inline, markup
from tgbot.pace import Pace
from tgbot.page import Page, Text, texts

GIVE_UP_S: Final = 120.0
"""An answer that cannot be delivered for so long is of no use any more."""
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 20.0
_UNCHANGED: Final = "not modified"

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")


class Chat:
    """`redact` takes secrets out of whatever is shown or logged (SEC-05)."""

    def __init__(
        self,
        bot: Bot,
        chat_id: int,
        pace: Pace,
        *,
        redact: Callable[[str], str],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._bot = bot
        self._chat_id = chat_id
        self.private = chat_id > 0
        """With one person; groups have negative numbers, and people there talk to each other."""
        self._pace = pace
        self._redact = redact
        self._sleep = sleep

    async def show(self, page: Page) -> int | None:
        """Sends it, in as many messages as it takes; the number of the last one, None where it could not be sent."""
        shown: int | None = None
        parts = texts(page.masked(self._redact))
        for part in parts:
            last = part is parts[-1]
            sent = await self._deliver(partial(self._send, part, page, last))
            if sent is None:
                return None
            shown = sent.message_id
        return shown

    async def change(self, message_id: int, page: Page) -> bool:
        """Puts it in the place of a message; what does not fit follows as messages."""
        first, *others = texts(page.masked(self._redact))
        changed = await self._deliver(partial(self._edit, message_id, first, page))
        if changed is None:
            return False
        for part in others:
            if await self._deliver(partial(self._send, part, page, False)) is None:  # noqa: FBT003
                return False
        return True

    async def picture(self, png: bytes, caption: str) -> bool:
        said = self._redact(caption)
        sent = await self._deliver(lambda _: self._bot.send_photo(self._chat_id, png, caption=said))
        return sent is not None

    async def acknowledge(self, query_id: str, text: str = "", *, alert: bool = False) -> None:
        """Ends the waiting of a pressed button, perhaps with a few words; whether that arrives changes nothing."""
        try:
            await self._bot.answer_callback_query(query_id, text=text or None, show_alert=alert)
        except TelegramError as error:
            _log.info("telegram.press_unanswered", reason=self._redact(str(error)))

    async def _send(self, part: Text, page: Page, last: bool, styled: bool) -> Message:  # noqa: FBT001 - of this class
        return await self._bot.send_message(
            self._chat_id,
            part.text,
            entities=_entities(part) if styled else None,
            reply_markup=markup(page) if last else None,
            link_preview_options=LinkPreviewOptions(is_disabled=True),
        )

    async def _edit(self, message_id: int, part: Text, page: Page, styled: bool) -> Message | bool:  # noqa: FBT001
        try:
            return await self._bot.edit_message_text(
                part.text,
                self._chat_id,
                message_id,
                entities=_entities(part) if styled else None,
                reply_markup=inline(page),
                link_preview_options=LinkPreviewOptions(is_disabled=True),
            )
        except BadRequest as error:
            if _UNCHANGED in str(error).lower():
                return True
            raise

    async def _deliver(self, send: Callable[[bool], Awaitable[_T]]) -> _T | None:
        """Tries until it arrives, is refused in every form, or has become old."""
        until = asyncio.get_running_loop().time() + GIVE_UP_S
        styled, pause = True, FIRST_PAUSE_S
        while True:
            await self._pace.turn(answer=True)
            try:
                return await send(styled)
            except BadRequest as error:
                if not styled:
                    _log.error("telegram.answer_refused", reason=self._redact(str(error)))
                    return None
                styled = False
            except TelegramError as error:
                if asyncio.get_running_loop().time() >= until:
                    _log.warning("telegram.answer_lost", reason=f"{type(error).__name__}: {self._redact(str(error))}")
                    return None
                if isinstance(error, RetryAfter):
                    wait = error.retry_after
                    self._pace.hold(wait if isinstance(wait, int) else wait.total_seconds())
                else:
                    await self._sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE_S)


def _entities(part: Text) -> Sequence[MessageEntity] | None:
    return [MessageEntity(span.style.value, span.offset, span.length) for span in part.spans] or None
