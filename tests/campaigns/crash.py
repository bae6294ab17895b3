"""Kill the daemon at every point of a life with waves, trailing, take profit and closes, and start it again.

The life is played once per venue in virtual time against the simulator in this process (the same seed gives the same
points). At each point the process forks. What the fork goes on with is what a SIGKILL at that moment leaves: the venue
with what is on its way to it, the files as the operating system has them, and the time. The dead daemon's loop, tasks
and frames stay frozen on a thread that never runs again: no `finally`, no flush, no last word. A new daemon is started
on a copy of the files (the normal start), and five seconds after it is ready everything is judged. `--death power`
takes away what was never synced as well. Points between which nothing that survives has changed are one and the same
death ("distinct" are those that are not); of receives and awaits it is tried once (`--all` tries each).

`--venue NAME --point N` replays one, in a process that then really ends by SIGKILL; its survivor's log is shown.
`make chaos-kill` kills real processes at moments of real time. Exit status 1 when anything is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from random import Random

from tests.campaigns import crash_figures, crash_life, kill
from tests.campaigns.crash_points import Kind, Point, PointedWorld
from tests.campaigns.crash_process import MOMENTS
from tests.campaigns.crash_survivor import Survivor, answer
from tests.fakes.virtual_loop import VirtualLoop
from tools.bench.venues import VENUES

SAID_EVERY = 50
MANAGED = "managed"
ALWAYS = (Kind.JOURNAL_BEFORE, Kind.JOURNAL_AFTER, Kind.SEND_BEFORE, Kind.SEND_AFTER)
"""What a death means most at: each is tried, though it may leave the same behind as an earlier point."""
MOST_REAL = 12
"""A real death comes at one of so many first moments of its kind: all of them are in the waves of one venue."""


class Death(StrEnum):
    KILL = "kill"
    POWER = "power"


@dataclass(slots=True, kw_only=True)
class Tally:
    """What one venue's life came to: points, distinct ones and deaths by kind, and what was wrong after which."""

    venue: str
    points: Counter[Kind] = field(default_factory=Counter)
    distinct: Counter[Kind] = field(default_factory=Counter)
    died: Counter[Kind] = field(default_factory=Counter)
    wrong: dict[int, list[str]] = field(default_factory=dict)
    named: dict[int, Point] = field(default_factory=dict)
    digest: str = ""


class Reaper:
    """The deaths under way, at most `jobs` at a time, and what they said."""

    def __init__(self, tally: Tally, folder: Path, asked: argparse.Namespace, say: Callable[[str], None]) -> None:
        self._tally, self._folder, self._asked, self._say = tally, folder, asked, say
        self._running: dict[int, Point] = {}

    def die(self, world: PointedWorld, point: Point) -> None:
        """A fork that is what is left; the life itself goes on."""
        while len(self._running) >= self._asked.jobs:
            self.reap()
        self._running[_survivor(world, self._tally.venue, self._folder, point, self._asked).fork(point)] = point

    def reap(self) -> None:
        child, status = os.wait()
        point = self._running.pop(child)
        place = self._folder / str(point.number)
        wrong = answer(place, status)
        self._tally.died[point.kind] += 1
        if wrong:
            self._tally.wrong[point.number] = wrong
            self._say(f"{self._tally.venue}: point {point}: {'; '.join(wrong)}")
        else:
            shutil.rmtree(place)
        if self._tally.died.total() % SAID_EVERY == 0:
            died, bad = self._tally.died.total(), len(self._tally.wrong)
            self._say(f"{self._tally.venue}: {died} deaths, {bad} with something wrong")

    def all(self) -> None:
        while self._running:
            self.reap()


def _survivor(world: PointedWorld, venue: str, folder: Path, point: Point, asked: argparse.Namespace) -> Survivor:
    return Survivor(
        world=world,
        venue=venue,
        place=folder / str(point.number),
        power=asked.death == Death.POWER,
        twice=asked.twice,
        verbose=asked.verbose,
    )


async def _live(
    venue: str, folder: Path, asked: argparse.Namespace, on_point: Callable[[PointedWorld, Point], None]
) -> None:
    world = await crash_life.a_world(folder, venue, asked.seed, asked.trailing)
    world.points.on_point = lambda point: on_point(world, point)
    async with world:
        with world.disk.watching():
            daemon = await crash_life.live(world, venue)
        await daemon.stop()


def play(venue: str, folder: Path, asked: argparse.Namespace, on_point: Callable[[PointedWorld, Point], None]) -> str:
    """One whole life; a digest of its points, which are the same for the same seed."""
    told = sha256()

    def heard(world: PointedWorld, point: Point) -> None:
        told.update(f"{point}\n".encode())
        on_point(world, point)

    with (folder / "life.log").open("w", encoding="utf-8") as log, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        crash_life.log_to(log)
        runner.run(_live(venue, folder, asked, heard))
    return told.hexdigest()[:12]


def campaign(venue: str, folder: Path, asked: argparse.Namespace, say: Callable[[str], None]) -> Tally:
    """Every point of one venue, or a share of them drawn from the seed."""
    tally = Tally(venue=venue)
    folder.mkdir(parents=True)
    chance = Random(f"{asked.seed}/{venue}")
    reaper = Reaper(tally, folder, asked, say)

    def reached(world: PointedWorld, point: Point) -> None:
        tally.points[point.kind] += 1
        tally.named[point.number] = point
        if point.same_as is None:
            tally.distinct[point.kind] += 1
        elif point.kind not in ALWAYS and not asked.all:
            return
        if chance.random() < asked.share:
            reaper.die(world, point)

    tally.digest = play(venue, folder, asked, reached)
    reaper.all()
    return tally


def replay(venue: str, folder: Path, asked: argparse.Namespace) -> int:
    """One point: the process that lives to it ends by SIGKILL, its survivor tells what is left."""
    folder.mkdir(parents=True)
    place = folder / str(asked.point)

    def reached(world: PointedWorld, point: Point) -> None:
        if point.number != asked.point:
            return
        print(f"{venue}: dies at point {point}", flush=True)
        _survivor(world, venue, folder, point, asked).fork(point)
        os.kill(os.getpid(), signal.SIGKILL)

    told, telling = os.pipe()  # open at its other end until the survivor has ended: it is no child of this process
    victim = os.fork()
    if not victim:
        os.close(told)
        play(venue, folder, asked, reached)
        os._exit(0)
    os.close(telling)
    _, status = os.waitpid(victim, 0)
    if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
        print(f"{venue}: the life ended before point {asked.point}")
        return 2
    os.read(told, 1)
    wrong = answer(place, 0)
    for what in wrong:
        print(f"{venue}: {what}")
    print(f"{venue}: {len(wrong)} things wrong; files and log are in {place}" if wrong else f"{venue}: all is well")
    return 1 if wrong else 0


def real(number: int, root: Path, venues: Sequence[str], asked: argparse.Namespace) -> int:
    """Deaths of real processes, over real sockets in real time; how many were followed by something wrong."""
    chance = Random(asked.seed)
    points = [f"{MOMENTS[i % len(MOMENTS)]}:{chance.randint(1, MOST_REAL)}" for i in range(number)]

    def die(index: int) -> list[str]:
        return kill.run(asked.seed + index, root / str(index), venues, crash_at=points[index])

    failed = 0
    with ThreadPoolExecutor(asked.jobs) as pool:
        for index, wrong in enumerate(pool.map(die, range(number))):
            failed += bool(wrong)
            print(f"{points[index]}: {'; '.join(wrong) or 'all is well'}", flush=True)
    print(f"{number} real deaths, {failed} with something wrong")
    return 1 if failed else 0


def _summary(tally: Tally, asked: argparse.Namespace) -> list[str]:
    head = (
        f"{tally.venue}: {tally.points.total()} points (sequence {tally.digest}), {tally.distinct.total()} distinct, "
    )
    lines = [f"{head}{tally.died.total()} deaths by {asked.death}, {len(tally.wrong)} with something wrong"]
    for kind in Kind:
        counts = tally.points[kind], tally.distinct[kind], tally.died[kind]
        lines.append(f"  {kind.value:<22} {counts[0]:>6} points {counts[1]:>5} distinct {counts[2]:>5} died")
    for number, wrong in sorted(tally.wrong.items()):
        again = f"python -m tests.campaigns.crash --venue {tally.venue} --point {number}{_as(asked)}"
        lines += [f"  point {tally.named[number]}: {'; '.join(wrong)}", f"    {again}"]
    return lines


def _as(asked: argparse.Namespace) -> str:
    """What is not the default of what decides about a life and its end, as it was given."""
    given = {"seed": (asked.seed, 1), "death": (asked.death, Death.KILL), "trailing": (asked.trailing, MANAGED)}
    told = "".join(f" --{name} {value}" for name, (value, default) in given.items() if value != default)
    return told + (" --twice" if asked.twice else "")


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _arguments(arguments)
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets would make every run another one
        os.execve(sys.executable, [sys.executable, "-m", "tests.campaigns.crash", *sys.argv[1:]],
                  os.environ | {"PYTHONHASHSEED": "0"})  # fmt: skip
    root = Path(tempfile.mkdtemp(prefix="breakwater-crash-"))
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
    venues = asked.venue or list(VENUES)
    if asked.real:
        status = real(asked.real, root, venues, asked)
    elif asked.point is not None:
        status = replay(venues[0], root / venues[0], asked)
    else:
        began = time.monotonic()
        tallies = [campaign(venue, root / venue, asked, say) for venue in venues]
        for tally in tallies:
            print("\n".join(_summary(tally, asked)))
        wrong = [] if asked.no_figures else crash_figures.told(venues, root, print)
        deaths = sum(tally.died.total() for tally in tallies)
        print(f"{deaths} deaths in {time.monotonic() - began:.0f} s")
        status = 1 if wrong or any(tally.wrong for tally in tallies) or not deaths else 0
    if status or asked.keep:
        print(f"files and logs are in {root}", file=sys.stderr)
    else:
        shutil.rmtree(root)
    return status


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaigns.crash",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--venue", action="append", choices=sorted(VENUES), help="may be repeated (all three)")
    add("--point", type=int, metavar="N", help="die at this one only, of the first venue")
    add("--seed", type=int, default=1, help="of prices, faults and chance (1)")
    add("--death", choices=[d.value for d in Death], default=Death.KILL.value, help="what is lost with it (kill)")
    add("--trailing", choices=(MANAGED, "native"), default=MANAGED, help=f"who trails in that life ({MANAGED})")
    add(
        "--real",
        type=int,
        metavar="N",
        help="instead: so many real processes that SIGKILL themselves at a counted moment",
    )
    add("--twice", action="store_true", help="the daemon that follows dies as well, somewhere in its start")
    add("--share", type=float, default=1.0, help="die at so many of the points, drawn from the seed (1)")
    add("--all", action="store_true", help="also at points that leave the same behind as an earlier one")
    add("--jobs", type=int, default=2, help="deaths at a time (2)")
    add("--no-figures", action="store_true", help="leave out the time to all-protected and what follows an outage")
    add("--verbose", action="store_true", help="with --point: show the survivor's log")
    add("--keep", action="store_true", help="leave files and logs also when all is well")
    asked = parser.parse_args(arguments)
    if asked.point is not None and not asked.venue:
        parser.error("--point needs --venue")
    return asked


if __name__ == "__main__":
    sys.exit(main())
