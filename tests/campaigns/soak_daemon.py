"""The daemon of a soak: as `main.py` runs it, and beside it one task that writes down what it uses, a line a second.

`python -m tests.campaigns.soak_daemon FILE SECONDS`, settings from the environment. What is remembered for hours, or by
the thousand, is remembered for so many seconds, or by the hundred: then it is full while one still looks. SIGUSR1 asks
for a census: how much every container of the daemon holds.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from core.assembly import Engine
from core.clock import SystemClock
from core.config import load_settings
from core.domain import ledger
from core.engine import protections, state, wave_processor
from core.engine.records import JournalState
from core.engine.wave_processor import WaveProcessor
from core.lifecycle.last_run import LastRun
from core.lifecycle.opening import Opening
from core.logs import configure_logging
from core.orchestrator import Host, Orchestrator, Shown
from core.storage.writer import WriterThread
from core.transport import real_transport
from core.venues.bybit import position_stops
from main import _loop_factory
from tests.campaigns.census import census

EVERY_SECONDS = 1.0
STEP_SECONDS = 0.01
"""How often the loop is asked how late it is."""


class Sampled(Orchestrator):
    """`out` gets one JSON line for each second since the daemon was ready."""

    out: Path
    _sampler: asyncio.Task[None] | None = None

    async def _boot(self, engine: Engine, held: JournalState, last: LastRun, opening: Opening, shown: Shown) -> None:
        await super()._boot(engine, held, last, opening, shown)
        self._counting = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._counting.set)
        self._sampler = asyncio.create_task(self._sample(engine, shown.waves), name="soak/samples")

    async def sampled(self) -> None:
        """After the end: raises what went wrong with the samples."""
        if self._sampler is not None:
            await self._sampler

    async def _sample(self, engine: Engine, waves: WaveProcessor) -> None:
        began = time.monotonic()
        with self.out.open("a", encoding="utf-8") as file:
            while not self.stop.is_set():
                late = await self._lateness()
                told = {"at_s": round(time.monotonic() - began, 1), "late_ms": late, **self._uses(engine, waves)}
                if self._counting.is_set():
                    self._counting.clear()
                    gc.collect()
                    told["census"] = census(engine)
                file.write(json.dumps(told) + "\n")
                file.flush()

    async def _lateness(self) -> list[float]:
        """Milliseconds, of every step of one second."""
        loop, late = asyncio.get_running_loop(), []
        until = loop.time() + EVERY_SECONDS
        while (due := loop.time() + STEP_SECONDS) < until:
            await asyncio.sleep(STEP_SECONDS)
            late.append(round(1000 * (loop.time() - due), 2))
        return late

    def _uses(self, engine: Engine, waves: WaveProcessor) -> dict[str, Any]:
        status = Path("/proc/self/status").read_text("ascii")
        resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
        files, sockets = _descriptors()
        process = self._settings.process
        assert self.queries is not None
        picture = self.queries.status()
        return {
            "resident_kib": resident,
            "tasks": len(asyncio.all_tasks()),
            "files": files,
            "sockets": sockets,
            "reconnects": sum(row.reconnects for row in picture.venues),
            "positions": len(picture.positions),
            "waves": waves.finished,
            "bytes": _sizes(process.data_dir, process.log_dir),
        }


def _descriptors() -> tuple[int, int]:
    kinds: Counter[bool] = Counter()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names of numbers, not of files
        try:
            kinds[os.readlink(f"/proc/self/fd/{name}").startswith("socket:")] += 1  # noqa: PTH115
        except FileNotFoundError:  # the one this listing was
            continue
    return kinds[False], kinds[True]


def _sizes(data: Path, logs: Path) -> dict[str, int]:
    found: Counter[str] = Counter()
    for path in (*data.glob("*"), *logs.glob("*")):
        kind = "logs" if path.parent == logs else path.name.split("-2")[0]
        if path.is_file():
            found[kind] += path.stat().st_size
    return dict(found)


def bound(seconds: float) -> None:
    ledger.KEPT_MS = round(seconds * 1000)
    ledger.OVERLAP_MS = ledger.KEPT_MS // 2
    state.REMEMBERED_ENDED_ORDERS = 300
    protections.REMEMBERED = position_stops.REMEMBERED = 100
    wave_processor.SEEN_REMEMBERED = 200


def main() -> int:
    bound(float(sys.argv[2]))
    settings = load_settings(os.environ, None)
    with configure_logging(settings.process.log_dir, settings.process.log_level, secrets=settings.secret_values()):
        host = Host(clock=SystemClock(), transport=real_transport, executor=lambda: WriterThread("storage"))
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return int(runner.run(_live(Sampled(settings, host))).status)


async def _live(daemon: Sampled) -> Any:
    daemon.out = Path(sys.argv[1])
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, daemon.stop.set)
    outcome = await daemon.run()
    await daemon.sampled()
    return outcome


if __name__ == "__main__":
    sys.exit(main())
