"""How long it takes until everything is closed: ten positions over three venues, each answering after 250 ms.

Real processes. First a daemon is told to panic over its control socket and its answer is timed; it is stopped and
started again, and must still be halted. Then another daemon with as many positions is killed, and
`tools/emergency_flat.py` makes the accounts flat from their keys alone. What counts is the venues' own record: nothing
open, nothing resting, and when the last close was answered and the last stop gone. Exit status 1 when something is left
or took longer than three seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.builders_config import NO_COOLDOWNS
from tests.campaigns.processes import PROJECT_ROOT, Process, ask, running, wait_for_line
from tests.campaigns.wave_world import control
from tools.bench.venues import VENUES

COINS = ("BTC", "ETH", "SOL", "XRP")
POSITIONS = 10
MOST_SECONDS = 3.0
OPEN_SECONDS = 30.0


class Figures(Struct, frozen=True, kw_only=True):
    """Seconds. `answered` from asking to the answer that it is flat and verified; `venue_flat`, `venue_empty` from the
    first close at any venue to the last close and the last cancel answered, by the venues' record; `wall` of the whole
    program where one was started for it."""

    what: str
    answered: float
    venue_flat: float
    venue_empty: float
    wall: float | None
    left: tuple[str, ...]

    def line(self) -> str:
        wall = "" if self.wall is None else f", {self.wall:.2f} s with the start of the program"
        said = f"{self.what}: flat and verified after {self.answered:.2f} s{wall}"
        venue = (
            f"by the venues' record closed in {self.venue_flat:.2f} s, without orders after {self.venue_empty:.2f} s"
        )
        return f"{said}; {venue}{'; LEFT ' + ', '.join(self.left) if self.left else ''}"


class Field:
    """Three simulators, and daemons that come and go."""

    def __init__(self, stack: ExitStack, folder: Path, latency_ms: float) -> None:
        self.folder, self._stack = folder, stack
        self.urls: dict[str, str] = {}
        for name in VENUES:
            command = ["-m", "tools.venuesim", "--venue", name, "--latency-ms", f"{latency_ms:g}"]
            process = stack.enter_context(running([*command, "--balance", "1000000"], folder / f"{name}.err"))
            self.urls[name] = process.ready_line()["url"]

    def environment(self, data: str, **more: str) -> dict[str, str]:
        found = {**NO_COOLDOWNS, "HOME": str(self.folder), "DATA_DIR": str(self.folder / data)}
        found |= {"LOG_DIR": str(self.folder / "logs"), "STRATEGY": "none", "LEVERAGE": "20"}
        found |= {"MAX_POSITIONS": str(POSITIONS), "MAX_TRADES_PER_WAVE": str(POSITIONS), "MAX_EXPOSURE_USD": "100000"}
        for name, url in self.urls.items():
            found |= VENUES[name].settings(url)
        return found | more

    def daemon(self, data: str, **more: str) -> Process:
        return self._stack.enter_context(
            running(["main.py"], self.folder / f"{data}.err", self.environment(data, **more))
        )

    def with_positions(self, data: str) -> Process:
        """A daemon that has opened and protected ten positions."""
        script = self.folder / f"{data}.jsonl"
        script.write_text(json.dumps({"at_ms": 0, "signals": _signals(data)}) + "\n", "utf-8")
        command = ["-m", "tools.signal_server", "--script", str(script), "--token", "t"]
        server = self._stack.enter_context(running(command, self.folder / f"{data}.signals.err"))
        daemon = self.daemon(data, SIGNAL_WS_URL=server.ready_line()["url"], SIGNAL_WS_TOKEN="t")
        deadline = time.monotonic() + OPEN_SECONDS
        while self.covered() < POSITIONS:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.covered()} of {POSITIONS} positions are open and protected")
            time.sleep(0.2)
        time.sleep(2.0)  # what follows an entry is over: readings, subscriptions
        return daemon

    def covered(self) -> int:
        rows = (row for name in self.urls for row in self.ask(name, "protection"))
        return sum(1 for row in rows if row["closed"] is None and row["protected"] is not None)

    def ask(self, venue: str, path: str) -> Any:
        return ask(f"{self.urls[venue]}/_sim/{path}")

    def marks(self) -> dict[str, int]:
        """The number of each venue's last request."""
        return {name: max((row["n"] for row in self.ask(name, "requests?since=0")), default=0) for name in self.urls}

    def left(self) -> tuple[str, ...]:
        found = []
        for name in self.urls:
            state = self.ask(name, "state")
            found += [f"{name} {row['symbol']} {row['qty']}" for row in state["positions"]]
            found += [f"{name} {row['symbol']} {row['type']} {row['client_id']}" for row in state["orders"]]
        return tuple(found)

    def figures(self, what: str, marks: Mapping[str, int], answered: float, wall: float | None = None) -> Figures:
        rows = [row for name, mark in marks.items() for row in self.ask(name, f"requests?since={mark}")]
        closes = [row for row in rows if row["lane"] == "order" and row["method"] == "POST"]
        cancels = [row for row in rows if row["lane"] in {"cancel", "stop"} and row["method"] != "GET"]
        first = min(row["received"] for row in closes)
        flat = max(row["answered"] for row in closes)
        empty = max((row["answered"] for row in cancels), default=flat)
        return Figures(
            what=what,
            answered=answered,
            venue_flat=(flat - first) / 1000,
            venue_empty=(max(flat, empty) - first) / 1000,
            wall=wall,
            left=self.left(),
        )


def by_daemon(field: Field) -> tuple[Figures, list[str]]:
    """`panic`, and what a restart makes of it."""
    daemon = field.with_positions("panic")
    path = field.folder / "panic" / "control.sock"
    marks, began = field.marks(), time.monotonic()
    answer = control(path, {"command": "panic", "author": "campaign"})
    answered = time.monotonic() - began
    figures = field.figures(f"panic of a daemon, {POSITIONS} positions", marks, answered)
    wrong = [] if answer["ok"] else [f"refused: {answer['error']}"]
    if answer["ok"]:
        wrong += [f"not told as flat: {row}" for row in answer["result"]["closed"] if not row["flat"]]
    daemon.stop()
    log = field.folder / "panic.err"
    told = log.stat().st_size
    again = field.daemon("panic")
    wait_for_line(log, " ready ", start=told)
    while not path.exists():
        time.sleep(0.02)
    status = control(path, {"command": "status"})["result"]
    if (status["trading_state"], status["reason"]) != ("halted", "panic"):
        wrong.append(f"after a restart it is {status['trading_state']} ({status['reason']})")
    again.stop()
    return figures, wrong


def by_tool(field: Field) -> tuple[Figures, list[str]]:
    """The daemon is dead, its journal gone."""
    field.with_positions("dead").kill()
    (field.folder / "dead" / "journal.db").write_bytes(b"not a journal")
    marks, began = field.marks(), time.monotonic()
    command = [str(PROJECT_ROOT / "tools" / "emergency_flat.py"), "--yes", "--json"]
    process = Process(command, field.folder / "tool.err", field.environment("dead"))
    assert process.child.stdout is not None
    told = process.child.stdout.read()
    status = process.end()
    wall = time.monotonic() - began
    rows = json.loads(told)["venues"]
    verified = max(row["verified_s"] or 999.0 for row in rows)
    figures = field.figures(f"emergency_flat.py, {POSITIONS} positions, no daemon", marks, verified, wall)
    return figures, [] if status == 0 else [f"it ended with {status}: {told.decode()}"]


def _signals(key: str) -> list[dict[str, Any]]:
    dealt = [(venue, coin) for coin in COINS for venue in VENUES][:POSITIONS]
    return [
        {
            "id": f"{key}-{venue}-{coin}",
            "pair_symbol": f"{coin}USDT" if venue != "okx" else f"{coin}-USDT-SWAP",
            "exchange": venue,
            "direction": ("LONG", "SHORT")[number % 2],
            "total_score": 90 - number,
            "timestamp": "$now",
        }
        for number, (venue, coin) in enumerate(dealt)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency-ms", type=float, default=250.0, help="of every venue (default 250)")
    asked = parser.parse_args(arguments)
    failed = False
    with tempfile.TemporaryDirectory(prefix="panic-") as folder, ExitStack() as stack:
        field = Field(stack, Path(folder), asked.latency_ms)
        for play in (by_daemon, by_tool):
            figures, wrong = play(field)
            print(figures.line(), flush=True)
            for what in wrong:
                print(f"  WRONG {what}")
            failed = failed or bool(wrong or figures.left) or figures.answered > MOST_SECONDS
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
