"""The programs of a wave campaign and what can be asked of them: the venues' own records, the daemon, its signals."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.campaigns.deaths import Death
from tests.campaigns.processes import Process, ask, running
from tests.campaigns.wave_judge import open_and_protected
from tests.campaigns.wave_plans import Plan, Weather
from tools.bench.venues import VENUES, VenueFacts
from tools.bench.waves import StampedFeed
from tools.signal_feed import Session
from tools.signal_server import serving

EMPTY_SECONDS = 2.0
COME_SECONDS = 60.0
"""For the daemon to come to the signal server: a venue that hangs is waited for at the start."""
Deal = Sequence[tuple[str, str]]
"""Signals of one wave: venue and the venue's symbol."""


@dataclass(slots=True, kw_only=True)
class Market:
    """One simulator. `dead`: nobody asks it anything any more."""

    facts: VenueFacts
    url: str
    process: Process
    dead: bool = False

    def ask(self, path: str) -> Any:
        return ask(f"{self.url}/_sim/{path}")

    def listed(self) -> list[str]:
        return self.facts.listed(ask(self.url + self.facts.listing))

    def left(self) -> list[str]:
        state, name = self.ask("state"), self.facts.name
        return [
            *(f"{name} {row['symbol']} is still open: {row['qty']}" for row in state["positions"]),
            *(f"{name} {row['symbol']}: an order is left behind, {row['client_id']}" for row in state["orders"]),
        ]


@contextmanager
def markets(names: Sequence[str], plan: Plan, folder: Path, seed: int) -> Iterator[list[Market]]:
    """The simulators of those venues, up while inside; one that hangs is woken to be ended."""
    with ExitStack() as stack:
        up = []
        for name in names:
            command = ["-m", "tools.venuesim", "--venue", name, "--latency-ms", f"{plan.latency_ms:g}"]
            command += ["--seed", str(seed), "--symbols", str(plan.symbols(len(names))), "--balance", "1000000"]
            command += ["--log", str(folder / f"{name}.requests.jsonl")]
            process = stack.enter_context(running(command, folder / f"{name}.err"))
            stack.callback(_wake, process)
            up.append(Market(facts=VENUES[name], url=process.ready_line()["url"], process=process))
        yield up


def _wake(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.child.send_signal(signal.SIGCONT)


@dataclass(slots=True, kw_only=True)
class World:
    """Where a running wave is looked at."""

    markets: Sequence[Market]
    daemon: Process
    folder: Path
    weather: Weather
    death: Death | None = None

    @property
    def living(self) -> list[Market]:
        return [market for market in self.markets if not market.dead]

    def resident_mib(self) -> float:
        status = Path(f"/proc/{self.daemon.child.pid}/status").read_text("ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024

    def judge(self, wave: Deal, limit: int) -> tuple[int, list[str]]:
        """How many positions are open at the living venues, and what is wrong with them."""
        opened, wrong = 0, []
        for market in self.living:
            state, protection = market.ask("state"), market.ask("protection")
            opened += len(state["positions"])
            mine = [symbol for name, symbol in wave if name == market.facts.name]
            wrong += [f"{market.facts.name} {what}" for what in open_and_protected(mine, state, protection)]
        names = {market.facts.name.value for market in self.living}
        allowed = min(sum(1 for name, _ in wave if name in names), limit)
        if opened > allowed or (opened < allowed and not self.weather.refuses):
            wrong.append(f"{opened} positions are open, {allowed} should be")
        return opened, wrong

    def begin_faults(self, number: int) -> None:
        """Before wave `number`, counted from 1."""
        if self.death is not None and self.death.wave == number:
            kill(self.death, self.markets)
        for market in self.living:
            for fault in self.weather.at(market.facts, number):
                ask(f"{market.url}/_sim/fault", {"count": 1, **fault})

    def end_faults(self) -> None:
        if self.weather.faults:
            for market in self.living:
                ask(f"{market.url}/_sim/fault", method="DELETE")

    def told(self) -> int:
        """How many waves the daemon has reported."""
        return (self.folder / "daemon.err").read_bytes().count(b" wave.done ")

    def close_all(self) -> list[str]:
        """Over the control socket, as the tools do; what is not flat and empty afterwards."""
        answer = control(self.folder / "data" / "control.sock", {"command": "close", "symbol": None, "venue": None})
        if not answer["ok"]:
            return [f"closing was refused: {answer['error']}"]
        wrong = [
            f"{row['symbol']} could not be closed: {row['detail']}, {row['left_orders']} orders left"
            for row in answer["result"]
            if not row["flat"] or row["left_orders"]
        ]
        deadline = time.monotonic() + EMPTY_SECONDS
        while (left := self._left()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return [*wrong, *left]

    def _left(self) -> list[str]:
        return [what for market in self.living for what in market.left()]


def kill(death: Death, up: Iterable[Market]) -> None:
    """The venue is asked nothing from now on."""
    for market in up:
        if market.facts.name == death.venue:
            market.dead = True
            death.strike(market.process, market.facts, market.url)


def control(path: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """One order over the daemon's control socket."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(60.0)
        link.connect(str(path))
        link.sendall(json.dumps(request).encode() + b"\n")
        with link.makefile("rb") as lines:
            answer: dict[str, Any] = json.loads(lines.readline())
    return answer


class Arrivals(StampedFeed):
    """Waves that begin when the daemon has come."""

    def __init__(self, waves: Sequence[Sequence[Mapping[str, Any]]], *, first_ms: int, gap_ms: int) -> None:
        super().__init__(waves, gap_ms, first_ms=first_ms)
        self._come = threading.Event()
        self._came = 0.0

    def connect(self, now_ms: int) -> Session:
        if not self._come.is_set():
            self._came = time.monotonic()
            self._come.set()
        return super().connect(now_ms)

    def came(self) -> float:
        """The monotonic moment. Raises TimeoutError."""
        if not self._come.wait(COME_SECONDS):
            raise TimeoutError(f"the daemon did not come for its signals within {COME_SECONDS:g} s")
        return self._came


@contextmanager
def served(feed: StampedFeed) -> Iterator[str]:
    """The address of a signal server on a thread of its own."""
    ready, end = threading.Event(), threading.Event()
    urls: list[str] = []

    async def serve() -> None:
        async with serving(feed) as url:
            urls.append(url)
            ready.set()
            await asyncio.to_thread(end.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="signals")
    thread.start()
    try:
        ready.wait(COME_SECONDS)
        yield urls[0]
    finally:
        end.set()
        thread.join()
