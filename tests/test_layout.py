"""The layout traps of this project: import names, folders that must not exist, fixtures that must hold."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RealNetworkError


def test_the_telegram_library_is_the_installed_one(project_root: Path) -> None:
    import telegram

    assert telegram.__file__ is not None
    assert not Path(telegram.__file__).is_relative_to(project_root / "telegram")
    assert hasattr(telegram, "Bot")


def test_folders_that_would_shadow_a_library_do_not_exist(project_root: Path) -> None:
    assert not (project_root / "telegram" / "__init__.py").exists()
    assert not (project_root / "tests" / "telegram").exists()
    assert not (project_root / "websocket").exists()


def test_a_connection_to_another_host_is_refused_in_tests() -> None:
    with socket.socket() as sock, pytest.raises(RealNetworkError):
        sock.connect(("192.0.2.1", 443))
    with pytest.raises(RealNetworkError):
        socket.getaddrinfo("example.invalid", 443)


@pytest.mark.parametrize("schedule", ["call_soon", "call_later"])
async def test_a_loop_takes_nothing_from_another_thread(schedule: str) -> None:
    loop = asyncio.get_running_loop()
    arguments: tuple[Any, ...] = (0, print) if schedule == "call_later" else (print,)
    with pytest.raises(RuntimeError, match="by another thread"):
        await asyncio.to_thread(getattr(loop, schedule), *arguments)
