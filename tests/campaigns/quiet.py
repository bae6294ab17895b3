"""A long stretch of healthy trading in virtual time, and real faults one after the other: how often are people alarmed?

Healthy trading must alarm nobody; each fault must alarm once until it is over, however long it lasts (OPS-05).
`python -m tests.campaigns.quiet --hours 24` takes some minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import structlog

from tests.fakes.virtual_loop import VirtualLoop
from tests.scenarios.alert_worlds import AlertWorld
from tests.scenarios.log_lines import Line, LogLines
from tests.scenarios.worlds import PAIRS, a_signal

WAVE_MS: Final = 900_000
FAULT_SECONDS: Final = 200.0
CALM_SECONDS: Final = 100.0
_LOUD: Final = {"warning", "critical"}
_LENIENT: Final[Mapping[str, Any]] = {
    "MAX_DAILY_LOSS": "1000000",
    "SL_STREAK_LIMIT": "1000",
    "MAX_DRAWDOWN_PERCENT": "0",
}
_WORLD: Final[Mapping[str, Any]] = {"symbols": 6}


def alarms(said: LogLines) -> list[Line]:
    """Notices that are not mere information."""
    return [line for line in said.of("notice") if line["level"] in _LOUD]


async def healthy(folder: Path, hours: float) -> tuple[LogLines, AlertWorld]:
    """Waves every quarter of an hour, entered, stopped out and trailed; nothing is broken."""
    said = LogLines()
    async with AlertWorld(folder, **_WORLD) as world:
        await world.play(*(_wave(number) for number in range(math.ceil(hours * 3_600_000 / WAVE_MS))))
        async with world.running(**_LENIENT):
            await asyncio.sleep(hours * 3_600)
        return said, world


def _wave(number: int) -> dict[str, Any]:
    pair = PAIRS[number % 3]
    side = "LONG" if number % 2 else "SHORT"
    return {"at_ms": 5_000 + number * WAVE_MS, "signals": [a_signal(pair, direction=side, id=f"quiet-{number}")]}


def _at_venue(kind: str, **body: Any) -> Callable[[AlertWorld], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def faulty(world: AlertWorld) -> AsyncIterator[None]:
        await world.fault(kind, **body)
        yield
        await world.forgive()

    return faulty


@asynccontextmanager
async def _full_disk(_world: AlertWorld) -> AsyncIterator[None]:
    with patch.object(shutil, "disk_usage", lambda _folder: shutil._ntuple_diskusage(10**9, 10**9, 0)):
        yield


FAULTS: Final[Mapping[str, Callable[[AlertWorld], AbstractAsyncContextManager[None]]]] = {
    "stream": _at_venue("disconnect_stream", match={"stream": "/private"}, count=-1),
    "venue": _at_venue("maintenance", count=-1, code=-1016),
    "key": _at_venue("revoke_key", duration_ms=FAULT_SECONDS * 1_000),
    "disk": _full_disk,
}
"""By the kind of the alarm that each must raise."""


async def broken(folder: Path, kind: str) -> LogLines:
    """One fault of this kind, that lasts some minutes and is then over."""
    said = LogLines()
    async with AlertWorld(folder, **_WORLD) as world:
        await world.play({"at_ms": 5_000, "signals": [a_signal()]})
        async with world.running(**_LENIENT):
            await asyncio.sleep(20)
            async with FAULTS[kind](world):
                await asyncio.sleep(FAULT_SECONDS)
            await asyncio.sleep(CALM_SECONDS)
    return said


def main() -> int:
    """Exit status 1 when somebody was alarmed for nothing, or not once for a fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--hours", type=float, default=24.0, help="of healthy trading (default 24)")
    arguments = parser.parse_args()
    structlog.configure(processors=[_unseen])
    with tempfile.TemporaryDirectory() as folder:
        said, world = _run(healthy(Path(folder), arguments.hours))
        false = alarms(said)
        kinds = [line["kind"] for line in said.of("notice")]
        print(f"{arguments.hours:g} h healthy: {len(kinds)} notices in {len(world.ear.messages)} messages")
        print(", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds))))
        for line in false:
            print(f"false alarm: {line['kind']}: {line['text']}")
    wrong = len(false)
    for kind in FAULTS:
        with tempfile.TemporaryDirectory() as folder:
            told = [line["kind"] for line in alarms(_run(broken(Path(folder), kind)))]
        print(f"fault {kind}: {told}")
        wrong += told != [kind]
    return 1 if wrong else 0


def _run(work: Any) -> Any:
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


def _unseen(_logger: object, _method: str, _line: Line) -> str:
    raise structlog.DropEvent


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        status = main()
        sys.stdout.flush()
        os._exit(status)  # what a simulated world leaves needs no tidying
