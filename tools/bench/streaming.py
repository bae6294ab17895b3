"""Many symbols streaming over all venues: what each takes (X2), and how late the loop is on a bad network (X4)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from tools.bench.at_rest import resident
from tools.bench.effort import Effort
from tools.bench.figure import Figure
from tools.bench.processes import simulators
from tools.bench.venues import VenueFacts

LATENCY_MS = 20.0
TICK_HZ = 2.0

Told = Mapping[str, Any]


async def streaming_figures(effort: Effort, wanted: frozenset[str], venues: Sequence[VenueFacts]) -> list[Figure]:
    """X2 and X4, as far as they are wanted. Raises BenchError."""
    figures: list[Figure] = []
    if "X2" in wanted:
        figures += await _x2(effort, venues)
    if "X4" in wanted:
        figures.append(await _x4(effort, venues))
    return figures


async def _x2(effort: Effort, venues: Sequence[VenueFacts]) -> list[Figure]:
    told = {count: await _watching(effort, venues, count) for count in effort.watched}
    few, many = min(told), max(told)
    cost = {count: 1e6 * row["cpu_seconds"] / row["wall_seconds"] / count for count, row in told.items()}
    each = ", ".join(
        f"{count}: {100 * row['cpu_seconds'] / row['wall_seconds']:.1f} % of one core, "
        f"{row['frames'] / row['wall_seconds']:.0f} frames/s, {row['resident_kib'] / 1024:.0f} MiB"
        for count, row in told.items()
    )
    note = f"every listed symbol held, {TICK_HZ:g} steps of its price a second; {each}"
    grown = (told[many]["resident_kib"] - told[few]["resident_kib"]) / (many - few)

    def figure(name: str, what: str, unit: str, value: float, aim: str = "–") -> Figure:
        return Figure(
            id=name,
            venue="mixed" if len(venues) > 1 else venues[0].name.value,
            what=what,
            unit=unit,
            samples=(value,),
            aim=aim,
            others="–",
            note=note,
            failed="" if all(row["frames"] for row in told.values()) else "no frame came",
        )

    return [
        figure("X2", f"CPU a second for each of {many} symbols streaming", "µs", cost[many]),
        figure("X2m", f"memory for each symbol more, {few} to {many}", "KiB", grown),
        figure("X2g", f"CPU for each of {many} symbols / for each of {few}", "×", cost[many] / cost[few], "≤ 1.2"),
    ]


async def _watching(effort: Effort, venues: Sequence[VenueFacts], count: int) -> Told:
    """Of venues that list as many as are wanted there, and some that do not trade or are of another coin."""
    share = -(-count // len(venues))
    async with simulators(venues, latency_ms=LATENCY_MS, symbols=share + share // 4 + 8, tick_hz=TICK_HZ) as up:
        return await resident(
            "ours", up, "--watched", "--symbols", str(count), "--rest", f"{effort.rest_seconds:g}",
            "--seconds", f"{effort.watched_seconds:g}",
        )  # fmt: skip


async def _x4(effort: Effort, venues: Sequence[VenueFacts]) -> Figure:
    count = max(effort.watched)
    share = -(-count // len(venues))
    seconds = effort.watched_seconds * 2
    async with simulators(venues, latency_ms=LATENCY_MS, symbols=share + share // 4 + 8, tick_hz=TICK_HZ) as up:
        asked = ("--symbols", str(count), "--rest", f"{effort.rest_seconds:g}", "--seconds", f"{seconds:g}", "--lag")
        ours, bare = await asyncio.gather(
            resident("ours", up, "--watched", "--bad-network", *asked), resident("nothing", up, *asked)
        )
    return Figure(
        id="X4",
        venue="mixed" if len(venues) > 1 else venues[0].name.value,
        what=f"loop lag with {count} symbols while answers take 5 s and 30 % are lost, the longest",
        unit="ms",
        samples=(float(ours["max_ms"]),),
        aim="< 50",
        others="–",
        note=f"{seconds:g} s, p99.9 {ours['p999_ms']:.1f} ms; an empty loop beside it {bare['max_ms']:.1f} ms",
        failed="" if ours["frames"] else "no frame came",
    )
