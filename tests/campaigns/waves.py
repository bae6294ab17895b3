"""Pushed waves through the real daemon, positions closed between them.

Everything accepted is open and protected, nothing twice, never more than allowed, no refusal by the venue, and no
memory that grows.

One run: a simulator with latency, a signal server that pushes a wave every few seconds, the live form of the daemon.
Before each next wave the venue is asked what is open and what protects it; then everything is closed over the control
socket and the venue must be empty. Plans: `small` (waves of 6), `large` (a wave of 68, then waves of 500, ten entries
allowed). `--faults NAME` lets the venue misbehave meanwhile. Exit status 1 when something that must hold does not.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.campaigns.processes import Process, ask, running, wait_for_line
from tests.campaigns.wave_judge import (
    FLAT_MIB,
    books,
    denied_without_reason,
    growth_mib,
    none_twice,
    open_and_protected,
    refusals,
)
from tests.campaigns.wave_plans import ARMED_BEFORE_MS, FAULTS, Plan, Weather, plans

BEFORE_NEXT_SECONDS = 2.2
"""A wave is judged, and closed, at the latest this long before the next one."""
EMPTY_SECONDS = 2.0


@dataclass(slots=True, kw_only=True)
class Result:
    """What one plan came to. `resident_mib` after each wave was closed; `settled_ms` from a wave's time to the moment
    the venue had everything of it open and protected, in steps of a poll."""

    plan: str
    faults: str
    waves: int
    opened: list[int] = field(default_factory=list)
    settled_ms: list[float] = field(default_factory=list)
    resident_mib: list[float] = field(default_factory=list)
    refusals: dict[str, int] = field(default_factory=dict)
    longest_naked_ms: float = 0.0
    growth_mib: float | None = None
    wrong: list[str] = field(default_factory=list)

    def line(self) -> str:
        settled = f"{statistics.median(self.settled_ms):.0f}" if self.settled_ms else "–"
        growth = "–" if self.growth_mib is None else f"{self.growth_mib:+.1f} MiB"
        return (
            f"{self.plan}, faults {self.faults}: {len(self.opened)} waves, {sum(self.opened)} positions, protected "
            f"{settled} ms after their wave (median), longest without a stop {self.longest_naked_ms:.0f} ms, memory "
            f"{growth}, refused by the venue: {self.refusals or 'nothing'}; "
            + (f"{len(self.wrong)} THINGS WRONG" if self.wrong else "all as it must be")
        )


def run(plan: Plan, faults: str, folder: Path, say: Callable[[str], None], seed: int = 1) -> Result:
    """Play `plan`. Raises RuntimeError or TimeoutError when a program does not come up."""
    weather = FAULTS[faults]
    folder.mkdir(parents=True)
    result = Result(plan=plan.name, faults=faults, waves=len(plan.sizes))
    command = ["-m", "tools.venuesim", "--venue", "binance", "--latency-ms", f"{plan.latency_ms:g}"]
    command += ["--seed", str(seed), "--symbols", str(plan.symbols), "--balance", "1000000"]
    with running(command, folder / "venue.err") as venue:
        url = venue.ready_line()["url"]
        waves = _waves(plan, _symbols(url))
        gap = max(plan.gap_seconds, weather.gap_seconds)
        (folder / "waves.jsonl").write_text(_script(plan, waves, gap), encoding="utf-8")
        with _served(folder) as (signals, listening):
            log = folder / "daemon.err"
            with running(["main.py"], log, _environment(folder, url, signals, plan)) as daemon:
                wait_for_line(log, " ready ")
                _play(plan, waves, listening, _Venue(url, daemon, folder, weather), result, say)
                status = daemon.stop()
        if status != 0:
            result.wrong.append(f"the daemon ended with {status}")
        _judge_whole(plan, waves, url, folder, weather, result)
    return result


@dataclass(frozen=True, slots=True)
class _Venue:
    """Where a running wave is looked at: the venue's record, the daemon."""

    url: str
    daemon: Process
    folder: Path
    weather: Weather

    def resident_mib(self) -> float:
        status = Path(f"/proc/{self.daemon.child.pid}/status").read_text("ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024

    def judge(self, symbols: list[str], allowed: int) -> tuple[int, list[str]]:
        """How many positions are open, and what is wrong with them."""
        state, protection = ask(f"{self.url}/_sim/state"), ask(f"{self.url}/_sim/protection")
        opened = len(state["positions"])
        expected = min(opened, allowed) if self.weather.refuses else allowed
        return opened, open_and_protected(symbols, expected, state, protection)

    def begin_faults(self) -> None:
        for fault in self.weather.faults:
            ask(f"{self.url}/_sim/fault", {"count": 1, **fault})

    def end_faults(self) -> None:
        if self.weather.faults:
            ask(f"{self.url}/_sim/fault", method="DELETE")

    def told(self) -> int:
        """How many waves the daemon has reported."""
        return (self.folder / "daemon.err").read_bytes().count(b" wave.done ")

    def close_all(self) -> list[str]:
        """Over the control socket, as the tools do; what is not flat and empty afterwards."""
        answer = control(self.folder / "data" / "control.sock", {"command": "close", "symbol": None, "venue": None})
        if not answer["ok"]:
            return [f"closing was refused: {answer['error']}"]
        wrong = [
            f"{row['symbol']} could not be closed: {row['detail']}, {row['left_orders']} orders left"
            for row in answer["result"]
            if not row["flat"] or row["left_orders"]
        ]
        deadline = time.monotonic() + EMPTY_SECONDS
        while (left := _left(self.url)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return [*wrong, *left]


def _play(
    plan: Plan, waves: list[list[str]], listening: float, venue: _Venue, result: Result, say: Callable[[str], None]
) -> None:
    gap = max(plan.gap_seconds, venue.weather.gap_seconds)
    for number, symbols in enumerate(waves):
        at = listening + plan.first_ms / 1000 + number * gap
        time.sleep(max(0.0, at - ARMED_BEFORE_MS / 1000 - time.monotonic()))
        venue.begin_faults()
        time.sleep(max(0.0, at - time.monotonic()))
        opened, wrong = _settled(venue, symbols, plan.allowed(number), number + 1, at + gap - BEFORE_NEXT_SECONDS)
        took = (time.monotonic() - at) * 1000
        venue.end_faults()
        wrong += venue.close_all()
        result.opened.append(opened)
        result.settled_ms.append(round(took, 1))
        result.resident_mib.append(round(venue.resident_mib(), 1))
        result.wrong += [f"wave {number + 1}: {what}" for what in wrong]
        said = "; ".join(wrong) or f"{opened} open and protected after {took:.0f} ms, closed"
        say(f"{plan.name} wave {number + 1}/{len(waves)} of {len(symbols)}: {said}; {result.resident_mib[-1]:.1f} MiB")


def _settled(venue: _Venue, symbols: list[str], allowed: int, number: int, deadline: float) -> tuple[int, list[str]]:
    """Until everything is as it must be and the daemon has told its wave, twice in a row, or until the deadline."""
    calm = 0
    while True:
        opened, wrong = venue.judge(symbols, allowed)
        done = not wrong and venue.told() >= number
        calm = calm + 1 if done else 0
        if calm == 2 or time.monotonic() >= deadline:
            late = [] if venue.told() >= number else ["the daemon has not told what became of it"]
            return opened, [*wrong, *late]
        time.sleep(0.1)


def _judge_whole(plan: Plan, waves: list[list[str]], url: str, folder: Path, weather: Weather, result: Result) -> None:
    requests = ask(f"{url}/_sim/requests?since=0")
    orders = ask(f"{url}/_sim/state?all=1")["orders"]
    asked = Counter(symbol for wave in waves for symbol in wave)
    result.refusals = dict(refusals(requests))
    lives = ask(f"{url}/_sim/protection")
    result.longest_naked_ms = max((float(row["max_unprotected_ms"]) for row in lives), default=0.0)
    result.wrong += none_twice(orders, requests, asked)
    if not weather.faults:
        result.wrong += [f"the venue refused {what} ({n} times)" for what, n in result.refusals.items() if n]
    entries = {_wave_name(plan, number): opened for number, opened in enumerate(result.opened)}
    result.wrong += denied_without_reason(folder / "data" / "journal.db", entries)
    result.wrong += books(folder / "data")
    result.growth_mib = growth_mib(result.resident_mib[plan.steady_after :])
    if result.growth_mib is not None and result.growth_mib > FLAT_MIB:
        result.wrong.append(f"memory at rest grew by {result.growth_mib} MiB from the first half to the second")


def control(path: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """One order over the daemon's control socket."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(60.0)
        link.connect(str(path))
        link.sendall(json.dumps(request).encode() + b"\n")
        with link.makefile("rb") as lines:
            answer: dict[str, Any] = json.loads(lines.readline())
    return answer


@contextmanager
def _served(folder: Path) -> Iterator[tuple[str, float]]:
    """The signal server's address and the monotonic moment its script counts from."""
    command = ["-m", "tools.signal_server", "--script", str(folder / "waves.jsonl"), "--form", "pushed", "--token", "t"]
    with running(command, folder / "signals.err") as server:
        url = server.ready_line()["url"]
        yield url, time.monotonic()


def _left(url: str) -> list[str]:
    state = ask(f"{url}/_sim/state")
    return [
        *(f"{row['symbol']} is still open at the venue: {row['qty']}" for row in state["positions"]),
        *(f"{row['symbol']}: an order is left behind, {row['client_id']}" for row in state["orders"]),
    ]


def _symbols(url: str) -> list[str]:
    listed = ask(f"{url}/fapi/v1/exchangeInfo")["symbols"]
    return [
        row["symbol"]
        for row in listed
        if (row["quoteAsset"], row["contractType"], row["status"]) == ("USDT", "PERPETUAL", "TRADING")
    ]


def _waves(plan: Plan, symbols: list[str]) -> list[list[str]]:
    """The symbols of each wave, going round, so that neighbouring small waves have none in common."""
    waves, start = [], 0
    for size in plan.sizes:
        chosen = min(size, len(symbols))
        waves.append([symbols[(start + n) % len(symbols)] for n in range(chosen)])
        start += chosen
    return waves


def _wave_name(plan: Plan, number: int) -> str:
    return f"{plan.name}-{number}"


def _script(plan: Plan, waves: list[list[str]], gap: float) -> str:
    lines = []
    for number, symbols in enumerate(waves):
        signals = [_signal(f"{_wave_name(plan, number)}:{symbol}", symbol, n) for n, symbol in enumerate(symbols)]
        lines.append(json.dumps({"at_ms": plan.first_ms + round(number * gap * 1000), "signals": signals}))
    return "\n".join(lines) + "\n"


def _signal(identity: str, symbol: str, number: int) -> dict[str, Any]:
    direction = "SHORT" if number % 3 == 2 else "LONG"
    score = 50 + number % 40
    return {"id": identity, "pair_symbol": symbol, "direction": direction, "total_score": score, "timestamp": "$now"}


def _environment(folder: Path, url: str, signals: str, plan: Plan) -> dict[str, str]:
    return {
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "BINANCE_URL": url,
        "BINANCE_API_KEY": "sim",
        "BINANCE_API_SECRET": "sim",
        "SIGNAL_WS_URL": signals,
        "SIGNAL_WS_TOKEN": "t",
        "STRATEGY": "none",
        "DATA_DIR": str(folder / "data"),
        "LOG_DIR": str(folder / "logs"),
        "MAX_TRADES_PER_WAVE": str(plan.limit),
        "MAX_POSITIONS": str(plan.limit),
        "MAX_EXPOSURE_USD": "100000",
        "LEVERAGE": "20",
    }


def main() -> int:
    asked = _arguments()
    root = Path(tempfile.mkdtemp(prefix="breakwater-waves-"))
    say: Callable[[str], None] = (lambda text: print(text, file=sys.stderr, flush=True)) if asked.json else _say
    results = []
    for faults in asked.faults or ["none"]:
        for plan in plans(asked.plan or ["small", "large"], asked.waves, asked.latency_ms, asked.gap):
            say(f"{plan.name}: {len(plan.sizes)} waves, faults {faults}")
            results.append(run(plan, faults, root / f"{plan.name}-{faults}", say, asked.seed))
            say(results[-1].line())
    if asked.json:
        print(json.dumps([asdict(result) for result in results], indent=1))
    failed = [result for result in results if result.wrong]
    for result in failed:
        for what in result.wrong:
            say(f"{result.plan}, faults {result.faults}: {what}")
    if failed or asked.keep:
        say(f"the request logs, daemon logs and journals are in {root}")
    else:
        shutil.rmtree(root)
    return 1 if failed else 0


def _say(text: str) -> None:
    print(text, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaigns.waves",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--plan", action="append", choices=("small", "large"), help="may be repeated (both)")
    parser.add_argument("--faults", action="append", choices=sorted(FAULTS), help="may be repeated (none)")
    parser.add_argument("--waves", type=int, default=20, help="waves of each plan (20)")
    parser.add_argument("--gap", type=float, default=5.0, metavar="SECONDS", help="between two waves (5)")
    parser.add_argument("--latency-ms", type=float, default=250.0, metavar="D", help="the venue's latency (250)")
    parser.add_argument("--seed", type=int, default=1, help="of the venue (1)")
    parser.add_argument("--keep", action="store_true", help="leave logs and journals also when all is well")
    parser.add_argument("--json", action="store_true", help="figures for programs on stdout, progress on stderr")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
