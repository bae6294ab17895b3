"""The venue takes no order as large as the position, or only such of another step: it is closed all the same."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.domain.wave import LegState
from core.lifecycle.outcome import ExitStatus
from tests.scenarios.owner import the_owner
from tests.scenarios.test_emergency_flat import clients
from tests.scenarios.worlds import SimulatedWorld, a_signal
from tools import close_position

pytestmark = pytest.mark.may_block("simulation runs storage inline")
SMALL = {"market_max_qty": "0.010"}
COARSE = {"step": "0.010", "market_step": "0.010", "min_qty": "0.010", "market_min_qty": "0.010"}


async def _naked(world: SimulatedWorld) -> list[dict[str, Any]]:
    return [row for row in await world.ask("protection") if row["naked_now_ms"]]


async def test_a_limit_entry_is_no_larger_than_its_stop_and_its_close_may_be(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path) as world:
        await world.fault("change_filters", match={"symbol": "BTCUSDT"}, body=SMALL)
        await world.play({"at_ms": 4_000, "signals": [a_signal("BTCUSDT")]})
        limit: dict[str, Any] = {
            "ENTRY_ORDER_TYPE": "limit_ioc",
            "ENTRY_MAX_SLIPPAGE_PERCENT": "0.5",
            "POSITION_SIZE_USD": 2_000,
        }
        async with world.running(**limit) as daemon:
            (leg,) = (await daemon.wave()).legs
            await asyncio.sleep(60)
            assert not await _naked(world)
            assert leg.state is LegState.PROTECTED or leg.denied is not None
            await world.everything_holds()


async def test_what_was_built_in_two_orders_and_can_have_no_stop_is_closed_in_two(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path) as world:
        await world.fault("change_filters", match={"symbol": "BTCUSDT"}, body=SMALL)
        owner = the_owner(world)
        await owner.trade("BTCUSDT", "BUY", "0.010")
        await owner.trade("BTCUSDT", "BUY", "0.010")
        async with world.running():
            await asyncio.sleep(60)
            assert not await _naked(world)
            assert not await world.held()


@pytest.mark.parametrize("venue", ["binance", "bybit", "okx"])
async def test_a_position_is_closed_though_the_venue_has_lowered_its_largest_order(tmp_path: Path, venue: str) -> None:
    async with SimulatedWorld(tmp_path, [venue]) as world:
        await world.play({"at_ms": 4_000, "signals": [a_signal("BTCUSDT", exchange=venue)]})
        async with world.running(POSITION_SIZE_USD=2_000, CLOSE_POSITIONS_ON_SHUTDOWN="true") as daemon:
            await daemon.wave()
            (symbol,) = await world.held()
            await world.fault("change_filters", match={"symbol": symbol}, body=SMALL)
            assert (await daemon.stop()).status is ExitStatus.DONE
            assert not await world.held()


async def test_what_lies_on_a_coarser_step_is_closed_and_keeps_its_stop(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path) as world:
        await world.play({"at_ms": 4_000, "signals": [a_signal("BTCUSDT")]})
        async with world.running(POSITION_SIZE_USD=2_000, CLOSE_POSITIONS_ON_SHUTDOWN="true") as daemon:
            await daemon.wave()
            assert await world.held() == {"BTCUSDT": Decimal("0.025")}
            await world.fault("change_filters", match={"symbol": "BTCUSDT"}, body=COARSE)
            await daemon.stop()
            assert (await world.held()).get("BTCUSDT", Decimal(0)) < Decimal("0.010")


async def test_a_stop_that_is_taken_away_after_the_step_became_coarser_leaves_nothing_naked(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path) as world:
        await world.play({"at_ms": 4_000, "signals": [a_signal("BTCUSDT")]})
        async with world.running(POSITION_SIZE_USD=2_000) as daemon:
            await daemon.wave()
            await world.fault("change_filters", match={"symbol": "BTCUSDT"}, body=COARSE)
            (stop,) = world.venue.simulation.engine.open_conditionals()
            await the_owner(world).call("DELETE", "/fapi/v1/algoOrder", symbol="BTCUSDT", clientAlgoId=stop.client_id)
            await asyncio.sleep(60)
            assert all(Decimal(row["uncovered_qty"]) < Decimal("0.010") for row in await _naked(world))


@pytest.mark.parametrize("venue", ["binance", "bybit", "okx"])
async def test_the_tool_that_closes_without_a_daemon_sends_as_many_orders_as_it_takes(
    tmp_path: Path, venue: str
) -> None:
    async with SimulatedWorld(tmp_path, [venue]) as world:
        await world.play({"at_ms": 4_000, "signals": [a_signal("BTCUSDT", exchange=venue)]})
        async with world.running(POSITION_SIZE_USD=2_000) as daemon:
            await daemon.wave()
        (symbol,) = await world.held()
        await world.fault("change_filters", match={"symbol": symbol}, body=SMALL)
        async with clients(world) as made:
            (client,) = made.values()
            await client.open()
            (held,) = await client.positions()
            assert held.quantity > client.instruments[held.instrument.symbol].market_lot.maximum
            row = await close_position._close_one(client, held, world.clock)
        assert (row["flat"], row["left_orders"]) == (True, 0)
        assert not await world.held()
