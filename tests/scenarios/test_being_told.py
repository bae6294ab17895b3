"""What an operator reads when something does not trade, or has ended: the reason is in the line itself."""

import asyncio
import io
import os
import socket
from typing import Any

import pytest
from rich.console import Console

from core.status.control import SOCKET_NAME
from tests.scenarios.log_lines import LogLines
from tests.scenarios.worlds import PAIRS, SimulatedWorld, World, a_wave
from tools import close_position, quick_check

pytestmark = pytest.mark.may_block(reason="the daemon writes its files in this process")
ON_SOCKETS = pytest.mark.asyncio(loop_factories=["loopback"])


@pytest.fixture
def said() -> LogLines:
    return LogLines()


async def _screen(daemon: Any) -> str:
    facts = await asyncio.to_thread(quick_check.look, daemon.data_dir)
    shown = io.StringIO()
    quick_check._show(Console(width=160, file=shown), facts)
    return shown.getvalue()


@ON_SOCKETS
async def test_the_screen_says_which_venue_pauses_and_why(world: World) -> None:
    await world.play(a_wave(PAIRS[:1], at_ms=500))
    await world.fault("http_error", match={"path": "/fapi/v1/order", "method": "POST"}, status=503, count=-1)
    async with world.running(VENUE_ERRORS_LIMIT=1) as daemon:
        await world.until(lambda: _paused(daemon), seconds=10)
        shown = await _screen(daemon)
        await world.forgive()
    assert "pause: errors: " in shown
    assert "tried again in" in shown


async def _paused(daemon: Any) -> bool:
    return daemon.status.venues[0].paused is not None


@ON_SOCKETS
async def test_the_screen_says_which_coin_is_short(world: World) -> None:
    await world.play(a_wave(PAIRS[:1], at_ms=500))
    async with world.running(MINIMUM_ACTIVE_BALANCE_USD=9_999) as daemon:
        await daemon.wave()
        shown = await _screen(daemon)
    assert "no entries: binance USDT: entries wait until 10" in shown


@ON_SOCKETS
async def test_the_screen_keeps_naming_a_limit_behind_another_reason(world: World) -> None:
    await world.play(a_wave(PAIRS[:1], at_ms=500))
    async with world.running(MAX_DRAWDOWN_PERCENT="0.0001") as daemon:
        await daemon.wave()
        await world.until(lambda: _reached(daemon), seconds=10)
        (daemon.data_dir / "KILL").touch()
        await world.until(lambda: _halted(daemon), seconds=10)
        shown = await _screen(daemon)
    assert "HALTED the KILL file exists" in shown
    assert "no entries: equity is " in shown


async def _reached(daemon: Any) -> bool:
    return bool(daemon.status.risk.reached)


async def _halted(daemon: Any) -> bool:
    return bool(daemon.status.trading_state == "halted")


async def test_people_are_told_why_a_wave_opened_less_than_it_brought(world: SimulatedWorld, said: LogLines) -> None:
    await world.play(a_wave(PAIRS[:3]))
    async with world.running(MAX_TRADES_PER_WAVE=1) as daemon:
        await daemon.wave()
    assert "wave of 3: 1 protected, 2 refused (2 wave_limit)" in said.notices


async def test_a_position_that_its_stop_closed_leaves_one_line_with_its_result(
    world: SimulatedWorld, said: LogLines
) -> None:
    await world.play(a_wave(PAIRS[:1]))
    async with world.running() as daemon:
        await daemon.wave()
        await world.fault("gap_price", match={"symbol": "BTCUSDT"}, fraction=-0.04)
        await world.until(lambda: _flat(world))
        await asyncio.sleep(1)
    (line,) = said.of("position.closed")
    assert line["position"] == "binance:BTC/USDT:USDT long"
    assert float(line["exit_price"]) < float(line["entry_price"])
    assert float(line["result"]) < 0
    assert line["by"].startswith("stop at ")


async def _flat(world: SimulatedWorld) -> bool:
    return not await world.held()


async def test_a_start_that_may_not_trade_says_why(world: SimulatedWorld, said: LogLines) -> None:
    await world.play()
    async with world.running(TRADING_ENABLED=False):
        pass
    (line,) = said.of("ready")
    assert (line["state"], line["reason"]) == ("reducing", "TRADING_ENABLED=false")


@ON_SOCKETS
async def test_a_daemon_that_does_not_answer_is_not_taken_for_a_dead_one(world: World) -> None:
    await world.play(a_wave(PAIRS[:1], at_ms=500))
    async with world.running() as daemon:
        await daemon.wave()
    path = daemon.data_dir / SOCKET_NAME
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.bind(str(path))
        stuck.listen()
        facts = await asyncio.to_thread(quick_check.look, daemon.data_dir)
        shown = await _screen(daemon)
    path.unlink()
    assert facts["to_do"] == ["the daemon does not answer: timed out"]
    assert "the daemon that runs here does not answer" in shown
    assert "no daemon is running" not in shown


@ON_SOCKETS
async def test_a_venue_that_is_not_configured_is_never_called_flat(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _as_environment(world, monkeypatch)
    asked = ["BTCUSDT", "--venue", "okx", "--yes", "--env-file", os.devnull]
    assert await asyncio.to_thread(close_position.main, asked) == close_position.VENUE_FAILED
    told = capsys.readouterr()
    assert "okx is not configured" in told.err
    assert "no open position" not in told.out


@ON_SOCKETS
async def test_a_close_that_nobody_agreed_to_is_a_question_of_usage(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await world.play(a_wave(PAIRS[:1], at_ms=500))
    async with world.running() as daemon:
        await daemon.wave()
    _as_environment(world, monkeypatch)
    monkeypatch.setattr("sys.stdin", io.StringIO("y"))
    asked = ["--all", "--env-file", os.devnull]
    assert await asyncio.to_thread(close_position.main, asked) == close_position.USAGE
    assert "add --yes" in capsys.readouterr().err
    assert await world.held(), "nothing was closed"


def _as_environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = world.settings().process.data_dir
    values = {"BINANCE_URL": world.url, "BINANCE_API_KEY": "sim", "BINANCE_API_SECRET": "sim", "DATA_DIR": str(folder)}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
