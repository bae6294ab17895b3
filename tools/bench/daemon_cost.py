"""What the daemon itself takes: memory with its streams up (F1), CPU and time from process start to ready (F2)."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.bench.effort import Effort
from tools.bench.figure import Figure
from tools.bench.processes import daemon, simulators
from tools.bench.venues import VenueFacts

STEADY_SECONDS = 3.0
"""Streams deliver for this long before memory is read."""


async def daemon_figures(effort: Effort, wanted: frozenset[str], venues: Sequence[VenueFacts]) -> list[Figure]:
    """F1 and F2, as far as they are wanted; each start is one sample of both."""
    resident: list[float] = []
    highest: list[float] = []
    cpu: list[float] = []
    wall: list[float] = []
    async with simulators(venues, latency_ms=0, symbols=effort.markets) as up:
        for _ in range(effort.starts):
            with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as folder:
                async with daemon(Path(folder), up) as process:
                    cpu.append(process.ready_cpu_seconds)
                    wall.append(process.ready_wall_seconds)
                    if "F1" in wanted:
                        await asyncio.sleep(STEADY_SECONDS)
                        resident.append(process.memory_mib())
                        highest.append(process.memory_mib("VmHWM"))
    where = "mixed" if len(venues) > 1 else venues[0].name.value
    figures = {
        "F1": Figure(
            id="F1",
            venue=where,
            what=f"resident memory of the daemon, {len(venues) * effort.markets:,} markets, streams up",
            unit="MiB",
            samples=tuple(resident),
            aim="≤ 110 (three venues, ~1,500 markets)",
            others="freqtrade 323 (one venue), Nautilus 304",
            beside=304.0,
            beside_name="Nautilus",
            note=f"at its highest {max(highest, default=0):.0f} MiB",
        ),
        "F2": Figure(
            id="F2",
            venue=where,
            what="process start → ready",
            unit="CPU s",
            samples=tuple(cpu),
            aim="≤ 1.0",
            others="freqtrade 2.35",
            beside=2.35,
            beside_name="freqtrade",
            note=f"{statistics.median(wall):.2f} s of wall time, waiting for the first prices included",
        ),
    }
    return [figures[name] for name in ("F1", "F2") if name in wanted]
