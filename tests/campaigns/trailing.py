"""Trailing on a random walk for an hour of virtual time per venue, judged by the venue's own record.

The real daemon, the whole of it, runs against the simulator in one process on a clock that jumps. Every minute a wave
asks for every symbol, so that positions are opened, trail, are stopped out and are opened again. The walk is the
simulator's, made livelier, with a jump now and then. It must be true at the end: not a millisecond without a resting
stop once the first was there, no position turned round, no stop loosened, no more than one move of a stop in 30 s
unless it gains a percent, and no refusal of a request but where
the price was faster than the request. With `--faults` answers are lost or late, streams end and what
they tell comes late: the venue may then refuse what came too late, and says nothing of too many requests either way.
Exit status 1 when something that must hold does not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import structlog
from msgspec import Struct, field
from msgspec.structs import asdict

from tests.campaigns.trailing_judge import (
    Watch,
    flips,
    loosened,
    naked,
    never_protected,
    refusals,
    refused_as_too_often,
    refused_without_need,
    too_often,
)
from tests.campaigns.wave_plans import PATHS, STOPS
from tests.fakes.virtual_loop import VirtualLoop
from tests.scenarios.worlds import AFTER_CRASHES, Daemon, SimulatedWorld, a_signal
from tools.bench.venues import VENUES
from tools.venuesim.gate import FaultGate

COINS = ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "TRX", "DOT", "LINK")
FIRST_WAVE_SECONDS, BETWEEN_WAVES_SECONDS = 6, 60
JUMP_SECONDS = 40.0
JUMP_BASIS_POINTS = 160
LATENCY_MS = 60.0
SPEED = 10.0
LISTED = 12
SETTLE_SECONDS = 20.0
SETTINGS: Mapping[str, Any] = {
    "STOP_LOSS_PERCENT": "1.5",
    "TRAILING_ACTIVATION_PERCENT": "0.5",
    "TRAILING_CALLBACK_PERCENT": "0.4",
    "BREAKEVEN_ACTIVATION_PERCENT": "0.4",
    "MAX_DRAWDOWN_PERCENT": 0,
    "VENUE_ERRORS_LIMIT": 0,
    **AFTER_CRASHES,
}


class Weather(Struct, frozen=True, kw_only=True):
    """`faults` as the simulator takes them, "stops" in the place of a path spelt as each venue does; `cuts`: which
    streams end about once a minute."""

    faults: tuple[Mapping[str, Any], ...] = ()
    cuts: tuple[str, ...] = ()

    def at(self, venue: str) -> list[dict[str, Any]]:
        armed = []
        for fault in self.faults:
            own = {key: value for key, value in fault.items() if key != "about"}
            if "about" not in fault:
                armed.append(own)
            else:
                armed += [own | {"match": {"method": "POST", "path": path}} for path in PATHS[venue][STOPS]]
        return armed


FAULTS: Mapping[str, Weather] = {
    "none": Weather(),
    "lost_answers": Weather(faults=({"kind": "drop_response", "about": STOPS, "fraction": 0.3},)),
    "lost_requests": Weather(faults=({"kind": "drop_request", "about": STOPS, "fraction": 0.3},)),
    "slow": Weather(faults=({"kind": "latency", "about": STOPS, "delay_ms": 2_000, "fraction": 0.4},)),
    "late_events": Weather(faults=({"kind": "delay_event", "delay_ms": 1_500, "fraction": 0.5},)),
    "lost_events": Weather(faults=({"kind": "lose_event", "fraction": 0.3},)),
    "disconnects": Weather(cuts=("/private", "/public")),
}
"""`--faults` by name."""


class Result(Struct, kw_only=True):
    """What an hour came to. `closed_by`: what ended positions, the resting stop or an order of ours by its rule.
    `refused`: what the venue refused of ours. `struck`: how often a fault did. `worked_seconds`: of this machine."""

    venue: str
    faults: str
    seed: int
    minutes: float
    positions: int = 0
    moved: int = 0
    trailed: int = 0
    most_moves: int = 0
    closed_by: dict[str, int] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    first_stop_ms: float = 0.0
    struck: int = 0
    worked_seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.venue}, faults {self.faults}"

    def line(self) -> str:
        closed = ", ".join(f"{what} {times}" for what, times in sorted(self.closed_by.items()))
        faults = f" ({self.struck} times)" if self.struck else ""
        return (
            f"{self.name}{faults}: {self.minutes:g} min, {self.positions} positions, {self.trailed} of them trailed, "
            f"{self.moved} moves of a stop (at most {self.most_moves} of one), closed by {closed or 'nothing'}; "
            f"first stop after {self.first_stop_ms:.0f} ms at most; requests {self.requests}; "
            f"refused {self.refused or 'nothing'}; {self.worked_seconds:.0f} s of computing; "
            + (f"{len(self.wrong)} THINGS WRONG" if self.wrong else "all as it must be")
        )


async def run(
    venue: str,
    folder: Path,
    *,
    minutes: float,
    seed: int = 1,
    symbols: int = 5,
    faults: str = "none",
    speed: float = SPEED,
    say: Callable[[str], None] = lambda _: None,
) -> Result:
    """Play it on a loop whose time jumps. Raises AssertionError when the daemon does not come up."""
    result = Result(venue=venue, faults=faults, seed=seed, minutes=minutes)
    began = time.process_time()
    balance = Decimal(1_000_000)
    async with SimulatedWorld(
        folder, (venue,), latency_ms=LATENCY_MS, seed=seed, symbols=LISTED, speed=speed, balance=balance
    ) as world:
        await world.play(*_signals(venue, seed, symbols, minutes))
        simulation = world.venue.simulation
        watch = Watch(simulation.engine, simulation.time_ms)
        simulation.engine.connect(watch.before(simulation._on_events), FaultGate(simulation))
        async with world.running(**SETTINGS) as daemon:
            for fault in FAULTS[faults].at(venue):
                await world.tell("fault", **{"count": -1, "seed": seed, **fault})
            await _play(world, daemon, FAULTS[faults], random.Random(seed), minutes, result, say)
            result.struck = sum(row["hits"] for row in await world.ask("fault"))
            await world.forgive()
            await asyncio.sleep(SETTLE_SECONDS)
            await _judge(world, daemon, watch, result)
    result.worked_seconds = round(time.process_time() - began, 1)
    return result


async def _play(
    world: SimulatedWorld,
    daemon: Daemon,
    weather: Weather,
    chance: random.Random,
    minutes: float,
    result: Result,
    say: Callable[[str], None],
) -> None:
    began, told = world.clock.monotonic(), 0
    engine = world.venue.simulation.engine
    while (passed := world.clock.monotonic() - began) < minutes * 60:
        await asyncio.sleep(min(minutes * 60 - passed, chance.uniform(0.2, 1.8) * JUMP_SECONDS))
        held = sorted(await world.held())
        if held:
            symbol = chance.choice(held)
            factor = 1 + Decimal(chance.randint(-JUMP_BASIS_POINTS, JUMP_BASIS_POINTS)) / 10_000
            world.venue.catch_up()
            engine.set_price(symbol, engine.quote(symbol).last * factor)
            world.venue.arm()
        for stream in weather.cuts:
            if chance.random() < 0.6:
                await world.fault("disconnect_stream", match={"stream": stream})
        if passed // 300 > told:
            told = int(passed // 300)
            counts = _exits(daemon).counts
            say(f"{result.name}: {told * 5} min, {len(held)} open, {counts.stops_moved} moves of a stop")


async def _judge(world: SimulatedWorld, daemon: Daemon, watch: Watch, result: Result) -> None:
    requests = await world.ask("requests?since=0")
    protection = await world.ask("protection")
    orders = (await world.ask("state?all=1"))["orders"]
    entries = Counter(
        row["symbol"] for row in orders if not row["reduce_only"] and row["type"] == "market" and Decimal(row["filled"])
    )
    lives = watch.lives
    result.positions, result.moved = len(lives), sum(len(life.moves) for life in lives)
    result.trailed = sum(1 for life in lives if life.moves)
    result.most_moves = max((len(life.moves) for life in lives), default=0)
    closed = Counter("its stop" if life.by_stop else "our order" for life in lives if life.closed is not None)
    result.closed_by = dict(closed) | {f"({rule})": n for rule, n in _exits(daemon).counts.closes.items()}
    result.requests = dict(Counter(r["lane"] for r in requests if r["lane"] in ("order", "stop", "amend", "cancel")))
    result.refused = dict(refusals(requests))
    result.first_stop_ms = max((row["protected"] - row["opened"] for row in protection if row["protected"]), default=0)
    result.wrong += naked(protection)
    result.wrong += never_protected(protection, simulation_ms=world.venue.simulation.time_ms())
    result.wrong += watch.flips + flips(lives, entries)
    result.wrong += loosened(lives) + too_often(lives) + refused_as_too_often(requests)
    if result.faults == "none":
        result.wrong += refused_without_need(requests)
    with suppress(AssertionError):
        await world.everything_holds(several_rounds=True)
        return
    result.wrong.append("at the end not every position has its one stop, or there is another one")


def _exits(daemon: Daemon) -> Any:
    assert daemon.orchestrator.queries is not None
    return daemon.orchestrator.queries._exits


def _signals(venue: str, seed: int, symbols: int, minutes: float) -> list[dict[str, Any]]:
    """A wave a minute for every symbol, its sides by chance; what is open already is refused as a duplicate."""
    chance = random.Random(f"{seed}/signals")
    waves = []
    for at in range(FIRST_WAVE_SECONDS, round(minutes * 60), BETWEEN_WAVES_SECONDS):
        signals = [
            a_signal(
                f"{coin}USDT", id=f"{at}-{coin}", exchange=venue, direction=chance.choice(("LONG", "SHORT")), score=60
            )
            for coin in COINS[:symbols]
        ]
        waves.append({"at_ms": at * 1000, "signals": signals})
    return waves


def play(asked: argparse.Namespace, folder: Path, say: Callable[[str], None]) -> list[Result]:
    """Every venue under every weather, one after another."""
    results = []
    for venue in asked.venues:
        for faults in asked.faults or ["none"]:
            place = folder / f"{venue}-{faults}"
            place.mkdir(parents=True)
            with (
                (place / "daemon.log").open("w", encoding="utf-8") as log,
                asyncio.Runner(loop_factory=VirtualLoop) as runner,
            ):
                structlog.configure(
                    processors=[structlog.processors.KeyValueRenderer(key_order=["event"])],
                    logger_factory=structlog.WriteLoggerFactory(file=log),
                )
                result = runner.run(
                    run(
                        venue,
                        place,
                        minutes=asked.minutes,
                        seed=asked.seed,
                        symbols=asked.symbols,
                        faults=faults,
                        speed=asked.speed,
                        say=say,
                    )
                )
            say(result.line())
            results.append(result)
    return results


def main() -> int:
    """See the module's text."""
    asked = _arguments()
    root = Path(tempfile.mkdtemp(prefix="breakwater-trailing-"))
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
    results = play(asked, root, say)
    if asked.json:
        print(json.dumps([asdict(result) for result in results], indent=1))
    failed = [result for result in results if result.wrong]
    for result in failed:
        for what in result.wrong:
            print(f"{result.name}: {what}", file=sys.stderr)
    if failed or asked.keep:
        print(f"logs and journals are in {root}", file=sys.stderr)
    else:
        shutil.rmtree(root)
    return 1 if failed else 0


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in VENUES]:
        raise argparse.ArgumentTypeError(f"no such venue: {', '.join(unknown)}")
    return names


def _arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaigns.trailing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--venues", type=_names, default=list(VENUES), metavar="NAMES", help="comma list (binance,bybit,okx)")
    add("--minutes", type=float, default=60.0, help="of virtual time at each venue (60)")
    add("--seed", type=int, default=1, help="of the walk, the signals and the faults (1)")
    add("--symbols", type=int, default=5, choices=range(1, len(COINS) + 1), metavar="N", help="traded (5)")
    add("--faults", action="append", choices=sorted(FAULTS), help="may be repeated (none)")
    add("--speed", type=float, default=SPEED, help=f"how lively the walk is ({SPEED:g})")
    add("--keep", action="store_true", help="leave logs and journals also when all is well")
    add("--json", action="store_true", help="figures for programs on stdout")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
