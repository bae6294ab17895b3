"""From a price's bytes to the request that follows from it, a move of a stop (X1) or a close (X1c), and what a price
costs where nothing follows (X3).

The whole daemon runs in this process, on a core of its own, with a position in each of many symbols, against a
simulator in another. What its public socket receives is made in a third (price_source): every symbol ticks twenty times
a second, each price a frame of its own, and some times a second one of them makes a new best price from which its stop
is to be moved. Counted from the moment the frame is given to the operating system to the moment it has the request, in
time this process has computed, whatever it was busy with then: prices of others and threads too; and by the clock.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import Struct

from core.assembly import Engine
from core.domain.ids import InstrumentId, VenueName
from core.domain.money import Price, plain
from core.domain.position import Position
from tools.bench.cores import divided, running_on
from tools.bench.effort import Effort
from tools.bench.entries import decided, listed, protected
from tools.bench.figure import Figure
from tools.bench.inner_daemon import inner_daemon, warm
from tools.bench.order_burst import venue_symbols
from tools.bench.price_wire import Fed, Moment, PriceWire, price_wire
from tools.bench.processes import simulator
from tools.bench.venues import VenueFacts
from tools.bench.writes_seen import writes_seen

TICKS_PER_SECOND = 20
SPARE_STOPS = 10
"""Fewer positions than a venue takes stops: one that is replaced has two for a moment."""
FOLLOW_SECONDS = 3.0
"""How long after the last price requests may still follow."""
BEST, BETTER = Decimal("1.112"), Decimal("1.005")
"""Times the entry, and each time after that times the best: the stop belongs then between where it stood and the
venue's own price, which did not move."""
ROUNDS = 2
"""So often each symbol makes a new best price, as far as there is time."""
WORST = Decimal("0.92")
"""Times the price a position was entered at: beyond its stop by more than CRITICAL_LOSS_PERCENT."""
JITTER = tuple(Decimal(part) / 100_000 for part in (0, -20, 10, -30, 5, -10, -25, -5))
SETTINGS: Final[Mapping[str, str]] = {
    "TRAILING_MODE": "managed",
    "TRAILING_ACTIVATION_PERCENT": "11",
    "TRAILING_CALLBACK_PERCENT": "11",
    "TRAILING_MIN_UPDATE_INTERVAL_SECONDS": "1",
    "PRICE_JUMP_PERCENT": "50",
    "BREAKEVEN_ACTIVATION_PERCENT": "0",
    "CRITICAL_LOSS_PERCENT": "1",
    "CRITICAL_LOSS_CONFIRM_MS": "0",
}


class _Requests(Struct, frozen=True):
    """In one venue's words: the request that moves or replaces a stop, how many of them there are a second (fewer than
    the venue takes), after how many seconds the stops of the entries are not counted any more, and the request that
    closes."""

    move: str
    moves_per_second: int
    counted_seconds: float
    close: str


REQUESTS: Final[Mapping[VenueName, _Requests]] = {
    VenueName.BINANCE: _Requests("/fapi/v1/algoOrder", 8, 10.5, "POST /fapi/v1/order"),
    VenueName.BYBIT: _Requests("/v5/position/trading-stop", 4, 1.1, "POST /v5/order/create"),
    VenueName.OKX: _Requests("/api/v5/trade/amend-algos", 8, 2.1, "POST /api/v5/trade/order "),
}


@dataclass(slots=True)
class _Symbol:
    name: str
    instrument: InstrumentId
    entry: Decimal
    tick: Price
    base: Decimal = Decimal(0)
    texts: list[str] = field(default_factory=list)

    def at(self, base: Decimal) -> None:
        self.base = base
        self.texts = [plain((base * (1 + part) / self.tick).to_integral_value() * self.tick) for part in JITTER]


async def exit_figures(effort: Effort, wanted: frozenset[str], venues: Sequence[VenueFacts]) -> list[Figure]:
    """X1 and X3 at each venue, as far as they are wanted. Raises BenchError."""
    return [figure for facts in venues for figure in await _at(effort, wanted, facts)]


async def _at(effort: Effort, wanted: frozenset[str], facts: VenueFacts) -> list[Figure]:
    async with _holding(effort, facts) as held:
        figures = []
        if "X1" in wanted:
            figures += await _x1(held)
        if "X3" in wanted:
            figures += await _x3(held)
        if "X1" in wanted:
            figures += await _x1_closing(held)
        return figures


class _Held(Struct, frozen=True, kw_only=True):
    """A daemon that holds a position in each of these symbols, and the way its prices come."""

    effort: Effort
    facts: VenueFacts
    engine: Engine
    wire: PriceWire
    symbols: Sequence[_Symbol]

    @property
    def requests(self) -> _Requests:
        return REQUESTS[self.facts.name]


@asynccontextmanager
async def _holding(effort: Effort, facts: VenueFacts) -> AsyncIterator[_Held]:
    """Every position under its stop."""
    own, others = divided()
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="breakwater-bench-"))
        with running_on(others):
            venue = await stack.enter_async_context(
                simulator(facts, latency_ms=0, symbols=venue_symbols(effort.exit_symbols))
            )
            wire = await stack.enter_async_context(price_wire(venue))
        stack.enter_context(running_on(own))
        async with inner_daemon(Path(folder), [venue], SETTINGS, wire.transport) as engine:
            await warm(engine)
            most = engine.clients[facts.name].traits.most_stops
            count = effort.exit_symbols if most is None else min(effort.exit_symbols, most - SPARE_STOPS)
            candidates = await decided(engine, listed(engine, facts.name, count))
            await engine.desk.send(candidates)
            await protected(engine, candidates)
            symbols = [_symbol(engine, position) for position in engine.orders.state.positions()]
            yield _Held(effort=effort, facts=facts, engine=engine, wire=wire, symbols=symbols)


def _symbol(engine: Engine, position: Position) -> _Symbol:
    rules = engine.instruments[position.instrument]
    symbol = _Symbol(rules.venue_symbol, position.instrument, position.entry_price, rules.tick)
    symbol.at(position.entry_price)
    return symbol


async def _x1(held: _Held) -> list[Figure]:
    await asyncio.sleep(min(held.requests.counted_seconds, held.effort.exit_seconds))
    best = [(symbol, by) for by in (BEST, *[BETTER] * (ROUNDS - 1)) for symbol in held.symbols]
    seen = await _decisive(held, best, held.requests.move)
    return [
        _figure(held, seen, "X1", "price in → stop-move request written, our own time, p99", seen.own(0.99), "< 2"),
        _figure(held, seen, "X1m", "the same, the median", seen.own(0.5)),
        _figure(held, seen, "X1w", "the same by the clock, p99", seen.by_the_clock(0.99)),
    ]


async def _x1_closing(held: _Held) -> list[Figure]:
    worst = [(symbol, WORST * symbol.entry / symbol.base) for symbol in held.symbols]
    seen = await _decisive(held, worst, held.requests.close)
    return [
        _figure(held, seen, "X1c", "price in → close written, our own time, p99", seen.own(0.99), "< 2"),
        _figure(held, seen, "X1cm", "the same, the median", seen.own(0.5)),
        _figure(held, seen, "X1cw", "the same by the clock, p99", seen.by_the_clock(0.99)),
    ]


class _Seen(NamedTuple):
    """Of decisive prices: when each came and when its request was written; what followed from none, if there is such a
    price, and the words for it all."""

    pairs: list[tuple[Moment, Moment]]
    failed: str
    note: str

    def own(self, part: float) -> float:
        return _share([written.own_ms_since(came) for came, written in self.pairs], part)

    def by_the_clock(self, part: float) -> float:
        return _share([(written.clock - came.clock) / 1e6 for came, written in self.pairs], part)


async def _decisive(held: _Held, decisive: Sequence[tuple[_Symbol, Decimal]], request: str) -> _Seen:
    """All symbols tick; a price so many times the last one comes for each of `decisive` that is still held then (the
    venue's own price may have reached its stop, before or meanwhile), and the first request about it is looked for."""
    requests: list[_Request] = []

    def written(data: bytes) -> None:
        if data.startswith(b"POST ") and request in (text := data.decode("utf-8", "replace")):
            requests.append(_Request(Moment.now(), text))

    with writes_seen(written):
        cpu, began = time.process_time(), time.perf_counter()
        fed = await _feed(held, decisive)
        busy = 100 * (time.process_time() - cpu) / (time.perf_counter() - began)
        await asyncio.sleep(min(FOLLOW_SECONDS, held.effort.exit_seconds))
    found = {name: _followed(name, came, requests) for name, came in fed.decisive.items()}
    pairs = [pair for both in found.values() for pair in both]
    held_still = {s.name for s in held.symbols if held.engine.orders.state.positions_on(s.instrument)}
    ignored = sum(len(fed.decisive[name]) - len(both) for name, both in found.items() if name in held_still)
    failed = f"{ignored} decisive prices of what is held were not followed by a request" if ignored else ""
    note = (
        f"{len(held.symbols)} symbols, {fed.prices:,} prices at {TICKS_PER_SECOND}/s each, {len(pairs)} requests; the "
        f"process was busy {busy:.0f} % of one core"
    )
    return _Seen(pairs, failed, note)


class _Request(NamedTuple):
    """When the operating system had it, and what was written."""

    at: Moment
    text: str


def _figure(held: _Held, seen: _Seen, name: str, what: str, value: float, aim: str = "–") -> Figure:
    return Figure(
        id=name,
        venue=held.facts.name.value,
        what=what,
        unit="ms",
        samples=(value,) if seen.pairs else (),
        aim=aim,
        others="–",
        note=seen.note,
        failed=seen.failed,
    )


def _share(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else float("nan")


async def _feed(held: _Held, decisive: Sequence[tuple[_Symbol, Decimal]]) -> Fed:
    """Until all decisive prices have come, as far as there is time."""
    held.wire.feed({symbol.name: symbol.texts for symbol in held.symbols}, TICKS_PER_SECOND * len(held.symbols))
    with suppress(TimeoutError):
        async with asyncio.timeout(held.effort.exit_seconds):
            for symbol, by in decisive:
                await asyncio.sleep(1 / held.requests.moves_per_second)
                if held.engine.orders.state.positions_on(symbol.instrument):
                    symbol.at(symbol.base * by)
                    held.wire.decide(symbol.name, symbol.texts)
    return await held.wire.rest()


def _followed(name: str, came: Sequence[Moment], requests: Sequence[_Request]) -> list[tuple[Moment, Moment]]:
    """Each decisive price of a symbol with the first request about it before the next one."""
    about = [request.at for request in requests if _about(name, request.text)]
    found = []
    for at, until in zip(came, [*came[1:], None], strict=True):
        later = [when for when in about if when >= at and (until is None or when < until)]
        if later:
            found.append((at, min(later)))
    return found


def _about(name: str, asked: str) -> bool:
    return f"symbol={name}&" in asked or f'"{name}"' in asked or asked.rstrip().endswith(f"symbol={name}")


async def _x3(held: _Held) -> list[Figure]:
    """Straight calls, without a socket: where nothing follows, and where everything is judged."""
    calm, judged = [], []
    symbols, exits = held.symbols, held.engine.exits
    for _ in range(5):
        held.wire.once({symbol.name: symbol.texts[0] for symbol in symbols})
        await asyncio.sleep(0.2)
        started = time.perf_counter()
        for symbol in symbols:
            exits.on_tick(symbol.instrument)
        calm.append((time.perf_counter() - started) * 1e6 / len(symbols))
        started = time.perf_counter()
        await exits.look_at_all()
        judged.append((time.perf_counter() - started) * 1e6 / len(symbols))
    note = f"{len(symbols)} positions, five rounds; the price is stored already"

    def figure(name: str, what: str, samples: Sequence[float]) -> Figure:
        return Figure(
            id=name,
            venue=held.facts.name.value,
            what=what,
            unit="µs",
            samples=tuple(samples),
            aim="–",
            others="–",
            note=note,
        )

    return [
        figure("X3", "one price of a held symbol in the exit engine, calm", calm),
        figure("X3j", "the same, every rule judged", judged),
    ]
