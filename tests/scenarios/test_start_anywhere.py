"""The program started from anywhere: one lock per account whatever the folder, the same in any zone and locale."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.config import PROJECT_ROOT
from core.storage.history import reading
from tests.campaigns.processes import ask, running
from tests.scenarios.worlds import a_wave

VENUE = ["-m", "tools.venuesim", "--venue", "binance", "--seed", "7"]
EXIT_REFUSED = 3
HOLD = """
import sys, time
from pathlib import Path
from core.storage.instance_lock import account_key, instance_locks
with instance_locks(Path(sys.argv[1]), [account_key("binance", sys.argv[2], "sim")]):
    print("held", flush=True)
    time.sleep(60)
"""


def _env(folder: Path, url: str, data: str, **more: str) -> dict[str, str]:
    return {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "BINANCE_URL": url,
        "BINANCE_API_KEY": "sim",
        "BINANCE_API_SECRET": "sim",
        "DATA_DIR": str(folder / data),
        "LOG_DIR": str(folder / "logs"),
        "LEVERAGE": "20",
        **more,
    }


def _main(env: dict[str, str], cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROJECT_ROOT / "main.py"), *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.failure("CFG-06", "INV-11")
def test_a_second_start_from_any_folder_is_refused_without_a_venue_call_and_a_dead_owner_is_no_obstacle(
    tmp_path: Path,
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with running(VENUE, tmp_path / "venue.err") as simulator:
        url = simulator.ready_line()["url"]
        held = _env(tmp_path, url, "first")
        command = [sys.executable, "-c", HOLD, held["DATA_DIR"], url]
        owner = subprocess.Popen(command, cwd=PROJECT_ROOT, env=held, stdout=subprocess.PIPE, text=True)
        try:
            assert owner.stdout is not None
            assert owner.stdout.readline() == "held\n"
            for folder in (PROJECT_ROOT, elsewhere, Path("/")):
                second = _main(_env(tmp_path, url, f"second-{folder.name}"), folder, "--once")
                assert second.returncode == EXIT_REFUSED, second.stderr
                assert f"another Breakwater (process {owner.pid}) holds the same account" in second.stderr
            assert ask(f"{url}/_sim/requests?since=0") == []
        finally:
            owner.send_signal(signal.SIGKILL)
            owner.communicate()
        after = _main(_env(tmp_path, url, "third"), elsewhere, "--check")
        assert after.returncode == 0, after.stderr


def _told(folder: Path, name: str, **more: str) -> Any:
    """What one wave came to: verdicts, gates and orders, without the moments they happened at."""
    script = folder / "wave.jsonl"
    script.write_text(json.dumps(a_wave(["BTCUSDT", "ETHUSDT"], at_ms=3_000)) + "\n", "utf-8")
    server = ["-m", "tools.signal_server", "--script", str(script), "--form", "pushed", "--token", "t"]
    with running(VENUE, folder / f"{name}.err") as simulator, running(server, folder / f"{name}-s.err") as signals:
        url = simulator.ready_line()["url"]
        feed = {"SIGNAL_WS_URL": signals.ready_line()["url"], "SIGNAL_WS_TOKEN": "t"}
        done = _main(_env(folder, url, name, **feed, **more), folder, "--once")
    assert done.returncode == 0, done.stderr
    with reading(folder / name / "journal.db") as history:
        (wave,) = history.last_waves(5)
        rows = history.signals_of(wave.wave_id)
        legs = [[o.order.intent.leg.value for o in history.orders_of(p.id)] for p in history.open_positions()]
        told = [(row.signal_id, row.side, row.code, [gate.name for gate in row.gates]) for row in rows]
        received = abs(wave.received_ms / 1000 - (folder / name / "journal.db").stat().st_mtime)
    assert received < 60, "stamps are UTC, whatever the zone"
    return told, legs, dict(wave.counts)


@pytest.mark.failure("CFG-12")
def test_a_wave_comes_to_the_same_in_any_time_zone_and_locale(tmp_path: Path) -> None:
    here = _told(tmp_path, "here", TZ="UTC", LC_ALL="C")
    there = _told(tmp_path, "there", TZ="Asia/Kathmandu", LC_ALL="de_DE.UTF-8", LANG="tr_TR.UTF-8")
    assert here == there
    assert here[2]["protected"] == 2
