"""The whole daemon inside this process, so that its own parts can be given work and measured: the orchestrator's boot,
real sockets to a simulator, real journal and audit log, log lines to a file as in production."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from core.assembly import Engine
from core.clock import SystemClock
from core.config import Settings, load_settings
from core.engine.records import JournalState
from core.lifecycle.last_run import LastRun
from core.lifecycle.opening import Opening
from core.logs import configure_logging
from core.orchestrator import Host, Orchestrator, Shown
from core.storage.writer import WriterThread
from core.supervision.collector import Collector
from core.transport import Transport, real_transport
from tools.bench.processes import READY_SECONDS, BenchError, Simulator, environment

WARM_SECONDS = 60.0


class _Watched(Orchestrator):
    """Hands out its engine when it is ready."""

    def __init__(self, settings: Settings, host: Host) -> None:
        super().__init__(settings, host)
        self.ready: asyncio.Future[Engine] = asyncio.get_running_loop().create_future()

    async def _boot(self, engine: Engine, held: JournalState, last: LastRun, opening: Opening, shown: Shown) -> None:
        await super()._boot(engine, held, last, opening, shown)
        self.ready.set_result(engine)


@asynccontextmanager
async def inner_daemon(
    folder: Path,
    venues: Sequence[Simulator],
    settings: Mapping[str, str] | None = None,
    transport: Callable[[str], Transport] = real_transport,
) -> AsyncIterator[Engine]:
    """Ready to trade while inside; no signal source of its own. Raises BenchError when it does not come up."""
    read = load_settings({**environment(folder, venues), **(settings or {})}, None)
    async with AsyncExitStack() as stack:
        console = stack.enter_context((folder / "console.log").open("w", encoding="utf-8"))
        stack.enter_context(configure_logging(read.process.log_dir, read.process.log_level, console=console))
        host = Host(clock=SystemClock(), transport=transport, executor=_writer, collector=Collector())
        daemon = _Watched(read, host)
        run = asyncio.ensure_future(daemon.run())
        try:
            both: list[asyncio.Future[Any]] = [run, daemon.ready]
            await asyncio.wait(both, timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not daemon.ready.done():
                raise BenchError("the daemon was not ready in time")
            yield daemon.ready.result()
        finally:
            daemon.stop.set()
            await run


def _writer() -> WriterThread:
    return WriterThread("storage")


async def warm(engine: Engine) -> None:
    """Until the filters' inputs of every instrument that may be entered are known. Raises BenchError."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WARM_SECONDS
    while (covered := engine.screener.coverage)[0] < covered[1]:
        if loop.time() > deadline:
            raise BenchError(f"only {covered[0]} of {covered[1]} symbols were screened within {WARM_SECONDS:g} s")
        await asyncio.sleep(0.1)
