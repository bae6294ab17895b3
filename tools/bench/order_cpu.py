"""What an acknowledged order costs in CPU, all threads, with journal, state and log (O1), against ccxt alone."""

from __future__ import annotations

import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from tools.bench.ccxt_waves import ccxt_as_it_comes
from tools.bench.effort import Effort
from tools.bench.entries import decided, listed, protected
from tools.bench.figure import Figure
from tools.bench.inner_daemon import inner_daemon, warm
from tools.bench.order_burst import next_window, venue_symbols
from tools.bench.processes import simulator
from tools.bench.venues import VenueFacts

LATENCY_MS = 20.0


class _Stretch(Struct, frozen=True):
    """CPU and wall seconds of this process."""

    cpu: float
    wall: float

    @classmethod
    def now(cls) -> _Stretch:
        return cls(time.process_time(), time.monotonic())

    def since(self, start: _Stretch) -> _Stretch:
        return _Stretch(self.cpu - start.cpu, self.wall - start.wall)


async def cpu_figures(effort: Effort, wanted: frozenset[str], venues: Sequence[VenueFacts]) -> list[Figure]:
    """O1, at the first of the venues."""
    del wanted
    facts = venues[0]
    ours, idle = await _ours(effort, facts)
    theirs = await _theirs(effort, facts)
    bare = statistics.median(theirs)
    return [
        Figure(
            id="O1",
            venue=facts.name.value,
            what="CPU per acknowledged order incl. journal and state / bare ccxt's",
            unit="×",
            samples=tuple(cost / bare for cost in ours),
            aim="≤ 1.3",
            others="ccxt 1.0",
            beside=1.0,
            beside_name="ccxt without its limiter",
            beside_measured=True,
            note=f"{statistics.median(ours):.0f} µs an order against {bare:.0f} µs; entries and stops, "
            f"{effort.cpu_orders} at once; ours with decision, journal, audit, both answers and stream frames, less "
            f"what the daemon takes at rest ({idle * 100:.1f} % of a core)",
        )
    ]


def _orders(facts: VenueFacts) -> int:
    """Requests of one trade: where the stop travels with its entry there is one."""
    return 1 if facts.attaches else 2


async def _ours(effort: Effort, facts: VenueFacts) -> tuple[list[float], float]:
    """Microseconds an order, round by round; CPU seconds per second at rest."""
    entries = effort.cpu_orders // 2
    costs = []
    async with simulator(facts, latency_ms=LATENCY_MS, symbols=venue_symbols(entries * effort.cpu_rounds)) as venue:
        with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as folder:
            async with inner_daemon(Path(folder), [venue]) as engine:
                await warm(engine)
                instruments = listed(engine, facts.name, entries * effort.cpu_rounds)
                start = _Stretch.now()
                await asyncio.sleep(effort.rest_seconds)
                rest = _Stretch.now().since(start)
                idle = rest.cpu / rest.wall
                for number in range(effort.cpu_rounds):
                    await next_window(effort, facts)
                    start = _Stretch.now()
                    candidates = await decided(engine, instruments[number * entries : (number + 1) * entries])
                    await engine.desk.send(candidates)
                    await protected(engine, candidates)
                    await engine.journal.append(())  # what was posted before it is written
                    used = _Stretch.now().since(start)
                    costs.append((used.cpu - idle * used.wall) * 1e6 / (entries * _orders(facts)))
    return costs, idle


async def _theirs(effort: Effort, facts: VenueFacts) -> list[float]:
    """The same orders through ccxt, its limiter off: nothing but building, signing, sending and parsing."""
    entries = effort.cpu_orders // 2
    costs = []
    async with (
        simulator(facts, latency_ms=LATENCY_MS, symbols=venue_symbols(entries * effort.cpu_rounds)) as venue,
        ccxt_as_it_comes(venue, {"enableRateLimit": False}) as theirs,
    ):
        gc.collect()
        gc.freeze()  # as ours was measured
        try:
            for number in range(effort.cpu_rounds):
                await next_window(effort, facts)
                chosen = theirs.symbols[number * entries : (number + 1) * entries]
                start = _Stretch.now()
                await asyncio.gather(*(theirs.trade(symbol) for symbol in chosen))
                costs.append(_Stretch.now().since(start).cpu * 1e6 / (entries * _orders(facts)))
        finally:
            gc.unfreeze()
    return costs
