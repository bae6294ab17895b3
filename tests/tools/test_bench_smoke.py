"""The benchmark runs and prints every row. How fast anything was is nobody's business here."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.bench.processes import simulator
from tools.bench.waves import StampedFeed, _told

ROWS = ["W1", "W2", "W3", "W4", "W5", "W6", "O1", "V1", "V1c", "E1", "E1j", "E3", "F1", "F2", "F3", "F4", "F4m"]


@pytest.mark.timeout(180)
def test_the_quick_benchmark_measures_every_row(project_root: Path) -> None:
    command = [sys.executable, "-m", "tools.bench", "--quick", "--json"]
    run = subprocess.run(command, cwd=project_root, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout)["figures"]
    assert [figure["id"] for figure in figures] == ROWS
    assert all(figure["samples"] and not figure["failed"] for figure in figures)


def test_an_unknown_row_is_a_usage_error(project_root: Path) -> None:
    command = [sys.executable, "-m", "tools.bench", "W9"]
    assert subprocess.run(command, cwd=project_root, capture_output=True, check=False).returncode == 2


async def test_the_venues_clock_is_compared_in_its_own_log() -> None:
    async with simulator(latency_ms=0, symbols=40) as venue:
        ahead = await venue.clock_ahead_ms()
        again = await venue.clock_ahead_ms()
        paths = [row["path"] for row in await venue.ask("requests?since=0")]
    assert isinstance(ahead, float)
    assert isinstance(again, float)
    assert paths
    assert set(paths) == {"/fapi/v1/ping"}


def test_a_wave_with_a_missing_stop_is_not_complete() -> None:
    rows = [_row("order", 10.0, 20.0), _row("stop", 20.0, 30.0), _row("order", 11.0, 21.0)]
    lives = [{"symbol": "BTCUSDT", "protected": 20.0, "max_unprotected_ms": 10.0}]
    told = _told([{"id": "1", "pair_symbol": "BTCUSDT"}, {"id": "2", "pair_symbol": "ETHUSDT"}], 5.0, 99.0, rows, lives)
    assert (told.entries, told.stops, told.lasted_ms) == (2, 1, 25.0)
    assert not told.complete


def test_waves_are_scheduled_from_the_daemons_arrival_and_stamped_when_sent() -> None:
    feed = StampedFeed([[{"id": "a"}], [{"id": "b"}]], 500)
    feed.connect(40_000)
    first, second = feed.script
    assert second.at_ms - first.at_ms == 500
    assert first.at_ms > 40_000
    feed.filled({"id": "a"})
    assert set(feed.sent) == {"a"}


def _row(lane: str, received: float, answered: float) -> dict[str, Any]:
    return {"lane": lane, "received": received, "answered": answered, "status": 200}
