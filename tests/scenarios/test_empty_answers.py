"""An empty answer proves nothing, at the start as little as later."""

import asyncio
from pathlib import Path

import pytest

from tests.scenarios.worlds import SimulatedWorld

pytestmark = pytest.mark.may_block("simulation runs storage inline")


async def test_a_venue_that_lists_nothing_at_the_start_is_late_and_joins_when_it_tells(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path, ("binance", "okx"), symbols=8, tick_hz=1) as world:
        await world.fault("empty_rest", "okx", match={"path": "*/public/instruments"}, count=-1, duration_ms=4_000)
        async with world.running(DEFAULT_EXCHANGE="binance") as daemon:
            assert [row.venue.value for row in daemon.status.venues] == ["binance"]
            await asyncio.sleep(15)
            assert {row.venue.value: row.connected for row in daemon.status.venues} == {"binance": True, "okx": True}
