"""The tools an operator has beside the daemon: quick_check and check_orders, against a venue and a real daemon."""

import asyncio
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console

from core.clock import SystemClock
from core.config import PROJECT_ROOT
from core.domain.ids import ClientOrderId, Leg, VenueName
from core.domain.order import OrderStatus
from core.domain.reconciliation import order_of
from core.engine.ports import Accepted
from core.wiring.accounts import accesses
from tests.builders import a_status, an_intent
from tests.scenarios.worlds import Daemon, LoopbackWorld, World, a_signal, a_wave
from tgbot.commands.state import status_page
from tools import check_orders, close_position, quick_check
from tools.venue_link import opened

pytestmark = pytest.mark.may_block(reason="a loopback daemon loads its settings and writes its files in this process")
ON_SOCKETS = pytest.mark.asyncio(loop_factories=["loopback"])
TWO = ("BTCUSDT", "ETHUSDT")


@pytest.fixture(autouse=True)
def _a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tool gives up on a daemon that is slow; here that would only tell how much else the machine does."""
    monkeypatch.setattr(quick_check, "DAEMON_SECONDS", 20.0)


async def _screen(folder: Path) -> dict[str, Any]:
    return await asyncio.to_thread(quick_check.look, folder)


async def _daemons_screen(folder: Path, *, waves: int = 0) -> dict[str, Any]:
    """Its control socket comes up a few steps after the daemon is ready, and the row of a wave is on disk some
    milliseconds after its report: steps that are long on a busy machine."""
    async with asyncio.timeout(20):
        while True:
            facts = await _screen(folder)
            done = [wave for wave in facts["last_waves"] if wave["counts"]]
            if facts["source"] == "daemon" and len(done) >= waves:
                return facts
            await asyncio.sleep(0.05)


async def _program(world: World, data: Path, name: str, *arguments: str) -> tuple[int, str, str]:
    """The tool as a user runs it, by path and from another folder."""
    env = {
        "BINANCE_URL": world.url,
        "BINANCE_API_KEY": "sim",
        "BINANCE_API_SECRET": "sim",
        "DATA_DIR": str(data),
        "HOME": str(data.parent),
        "LEVERAGE": "20",
    }
    command = [sys.executable, str(PROJECT_ROOT / "tools" / name), *arguments]
    process = await asyncio.create_subprocess_exec(
        *command, cwd="/", env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def _two_positions(world: World, daemon: Daemon) -> None:
    await daemon.wave()
    assert set(await world.held()) == set(TWO)


@ON_SOCKETS
async def test_the_screen_of_a_running_daemon_shows_each_position_with_its_stop(world: World) -> None:
    await world.play(a_wave(TWO, at_ms=500))
    async with world.running() as daemon:
        await _two_positions(world, daemon)
        facts = await _daemons_screen(daemon.data_dir, waves=1)
        status, out, _ = await _program(world, daemon.data_dir, "quick_check.py", "--json")
    assert (facts["source"], facts["state"], facts["to_do"]) == ("daemon", "active", [])
    assert {row["symbol"] for row in facts["positions"]} == {"BTC/USDT:USDT", "ETH/USDT:USDT"}
    assert {round(float(row["stop_distance_percent"])) for row in facts["positions"]} == {2}
    assert [row["connected"] for row in facts["venues"]] == [True]
    assert facts["last_waves"][0]["counts"]["protected"] == 2
    assert status == quick_check.FINE
    assert json.loads(out)["source"] == "daemon"


@ON_SOCKETS
async def test_with_the_daemon_gone_the_journal_tells(world: World) -> None:
    await world.play(a_wave(TWO, at_ms=500))
    async with world.running() as daemon:
        await _two_positions(world, daemon)
    facts = await _screen(daemon.data_dir)
    assert (facts["source"], facts["ended"], facts["to_do"]) == ("journal", "stopped", [])
    assert {row["stop_distance_percent"] for row in facts["positions"]} == {"2"}
    status, out, _ = await _program(world, daemon.data_dir, "quick_check.py")
    assert status == quick_check.FINE
    assert "told by the journal: no daemon is running here" in out


@ON_SOCKETS
async def test_a_position_without_a_stop_is_something_to_do(world: World) -> None:
    await world.play(a_wave(["BTCUSDT"], at_ms=500))
    async with world.running() as daemon:
        await daemon.wave()
        await world.fault("reject_stop", count=-1)
        await world.fault("reject_order", count=-1)
        await _cancel_the_stop(world)
        await world.until(lambda: _unprotected(daemon))
        facts = await _screen(daemon.data_dir)
        status, out, _ = await _program(world, daemon.data_dir, "quick_check.py")
        assert facts["positions"][0]["stop"] is None
        assert "has no confirmed stop" in facts["to_do"][0]
        assert status == quick_check.OPERATOR_NEEDED
        assert "NONE" in out
        await world.forgive()
        await world.until(lambda: _all_protected(daemon))


async def _cancel_the_stop(world: World) -> None:
    """By the owner's hand."""
    async with opened(accesses(world.settings())[0], SystemClock()) as client:
        (stop,) = (await client.mass_status()).orders
        assert isinstance(await client.cancel(order_of(stop)), Accepted)


async def _unprotected(daemon: Daemon) -> bool:
    return any(row.stop is None for row in daemon.status.positions)


async def _all_protected(daemon: Daemon) -> bool:
    return all(row.stop is not None for row in daemon.status.positions)


@pytest.mark.failure("CFG-11")
@ON_SOCKETS
async def test_the_build_is_told_everywhere_and_another_one_on_the_disk_is_something_to_do(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with world.running() as daemon:
        same = await _daemons_screen(daemon.data_dir)
        monkeypatch.setattr(quick_check, "build_id", lambda: "0.1.0+changed")
        changed = await _screen(daemon.data_dir)
        said = status_page(daemon.status).plain()
    started = json.loads((daemon.data_dir / "audit.log").read_text("utf-8").splitlines()[0])
    build = daemon.status.build
    assert same["to_do"] == []
    assert changed["to_do"] == [f"build 0.1.0+changed is installed, the daemon runs {build}: restart it"]
    assert build in json.dumps(started)
    assert build in said
    (ready,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("event='ready'")]
    assert build in ready


async def test_a_daemon_that_died_is_something_to_do(world: World) -> None:
    await world.play({"at_ms": 4_000, "signals": [a_signal()]})
    async with world.running() as daemon:
        await daemon.wave()
        left = await daemon.kill()
    facts = quick_check.look(left)
    assert facts["source"] == "journal"
    assert any("ended without being stopped" in what for what in facts["to_do"])


def test_a_socket_nobody_listens_on_and_no_journal_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quick_check.main(["--data-dir", str(tmp_path)]) == quick_check.USAGE
    assert "no daemon has run" in capsys.readouterr().err


@ON_SOCKETS
async def test_the_venue_is_asked_which_order_protects_which_position(world: World) -> None:
    await world.play(a_wave(TWO, at_ms=500))
    async with world.running() as daemon:
        await _two_positions(world, daemon)
        ((picture,), _) = await check_orders.look(world.settings(), "binance")
        status, out, err = await _program(world, daemon.data_dir, "check_orders.py")
    assert picture.sound
    assert [holding.covered for holding in picture.holdings] == [abs(h.position.quantity) for h in picture.holdings]
    assert {len(holding.stops) for holding in picture.holdings} == {1}
    assert (status, err) == (check_orders.FINE, "")
    assert "every position has its stop" in out


def test_a_stop_that_carries_no_name_is_the_positions_own_and_nobody_elses() -> None:
    """Bybit has one stop per position and keeps no client order id with it: a tool that asks only the venue cannot tell
    whose it is, and must not call it a stranger's."""
    order = a_status(an_intent(leg=Leg.STOP), OrderStatus.ACCEPTED)
    nameless = replace(order, client_order_id=ClientOrderId(""), reduce_only=True, conditional=True)
    picture = check_orders.Picture(
        venue=VenueName.BYBIT, holdings=(), orphans=(nameless,), entries=(), nameless_stops=True
    )
    screen = io.StringIO()
    check_orders._show(Console(file=screen, width=120), picture)
    assert "the position's own" in screen.getvalue()
    assert check_orders._facts(picture)["orphans"][0]["ours"] is None


@ON_SOCKETS
async def test_it_sends_no_order_and_takes_no_lock(world: World) -> None:
    await world.play(a_wave(TWO, at_ms=500))
    async with world.running() as daemon:
        await _two_positions(world, daemon)
        before = await world.sent("order", "stop", "cancel")
        await _program(world, daemon.data_dir, "check_orders.py", "--json")
        assert await world.sent("order", "stop", "cancel") == before


@ON_SOCKETS
async def test_a_naked_position_and_an_orphaned_stop_are_named(world: World) -> None:
    await world.play(a_wave(["BTCUSDT"], at_ms=500))
    async with world.running() as daemon:
        await daemon.wave()
    await world.tell("account", asset="USDT", position={"symbol": "BTCUSDT", "qty": "0", "entry": "0"})
    await world.tell("account", asset="USDT", position={"symbol": "ETHUSDT", "qty": "0.5", "entry": "2400"})
    status, out, _ = await _program(world, daemon.data_dir, "check_orders.py", "--json")
    assert status == check_orders.OPERATOR_NEEDED
    (told,) = json.loads(out)
    assert [(row["symbol"], row["protected"], row["covered"]) for row in told["positions"]] == [
        ("ETH/USDT:USDT", False, "0")
    ]
    assert [(row["symbol"], row["ours"]) for row in told["orphans"]] == [("BTC/USDT:USDT", True)]


@ON_SOCKETS
async def test_a_refused_key_is_told_in_words(world: World, tmp_path: Path) -> None:
    await world.fault("revoke_key", count=-1)
    status, out, err = await _program(world, tmp_path / "none", "check_orders.py")
    assert (status, out) == (check_orders.VENUE_FAILED, "")
    assert "refuses the API key" in err


@ON_SOCKETS
async def test_a_venue_that_fails_costs_the_tools_its_own_positions_only(tmp_path: Path) -> None:
    async with LoopbackWorld(tmp_path, ("binance", "okx")) as world:
        for venue, symbol in (("binance", "ETHUSDT"), ("okx", "ETH-USDT-SWAP")):
            await world.tell("account", venue, position={"symbol": symbol, "qty": "0.5", "entry": "2400"})
        await world.fault("revoke_key", "binance", count=-1)
        pictures, unread = await check_orders.look(world.settings(), None)
        assert [(picture.venue, len(picture.holdings)) for picture in pictures] == [(VenueName.OKX, 1)]
        assert ["binance refuses the API key" in str(error) for error in unread] == [True]
        asked = close_position._arguments(["ETHUSDT", "--yes"])
        rows, unused = await close_position._close_directly(world.settings(), asked)
        assert [(row["venue"], row["flat"]) for row in rows] == [("okx", True)]
        assert ["binance refuses the API key" in str(error) for error in unused] == [True]
        assert await world.held("okx") == {}
