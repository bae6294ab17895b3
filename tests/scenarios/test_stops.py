"""Whatever happens to stops and fills: each position ends with one stop of its own size, or there is no position."""

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from core.domain.wave import LegState
from tests.scenarios.worlds import PAIRS, SimulatedWorld, World, a_signal, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")

STOP_REFUSED = {"kind": "reject_stop", "code": -2010}


@pytest.mark.parametrize("refusals", [1, 2])
async def test_a_refused_stop_is_replaced_by_one_that_rests(world: World, refusals: int) -> None:
    await world.play(a_wave(PAIRS[:2]))
    await world.tell("fault", **STOP_REFUSED, match={"symbol": "BTCUSDT"}, count=refusals)
    async with world.running() as daemon:
        report = await daemon.wave()
        assert [leg.state for leg in report.legs] == [LegState.PROTECTED] * 2
        await world.everything_holds()
        assert len({row["client_id"] for row in await world.sent("stop")}) == 2 + refusals


@pytest.mark.failure("STP-01", "STP-02", "INV-7")
async def test_the_third_refusal_of_a_stop_flattens_that_position_alone(world: World) -> None:
    await world.play(a_wave(PAIRS[:2]))
    await world.tell("fault", **STOP_REFUSED, match={"symbol": "BTCUSDT"}, count=3)
    async with world.running() as daemon:
        report = await daemon.wave()
        assert [leg.state for leg in report.legs] == [LegState.FLATTENED, LegState.PROTECTED]
        assert list(await world.held()) == ["ETHUSDT"]
        await world.everything_holds()
        assert await world.longest_naked_ms() < 10_000


@pytest.mark.failure("STP-02", "INV-7")
@pytest.mark.parametrize("pattern", ["all", "every second", "after the first", "would trigger", "unknown code"])
async def test_no_position_is_naked_for_ten_seconds_whatever_stops_are_refused(world: World, pattern: str) -> None:
    """And every stop that was sent stands STOP_LOSS_PERCENT=2 away from the fill."""
    keys = {
        "all": {"code": -2010, "count": -1},
        "every second": {"code": -2010, "count": 4},
        "after the first": {"code": -2010, "after": 1, "count": -1},
        "would trigger": {"code": -2021, "count": -1},
        "unknown code": {"code": -9_999, "count": -1},
    }[pattern]
    await world.play(a_wave(PAIRS[:3]))
    await world.tell("fault", kind="reject_stop", **keys)
    async with world.running() as daemon:
        await daemon.wave()
        await asyncio.sleep(15)
        assert await world.longest_naked_ms() < 10_000
        await world.everything_holds()
        state = await world.ask("state?all=1")
        entries = {fill["symbol"]: Decimal(fill["price"]) for fill in reversed(state["fills"])}
        for stop in state["orders"]:
            if stop["type"] == "stop":
                distance = abs(Decimal(stop["stop_price"]) / entries[stop["symbol"]] - 1)
                assert Decimal("0.019") < distance < Decimal("0.021")


async def test_a_level_the_market_has_passed_already_is_flattened_not_moved(world: World) -> None:
    await world.play(a_wave(PAIRS[:1]))
    async with world.running() as daemon:
        await world.fault("latency", match={"path": "/fapi/v1/algoOrder"}, delay_ms=400)
        mark = Decimal(await _quote(world, "BTCUSDT"))
        await world.until(lambda: _holds(world, 1), seconds=20)
        await world.tell("price", symbol="BTCUSDT", price=_times(mark, "0.95"))
        report = await daemon.wave()
        assert report.legs[0].state is LegState.FLATTENED
        assert await world.held() == {}
        await world.everything_holds()


@pytest.mark.failure("ORD-15")
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("again_ms", [None, 300])
async def test_a_partial_fill_gets_a_stop_of_exactly_what_was_filled(
    world: World, fraction: float, again_ms: int | None
) -> None:
    await world.play({"at_ms": 4_000, "signals": [a_signal("DOGEUSDT"), a_signal("XRPUSDT", direction="SHORT")]})
    await world.fault("partial_fill", match={"symbol": "DOGEUSDT"}, fraction=fraction, delay_ms=again_ms)
    async with world.running() as daemon:
        await daemon.wave()
        await asyncio.sleep(3)
        await world.everything_holds()
        filled = {f["symbol"]: Decimal(f["qty"]) for f in (await world.ask("state?all=1"))["fills"]}
        assert len(filled) == 2
        assert daemon.held() == await world.held()


async def test_a_fill_in_many_parts_ends_with_one_stop_of_the_whole(world: World) -> None:
    await world.play(a_wave(PAIRS[2:5]))
    await world.fault("slow_fill", count=-1, fraction=0.2, delay_ms=150)
    async with world.running() as daemon:
        report = await daemon.wave()
        assert [leg.state for leg in report.legs] == [LegState.PROTECTED] * 3
        await world.everything_holds()
        assert daemon.held() == await world.held()


async def test_an_entry_whose_price_ran_away_fills_nothing_and_is_not_tried_again(world: World) -> None:
    await world.play(a_wave(PAIRS[:2]))
    async with world.running(ENTRY_ORDER_TYPE="limit_ioc") as daemon:
        await world.fault("latency", match={"path": "/fapi/v1/order", "symbol": "BTCUSDT"}, delay_ms=600)
        await world.until(lambda: _holds(world, 1))
        mark = Decimal(await _quote(world, "BTCUSDT"))
        await world.tell("price", symbol="BTCUSDT", price=_times(mark, "1.02"), hold_ms=5_000)
        report = await daemon.wave()
        assert report.legs[0].state is LegState.REFUSED
        assert report.legs[0].denied is not None
        assert report.legs[0].denied.reason.value == "not_filled"
        assert len(await world.sent("order")) == 2
        await world.everything_holds()


async def test_a_stop_that_fires_closes_the_position_on_both_books(world: World) -> None:
    await world.play(a_wave(PAIRS[:2]))
    async with world.running() as daemon:
        await daemon.wave()
        mark = Decimal(await _quote(world, "BTCUSDT"))
        await world.tell("price", symbol="BTCUSDT", price=_times(mark, "0.96"))
        await world.until(lambda: _holds(world, 1))
        await asyncio.sleep(0.2)
        assert list(daemon.held()) == ["ETHUSDT"]
        await world.everything_holds()


async def test_a_stop_that_is_refused_when_it_fires_is_made_good_at_market(world: World) -> None:
    await world.play(a_wave(PAIRS[:1]))
    await world.fault("reject_stop", phase="after", code=-2010)
    async with world.running() as daemon:
        await daemon.wave()
        mark = Decimal(await _quote(world, "BTCUSDT"))
        await world.tell("price", symbol="BTCUSDT", price=_times(mark, "0.96"))
        await world.until(lambda: _holds(world, 0), seconds=15)
        await asyncio.sleep(0.2)
        assert daemon.held() == {}
        await world.everything_holds()


async def test_an_unprotected_moment_lasts_one_round_trip(tmp_path: Path) -> None:
    """D = 250 ms: the fill is told D/2 after it happened, the stop rests D/2 after it was sent."""
    async with SimulatedWorld(tmp_path, latency_ms=250) as world:
        await world.play(a_wave(at_ms=15_000))
        async with world.running() as daemon:
            report = await daemon.wave()
            assert [leg.state for leg in report.legs] == [LegState.PROTECTED] * len(PAIRS)
            assert await world.longest_naked_ms() <= 1.5 * 250 + 100
            rows = {row["symbol"]: row["max_unprotected_ms"] for row in await world.ask("protection")}
            names = daemon.orchestrator.symbols
            told = {names[str(leg.instrument)]: leg.unprotected_ms for leg in report.legs}
            assert {k: abs((v or 0) - rows[k]) <= 1 for k, v in told.items()} == dict.fromkeys(rows, True)
            await world.everything_holds()


async def _quote(world: World, symbol: str) -> str:
    assert isinstance(world, SimulatedWorld)
    return str(world.venue.simulation.engine.quote(symbol).mark)


def _times(price: Decimal, factor: str) -> str:
    return str((price * Decimal(factor)).quantize(Decimal("0.1")))


async def _holds(world: World, count: int) -> bool:
    return len(await world.held()) == count
