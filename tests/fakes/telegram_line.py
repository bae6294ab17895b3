"""Telegram without sockets: the library's requests go to the loopback Bot API in process, so that a bot lives in
virtual time; and a phone to write, press and read with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from telegram.error import NetworkError
from telegram.request import BaseRequest, RequestData

from core.clock import Clock
from tests.fakes.bot_api import CHAT, TOKEN
from tools.bot_account import BotAccount, Fault, FaultKind
from tools.botapi import BotApi


class TelegramLine(BaseRequest):
    """What the library takes for the network; faults of the account are met on it."""

    def __init__(self, api: BotApi) -> None:
        self._api = api

    @property
    def read_timeout(self) -> float | None:
        return None

    async def initialize(self) -> None: ...
    async def shutdown(self) -> None: ...
    async def do_request(
        self, url: str, method: str, request_data: RequestData | None = None, *args: Any, **more: Any
    ) -> tuple[int, bytes]:
        del method, args, more
        token, name = url.rpartition("/bot")[2].split("/")
        params: dict[str, Any] = {} if request_data is None else dict(request_data.json_parameters)
        if request_data is not None:
            params |= {key: file[1] for key, file in request_data.multipart_data.items()}
        fault = self._api.account.take_fault(name)
        if fault is not None and (met := await _met(fault, params)) is not None:
            return met
        status, body = await self._api.answer(token, name, params)
        return status, json.dumps(body).encode()


async def _met(fault: Fault, params: Mapping[str, Any]) -> tuple[int, bytes] | None:
    match fault.kind:
        case FaultKind.SLOW:
            await asyncio.sleep(fault.delay_ms / 1000)
            return None
        case FaultKind.FLOOD:
            return 429, _refused(429, "Too Many Requests", {"retry_after": fault.retry_after})
        case FaultKind.MARKUP:
            return (400, _refused(400, "Bad Request: can't parse entities", {})) if params.get("entities") else None
        case FaultKind.DOWN:
            raise NetworkError("no route")
        case _:
            return fault.status, b"<html>"


def _refused(status: int, text: str, parameters: Mapping[str, int]) -> bytes:
    return json.dumps({"ok": False, "error_code": status, "description": text, "parameters": parameters}).encode()


class Phone:
    """One chat as the people in it have it."""

    def __init__(self, clock: Clock, chat_id: int = CHAT) -> None:
        self.api = BotApi(BotAccount(TOKEN, {chat_id}))
        self.chat_id = chat_id
        self._clock = clock

    @property
    def account(self) -> BotAccount:
        return self.api.account

    def line(self) -> TelegramLine:
        """For `TelegramAccount.network`."""
        return TelegramLine(self.api)

    def write(self, text: str, *, user: int | None = None, chat: int | None = None, age_s: float = 0) -> int:
        """The update's number."""
        date = int(self._clock.now_ms() / 1000 - age_s)
        update = self.account.write(chat or self.chat_id, text, user_id=user or self.chat_id, date=date)
        self.api.wake()
        return update

    def press(self, label: str, *, user: int | None = None, times: int = 1) -> None:
        """The newest button whose label has these words."""
        message_id, data = self.button(label)
        for _ in range(times):
            self.account.press(self.chat_id, data, user_id=user or self.chat_id, message_id=message_id)
        self.api.wake()

    def button(self, label: str) -> tuple[int, str]:
        """Message and data of the newest such button. Raises LookupError."""
        for sent in reversed(self.account.outbox):
            for row in json.loads(sent.get("reply_markup") or "{}").get("inline_keyboard", []):
                for button in row:
                    if label in button["text"]:
                        return sent["message_id"], button["callback_data"]
        raise LookupError(f"there is no button {label!r}")

    @property
    def shown(self) -> list[str]:
        """Every message and change of one, oldest first."""
        return [sent["text"] for sent in self.account.outbox if sent["method"] != "answerCallbackQuery"]

    @property
    def popups(self) -> list[str]:
        """What pressed buttons were answered with, where that was words."""
        return [s["text"] for s in self.account.outbox if s["method"] == "answerCallbackQuery" and s["text"]]

    async def read(self, words: str, *, since: int = 0, seconds: float = 60.0) -> str:
        """The first thing shown, from the so-manyth on, that has these words."""
        return await self._wait(lambda: next((text for text in self.shown[since:] if words in text), None), seconds)

    async def ask(self, text: str, words: str = "", *, user: int | None = None, seconds: float = 60.0) -> str:
        """Write, and read what comes with these words."""
        since = len(self.shown)
        self.write(text, user=user)
        return await self.read(words, since=since, seconds=seconds)

    async def popup(self, seconds: float = 30.0) -> str:
        """The newest words a pressed button was answered with, once there is one."""
        return await self._wait(lambda: self.popups[-1] if self.popups else None, seconds)

    async def settled(self, count: int, seconds: float = 120.0) -> list[str]:
        """Everything shown, once it is so many."""
        await self._wait(lambda: "" if len(self.shown) >= count else None, seconds)
        return self.shown

    async def _wait(self, found: Callable[[], str | None], seconds: float) -> str:
        async with asyncio.timeout(seconds):
            while (text := found()) is None:  # noqa: ASYNC110 - Telegram tells nobody that something is shown
                await asyncio.sleep(0.01)
        return text
