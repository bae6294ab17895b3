"""What an order over the control socket may carry: a misspelt name or venue is refused, whatever it would mean."""

import asyncio
import gc
import json
import socket
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from core.domain.ids import VenueName
from core.engine.commands import Commands
from core.engine.queries import Queries
from core.status.control import SOCKET_NAME, STOPPING, ControlServer, spelled


@pytest.fixture
def commands() -> Mock:
    told = Mock(spec=Commands)
    told.close.return_value = []
    told.venues = frozenset({VenueName.BINANCE})
    return told


async def answer(commands: Mock, **request: Any) -> dict[str, Any]:
    server = ControlServer(folder=Path(), queries=Mock(spec=Queries), commands=commands)
    told: dict[str, Any] = json.loads(await server.answer(json.dumps(request).encode()))
    return told


@pytest.mark.parametrize(
    "request_",
    [
        {"command": "close", "symbl": "BTCUSDT"},
        {"command": "close", "symbol": "BTCUSDT", "exchange": "binance"},
        {"command": "resume", "venu": "binance"},
        {"command": "panic", "symbol": "BTCUSDT"},
    ],
)
async def test_a_misspelt_name_is_refused_and_orders_nothing(commands: Mock, request_: dict[str, Any]) -> None:
    told = await answer(commands, **request_)
    assert not told["ok"]
    assert f"{request_['command']} does not know " in told["error"]
    assert "venue" in told["error"], "what it does know is named"
    assert commands.mock_calls == []


async def test_an_author_may_go_with_every_order(commands: Mock) -> None:
    assert (await answer(commands, command="close", symbol="BTCUSDT", author="me"))["ok"]
    commands.close.assert_awaited_once_with("BTCUSDT", None, "me")


@pytest.mark.parametrize("command", ["close", "pause", "reduce", "panic", "resume"])
@pytest.mark.parametrize("venue", ["okx", "kraken", "", ["binance"]])
async def test_a_venue_that_is_not_traded_here_is_refused(commands: Mock, command: str, venue: Any) -> None:
    told = await answer(commands, command=command, venue=venue)
    assert told == {"ok": False, "error": f"{venue!r} is not traded here; it is binance"}
    assert commands.mock_calls == []


async def test_a_venue_that_is_traded_is_passed_on(commands: Mock) -> None:
    assert (await answer(commands, command="close", venue="binance", author="me"))["ok"]
    commands.close.assert_awaited_once_with(None, VenueName.BINANCE, "me")


@pytest.mark.may_block("a socket file is made and removed once")
async def test_a_data_folder_too_deep_for_a_socket_address_is_served_all_the_same(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    server = ControlServer(folder=deep, queries=Mock(spec=Queries), commands=Mock(spec=Commands))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.run())
        await asyncio.sleep(0.01)
        assert (deep / SOCKET_NAME).is_socket()
        assert (deep / SOCKET_NAME).stat().st_mode & 0o777 == 0o600
        with spelled(deep / SOCKET_NAME) as address, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(address)
        task.cancel()
    assert not (deep / SOCKET_NAME).exists()


@pytest.mark.may_block("a socket file is made and removed once")
@pytest.mark.parametrize("steps", range(4))
async def test_stopping_in_the_step_it_starts_in_leaves_no_socket_open(tmp_path: Path, steps: int) -> None:
    """A ResourceWarning of one that was left is an error here."""
    server = ControlServer(folder=tmp_path, queries=Mock(spec=Queries), commands=Mock(spec=Commands))
    task = asyncio.create_task(server.run(), name="control")
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task, server
    gc.collect()
    assert not (tmp_path / SOCKET_NAME).exists()


@pytest.mark.may_block("a socket file is made and removed once")
async def test_whoever_waits_for_an_answer_when_the_daemon_stops_is_told_so_and_nothing_runs_on(
    tmp_path: Path, commands: Mock
) -> None:
    """A close that the venue does not answer outlived the server, and met the engine's end instead of its own."""

    async def for_ever(*_: Any) -> None:
        await asyncio.Event().wait()

    commands.close.side_effect = for_ever
    server = ControlServer(folder=tmp_path, queries=Mock(spec=Queries), commands=commands)
    task = asyncio.create_task(server.run(), name="control")
    await asyncio.sleep(0.01)
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / SOCKET_NAME))
    writer.write(b'{"command": "close"}\n')
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await reader.readline() == STOPPING
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
