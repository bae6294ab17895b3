"""Replays private stream frames through the daemon's own path: bytes, report, order and position, journal and audit."""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

from msgspec import Struct

from core.clock import SystemClock
from core.domain.order import Order, OrderStatus
from core.domain.reports import Report
from core.engine.bookkeeping import Bookkeeper
from core.engine.order_manager import OrderManager
from core.engine.ports import AuditLog
from core.engine.records import IntentRecord, Journal, JournalState, Record
from core.engine.state import State
from core.logs import configure_logging
from core.storage.audit_log import AuditLog as ChainedAuditLog
from core.storage.journal import SqliteJournal
from core.storage.writer import WriterThread
from tools.bench.frames import Life
from tools.bench.processes import BenchError
from tools.bench.readers import Reader

YIELD_EVERY = 10
"""Frames between two turns of the loop: what a burst on one socket gives."""


class Cost(Struct, frozen=True, kw_only=True):
    """Microseconds a frame. `applied`: until order and position are up to date. `written`: until the last record is in
    its file, as if all frames came at once. `cpu`: of all threads."""

    applied: float
    written: float
    cpu: float


class _NoJournal:
    """Takes records and drops them: the bare figure is that of the state alone."""

    writable = True

    async def append(self, records: Sequence[Record]) -> None:
        del records

    def append_nowait(self, records: Sequence[Record]) -> None:
        del records

    async def load(self) -> JournalState:
        return JournalState(orders=(), positions=(), seen_signals=frozenset(), unfinished_waves=(), values={})

    async def close(self) -> None:
        return


class _NoAudit:
    def record(self, kind: str, data: Mapping[str, Any]) -> None:
        del kind, data


class _Books(Struct, frozen=True, kw_only=True):
    """Where records go; `written` returns when all of them are in their files."""

    journal: Journal
    audit: AuditLog
    written: Callable[[], Awaitable[None]]


async def bare(reader: Callable[[], Reader], before: Sequence[Life], measured: Sequence[Life]) -> Cost:
    """Frames of `measured` with nothing written down, after those of `before` were replayed."""

    async def written() -> None:
        return

    with configure_logging(None, "CRITICAL", console=StringIO()):  # log lines are written down, too
        return await _replay(reader, before, measured, _Books(journal=_NoJournal(), audit=_NoAudit(), written=written))


async def journaled(reader: Callable[[], Reader], before: Sequence[Life], measured: Sequence[Life]) -> Cost:
    """The same with the real journal, audit log and log in a temporary folder, each on its own writer thread."""
    with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as name:
        folder = Path(name)
        with configure_logging(folder / "logs", console=StringIO()):
            async with _storage(folder) as books:
                return await _replay(reader, before, measured, books)


@asynccontextmanager
async def _storage(folder: Path) -> AsyncIterator[_Books]:
    workers = WriterThread("journal"), WriterThread("audit")
    now_ms = SystemClock().now_ms
    journal = SqliteJournal(folder / "journal.db", workers[0], now_ms)
    audit = ChainedAuditLog(folder, workers[1], now_ms)

    async def written() -> None:
        await journal.append(())  # durable, and behind everything posted before it
        while audit.statistics().backlog:  # noqa: ASYNC110 - it has no event for it, and needs none elsewhere
            await asyncio.sleep(0.0005)

    await journal.open()
    await audit.open()
    try:
        yield _Books(journal=journal, audit=audit, written=written)
    finally:
        await audit.close()
        await journal.close()
        for worker in workers:
            worker.shutdown()


async def _replay(
    reader: Callable[[], Reader], before: Sequence[Life], measured: Sequence[Life], books: _Books
) -> Cost:
    keeper = Bookkeeper(journal=books.journal, audit=books.audit, clock=SystemClock(), default_stop_percent=Decimal(2))
    orders = OrderManager(clients={}, state=State(), books=keeper, clock=SystemClock())
    orders.on_unresolved(lambda _order, _cause: None)  # where an order is told before its trades they follow at once
    frames = reader()
    for life in before:
        await _register(orders, books.journal, [life])
        frames.expect(life)
        for frame in life.frames:
            orders.apply(frames.decode(frame))
    await _register(orders, books.journal, measured)
    await books.written()
    gc.collect()
    gc.freeze()  # as the daemon does once it is up
    try:
        cost = await _time(measured, frames, orders.apply, books.written)
    finally:
        gc.unfreeze()
    _check(orders, measured)
    return cost


async def _time(
    measured: Sequence[Life],
    reader: Reader,
    apply: Callable[[Sequence[Report]], None],
    written: Callable[[], Awaitable[None]],
) -> Cost:
    clock, decode = time.perf_counter, reader.decode
    applied, count = 0.0, 0
    started, cpu = clock(), time.process_time()
    for life in measured:
        reader.expect(life)
        for start in range(0, len(life.frames), YIELD_EVERY):
            begin = clock()
            for frame in life.frames[start : start + YIELD_EVERY]:
                reports = decode(frame)
                if reports:
                    apply(reports)
            applied += clock() - begin
            await asyncio.sleep(0)
        count += len(life.frames)
    await written()
    micro = 1e6 / count
    return Cost(applied=applied * micro, written=(clock() - started) * micro, cpu=(time.process_time() - cpu) * micro)


async def _register(orders: OrderManager, journal: Journal, fresh: Sequence[Life]) -> None:
    """The intents, as they stand when their orders are on their way."""
    intents = [intent for life in fresh for intent in life.intents]
    orders.restore([Order(intent=intent, status=OrderStatus.IN_FLIGHT) for intent in intents], [])
    await journal.append([IntentRecord(intent=intent, time_ms=0) for intent in intents])


def _check(orders: OrderManager, measured: Sequence[Life]) -> None:
    """A replay that did not do its work was fast for the wrong reason."""
    wrong = sum(orders.counts[name] for name in ("illegal_report", "foreign_report", "duplicate_fill"))
    order = orders.state.order(measured[-1].intents[0].client_order_id)
    if wrong or orders.state.positions() or order is None or not order.ended:
        raise BenchError(f"the replayed frames were not applied as they should be: {dict(orders.counts)}")
