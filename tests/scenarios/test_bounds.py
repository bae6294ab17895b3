"""What must not be traded is not traded: limits, the KILL file, repeated and unusable signals."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from core.domain.wave import LegState
from tests.scenarios.worlds import PAIRS, SimulatedWorld, World, a_signal, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")


@pytest.mark.failure("SIG-02")
@pytest.mark.parametrize("fault", [None, "drop_response", "reject_order", "http_error"])
async def test_68_signals_and_a_limit_of_5_open_exactly_5(tmp_path: Path, fault: str | None) -> None:
    async with SimulatedWorld(tmp_path, symbols=90) as world:
        pairs = world.pairs("USDT")[:68]
        assert len(pairs) == 68
        await world.play({"at_ms": 4_000, "signals": [a_signal(p, score=i % 7) for i, p in enumerate(pairs)]})
        if fault is not None:
            # The engine's own refusals come nine in a row, lost and failed requests at every second order.
            some: dict[str, Any] = {"count": -1, "fraction": 0.5}
            keys = {"count": 9, "code": -2010} if fault == "reject_order" else some
            await world.fault(fault, match={"path": "/fapi/v1/order"}, phase="before", **keys)
        async with world.running(MAX_TRADES_PER_WAVE=5, MAX_POSITIONS=100) as daemon:
            report = await daemon.wave()
            assert sum(leg.state is LegState.PROTECTED for leg in report.legs) == 5
            assert len(await world.held()) == 5
            assert all(leg.denied for leg in report.legs if leg.state is not LegState.PROTECTED)
            await world.everything_holds()


async def test_the_best_scores_are_the_ones_that_trade(world: World) -> None:
    signals = [a_signal(pair, score=score) for pair, score in zip(PAIRS, (10, 60, 30, 60, 50, 20), strict=True)]
    await world.play({"at_ms": 4_000, "signals": signals})
    async with world.running(MAX_TRADES_PER_WAVE=3) as daemon:
        await daemon.wave()
        assert sorted(await world.held()) == ["DOGEUSDT", "ETHUSDT", "XRPUSDT"]


async def test_positions_at_the_limit_leave_no_room_for_another_wave(world: World) -> None:
    await world.play(a_wave(PAIRS[:2], at_ms=4_000), a_wave(PAIRS[2:4], at_ms=8_000))
    async with world.running(MAX_POSITIONS=3) as daemon:
        second = await daemon.wave(2)
        assert [leg.state for leg in second.legs] == [LegState.PROTECTED, LegState.REFUSED]
        assert len(await world.held()) == 3
        await world.everything_holds()


async def test_a_symbol_that_is_held_is_not_bought_again(world: World) -> None:
    again = {"at_ms": 8_000, "signals": [a_signal("BTCUSDT", id="another"), a_signal("ETHUSDT", id="opposite")]}
    await world.play(a_wave(PAIRS[:2], at_ms=4_000), again)
    async with world.running() as daemon:
        second = await daemon.wave(2)
        assert {leg.denied.reason.value for leg in second.legs if leg.denied} == {"duplicate_position"}
        await world.everything_holds()


async def test_two_waves_of_the_same_moment_trade_each_symbol_once(world: World) -> None:
    twice = [a_signal("BTCUSDT", id="a"), a_signal("ETHUSDT", id="b")]
    await world.play(
        {"at_ms": 4_000, "signals": twice}, {"at_ms": 4_055, "signals": [s | {"id": s["id"] + "2"} for s in twice]}
    )
    async with world.running() as daemon:
        await daemon.wave(2)
        assert sorted(await world.held()) == ["BTCUSDT", "ETHUSDT"]
        assert len(await world.sent("order")) == 2
        await world.everything_holds()


async def test_the_kill_file_stops_entries_and_leaves_stops_and_their_going_lifts_it(world: World) -> None:
    await world.play(*(a_wave([pair], at_ms=4_000 + 4_000 * i) for i, pair in enumerate(PAIRS[:3])))
    async with world.running() as daemon:
        await daemon.wave()
        kill = daemon.data_dir / "KILL"
        kill.touch()
        second = await daemon.wave(2)
        assert daemon.status.trading_state == "halted"
        assert second.legs[0].denied is not None
        assert second.legs[0].denied.reason.value == "not_active"
        await world.everything_holds()
        kill.unlink()
        third = await daemon.wave(3)
        assert third.legs[0].state is LegState.PROTECTED
        await world.everything_holds()


async def test_a_halt_by_an_operator_is_remembered_over_a_restart(world: World) -> None:
    await world.play(a_wave(PAIRS[:1], at_ms=8_000))
    async with world.running() as first:
        (first.data_dir / "KILL").touch()
        await asyncio.sleep(2)
    async with world.running(first.data_dir) as second:
        report = await second.wave()
        assert report.legs[0].state is LegState.REFUSED
        assert await world.held() == {}


async def test_every_signal_of_a_mixed_wave_is_accounted_for_with_its_reason(tmp_path: Path) -> None:
    signals = [
        a_signal("BTCUSDT"),
        a_signal("NOSUCHUSDT"),
        a_signal("ETHUSDT", timestamp="2020-01-01T00:00:00Z"),
        {key: value for key, value in a_signal("SOLUSDT").items() if key != "direction"},
        a_signal("XRPUSDT", exchange="okx"),
        a_signal("TSLAUSDT"),
    ]
    async with SimulatedWorld(tmp_path, symbols=14) as world:
        await world.play({"at_ms": 4_000, "signals": signals})
        async with world.running() as daemon:
            report = await daemon.wave()
            reasons = {str(leg.instrument.symbol): leg.denied.reason.value for leg in report.legs if leg.denied}
            unusable = {row.symbol: row.code for row in report.unusable}
            assert len(report.legs) + len(report.unusable) == len(signals)
            assert reasons["ETH/USDT:USDT"] == "expired"
            assert reasons["TSLA/USDT:USDT"] == "symbol_not_trading"
            assert unusable["NOSUCHUSDT"] == "symbol_unknown"
            assert unusable["SOLUSDT"] == "side_missing"
            assert list(await world.held()) == ["BTCUSDT"]
            await world.everything_holds()
