"""Getting messages out: one a second, in the background, waiting out floods and outages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog
from telegram import Bot, LinkPreviewOptions
from telegram.error import BadRequest, RetryAfter, TelegramError

from core.domain.alerts import AlertKind
from core.engine.ports import Level
from tgbot.notices import NoticeQueue

PACE_S: Final = 1.0
"""Telegram allows one message a second to a chat (TEL-03)."""
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderStatistics:
    """`refused`: messages Telegram would not take in any form; `failing` = why the newest attempt failed, else ""."""

    sent: int
    waiting: int
    dropped: int
    refused: int
    failing: str


class Sender:
    """`core.engine.ports.Notifier` for one chat. Text is plain: nothing in it is markup, so nothing needs escaping."""

    def __init__(
        self,
        bot: Bot,
        chat_id: int,
        *,
        redact: Callable[[str], str],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._bot = bot
        self._chat_id = chat_id
        self._redact = redact
        self._sleep = sleep
        self._queue = NoticeQueue()
        self._something = asyncio.Event()
        self._all_sent = asyncio.Event()
        self._all_sent.set()
        self._sent = self._refused = 0
        self._free_at = 0.0
        self._failing = ""

    def notify(self, level: Level, text: str, *, kind: AlertKind, begins: str = "", ends: str = "") -> None:
        """Queues a message; never waits, never raises."""
        del kind, begins, ends
        self._queue.put(level, text)
        self._wake()

    def reply(self, text: str) -> None:
        """Queues an answer, ahead of everything else."""
        self._queue.reply(text)
        self._wake()

    def statistics(self) -> SenderStatistics:
        """A snapshot for the status page."""
        return SenderStatistics(
            sent=self._sent,
            waiting=len(self._queue),
            dropped=self._queue.dropped_total,
            refused=self._refused,
            failing=self._failing,
        )

    async def drain(self, timeout_s: float) -> bool:
        """Waits until everything queued is sent; False when that took longer."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._all_sent.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._something.wait()
            self._something.clear()
            while len(self._queue):
                await self._pace()  # before taking: what arrives meanwhile comes along
                for part in self._queue.take():
                    await self._pace()
                    await self._deliver(part)
            self._all_sent.set()

    def _wake(self) -> None:
        self._something.set()
        self._all_sent.clear()

    async def _pace(self) -> None:
        if (wait := self._free_at - asyncio.get_running_loop().time()) > 0:
            await self._sleep(wait)

    async def _deliver(self, text: str) -> None:
        """Tries until the message is sent, or refused in a way that no waiting changes."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                await self._bot.send_message(
                    self._chat_id, text, link_preview_options=LinkPreviewOptions(is_disabled=True)
                )
            except RetryAfter as flood:
                wait = flood.retry_after
                await self._sleep(wait if isinstance(wait, int) else wait.total_seconds())
            except BadRequest as error:
                self._refused += 1
                self._failing = self._redact(str(error))
                _log.error("telegram.refused", reason=self._failing)
                return
            except TelegramError as error:
                self._report(error)
                await self._sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
            else:
                self._sent += 1
                self._free_at = asyncio.get_running_loop().time() + PACE_S
                if self._failing:
                    _log.info("telegram.reachable")
                    self._failing = ""
                return

    def _report(self, error: TelegramError) -> None:
        """Once per outage, not once per attempt."""
        reason = f"{type(error).__name__}: {self._redact(str(error))}"
        if not self._failing:
            _log.warning("telegram.unreachable", reason=reason)
        self._failing = reason
