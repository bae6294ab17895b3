"""A Bot API server of the test's own, on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tools.bot_account import BotAccount
from tools.botapi import BotApi, serving

TOKEN = "7000000001:CANARY-token-of-the-test-bot"
CHAT = 42


@dataclass(slots=True)
class LoopbackBotApi:
    """`url` is what TELEGRAM_API_URL would be; `port` serves to bring a stopped one back."""

    api: BotApi
    url: str

    @property
    def account(self) -> BotAccount:
        return self.api.account

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def say(self, text: str, *, chat_id: int = CHAT, date: int | None = None) -> int:
        """Somebody writes to the bot; answers the update id."""
        update = self.account.write(chat_id, text, date=date)
        self.api.wake()
        return update

    async def sent(self, count: int) -> list[dict[str, Any]]:
        """The bot's messages, once there are `count`."""
        return await self.api.wait_sent(count)


@asynccontextmanager
async def bot_api(account: BotAccount | None = None, port: int = 0) -> AsyncIterator[LoopbackBotApi]:
    """Serves `account` (default: a fresh one with the token and chat above) while the block runs."""
    api = BotApi(account or BotAccount(TOKEN, {CHAT}))
    async with serving(api, port=port) as url:
        yield LoopbackBotApi(api, url)
