"""The whole daemon in virtual time, against façades that misbehave by chance: thousands of seeds in minutes.

One seed is one run: one to three venues, settings, waves, random faults of the simulator's whole vocabulary, market
moves, orders of the operator, trades of the owner at the venue, restarts and kills; then two minutes of calm. What must
hold is judged from the venues' side (tests/campaigns/chaos_judge.py). The same seed gives the same run, byte for byte
in the audit log. `python -m tests.campaigns.chaos --seed 4711 --timeline` plays one again and tells what happened.
Exit status 1 when something that must hold does not.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import asdict

from tests.campaigns.chaos_judge import Judge
from tests.campaigns.chaos_plan import plan_of
from tests.campaigns.chaos_record import Record, Said
from tests.campaigns.chaos_run import run

PER_PROCESS = 100
"""Seeds a worker plays before it is replaced, so that what one run leaves in memory does not add up."""
TOLD_EVERY = 100


class Result(Struct, kw_only=True):
    """What one seed came to; `seconds` of this machine's work. `digest` is of its audit logs."""

    seed: int
    venues: tuple[str, ...]
    seconds: float
    digest: str
    faults: dict[str, int] = field(default_factory=dict)
    commands: dict[str, int] = field(default_factory=dict)
    waves: int = 0
    fills: int = 0
    moves: int = 0
    positions: int = 0
    starts: int = 0
    kills: int = 0
    worst_naked_ms: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def line(self) -> str:
        said = f"{len(self.wrong)} THINGS WRONG" if self.wrong else "all as it must be"
        return (
            f"seed {self.seed} ({', '.join(self.venues)}): {self.waves} waves, {self.fills} fills, {self.moves} moves "
            f"of stops, {sum(self.faults.values())} faults, {self.starts} starts, {self.seconds:.1f} s; {said}"
        )


def play(seed: int, timeline: Callable[[Sequence[Said]], None] | None = None) -> Result:
    """One seed, in a folder of its own that is gone afterwards."""
    if not gc.get_freeze_count():  # the program itself need not be looked through after every run
        gc.collect()
        gc.freeze()
    folder = Path(tempfile.mkdtemp(prefix="breakwater-chaos-", dir=_memory()))
    judge = Judge()
    try:
        record = run(plan_of(seed), folder, judge)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if timeline is not None:
        timeline(record.lines)
    return _result(record, judge)


def _memory() -> str | None:
    """A folder that is not on a disk, where there is one: the journal's syncs would cost more than all the rest."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _result(record: Record, judge: Judge) -> Result:
    witnesses = record.witnesses.values()
    return Result(
        seed=record.plan.seed,
        venues=record.plan.venues,
        seconds=round(record.seconds, 2),
        digest=record.digest,
        faults=dict(record.struck),
        commands=dict(record.commands),
        waves=sum(1 for line in record.log if line.startswith("wave.done ")),
        fills=sum(witness.fills for witness in witnesses),
        moves=sum(witness.moves for witness in witnesses),
        positions=sum(len(witness.lives) for witness in witnesses),
        starts=len(record.folders),
        kills=len(record.killed),
        worst_naked_ms=round(judge.worst_ms, 1),
        wrong=list(dict.fromkeys(record.wrong)),
    )


def campaign(seeds: Sequence[int], jobs: int) -> Iterator[Result]:
    """All of them, in so many processes; in the order in which they end."""
    if jobs == 1:
        yield from map(play, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=PER_PROCESS) as pool:
        yield from pool.imap_unordered(play, seeds)


def summary(results: Sequence[Result], lasted: float) -> str:
    """The figures of all seeds together."""
    faults, commands = Counter[str](), Counter[str]()
    for result in results:
        faults.update(result.faults)
        commands.update(result.commands)
    failed = [result.seed for result in results if result.wrong]
    worst = max(results, key=lambda result: result.worst_naked_ms)
    per_minute = len(results) / max(lasted, 0.001) * 60
    struck = ", ".join(f"{kind} {times}" for kind, times in faults.most_common())
    ordered = ", ".join(f"{name} {times}" for name, times in commands.most_common())
    each = sum(result.seconds for result in results) / len(results)
    starts, kills = sum(result.starts for result in results), sum(result.kills for result in results)
    waves, positions = sum(result.waves for result in results), sum(result.positions for result in results)
    fills, moves = sum(result.fills for result in results), sum(result.moves for result in results)
    lines = [
        f"{len(results)} seeds in {lasted:.0f} s ({per_minute:.0f} a minute), {each:.2f} s of computing each",
        f"faults that struck: {struck or 'none'}",
        f"orders of people: {ordered or 'none'}; {starts} starts, {kills} kills",
        f"{waves} waves, {positions} positions, {fills} fills, {moves} moves of stops",
        f"longest without a stop and without an excuse: {worst.worst_naked_ms:.0f} ms (seed {worst.seed})",
        f"{len(failed)} FAILED: {' '.join(map(str, sorted(failed)))}" if failed else "all as it must be",
    ]
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _tell(lines: Sequence[Said]) -> None:
    for line in lines:
        print(f"{line.time_s:9.3f}  {line.who:<8}  {line.text}")


def main() -> int:
    """See the module's text."""
    asked = _arguments()
    seeds = list(asked.seed) if asked.seed else list(range(asked.first, asked.first + asked.seeds))
    began, results = time.monotonic(), list[Result]()
    if asked.timeline:
        results = [play(seed, _tell) for seed in seeds]
        _say("\n".join(result.line() for result in results))
    else:
        for result in campaign(seeds, min(asked.jobs, len(seeds))):
            results.append(result)
            if result.wrong or len(seeds) <= TOLD_EVERY // 10:
                _say("\n  ".join((result.line(), *result.wrong)))
            if len(results) % TOLD_EVERY == 0:
                _say(f"{len(results)} of {len(seeds)}, {sum(1 for r in results if r.wrong)} failed")
    failed = sorted(result.seed for result in results if result.wrong)
    if asked.timeline:
        _say("\n".join(f"  {what}" for result in results for what in result.wrong))
    _say(summary(results, time.monotonic() - began))
    for seed in failed[:5]:
        _say(f"again: python -m tests.campaigns.chaos --seed {seed} --timeline")
    if asked.json:
        print(json.dumps([asdict(result) for result in sorted(results, key=lambda result: result.seed)], indent=1))
    return 1 if failed else 0


def _arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaigns.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--seeds", type=int, default=200, metavar="N", help="how many (200)")
    add("--first", type=int, default=1, metavar="SEED", help="the first of them (1)")
    add("--seed", type=int, action="append", metavar="SEED", help="only this one; may be repeated")
    add("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (as many as there are cores)")
    add("--timeline", action="store_true", help="tell everything that happened, on stdout")
    add("--json", action="store_true", help="figures for programs on stdout")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
