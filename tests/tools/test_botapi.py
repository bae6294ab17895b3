"""The loopback Bot API: it refuses what Telegram refuses, and it can be made to fail."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.bot_api import CHAT, TOKEN, LoopbackBotApi, bot_api
from tools.bot_entities import EntityError, check
from tools.botapi import BotApi, serving


class Client:
    """Calls the API as a bot would, and its control side as a test would."""

    def __init__(self, server: LoopbackBotApi, session: aiohttp.ClientSession) -> None:
        self.server, self.session = server, session

    async def call(self, method: str, token: str = TOKEN, **params: Any) -> dict[str, Any]:
        async with self.session.post(f"{self.server.url}/bot{token}/{method}", json=params) as response:
            body: dict[str, Any] = await response.json()
            assert body.get("error_code", 200) == response.status
            return body

    async def control(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        async with self.session.request(method, f"{self.server.url}/_bot/{path}", json=body) as response:
            return await response.json()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with bot_api() as server, aiohttp.ClientSession() as session:
        yield Client(server, session)


async def test_a_sent_message_is_answered_and_found_in_the_outbox(client: Client) -> None:
    sent = await client.call("sendMessage", chat_id=CHAT, text="hello")
    assert (sent["ok"], sent["result"]["text"], sent["result"]["chat"]["id"]) == (True, "hello", CHAT)
    (row,) = await client.control("GET", "outbox")
    assert (row["n"], row["method"], row["text"]) == (1, "sendMessage", "hello")
    assert await client.control("GET", "outbox?since=1") == []


@pytest.mark.parametrize(
    ("params", "description"),
    [
        ({"chat_id": 7, "text": "x"}, "Bad Request: chat not found"),
        ({"text": "x"}, "Bad Request: chat not found"),
        ({"chat_id": CHAT, "text": " "}, "Bad Request: message text is empty"),
        ({"chat_id": CHAT, "text": "x" * 4097}, "Bad Request: message is too long"),
        ({"chat_id": CHAT, "text": "🔴" * 2049}, "Bad Request: message is too long"),
        ({"chat_id": CHAT, "text": "x", "parse_mode": "LaTeX"}, "Bad Request: unsupported parse_mode"),
    ],
)
async def test_what_telegram_refuses_is_refused(client: Client, params: dict[str, Any], description: str) -> None:
    answer = await client.call("sendMessage", **params)
    assert (answer["ok"], answer["error_code"], answer["description"]) == (False, 400, description)


async def test_a_wrong_token_and_an_unknown_method_are_refused(client: Client) -> None:
    assert (await client.call("getMe", token="7000000001:wrong"))["error_code"] == 401
    assert (await client.call("getMe", token="nonsense"))["error_code"] == 404
    assert (await client.call("sendPizza"))["error_code"] == 404


async def test_updates_are_given_until_they_are_confirmed_by_an_offset(client: Client) -> None:
    first = (await client.control("POST", "send", {"chat_id": CHAT, "text": "/status"}))["update_id"]
    await client.control("POST", "send", {"chat_id": CHAT, "data": "yes", "message_id": 3})
    updates = (await client.call("getUpdates"))["result"]
    assert [update["update_id"] for update in updates] == [first, first + 1]
    assert updates[0]["message"]["entities"] == [{"type": "bot_command", "offset": 0, "length": 7}]
    assert updates[1]["callback_query"]["data"] == "yes"
    assert len((await client.call("getUpdates", offset=first + 1))["result"]) == 1
    assert len((await client.call("getUpdates", offset=-1))["result"]) == 1


async def test_a_long_poll_returns_when_somebody_writes(client: Client) -> None:
    poll = asyncio.create_task(client.call("getUpdates", timeout=30))
    await asyncio.sleep(0.01)
    client.server.say("hi")
    assert (await poll)["result"][0]["message"]["text"] == "hi"


async def test_a_second_poller_ends_the_first_with_a_conflict(client: Client) -> None:
    first = asyncio.create_task(client.call("getUpdates", timeout=30))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(client.call("getUpdates", timeout=30))
    assert (await first)["error_code"] == 409
    client.server.say("hi")
    assert (await second)["ok"]


async def test_a_message_can_be_edited_once_into_each_text(client: Client) -> None:
    message = (await client.call("sendMessage", chat_id=CHAT, text="one"))["result"]["message_id"]
    assert (await client.call("editMessageText", chat_id=CHAT, message_id=message, text="two"))["ok"]
    again = await client.call("editMessageText", chat_id=CHAT, message_id=message, text="two")
    assert again["description"] == "Bad Request: message is not modified"
    missing = await client.call("editMessageText", chat_id=CHAT, message_id=99, text="two")
    assert missing["description"] == "Bad Request: message to edit not found"


async def test_a_photo_comes_as_multipart_with_a_caption(client: Client) -> None:
    form = aiohttp.FormData({"chat_id": str(CHAT), "caption": "chart"})
    form.add_field("photo", b"\x89PNG", filename="chart.png", content_type="image/png")
    async with client.session.post(f"{client.server.url}/bot{TOKEN}/sendPhoto", data=form) as response:
        assert (await response.json())["result"]["caption"] == "chart"
    (picture,) = client.server.account.files.values()
    assert picture


async def test_other_calls_a_bot_makes_are_answered(client: Client) -> None:
    assert (await client.call("getMe"))["result"]["is_bot"]
    assert (await client.call("getChat", chat_id=-5))["result"]["type"] == "group"
    for method in ("deleteWebhook", "answerCallbackQuery", "sendChatAction", "setMyCommands"):
        assert (await client.call(method))["result"] is True


async def test_a_flood_fault_names_the_seconds_to_wait_and_counts_down(client: Client) -> None:
    await client.control("POST", "fault", {"kind": "flood", "method": "sendMessage", "retry_after": 3})
    answer = await client.call("sendMessage", chat_id=CHAT, text="x")
    assert (answer["error_code"], answer["parameters"]) == (429, {"retry_after": 3})
    assert (await client.call("sendMessage", chat_id=CHAT, text="x"))["ok"]
    (fault,) = await client.control("GET", "fault")
    assert (fault["hits"], fault["count"]) == (1, 0)


async def test_down_drops_connections_until_it_is_deleted(client: Client) -> None:
    fault = await client.control("POST", "fault", {"kind": "down", "count": -1})
    for _ in range(2):
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.call("getMe")
    await client.control("DELETE", f"fault?id={fault['id']}")
    assert (await client.call("getMe"))["ok"]


async def test_garbage_and_http_errors_are_not_the_json_a_client_expects(client: Client) -> None:
    for kind, status in (("garbage", 200), ("http_error", 502)):
        await client.control("POST", "fault", {"kind": kind})
        async with client.session.post(f"{client.server.url}/bot{TOKEN}/getMe") as response:
            assert (response.status, response.content_type) != (status, "application/json")
            assert response.status == status


async def test_slow_answers_late_but_answers(client: Client) -> None:
    await client.control("POST", "fault", {"kind": "slow", "delay_ms": 20})
    assert (await client.call("getMe"))["ok"]


@pytest.mark.parametrize("fault", [{"kind": "earthquake"}, {"kind": "down", "colour": "red"}, {}])
async def test_an_unknown_fault_or_key_is_named(client: Client, fault: dict[str, Any]) -> None:
    assert "error" in await client.control("POST", "fault", fault)


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("MarkdownV2", r"*bold* _it_ __under__ ~no~ ||spoiler|| `co.de` [link](http://x.y) 1\.5 \_"),
        ("MarkdownV2", "```py\nx = 1.5 `y`\n```\n>quote"),
        ("MarkdownV2", "*bold _both_ __under__*"),
        ("HTML", '<b>bold <i>both</i></b> <a href="x">y</a> 1 &lt; 2 &amp; a & b'),
        ("Markdown", "*bold* _it_ `co_de` [a_b](http://x_y) \\_"),
        ("", "anything *goes _here <b>"),
    ],
)
def test_sound_markup_is_taken(mode: str, text: str) -> None:
    check(text, mode)


@pytest.mark.parametrize(
    ("mode", "text", "reason"),
    [
        ("MarkdownV2", "price 1.5", r"Character '\.' is reserved and must be escaped"),
        ("MarkdownV2", "BTC_USDT", "find end of Italic entity at byte offset 3"),
        ("MarkdownV2", "é *bold", "find end of Bold entity at byte offset 3"),
        ("MarkdownV2", "*a _b* c_", "find end of Italic entity"),
        ("MarkdownV2", "[link](x", "find end of a URL"),
        ("MarkdownV2", "`code", "find end of Code entity"),
        ("MarkdownV2", "```code", "find end of Pre entity"),
        ("HTML", "<b>x", 'find end tag corresponding to start tag "b"'),
        ("HTML", "<b>x</i>", r"expected \"</b>\", found \"</i>\""),
        ("HTML", "x</b>", "Unexpected end tag"),
        ("HTML", "<script>", 'Unsupported start tag "script"'),
        ("HTML", "1 < 2", "Unsupported start tag"),
        ("Markdown", "BTC_USDT", "find end of the entity starting at byte offset 3"),
    ],
)
def test_broken_markup_is_refused_in_telegrams_words(mode: str, text: str, reason: str) -> None:
    with pytest.raises(EntityError, match=reason):
        check(text, mode)


async def test_only_loopback_is_served(client: Client) -> None:
    with pytest.raises(ValueError, match="loopback"):
        async with serving(BotApi(client.server.account), host="0.0.0.0"):
            pass


@pytest.mark.parametrize("program", [["tools/botapi.py"], ["-m", "tools.botapi"]])
async def test_the_program_says_where_it_listens_and_ends_cleanly_even_during_a_long_poll(
    project_root: Path, program: list[str]
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", *program, "--chat", "5",
        cwd=project_root, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    url = json.loads(await process.stdout.readline())["url"]
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/bot1:t/sendMessage", json={"chat_id": 5, "text": "x"}) as response:
            assert (await response.json())["ok"]
        poll = asyncio.create_task(session.post(f"{url}/bot1:t/getUpdates", json={"timeout": 60}))
        await asyncio.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, errors = await process.communicate()
        (await poll).release()
    assert (process.returncode, errors) == (0, b"")
