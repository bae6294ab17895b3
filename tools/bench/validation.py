"""The historical measurement: six signals validated one after another, gathered, and gathered on what was prefetched.

A predecessor needed 6502, then 1562 ms at 300 ms. What it did is replayed here with ccxt as it comes: per signal the
positions, the balance, the ticker, the open interest and the candles. Ours is the daemon's own path: `Prefetcher`, then
`EntryDesk.validate` of all six; once as a wave finds it (a live stream, filters' inputs warm), once with nothing known.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.assembly import Engine
from core.domain.ids import InstrumentId
from core.domain.wave import Candidate
from core.engine.prefetch import Prefetcher
from tools.bench.ccxt_waves import ccxt_as_it_comes
from tools.bench.effort import Effort
from tools.bench.entries import listed, signals
from tools.bench.figure import Figure
from tools.bench.inner_daemon import VENUE, inner_daemon, warm
from tools.bench.processes import BenchError, Simulator, simulator

SIGNALS = 6
HISTORICAL_MS = 300.0
COLD_SYMBOLS = 120
"""So many that the last ones are unread for seconds after the start."""
_THEIRS_THEN = "6502 ms one by one, 1562 ms prefetched and gathered (4.16×)"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Theirs:
    """Milliseconds of ccxt's three ways."""

    sequential: float
    gathered: float
    prefetched: float

    def sentence(self) -> str:
        return (
            f"ccxt as it comes: {self.sequential:.0f} ms one by one, {self.gathered:.0f} gathered, "
            f"{self.prefetched:.0f} prefetched and gathered ({self.sequential / self.prefetched:.1f}×)"
        )


async def validation_figures(effort: Effort, wanted: frozenset[str]) -> list[Figure]:
    """V1: warm and cold."""
    del wanted
    latency = HISTORICAL_MS if effort.latency_ms > 100 else effort.latency_ms
    async with simulator(latency_ms=latency, symbols=COLD_SYMBOLS) as venue:
        theirs = await _ccxt(venue)
        cold = [await _cold(venue) for _ in range(effort.validations)]
        warmed = await _warm(venue, effort.validations)
    one_by_one, gathered, together = (statistics.median(times) for times in zip(*warmed, strict=True))
    return [
        _figure(
            "V1",
            f"validation of {SIGNALS} signals at {latency:g} ms, prefetched and gathered",
            [row[2] for row in warmed],
            theirs,
            f"ours as a wave finds it: {one_by_one:.2f} ms one by one, {gathered:.2f} gathered, {together:.2f} "
            f"prefetched and gathered; {theirs.sentence()}",
        ),
        _figure(
            "V1c",
            "the same with nothing known: positions, balance and the filters' inputs are read first",
            cold,
            theirs,
            "two round trips are the least: what is prefetched, then what each signal lacks",
        ),
    ]


def _figure(name: str, what: str, samples: Sequence[float], theirs: _Theirs, note: str) -> Figure:
    return Figure(
        id=name,
        what=what,
        unit="ms",
        samples=tuple(samples),
        aim="> 12× theirs",
        others=_THEIRS_THEN,
        beside=theirs.sequential,
        beside_name="ccxt as it comes, one by one",
        beside_measured=True,
        note=note,
    )


async def _warm(venue: Simulator, rounds: int) -> list[tuple[float, float, float]]:
    """Milliseconds one by one, gathered, and prefetched and gathered."""
    with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as folder:
        async with inner_daemon(Path(folder), venue) as engine:
            await warm(engine)
            chosen = listed(engine, SIGNALS)
            return [await _three_ways(engine, chosen) for _ in range(rounds)]


async def _three_ways(engine: Engine, chosen: Sequence[InstrumentId]) -> tuple[float, float, float]:
    async def prefetch() -> None:
        if (denied := await engine.prefetcher.prefetch(VENUE)) is not None:
            raise BenchError(f"the prefetch was denied: {denied}")

    async def one(instrument: InstrumentId) -> None:
        await prefetch()
        await _validate(engine, [instrument])

    async def one_by_one() -> None:
        for instrument in chosen:
            await one(instrument)

    async def gathered() -> None:
        await asyncio.gather(*(one(instrument) for instrument in chosen))

    async def together() -> None:
        await prefetch()
        await _validate(engine, chosen)

    return await _took_ms(one_by_one), await _took_ms(gathered), await _took_ms(together)


async def _cold(venue: Simulator) -> float:
    """A daemon that has only just started, and the symbols its background reading comes to last."""
    with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as folder:
        async with inner_daemon(Path(folder), venue) as engine:
            chosen = listed(engine, len(engine.instruments) * 3 // 5)[-SIGNALS:]
            if any(engine.screener.fresh(instrument) for instrument in chosen):
                raise BenchError("the symbols that should be unknown have been read already")
            unconfirmed = Prefetcher(
                clients=engine.clients,
                streams=engine.streams,
                orders=engine.orders,
                clock=engine.clock,
                timeout_seconds=5.0,
            )

            async def together() -> None:
                if (denied := await unconfirmed.prefetch(VENUE)) is not None:
                    raise BenchError(f"the prefetch was denied: {denied}")
                await _validate(engine, chosen)

            return await _took_ms(together)


async def _validate(engine: Engine, chosen: Sequence[InstrumentId]) -> None:
    verdicts = await asyncio.gather(*(engine.desk.validate(signal) for signal in signals(engine, chosen)))
    refused = [verdict for verdict in verdicts if not isinstance(verdict, Candidate)]
    if refused:
        raise BenchError(f"{refused[0].signal.instrument} was refused: {refused[0].gates[-1].denied}")


async def _ccxt(venue: Simulator) -> _Theirs:
    async with ccxt_as_it_comes(venue) as (client, symbols, _):
        chosen = symbols[:SIGNALS]

        async def sequential() -> None:
            for symbol in chosen:
                await _account(client)
                await _market(client, symbol)

        async def each(symbol: str) -> None:
            await _account(client)
            await _market(client, symbol)

        async def gathered() -> None:
            await asyncio.gather(*(each(symbol) for symbol in chosen))

        async def prefetched() -> None:
            await asyncio.gather(client.fetch_positions(), client.fetch_balance())
            await asyncio.gather(*(_gathered_market(client, symbol) for symbol in chosen))

        times = []
        for way in (sequential, gathered, prefetched):
            await asyncio.sleep(1.0)  # its limiter has rested
            times.append(await _took_ms(way))
        return _Theirs(sequential=times[0], gathered=times[1], prefetched=times[2])


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
