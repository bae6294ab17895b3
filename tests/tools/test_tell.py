"""Telling the operator without a daemon: by every channel, also where the rest of the configuration is broken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.config import PROJECT_ROOT, load_settings
from core.errors import ConfigError
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


@pytest.mark.parametrize(
    ("name", "text"), [("binance_api_kye", "abc"), ("breakwater_binance_api_key", ""), ("okx_api_key", "a b c")]
)
def test_a_slip_in_another_credential_does_not_silence_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    for credential, inside in (("breakwater_telegram_token", TOKEN), (name, text)):
        (folder / credential).write_text(inside)
        (folder / credential).chmod(0o640)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    _reaches(_written(tmp_path, f"TELEGRAM_CHAT_ID={CHAT}\n"))


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_token_file_beside_the_settings_is_found_when_the_rest_is_broken(tmp_path: Path, mode: int) -> None:
    (tmp_path / "tg").write_text(f"{TOKEN}\n")
    (tmp_path / "tg").chmod(mode)
    _reaches(_written(tmp_path, f"LEVERAGE=nonsense\nTELEGRAM_CHAT_ID={CHAT}\nTELEGRAM_TOKEN_FILE=tg\n"))


@pytest.mark.parametrize(
    "slip",
    [
        "ALERT_NOISE=wave=loud",
        "ALERT_MIN_FREE_MB=much",
        "TELEGRAM_OWNERS=me",
        "TELEGRAM_API_URL=htps://api.telegram.org",
        "ALERT_WEBHOOK_URL=hook.example",
        "ALERT_WEBHOOK_SECRET_FILE=nowhere",
        "TELEGRAM_NAME=x",
    ],
)
def test_a_slip_in_what_else_is_told_does_not_silence_it(tmp_path: Path, slip: str) -> None:
    _reaches(_written(tmp_path, f"{slip}\nTELEGRAM_CHAT_ID={CHAT}\nTELEGRAM_TOKEN={TOKEN}\n"))


def test_a_letter_of_another_encoding_does_not_silence_it(tmp_path: Path) -> None:
    path = _written(tmp_path, f"TELEGRAM_CHAT_ID={CHAT}\nTELEGRAM_TOKEN={TOKEN}\n")
    path.write_bytes(b"# f\xfcr den Bot\n" + path.read_bytes())
    _reaches(path)


def test_what_of_a_channel_cannot_be_used_is_said_without_its_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tell._settings(_written(tmp_path, "TELEGRAM_TOKEN=a b c\nALERT_WEBHOOK_SECRET_FILE=nowhere\n"))
    said = capsys.readouterr().err
    assert "TELEGRAM_TOKEN cannot be used" in said
    assert "ALERT_WEBHOOK_SECRET_FILE names a file that cannot be read" in said
    assert "a b c" not in said


def _written(folder: Path, text: str) -> Path:
    path = folder / "breakwater.env"
    path.write_text(text)
    path.chmod(0o600)
    return path


def _reaches(env_file: Path) -> None:
    with pytest.raises(ConfigError):
        load_settings(os.environ, env_file, to_trade=False)
    telegram = tell._settings(env_file).telegram
    assert telegram.token is not None
    assert (telegram.token.get_secret_value(), telegram.chat_id) == (TOKEN, CHAT)
    assert telegram.api_url == "https://api.telegram.org"


def _run(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "x.env").write_text(text)
    command = [sys.executable, str(PROJECT_ROOT / "tools" / "tell.py"), "--env-file", str(folder / "x.env"), "hello"]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)
