"""Waves through the real daemon (W1, W2, W3), timed by the venue's own request log.

A wave begins when the signal server writes its first frame and ends when the venue has answered the last of its entries
and stops. The first stamp is of this process, the others are the venue's, whose clock is another one: the difference is
measured before and after the waves and taken out, and a run in which it changed is no measurement.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.bench.ccxt_waves import ccxt_waves
from tools.bench.effort import Effort
from tools.bench.figure import Figure
from tools.bench.processes import BenchError, daemon, simulator
from tools.signal_feed import Form, Line, Session, SignalFeed
from tools.signal_server import serving

WAVE = 6
FIRST_WAVE_MS = 1_000
"""After the daemon has logged in at the signal server."""
SETTLE_MS = 1_500
COLLECT_MS = 50
"""The daemon's default WAVE_COLLECT_MS, set so that the floor of W1 can be told."""
CLOCK_MOVE_MS = 2.0
"""More than the probes themselves scatter."""
_OTHERS_W1 = "freqtrade 121, ccxt 9–45, Nautilus list 2.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the venue recorded of one wave. Milliseconds; `naked_ms` the longest time a position of it had no stop."""

    size: int
    entries: int
    stops: int
    lasted_ms: float
    naked_ms: float

    @property
    def complete(self) -> bool:
        return self.entries == self.stops == self.size and math.isfinite(self.naked_ms)


class StampedFeed(SignalFeed):
    """Pushed waves that begin when the daemon has come, and the wall-clock milliseconds at which each signal left."""

    def __init__(self, waves: Sequence[Sequence[Mapping[str, Any]]], gap_ms: int) -> None:
        super().__init__((), Form.PUSHED)
        self._waves = waves
        self._gap_ms = gap_ms
        self.sent: dict[str, float] = {}

    @property
    def lasts_ms(self) -> int:
        return FIRST_WAVE_MS + self._gap_ms * len(self._waves)

    def connect(self, now_ms: int) -> Session:
        if not self.script:
            first = now_ms + FIRST_WAVE_MS
            self.script = tuple(
                Line(at_ms=first + i * self._gap_ms, signals=tuple(wave)) for i, wave in enumerate(self._waves)
            )
        return super().connect(now_ms)

    def filled(self, signal: Mapping[str, Any]) -> dict[str, Any]:
        if "id" in signal:
            self.sent[str(signal["id"])] = time.time_ns() / 1e6
        return super().filled(signal)


async def wave_figures(effort: Effort, wanted: frozenset[str]) -> list[Figure]:
    """W1, W2 and W3, as far as they are wanted."""
    figures = []
    if wanted & {"W1", "W2"}:
        told = await _run(effort, [WAVE] * effort.waves)
        if "W1" in wanted:
            figures.append(_w1(effort, told, await ccxt_waves(effort, WAVE)))
        if "W2" in wanted:
            figures.append(_w2(effort, told))
    if "W3" in wanted:
        # A venue and a daemon for each pair: earlier large waves would leave too little of the allowed order rate.
        pairs = [await _run(effort, [1, effort.large_wave]) for _ in range(effort.large_waves)]
        figures.append(_w3(effort, pairs))
    return figures


async def _run(effort: Effort, sizes: Sequence[int]) -> list[Told]:
    gap_ms = round(SETTLE_MS + 6 * effort.latency_ms)
    async with simulator(latency_ms=effort.latency_ms, symbols=max(40, sum(sizes))) as venue:
        symbols = iter(await venue.symbols())
        waves = [[_signal(symbol) for symbol in itertools.islice(symbols, size)] for size in sizes]
        feed = StampedFeed(waves, gap_ms)
        with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as folder:
            async with serving(feed) as url:
                settings = {"SIGNAL_WS_URL": url, "SIGNAL_WS_TOKEN": "bench", "WAVE_COLLECT_MS": str(COLLECT_MS)}
                ahead = await venue.clock_ahead_ms()
                async with daemon(Path(folder), venue, settings):
                    await asyncio.sleep((feed.lasts_ms + 4 * effort.latency_ms) / 1000)
                    requests, lives = await venue.ask("requests?since=0"), await venue.ask("protection")
                moved = await venue.clock_ahead_ms() - ahead
    if abs(moved) > CLOCK_MOVE_MS:
        raise BenchError(f"this machine's clock moved against the venue's by {moved:.1f} ms during the waves")
    starts = [min(feed.sent.get(signal["id"], math.inf) for signal in wave) + ahead for wave in waves]
    if any(map(math.isinf, starts)):
        raise BenchError(f"only {len(feed.sent)} of {sum(sizes)} signals were sent: the daemon did not log in in time")
    ends = [*starts[1:], math.inf]
    return [_told(wave, start, end, requests, lives) for wave, start, end in zip(waves, starts, ends, strict=True)]


def _signal(symbol: str) -> dict[str, Any]:
    return {
        "id": f"bench-{symbol}",
        "pair_symbol": symbol,
        "direction": "LONG",
        "total_score": 50,
        "timestamp": "$now",
    }


def _told(
    wave: Sequence[Mapping[str, Any]],
    start: float,
    end: float,
    requests: Sequence[Mapping[str, Any]],
    lives: Sequence[Mapping[str, Any]],
) -> Told:
    mine = [row for row in requests if start <= row["received"] < end and row["status"] == 200]
    answered = {lane: [row["answered"] for row in mine if row["lane"] == lane] for lane in ("order", "stop")}
    naked = {row["symbol"]: row["max_unprotected_ms"] for row in lives if row["protected"] is not None}
    return Told(
        size=len(wave),
        entries=len(answered["order"]),
        stops=len(answered["stop"]),
        lasted_ms=max((time for times in answered.values() for time in times), default=math.nan) - start,
        naked_ms=max((float(naked.get(signal["pair_symbol"], math.inf)) for signal in wave), default=math.nan),
    )


def _incomplete(told: Sequence[Told]) -> str:
    short = [wave for wave in told if not wave.complete]
    said = (f"{wave.entries} entries and {wave.stops} stops of {wave.size}" for wave in short)
    return "not every order was acknowledged: " + "; ".join(said) if short else ""


def _w1(effort: Effort, told: Sequence[Told], ccxt_ms: Sequence[float]) -> Figure:
    ccxt = statistics.median(ccxt_ms) / effort.latency_ms
    floor = 2 + COLLECT_MS / effort.latency_ms
    return Figure(
        id="W1",
        what=f"wave of {WAVE}: first signal frame → {WAVE} entries and {WAVE} stops acknowledged",
        unit="D",
        samples=tuple(wave.lasted_ms / effort.latency_ms for wave in told),
        aim="≤ 2.2",
        others=_OTHERS_W1,
        beside=ccxt,
        beside_name="ccxt as it comes",
        beside_measured=True,
        note=f"D = {effort.latency_ms:g} ms, leverage confirmed; {floor:.2f} D is the least there can be: "
        f"the {COLLECT_MS} ms of WAVE_COLLECT_MS, one D for the entry, one for the stop that follows its fill",
        failed=_incomplete(told),
    )


def _w2(effort: Effort, told: Sequence[Told]) -> Figure:
    return Figure(
        id="W2",
        what="longest time without a stop, by the venue's record",
        unit="D",
        samples=tuple(wave.naked_ms / effort.latency_ms for wave in told),
        worst=True,
        aim="≤ 1.1",
        others="freqtrade 54–94, Nautilus 1",
        beside=1.0,
        beside_name="Nautilus",
        note="the worst position of each wave; the figure is the worst of all",
        failed=_incomplete(told),
    )


def _w3(effort: Effort, pairs: Sequence[Sequence[Told]]) -> Figure:
    ratios = [large.lasted_ms / single.lasted_ms for single, large in pairs]
    large = statistics.median(large.lasted_ms for _, large in pairs) / effort.latency_ms
    single = statistics.median(single.lasted_ms for single, _ in pairs) / effort.latency_ms
    return Figure(
        id="W3",
        what=f"W1 at {effort.large_wave} signals / at 1",
        unit="×",
        samples=tuple(ratios),
        aim="≤ 1.15",
        others="ccxt default 10–28",
        beside=10.0,
        beside_name="ccxt default",
        note=f"1 signal in {single:.2f} D, {effort.large_wave} in {large:.2f} D; fresh venue and daemon for each pair",
        failed=_incomplete([wave for pair in pairs for wave in pair]),
    )
