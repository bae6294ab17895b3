"""Breakwater in a minute: a local signal server pushes one small wave, the real daemon trades it on three local venues.

Runs `main.py --dry-run --once` against `tools/signal_server.py`, then checks the audit log of that run. Your own .env
and environment are not used. Exit status: 0 all as it should be, else that of the step that failed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import to_builtins

PROJECT_ROOT = Path(__file__).resolve().parent.parent
if __package__ in {None, ""}:  # run by path: the project root is not on the path yet
    sys.path.insert(0, str(PROJECT_ROOT))

from tools.verify_audit import check

TOKEN = "demo"
STEP_SECONDS = 90


def main() -> int:
    """See the module's text."""
    asked = _arguments()
    data = PROJECT_ROOT / "data" / "demo"
    with tempfile.TemporaryDirectory(prefix="breakwater-demo-") as folder:
        script = Path(folder) / "wave.jsonl"
        script.write_text(json.dumps({"at_ms": 0, "signals": _wave()}) + "\n", encoding="utf-8")
        _say("1. a signal server with one pushed wave for three venues, and the daemon in dry run", asked)
        with _signal_server(script) as url:
            settings = Path(folder) / "demo.env"
            settings.write_text(_settings(url, data), encoding="utf-8")
            settings.chmod(0o600)
            status = _daemon(settings, quiet=asked.json)
    if status:
        print(f"the daemon ended with exit status {status}; its log is in logs/dry-run/breakwater.log", file=sys.stderr)
        return status
    run = max((data / "dry-run").iterdir())
    result = check(run)
    if asked.json:
        print(json.dumps({"run": str(run.relative_to(PROJECT_ROOT)), "audit": to_builtins(result), **_journaled(run)}))
    else:
        _say("\n2. the audit log of this run", asked)
        print(f"{result.sentence()}\n{run.relative_to(PROJECT_ROOT)}/audit.log")
    return 0 if result.clean else 1


def _journaled(run: Path) -> dict[str, list[dict[str, Any]]]:
    """What the daemon wrote down: the verdict on every signal, the positions and their stops."""
    questions = {
        "signals": "SELECT signal_id, venue, symbol, side, score, code, detail FROM signals ORDER BY signal_id",
        "positions": "SELECT venue, symbol, side, quantity, entry_cost, closed_ms FROM positions ORDER BY opened_ms",
        "stops": "SELECT symbol, side, quantity, trigger_price, status FROM orders WHERE leg = 'stop' ORDER BY symbol",
    }
    with closing(sqlite3.connect(f"file:{run / 'journal.db'}?mode=ro", uri=True)) as journal:
        journal.row_factory = sqlite3.Row
        return {name: [dict(row) for row in journal.execute(sql)] for name, sql in questions.items()}


def _wave() -> list[dict[str, Any]]:
    """Two for each venue that will trade, and one of each common kind of refusal; symbols are spelt in every way."""
    old = (datetime.now(UTC) - timedelta(minutes=20)).isoformat(timespec="seconds")
    good: list[tuple[str, str, int, dict[str, Any]]] = [
        ("BTCUSDT", "LONG", 92, {"exchange_id": 1}), ("ETHUSDT", "SHORT", 88, {"exchange": "bybit"}),
        ("SOL-USDT-SWAP", "LONG", 85, {"exchange": "okx"}), ("XRPUSDT", "SHORT", 81, {"exchange": "binance"}),
        ("DOGE/USDT:USDT", "LONG", 79, {"exchange_id": 2}), ("BTC/USDT:USDT", "SHORT", 77, {"exchange_id": 3}),
    ]  # fmt: skip
    wave = [_signal(f"s{score}-{pair[:3].lower()}", pair, side, score) | venue for pair, side, score, venue in good]
    wave.append(_signal("s60-ada", "ADAUSDT", "LONG", 60) | {"exchange": "binance"})
    wave.append(_signal("late", "LTCUSDT", "LONG", 90) | {"timestamp": old, "exchange": "bybit"})
    wave.append(_signal("unknown", "NOSUCHUSDT", "LONG", 90) | {"exchange": "okx"})
    wave.append(_signal("nowhere", "BTCUSDT", "LONG", 90) | {"exchange": "kraken"})
    wave.append({"id": "sideless", "pair_symbol": "DOTUSDT", "total_score": 90, "timestamp": "$now", "exchange_id": 1})
    return wave


def _signal(identity: str, pair: str, direction: str, score: int) -> dict[str, Any]:
    return {"id": identity, "pair_symbol": pair, "direction": direction, "total_score": score, "timestamp": "$now"}


def _settings(url: str, data: Path) -> str:
    lines = {
        "SIGNAL_WS_URL": url,
        "SIGNAL_WS_TOKEN": TOKEN,
        "DATA_DIR": str(data),
        "MAX_POSITIONS": "6",
        "MAX_TRADES_PER_WAVE_TOTAL": "6",
        "LEVERAGE": "5",
        "ONCE_WAIT_SECONDS": "30",
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def _daemon(settings: Path, *, quiet: bool) -> int:
    command = [sys.executable, "main.py", "--dry-run", "--once", "--env-file", str(settings)]
    out = subprocess.DEVNULL if quiet else None
    environment = _bare_environment()
    return subprocess.run(
        command, cwd=PROJECT_ROOT, env=environment, check=False, timeout=STEP_SECONDS, stdout=out, stderr=out
    ).returncode


@contextmanager
def _signal_server(script: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "tools.signal_server", "--script", str(script), "--form", "pushed"]
    process = subprocess.Popen(
        [*command, "--token", TOKEN], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True, env=_bare_environment()
    )
    try:
        line = process.stdout.readline() if process.stdout is not None else ""
        yield str(json.loads(line)["url"])
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)


def _bare_environment() -> dict[str, str]:
    """What programs need to run and to print, and none of the daemon's settings."""
    kept = {"PATH", "HOME", "LANG", "LC_ALL", "TERM", "COLUMNS", "TMPDIR", "NO_COLOR", "SYSTEMROOT", "XDG_STATE_HOME"}
    return {name: value for name, value in os.environ.items() if name in kept}


def _say(text: str, asked: argparse.Namespace) -> None:
    if not asked.quiet and not asked.json:
        print(text, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quiet", action="store_true", help="only the table and the audit verdict")
    parser.add_argument("--json", action="store_true", help="one JSON object: signals, positions, stops, audit verdict")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
