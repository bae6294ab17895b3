"""The delay we add to an order 5 s after another (W4) and to a stop behind ten queued reads (W5), ccxt beside us.

Counted from the decision (the permission is given, nothing journaled yet) to the moment the request is in the venue's
log, less what a bare request over a warm connection takes for the same way. ccxt is counted from the call. A stop that
belongs to the position has no id of ours: it is the first request for a stop after the decision.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
from msgspec import Struct
from msgspec.structs import replace

from core.assembly import Engine
from core.domain.ids import InstrumentId, Leg, client_order_id
from core.domain.money import Price
from core.domain.order import OrderIntent
from core.storage.instance_lock import account_key
from tools.bench.ccxt_waves import Theirs, ccxt_as_it_comes
from tools.bench.effort import Effort
from tools.bench.entries import decided, listed, protected
from tools.bench.figure import Figure
from tools.bench.inner_daemon import inner_daemon, warm
from tools.bench.processes import BenchError, Simulator, simulator
from tools.bench.venues import PROBE, VenueFacts, accepted

QUEUED_READS = 10
SYMBOLS = 20
SETTLE_SECONDS = 1.0
"""Between a stop and whatever comes next; the guardian cancels the one that was replaced."""
PROBES = 15


class _Sent(Struct, frozen=True):
    """An order under its client id, and the wall clock when it was decided, ms. None: it has no id, and is the first
    request for a stop after the `seen`th of the venue's log."""

    client_id: str | None
    at_ms: float
    seen: int = 0


async def delay_figures(effort: Effort, wanted: frozenset[str], venues: Sequence[VenueFacts]) -> list[Figure]:
    """W4 and W5 at each venue, as far as they are wanted."""
    figures = []
    for facts in venues:
        async with _both(effort, facts) as (ours, theirs):
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
        self._fresh = iter(listed(engine, venue.facts.name, SYMBOLS))
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
        await asyncio.sleep(SETTLE_SECONDS)
        while self._engine.protection.busy:  # noqa: ASYNC110 - with the newest entry's own stop; it tells nobody
            await asyncio.sleep(SETTLE_SECONDS)
        intent = self._next_stop(self._held)
        reads = self._engine.reads[self._venue.facts.name]
        seen = await self._venue.last_request()
        queued = [asyncio.ensure_future(reads.open_interest(self._held.symbol)) for _ in range(QUEUED_READS)]
        await asyncio.sleep(0)
        sent = time.time_ns() / 1e6
        await self._engine.orders.submit([self._engine.risk.approve_reducing(intent)])
        await asyncio.gather(*queued)
        await asyncio.sleep(SETTLE_SECONDS)
        whole = self._engine.clients[self._venue.facts.name].traits.whole_position_stops
        return _Sent(None if whole else intent.client_order_id, sent, seen)

    def _next_stop(self, instrument: InstrumentId) -> OrderIntent:
        (position,) = self._engine.orders.state.positions_on(instrument)
        stops = [o.intent for o in self._engine.orders.state.orders_of(position.id) if o.intent.leg is Leg.STOP]
        attempt = stops[-1].attempt + 1
        key = client_order_id(account_key(self._venue.facts.name, "", "sim"), position.id, Leg.STOP, attempt)
        level = stops[-1].trigger_price
        assert level is not None  # noqa: S101 - a stop has one
        lower = Price(level - self._engine.instruments[instrument].tick)  # the same again would be no change
        return replace(stops[-1], attempt=attempt, client_order_id=key, trigger_price=lower, attached_to=None)

    async def delay_ms(self, sent: _Sent, way_ms: float) -> float:
        return await _delay_ms(self._venue, sent, way_ms)


class _Other:
    """ccxt's, with its default limiter."""

    def __init__(self, theirs: Theirs, venue: Simulator) -> None:
        self._theirs, self._venue = theirs, venue
        self._fresh = iter(theirs.symbols)
        self._held = ""
        self._count = 0

    async def entry(self) -> _Sent:
        symbol = next(self._fresh)
        sent = _Sent(self._next_id(), time.time_ns() / 1e6)
        amount, params = self._theirs.amount(symbol), {"clientOrderId": sent.client_id}
        await self._theirs.client.create_order(symbol, "market", "buy", amount, None, params)
        self._held = symbol
        return sent

    async def stop_behind_reads(self) -> _Sent:
        if not self._held:
            await self.entry()
        client, held = self._theirs.client, self._held
        queued = [asyncio.ensure_future(client.fetch_open_interest(held)) for _ in range(QUEUED_READS)]
        await asyncio.sleep(0)
        sent = _Sent(self._next_id(), time.time_ns() / 1e6)
        await self._theirs.stop(held, self._theirs.amount(held), sent.client_id)
        await asyncio.gather(*queued)
        return sent

    def _next_id(self) -> str:
        self._count += 1
        return f"ccxt{self._count}"

    async def delay_ms(self, sent: _Sent, way_ms: float) -> float:
        return await _delay_ms(self._venue, sent, way_ms)


@asynccontextmanager
async def _both(
    effort: Effort, facts: VenueFacts
) -> AsyncIterator[tuple[tuple[_Ours, Simulator], tuple[_Other, Simulator] | None]]:
    """Each at a venue of its own, so that neither sees the other's orders; ours alone when nobody is compared."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="breakwater-bench-")))
        at = partial(simulator, facts, latency_ms=effort.latency_ms, symbols=2 * SYMBOLS)
        venue = await stack.enter_async_context(at())
        engine = await stack.enter_async_context(inner_daemon(folder, [venue]))
        other = None
        if effort.compared:
            theirs = await stack.enter_async_context(at())
            other = _Other(await stack.enter_async_context(ccxt_as_it_comes(theirs)), theirs), theirs
        await warm(engine)
        yield (_Ours(engine, venue), venue), other


async def _w4(effort: Effort, ours: tuple[_Ours, Simulator], theirs: tuple[_Other, Simulator] | None) -> Figure:
    mine, way = ours[0], await _way_ms(ours[1])
    other_way = 0.0 if theirs is None else await _way_ms(theirs[1])
    delays, compared = [], []
    for number in range(effort.delays + 1):
        mine_sent, his_sent = await mine.entry(), None if theirs is None else await theirs[0].entry()
        if number:  # the first has nothing before it
            delays.append(await mine.delay_ms(mine_sent, way))
        if number and theirs is not None and his_sent is not None:
            compared.append(await theirs[0].delay_ms(his_sent, other_way))
        await asyncio.sleep(effort.pause_seconds)
    return Figure(
        id="W4",
        venue=ours[1].facts.name.value,
        what=f"delay we add to an order {effort.pause_seconds:g} s after another",
        unit="ms",
        samples=tuple(delays),
        aim="≤ 2",
        others="ccxt default 201",
        beside=statistics.median(compared) if compared else None,
        beside_name="ccxt as it comes",
        beside_measured=True,
        note="permission given → in the venue's log, the synced journal commit included, less a bare request's way",
    )


async def _w5(effort: Effort, ours: tuple[_Ours, Simulator], theirs: tuple[_Other, Simulator] | None) -> Figure:
    mine, way = ours[0], await _way_ms(ours[1])
    other_way = 0.0 if theirs is None else await _way_ms(theirs[1])
    delays, compared = [], []
    for _ in range(effort.delays):
        delays.append(await mine.delay_ms(await mine.stop_behind_reads(), way))
        if theirs is not None:
            compared.append(await theirs[0].delay_ms(await theirs[0].stop_behind_reads(), other_way))
        await asyncio.sleep(SETTLE_SECONDS)
    return Figure(
        id="W5",
        venue=ours[1].facts.name.value,
        what=f"delay we add to a stop behind {QUEUED_READS} queued reads",
        unit="ms",
        samples=tuple(delays),
        aim="≤ 5",
        others="ccxt default 640",
        beside=statistics.median(compared) if compared else None,
        beside_name="ccxt as it comes",
        beside_measured=True,
        note="reads of open interest, asked for in the same turn of the loop; the stop replaces one that rests",
    )


async def _way_ms(venue: Simulator) -> float:
    """The venue's stamp less ours for a bare request over a warm connection, median: clock difference and way."""
    seen = await venue.last_request()
    sent = []
    async with aiohttp.ClientSession() as session:
        for _ in range(PROBES + 1):
            sent.append(time.time_ns() / 1e6)
            async with session.get(venue.url + PROBE) as answer:
                await answer.read()
    rows = [row for row in await venue.ask(f"requests?since={seen}") if row["path"] == PROBE]
    if len(rows) != len(sent):
        raise BenchError(f"{len(rows)} of {len(sent)} probes are in the venue's log")
    pairs = list(zip(rows, sent, strict=True))[1:]  # the first one opened the connection
    return statistics.median(float(row["received"]) - left for row, left in pairs)


async def _delay_ms(venue: Simulator, sent: _Sent, way_ms: float) -> float:
    said = await venue.ask(f"requests?since={sent.seen}")
    if sent.client_id is None:
        rows = [row for row in said if row["lane"] == "stop"][:1]
    else:
        rows = [row for row in said if sent.client_id in row["client_ids"] and row["lane"] in ("order", "stop")]
    if len(rows) != 1 or not accepted(rows[0]):
        raise BenchError(f"the venue saw {len(rows)} requests for {sent.client_id}: {rows[:1]}")
    return float(rows[0]["received"]) - sent.at_ms - way_ms
