"""The programs under measurement: a simulator and the daemon in its live form, each a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from tools.bench.venues import BINANCE, PROBE, VenueFacts

PROJECT_ROOT: Final = Path(__file__).resolve().parent.parent.parent
READY_SECONDS: Final = 40.0
STOP_SECONDS: Final = 15.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_WALLET: Final = "1000000"
CLOCK_PROBES: Final = 7
ENTRY_USDT: Final = 500
ROOMY_USDT: Final = Decimal(2 * ENTRY_USDT)
"""What one market order must be able to be worth, whatever the price does meanwhile."""


class BenchError(RuntimeError):
    """What was to be measured did not come about; the text says what."""


class Simulator(Struct, frozen=True):
    """A running venue; `url` is its root."""

    url: str
    facts: VenueFacts

    async def ask(self, path: str) -> Any:
        """A GET of its control interface, e.g. `requests?since=0`."""
        return await asyncio.to_thread(self._get, f"/_sim/{path}")

    async def last_request(self) -> int:
        """Its number in the venue's log, for `requests?since=`."""
        return max((row["n"] for row in await self.ask("requests?since=0")), default=0)

    async def symbols(self) -> list[str]:
        """The venue's names of its USDT perpetuals that trade and take an entry in one order, in its own order."""
        listing = await asyncio.to_thread(self._get, self.facts.listing)
        tickers = await asyncio.to_thread(self._get, self.facts.tickers) if self.facts.tickers else None
        most = self.facts.most(listing, tickers)
        return [symbol for symbol in self.facts.listed(listing) if most.get(symbol, ROOMY_USDT) >= ROOMY_USDT]

    async def contract_size(self, symbol: str) -> Decimal:
        """Base units in what the venue counts that symbol in."""
        return self.facts.contract_size(await asyncio.to_thread(self._get, self.facts.listing), symbol)

    async def clock_ahead_ms(self) -> float:
        """How far the clock of its request log is ahead of this machine's wall clock, milliseconds (negative: behind).

        They differ by what the simulator does between reading the time and starting to count. The least of some
        probes: each is late by the way of its request, some tenths of a millisecond.
        """
        seen = await self.last_request()
        sent = []
        for _ in range(CLOCK_PROBES):
            sent.append(time.time_ns() / 1e6)
            await asyncio.to_thread(self._probe)
        probes = [row for row in await self.ask(f"requests?since={seen}") if row["path"] == PROBE]
        if len(probes) != CLOCK_PROBES:
            raise BenchError(f"{len(probes)} of {CLOCK_PROBES} clock probes are in the venue's log")
        return min(float(row["received"]) - left for row, left in zip(probes, sent, strict=True))

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:  # noqa: S310 - loopback, made by us
            return json.load(answer)

    def _probe(self) -> None:
        with suppress(urllib.error.HTTPError):  # that there is no such path is an answer as well
            self._get(PROBE)


class Daemon(Struct, frozen=True, kw_only=True):
    """A daemon that has said "ready": CPU and wall seconds it took to get there."""

    pid: int
    ready_cpu_seconds: float
    ready_wall_seconds: float

    def memory_mib(self, field: str = "VmRSS") -> float:
        """`VmRSS` now, `VmHWM` at its highest."""
        for line in Path(f"/proc/{self.pid}/status").read_text("ascii").splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 1024
        raise BenchError(f"/proc tells no {field}")


@asynccontextmanager
async def simulator(
    facts: VenueFacts = BINANCE, *, latency_ms: float, symbols: int, tick_hz: float = 2.0
) -> AsyncIterator[Simulator]:
    """A simulator of that venue, up while inside. `tick_hz`: price steps per second."""
    command = ["-m", "tools.venuesim", "--venue", facts.name.value, "--latency-ms", str(latency_ms)]
    command += ["--symbols", str(symbols), "--balance", _WALLET, "--tick-hz", f"{tick_hz:g}"]
    async with program(command, {"PATH": os.environ.get("PATH", "")}, stdout=True) as process:
        assert process.stdout is not None  # noqa: S101 - asked for above
        async with asyncio.timeout(READY_SECONDS):
            line = await process.stdout.readline()
        if not line:
            raise BenchError(f"the simulator ended before it was ready; run python -m {' '.join(command[1:4])}")
        yield Simulator(json.loads(line)["url"], facts)


@asynccontextmanager
async def simulators(
    venues: Sequence[VenueFacts], *, latency_ms: float, symbols: int, tick_hz: float = 2.0
) -> AsyncIterator[list[Simulator]]:
    """One of each, all up while inside; so many symbols each."""
    async with AsyncExitStack() as stack:
        up = []
        for facts in venues:
            one = simulator(facts, latency_ms=latency_ms, symbols=symbols, tick_hz=tick_hz)
            up.append(await stack.enter_async_context(one))
        yield up


@asynccontextmanager
async def daemon(
    folder: Path, venues: Sequence[Simulator], settings: Mapping[str, str] | None = None
) -> AsyncIterator[Daemon]:
    """`main.py` in live form with an environment of its own, ready; ended with SIGTERM."""
    dotenv = folder / "empty.env"
    dotenv.touch(mode=0o600)
    started = time.monotonic()
    command = ["main.py", "--env-file", str(dotenv)]
    async with program(command, environment(folder, venues) | dict(settings or {}), stderr=True) as process:
        cpu = await _ready_cpu(process)
        wall = time.monotonic() - started
        async with asyncio.TaskGroup() as tasks:
            drain = tasks.create_task(_drain(process))
            yield Daemon(pid=process.pid, ready_cpu_seconds=cpu, ready_wall_seconds=wall)
            drain.cancel()


def environment(folder: Path, venues: Sequence[Simulator]) -> dict[str, str]:
    """The default leverage of the simulator, so that it is confirmed without a request; limits out of the way; no
    strategy, so that nothing trades but what is measured."""
    own = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "DATA_DIR": str(folder / "data"),
        "LOG_DIR": str(folder / "logs"),
        "LEVERAGE": "20",
        "STRATEGY": "none",
        "POSITION_SIZE_USD": str(ENTRY_USDT),
        "MAX_POSITIONS": "1000",
        "MAX_EXPOSURE_USD": "10000000",
        "MAX_TRADES_PER_WAVE": "1000",
        "TRAILING_MODE": "off",
        "BREAKEVEN_ACTIVATION_PERCENT": "0",
        "COOLDOWN_AFTER_LOSS_SECONDS": "0",
        "COOLDOWN_SAME_SIDE_SECONDS": "0",
        "COOLDOWN_OPPOSITE_SIDE_SECONDS": "0",
    }
    for venue in venues:
        own |= venue.facts.settings(venue.url)
    return own


async def _ready_cpu(process: asyncio.subprocess.Process) -> float:
    """CPU seconds, user and system, of the process when its log says ready."""
    assert process.stderr is not None  # noqa: S101 - asked for by whoever started it
    said: list[str] = []
    try:
        async with asyncio.timeout(READY_SECONDS):
            while line := await process.stderr.readline():
                if b" ready " in line:
                    return cpu_seconds(process.pid)
                said.append(line.decode("utf-8", "replace").rstrip())
    except TimeoutError:
        pass  # swallow: told below, with what the daemon said last
    raise BenchError("the daemon was not ready; it said last: " + " | ".join(said[-3:]))


def cpu_seconds(pid: int) -> float:
    """Of all its threads; in steps of the kernel's clock tick, 10 ms as a rule."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def _drain(process: asyncio.subprocess.Process) -> None:
    """A pipe nobody reads would stop its writer."""
    assert process.stderr is not None  # noqa: S101 - asked for by whoever started it
    while await process.stderr.readline():
        pass


@asynccontextmanager
async def program(
    command: list[str],
    env: Mapping[str, str],
    *,
    stdin: bool = False,
    stdout: bool = False,
    stderr: bool = False,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Python with these arguments, running while inside; ended with SIGTERM. What is asked for is a pipe."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        cwd=PROJECT_ROOT,
        env=dict(env),
        stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE if stdout else asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE if stderr else None,
    )
    try:
        yield process
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
