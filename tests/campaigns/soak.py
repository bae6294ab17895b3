"""A daemon that trades for a long time, and what it uses meanwhile: memory, files, tasks, sockets, time of its loop.

Three simulators, waves of signals over fifty symbols every few seconds, prices that move, streams that are cut, all of
it closed again before the next wave; the daemon is a process of its own that writes down what it uses. What is compared
is the daemon at rest, with nothing open, after its bounded memories have filled. Exit status 1 when something grows.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.campaigns.census import grown
from tests.campaigns.processes import ask, running, wait_for_line
from tests.campaigns.wave_judge import books
from tests.campaigns.wave_plans import FAULTS, Plan
from tests.campaigns.wave_world import Arrivals, Market, World, markets, served
from tests.campaigns.waves import _environment, _signals, _waves

GAP_SECONDS = 7.0
SIGNALS = 24
SYMBOLS = 50
FILLED = 0.4
"""So much of the run its bounded memories take to fill; what is compared comes after it."""
FLAT_KIB = 2_048
"""What a heap of a hundred MiB wanders by without anything being kept."""
MOST_WAL = 16 * 1024 * 1024
SETTLED_SECONDS = 4.0
"""In which a wave is settled on a machine that does nothing else."""
MOST_LATE = 0.1
"""So much of the waves may be late before the run says nothing of the daemon."""
CUT_EVERY = 10
"""Waves between two cuts of every stream."""


@dataclass(slots=True)
class Soak:
    """What was seen. `rest`: the sample at the end of each calm stretch; `late`: waves the machine was too busy for."""

    samples: list[dict[str, Any]] = field(default_factory=list)
    rest: list[dict[str, Any]] = field(default_factory=list)
    cuts: int = 0
    opened: int = 0
    late: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def steady(self) -> list[dict[str, Any]]:
        return self.rest[int(len(self.rest) * FILLED) :]


def play(minutes: float, folder: Path, seed: int) -> Soak:
    """Raises RuntimeError or TimeoutError when a program does not come up."""
    count = max(4, int(minutes * 60 / GAP_SECONDS))
    plan = Plan(name="soak", sizes=(SIGNALS,) * count, limit=SIGNALS, latency_ms=20.0, gap_seconds=GAP_SECONDS)
    soak, samples = Soak(), folder / "samples.jsonl"
    with markets(("binance", "bybit", "okx"), plan, folder, seed) as up:
        waves = _waves(plan, _fifty(up))
        signals = [_signals(plan, number, wave) for number, wave in enumerate(waves)]
        feed = Arrivals(signals, first_ms=plan.first_ms, gap_ms=round(GAP_SECONDS * 1000))
        with served(feed) as url:
            env = {**_environment(folder, up, url, plan, None), "MAX_DAILY_LOSS": "1000000", "SL_STREAK_LIMIT": "1000"}
            log = folder / "daemon.err"
            with running(
                ["-m", "tests.campaigns.soak_daemon", str(samples), str(minutes * 60 * FILLED / 2)], log, env
            ) as daemon:
                wait_for_line(log, " ready ", timeout=60.0)
                world = World(markets=up, daemon=daemon, folder=folder, weather=FAULTS["none"])
                _live(world, count, feed.came() + plan.first_ms / 1000, soak, samples, random.Random(seed))
                status = daemon.stop()
        if status != 0:
            soak.wrong.append(f"the daemon ended with {status}")
    soak.samples = _read(samples)
    soak.wrong += books(folder / "data")
    with closing(sqlite3.connect(folder / "data" / "journal.db")) as journal:
        for (left,) in journal.execute("SELECT count(*) FROM exits"):
            soak.wrong += [f"{left} rows of exits are left of closed positions"] if left else []
    return soak


def _fifty(up: Sequence[Market]) -> list[tuple[str, list[str]]]:
    each = -(-SYMBOLS // len(up))
    return [(market.facts.name.value, market.listed()[:each]) for market in up]


def _live(world: World, count: int, first: float, soak: Soak, samples: Path, chance: random.Random) -> None:
    for number in range(count):
        at = first + number * GAP_SECONDS
        time.sleep(max(0.0, at - time.monotonic()))
        if number % CUT_EVERY == CUT_EVERY - 1:
            for market in world.markets:
                ask(
                    f"{market.url}/_sim/fault",
                    {"kind": "disconnect_stream", "match": {"stream": "/private"}, "count": 1},
                )
                soak.cuts += 1
        while world.told() <= number and time.monotonic() < at + SETTLED_SECONDS:
            time.sleep(0.1)
        if world.told() <= number:  # a busy machine: what this wave opens is closed with the next one's
            soak.late += 1
            continue
        _move(world, chance)
        opened = sum(len(market.ask("state")["positions"]) for market in world.markets)
        soak.opened += opened
        left = world.close_all()
        if time.monotonic() < at + GAP_SECONDS:  # later the next wave opens what is seen
            soak.wrong += [f"wave {number + 1}: {what}" for what in left]
        else:
            soak.late += 1
        time.sleep(max(0.0, at + GAP_SECONDS - 1.2 - time.monotonic()))
        if number in {int(count * FILLED), count - 1}:
            world.daemon.child.send_signal(signal.SIGUSR1)
            time.sleep(2.2)
        told = _read(samples)
        if told and told[-1]["positions"] == 0:
            soak.rest.append(told[-1])
        if number % 10 == 0 and soak.rest:
            last = soak.rest[-1]
            said = f"{last['resident_kib'] / 1024:.1f} MiB, {last['tasks']} tasks, {last['sockets']} sockets"
            print(f"wave {number + 1}/{count}: {opened} opened, {said}", file=sys.stderr, flush=True)


def _move(world: World, chance: random.Random) -> None:
    """Some prices go to where a stop fires or a trailing stop begins."""
    for market in world.markets:
        held = [(row["symbol"], float(row["entry"])) for row in market.ask("state")["positions"]]
        for symbol, entry in held[:: chance.choice((2, 3))]:
            price = entry * (1 + chance.choice((-0.03, -0.01, 0.01, 0.03)))
            ask(f"{market.url}/_sim/price", {"symbol": symbol, "price": f"{price:.8f}"})


def _read(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


# --- the verdict ------------------------------------------------------------------------------------------------------


def slope_kib(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """KiB a minute, and its standard error."""
    if len(points) < 3:
        return 0.0, float("inf")
    minutes, sizes = zip(*((at / 60, size) for at, size in points), strict=True)
    slope, begin = statistics.linear_regression(minutes, sizes)
    left = sum((size - begin - slope * at) ** 2 for at, size in zip(minutes, sizes, strict=True))
    spread = sum((at - statistics.fmean(minutes)) ** 2 for at in minutes)
    return slope, (left / (len(points) - 2) / spread) ** 0.5 if spread else float("inf")


def judge(soak: Soak) -> list[str]:
    """What grows, and what else is wrong."""
    wrong, steady = list(soak.wrong), soak.steady
    waves = soak.samples[-1]["waves"] if soak.samples else 0
    if soak.late > MOST_LATE * waves:
        wrong.append(f"{soak.late} of {waves} waves were late: the machine does too much else")
    if len(steady) < 4:
        return [*wrong, "the daemon was at rest too seldom to compare anything: give it more minutes"]
    slope, error = slope_kib([(one["at_s"], one["resident_kib"]) for one in steady])
    gained = slope * (steady[-1]["at_s"] - steady[0]["at_s"]) / 60
    if gained > FLAT_KIB and slope > 3 * error:
        wrong.append(f"memory at rest grew by {gained / 1024:.1f} MiB ({slope:.0f} ± {error:.0f} KiB a minute)")
    half = len(steady) // 2
    for what, room in (("tasks", 0), ("files", 2), ("sockets", steady[0]["sockets"] // 5)):
        before, after = (min(one[what] for one in part) for part in (steady[:half], steady[half:]))
        if after > before + room:  # as many connections stay warm as have once been needed at a time
            wrong.append(f"{what} at rest went from {before} to {after}")
    wal = max(one["bytes"].get("journal.db-wal", 0) for one in soak.samples)
    if wal > MOST_WAL:
        wrong.append(f"the write-ahead log grew to {wal / 1024**2:.0f} MiB")
    reconnects = soak.samples[-1]["reconnects"]
    if reconnects > 2 * soak.cuts + 2:
        wrong.append(f"streams connected anew {reconnects} times, and were cut {soak.cuts} times")
    return wrong


def table(soak: Soak) -> Table:
    made = Table(box=None, pad_edge=False)
    for title in ("at rest", "first", "after filling", "last", "slope"):
        made.add_column(title, justify="left" if title == "at rest" else "right")
    rest, steady = soak.rest, soak.steady
    kinds = sorted(set(itertools.chain.from_iterable(one["bytes"] for one in rest)))
    rows: dict[str, Callable[[Mapping[str, Any]], float]] = {
        "memory, MiB": lambda one: one["resident_kib"] / 1024,
        **{name: partial(_figure, name) for name in ("tasks", "sockets", "files")},
        **{f"{name}, KiB": partial(_kib, name) for name in kinds},
    }
    for name, of in rows.items():
        slope, error = slope_kib([(one["at_s"], of(one)) for one in steady])
        figures = [f"{of(one):,.1f}" for one in (rest[0], steady[0], steady[-1])]
        made.add_row(name, *figures, f"{slope:+.2f} ± {error:.2f} a minute")
    return made


def _figure(name: str, one: Mapping[str, Any]) -> float:
    return float(one[name])


def _kib(name: str, one: Mapping[str, Any]) -> float:
    return float(one["bytes"].get(name, 0)) / 1024


def report(soak: Soak, console: Console) -> None:
    if soak.rest:
        console.print(table(soak))
    late = sorted(one for sample in soak.samples for one in sample["late_ms"])
    if late:
        last = soak.samples[-1]
        figures = [late[int(len(late) * share)] for share in (0.5, 0.99, 0.999)]
        said = " / ".join(f"{one:.1f}" for one in (*figures, late[-1]))
        console.print(f"loop late by {said} ms (median, p99, p99.9, longest)")
        console.print(
            f"{last['waves']} waves, {soak.opened} positions, {soak.cuts} cuts, {last['reconnects']} reconnects, "
            f"{soak.late} waves late"
        )
    looks = [one["census"] for one in soak.samples if "census" in one]
    if len(looks) > 1:
        most = sorted(grown(looks[0], looks[-1]).items(), key=lambda item: item[1][0] - item[1][1])[:8]
        console.print("more than after filling: " + (", ".join(f"{p} {a}→{b}" for p, (a, b) in most) or "nothing"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="how long it trades (30)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="leave logs, journal and samples in this folder")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        soak = play(asked.minutes, folder, asked.seed)
    console = Console(width=120)
    report(soak, console)
    wrong = judge(soak)
    for what in wrong:
        console.print(f"WRONG: {what}", highlight=False)
    console.print("nothing grows" if not wrong else f"{len(wrong)} things wrong", highlight=False)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
