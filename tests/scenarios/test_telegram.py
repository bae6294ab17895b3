"""What an operator orders and asks by phone has its effect on the daemon and at the venue, and is said as the venue's
record has it. The daemon is real; Telegram, venues and time are simulated."""

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core.domain.money import plain
from tests.scenarios.telegram_worlds import TelegramWorld
from tests.scenarios.worlds import AFTER_CRASHES, PAIRS, Daemon, a_signal, a_wave
from tgbot.commands import registry
from tools.bot_account import Fault, FaultKind

pytestmark = pytest.mark.may_block(reason="the daemon writes its files in this process")

THREE = ("binance", "bybit", "okx")
COINS = ("BTC", "ETH", "SOL", "XRP")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[TelegramWorld]:
    async with TelegramWorld(tmp_path) as made:
        yield made


def _wave(at_ms: int, *pairs: str) -> dict[str, Any]:
    signals = [a_signal(pair, score=90 - i, id=f"{pair}-{at_ms}") for i, pair in enumerate(pairs)]
    return {"at_ms": at_ms, "signals": signals}


def _audited(daemon: Daemon, kind: str) -> list[dict[str, Any]]:
    lines = (daemon.data_dir / "audit.log").read_text("utf-8").splitlines()
    records = (json.loads(line) for line in lines)
    return [record["data"] for record in records if record["kind"] == kind]


# states


@pytest.mark.failure("TEL-06")
async def test_pause_refuses_the_next_signal_and_resume_admits_it(world: TelegramWorld) -> None:
    await world.play(_wave(20_000, "BTCUSDT"), _wave(60_000, "ETHUSDT"))
    async with world.running() as daemon:
        assert "REDUCING: paused" in await world.phone.ask("/pause", "REDUCING")
        (refused,) = (await daemon.wave()).legs
        assert refused.denied is not None
        assert refused.denied.reason.value == "not_active"
        assert not await world.held()
        assert "ACTIVE" in await world.confirm("/resume", "Entries are taken again")
        await daemon.wave(2)
        assert set(await world.held()) == {"ETHUSDT"}
        authors = {row["author"] for row in _audited(daemon, "telegram.command")}
    assert authors == {"telegram:42"}


@pytest.mark.failure("TEL-06")
@pytest.mark.parametrize(("command", "state"), [("/pause", "REDUCING: paused"), ("/reduce", "REDUCING: reducing only")])
async def test_what_stops_entries_survives_a_restart(world: TelegramWorld, command: str, state: str) -> None:
    await world.play()
    async with world.running() as first:
        await world.phone.ask(command, state)
        left = await first.kill()
    async with world.running(left) as second:
        assert state in await world.phone.ask("/status", "stream")
        await world.play(_wave(5_000, "BTCUSDT"))
        assert second.status.trading_state == "reducing"


@pytest.mark.failure("TEL-05", "TEL-06")
async def test_panic_ends_flat_once_and_says_of_each_position_what_the_venue_confirmed(tmp_path: Path) -> None:
    signals = [
        a_signal(f"{coin}USDT", score=90 - i, id=f"{venue}-{coin}", exchange=venue)
        for i, venue in enumerate(THREE)
        for coin in COINS[: 4 if i == 0 else 3]
    ]
    async with TelegramWorld(tmp_path, THREE, latency_ms=250) as world:
        await world.play({"at_ms": 4_000, "signals": signals})
        async with world.running() as daemon:
            await daemon.wave()
            assert len(daemon.status.positions) == 10
            asked = await world.phone.ask("/panic", "Press within")
            assert "BTC okx" in asked
            since, started = len(world.phone.shown), world.clock.monotonic()
            world.phone.press("PANIC", times=3)
            await world.until(partial(_empty, world), seconds=3)
            told = await world.phone.read("10 of 10 flat by the venue's word", since=since)
            took = world.clock.monotonic() - started
            panics = [row for row in _audited(daemon, "trading_state") if row["reason"] == "panic"]
            left = await daemon.kill()
        assert told.count(" flat") == 11, "ten positions and their sum"
        assert len(panics) == 1, "three presses are one panic"
        assert panics[0]["author"] == "telegram:42"
        assert took <= 4.0, "the answer waits for the venues' word and for its turn"
        async with world.running(left):
            assert "HALTED: panic" in await world.phone.ask("/status", "stream")
            assert "HALTED: panic" in await world.phone.ask("/resume", "Press within")


async def _empty(world: TelegramWorld) -> bool:
    """Nothing is held and nothing rests, by the venues' own record."""
    states = [await world.ask("state", venue) for venue in THREE]
    return not any(state["positions"] or state["orders"] for state in states)


# positions and orders


@pytest.mark.failure("TEL-05", "TEL-06")
async def test_close_closes_the_one_position_and_leaves_the_others_protected(world: TelegramWorld) -> None:
    await world.play(_wave(4_000, "BTCUSDT", "ETHUSDT"))
    async with world.running() as daemon:
        await daemon.wave()
        told = await world.confirm("/close btcusdt", "1 of 1 flat")
        assert set(await world.held()) == {"ETHUSDT"}
        realized = next(row for row in told.split("\n") if row.startswith("BTC"))
        assert realized.split()[2] == "flat"
        await world.venue_holds("binance")
        (ordered,) = _audited(daemon, "close_ordered")
    assert ordered["author"] == "telegram:42"


@pytest.mark.failure("TEL-05", "TEL-06")
async def test_closeall_ends_flat_and_without_a_press_nothing_happens(world: TelegramWorld) -> None:
    await world.play(_wave(4_000, "BTCUSDT", "ETHUSDT"))
    async with world.running() as daemon:
        await daemon.wave()
        await world.phone.ask("/closeall", "Press within")
        await asyncio.sleep(31)
        world.phone.press("✅")
        assert "Expired" in await world.phone.popup()
        assert len(await world.held()) == 2
        await world.confirm("/closeall", "2 of 2 flat")
        assert not await world.held()
        assert not await world.resting_stops()
        assert daemon.status.trading_state == "active"


@pytest.mark.failure("TEL-06")
async def test_cancel_asks_the_venue_and_never_takes_the_stop_of_an_open_position(world: TelegramWorld) -> None:
    await world.play(_wave(4_000, "BTCUSDT"))
    async with world.running() as daemon:
        await daemon.wave()
        orders = await world.phone.ask("/orders", "BTC binance stop")
        stop = next(line for line in orders.split("\n") if line.startswith("bw"))
        assert "is the stop of the open position" in await world.confirm(f"/cancel {stop}", "is the stop of")
        assert "no resting order has the id" in await world.confirm("/cancel nosuch", "no resting order")
        assert (await world.resting_stops())["BTCUSDT"]
        (_, asked) = _audited(daemon, "cancel_ordered")
    assert asked == {"order_id": "nosuch", "author": "telegram:42"}


# what is read


@pytest.mark.failure("TEL-01", "TEL-06")
async def test_every_question_is_answered_with_what_the_daemon_and_the_venue_know(tmp_path: Path) -> None:
    async with TelegramWorld(tmp_path, THREE) as world:
        both = [a_signal("BTCUSDT", score=90, exchange="binance"), a_signal("ETHUSDT", score=80, exchange="okx")]
        await world.play({"at_ms": 4_000, "signals": [*both, a_signal("NOSUCHUSDT", score=70, exchange="bybit")]})
        async with world.running(**AFTER_CRASHES) as daemon:
            await daemon.wave()
            ask = world.phone.ask
            status = await ask("/status", "stream")
            assert "2, stops 2" in status
            assert all(venue in status for venue in THREE)
            positions = await ask("/positions", "protected for")
            (btc,) = (row for row in daemon.status.positions if "BTC" in row.instrument.symbol)
            assert btc.stop is not None
            assert f"stop {plain(btc.stop)}" in positions
            assert "BTC binance L" in await ask("/positions table", "position ")
            assert "okx USDT" in await ask("/balance", "Balance")
            assert "2 orders rest" in await ask("/orders")
            trades = await ask("/trades", "Last 2 trades")
            (filled,) = (await world.ask("state", "binance"))["fills"]
            assert f"@ {plain(Decimal(filled['price']))}" in trades, "what was filled, by the venue's own record"
            assert "protected" in await ask("/waves", "Last 1 waves")
            assert "gates passed" in await ask("/why BTCUSDT", "BTC binance long")
            assert "symbol_unknown" in await ask("/why NOSUCHUSDT")
            assert "positions" in await ask("/risk", "day result")
            assert "symbol_unknown" in await ask("/signals", "Refused for")
            assert "2 of 2" in await ask("/health", "positions with a stop")
            assert daemon.status.build in await ask("/version", "Breakwater")
            logs = tmp_path / "logs" / "breakwater.log"
            logs.parent.mkdir(exist_ok=True)
            logs.write_text('{"time": "2026-11-21T10:00:00.000+00:00", "level": "warning", "event": "odd.thing"}\n')
            assert "odd.thing" in await ask("/logs 5 warnings", "Last 1 lines")
            assert "/panic" in await ask("/help", "You are owner")
            config = await ask("/config", "settings that are not defaults")
            assert "BINANCE_API_SECRET=***" in config


@pytest.mark.failure("TEL-01", "TEL-06")
async def test_results_are_told_from_what_was_filled_and_drawn_as_they_were(world: TelegramWorld) -> None:
    await world.play(_wave(4_000, "BTCUSDT", "ETHUSDT"))
    async with world.running() as daemon:
        await daemon.wave()
        ask = world.phone.ask
        closed = await world.confirm("/close BTCUSDT", "1 of 1 flat")
        (result,) = (line for line in closed.split("\n") if line.startswith("BTC binance flat"))
        assert "sell 0.001" in await ask("/trades 1", "out")
        (day,) = (line for line in (await ask("/pnl", "Result of")).split("\n") if line.startswith("together"))
        assert result.split()[-1] == day.split()[-1], "the close and the day tell the same result"
        assert "closed trades                        1" in await ask("/daily", "Today")
        assert "closed trades                        1" in await ask("/weekly", "Seven days")
        assert "profit factor" in await ask("/performance", "Performance of 30 days")
        world.phone.write("/chart ETHUSDT 1m")
        world.phone.write("/equity")
        await asyncio.sleep(10)
    levels: Any
    fills: Any
    chart, line = sorted(world.pictures, key=lambda data: str(data["kind"]))
    levels, fills = chart["levels"], chart["fills"]
    assert [level["name"] for level in levels] == ["entry", "stop", "mark"]
    assert len(fills) == 1
    assert line["kind"] == "line"


# outages


@pytest.mark.failure("TEL-04")
async def test_an_outage_of_telegram_changes_nothing_of_trading_and_obeys_nothing_stale(tmp_path: Path) -> None:
    """Twenty-five minutes of it, in which waves come on; orders written into it are too old when it ends."""
    minutes = 25
    stages: dict[bool, object] = {}
    ordered: list[dict[str, Any]] = []
    for outage in (False, True):
        folder = tmp_path / str(outage)
        folder.mkdir()
        async with TelegramWorld(folder, latency_ms=50) as world:
            await world.play(*(_wave(40_000 + 240_000 * i, pair) for i, pair in enumerate(PAIRS)))
            async with world.running() as daemon:
                if outage:
                    for method in ("getUpdates", "sendMessage", "editMessageText"):
                        world.phone.account.add_fault(Fault(kind=FaultKind.DOWN, method=method, count=-1))
                world.phone.write("/version")
                await asyncio.sleep(30)
                world.phone.write("/panic") if outage else None
                world.phone.write("/pause") if outage else None
                await daemon.wave(len(PAIRS), seconds=minutes * 60)
                await asyncio.sleep(minutes * 60 - daemon.status.uptime_s)
                world.phone.account.faults.clear()
                left = len(await world.held())  # stops of some have been hit
                await world.phone.ask("/status", f"{left}, stops {left}", seconds=300)
                stages[outage] = [report.stages for report in daemon.waves]
                assert daemon.status.trading_state == "active", "an order of minutes ago is not obeyed"
                ordered += _audited(daemon, "telegram.command")
    assert ordered == []
    assert stages[True] == stages[False], "not a millisecond of a wave's stages waits for Telegram"


async def test_a_wave_that_is_asked_about_while_it_runs_is_told_as_under_way_or_done(world: TelegramWorld) -> None:
    await world.play(a_wave(("BTCUSDT",)))
    async with world.running() as daemon:
        assert "No wave has come yet" in await world.phone.ask("/waves")
        await daemon.wave()
        await asyncio.sleep(1)
        assert "1 protected" in await world.phone.ask("/waves", "Last 1 waves")


@pytest.mark.failure("TEL-06")
def test_no_command_is_left_out_here() -> None:
    """Every one of them is asked of a real daemon above."""
    asked = Path(__file__).read_text("utf-8")
    assert [command.name for command in registry().commands if f'"/{command.name}' not in asked] == []


async def test_a_kill_file_that_goes_says_what_else_holds_trading_back(tmp_path: Path) -> None:
    async with TelegramWorld(tmp_path) as world, world.running() as daemon:
        await world.confirm("/panic", "HALTED")
        kill = daemon.data_dir / "KILL"
        kill.touch()
        await world.phone.read("the KILL file exists")
        kill.unlink()
        assert "trading is HALTED: panic" in await world.phone.read("the KILL file is gone")
