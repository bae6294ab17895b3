"""The historical measurement: six signals validated one after another, gathered, and gathered on what was prefetched.

A predecessor needed 6502, then 1562 ms at 300 ms. What it did is replayed here with ccxt as it comes: per signal the
positions, the balance, the ticker, the open interest and the candles. Ours is the daemon's own path: `Prefetcher`, then
`EntryDesk.validate` of all six; once as a wave finds it (a live stream, filters' inputs warm), once with nothing known;
at each venue, and over all of them, where each signal is validated by its own venue.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from msgspec import Struct

from core.assembly import Engine
from core.domain.ids import InstrumentId
from core.domain.wave import Candidate
from core.engine.prefetch import Prefetcher
from tools.bench.ccxt_waves import Theirs, ccxt_as_it_comes
from tools.bench.effort import Effort
from tools.bench.entries import listed, validated
from tools.bench.figure import Figure
from tools.bench.inner_daemon import inner_daemon, warm
from tools.bench.processes import BenchError, Simulator, simulators
from tools.bench.venues import VenueFacts

SIGNALS = 6
HISTORICAL_MS = 300.0
_THEIRS_THEN = "6502 ms one by one, 1562 ms prefetched and gathered (4.16×)"


class _Times(Struct, frozen=True, kw_only=True):
    """Milliseconds of ccxt's three ways."""

    sequential: float
    gathered: float
    prefetched: float

    def sentence(self) -> str:
        return (
            f"ccxt as it comes: {self.sequential:.0f} ms one by one, {self.gathered:.0f} gathered, "
            f"{self.prefetched:.0f} prefetched and gathered ({self.sequential / self.prefetched:.1f}×)"
        )


async def validation_figures(effort: Effort, wanted: frozenset[str], venues: Sequence[VenueFacts]) -> list[Figure]:
    """V1: warm and cold, per venue and mixed."""
    del wanted
    figures = []
    for group in [[facts] for facts in venues] + ([list(venues)] if len(venues) > 1 else []):
        figures += await _at(effort, group)
    return figures


async def _at(effort: Effort, venues: Sequence[VenueFacts]) -> list[Figure]:
    latency = HISTORICAL_MS if effort.latency_ms > 100 else effort.latency_ms
    where = "mixed" if len(venues) > 1 else venues[0].name.value
    async with simulators(venues, latency_ms=latency, symbols=effort.cold_symbols) as up:
        theirs = await _ccxt(up) if effort.compared else None
        cold = [await _cold(up) for _ in range(effort.validations)]
        warmed = await _warm(up, effort.validations)
    one_by_one, gathered, together = (statistics.median(times) for times in zip(*warmed, strict=True))
    return [
        _figure(
            "V1",
            where,
            f"validation of {SIGNALS} signals at {latency:g} ms, prefetched and gathered",
            [row[2] for row in warmed],
            theirs,
            f"ours as a wave finds it: {one_by_one:.2f} ms one by one, {gathered:.2f} gathered, {together:.2f} "
            f"prefetched and gathered" + ("" if theirs is None else f"; {theirs.sentence()}"),
        ),
        _figure(
            "V1c",
            where,
            "the same with nothing known: positions, balance and the filters' inputs are read first",
            cold,
            theirs,
            "two round trips are the least: what is prefetched, then what each signal lacks",
        ),
    ]


def _figure(name: str, where: str, what: str, samples: Sequence[float], theirs: _Times | None, note: str) -> Figure:
    return Figure(
        id=name,
        venue=where,
        what=what,
        unit="ms",
        samples=tuple(samples),
        aim="> 12× theirs",
        others=_THEIRS_THEN,
        beside=None if theirs is None else theirs.sequential,
        beside_name="ccxt as it comes, one by one",
        beside_measured=True,
        note=note,
    )


async def _warm(up: Sequence[Simulator], rounds: int) -> list[tuple[float, float, float]]:
    """Milliseconds one by one, gathered, and prefetched and gathered."""
    with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as folder:
        async with inner_daemon(Path(folder), up) as engine:
            await warm(engine)
            share = SIGNALS // len(up)
            chosen = [i for venue in up for i in listed(engine, venue.facts.name, share)]
            return [await _three_ways(engine, chosen) for _ in range(rounds)]


async def _three_ways(engine: Engine, chosen: Sequence[InstrumentId]) -> tuple[float, float, float]:
    async def one(instrument: InstrumentId) -> None:
        await _prefetch(engine.prefetcher, [instrument])
        await _validate(engine, [instrument])

    async def one_by_one() -> None:
        for instrument in chosen:
            await one(instrument)

    async def gathered() -> None:
        await asyncio.gather(*(one(instrument) for instrument in chosen))

    async def together() -> None:
        await _prefetch(engine.prefetcher, chosen)
        await _validate(engine, chosen)

    return await _took_ms(one_by_one), await _took_ms(gathered), await _took_ms(together)


async def _prefetch(prefetcher: Prefetcher, chosen: Sequence[InstrumentId]) -> None:
    """Every venue of those chosen, all at once."""
    venues = dict.fromkeys(instrument.venue for instrument in chosen)
    for denied in await asyncio.gather(*(prefetcher.prefetch(venue) for venue in venues)):
        if denied is not None:
            raise BenchError(f"the prefetch was denied: {denied}")


async def _cold(up: Sequence[Simulator]) -> float:
    """A daemon that has only just started, and the symbols its background reading comes to last."""
    with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as folder:
        async with inner_daemon(Path(folder), up) as engine:
            share = SIGNALS // len(up)
            chosen = [i for venue in up for i in _unread(engine, venue, share)]
            unconfirmed = Prefetcher(
                clients=engine.clients,
                streams=engine.streams,
                orders=engine.orders,
                clock=engine.clock,
                timeout_seconds=5.0,
            )

            async def together() -> None:
                await _prefetch(unconfirmed, chosen)
                await _validate(engine, chosen)

            return await _took_ms(together)


def _unread(engine: Engine, venue: Simulator, share: int) -> list[InstrumentId]:
    """Raises BenchError when there are not so many whose filters' inputs are still unknown."""
    name = venue.facts.name
    unread = [i for i in listed(engine, name, share, last=True) if not engine.screener.fresh(i)]
    if len(unread) < share:
        raise BenchError(f"the symbols of {name} that should be unknown have been read already")
    return unread


async def _validate(engine: Engine, chosen: Sequence[InstrumentId]) -> None:
    verdicts = await validated(engine, chosen)
    refused = [verdict for verdict in verdicts if not isinstance(verdict, Candidate)]
    if refused:
        raise BenchError(f"{refused[0].signal.instrument} was refused: {refused[0].gates[-1].denied}")


async def _ccxt(up: Sequence[Simulator]) -> _Times:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(ccxt_as_it_comes(venue)) for venue in up]
        chosen = [(one.client, symbol) for one in clients for symbol in one.symbols[: SIGNALS // len(up)]]

        async def sequential() -> None:
            for client, symbol in chosen:
                await _account(client)
                await _market(client, symbol)

        async def each(client: Any, symbol: str) -> None:
            await _account(client)
            await _market(client, symbol)

        async def gathered() -> None:
            await asyncio.gather(*(each(*pair) for pair in chosen))

        async def prefetched() -> None:
            await asyncio.gather(*(_gathered_account(one) for one in clients))
            await asyncio.gather(*(_gathered_market(*pair) for pair in chosen))

        times = []
        for way in (sequential, gathered, prefetched):
            await asyncio.sleep(1.0)  # its limiter has rested
            times.append(await _took_ms(way))
        return _Times(sequential=times[0], gathered=times[1], prefetched=times[2])


async def _gathered_account(theirs: Theirs) -> None:
    await asyncio.gather(theirs.client.fetch_positions(), theirs.client.fetch_balance())


async def _account(client: Any) -> None:
    await client.fetch_positions()
    await client.fetch_balance()


async def _market(client: Any, symbol: str) -> None:
    await client.fetch_ticker(symbol)
    await client.fetch_open_interest(symbol)
    await client.fetch_ohlcv(symbol, "1m", None, 60)


async def _gathered_market(client: Any, symbol: str) -> None:
    await asyncio.gather(
        client.fetch_ticker(symbol), client.fetch_open_interest(symbol), client.fetch_ohlcv(symbol, "1m", None, 60)
    )


async def _took_ms(work: Callable[[], Awaitable[None]]) -> float:
    started = time.monotonic()
    await work()
    return (time.monotonic() - started) * 1000
