"""A venue whose every reply takes five seconds, as docs/FAILURES.md demands it (NET-10)."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.domain.ids import VenueName
from core.domain.verdict import Reason
from core.domain.wave import LegState
from tests.scenarios.log_lines import LogLines
from tests.scenarios.worlds import Daemon, SimulatedWorld, a_signal
from tests.venues.rigs import VENUES

pytestmark = pytest.mark.may_block("simulation runs storage inline")

SLOW_MS = 5_000
COINS = ("BTCUSDT", "ETHUSDT")


def a_wave(at_ms: int, **fields: Any) -> dict[str, Any]:
    signals = [a_signal(coin, id=f"{v}-{coin}-{at_ms}", exchange=v, **fields) for v in VENUES for coin in COINS]
    return {"at_ms": at_ms, "signals": signals}


async def _slow(world: SimulatedWorld, venue: VenueName) -> None:
    await world.fault("latency", venue, delay_ms=SLOW_MS, count=-1)


async def _took_ms(world: SimulatedWorld, venue: VenueName) -> float:
    """From this venue's first entry to the last answer of what it was sent for the wave."""
    rows = await world.sent("order", "stop", venue=venue)
    return float(max(row["answered"] for row in rows) - min(row["received"] for row in rows))


@pytest.mark.failure("NET-10")
@pytest.mark.parametrize("venue", VENUES)
async def test_a_slow_venue_holds_up_no_other_and_gets_nothing_twice(tmp_path: Path, venue: VenueName) -> None:
    async with SimulatedWorld(tmp_path, VENUES, latency_ms=100) as world:
        await world.play(a_wave(20_000))
        async with world.running() as daemon:
            await _slow(world, venue)
            report = await daemon.wave(seconds=120)
            for leg in report.legs:
                if leg.signal.instrument.venue is not venue:
                    assert leg.state is LegState.PROTECTED
            for other in VENUES:
                if other is not venue:
                    assert await _took_ms(world, other) <= 700
            await world.forgive()
            await asyncio.sleep(60)
            await world.everything_holds()


@pytest.mark.failure("NET-10")
@pytest.mark.parametrize("venue", VENUES)
async def test_a_signal_that_expired_while_its_venue_was_slow_is_not_sent(tmp_path: Path, venue: VenueName) -> None:
    """Without its private stream the venue is read before an entry; that takes longer than the signal is good for."""
    async with SimulatedWorld(tmp_path, VENUES) as world:
        await world.play(_one(venue), a_wave(20_000))
        async with world.running(SIGNAL_TTL_SECONDS=2, PREFETCH_TIMEOUT_MS=9_000) as daemon:
            await _without_stream(world, daemon, venue)
            report = await daemon.wave(2, seconds=120)
            for leg in report.legs:
                if leg.signal.instrument.venue is venue:
                    assert leg.denied is not None
                    assert leg.denied.reason is Reason.EXPIRED
                else:
                    assert leg.state is LegState.PROTECTED
            assert len(await world.sent("order", venue=venue)) == 1, "that of the first wave"
            await world.forgive()


def _one(venue: VenueName) -> dict[str, Any]:
    return {"at_ms": 4_000, "signals": [a_signal("SOLUSDT", id="early", exchange=venue)]}


async def _without_stream(world: SimulatedWorld, daemon: Daemon, venue: VenueName) -> None:
    """Slow from now on, and a little while without its private stream, after a wave."""
    await daemon.wave()
    await asyncio.sleep(2)
    await _slow(world, venue)
    await world.fault("disconnect_stream", venue, match={"stream": _PRIVATE[venue]}, count=-1)


_PRIVATE = {VenueName.BINANCE: "listenKey", VenueName.BYBIT: "private", VenueName.OKX: "private"}


@pytest.mark.failure("NET-10")
@pytest.mark.parametrize("venue", VENUES)
async def test_a_price_that_went_while_the_venue_was_slow_is_noticed(tmp_path: Path, venue: VenueName) -> None:
    async with SimulatedWorld(tmp_path, [venue]) as world:
        price = world.venue.simulation.engine.quote((await _symbols(world))[0]).mark
        await world.play(_one(venue), {"at_ms": 20_000, "signals": [a_signal(exchange=venue, price=str(price))]})
        said = LogLines()
        async with world.running(PREFETCH_TIMEOUT_MS=9_000) as daemon:
            await _without_stream(world, daemon, venue)
            await world.until(lambda: _begun(said), seconds=60)
            await asyncio.sleep(1)
            await _jump(world, price)
            report = await daemon.wave(2, seconds=120)
            (leg,) = report.legs
            assert leg.denied is not None, "the price of the signal is gone"
            assert leg.denied.reason is Reason.PRICE_DIVERGES
            assert len(await world.sent("order", venue=venue)) == 1, "that of the first wave"
            await world.forgive()


async def _begun(said: LogLines) -> bool:
    return len(said.of("wave.received")) == 2


async def _symbols(world: SimulatedWorld) -> list[str]:
    rows = world.venue.simulation.engine.instruments()
    return [row.symbol for row in rows if row.base == "BTC" and row.quote == "USDT"]


async def _jump(world: SimulatedWorld, price: Decimal) -> None:
    (symbol, *_) = await _symbols(world)
    await world.tell("price", symbol=symbol, price=str(round(price * Decimal("1.08"))), hold_ms=60_000)


@pytest.mark.failure("NET-10")
@pytest.mark.parametrize("venue", VENUES)
async def test_a_stop_overtakes_the_entries_that_wait(tmp_path: Path, venue: VenueName) -> None:
    """Positions of the first wave are found without a stop while forty entries of the second one are on their way."""
    async with SimulatedWorld(tmp_path, [venue], symbols=40, latency_ms=100) as world:
        symbols = [row.symbol for row in _tradable(world)]
        first = [a_signal(symbols[0], id="first", exchange=venue)]
        rest = [a_signal(symbol, id=symbol, exchange=venue) for symbol in symbols[1:31]]
        await world.play({"at_ms": 4_000, "signals": first}, {"at_ms": 20_000, "signals": rest})
        async with world.running(MAX_POSITIONS=50, MAX_TRADES_PER_WAVE=50) as daemon:
            await daemon.wave()
            await world.fault("latency", venue, delay_ms=1_000, count=-1)
            report = await daemon.wave(2, seconds=200)
            assert [leg.state for leg in report.legs].count(LegState.PROTECTED) >= 20
            await asyncio.sleep(20)
            await world.everything_holds()
            assert await world.longest_naked_ms(venue) <= 1.5 * 1_100 + 100, "no stop stood behind an entry"
            await _held_once(daemon, world, venue)


def _tradable(world: SimulatedWorld) -> list[Any]:
    rows = world.venue.simulation.engine.instruments()
    return [row for row in rows if row.quote == "USDT" and row.base not in {"XAU", "XAG", "TSLA"}]


async def _held_once(daemon: Daemon, world: SimulatedWorld, venue: VenueName) -> None:
    assert daemon.held() == await world.held(venue)
    assert len(daemon.held()) == len(set(daemon.held()))
