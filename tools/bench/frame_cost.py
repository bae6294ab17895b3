"""What one private stream frame costs: ours bare and written down (E1), with a long history (E3), and ccxt.pro's."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from core.domain.ids import VenueName
from tools.bench.ccxt_waves import made
from tools.bench.effort import Effort
from tools.bench.figure import Figure
from tools.bench.frames import Life, lives, symbol_table
from tools.bench.processes import Simulator, simulator
from tools.bench.readers import Reader, binance, bybit, okx
from tools.bench.recorded import recorded
from tools.bench.replay import Cost, bare, journaled
from tools.bench.venues import VenueFacts

MANY_CLOSED, FEW_CLOSED = 5_000, 50
ORDERS_IN_A_LIFE = 3
_EARLIER = 1_000_000
"""Number of the first life of a history, so that its orders are not those measured."""


class _Material(Struct, frozen=True, kw_only=True):
    """What is replayed of one venue: so many lives from a number on, and a fresh decoder of their frames."""

    venue: str
    lives: Callable[[int, int], list[Life]]
    reader: Callable[[], Reader]


async def frame_figures(effort: Effort, wanted: frozenset[str], venues: Sequence[VenueFacts]) -> list[Figure]:
    """E1 and E3 of each venue's frames, as far as they are wanted."""
    return [figure for facts in venues for figure in await _at(effort, wanted, facts)]


async def _at(effort: Effort, wanted: frozenset[str], facts: VenueFacts) -> list[Figure]:
    async with simulator(facts, latency_ms=0, symbols=40) as venue:
        material = await _material(venue)
        measured = material.lives(effort.frame_lives, 0)
        await bare(material.reader, (), measured)  # the first run pays for warming up
        figures = []
        if "E1" in wanted:
            figures += await _e1(effort, material, measured, await _theirs(effort, venue, measured))
        if "E3" in wanted:
            figures.append(await _e3(effort, material, measured))
    return figures


async def _theirs(effort: Effort, venue: Simulator, measured: Sequence[Life]) -> float | None:
    if not effort.compared:
        return None
    client = made(ccxt_pro(), venue)
    try:
        await client.load_markets()
        return statistics.median(_ccxt_cost(client, venue.facts, measured) for _ in range(effort.frame_rounds))
    finally:
        await client.close()


async def _material(venue: Simulator) -> _Material:
    symbols = await venue.symbols()
    name = venue.facts.name
    if name is VenueName.BINANCE:
        return _Material(
            venue=name,
            lives=lambda count, first: lives(symbols, count, first),
            reader=lambda: binance(symbol_table(symbols)),
        )
    tape = await recorded(venue.facts)
    coins = [symbol.removesuffix("-SWAP").removesuffix("USDT").rstrip("-") for symbol in symbols]
    instruments = tape.instruments(coins)
    readers = {
        VenueName.BYBIT: lambda: bybit(instruments),
        VenueName.OKX: lambda: okx(instruments, tape.contract_size),
    }
    return _Material(venue=name, lives=lambda count, first: tape.lives(coins, count, first), reader=readers[name])


async def _e1(effort: Effort, material: _Material, measured: Sequence[Life], ccxt: float | None) -> list[Figure]:
    without = [await bare(material.reader, (), measured) for _ in range(effort.frame_rounds)]
    with_books = [await journaled(material.reader, (), measured) for _ in range(effort.frame_rounds)]
    frames = sum(len(life.frames) for life in measured)
    return [
        Figure(
            id="E1",
            venue=material.venue,
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
            venue=material.venue,
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


async def _e3(effort: Effort, material: _Material, measured: Sequence[Life]) -> Figure:
    few = material.lives(FEW_CLOSED // ORDERS_IN_A_LIFE + 1, _EARLIER)
    many = material.lives(MANY_CLOSED // ORDERS_IN_A_LIFE + 1, _EARLIER)
    ratios = []
    for _ in range(effort.frame_rounds):
        short = (await bare(material.reader, few, measured)).applied
        ratios.append((await bare(material.reader, many, measured)).applied / short)
    return Figure(
        id="E3",
        venue=material.venue,
        what=f"E1 with {MANY_CLOSED:,} closed orders / with {FEW_CLOSED}",
        unit="×",
        samples=tuple(ratios),
        aim="≤ 1.2",
        others="hummingbot 28×",
        beside=28.0,
        beside_name="hummingbot",
        note="bare",
    )


def _ccxt_cost(client: Any, facts: VenueFacts, measured: Sequence[Life]) -> float:
    """Microseconds a frame for ccxt.pro to read the text and bring its orders, trades, balances and positions up to
    date, as its own message handler does."""
    texts = [frame.decode("ascii") for life in measured for frame in life.frames]
    socket = client.client(f"ws://127.0.0.1{facts.private_paths[0]}")
    if facts.name is VenueName.BINANCE:  # what watching balances, positions and orders would have set up
        client.set_balance_cache(socket, "linear")
        socket.subscriptions["linear"] = True
    begin = time.perf_counter()
    for text in texts:
        client.handle_message(socket, json.loads(text))
    return (time.perf_counter() - begin) * 1e6 / len(texts)


def ccxt_pro() -> Any:
    import ccxt.pro  # imports every exchange; only where it is compared

    return ccxt.pro
