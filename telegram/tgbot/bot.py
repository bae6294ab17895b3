"""The bot: fetches what people write and press in one chat, hands it on once, and carries the daemon's alerts there.

Updates are fetched by a loop of our own: the library's Updater cannot be stopped while it waits out an outage, and does
not let the offset survive a restart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from telegram import Bot, BotCommand, CallbackQuery, Message, Update
from telegram.error import InvalidToken, RetryAfter, TelegramError
from telegram.request import BaseRequest, HTTPXRequest

from core.alerts.feed import Feed
from core.clock import Clock
from core.engine.operator_desk import OperatorDesk
from core.engine.owned_tasks import OwnedTasks
from tgbot.chat import Chat
from tgbot.conversation import Conversation
from tgbot.drawing import Drawing
from tgbot.pace import Pace
from tgbot.registry import Draw
from tgbot.roles import Role, Roster
from tgbot.sender import LONGEST_PAUSE_S, Sender

OLDEST_COMMAND_MS: Final = 60_000
"""An older one was meant for a situation that has passed (TEL-04)."""
LONG_POLL_S: Final = 25
CLOSE_S: Final = 2.0
CONNECTIONS: Final = 8
MOST_IN_ID: Final = 2**53
"""The Bot API promises that no id of chats and users needs more bits."""
MENU_AGAIN_S: Final = 60.0
"""Between two attempts to set the phone's list of commands."""
_STRANGERS_REMEMBERED: Final = 1_000
_LIBRARY_LEVELS: Final = {"httpx": logging.WARNING, "httpcore": logging.WARNING, "telegram": logging.CRITICAL}
"""Below these the libraries log URLs, which hold the token, and whole answers; what fails we report ourselves."""

_log = structlog.get_logger(__name__)


def _network() -> BaseRequest:
    return HTTPXRequest(connection_pool_size=CONNECTIONS, connect_timeout=5, read_timeout=10, write_timeout=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class TelegramAccount:
    """`api_url` is the root of a Bot API server, `network` makes what requests go through, `mask` takes the
    daemon's secrets out of a text. The token is one as well: it is in no log, exception or repr of ours."""

    token: str = field(repr=False)
    roster: Roster
    api_url: str = "https://api.telegram.org"
    network: Callable[[], BaseRequest] = _network
    mask: Callable[[str], str] = str


class TelegramBot:
    """`core.alerts.messenger.Messenger` for the one chat of the roster.

    `first_update` and `on_update` carry the id of the newest update handled over a restart, so that a command is not
    obeyed twice: `on_update` is called *before* the command is.
    """

    def __init__(
        self,
        *,
        account: TelegramAccount,
        desk: OperatorDesk,
        feed: Feed,
        clock: Clock,
        first_update: int = 0,
        on_update: Callable[[int], None] = lambda _: None,
        draw: Draw | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._account = account
        self._audit = desk.audit
        self._clock = clock
        self._last_update = self._noted = first_update
        self._on_update = on_update
        self._sleep = sleep
        self._introduced = False
        self._strangers: set[tuple[int, int | None]] = set()
        self._answers: OwnedTasks | None = None
        self._bot = _bot(account)
        chat_id, pace = account.roster.chat_id, Pace(sleep)
        self._sender = Sender(self._bot, chat_id, feed=feed, pace=pace, redact=self._redact, sleep=sleep)
        self._talk = Conversation(
            desk=desk,
            chat=Chat(self._bot, chat_id, pace, redact=self._redact, sleep=sleep),
            clock=clock,
            draw=draw or Drawing(),
            start=self._start,
        )

    async def run(self) -> None:
        """Sends and answers until cancelled, through every outage of Telegram. Opens no connection before it is run."""
        for name, level in _LIBRARY_LEVELS.items():
            logger = logging.getLogger(name)
            logger.setLevel(max(logger.level, level))
        if (roster := self._account.roster).admits_nobody:
            _log.warning("telegram.nobody_is_answered", remedy=_remedy(roster.chat_id))
        failed: Exception | None = None
        try:
            async with OwnedTasks() as answers:
                self._answers = answers
                try:
                    await self._send_and_poll()
                except Exception as error:  # swallow: raised below, when what was ordered here is done
                    failed = error
            if failed is not None:
                raise failed
        finally:
            self._answers = None
            await self._shut_down()

    async def _send_and_poll(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sender.run(), name="telegram/send")
            tasks.create_task(self._poll(), name="telegram/poll")
            tasks.create_task(self._introduce(), name="telegram/menu")

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """An answer that fails ends alone: a close that somebody ordered goes on beside it."""
        if self._answers is None:
            work.close()
            raise RuntimeError("the bot does not run")
        return self._answers.create_task(work, name=name)

    async def _introduce(self) -> None:
        """Sets the phone's list of commands. Nothing waits for it: a command is obeyed without it as well."""
        menu = [BotCommand(name, told) for name, told in self._talk.menu()]
        while not self._introduced:
            try:
                await self._bot.set_my_commands(menu)
                self._introduced = True
            except Exception as error:  # swallow: what Telegram answers to it ends neither ears nor alerts
                _log.info("telegram.menu_not_set", error=type(error).__name__, reason=self._redact(str(error)))
                flood = _seconds(error) if isinstance(error, RetryAfter) else 0.0
                await self._sleep(max(flood, MENU_AGAIN_S))

    async def _poll(self) -> None:
        pause = 1.0
        while True:
            try:
                await self._fetch()
                pause = 1.0
            except RetryAfter as flood:
                await self._sleep(_seconds(flood))
            except InvalidToken:
                _log.error("telegram.token_refused", remedy="check TELEGRAM_TOKEN")
                await self._sleep(LONGEST_PAUSE_S)
            except Exception as error:  # swallow: whatever Telegram answers, trading goes on
                _log.warning("telegram.poll_failed", error=type(error).__name__, reason=self._redact(str(error)))
                await self._sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _fetch(self) -> None:
        await self._bot.initialize()  # returns at once when it succeeded before
        updates = await self._bot.get_updates(
            offset=self._last_update + 1 if self._last_update else None,
            timeout=timedelta(seconds=LONG_POLL_S),
            allowed_updates=[Update.MESSAGE, Update.CALLBACK_QUERY],
        )
        before = self._last_update
        for update in updates:
            if not _is_id(update.update_id):  # taken for the newest it would hide every later question
                raise TelegramError("an update without a number")
            if update.update_id > self._last_update:
                self._last_update = update.update_id
                self._take(update)
        if self._noted < self._last_update:  # strangers do not make us write for each of their messages
            self._note()
        if updates and self._last_update == before:  # asked again at once it would tell the same, for ever
            raise TelegramError("only updates that were handled before")

    def _take(self, update: Update) -> None:
        if (role := self._admitted(update)) is None or update.effective_user is None:
            return
        self._note()
        user_id = update.effective_user.id
        if (query := update.callback_query) is not None:
            self._pressed(query, user_id, role)
        elif (message := update.message) is not None and self._is_new(message) and isinstance(message.text, str):
            self._talk.said(message.text, self._bot.username, user_id, role)

    def _note(self) -> None:
        """Before anything is obeyed, so that a restart does not obey it again."""
        self._noted = self._last_update
        self._on_update(self._last_update)

    def _pressed(self, query: CallbackQuery, user_id: int, role: Role) -> None:
        """A press has no time of its own: what it confirms has expired by then or has not, and looking does no harm."""
        message_id = query.message.message_id if query.message is not None else None
        self._talk.pressed(query.id, query.data, message_id if _is_id(message_id) else None, user_id, role)

    def _admitted(self, update: Update) -> Role | None:
        """By chat and user both; commands and buttons alike (TEL-04)."""
        chat, user = update.effective_chat, update.effective_user
        chat_id = chat.id if chat is not None and _is_id(chat.id) else None
        user_id = user.id if user is not None and _is_id(user.id) else None
        if chat_id is None:
            return None
        if (role := self._account.roster.role(chat_id, user_id)) is None:
            self._refuse(chat_id, user_id)
        return role

    def _is_new(self, message: Message) -> bool:
        sent = getattr(message, "date", None)  # one that says not when it was written may be of any age
        if not isinstance(sent, datetime):
            return False
        age_ms = self._clock.now_ms() - sent.timestamp() * 1000
        if age_ms > OLDEST_COMMAND_MS:
            _log.info("telegram.command_too_old", age_s=round(age_ms / 1000))
            return False
        return True

    def _refuse(self, chat_id: int, user_id: int | None) -> None:
        """Silently towards the stranger; what was written is not repeated anywhere, and each is told of once."""
        if (chat_id, user_id) in self._strangers or len(self._strangers) >= _STRANGERS_REMEMBERED:
            return
        self._strangers.add((chat_id, user_id))
        _log.warning("telegram.stranger_refused", chat_id=chat_id, user_id=user_id)
        self._audit.record("telegram.stranger_refused", {"chat_id": chat_id, "user_id": user_id})

    async def _shut_down(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._bot.shutdown()
        except (TelegramError, TimeoutError) as error:
            _log.warning("telegram.close_failed", error=type(error).__name__)

    def _redact(self, text: str) -> str:
        return self._account.mask(text.replace(self._account.token, "***"))


def _is_id(number: object) -> bool:
    """The library passes on whatever stood there."""
    return isinstance(number, int) and abs(number) < MOST_IN_ID


def _remedy(chat_id: int) -> str:
    if chat_id > 0:
        return f"list user {chat_id} in TELEGRAM_OWNERS: it is the one of the private chat"
    return "list users in TELEGRAM_OWNERS: the chat is a group"


def _seconds(flood: RetryAfter) -> float:
    wait = flood.retry_after
    return wait if isinstance(wait, int) else wait.total_seconds()


def _bot(account: TelegramAccount) -> Bot:
    return Bot(
        account.token,
        base_url=f"{account.api_url.rstrip('/')}/bot",
        request=account.network(),
        get_updates_request=account.network(),
    )
