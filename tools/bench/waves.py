"""Waves through the real daemon (W1, W2, W3), timed by the venues' own records.

A wave begins when the signal server writes its first frame and ends when its venues have answered the last of its
entries and stops. Where a stop travels with its entry there is no request for it: it counts from the moment the venue's
record has the position covered. The first stamp is of this process, the others are the venues', whose clocks are
others: the differences are measured before and after the waves and taken out, and a run in which one changed is no
measurement.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from msgspec import Struct

from tools.bench.ccxt_waves import ccxt_waves
from tools.bench.effort import Effort
from tools.bench.figure import Figure
from tools.bench.processes import BenchError, Simulator, daemon, simulators
from tools.bench.venues import VenueFacts, accepted, orders_in, own_orders
from tools.signal_feed import Form, Line, Session, SignalFeed
from tools.signal_server import serving

WAVE, MIXED_WAVE = 6, 30
FIRST_WAVE_MS = 1_000
"""After the daemon has logged in at the signal server."""
COLLECT_MS = 50
"""The daemon's default WAVE_COLLECT_MS, set so that the floor of W1 can be told."""
_OTHERS_W1 = "freqtrade 121, ccxt 9–45, Nautilus list 2.0"


class Told(Struct, frozen=True, kw_only=True):
    """What the venues recorded of one wave. Milliseconds; `naked_ms` the longest time a position of it had no stop."""

    size: int
    entries: int
    stops: int
    lasted_ms: float
    naked_ms: float

    @property
    def complete(self) -> bool:
        return self.entries == self.stops == self.size and math.isfinite(self.naked_ms)

    def beside(self, other: Told) -> Told:
        """The same wave over two venues."""
        return Told(
            size=self.size + other.size,
            entries=self.entries + other.entries,
            stops=self.stops + other.stops,
            lasted_ms=max(self.lasted_ms, other.lasted_ms),
            naked_ms=max(self.naked_ms, other.naked_ms),
        )


class Record(Struct, frozen=True, kw_only=True):
    """What one venue has written down: its request log, the lives of its positions, the ids of its orders."""

    facts: VenueFacts
    requests: Sequence[Mapping[str, Any]]
    lives: Sequence[Mapping[str, Any]]
    orders: Collection[str]

    def told(self, symbols: Sequence[str], start: float, end: float) -> Told:
        """Of those `symbols` that it had in a wave, between two moments of its clock, ms since the epoch."""
        mine = [row for row in self.requests if start <= row["received"] < end and accepted(row)]
        entries = [row for row in mine if row["lane"] == "order"]
        lives = {row["symbol"]: row for row in self.lives if row["protected"] is not None}
        held = [lives[symbol] for symbol in symbols if symbol in lives]
        if self.facts.attaches:
            stopped = [float(life["protected"]) for life in held]
        else:
            stopped = [float(row["answered"]) for row in mine if row["lane"] == "stop"]
        naked = [float(life["max_unprotected_ms"]) for life in held]
        return Told(
            size=len(symbols),
            entries=sum(orders_in(row, self.orders) for row in entries),
            stops=len(stopped),
            lasted_ms=max((*(float(row["answered"]) for row in entries), *stopped), default=math.nan) - start,
            naked_ms=max(naked) if len(held) == len(symbols) else math.inf,
        )


class StampedFeed(SignalFeed):
    """Pushed waves that begin when the daemon has come, and the wall-clock milliseconds at which each signal left."""

    def __init__(
        self, waves: Sequence[Sequence[Mapping[str, Any]]], gap_ms: int, *, first_ms: int = FIRST_WAVE_MS
    ) -> None:
        super().__init__((), Form.PUSHED)
        self._first_ms = first_ms
        self._waves = waves
        self._gap_ms = gap_ms
        self.sent: dict[str, float] = {}

    @property
    def lasts_ms(self) -> int:
        return self._first_ms + self._gap_ms * len(self._waves)

    def connect(self, now_ms: int) -> Session:
        if not self.script:
            first = now_ms + self._first_ms
            self.script = tuple(
                Line(at_ms=first + i * self._gap_ms, signals=tuple(wave)) for i, wave in enumerate(self._waves)
            )
        return super().connect(now_ms)

    def filled(self, signal: Mapping[str, Any]) -> dict[str, Any]:
        if "id" in signal:
            self.sent[str(signal["id"])] = time.time_ns() / 1e6
        return super().filled(signal)


async def wave_figures(effort: Effort, wanted: frozenset[str], venues: Sequence[VenueFacts]) -> list[Figure]:
    """W1, W2 and W3 per venue and over all of them, as far as they are wanted."""
    figures = []
    groups = [[facts] for facts in venues] + ([list(venues)] if len(venues) > 1 else [])
    if wanted & {"W1", "W2", "W3"}:
        for group in groups:
            figures += await _at(effort, group, wanted)
    if "W1m" in wanted and len(venues) > 1:
        figures.append(await _w1m(effort, venues))
    return figures


async def _at(effort: Effort, group: Sequence[VenueFacts], wanted: frozenset[str]) -> list[Figure]:
    small: list[Told] = []
    pairs: list[Sequence[Told]] = []
    single_and_large = [1, effort.large_wave]
    if wanted & {"W1", "W2"} or not effort.fresh_venues:
        told = await _run(effort, group, [WAVE] * effort.waves + ([] if effort.fresh_venues else single_and_large))
        small, rest = told[: effort.waves], told[effort.waves :]
        pairs += [rest] if rest else []
    if "W3" in wanted and effort.fresh_venues:
        # Earlier large waves would leave too little of the allowed order rate.
        pairs = [await _run(effort, group, single_and_large) for _ in range(effort.large_waves)]
    figures = []
    if "W1" in wanted:
        figures.append(_w1(effort, group, small, await ccxt_waves(effort, group, WAVE)))
    if "W2" in wanted:
        figures.append(_w2(effort, group, small))
    if "W3" in wanted:
        figures.append(_w3(effort, group, pairs))
    return figures


async def _run(effort: Effort, venues: Sequence[VenueFacts], sizes: Sequence[int]) -> list[Told]:
    """Waves of those sizes, their signals dealt to the venues in turn."""
    gap_ms = round(effort.settle_ms + 6 * effort.latency_ms) + max(_needs_ms(venues, size) for size in sizes)
    most = max(40, math.ceil(sum(sizes) * 5 / 4 / len(venues)) + len(sizes))
    async with simulators(venues, latency_ms=effort.latency_ms, symbols=most) as up:
        waves = _dealt([(venue.facts, iter(await venue.symbols())) for venue in up], sizes)
        feed = StampedFeed([[_signal(facts, symbol) for facts, symbol in wave] for wave in waves], gap_ms)
        with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as folder:
            async with serving(feed) as url:
                settings = {"SIGNAL_WS_URL": url, "SIGNAL_WS_TOKEN": "bench", "WAVE_COLLECT_MS": str(COLLECT_MS)}
                ahead = [await venue.clock_ahead_ms() for venue in up]
                async with daemon(Path(folder), up, settings):
                    await asyncio.sleep((feed.lasts_ms + 4 * effort.latency_ms) / 1000)
                    records = [await _record(venue) for venue in up]
                moved = [await venue.clock_ahead_ms() - before for venue, before in zip(up, ahead, strict=True)]
    if worst := [shift for shift in moved if abs(shift) > effort.clock_move_ms]:
        raise BenchError(f"this machine's clock moved against a venue's by {worst[0]:.1f} ms during the waves")
    starts = [min(feed.sent.get(_identity(*pair), math.inf) for pair in wave) for wave in waves]
    if any(map(math.isinf, starts)):
        raise BenchError(f"only {len(feed.sent)} of {sum(sizes)} signals were sent: the daemon did not log in in time")
    ends = [*starts[1:], math.inf]
    shifted = list(zip(records, ahead, strict=True))
    return [_over(shifted, wave, start, end) for wave, start, end in zip(waves, starts, ends, strict=True)]


def _over(
    records: Sequence[tuple[Record, float]], wave: Sequence[tuple[VenueFacts, str]], start: float, end: float
) -> Told:
    """One wave at all venues that had a part in it; each record comes with how far its clock is ahead, ms."""
    parts = []
    for record, ahead in records:
        if mine := [symbol for facts, symbol in wave if facts is record.facts]:
            parts.append(record.told(mine, start + ahead, end + ahead))
    return reduce(Told.beside, parts)


def _needs_ms(venues: Sequence[VenueFacts], size: int) -> int:
    """So much longer a wave of that size takes than a small one, by what the venues allow."""
    share = math.ceil(size / len(venues))
    return max((math.ceil(share / facts.rate.orders) - 1) * facts.rate.window_ms for facts in venues)


def _dealt(
    lists: Sequence[tuple[VenueFacts, Iterator[str]]], sizes: Sequence[int]
) -> list[list[tuple[VenueFacts, str]]]:
    turns = itertools.cycle(lists)
    return [[(facts, next(symbols)) for facts, symbols in itertools.islice(turns, size)] for size in sizes]


async def _record(venue: Simulator) -> Record:
    requests, lives = await venue.ask("requests?since=0"), await venue.ask("protection")
    orders = own_orders(await venue.ask("state?all=1"))
    return Record(facts=venue.facts, requests=requests, lives=lives, orders=orders)


def _identity(facts: VenueFacts, symbol: str) -> str:
    return f"bench-{facts.name}-{symbol}"


def _signal(facts: VenueFacts, symbol: str) -> dict[str, Any]:
    return {
        "id": _identity(facts, symbol),
        "exchange": facts.name.value,
        "pair_symbol": symbol,
        "direction": "LONG",
        "total_score": 50,
        "timestamp": "$now",
    }


def _incomplete(told: Sequence[Told]) -> str:
    short = [wave for wave in told if not wave.complete]
    said = (f"{wave.entries} entries and {wave.stops} stops of {wave.size}" for wave in short)
    return "not every order was acknowledged: " + "; ".join(said) if short else ""


def _w1(effort: Effort, venues: Sequence[VenueFacts], told: Sequence[Told], ccxt_ms: Sequence[float]) -> Figure:
    ccxt = statistics.median(ccxt_ms) / effort.latency_ms if ccxt_ms else None
    attach = _attach(venues)
    collect = COLLECT_MS / effort.latency_ms
    least = (
        f"{1 + collect:.2f} D is the least there can be: the {COLLECT_MS} ms of WAVE_COLLECT_MS and one D for the "
        "entry that brings its stop"
        if attach
        else f"{2 + collect:.2f} D is the least there can be: the {COLLECT_MS} ms of WAVE_COLLECT_MS, one D for the "
        "entry, one for the stop that follows its fill"
    )
    return Figure(
        id="W1",
        venue=_where(venues),
        what=f"wave of {WAVE}: first signal frame → {WAVE} entries and {WAVE} stops acknowledged",
        unit="D",
        samples=tuple(wave.lasted_ms / effort.latency_ms for wave in told),
        aim="≤ 1.2" if attach else "≤ 2.2",
        others=_OTHERS_W1,
        beside=ccxt,
        beside_name="ccxt as it comes",
        beside_measured=True,
        note=f"D = {effort.latency_ms:g} ms, leverage confirmed; {least}",
        failed=_incomplete(told),
    )


async def _w1m(effort: Effort, venues: Sequence[VenueFacts]) -> Figure:
    """The large mixed wave beside a small one at the venue whose small one takes longest."""
    slowest = next((facts for facts in venues if not facts.attaches), venues[0])
    mixed = await _run(effort, venues, [MIXED_WAVE] * effort.waves)
    single = await _run(effort, [slowest], [WAVE] * effort.waves)
    small = statistics.median(wave.lasted_ms for wave in single)
    return Figure(
        id="W1m",
        venue=_where(venues),
        what=f"wave of {MIXED_WAVE} over {len(venues)} venues / of {WAVE} on {slowest.name} alone",
        unit="×",
        samples=tuple(wave.lasted_ms / small for wave in mixed),
        aim="no more round trips",
        others="–",
        note=f"{statistics.median(w.lasted_ms for w in mixed) / effort.latency_ms:.2f} D against "
        f"{small / effort.latency_ms:.2f} D",
        failed=_incomplete([*mixed, *single]),
    )


def _w2(effort: Effort, venues: Sequence[VenueFacts], told: Sequence[Told]) -> Figure:
    attach = _attach(venues)
    return Figure(
        id="W2",
        venue=_where(venues),
        what="longest time without a stop, by the venue's record",
        unit="D",
        samples=tuple(wave.naked_ms / effort.latency_ms for wave in told),
        worst=True,
        aim="0" if attach else "≤ 1.1",
        others="freqtrade 54–94, Nautilus 1",
        beside=1.0,
        beside_name="Nautilus",
        note="the worst position of each wave; the figure is the worst of all"
        + ("; entries filled in one match" if attach else ""),
        failed=_incomplete(told),
    )


def _w3(effort: Effort, venues: Sequence[VenueFacts], pairs: Sequence[Sequence[Told]]) -> Figure:
    ratios = [large.lasted_ms / single.lasted_ms for single, large in pairs]
    large = statistics.median(large.lasted_ms for _, large in pairs) / effort.latency_ms
    single = statistics.median(single.lasted_ms for single, _ in pairs) / effort.latency_ms
    return Figure(
        id="W3",
        venue=_where(venues),
        what=f"W1 at {effort.large_wave} signals / at 1",
        unit="×",
        samples=tuple(ratios),
        aim="≤ 1.15",
        others="ccxt default 10–28",
        beside=10.0,
        beside_name="ccxt default",
        note=f"1 signal in {single:.2f} D, {effort.large_wave} in {large:.2f} D; fresh venues and daemon for each pair"
        + _rate_says(effort, venues),
        failed=_incomplete([wave for pair in pairs for wave in pair]),
    )


def _rate_says(effort: Effort, venues: Sequence[VenueFacts]) -> str:
    """What the venues' order rates make of a large wave: nothing the daemon does can be faster."""
    said = ""
    for facts in venues:
        share = math.ceil(effort.large_wave / len(venues))
        waits = (math.ceil(share / facts.rate.orders) - 1) * facts.rate.window_ms
        if waits:
            said += f"; {facts.name} takes {facts.rate.orders} orders in {facts.rate.window_ms / 1000:g} s per endpoint"
            said += f": {share} entries over one need {waits / effort.latency_ms:.1f} D more"
    return said


def _attach(venues: Sequence[VenueFacts]) -> bool:
    return all(facts.attaches for facts in venues)


def _where(venues: Sequence[VenueFacts]) -> str:
    return venues[0].name.value if len(venues) == 1 else "mixed"
