"""What an order over the control socket may carry: a misspelt name or venue is refused, whatever it would mean."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from core.domain.ids import VenueName
from core.engine.commands import Commands
from core.engine.queries import Queries
from core.status.control import ControlServer


@pytest.fixture
def commands() -> Mock:
    told = Mock(spec=Commands)
    told.close.return_value = []
    told.venues = frozenset({VenueName.BINANCE})
    return told


async def answer(commands: Mock, **request: Any) -> dict[str, Any]:
    server = ControlServer(folder=Path(), queries=Mock(spec=Queries), commands=commands)
    return await server._answer(json.dumps(request).encode())


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
