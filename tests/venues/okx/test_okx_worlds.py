"""The whole daemon at the simulated OKX: waves, partial fills, lost answers, the owner's hand, restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.domain.wave import LegState
from tests.scenarios.worlds import AFTER_CRASHES, SimulatedWorld, a_signal
from tools.venuesim.exchange.model import PositionMode

pytestmark = pytest.mark.may_block("simulation runs storage inline")

NAMES = ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA")
SWAPS = tuple(f"{name}-USDT-SWAP" for name in NAMES)


def a_wave(names: tuple[str, ...] = NAMES, *, at_ms: int = 4_000) -> dict[str, object]:
    signals = [
        a_signal(f"{name}USDT", direction=("LONG", "SHORT")[number % 2], score=90 - number, exchange="okx")
        for number, name in enumerate(names)
    ]
    return {"at_ms": at_ms, "signals": signals}


@pytest.fixture(params=["oneway", "hedge"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SimulatedWorld]:
    mode = PositionMode.HEDGE if request.param == "hedge" else PositionMode.ONE_WAY
    async with SimulatedWorld(tmp_path, ["okx"], position_mode=mode, latency_ms=100) as made:
        yield made


async def test_a_wave_is_entered_in_one_request_and_never_stands_naked(world: SimulatedWorld) -> None:
    await world.play(a_wave())
    async with world.running() as daemon:
        report = await daemon.wave()
        assert [leg.state for leg in report.legs] == [LegState.PROTECTED] * len(NAMES)
        await world.everything_holds()
        assert set(await world.held()) == set(SWAPS)
        assert await world.longest_naked_ms() == 0
        sent = await world.sent("order")
        assert [row["path"] for row in sent] == ["/api/v5/trade/batch-orders"]
        assert daemon.held() == await world.held()


async def test_partly_filled_entries_get_stops_of_their_own(world: SimulatedWorld) -> None:
    await world.play(a_wave(NAMES[:3]))
    await world.fault("partial_fill", fraction=0.5, count=3)
    async with world.running() as daemon:
        await daemon.wave()
        await asyncio.sleep(5)
        await world.everything_holds()
        assert len(await world.held()) == 3
        assert await world.longest_naked_ms() <= 1.5 * 100 + 100
        assert daemon.held() == await world.held()


async def test_lost_answers_double_nothing_and_leave_nothing_naked(world: SimulatedWorld) -> None:
    await world.play(a_wave())
    await world.fault("drop_response", match={"path": "/api/v5/trade/*", "method": "POST"}, count=-1, fraction=0.5)
    async with world.running() as daemon:
        await daemon.wave()
        await asyncio.sleep(30)
        await world.forgive()
        await world.everything_holds()
        assert set(await world.held()) == set(SWAPS)
        assert daemon.held() == await world.held()


async def test_stops_that_fire_leave_nothing_behind(world: SimulatedWorld) -> None:
    await world.play(a_wave(NAMES[:2]))
    async with world.running(**AFTER_CRASHES) as daemon:
        await daemon.wave()
        for name, factor in (("BTC", "0.9"), ("ETH", "1.1")):
            price = Decimal(str(world.venue.simulation.engine.quote(f"{name}-USDT-SWAP").mark)) * Decimal(factor)
            await world.tell("price", symbol=f"{name}-USDT-SWAP", price=str(price.quantize(Decimal("0.1"))))
        await asyncio.sleep(20)
        assert await world.held() == {}
        assert await world.resting_stops() == {}
        assert daemon.held() == {}


async def test_a_restart_takes_over_what_stands(world: SimulatedWorld) -> None:
    await world.play(a_wave(NAMES[:3]))
    async with world.running() as daemon:
        await daemon.wave()
        left = await daemon.kill()
    async with world.running(left) as daemon:
        await asyncio.sleep(5)
        await world.everything_holds()
        assert daemon.held() == await world.held()
        assert len(daemon.held()) == 3


async def test_a_stream_that_breaks_in_a_wave_costs_no_protection(world: SimulatedWorld) -> None:
    await world.play(a_wave())
    async with world.running() as daemon:
        await world.fault("disconnect_stream", count=2, after=1)
        await daemon.wave()
        await asyncio.sleep(20)
        await world.everything_holds()
        assert daemon.held() == await world.held()


async def test_a_stop_that_outlives_its_position_is_swept(tmp_path: Path) -> None:
    """In portfolio margin a stop cannot be tied to its position, and somebody else ends that."""

    def in_portfolio_margin(asked: str, document: Any) -> Any:
        if asked.endswith("account/config"):
            document["data"][0]["acctLv"] = "4"
        return document

    async with SimulatedWorld(tmp_path, ["okx"], latency_ms=100) as world:
        await world.play(a_wave(NAMES[:1]))
        await world.fault("partial_fill", fraction=0.5)
        daemon = world.daemon()
        daemon.tamper(in_portfolio_margin, "okx")
        daemon.begin()
        await daemon.ready()
        await daemon.wave()
        await asyncio.sleep(2)
        assert len(await world.resting_stops()) == 1
        await world.fault("adl", match={"symbol": "BTC-USDT-SWAP"})
        await asyncio.sleep(0.01)
        assert await world.held() == {}
        assert len(await world.resting_stops()) == 1, "it stands there for nothing"
        await asyncio.sleep(180)
        assert await world.resting_stops() == {}
        assert daemon.held() == {}
        await daemon.stop()
