"""Panic with ten positions on three venues far away: how many round trips it takes, and that it outlives a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from core.engine.joined_reads import GATHER_SECONDS
from tests.scenarios.test_risk_limits import Console, ask
from tests.scenarios.test_three_venues import VENUES, a_mixed_wave
from tests.scenarios.worlds import PAIRS, SimulatedWorld, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")
__all__ = ["ask"]  # a fixture of another module

LATENCY_MS = 250
COINS = ("BTC", "ETH", "SOL", "XRP")
HELD = 10
ROUND_TRIPS = 3
"""One closes, one removes the stop (at one venue it goes with its position), one reads that nothing is left."""


async def _closes(world: SimulatedWorld, venue: str, since: int) -> list[dict[str, Any]]:
    rows = await world.ask(f"requests?since={since}", venue)
    return [row for row in rows if row["lane"] == "order" and row["method"] == "POST"]


def _of_positions(row: Mapping[str, Any]) -> bool:
    return str(row["path"]).endswith(("/positionRisk", "/position/list", "/account/positions"))


async def _last(world: SimulatedWorld, venue: str) -> int:
    return max((row["n"] for row in await world.ask("requests?since=0", venue)), default=0)


async def test_ten_positions_on_three_venues_are_flat_verified_and_without_orders_in_three_round_trips(
    tmp_path: Path, ask: Console
) -> None:
    async with SimulatedWorld(tmp_path, VENUES, symbols=40, latency_ms=LATENCY_MS) as world:
        wave = a_mixed_wave(COINS)
        wave["signals"] = wave["signals"][:HELD]
        await world.play(wave)
        async with world.running(MAX_POSITIONS=HELD) as daemon:
            await daemon.wave()
            await asyncio.sleep(3)
            assert len(daemon.status.positions) == HELD
            before = {venue: await _last(world, venue) for venue in VENUES}
            began = world.clock.monotonic()
            answer = await ask("panic", author="me")
            took = world.clock.monotonic() - began
            assert [row["flat"] for row in answer["closed"]] == [True] * HELD
            assert [row["left_orders"] for row in answer["closed"]] == [0] * HELD
            for venue in VENUES:
                state = await world.ask("state", venue)
                assert (state["positions"], state["orders"]) == ([], [])
                closes = await _closes(world, venue, before[venue])
                names = [name for row in closes for name in row["client_ids"]]
                assert len(names) == len(set(names)) == len(closes), "one order per position, sent once"
                reads = [row for row in await world.ask(f"requests?since={before[venue]}", venue) if _of_positions(row)]
                assert len(reads) <= 2, "one reading for all, which is two lists at one venue"
            assert took <= ROUND_TRIPS * LATENCY_MS / 1000 + GATHER_SECONDS, took
            data = daemon.data_dir
        async with world.running(data, MAX_POSITIONS=HELD) as second:
            assert (second.status.trading_state, second.status.reason) == ("halted", "panic")
            assert second.status.positions == ()


@pytest.mark.parametrize("seconds", [40, 90], ids=["flat in the end", "not flat in time"])
async def test_each_position_is_told_once_and_by_the_last_word(tmp_path: Path, ask: Console, seconds: int) -> None:
    """The venue takes no order for longer than one close waits."""
    async with SimulatedWorld(tmp_path) as world:
        await world.play(a_wave(PAIRS[:2], at_ms=4_000))
        async with world.running() as daemon:
            await daemon.wave()
            await asyncio.sleep(3)
            await world.fault("reject_order", code=-1001, count=-1, duration_ms=seconds * 1_000)
            closed = (await ask("panic", author="me"))["closed"]
            assert len({row["symbol"] for row in closed}) == len(closed) == 2
            flat = seconds < 60
            assert [row["flat"] for row in closed] == [flat] * 2 == [not await world.held()] * 2
            assert all(flat or "its stop still stands" in row["detail"] for row in closed)
            await asyncio.sleep(60)
            assert await world.held() == {}
