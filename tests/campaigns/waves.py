"""Pushed waves through the real daemon over several venues, positions closed between them.

Everything accepted is open and protected, nothing twice, never more than allowed, no refusal by a venue, and no
memory that grows.

One run: a simulator with latency for each venue, a signal server that pushes a wave every few seconds, its signals
dealt to the venues in turn, the live form of the daemon. Before each next wave the venues are asked what is open and
what protects it; then everything is closed over the control socket and the venues must be empty. Plans: `small` (waves
of 6), `medium` (of 30), `large` (a wave of 68, then waves of 500, ten entries allowed), `full` (of 68, all of them
allowed). `--faults NAME` lets the venues misbehave meanwhile. `--dead NAME[:HOW[@WAVE]]` plays small and medium once
with all venues and once with that one dead: the others must come to the same verdicts in at most a tenth more time.
Exit status 1 when something that must hold does not.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import asdict

from tests.builders_config import NO_COOLDOWNS
from tests.campaigns import deaths
from tests.campaigns.deaths import Death
from tests.campaigns.processes import running, wait_for_line
from tests.campaigns.wave_judge import (
    FLAT_MIB,
    books,
    denied_without_reason,
    growth_mib,
    none_twice,
    refusals,
    verdicts,
)
from tests.campaigns.wave_plans import ARMED_BEFORE_MS, FAULTS, Plan, plans
from tests.campaigns.wave_world import Arrivals, Deal, Market, World, kill, markets, served
from tools.bench.venues import VENUES, accepted

BEFORE_NEXT_SECONDS = 2.2
"""A wave is judged, and closed, at the latest this long before the next one."""
CALM_LOOKS_BESIDE_A_DEATH = 6
SLOWER = 1.10
"""So much longer waves may take while another venue is dead."""
OPERATOR_NEEDED = 4
LAST_WORDS = r"with an entry of unknown outcome: (.+); start again or close them"


class Result(Struct, kw_only=True):
    """What one plan came to. `resident_mib` after each wave was closed; `settled_ms` from a wave's time to the moment
    the venues had everything of it open and protected, in steps of a poll. Per venue that lived: `lasted_ms` from the
    first signal frame of each wave to its last entry answered and stop in place there, by its own record; `verdicts` of
    its signals."""

    plan: str
    faults: str
    venues: list[str]
    dead: str = ""
    waves: int
    opened: list[int] = field(default_factory=list)
    settled_ms: list[float] = field(default_factory=list)
    resident_mib: list[float] = field(default_factory=list)
    refusals: dict[str, dict[str, int]] = field(default_factory=dict)
    lasted_ms: dict[str, list[float]] = field(default_factory=dict)
    verdicts: dict[str, dict[str, str]] = field(default_factory=dict)
    longest_naked_ms: dict[str, float] = field(default_factory=dict)
    growth_mib: float | None = None
    wrong: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.plan} over {', '.join(self.venues)}, faults {self.faults}, dead {self.dead or 'none'}"

    def line(self) -> str:
        settled = f"{statistics.median(self.settled_ms):.0f}" if self.settled_ms else "–"
        growth = "–" if self.growth_mib is None else f"{self.growth_mib:+.1f} MiB"
        lasted = ", ".join(f"{venue} {statistics.median(each):.0f}" for venue, each in self.lasted_ms.items() if each)
        naked = ", ".join(f"{venue} {longest:.0f}" for venue, longest in self.longest_naked_ms.items())
        refused = {venue: kinds for venue, kinds in self.refusals.items() if kinds}
        return (
            f"{self.name}: {len(self.opened)} waves, {sum(self.opened)} positions, protected {settled} ms after their "
            f"wave (median; by the venues' records ms {lasted or '–'}), longest without a stop ms {naked or '–'}, "
            f"memory {growth}, refused by a venue: {refused or 'nothing'}; "
            + (f"{len(self.wrong)} THINGS WRONG" if self.wrong else "all as it must be")
        )


def run(
    plan: Plan,
    faults: str,
    folder: Path,
    say: Callable[[str], None],
    *,
    venues: Sequence[str] = tuple(VENUES),
    seed: int = 1,
    death: Death | None = None,
) -> Result:
    """Play `plan`. Raises RuntimeError or TimeoutError when a program does not come up."""
    weather = FAULTS[faults]
    folder.mkdir(parents=True)
    dead = "" if death is None else str(death)
    result = Result(plan=plan.name, faults=faults, venues=list(venues), dead=dead, waves=len(plan.sizes))
    gap = max(plan.gap_seconds, weather.gap_seconds)
    with markets(venues, plan, folder, seed) as up:
        waves = _waves(plan, [(market.facts.name.value, market.listed()) for market in up])
        feed = Arrivals(
            [_signals(plan, number, wave) for number, wave in enumerate(waves)],
            first_ms=plan.first_ms,
            gap_ms=round(gap * 1000),
        )
        if death is not None and not death.wave:
            kill(death, up)
        with served(feed) as signals:
            log = folder / "daemon.err"
            with running(["main.py"], log, _environment(folder, up, signals, plan, death)) as daemon:
                wait_for_line(log, " ready ", timeout=60.0)
                world = World(markets=up, daemon=daemon, folder=folder, weather=weather, death=death)
                _play(plan, waves, feed.came() + plan.first_ms / 1000, gap, world, result, say)
                status = daemon.stop()
        if status != 0 and not (status == OPERATOR_NEEDED and death is not None and _unknown_at(death.venue, log)):
            result.wrong.append(f"the daemon ended with {status}")
        _judge_whole(plan, waves, _starts(plan, waves, feed), world, result)
    return result


def _unknown_at(venue: str, log: Path) -> bool:
    """Its last words name entries whose outcome the venue that died has not told, and nothing else."""
    said = re.fullmatch(LAST_WORDS, log.read_text("utf-8").rstrip().rpartition("\n")[2])
    return said is not None and all(entry.startswith(f"{venue}:") for entry in said[1].split(", "))


def _play(
    plan: Plan,
    waves: Sequence[Deal],
    first: float,
    gap: float,
    world: World,
    result: Result,
    say: Callable[[str], None],
) -> None:
    for number, wave in enumerate(waves):
        at = first + number * gap
        time.sleep(max(0.0, at - ARMED_BEFORE_MS / 1000 - time.monotonic()))
        world.begin_faults(number + 1)
        time.sleep(max(0.0, at - time.monotonic()))
        opened, wrong = _settled(world, wave, plan.limit, number + 1, at + gap - BEFORE_NEXT_SECONDS)
        took = (time.monotonic() - at) * 1000
        world.end_faults()
        wrong += world.close_all()
        result.opened.append(opened)
        result.settled_ms.append(round(took, 1))
        result.resident_mib.append(round(world.resident_mib(), 1))
        result.wrong += [f"wave {number + 1}: {what}" for what in wrong]
        said = "; ".join(wrong) or f"{opened} open and protected after {took:.0f} ms, closed"
        say(f"{plan.name} wave {number + 1}/{len(waves)} of {len(wave)}: {said}; {result.resident_mib[-1]:.1f} MiB")


def _settled(world: World, wave: Deal, limit: int, number: int, deadline: float) -> tuple[int, list[str]]:
    """Until everything is as it must be and the daemon has told its wave, twice in a row, or until the deadline. While
    a venue is dead its own signals may keep the daemon from telling, and it is left in peace for half a second."""
    calm, crippled = 0, len(world.living) < len(world.markets)
    while True:
        opened, wrong = world.judge(wave, limit)
        told = crippled or world.told() >= number
        calm = calm + 1 if told and not wrong else 0
        if calm == (CALM_LOOKS_BESIDE_A_DEATH if crippled else 2) or time.monotonic() >= deadline:
            return opened, [*wrong, *([] if told else ["the daemon has not told what became of it"])]
        time.sleep(0.1)


def _judge_whole(plan: Plan, waves: Sequence[Deal], starts: Sequence[float], world: World, result: Result) -> None:
    journal = world.folder / "data" / "journal.db"
    told = verdicts(journal)
    for market in world.living:
        name = market.facts.name.value
        requests, lives = market.ask("requests?since=0"), market.ask("protection")
        asked = Counter(symbol for wave in waves for venue, symbol in wave if venue == name)
        result.refusals[name] = dict(refusals(requests))
        result.longest_naked_ms[name] = max((float(row["max_unprotected_ms"]) for row in lives), default=0.0)
        result.lasted_ms[name] = _lasted(market, starts, requests, lives)
        result.verdicts[name] = {signal: code for signal, (venue, code) in told.items() if venue == name}
        wrong = none_twice(market.ask("state?all=1")["orders"], requests, asked)
        if not world.weather.faults:
            wrong += [f"refused {what} ({n} times)" for what, n in result.refusals[name].items() if n]
        result.wrong += [f"{name}: {what}" for what in wrong]
    if len(world.living) == len(world.markets):
        entries = {_wave_name(plan, number): opened for number, opened in enumerate(result.opened)}
        result.wrong += denied_without_reason(journal, entries)
    result.wrong += books(world.folder / "data")
    result.growth_mib = growth_mib(result.resident_mib[plan.steady_after :])
    if result.growth_mib is not None and result.growth_mib > FLAT_MIB:
        result.wrong.append(f"memory at rest grew by {result.growth_mib} MiB from the first half to the second")


def _lasted(
    market: Market,
    starts: Sequence[float],
    requests: Sequence[Mapping[str, Any]],
    lives: Sequence[Mapping[str, Any]],
) -> list[float]:
    """Milliseconds each wave took at one venue; waves that opened nothing there are left out."""
    lasted = []
    for start, end in zip(starts, [*starts[1:], float("inf")], strict=True):
        opened = [row for row in lives if start <= row["opened"] < end and row["protected"] is not None]
        entries = {row["opened"] for row in opened}
        answered = [
            float(row["answered"])
            for row in requests
            if row["lane"] == "order" and accepted(row) and start <= row["received"] <= max(entries, default=0.0)
        ]
        stops = [float(row["protected"]) for row in opened]
        if opened and answered:
            lasted.append(round(max(*answered, *stops) - start, 1))
    return lasted


def compared(alone: Result, beside: Result) -> list[str]:
    """What the death of one venue changed for those that live: verdicts, and time beyond a tenth."""
    wrong = []
    for name, verdicts_now in beside.verdicts.items():
        before = alone.verdicts[name]
        other = [key for key in before.keys() | verdicts_now.keys() if before.get(key) != verdicts_now.get(key)]
        if other:
            first = min(other)
            said = f"e.g. {first}: {before.get(first)!r}, then {verdicts_now.get(first)!r}"
            wrong.append(f"{name}: {len(other)} signals ended otherwise while {beside.dead} was dead, {said}")
        times = alone.lasted_ms[name], beside.lasted_ms[name]
        if not all(times):
            continue
        usual, now = map(statistics.median, times)
        if now > usual * SLOWER:
            wrong.append(f"{name}: {now:.0f} ms a wave while {beside.dead} was dead, {usual:.0f} ms without that")
    return wrong


def comparison(alone: Result, beside: Result) -> str:
    """For people: the median time of the living venues without and with the death."""
    said = []
    for name, times in beside.lasted_ms.items():
        usual, now = (statistics.median(each) if each else float("nan") for each in (alone.lasted_ms[name], times))
        same = "the same verdicts" if alone.verdicts[name] == beside.verdicts[name] else "OTHER VERDICTS"
        said.append(f"{name} {usual:.0f} → {now:.0f} ms a wave ({now / usual:.2f}×), {same}")
    return f"{beside.plan} with {beside.dead} dead: " + "; ".join(said)


def _waves(plan: Plan, lists: Sequence[tuple[str, list[str]]]) -> list[Deal]:
    """The symbols of each wave, dealt to the venues in turn, each venue's going round, so that neighbouring small waves
    have none in common."""
    turns = [(name, itertools.cycle(symbols), len(symbols)) for name, symbols in lists]
    waves: list[Deal] = []
    for size in plan.sizes:
        dealt = []
        for place, (name, going, have) in enumerate(turns):
            share = size // len(turns) + (place < size % len(turns))
            dealt.append([(name, next(going)) for _ in range(min(share, have))])
        waves.append([pair for row in itertools.zip_longest(*dealt) for pair in row if pair is not None])
    return waves


def _wave_name(plan: Plan, number: int) -> str:
    return f"{plan.name}-{number}"


def _starts(plan: Plan, waves: Sequence[Deal], feed: Arrivals) -> list[float]:
    """When the first signal of each wave left, ms since the epoch."""
    return [
        min(feed.sent.get(_identity(plan, number, *pair), float("inf")) for pair in wave)
        for number, wave in enumerate(waves)
    ]


def _identity(plan: Plan, number: int, venue: str, symbol: str) -> str:
    return f"{_wave_name(plan, number)}:{venue}:{symbol}"


def _signals(plan: Plan, number: int, wave: Deal) -> list[dict[str, Any]]:
    return [
        {
            "id": _identity(plan, number, venue, symbol),
            "exchange": venue,
            "pair_symbol": symbol,
            "direction": "SHORT" if place % 3 == 2 else "LONG",
            "total_score": 50 + place % 40,
            "timestamp": "$now",
        }
        for place, (venue, symbol) in enumerate(wave)
    ]


def _environment(folder: Path, up: Sequence[Market], signals: str, plan: Plan, death: Death | None) -> dict[str, str]:
    """While a venue is dead, what was sent there and has no answer keeps its slots: there are some more then."""
    own = {
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "SIGNAL_WS_URL": signals,
        "SIGNAL_WS_TOKEN": "t",
        "STRATEGY": "none",
        "DATA_DIR": str(folder / "data"),
        "LOG_DIR": str(folder / "logs"),
        "MAX_TRADES_PER_WAVE": str(plan.limit),
        "MAX_TRADES_PER_WAVE_TOTAL": str(plan.limit),
        "MAX_POSITIONS": str(plan.limit * (1 if death is None else 2)),
        "MAX_EXPOSURE_USD": "100000",
        "LEVERAGE": "20",
        **NO_COOLDOWNS,
    }
    for market in up:
        own |= market.facts.settings(market.url)
    return own


def main() -> int:
    asked = _arguments()
    root = Path(tempfile.mkdtemp(prefix="breakwater-waves-"))
    say: Callable[[str], None] = (lambda text: print(text, file=sys.stderr, flush=True)) if asked.json else _say
    results = _campaign(asked, root, say)
    if asked.json:
        print(json.dumps([asdict(result) for result in results], indent=1))
    failed = [result for result in results if result.wrong]
    for result in failed:
        for what in result.wrong:
            say(f"{result.name}: {what}")
    if failed or asked.keep:
        say(f"the request logs, daemon logs and journals are in {root}")
    else:
        shutil.rmtree(root)
    return 1 if failed else 0


def _campaign(asked: argparse.Namespace, root: Path, say: Callable[[str], None]) -> list[Result]:
    results = []
    usual = ["small", "medium"] if asked.dead else ["small", "medium", "large", "full"]
    for faults in asked.faults or ["none"]:
        for plan in plans(asked.plan or usual, asked.waves, asked.latency_ms, asked.gap):
            alone = None
            for death in (None, *asked.dead):
                say(f"{plan.name}: {len(plan.sizes)} waves, faults {faults}, dead {death or 'none'}")
                folder = root / f"{plan.name}-{faults}-{death or 'none'}".replace(":", "-")
                result = run(plan, faults, folder, say, venues=asked.venues, seed=asked.seed, death=death)
                if alone is not None:
                    result.wrong += compared(alone, result)
                    say(comparison(alone, result))
                alone = alone or result
                results.append(result)
                say(result.line())
    return results


def _say(text: str) -> None:
    print(text, flush=True)


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in VENUES]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(VENUES)}")
    return [name for name in VENUES if name in names]


def _death(text: str) -> Death:
    try:
        return deaths.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaigns.waves",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--venues", type=_names, default=list(VENUES), metavar="NAMES", help="comma list (binance,bybit,okx)")
    add("--plan", action="append", choices=("small", "medium", "large", "full"), help="may be repeated (all)")
    add("--faults", action="append", choices=sorted(FAULTS), help="may be repeated (none)")
    add(
        "--dead", action="append", type=_death, default=[], metavar="NAME[:HOW[@WAVE]]",
        help=f"HOW: {', '.join(deaths.HOWS)} (down); from WAVE on, else from the start; may be repeated",
    )  # fmt: skip
    add("--waves", type=int, default=20, help="waves of each plan (20)")
    add("--gap", type=float, default=5.0, metavar="SECONDS", help="between two waves (5)")
    add("--latency-ms", type=float, default=250.0, metavar="D", help="the venues' latency (250)")
    add("--seed", type=int, default=1, help="of the venues (1)")
    add("--keep", action="store_true", help="leave logs and journals also when all is well")
    add("--json", action="store_true", help="figures for programs on stdout, progress on stderr")
    asked = parser.parse_args()
    for death in asked.dead:
        if death.venue not in asked.venues:
            parser.error(f"--dead {death}: {death.venue} is not among the venues")
    return asked


if __name__ == "__main__":
    sys.exit(main())
