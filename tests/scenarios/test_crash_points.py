"""A short part of the crash campaign: some of its points at each venue. `make chaos-crash` dies at every one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from core.config import PROJECT_ROOT
from tests.campaigns import crash_figures


def _campaign(*arguments: str) -> str:
    command = [sys.executable, "-m", "tests.campaigns.crash", "--no-figures", *arguments]
    done = subprocess.run(
        command,
        cwd=PROJECT_ROOT,
        env={"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.failure("ORD-01", "INV-2")
@pytest.mark.failure("REC-04")
@pytest.mark.parametrize(
    ("death", "share", "venues"), [("kill", 0.012, ["binance", "bybit", "okx"]), ("power", 0.02, ["okx"])]
)
def test_a_daemon_that_dies_anywhere_comes_back_to_what_the_venue_has(
    death: str, share: float, venues: list[str]
) -> None:
    chosen = [word for venue in venues for word in ("--venue", venue)]
    told = _campaign("--death", death, "--share", str(share), *chosen)
    deaths = re.findall(rf"(\d+) deaths by {death}, 0 with something wrong", told)
    assert len(deaths) == len(venues)
    assert all(int(number) for number in deaths), told


@pytest.mark.may_block("simulation runs storage inline")
async def test_ten_positions_whose_stops_are_gone_are_protected_within_five_seconds(tmp_path: Path) -> None:
    """Each order that is missing is asked for by its id: all at once, not one round trip after another."""
    protected, _ = await crash_figures.restart("binance", tmp_path, bare=True)
    assert protected < crash_figures.AIM_SECONDS
