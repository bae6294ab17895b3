"""A thousand orders at once (W6): what the venue refuses, and how much of its rate is used.

They are entries, their stops and their closes, because Binance holds 200 conditional orders of an account and not one
more: a position is closed as soon as it has its stop.

The venue counts orders in calendar windows of ten seconds. Every window from the first order to the last but one could
have been filled to its limit, so their share is the share of the allowed rate; the last one only takes the rest.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.assembly import Engine
from core.domain.ids import Leg
from core.domain.position import PositionKey
from core.domain.wave import Candidate
from tools.bench.ccxt_waves import ccxt_as_it_comes, trade
from tools.bench.effort import Effort
from tools.bench.entries import decided, listed, protected
from tools.bench.figure import Figure
from tools.bench.inner_daemon import inner_daemon, warm
from tools.bench.processes import simulator

WINDOW_MS = 10_000
ALLOWED = 300
"""Orders per window, Binance's own figure, which the simulator holds to."""
ORDERS_IN_A_LIFE = 3
LATENCY_MS = 20.0
"""The budget is what is measured, not the wire."""
COMPARED_SECONDS = 22.0
"""Any such stretch holds a whole window."""
_ORDERS = ("order", "stop")


async def burst_figures(effort: Effort, wanted: frozenset[str]) -> list[Figure]:
    """W6."""
    del wanted
    entries = effort.burst_orders // ORDERS_IN_A_LIFE
    async with simulator(latency_ms=LATENCY_MS, symbols=venue_symbols(entries)) as venue:
        with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as folder:
            async with inner_daemon(Path(folder), venue) as engine:
                await warm(engine)
                candidates = await decided(engine, listed(engine, entries))
                await next_window(effort)
                started = time.monotonic()
                await engine.desk.send(candidates)
                await asyncio.gather(*(_lived(engine, candidate) for candidate in candidates))
                lasted = time.monotonic() - started
        rows = await venue.ask("requests?since=0")
        lives = await venue.ask("protection")
    refused = [row for row in rows if row["status"] is not None and row["status"] >= 400]
    sent = [row for row in rows if row["lane"] in _ORDERS and row["status"] == 200]
    naked = max((float(life["max_unprotected_ms"]) for life in lives), default=0.0)
    ccxt = await _ccxt_share(effort)
    return [
        Figure(
            id="W6",
            what=f"{ORDERS_IN_A_LIFE * entries:,} orders at once (entries, stops, closes): share of the allowed rate",
            unit="%",
            samples=tuple(_shares(sent)),
            aim="≥ 95, 0 refused",
            others="25",
            note=f"the venue refused {len(refused)} requests; all acknowledged after {lasted:.1f} s, longest without a "
            f"stop {naked:.0f} ms; ccxt as it comes uses {ccxt:.0f} % (* measured now)",
            failed=_failure(entries, sent, refused),
        )
    ]


async def _lived(engine: Engine, candidate: Candidate) -> None:
    """Until it has its stop, then until it is closed."""
    await protected(engine, [candidate])
    position = PositionKey(candidate.signal.instrument, candidate.signal.side)
    await engine.closer.flatten(position, "bench", leg=Leg.CLOSE)


def _failure(entries: int, sent: Sequence[Mapping[str, Any]], refused: Sequence[Mapping[str, Any]]) -> str:
    if refused:
        kinds = Counter(f"{row['method']} {row['path']} {row['status']} {row['code']}" for row in refused)
        return "the venue refused " + ", ".join(f"{count} × {kind}" for kind, count in kinds.items())
    return (
        ""
        if len(sent) == ORDERS_IN_A_LIFE * entries
        else f"{len(sent)} of {ORDERS_IN_A_LIFE * entries} orders were acknowledged"
    )


def _shares(sent: Sequence[Mapping[str, Any]]) -> list[float]:
    """Percent of each window that could have been full; of the only one, when one was enough."""
    windows = Counter(int(row["received"]) // WINDOW_MS for row in sent)
    full = sorted(windows)[:-1] or sorted(windows)
    return [100 * windows[window] / ALLOWED for window in full]


async def next_window(effort: Effort) -> None:
    """Into a window of the venue's order count that has all its room."""
    if not effort.whole_windows:
        return
    await asyncio.sleep((WINDOW_MS - time.time() * 1000 % WINDOW_MS) / 1000 + 0.1)


async def _ccxt_share(effort: Effort) -> float:
    """Its best whole window, percent."""
    async with (
        simulator(latency_ms=LATENCY_MS, symbols=venue_symbols(effort.burst_orders // 3)) as venue,
        ccxt_as_it_comes(venue) as (client, symbols, price),
    ):
        seconds = min(COMPARED_SECONDS, effort.burst_orders * 0.022)
        orders = [asyncio.ensure_future(trade(client, s, price[s])) for s in symbols[: effort.burst_orders // 3]]
        await asyncio.sleep(seconds)
        for order in orders:
            order.cancel()
        await asyncio.gather(*orders, return_exceptions=True)
        return _best_window(await venue.ask("requests?since=0"))


def _best_window(rows: Sequence[Mapping[str, Any]]) -> float:
    windows = Counter(int(row["received"]) // WINDOW_MS for row in rows if row["lane"] in _ORDERS)
    return 100 * max(windows.values(), default=0) / ALLOWED


def venue_symbols(wanted: int) -> int:
    """How many instruments a venue must have that `wanted` of them are USDT swaps that trade."""
    return max(40, wanted + wanted // 4)
