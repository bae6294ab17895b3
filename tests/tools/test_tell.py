"""Telling the operator without a daemon: by every channel, also where the rest of the configuration is broken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.config import PROJECT_ROOT, load_settings
from tests.fakes.bot_api import CHAT, TOKEN, bot_api
from tools import tell

pytestmark = pytest.mark.may_block("settings are files")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (
            {"MONITOR_EXIT_STATUS": "2", "MONITOR_EXIT_CODE": "exited"},
            "the configuration cannot be used (exit status 2)",
        ),
        ({"MONITOR_EXIT_STATUS": "3", "MONITOR_EXIT_CODE": "exited"}, "pre-flight refused the start (exit status 3)"),
        ({"MONITOR_EXIT_STATUS": "4", "MONITOR_EXIT_CODE": "exited"}, "left something for you to do (exit status 4)"),
        (
            {"MONITOR_EXIT_STATUS": "KILL", "MONITOR_EXIT_CODE": "killed", "MONITOR_SERVICE_RESULT": "oom-kill"},
            "oom-kill, KILL",
        ),
        ({}, "why is not known"),
    ],
)
def test_the_end_of_a_service_is_told_with_its_reason_and_what_to_do(told: dict[str, str], said: str) -> None:
    text = tell._of_service("breakwater.service", told)
    assert said in text
    assert "journalctl -u breakwater" in text
    assert ("Positions rest on their stops" in text) is ("4" not in said)
    assert ("may have NO stop" in text) is ("4" in said)


def test_no_channel_is_said_and_is_a_status_of_its_own(tmp_path: Path) -> None:
    done = _run(tmp_path, "")
    assert done.returncode == tell.NO_CHANNEL
    assert "neither TELEGRAM_TOKEN nor ALERT_WEBHOOK_URL" in done.stderr


async def test_a_channel_that_does_not_take_it_is_named_and_its_address_is_not(tmp_path: Path) -> None:
    settings = load_settings(
        {"TELEGRAM_TOKEN": TOKEN, "TELEGRAM_CHAT_ID": str(CHAT), "TELEGRAM_API_URL": "http://127.0.0.1:9"},
        None,
        to_trade=False,
    )
    (why,) = (await tell.tell(settings, "hello", pause_s=0)).values()
    assert why is not None


async def test_it_reaches_the_chat_though_the_rest_of_the_configuration_is_broken(tmp_path: Path) -> None:
    async with bot_api() as api:
        text = f"LEVERAGE=nonsense\nTELEGRAM_TOKEN={TOKEN}\nTELEGRAM_CHAT_ID={CHAT}\nTELEGRAM_API_URL={api.url}\n"
        (tmp_path / ".env").write_text(text)
        (tmp_path / ".env").chmod(0o600)
        settings = tell._settings(tmp_path / ".env")
        assert await tell.tell(settings, "hello <b>") == {"telegram": None}
        (message,) = await api.sent(1)
    assert message["text"] == "hello <b>"


def _run(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "x.env").write_text(text)
    command = [sys.executable, str(PROJECT_ROOT / "tools" / "tell.py"), "--env-file", str(folder / "x.env"), "hello"]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)
