"""The delay we add to an order 5 s after another (W4) and to a stop behind ten queued reads (W5), ccxt beside us.

Counted from the decision (the permission is given, nothing journaled yet) to the moment the request is in the venue's
log, less what a bare request over a warm connection takes for the same way. ccxt is counted from the call.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from core.assembly import Engine
from core.domain.ids import InstrumentId, Leg, client_order_id
from core.domain.order import OrderIntent
from core.instance_lock import account_key
from tools.bench.ccxt_waves import NOTIONAL, STOP_DISTANCE, ccxt_as_it_comes
from tools.bench.effort import Effort
from tools.bench.entries import decided, listed, protected
from tools.bench.figure import Figure
from tools.bench.inner_daemon import VENUE, inner_daemon, warm
from tools.bench.processes import BenchError, Simulator, simulator

QUEUED_READS = 10
SYMBOLS = 20
SETTLE_SECONDS = 1.0
"""Between a stop and whatever comes next; the guardian cancels the one that was replaced."""
PROBES = 15
_PROBE = "/fapi/v1/ping"


@dataclass(frozen=True, slots=True)
class _Sent:
    """An order under its client id, and the wall clock when it was decided, ms."""

    client_id: str
    at_ms: float


async def delay_figures(effort: Effort, wanted: frozenset[str]) -> list[Figure]:
    """W4 and W5, as far as they are wanted."""
    async with _both(effort) as (ours, theirs):
        figures = []
        if "W4" in wanted:
            figures.append(await _w4(effort, ours, theirs))
        if "W5" in wanted:
            figures.append(await _w5(effort, ours, theirs))
        return figures


class _Ours:
    """The daemon's own entry and stop."""

    def __init__(self, engine: Engine, venue: Simulator) -> None:
        self._engine = engine
        self._venue = venue
        self._fresh = iter(listed(engine, SYMBOLS))
        self._held: InstrumentId | None = None

    async def entry(self) -> _Sent:
        instrument = next(self._fresh)
        candidates = await decided(self._engine, [instrument])
        sent = time.time_ns() / 1e6
        await self._engine.desk.send(candidates)
        await protected(self._engine, candidates)
        self._held = instrument
        position = self._engine.orders.state.positions_on(instrument)[0]
        return _Sent(position.id, sent)

    async def stop_behind_reads(self) -> _Sent:
        """Replaces the stop of the newest position; the guardian then cancels the older one."""
        if self._held is None:
            await self.entry()
        assert self._held is not None  # noqa: S101 - entry has set it
        intent = self._next_stop(self._held)
        reads = self._engine.reads[VENUE]
        queued = [asyncio.ensure_future(reads.open_interest(self._held.symbol)) for _ in range(QUEUED_READS)]
        await asyncio.sleep(0)
        sent = time.time_ns() / 1e6
        await self._engine.orders.submit([self._engine.risk.approve_reducing(intent)])
        await asyncio.gather(*queued)
        await asyncio.sleep(SETTLE_SECONDS)
        return _Sent(intent.client_order_id, sent)

    def _next_stop(self, instrument: InstrumentId) -> OrderIntent:
        (position,) = self._engine.orders.state.positions_on(instrument)
        stops = [o.intent for o in self._engine.orders.state.orders_of(position.id) if o.intent.leg is Leg.STOP]
        attempt = stops[-1].attempt + 1
        key = client_order_id(account_key(VENUE, "", "sim"), position.id, Leg.STOP, attempt)
        return replace(stops[-1], attempt=attempt, client_order_id=key)

    async def delay_ms(self, sent: _Sent, way_ms: float) -> float:
        return await _delay_ms(self._venue, sent, way_ms)


class _Theirs:
    """ccxt's, with its default limiter."""

    def __init__(self, client: Any, venue: Simulator, symbols: list[str], price: dict[str, float]) -> None:
        self._client, self._venue, self._price = client, venue, price
        self._fresh = iter(symbols)
        self._held = ""
        self._count = 0

    async def entry(self) -> _Sent:
        symbol = next(self._fresh)
        sent = _Sent(self._next_id(), time.time_ns() / 1e6)
        amount = float(self._client.amount_to_precision(symbol, NOTIONAL / self._price[symbol]))
        await self._client.create_order(symbol, "market", "buy", amount, None, {"newClientOrderId": sent.client_id})
        self._held = symbol
        return sent

    async def stop_behind_reads(self) -> _Sent:
        if not self._held:
            await self.entry()
        price = self._price[self._held]
        amount = float(self._client.amount_to_precision(self._held, NOTIONAL / price))
        queued = [asyncio.ensure_future(self._client.fetch_open_interest(self._held)) for _ in range(QUEUED_READS)]
        await asyncio.sleep(0)
        sent = _Sent(self._next_id(), time.time_ns() / 1e6)
        stop = {"stopLossPrice": price * STOP_DISTANCE, "reduceOnly": True, "newClientOrderId": sent.client_id}
        await self._client.create_order(self._held, "market", "sell", amount, None, stop)
        await asyncio.gather(*queued)
        return sent

    def _next_id(self) -> str:
        self._count += 1
        return f"ccxt-{self._count}"

    async def delay_ms(self, sent: _Sent, way_ms: float) -> float:
        return await _delay_ms(self._venue, sent, way_ms)


@asynccontextmanager
async def _both(effort: Effort) -> AsyncIterator[tuple[tuple[_Ours, Simulator], tuple[_Theirs, Simulator]]]:
    """Each at a venue of its own, so that neither sees the other's orders."""
    async with (
        simulator(latency_ms=effort.latency_ms, symbols=2 * SYMBOLS) as venue,
        simulator(latency_ms=effort.latency_ms, symbols=2 * SYMBOLS) as other,
    ):
        with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as folder:
            async with inner_daemon(Path(folder), venue) as engine, ccxt_as_it_comes(other) as (client, symbols, price):
                await warm(engine)
                yield (_Ours(engine, venue), venue), (_Theirs(client, other, symbols, price), other)


async def _w4(effort: Effort, ours: tuple[_Ours, Simulator], theirs: tuple[_Theirs, Simulator]) -> Figure:
    mine, his = ours[0], theirs[0]
    way, other_way = await _way_ms(ours[1]), await _way_ms(theirs[1])
    delays, compared = [], []
    for number in range(effort.delays + 1):
        mine_sent, his_sent = await mine.entry(), await his.entry()
        if number:  # the first has nothing before it
            delays.append(await mine.delay_ms(mine_sent, way))
            compared.append(await his.delay_ms(his_sent, other_way))
        await asyncio.sleep(effort.pause_seconds)
    return Figure(
        id="W4",
        what=f"delay we add to an order {effort.pause_seconds:g} s after another",
        unit="ms",
        samples=tuple(delays),
        aim="≤ 2",
        others="ccxt default 201",
        beside=statistics.median(compared),
        beside_name="ccxt as it comes",
        beside_measured=True,
        note="permission given → in the venue's log, the synced journal commit included, less a bare request's way",
    )


async def _w5(effort: Effort, ours: tuple[_Ours, Simulator], theirs: tuple[_Theirs, Simulator]) -> Figure:
    mine, his = ours[0], theirs[0]
    way, other_way = await _way_ms(ours[1]), await _way_ms(theirs[1])
    delays, compared = [], []
    for _ in range(effort.delays):
        delays.append(await mine.delay_ms(await mine.stop_behind_reads(), way))
        compared.append(await his.delay_ms(await his.stop_behind_reads(), other_way))
        await asyncio.sleep(SETTLE_SECONDS)
    return Figure(
        id="W5",
        what=f"delay we add to a stop behind {QUEUED_READS} queued reads",
        unit="ms",
        samples=tuple(delays),
        aim="≤ 5",
        others="ccxt default 640",
        beside=statistics.median(compared),
        beside_name="ccxt as it comes",
        beside_measured=True,
        note="reads of open interest, asked for in the same turn of the loop; the stop replaces one that rests",
    )


async def _way_ms(venue: Simulator) -> float:
    """The venue's stamp less ours for a bare request over a warm connection, median: clock difference and way."""
    seen = max((row["n"] for row in await venue.ask("requests?since=0")), default=0)
    sent = []
    async with aiohttp.ClientSession() as session:
        for _ in range(PROBES + 1):
            sent.append(time.time_ns() / 1e6)
            async with session.get(venue.url + _PROBE) as answer:
                await answer.read()
    rows = [row for row in await venue.ask(f"requests?since={seen}") if row["path"] == _PROBE]
    if len(rows) != len(sent):
        raise BenchError(f"{len(rows)} of {len(sent)} probes are in the venue's log")
    pairs = list(zip(rows, sent, strict=True))[1:]  # the first one opened the connection
    return statistics.median(float(row["received"]) - left for row, left in pairs)


async def _delay_ms(venue: Simulator, sent: _Sent, way_ms: float) -> float:
    rows = [row for row in await venue.ask("requests?since=0") if row["client_id"] == sent.client_id]
    if len(rows) != 1 or rows[0]["status"] != 200:
        raise BenchError(f"the venue saw {len(rows)} requests for {sent.client_id}: {rows[:1]}")
    return float(rows[0]["received"]) - sent.at_ms - way_ms
