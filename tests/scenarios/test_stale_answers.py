"""A venue that answers as things were a while ago: what protects stays until the difference is explained, or lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.log_lines import LogLines
from tests.scenarios.owner import the_owner
from tests.scenarios.worlds import PAIRS, SimulatedWorld, a_signal, a_wave
from tools.venuesim.exchange.model import PositionMode

pytestmark = pytest.mark.may_block("simulation runs storage inline")

VENUES = ("binance", "bybit", "okx")
POSITIONS = ("*positionRisk", "/fapi/v3/account", "*position/list", "*account/positions")
TRADES = ("*userTrades", "*execution/list", "*trade/fills*")
ORDERS = ("*rder", "*rders", "*order/realtime", "*order/history", "*trade/order*")
WALLETS = ("*wallet-balance", "*account/balance")
LIE_SECONDS = 9.0


@pytest.fixture
def said() -> LogLines:
    return LogLines()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SimulatedWorld]:
    async with SimulatedWorld(tmp_path, VENUES, symbols=8, tick_hz=1) as made:
        yield made


def a_wave_everywhere() -> dict[str, Any]:
    spellings = {"binance": "BTCUSDT", "bybit": "BTC/USDT:USDT", "okx": "BTC-USDT-SWAP"}
    signals = [a_signal(spelling, id=venue, exchange=venue) for venue, spelling in spellings.items()]
    return {"at_ms": 4_000, "signals": signals}


async def stale(world: SimulatedWorld, *paths: str, seconds: float = LIE_SECONDS) -> None:
    for venue in VENUES:
        for path in paths:
            match = {"method": "GET", "path": path}
            await world.fault("stale_rest", venue, match=match, count=-1, duration_ms=round(seconds * 1_000))


async def protected_everywhere(world: SimulatedWorld) -> bool:
    return all([await world.held(venue) and await world.resting_stops(venue) for venue in VENUES])


@pytest.mark.parametrize(
    "paths",
    [POSITIONS, TRADES, ORDERS, (*POSITIONS, *TRADES, *ORDERS, *WALLETS)],
    ids=["positions", "trades", "orders", "everything"],
)
async def test_a_restart_into_stale_readings_takes_no_stop_away(
    world: SimulatedWorld, said: LogLines, paths: tuple[str, ...]
) -> None:
    """Two readings agree that nothing is held, and both are from before the entries."""
    await world.play(a_wave_everywhere())
    async with world.running() as first:
        await first.wave()
        await asyncio.sleep(2)
        held = first.held()
        left = await first.kill()
    cancelled = [len(await world.sent("cancel", venue=venue)) for venue in VENUES]
    await stale(world, *paths)
    async with world.running(left) as second:
        for _ in range(15):
            await asyncio.sleep(2)
            assert await protected_everywhere(world)
            assert second.held() == held
        assert [len(await world.sent("cancel", venue=venue)) for venue in VENUES] == cancelled
        await asyncio.sleep(30)
        await world.everything_holds()


async def test_a_gap_of_the_stream_read_through_stale_answers_takes_no_stop_away(world: SimulatedWorld) -> None:
    await world.play(a_wave_everywhere())
    async with world.running() as daemon:
        await daemon.wave()
        await asyncio.sleep(2)
        held = daemon.held()
        await stale(world, *POSITIONS, *TRADES, *ORDERS)
        for venue in VENUES:
            await world.fault("disconnect_stream", venue, count=1)
        for _ in range(15):
            await asyncio.sleep(2)
            assert await protected_everywhere(world)
            assert daemon.held() == held
        await world.everything_holds()


@pytest.mark.parametrize("kind", ["liquidate", "adl", "stop", "put-away"])
async def test_a_position_that_is_gone_after_a_restart_is_booked_in_bounded_time(
    world: SimulatedWorld, said: LogLines, kind: str
) -> None:
    """With its trade, at once; one that vanished without a trade when that has lasted, and not much later."""
    await world.play(a_wave_everywhere())
    async with world.running() as first:
        await first.wave()
        await asyncio.sleep(2)
        left = await first.kill()
    for venue in VENUES:
        ((symbol, _),) = (await world.held(venue)).items()
        if kind == "stop":
            await world.fault("gap_price", venue, match={"symbol": symbol}, fraction=-0.04)
        elif kind == "put-away":
            await world.tell("account", venue, position={"symbol": symbol, "qty": "0"})
        else:
            await world.fault(kind, venue, match={"symbol": symbol}, **({"fraction": 1.0} if kind == "adl" else {}))
    await asyncio.sleep(1)
    assert [await world.held(venue) for venue in VENUES] == [{}, {}, {}]
    doubted = len(said.of("reconcile.discrepancy"))
    async with world.running(left) as second:
        if kind == "put-away":
            await asyncio.sleep(20)
        assert second.held() == {}
        kinds = [line["kind"] for line in said.of("reconcile.discrepancy")[doubted:]]
        assert ("position_in_doubt" in kinds) is (kind == "put-away")
        await asyncio.sleep(30)
        await world.everything_holds()


@pytest.mark.parametrize("owners_short", [False, True], ids=["no other trade", "the owner opens a short"])
async def test_a_short_of_the_owner_bears_out_no_stale_reading_of_our_long(
    tmp_path: Path, *, owners_short: bool
) -> None:
    """Binance names the direction of every trade it lists; in hedge mode a sell may open something else."""
    async with SimulatedWorld(tmp_path, position_mode=PositionMode.HEDGE) as world:
        await world.play(a_wave(PAIRS[:1]))
        async with world.running() as first:
            await first.wave()
            await asyncio.sleep(2)
            left = await first.kill()
        if owners_short:
            (quantity,) = (await world.held()).values()
            await the_owner(world).trade("BTCUSDT", "SELL", str(quantity), positionSide="SHORT")
        for path in POSITIONS:
            await world.fault("stale_rest", match={"method": "GET", "path": path}, count=-1, duration_ms=9_000)
        async with world.running(left):
            await asyncio.sleep(30)
            longs = [row for row in await world.ask("protection") if row["side"] == "long" and row["closed"] is None]
            assert len(longs) == 1
            assert longs[0]["max_unprotected_ms"] == 0 or not longs[0]["naked_now_ms"]
            assert len((await world.resting_stops())["BTCUSDT"]) >= 1
