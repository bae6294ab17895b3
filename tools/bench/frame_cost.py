"""What one private stream frame costs: ours bare and written down (E1), with a long history (E3), and ccxt.pro's."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from typing import Any

from tools.bench.ccxt_waves import point
from tools.bench.effort import Effort
from tools.bench.figure import Figure
from tools.bench.frames import Life, lives
from tools.bench.processes import simulator
from tools.bench.replay import Cost, bare, journaled

MANY_CLOSED, FEW_CLOSED = 5_000, 50
ORDERS_IN_A_LIFE = 3
_EARLIER = 1_000_000
"""Number of the first life of a history, so that its orders are not those measured."""


async def frame_figures(effort: Effort, wanted: frozenset[str]) -> list[Figure]:
    """E1 and E3, as far as they are wanted."""
    async with simulator(latency_ms=0, symbols=40) as venue:
        symbols = await venue.symbols()
        measured = lives(symbols, effort.frame_lives)
        await bare(symbols, (), measured)  # the first run pays for warming up
        figures = []
        if "E1" in wanted:
            client = ccxt_client()
            point(client, venue)
            try:
                await client.load_markets()
                theirs = [_ccxt_cost(client, measured) for _ in range(effort.frame_rounds)]
            finally:
                await client.close()
            figures += await _e1(effort, symbols, measured, statistics.median(theirs))
        if "E3" in wanted:
            figures.append(await _e3(effort, symbols, measured))
    return figures


async def _e1(effort: Effort, symbols: Sequence[str], measured: Sequence[Life], ccxt: float) -> list[Figure]:
    without = [await bare(symbols, (), measured) for _ in range(effort.frame_rounds)]
    with_books = [await journaled(symbols, (), measured) for _ in range(effort.frame_rounds)]
    frames = sum(len(life.frames) for life in measured)
    return [
        Figure(
            id="E1",
            what="frame bytes → order and position state, bare",
            unit="µs",
            samples=tuple(cost.applied for cost in without),
            aim="≤ 25",
            others="ccxt.pro ~100, Nautilus 60, hummingbot 106–3000",
            beside=ccxt,
            beside_name="ccxt.pro's handling, parsing included",
            beside_measured=True,
            note=f"{frames:,} frames of {len(measured):,} positions; without the parts that listen to the events",
        ),
        Figure(
            id="E1j",
            what="the same with journal, audit and log, until the last record is in its file",
            unit="µs",
            samples=tuple(cost.written for cost in with_books),
            aim="≤ 60",
            others="ccxt.pro ~100 (it writes nothing)",
            beside=ccxt,
            beside_name="ccxt.pro's handling, which writes nothing",
            beside_measured=True,
            note=_parts(with_books),
        ),
    ]


def _parts(costs: Sequence[Cost]) -> str:
    applied = statistics.median(cost.applied for cost in costs)
    cpu = statistics.median(cost.cpu for cost in costs)
    return f"frames as fast as they go; the loop itself is busy {applied:.1f} µs a frame, all threads {cpu:.1f} µs CPU"


async def _e3(effort: Effort, symbols: Sequence[str], measured: Sequence[Life]) -> Figure:
    few = lives(symbols, FEW_CLOSED // ORDERS_IN_A_LIFE + 1, _EARLIER)
    many = lives(symbols, MANY_CLOSED // ORDERS_IN_A_LIFE + 1, _EARLIER)
    ratios = []
    for _ in range(effort.frame_rounds):
        short = (await bare(symbols, few, measured)).applied
        ratios.append((await bare(symbols, many, measured)).applied / short)
    return Figure(
        id="E3",
        what=f"E1 with {MANY_CLOSED:,} closed orders / with {FEW_CLOSED}",
        unit="×",
        samples=tuple(ratios),
        aim="≤ 1.2",
        others="hummingbot 28×",
        beside=28.0,
        beside_name="hummingbot",
        note="bare",
    )


def _ccxt_cost(client: Any, measured: Sequence[Life]) -> float:
    """Microseconds a frame for ccxt.pro to read the text and bring its orders, trades, balances and positions up to
    date, as its own message handler does."""
    texts = [frame.decode("ascii") for life in measured for frame in life.frames]
    socket = client.client("ws://127.0.0.1/bench")
    client.set_balance_cache(socket, "linear")  # what watching balances, positions and orders would have set up
    socket.subscriptions["linear"] = True
    begin = time.perf_counter()
    for text in texts:
        client.handle_message(socket, json.loads(text))
    return (time.perf_counter() - begin) * 1e6 / len(texts)


def ccxt_client() -> Any:
    import ccxt.pro  # imports every exchange; only where it is compared

    return ccxt.pro.binanceusdm({"apiKey": "sim", "secret": "sim"})
