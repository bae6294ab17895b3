"""A backup is a copy of the files in DATA_DIR, made while the daemon runs; docs/OPERATIONS.md says how."""

import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.scenarios.log_lines import LogLines
from tests.scenarios.worlds import PAIRS, Daemon, SimulatedWorld, a_wave
from tools.verify_audit import check

pytestmark = pytest.mark.may_block("simulation runs storage inline")

VENUES = ("binance", "bybit", "okx")


def files(daemon: Daemon) -> Iterator[Path]:
    """What a plain `cp` finds, the socket left out."""
    return (path for path in sorted(daemon.data_dir.iterdir()) if path.is_file())


def copied(daemon: Daemon, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for path in files(daemon):
        shutil.copy2(path, folder)


async def all_is_as_the_venue_says(world: SimulatedWorld, daemon: Daemon, positions: int) -> None:
    held = {(name, symbol): size for name in world.names for symbol, size in (await world.held(name)).items()}
    assert len(held) == positions
    assert len(daemon.status.positions) == positions
    await world.everything_holds()


@pytest.mark.failure("SEC-04")
async def test_everything_a_daemon_writes_is_its_owners_alone(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path) as world:
        await world.play(a_wave(PAIRS[:1]))
        async with world.running() as daemon:
            await daemon.wave()
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in daemon.data_dir.iterdir()}
            folder = stat.S_IMODE(daemon.data_dir.stat().st_mode)
    assert {"journal.db", "journal.db-wal", "audit.log", "control.sock"} <= modes.keys()
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o177} == {}
    assert folder == 0o700


@pytest.mark.parametrize("venue", VENUES)
async def test_a_copy_made_while_it_runs_starts_where_it_was(tmp_path: Path, venue: str) -> None:
    backup = tmp_path / "backup"
    async with SimulatedWorld(tmp_path, (venue,)) as world:
        await world.play(a_wave(PAIRS[:3]))
        async with world.running() as daemon:
            await daemon.wave()
            copied(daemon, backup)
        async with world.running(backup) as restored:
            await all_is_as_the_venue_says(world, restored, 3)
            assert restored.off_because(venue) is None
        assert check(backup).clean


@pytest.mark.parametrize("venue", VENUES)
async def test_an_old_copy_knows_less_protects_what_is_open_and_enters_nothing(tmp_path: Path, venue: str) -> None:
    """Its journal lacks what was traded since: that looks like another daemon, whose stops are not ours to cancel, and
    people decide."""
    said, backup = LogLines(), tmp_path / "backup"
    async with SimulatedWorld(tmp_path, (venue,)) as world:
        await world.play(a_wave(PAIRS[:2]), a_wave(PAIRS[2:4], at_ms=30_000))
        async with world.running() as daemon:
            await daemon.wave()
            copied(daemon, backup)
            await daemon.wave(2)
        await world.play(a_wave(PAIRS[4:5]))
        async with world.running(backup) as restored:
            (leg,) = (await restored.wave()).legs
            assert leg.denied is not None
            assert "journal lacks" in leg.denied.detail
            held, stops = await world.held(), await world.resting_stops()
            assert restored.held() == held
            assert len(held) == 4
            assert {name: max(sizes) for name, sizes in stops.items()} == {n: abs(size) for n, size in held.items()}
            assert not [row for row in await world.ask("protection") if row["naked_now_ms"]]
        assert any("not in this journal" in text for text in said.notices)


async def test_the_documented_copy_of_one_moment_starts_where_it_was(tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    async with SimulatedWorld(tmp_path) as world:
        await world.play(a_wave(PAIRS[:3]))
        async with world.running() as daemon:
            await daemon.wave()
            backup.mkdir()
            with closing(sqlite3.connect(daemon.data_dir / "journal.db")) as beside:
                beside.execute(f"VACUUM INTO '{backup / 'journal.db'}'")
            for path in daemon.data_dir.glob("audit*"):
                shutil.copy2(path, backup)
        async with world.running(backup) as restored:
            await all_is_as_the_venue_says(world, restored, 3)
            assert restored.off_because("binance") is None


async def test_files_copied_at_different_moments_are_sound_or_set_aside(tmp_path: Path) -> None:
    """A copy of the database and a later one of its write-ahead log need not fit together. Either way what the venue
    holds is protected, and nothing is entered twice."""
    backup = tmp_path / "backup"
    async with SimulatedWorld(tmp_path) as world:
        await world.play(a_wave(PAIRS[:2]), a_wave(PAIRS[2:4], at_ms=30_000))
        async with world.running() as daemon:
            await daemon.wave()
            backup.mkdir()
            shutil.copy2(daemon.data_dir / "journal.db", backup)
            await daemon.wave(2)
            for path in files(daemon):
                if path.name != "journal.db":
                    shutil.copy2(path, backup)
        async with world.running(backup) as restored:
            await all_is_as_the_venue_says(world, restored, 4)
