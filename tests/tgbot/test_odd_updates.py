"""Updates of another form than the Bot API promises: the library passes on whatever stands in them."""

import json
from typing import Any

import pytest
from telegram.error import TelegramError

from tests.campaigns.fuzz_list import parser_named
from tests.campaigns.fuzz_parsers import LibraryRefused


def _update(number: Any, chat: Any) -> bytes:
    told = {"id": chat, "type": "private", "first_name": "o"}
    return json.dumps({"ok": True, "result": [{"update_id": number, "message": {
        "message_id": 1, "date": 1_790_000_000, "chat": told, "text": "/status",
    }}]}).encode()  # fmt: skip


@pytest.mark.parametrize("number", ["7", None, 2**60, [7]])
async def test_an_update_without_a_number_hides_no_later_question(number: Any) -> None:
    async with parser_named("telegram").opened() as bot:
        with pytest.raises(LibraryRefused) as refused:
            await bot.feed(_update(number, 42))
    assert isinstance(refused.value.__cause__, TelegramError | TypeError)


async def test_a_question_that_says_not_when_it_was_asked_is_not_answered() -> None:
    async with parser_named("telegram").opened() as bot:
        await bot.feed(_update(7, 42).replace(b'"date": 1790000000', b'"date": null'))


@pytest.mark.parametrize("chat", [{"id": 42}, [42], "42", 2**70])
async def test_a_chat_without_a_number_is_nobody(chat: Any) -> None:
    async with parser_named("telegram").opened() as bot:
        await bot.feed(_update(7, chat))  # the question after it is answered: it says when not
