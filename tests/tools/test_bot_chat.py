"""The chat in the terminal shows what a phone would, and presses what is numbered."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tools.bot_account import BotAccount
from tools.bot_chat import ME, TOKEN, WIDTH, Phone, Talk, wrapped
from tools.botapi import BotApi


@pytest.fixture
def api() -> BotApi:
    return BotApi(BotAccount(TOKEN, {ME}))


def _sent(api: BotApi, method: str = "sendMessage", **params: Any) -> None:
    api.account.send(TOKEN, method, {"chat_id": ME, **params})


def test_a_message_is_framed_at_the_width_of_a_phone_with_its_buttons_numbered(api: BotApi, tmp_path: Path) -> None:
    phone = Phone(api, tmp_path)
    buttons = {"inline_keyboard": [[{"text": "Refresh", "callback_data": "r:status"}]]}
    _sent(api, text="a line that is much longer than a phone is wide\nshort", reply_markup=json.dumps(buttons))
    lines = phone.news()
    assert all(len(line) == WIDTH + 4 for line in lines[:-1])
    assert lines[-1].strip() == "[1] Refresh"
    assert phone.news() == []


def test_a_picture_is_saved_and_its_file_is_named(api: BotApi, tmp_path: Path) -> None:
    _sent(api, "sendPhoto", photo=b"\x89PNG", caption="a chart")
    shown = "\n".join(Phone(api, tmp_path).news())
    (file,) = tmp_path.iterdir()
    assert file.read_bytes() == b"\x89PNG"
    assert str(file) in shown


def test_what_is_typed_is_written_or_pressed_by_whoever_one_is(api: BotApi, tmp_path: Path) -> None:
    phone = Phone(api, tmp_path)
    talk = Talk(api, phone, ME)
    buttons = {"inline_keyboard": [[{"text": "Close BTC", "callback_data": "c:close BTC"}]]}
    _sent(api, text="position", reply_markup=json.dumps(buttons))
    phone.news()
    assert talk.said("/status") is None
    assert talk.said("/as 3") == "you are user 3 now"
    assert talk.said("1") is None
    assert talk.said("/press Close") is None
    assert talk.said("2") == "there is no such button"
    assert talk.said("/press nothing") == "there is no such button"
    assert "flood" in str(talk.said("/fault nonsense"))
    assert talk.said("/fault flood") == "the next call meets flood"
    with pytest.raises(EOFError):
        talk.said("/quit")
    written, pressed, again = api.account.updates
    assert (written["message"]["text"], written["message"]["from"]["id"]) == ("/status", ME)
    assert (pressed["callback_query"]["data"], pressed["callback_query"]["from"]["id"]) == ("c:close BTC", 3)
    assert again["callback_query"]["message"]["message_id"] == pressed["callback_query"]["message"]["message_id"]


def test_lines_are_broken_between_words_and_blank_ones_stay() -> None:
    assert wrapped("one two\n\n" + "x" * 50, 10) == ["one two", "", *["x" * 10] * 5]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_chat_that_is_ended_takes_its_daemon_and_its_venues_with_it(
    project_root: Path, number: signal.Signals
) -> None:
    command, pipe = [sys.executable, "-u", "-m", "tools.bot_chat", "--dry-run"], subprocess.PIPE
    with subprocess.Popen(command, cwd=project_root, stdin=pipe, stdout=pipe, text=True) as chat:
        assert chat.stdout is not None
        assert "starts in dry run" in chat.stdout.readline()
        (daemon,) = _children(chat.pid)
        while not (venues := _children(daemon)):
            time.sleep(0.05)
        chat.send_signal(number)
        assert chat.wait() == 0
    while any(Path(f"/proc/{process}").exists() for process in (daemon, *venues)):
        time.sleep(0.05)  # whom nobody waits for is taken away by the system, in its time


def _children(process: int) -> list[int]:
    return list(map(int, Path(f"/proc/{process}/task/{process}/children").read_text("ascii").split()))
