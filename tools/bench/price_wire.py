"""The daemon's way to prices made to order (price_source), seen from the process the daemon runs in."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import yarl

from core.transport import Socket, Transport, real_transport
from tools.bench.price_words import PRICE_WORDS, PriceWords
from tools.bench.processes import READY_SECONDS, BenchError, Simulator, program

ANSWER_SECONDS = 20.0


class Moment(NamedTuple):
    """Nanoseconds: that have passed (`perf_counter_ns`), and that this process has computed."""

    clock: int
    computed: int

    @staticmethod
    def now() -> Moment:
        return Moment(time.perf_counter_ns(), time.process_time_ns())

    def own_ms_since(self, other: Moment) -> float:
        """At most so many milliseconds this process has computed since then, on a core of its own: more cannot have
        passed, and what another process reads of our computing time lags (price_source.clock_of), which adds."""
        return min(self.clock - other.clock, self.computed - other.computed) / 1e6


class Fed(NamedTuple):
    """How many prices came, and when the decisive ones of each symbol left for this process."""

    prices: int
    decisive: Mapping[str, Sequence[Moment]]


class PriceWire:
    """Commands to the source; a symbol's texts are its prices, one after the other and again from the first."""

    def __init__(self, url: str, words: PriceWords, process: asyncio.subprocess.Process) -> None:
        self._url, self._words, self._process = yarl.URL(url), words, process

    def transport(self, name: str) -> Transport:
        """The real one, but for where its socket of prices leads."""
        real = real_transport(name)
        return Transport(http=real.http, socket=lambda: _Led(real.socket(), self))

    def led(self, url: str) -> str:
        """Where a socket that is to be opened at `url` leads."""
        asked = yarl.URL(url)
        if not any(path and asked.path.startswith(path) for path in (self._words.path, self._words.beside)):
            return url
        return str(asked.with_scheme("ws").with_host(str(self._url.host)).with_port(self._url.port))

    def feed(self, texts: Mapping[str, Sequence[str]], rate: float) -> None:
        """From now on, so many prices a second in all."""
        self._say("feed", texts, float(rate))

    def decide(self, name: str, texts: Sequence[str]) -> None:
        """The first of these now, the others when it is that symbol's turn."""
        self._say("decide", name, texts)

    def once(self, prices: Mapping[str, str]) -> None:
        """One price of each symbol, at once."""
        self._say("once", prices)

    async def rest(self) -> Fed:
        """The venue's own prices again. Raises BenchError."""
        self._say("rest")
        told = await _line(self._process, ANSWER_SECONDS)
        return Fed(told["prices"], {name: [Moment(*moment) for moment in put] for name, put in told["put"].items()})

    def _say(self, *command: object) -> None:
        assert self._process.stdin is not None  # noqa: S101 - asked for below
        self._process.stdin.write(json.dumps(command).encode() + b"\n")


class _Led:
    """A socket that opens where the wire says."""

    def __init__(self, inner: Socket, wire: PriceWire) -> None:
        self._inner, self._wire = inner, wire
        self.send, self.receive, self.ping, self.close = inner.send, inner.receive, inner.ping, inner.close

    async def open(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        await self._inner.open(self._wire.led(url), headers)


@asynccontextmanager
async def price_wire(venue: Simulator) -> AsyncIterator[PriceWire]:
    """Between that venue and this process while inside. Raises BenchError."""
    root = str(yarl.URL(venue.url).with_scheme("ws")).rstrip("/")
    command = ["-m", "tools.bench.price_source", venue.facts.name.value, root, str(os.getpid())]
    environment = {"PATH": os.environ.get("PATH", "")}
    async with program(command, environment, stdin=True, stdout=True) as process:
        url = await _line(process, READY_SECONDS)
        yield PriceWire(url, PRICE_WORDS[venue.facts.name], process)


async def _line(process: asyncio.subprocess.Process, seconds: float) -> Any:
    assert process.stdout is not None  # noqa: S101 - asked for above
    async with asyncio.timeout(seconds):
        line = await process.stdout.readline()
    if not line:
        raise BenchError("the source of prices ended; what it said stands above")
    return json.loads(line)
