"""From a price's bytes to the request that follows from it, a move of a stop (X1) or a close (X1c), and what a price
costs where nothing follows (X3).

The whole daemon runs in this process with a position in each of many symbols, against a simulator in another. What its
public socket receives is made here: every symbol ticks twenty times a second, and some times a second one of them
makes a new best price from which its stop is to be moved. Counted from the moment the frame is there for the socket's
reader to the moment the operating system has the request, in time this process has computed, whatever it was busy
with then: prices of others and threads too, but not making the frames, and reading those of the simulator that they
take the place of. By the clock a loaded machine is measured as well.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import Struct

from core.assembly import Engine
from core.domain.ids import InstrumentId, VenueName
from core.domain.money import Price, plain
from core.domain.position import Position
from core.errors import Unreachable, VenueError
from core.transport import Socket, Transport, real_transport
from tools.bench.effort import Effort
from tools.bench.entries import decided, listed, protected
from tools.bench.figure import Figure
from tools.bench.inner_daemon import inner_daemon, warm
from tools.bench.order_burst import venue_symbols
from tools.bench.processes import BenchError, simulator
from tools.bench.venues import VenueFacts
from tools.bench.writes_seen import writes_seen

TICKS_PER_SECOND = 20
SPARE_STOPS = 10
"""Fewer positions than a venue takes stops: one that is replaced has two for a moment."""
STEP_SECONDS = 0.002
MOVE_SECONDS = 3.0
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


class _Wire(Struct, frozen=True):
    """One venue's words: the public socket of marks, what a frame of prices has in it, the mark of one symbol (ms,
    symbol, price), the request that moves or replaces a stop, how many of them there are a second (fewer than the venue
    takes), after how many seconds the stops of the entries are not counted any more, and the request that closes."""

    path: str
    prices: tuple[bytes, ...]
    mark: Callable[[int, str, str], str]
    move: str
    moves_per_second: int
    counted_seconds: float
    close: str


WIRES: Final[Mapping[VenueName, _Wire]] = {
    VenueName.BINANCE: _Wire(
        "/market/ws",
        (b"markPriceUpdate",),
        lambda ms, symbol, price: f'{{"e":"markPriceUpdate","E":{ms},"s":"{symbol}","p":"{price}","st":1}}',
        "/fapi/v1/algoOrder",
        8,
        10.5,
        "POST /fapi/v1/order",
    ),
    VenueName.BYBIT: _Wire(
        "/v5/public/linear",
        (b'"tickers.',),
        lambda ms, symbol, price: (
            f'{{"topic":"tickers.{symbol}","type":"delta","data":{{"symbol":"{symbol}","markPrice":"{price}"}},'
            f'"cs":1,"ts":{ms}}}'
        ),
        "/v5/position/trading-stop",
        4,
        1.1,
        "POST /v5/order/create",
    ),
    VenueName.OKX: _Wire(
        "/ws/v5/public",
        (b'"mark-price"', b'"tickers"'),
        lambda ms, symbol, price: (
            f'{{"arg":{{"channel":"mark-price","instId":"{symbol}"}},"data":[{{"instType":"SWAP","instId":"{symbol}",'
            f'"markPx":"{price}","ts":"{ms}"}}]}}'
        ),
        "/api/v5/trade/amend-algos",
        8,
        2.1,
        "POST /api/v5/trade/order ",
    ),
}


class _Moment(NamedTuple):
    """Nanoseconds: that have passed, and that this process has computed."""

    wall: int
    cpu: int


@dataclass(slots=True)
class _Tap:
    """Between the daemon and its venue: `frames` come beside what the venue sends, whose prices are held back then."""

    wire: _Wire
    injecting: bool = False
    sockets: list[_TappedSocket] = field(default_factory=list)
    requests: list[tuple[_Moment, str]] = field(default_factory=list)
    """When, and what was asked."""
    spent: int = 0
    """Nanoseconds that were computed for the measuring alone."""

    def now(self) -> _Moment:
        return _Moment(time.perf_counter_ns(), time.process_time_ns() - self.spent)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is computed within is not the daemon's. Nothing may be awaited within."""
        began = time.thread_time_ns()
        try:
            yield
        finally:
            self.spent += time.thread_time_ns() - began

    def transport(self, name: str) -> Transport:
        real = real_transport(name)
        return Transport(http=real.http, socket=lambda: _TappedSocket(real.socket(), self))

    def asked(self, written: bytes) -> None:
        if self.injecting and written.startswith(b"POST "):
            self.requests.append((self.now(), written.decode("utf-8", "replace")))

    def put(self, frame: bytes) -> None:
        self.sockets[-1].put(frame)


class _TappedSocket:
    """Of prices: a reader of its own fills the queue that the daemon reads. Others pass."""

    def __init__(self, inner: Socket, tap: _Tap) -> None:
        self._inner, self._tap = inner, tap
        self._frames: asyncio.Queue[bytes | VenueError] | None = None
        self._pump: asyncio.Task[None] | None = None
        self.send, self.ping = inner.send, inner.ping

    async def open(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        await self._inner.open(url, headers)
        if self._tap.wire.path in url:
            self._frames = asyncio.Queue()
            self._pump = asyncio.create_task(self._read(self._frames), name="bench/tap")
            self._tap.sockets.append(self)

    async def receive(self) -> bytes:
        if self._frames is None:
            return await self._inner.receive()
        frame = await self._frames.get()
        if isinstance(frame, VenueError):
            raise frame
        return frame

    async def close(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
        await self._inner.close()

    def put(self, frame: bytes) -> None:
        if self._frames is None:
            raise BenchError("the daemon has no socket of prices")
        self._frames.put_nowait(frame)

    async def _read(self, frames: asyncio.Queue[bytes | VenueError]) -> None:
        while True:
            try:
                frame = await self._inner.receive()
            except Unreachable as error:
                frames.put_nowait(error)
                return
            if not self._tap.injecting:
                frames.put_nowait(frame)
                continue
            with self._tap.aside():
                if b'"event"' in frame[:20] or not any(part in frame[:100] for part in self._tap.wire.prices):
                    frames.put_nowait(frame)  # an answer to a subscription names its channel as well
            await asyncio.sleep(0)  # the simulator's frames come in heaps


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
    async with _holding(effort, facts) as (engine, tap, symbols):
        figures = []
        if "X1" in wanted:
            figures += await _x1(effort, facts, engine, tap, symbols)
        if "X3" in wanted:
            figures += await _x3(facts, engine, tap, symbols)
        if "X1" in wanted:
            figures += await _x1_closing(effort, facts, engine, tap, symbols)
        return figures


@asynccontextmanager
async def _holding(effort: Effort, facts: VenueFacts) -> AsyncIterator[tuple[Engine, _Tap, list[_Symbol]]]:
    """A daemon with that many positions, each under its stop."""
    tap = _Tap(WIRES[facts.name])
    with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as folder:
        async with (
            simulator(facts, latency_ms=0, symbols=venue_symbols(effort.exit_symbols)) as venue,
            inner_daemon(Path(folder), [venue], SETTINGS, tap.transport) as engine,
        ):
            await warm(engine)
            most = engine.clients[facts.name].traits.most_stops
            count = effort.exit_symbols if most is None else min(effort.exit_symbols, most - SPARE_STOPS)
            candidates = await decided(engine, listed(engine, facts.name, count))
            await engine.desk.send(candidates)
            await protected(engine, candidates)
            yield engine, tap, [_symbol(engine, position) for position in engine.orders.state.positions()]


def _symbol(engine: Engine, position: Position) -> _Symbol:
    rules = engine.instruments[position.instrument]
    symbol = _Symbol(rules.venue_symbol, position.instrument, position.entry_price, rules.tick)
    symbol.at(position.entry_price)
    return symbol


async def _x1(effort: Effort, facts: VenueFacts, engine: Engine, tap: _Tap, symbols: Sequence[_Symbol]) -> list[Figure]:
    await asyncio.sleep(min(tap.wire.counted_seconds, effort.exit_seconds))
    best = [(symbol, by) for by in (BEST, *[BETTER] * (ROUNDS - 1)) for symbol in symbols]
    seen = await _decisive(effort, engine, tap, symbols, best, tap.wire.move)
    return [
        _figure(
            facts, seen, "X1", "price in → stop-move request written, our own time, p99", seen.computed(0.99), "< 2"
        ),
        _figure(facts, seen, "X1m", "the same, the median", seen.computed(0.5)),
        _figure(
            facts,
            seen,
            "X1w",
            "the same by the clock, waiting for the disk and the processor included, p99",
            seen.took(0.99),
        ),
    ]


async def _x1_closing(
    effort: Effort, facts: VenueFacts, engine: Engine, tap: _Tap, symbols: Sequence[_Symbol]
) -> list[Figure]:
    worst = [(symbol, WORST * symbol.entry / symbol.base) for symbol in symbols]
    seen = await _decisive(effort, engine, tap, symbols, worst, tap.wire.close)
    return [
        _figure(facts, seen, "X1c", "price in → close written, our own time, p99", seen.computed(0.99), "< 2"),
        _figure(facts, seen, "X1cm", "the same, the median", seen.computed(0.5)),
        _figure(facts, seen, "X1cw", "the same by the clock, waiting for the disk included, p99", seen.took(0.99)),
    ]


class _Seen(NamedTuple):
    """Of decisive prices: each one's ms to its request by the clock and computed by us; how many were to be followed,
    and the words for it."""

    both: list[tuple[float, float]]
    asked: int
    note: str

    def took(self, part: float) -> float:
        return _share(sorted(wall for wall, _ in self.both), part)

    def computed(self, part: float) -> float:
        return _share(sorted(own for _, own in self.both), part)


async def _decisive(
    effort: Effort,
    engine: Engine,
    tap: _Tap,
    symbols: Sequence[_Symbol],
    decisive: Sequence[tuple[_Symbol, Decimal]],
    request: str,
) -> _Seen:
    """All symbols tick; a price so many times the last one is put in for each of `decisive` that is still held then
    (the venue's own price may have reached its stop), and the first request about it is looked for."""
    tap.injecting = True
    cpu, began = time.process_time(), time.perf_counter()
    async with writes_seen(tap.asked, tap.aside):
        put, ticks = await _tick(effort, engine, tap, symbols, decisive)
        busy = 100 * (time.process_time() - cpu) / (time.perf_counter() - began)
        await asyncio.sleep(min(MOVE_SECONDS, effort.exit_seconds))
    tap.injecting = False
    both = _took(put, [(at, asked) for at, asked in tap.requests if request in asked])
    note = (
        f"{len(symbols)} symbols, {ticks:,} prices at {TICKS_PER_SECOND}/s each, {len(both)} requests; the process was "
        f"busy {busy:.0f} % of one core"
    )
    return _Seen(both, sum(map(len, put.values())), note)


def _figure(facts: VenueFacts, seen: _Seen, name: str, what: str, value: float, aim: str = "–") -> Figure:
    missing = seen.asked - len(seen.both)
    return Figure(
        id=name,
        venue=facts.name.value,
        what=what,
        unit="ms",
        samples=(value,) if seen.both else (),
        aim=aim,
        others="–",
        note=seen.note,
        failed=f"{missing} of {seen.asked} decisive prices were not followed by a request" if missing else "",
    )


def _share(ordered: Sequence[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else float("nan")


async def _tick(
    effort: Effort, engine: Engine, tap: _Tap, symbols: Sequence[_Symbol], decisive: Sequence[tuple[_Symbol, Decimal]]
) -> tuple[dict[str, list[_Moment]], int]:
    """When the decisive price of each symbol was there, and how many prices there were; until all of them have been put
    in, as far as there is time."""
    rate, sent, begun = TICKS_PER_SECOND * len(symbols), 0, 0
    put: dict[str, list[_Moment]] = {}
    started = time.perf_counter()
    while begun < len(decisive) and (passed := time.perf_counter() - started) < effort.exit_seconds:
        with tap.aside():
            due = int(passed * rate)
            now_ms = time.time_ns() // 1_000_000
            for number in range(sent, due):
                symbol = symbols[number % len(symbols)]
                text = symbol.texts[number // len(symbols) % len(JITTER)]
                tap.put(tap.wire.mark(now_ms, symbol.name, text).encode("ascii"))
            sent = max(sent, due)
        if begun < int(passed * tap.wire.moves_per_second):
            symbol, by = decisive[begun]
            if engine.orders.state.positions_on(symbol.instrument):
                _decide(tap, put, symbol, by, now_ms)
            begun += 1
        await asyncio.sleep(STEP_SECONDS)
    return put, sent


def _decide(tap: _Tap, put: dict[str, list[_Moment]], symbol: _Symbol, by: Decimal, now_ms: int) -> None:
    with tap.aside():
        symbol.at(symbol.base * by)
        frame = tap.wire.mark(now_ms, symbol.name, symbol.texts[0]).encode("ascii")
    put.setdefault(symbol.name, []).append(tap.now())
    tap.put(frame)


def _took(put: Mapping[str, Sequence[_Moment]], moves: Sequence[tuple[_Moment, str]]) -> list[tuple[float, float]]:
    """Milliseconds from each price to the first request about its symbol: by the clock, and computed by us."""
    found = []
    for name, moments in put.items():
        asked = [when for when, request in moves if _about(name, request)]
        for at, until in zip(moments, [*moments[1:], None], strict=True):
            later = [when for when in asked if when >= at and (until is None or when < until)]
            if later:
                first = min(later)
                found.append(((first.wall - at.wall) / 1e6, (first.cpu - at.cpu) / 1e6))
    return found


def _about(name: str, asked: str) -> bool:
    return f"symbol={name}&" in asked or f'"{name}"' in asked or asked.rstrip().endswith(f"symbol={name}")


async def _x3(facts: VenueFacts, engine: Engine, tap: _Tap, symbols: Sequence[_Symbol]) -> list[Figure]:
    """Straight calls, without a socket: where nothing follows, and where everything is judged."""
    calm, judged = [], []
    for _ in range(5):
        for symbol in symbols:
            now_ms = time.time_ns() // 1_000_000
            tap.put(tap.wire.mark(now_ms, symbol.name, symbol.texts[0]).encode("ascii"))
        await asyncio.sleep(0.2)
        started = time.perf_counter()
        for symbol in symbols:
            engine.exits.on_tick(symbol.instrument)
        calm.append((time.perf_counter() - started) * 1e6 / len(symbols))
        started = time.perf_counter()
        await engine.exits.look_at_all()
        judged.append((time.perf_counter() - started) * 1e6 / len(symbols))
    note = f"{len(symbols)} positions, five rounds; the price is stored already"

    def figure(name: str, what: str, samples: Sequence[float]) -> Figure:
        return Figure(
            id=name,
            venue=facts.name.value,
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
