"""The bot: polls for questions of one chat, answers them, and carries the daemon's messages.

Updates are fetched by a loop of our own and handed to python-telegram-bot's Application: the library's Updater cannot
be stopped while it waits out an outage, and does not let the offset survive a restart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import structlog
from telegram import BotCommand, Update
from telegram.error import InvalidToken, RetryAfter, TelegramError
from telegram.ext import Application, ApplicationBuilder, CommandHandler, ContextTypes

from core.clock import Clock
from core.domain.alerts import AlertKind
from core.engine.ports import AuditLog, Level
from core.engine.queries import StatusReport
from tgbot.format import COMMANDS, HELP, status_text
from tgbot.sender import LONGEST_PAUSE_S, Sender, SenderStatistics

OLDEST_COMMAND_MS: Final = 60_000
"""An older one was meant for a situation that has passed (TEL-04)."""
LONG_POLL_S: Final = 25
CLOSE_S: Final = 2.0
MOST_IN_ID: Final = 2**53
"""The Bot API promises that no id of chats and users needs more bits."""
_STRANGERS_REMEMBERED: Final = 1_000
_LIBRARY_LEVELS: Final = {"httpx": logging.WARNING, "httpcore": logging.WARNING, "telegram": logging.CRITICAL}
"""Below these the libraries log URLs, which hold the token, and whole answers; what fails we report ourselves."""

_log = structlog.get_logger(__name__)

# The library's six type parameters are of no use to us.
_Application = Application[Any, Any, Any, Any, Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TelegramAccount:
    """`api_url` is the root of a Bot API server, `chat_id` the one chat that is served. The token is a secret: it is in
    no log, exception or repr of ours."""

    token: str = field(repr=False)
    chat_id: int
    api_url: str = "https://api.telegram.org"


class Queries(Protocol):
    """What this bot asks."""

    def status(self) -> StatusReport: ...


class TelegramBot:
    """`core.engine.ports.Notifier`, and `/status`, `/help` for the one chat that may ask.

    `first_update` and `on_update` carry the id of the newest update handled over a restart, so that a command is not
    obeyed twice: `on_update` is called *before* the command is.
    """

    def __init__(
        self,
        *,
        account: TelegramAccount,
        queries: Queries,
        audit: AuditLog,
        clock: Clock,
        first_update: int = 0,
        on_update: Callable[[int], None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._account = account
        self._queries = queries
        self._audit = audit
        self._clock = clock
        self._last_update = first_update
        self._on_update = on_update
        self._sleep = sleep
        self._introduced = False
        self._strangers: set[int] = set()
        self._application = _application(account)
        self._application.add_handler(CommandHandler("status", self._answer_status))
        self._application.add_handler(CommandHandler(["help", "start"], self._answer_help))
        self._application.add_error_handler(self._answer_failed)
        self._sender = Sender(self._application.bot, account.chat_id, redact=self._redact, sleep=sleep)

    def notify(self, level: Level, text: str, *, kind: AlertKind, begins: str = "", ends: str = "") -> None:
        """Queues a message; never waits, never raises."""
        self._sender.notify(level, text, kind=kind, begins=begins, ends=ends)

    def statistics(self) -> SenderStatistics:
        """A snapshot for the status page."""
        return self._sender.statistics()

    async def drain(self, timeout_s: float) -> bool:
        """Waits until what is queued was sent, at most `timeout_s`; for the last words before `run` is cancelled."""
        return await self._sender.drain(timeout_s)

    async def run(self) -> None:
        """Sends and answers until cancelled, through every outage of Telegram. Opens no connection before it is run."""
        for name, level in _LIBRARY_LEVELS.items():
            logger = logging.getLogger(name)
            logger.setLevel(max(logger.level, level))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._sender.run(), name="telegram/send")
                tasks.create_task(self._poll(), name="telegram/poll")
        finally:
            await self._shut_down()

    async def _poll(self) -> None:
        pause = 1.0
        while True:
            try:
                await self._fetch()
                pause = 1.0
            except RetryAfter as flood:
                wait = flood.retry_after
                await self._sleep(wait if isinstance(wait, int) else wait.total_seconds())
            except InvalidToken:
                _log.error("telegram.token_refused", remedy="check TELEGRAM_TOKEN")
                await self._sleep(LONGEST_PAUSE_S)
            except Exception as error:  # swallow: whatever Telegram answers, trading goes on
                _log.warning("telegram.poll_failed", error=type(error).__name__, reason=self._redact(str(error)))
                await self._sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _fetch(self) -> None:
        bot = self._application.bot
        await self._application.initialize()  # returns at once when it succeeded before
        if not self._introduced:
            await bot.set_my_commands([BotCommand(name, told) for name, told in COMMANDS.items()])
            self._introduced = True
        updates = await bot.get_updates(
            offset=self._last_update + 1 if self._last_update else None,
            timeout=timedelta(seconds=LONG_POLL_S),
            allowed_updates=[Update.MESSAGE],
        )
        for update in updates:
            if not _is_id(update.update_id):  # taken for the newest it would hide every later question
                raise TelegramError("an update without a number")
            if update.update_id > self._last_update:
                self._last_update = update.update_id
                self._on_update(update.update_id)
                if self._admitted(update):
                    await self._application.process_update(update)

    def _admitted(self, update: Update) -> bool:
        chat, message = update.effective_chat, update.effective_message
        if chat is None or message is None or not _is_id(chat.id):
            return False
        if chat.id != self._account.chat_id:
            self._refuse(chat.id, update.effective_user.id if update.effective_user else None)
            return False
        sent = getattr(message, "date", None)  # one that says not when it was written may be of any age
        if not isinstance(sent, datetime):
            return False
        age_ms = self._clock.now_ms() - sent.timestamp() * 1000
        if age_ms > OLDEST_COMMAND_MS:
            _log.info("telegram.command_too_old", age_s=round(age_ms / 1000))
            return False
        return True

    def _refuse(self, chat_id: int, user_id: int | None) -> None:
        """Silently towards the stranger; what was written is not repeated anywhere, and a chat is told of once."""
        if chat_id in self._strangers or len(self._strangers) >= _STRANGERS_REMEMBERED:
            return
        self._strangers.add(chat_id)
        _log.warning("telegram.stranger_refused", chat_id=chat_id, user_id=user_id)
        self._audit.record("telegram.stranger_refused", {"chat_id": chat_id, "user_id": user_id})

    async def _answer_status(self, update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
        del update, context
        self._sender.reply(status_text(self._queries.status()))

    async def _answer_help(self, update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
        del update, context
        self._sender.reply(HELP)

    async def _answer_failed(self, update: object, context: ContextTypes.DEFAULT_TYPE) -> None:
        """A question that could not be answered is our mistake, and no reason to stop listening."""
        del update
        _log.error("telegram.answer_failed", exc_info=context.error)
        self._sender.reply(f"This could not be answered ({type(context.error).__name__}); the log says why.")

    async def _shut_down(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._application.shutdown()
                await self._application.bot.shutdown()
        except (TelegramError, TimeoutError) as error:
            _log.warning("telegram.close_failed", error=type(error).__name__)

    def _redact(self, text: str) -> str:
        return text.replace(self._account.token, "***")


def _is_id(number: object) -> bool:
    """The library passes on whatever stood there."""
    return isinstance(number, int) and abs(number) < MOST_IN_ID


def _application(account: TelegramAccount) -> _Application:
    return (
        ApplicationBuilder()
        .token(account.token)
        .base_url(f"{account.api_url.rstrip('/')}/bot")
        .updater(None)
        .job_queue(None)
        .connect_timeout(5)
        .read_timeout(10)
        .write_timeout(10)
        .build()
    )
