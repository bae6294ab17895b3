"""The whole daemon at Bybit alone: stops come with the fill, are moved to the fill price, and survive everything."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.domain.wave import LegState
from tests.scenarios.log_lines import LogLines
from tests.scenarios.worlds import PAIRS, Daemon, SimulatedWorld, World, a_wave
from tools.venuesim.exchange.model import PositionMode

pytestmark = pytest.mark.may_block("simulation runs storage inline")

MODES = pytest.mark.parametrize("mode", list(PositionMode), ids=str)
TROUBLE = {
    "orders.inconsistent",
    "orders.id_not_in_journal",
    "orders.report_failed",
    "protection.failed",
    "close.started",
}


def at_bybit(folder: Path, **settings: Any) -> SimulatedWorld:
    return SimulatedWorld(folder, ("bybit",), **settings)


def wave(count: int = 3, at_ms: int = 4_000) -> dict[str, Any]:
    """Longs and shorts in turn."""
    told = a_wave(PAIRS[:count], at_ms=at_ms)
    for number, signal in enumerate(told["signals"]):
        signal["direction"] = ("LONG", "SHORT")[number % 2]
        signal["exchange"] = "bybit"
    return told


async def levels_are_right(world: World, daemon: Daemon) -> None:
    """Each stop stands where its position's fill price puts it, by the venue's own record."""
    resting = {row["symbol"]: Decimal(row["stop_price"]) for row in (await world.ask("state"))["orders"]}
    for position in daemon.status.positions:
        symbol = position.instrument.symbol.partition("/")[0] + "USDT"
        assert position.stop is not None
        assert resting[symbol] == position.stop


@MODES
async def test_a_wave_is_protected_in_the_moment_of_its_fills_and_stops_go_to_the_fill_price(
    tmp_path: Path, mode: PositionMode
) -> None:
    """The market moves while the entries travel: one is filled elsewhere than it was decided."""
    said = LogLines()
    moves: list[asyncio.Task[Any]] = []
    async with at_bybit(tmp_path, position_mode=mode, latency_ms=40) as world:

        def watch(moment: str, what: str) -> None:
            if (moment, what) == ("sending", "POST /v5/order/create-batch"):
                price = world.venue.simulation.engine.quote("BTCUSDT").mark * Decimal("1.002")
                moves.append(asyncio.create_task(world.tell("price", symbol="BTCUSDT", price=str(price))))

        await world.play(wave(6))
        async with world.running(watch=watch) as daemon:
            report = await daemon.wave()
            assert {leg.state for leg in report.legs} == {LegState.PROTECTED}
            await asyncio.sleep(5)
            await world.everything_holds()
            assert await world.longest_naked_ms() == 0
            await levels_are_right(world, daemon)
            assert len(await world.sent("order")) == len(moves) == 1, "one request for all six"
            assert len(await world.sent("stop")) == 1, "where the price stayed the stop stands right"
            await asyncio.sleep(120)
            assert not TROUBLE & {line["event"] for line in said.lines}


@MODES
async def test_a_restart_finds_every_position_and_stop_and_sends_nothing(tmp_path: Path, mode: PositionMode) -> None:
    async with at_bybit(tmp_path, position_mode=mode) as world:
        await world.play(wave())
        async with world.running() as first:
            await first.wave()
            await asyncio.sleep(2)
            sent, held = await world.sent("order", "stop", "cancel"), first.held()
        async with world.running(first.data_dir) as second:
            assert second.held() == held
            await asyncio.sleep(60)
            assert await world.sent("order", "stop", "cancel") == sent
            await world.everything_holds()


@pytest.mark.parametrize("moment_ms", range(3_950, 5_050, 150))
async def test_a_kill_at_any_moment_of_a_wave_over_a_slow_line(tmp_path: Path, moment_ms: int) -> None:
    async with at_bybit(tmp_path, latency_ms=180) as world:
        await world.play(wave())
        first = world.daemon()
        first.begin()
        await asyncio.sleep(moment_ms / 1_000)
        left = await first.kill()
        async with world.running(left) as second:
            await asyncio.sleep(25)
            await world.everything_holds()
            assert second.held() == await world.held()
            assert second.status.unresolved_orders == 0


@pytest.mark.parametrize("path", ["/v5/order/create-batch", "/v5/position/trading-stop"])
@pytest.mark.parametrize("kind", ["drop_response", "drop_request", "timeout_after_execution"])
async def test_a_lost_answer_sends_nothing_twice_and_leaves_nothing_naked(tmp_path: Path, kind: str, path: str) -> None:
    async with at_bybit(tmp_path, latency_ms=40) as world:
        await world.play(wave())
        await world.fault(kind, match={"path": path}, count=1)
        async with world.running() as daemon:
            await daemon.wave()
            await asyncio.sleep(30)
            await world.everything_holds()
            assert daemon.held() == await world.held()
            assert await world.longest_naked_ms() == 0
            assert daemon.status.unresolved_orders == 0


@pytest.mark.parametrize(
    "kind", ["lose_event", "duplicate_event", "reorder_events", "disconnect_stream", "delay_event"]
)
async def test_a_faulty_stream_ends_in_the_same_place(tmp_path: Path, kind: str) -> None:
    more = {"reorder_events": {"delay_ms": 40, "seed": 5}, "delay_event": {"delay_ms": 1_500}}.get(kind, {})
    async with at_bybit(tmp_path, latency_ms=40) as world:
        await world.play(wave())
        async with world.running() as daemon:
            count = 1 if kind == "disconnect_stream" else 6
            await world.fault(kind, match={"stream": "private"}, count=count, **more)
            await daemon.wave()
            await asyncio.sleep(60)
            await world.everything_holds()
            assert daemon.held() == await world.held()
            assert await world.longest_naked_ms() == 0


@MODES
async def test_a_stop_that_fires_closes_its_position_in_the_books(tmp_path: Path, mode: PositionMode) -> None:
    said = LogLines()
    async with at_bybit(tmp_path, position_mode=mode) as world:
        await world.play(wave(2))
        async with world.running() as daemon:
            await daemon.wave()
            await asyncio.sleep(2)
            (stop,) = [r for r in (await world.ask("state"))["orders"] if r["symbol"] == "BTCUSDT"]
            await world.tell("price", symbol="BTCUSDT", price=str(Decimal(stop["stop_price"]) * Decimal("0.999")))
            await asyncio.sleep(5)
            assert daemon.held() == await world.held()
            assert len(daemon.held()) == 1
            await world.everything_holds()
            assert not {"orders.inconsistent", "orders.report_failed"} & {line["event"] for line in said.lines}


async def test_what_is_filled_in_part_is_protected_from_the_first_part_on(tmp_path: Path) -> None:
    async with at_bybit(tmp_path, latency_ms=40) as world:
        await world.play(wave())
        await world.fault("partial_fill", fraction=0.4, count=3)
        async with world.running() as daemon:
            await daemon.wave()
            await asyncio.sleep(20)
            await world.everything_holds()
            assert daemon.held() == await world.held()
            assert await world.longest_naked_ms() == 0
