"""What the daemon does while nothing happens: CPU with its streams up (F3), and how late its loop is while the markets
of all its venues are loaded anew (F4). Each program is a process of its own; ccxt.pro has the same streams."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tools.bench.effort import Effort
from tools.bench.figure import Figure
from tools.bench.processes import PROJECT_ROOT, BenchError, Simulator, simulators
from tools.bench.venues import VenueFacts

LATENCY_MS = 20.0
SYMBOLS, MARKETS, TICK_HZ = 25, 40, 2.0
"""Over all venues 25 touches twice a second; besides whatever each tells of its 40 markets: at Binance alone some 60
frames a second."""
RELOADS = 3
COMPARED_SECONDS = 60.0
_SPARE_SECONDS = 120.0

Told = Mapping[str, Any]


async def rest_figures(effort: Effort, wanted: frozenset[str], venues: Sequence[VenueFacts]) -> list[Figure]:
    """F3 and F4, as far as they are wanted."""
    figures = []
    if "F3" in wanted:
        figures.append(await _f3(effort, venues))
    if "F4" in wanted:
        figures += await _f4(effort, venues)
    return figures


async def _f3(effort: Effort, venues: Sequence[VenueFacts]) -> Figure:
    async with simulators(venues, latency_ms=LATENCY_MS, symbols=MARKETS, tick_hz=TICK_HZ) as up:
        asked = (
            "--symbols",
            str(SYMBOLS),
            "--rest",
            f"{effort.rest_seconds:g}",
            "--seconds",
            f"{effort.idle_seconds:g}",
        )
        ours = await resident("ours", up, *asked)
        theirs = await resident("ccxt", up, *asked) if effort.compared else None
    return Figure(
        id="F3",
        venue=_where(venues),
        what=f"idle CPU, {ours['sockets']} sockets, {_rate(ours):.0f} frames/s in all",
        unit="%",
        samples=(_percent(ours),),
        aim="≤ 1",
        others="ccxt.pro 1.2–1.5",
        beside=None if theirs is None else _percent(theirs),
        beside_name="" if theirs is None else f"ccxt.pro at {_rate(theirs):.0f} frames/s",
        beside_measured=True,
        note=f"of one core over {ours['wall_seconds']:.0f} s, the whole daemon: journal, reconciliation and the "
        f"filters' background reading of {MARKETS} markets a venue included",
        failed=_silent({"ours": ours, "ccxt": theirs}),
    )


async def _f4(effort: Effort, venues: Sequence[VenueFacts]) -> list[Figure]:
    markets = max(effort.markets, MARKETS)
    compared = min(effort.lag_seconds, COMPARED_SECONDS)
    async with simulators(venues, latency_ms=LATENCY_MS, symbols=markets, tick_hz=TICK_HZ) as up:
        asked = ("--symbols", str(SYMBOLS), "--rest", f"{effort.rest_seconds:g}", "--lag", "--reloads", str(RELOADS))
        ours, bare = await asyncio.gather(
            resident("ours", up, *asked, "--seconds", f"{effort.lag_seconds:g}"),
            resident("nothing", up, *asked, "--seconds", f"{effort.lag_seconds:g}"),
        )
        theirs = await resident("ccxt", up, *asked, "--seconds", f"{compared:g}") if effort.compared else None
    note = (
        f"{effort.lag_seconds:g} s, {len(venues) * markets:,} markets, {_rate(ours):.0f} frames/s, {RELOADS} reloads "
        f"of the markets of {max(ours['reload_seconds']):.2f} s at most; an empty loop beside it: p99.9 "
        f"{bare['p999_ms']:.1f} ms, max {bare['max_ms']:.1f} ms, which is this machine's own; ccxt.pro for "
        f"{compared:g} s"
    )
    failed = _silent({"ours": ours, "ccxt": theirs})

    def figure(name: str, what: str, key: str, aim: str, others: str) -> Figure:
        return Figure(
            id=name,
            venue=_where(venues),
            what=what,
            unit="ms",
            samples=(float(ours[key]),),
            aim=aim,
            others=others,
            beside=None if theirs is None else float(theirs[key]),
            beside_name="ccxt.pro",
            beside_measured=True,
            note=note,
            failed=failed,
        )

    minutes = effort.lag_seconds / 60
    return [
        figure("F4", f"loop lag over {minutes:.3g} min with market reloads, p99.9", "p999_ms", "≤ 5", "–"),
        figure("F4m", "the same, the longest", "max_ms", "≤ 20", "ccxt 52 + 39 (GC)"),
    ]


async def resident(kind: str, up: Sequence[Simulator], *arguments: str) -> Told:
    """What the program of that kind told. Raises BenchError."""
    at = [f"--at={venue.facts.name.value}={venue.url}" for venue in up]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tools.bench.resident", kind, *at, *arguments,
        cwd=PROJECT_ROOT, stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    seconds = float(arguments[arguments.index("--seconds") + 1])
    try:
        async with asyncio.timeout(seconds + _SPARE_SECONDS):
            told, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
        raise BenchError(f"{kind} did not end within {seconds + _SPARE_SECONDS:g} s") from None
    if process.returncode:
        raise BenchError(f"{kind} at rest ended with {process.returncode}")
    answer: Told = json.loads(told)
    return answer


def _where(venues: Sequence[VenueFacts]) -> str:
    return "mixed" if len(venues) > 1 else venues[0].name.value


def _percent(told: Told) -> float:
    return 100 * float(told["cpu_seconds"]) / float(told["wall_seconds"])


def _rate(told: Told) -> float:
    return float(told["frames"]) / float(told["wall_seconds"])


def _silent(programs: Mapping[str, Told | None]) -> str:
    quiet = [name for name, told in programs.items() if told is not None and not told["frames"]]
    return f"no frame came to {', '.join(quiet)}" if quiet else ""
