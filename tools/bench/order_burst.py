"""A thousand orders at once (W6): what the venue refuses, and how much of its rate is used.

They are entries, their closes, and the stops where these are orders of their own: a position is closed as soon as it
has its stop, because Binance holds 200 conditional orders of an account and not one more; an entry beyond as many waits
for one that is closed.

Binance counts orders in calendar windows of ten seconds, Bybit in any second per endpoint, OKX in any two seconds.
Every window from the first order to the last but one could have been filled to its limit, so their share is the share
of the allowed rate; the last one only takes the rest.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.assembly import Engine
from core.domain.ids import InstrumentId, Leg
from core.domain.position import PositionKey
from core.domain.wave import Candidate
from tools.bench.ccxt_waves import ccxt_as_it_comes
from tools.bench.effort import Effort
from tools.bench.entries import decided, listed, protected
from tools.bench.figure import Figure
from tools.bench.inner_daemon import inner_daemon, warm
from tools.bench.processes import simulator
from tools.bench.venues import Rate, VenueFacts, accepted, orders_in, own_orders, refused

LATENCY_MS = 20.0
"""The budget is what is measured, not the wire."""
COMPARED_WINDOWS = 2.2
"""Any such stretch holds a whole window."""
LEAST_COMPARED_SECONDS = 5.0
_ORDERS = ("order", "stop")

Rows = Sequence[Mapping[str, Any]]


async def burst_figures(effort: Effort, wanted: frozenset[str], venues: Sequence[VenueFacts]) -> list[Figure]:
    """W6 at each venue."""
    del wanted
    return [await _burst(effort, facts) for facts in venues]


async def _burst(effort: Effort, facts: VenueFacts) -> Figure:
    entries = effort.burst_orders // facts.orders_in_a_life
    async with simulator(facts, latency_ms=LATENCY_MS, symbols=venue_symbols(entries)) as venue:
        with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as folder:
            async with inner_daemon(Path(folder), [venue]) as engine:
                await warm(engine)
                wanted = listed(engine, facts.name, entries)
                room = min(engine.clients[facts.name].traits.most_stops or entries, entries)
                first = await decided(engine, wanted[:room])
                await next_window(effort, facts)
                started = time.monotonic()
                await engine.desk.send(first)
                later = iter(wanted[room:])
                await asyncio.gather(*(_lives(engine, candidate, later) for candidate in first))
                lasted = time.monotonic() - started
        rows = await venue.ask("requests?since=0")
        lives = await venue.ask("protection")
        known = own_orders(await venue.ask("state?all=1"))
    objections = [row for row in rows if refused(row)]
    sent = _sent(facts, rows)
    naked = max((float(life["max_unprotected_ms"]) for life in lives), default=0.0)
    ccxt = f"{await _ccxt_share(effort, facts):.0f} %" if effort.compared else "–"
    kinds = "entries and closes" if facts.attaches else "entries, stops, closes"
    return Figure(
        id="W6",
        venue=facts.name.value,
        what=f"{facts.orders_in_a_life * entries:,} orders at once ({kinds}): share of the allowed rate",
        unit="%",
        samples=tuple(_shares(facts.rate, sent, known)),
        aim="≥ 95, 0 refused",
        others="25",
        note=f"{facts.rate.orders} orders in {facts.rate.window_ms / 1000:g} s are allowed"
        + ("" if facts.rate.calendar else " (any such stretch, per endpoint; the busiest one is told)")
        + f"; the venue refused {len(objections)} requests; all acknowledged after {lasted:.1f} s, longest without a "
        f"stop {naked:.0f} ms; ccxt as it comes uses {ccxt} (* measured now)",
        failed=_failure(facts, entries, sent, objections, known),
    )


def _sent(facts: VenueFacts, rows: Rows) -> list[Mapping[str, Any]]:
    """What counts on the rate: orders, and stops where they are orders."""
    lanes = ("order",) if facts.attaches else _ORDERS
    return [row for row in rows if row["lane"] in lanes and accepted(row)]


async def _lives(engine: Engine, candidate: Candidate, later: Iterator[InstrumentId]) -> None:
    """One life, and then those that found no room before, one after the other."""
    await _lived(engine, candidate)
    for instrument in later:
        following = await decided(engine, [instrument])
        await engine.desk.send(following)
        await _lived(engine, following[0])


async def _lived(engine: Engine, candidate: Candidate) -> None:
    """Until it has its stop, then until it is closed."""
    await protected(engine, [candidate])
    position = PositionKey(candidate.signal.instrument, candidate.signal.side)
    await engine.closer.flatten(position, "bench", leg=Leg.CLOSE)


def _failure(facts: VenueFacts, entries: int, sent: Rows, objections: Rows, known: Collection[str]) -> str:
    if objections:
        kinds = Counter(f"{row['method']} {row['path']} {row['status']} {row['code']}" for row in objections)
        return "the venue refused " + ", ".join(f"{count} × {kind}" for kind, count in kinds.items())
    count, wanted = sum(orders_in(row, known) for row in sent), facts.orders_in_a_life * entries
    return "" if count == wanted else f"{count} of {wanted} orders were acknowledged"


def _shares(rate: Rate, sent: Rows, known: Collection[str]) -> list[float]:
    """Percent of each window that could have been full; of the only one, when one was enough. The busiest endpoint
    where each has a rate of its own."""
    windows = _windows(rate, sent, known)
    full = sorted(windows)[:-1] or sorted(windows)
    return [100 * windows[window] / rate.orders for window in full]


def _windows(rate: Rate, sent: Rows, known: Collection[str]) -> Counter[int]:
    """Orders in each stretch of the window's length: of the venue's clock, or counted from the first order."""
    if rate.calendar:
        return Counter(int(row["received"]) // rate.window_ms for row in sent)
    counted: dict[str, Counter[int]] = {}
    for path in {row["path"] for row in sent}:
        rows = [row for row in sent if row["path"] == path]
        first = min(float(row["received"]) for row in rows)
        counted[path] = Counter()
        for row in rows:
            counted[path][math.floor((float(row["received"]) - first) / rate.window_ms)] += orders_in(row, known)
    return max(counted.values(), key=Counter.total, default=Counter())


async def next_window(effort: Effort, facts: VenueFacts) -> None:
    """Into a window of the venue's order count that has all its room."""
    if not effort.whole_windows:
        return
    window = facts.rate.window_ms
    rest = window - time.time() * 1000 % window if facts.rate.calendar else window
    await asyncio.sleep(rest / 1000 + 0.1)


async def _ccxt_share(effort: Effort, facts: VenueFacts) -> float:
    """Its best whole window, percent."""
    entries = effort.burst_orders // facts.orders_in_a_life
    async with (
        simulator(facts, latency_ms=LATENCY_MS, symbols=venue_symbols(entries)) as venue,
        ccxt_as_it_comes(venue) as theirs,
    ):
        stretch = max(COMPARED_WINDOWS * facts.rate.window_ms / 1000, LEAST_COMPARED_SECONDS)
        orders = [asyncio.ensure_future(theirs.trade(symbol)) for symbol in theirs.symbols[:entries]]
        await asyncio.sleep(min(stretch, effort.burst_orders * 0.022))
        for order in orders:
            order.cancel()
        await asyncio.gather(*orders, return_exceptions=True)
        sent = _sent(facts, await venue.ask("requests?since=0"))
        known = own_orders(await venue.ask("state?all=1"))
        return 100 * max(_windows(facts.rate, sent, known).values(), default=0) / facts.rate.orders


def venue_symbols(wanted: int) -> int:
    """How many instruments a venue must have that `wanted` of them are USDT swaps that trade."""
    return max(40, wanted + wanted // 2)
