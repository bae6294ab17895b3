"""The emergency program as a user runs it: beside a running daemon, and with everything but the keys broken."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from core.config import PROJECT_ROOT
from core.storage.instance_lock import instance_locks
from tests.scenarios.worlds import LoopbackWorld, World, a_wave
from tools import emergency_flat
from tools.emergency_flat import FLAT, LEFT, USAGE

pytestmark = pytest.mark.may_block(reason="a loopback daemon loads its settings and writes its files in this process")
ON_SOCKETS = pytest.mark.asyncio(loop_factories=["loopback"])


async def _program(world: World, data: Path, *arguments: str, **more: str) -> tuple[int, str, str]:
    env = {
        "PATH": os.environ["PATH"],
        "BINANCE_URL": world.url,
        "BINANCE_API_KEY": "sim",
        "BINANCE_API_SECRET": "sim",
        "DATA_DIR": str(data),
        "HOME": str(data.parent),
        **more,
    }
    command = [sys.executable, str(PROJECT_ROOT / "tools" / "emergency_flat.py"), *arguments]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, cwd="/", env=env, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def _venue(out: str) -> dict[str, Any]:
    (row,) = json.loads(out)["venues"]
    return dict(row)


@pytest.mark.failure("TEL-08")
@ON_SOCKETS
async def test_beside_a_daemon_it_is_the_daemon_that_panics_and_the_venue_that_is_asked(world: World) -> None:
    await world.play(a_wave(["BTCUSDT"], at_ms=500))
    async with world.running() as daemon:
        await daemon.wave()
        status, out, _ = await _program(world, daemon.data_dir, "--yes", "--json")
        row = _venue(out)
        assert (status, row["flat"], row["by"]) == (FLAT, True, "the daemon's panic")
        assert daemon.status.trading_state == "halted"
        assert await world.held() == {}
        assert len([r for r in await world.sent("order") if r["method"] == "POST"]) == 2, "one entry, one close"


@ON_SOCKETS
async def test_beside_a_daemon_that_holds_nothing_the_venue_is_asked_all_the_same(world: World) -> None:
    await world.play()
    async with world.running() as daemon:
        status, out, err = await _program(world, daemon.data_dir, "--yes", "--json")
        assert (status, _venue(out)["flat"], err) == (FLAT, True, "")
        assert daemon.status.trading_state == "halted"


@pytest.mark.failure("TEL-08")
@ON_SOCKETS
async def test_what_a_running_daemon_does_not_trade_is_ended_by_the_program(tmp_path: Path) -> None:
    async with LoopbackWorld(tmp_path, ("binance", "bybit")) as world:
        await world.play()
        await world.tell("account", "bybit", position={"symbol": "ETHUSDT", "qty": "-0.5", "entry": "2400"})
        async with world.running(EXCHANGES="binance") as daemon:
            more = {f"BYBIT_{name}": "sim" for name in ("API_KEY", "API_SECRET")} | {"BYBIT_URL": world.urls["bybit"]}
            status, out, err = await _program(world, daemon.data_dir, "--yes", "--json", **more)
            rows = {row["venue"]: row for row in json.loads(out)["venues"]}
            assert (status, err) == (FLAT, "")
            assert {venue: row["by"] for venue, row in rows.items()} == {
                "binance": "the daemon's panic",
                "bybit": "this program",
            }
            assert await world.held("bybit") == {}
            assert daemon.status.trading_state == "halted"


@ON_SOCKETS
async def test_with_nothing_but_the_keys_it_ends_flat(world: World, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "journal.db").write_bytes(b"no journal")
    await world.tell("account", position={"symbol": "ETHUSDT", "qty": "-0.5", "entry": "2400"})
    asked, _, err = await _program(world, data, MAX_POSITIONS="many")
    assert asked == USAGE
    assert "0.5 ETH/USDT:USDT short" in err
    assert "nobody is there to confirm" in err
    assert len(await world.held()) == 1
    status, out, err = await _program(world, data, "--yes", MAX_POSITIONS="many")
    assert (status, await world.held()) == (FLAT, {})
    assert "going on with the keys alone" in err
    assert "ETH/USDT:USDT short 0.5: flat" in out


def test_without_a_key_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(emergency_flat, "default_env_file", lambda: None)
    monkeypatch.setattr(os, "environ", {"PATH": ""})
    assert emergency_flat.main(["--yes"]) == USAGE
    assert "no key of a venue is configured" in capsys.readouterr().err


@pytest.mark.failure("TEL-08")
def test_a_lock_that_is_held_or_may_not_be_looked_at_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A daemon that is stuck holds the lock and answers nobody: it has to be ended before somebody else acts."""
    done: list[object] = []

    async def directly(*asked: object) -> list[Any]:
        done.append(asked)
        return []

    monkeypatch.setattr(emergency_flat, "_directly", directly)
    env = {"BINANCE_API_KEY": "sim", "BINANCE_API_SECRET": "sim", "BINANCE_URL": "http://127.0.0.1:1"}
    monkeypatch.setattr(os, "environ", {**env, "DATA_DIR": str(tmp_path), "HOME": str(tmp_path)})
    with instance_locks(tmp_path, []):
        assert emergency_flat.main(["--yes"]) == LEFT
    assert "end its process" in capsys.readouterr().err

    def not_for_you(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(emergency_flat, "instance_locks", not_for_you)
    assert emergency_flat.main(["--yes"]) == LEFT
    assert "--without-lock" in capsys.readouterr().err
    assert done == []
    assert emergency_flat.main(["--yes", "--without-lock"]) == FLAT
    assert len(done) == 1
