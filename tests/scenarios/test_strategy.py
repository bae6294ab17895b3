"""Candles to a protected position: the strategy in the daemon, the venue's klines, and what --once says of them."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.domain.wave import LegState
from core.errors import ConfigError
from core.lifecycle.outcome import ExitStatus
from core.orchestrator import Orchestrator
from tests.scenarios.worlds import SimulatedWorld, World, a_wave
from tests.strategies.candles import walk
from tools.venuesim.exchange.path import Bar
from tools.venuesim.exchange.state import Replay

pytestmark = pytest.mark.may_block("simulation runs storage inline")

STOP_ALONE: dict[str, Any] = {"TRAILING_MODE": "off", "BREAKEVEN_ACTIVATION_PERCENT": 0}
"""Else the position is over before the strategy says anything."""
SCALPING: dict[str, Any] = {"STRATEGY": "scalping_v1", "STRATEGY_SYMBOLS": "BTCUSDT"}


def lively(count: int = 700) -> Replay:
    """Minutes around 50,000 that swing by half a percent; 500 of them are history when the venue opens."""
    candles = walk(count, 3, step=0.005)
    rows = [[float(x) * 500 for x in (c.open, c.high, c.low, c.close, c.volume)] for c in candles]
    bars = [
        Bar(open=before[3], high=max(row[1], before[3]), low=min(row[2], before[3]), close=row[3], volume=row[4])
        for before, row in zip([rows[0], *rows], rows, strict=False)
    ]
    return Replay(bars=bars, bar_seconds=60.0)


async def test_candles_become_a_protected_position_and_end_it(tmp_path: Path) -> None:
    async with (
        SimulatedWorld(tmp_path, symbols=6, replays={"BTCUSDT": lively()}) as world,
        world.running(**SCALPING, **STOP_ALONE) as daemon,
    ):
        report = await daemon.wave(seconds=1_800)
        assert report.source == "scalping_v1"
        (leg,) = report.legs
        assert leg.state is LegState.PROTECTED, leg
        assert leg.signal.score >= Decimal("0.5")
        assert set(leg.signal.features) == {"rsi", "ema", "macd", "volume", "atr"}
        assert list(await world.held()) == ["BTCUSDT"]
        await world.everything_holds()
        while daemon.positions:
            assert len(daemon.waves) == 1, "nothing is signalled while the position is held"
            await asyncio.sleep(10)
        assert daemon.status.exits is not None
        assert daemon.status.exits.closes == {"strategy": 1}, "closed when the vote turned, not by its stop"
        assert await world.held() == {}
        await world.everything_holds(several_rounds=True)


async def test_a_second_strategy_brings_its_own_stop(tmp_path: Path) -> None:
    async with (
        SimulatedWorld(tmp_path, symbols=6, replays={"BTCUSDT": lively()}) as world,
        world.running(STRATEGY="trend_atr", STRATEGY_SYMBOLS="BTC/USDT", LEVERAGE=5) as daemon,
    ):
        report = await daemon.wave(seconds=1_800)
        (leg,) = report.legs
        assert (report.source, leg.state) == ("trend_atr", LegState.PROTECTED), leg
        percent = leg.signal.parameters.stop_loss_percent
        assert percent is not None
        assert leg.stop_price is not None
        assert leg.fill_price is not None
        assert abs(leg.stop_price / leg.fill_price - 1) * 100 == pytest.approx(percent, abs=Decimal("0.02"))
        await world.everything_holds()


async def looked_once(world: World, **env: Any) -> Orchestrator:
    settings = world.settings(**env)
    host, _ = world._host(lambda *_: None)
    orchestrator = Orchestrator(settings, host)
    await orchestrator.run(once=True)
    return orchestrator


async def test_one_look_without_a_signal_says_so_at_once(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path, symbols=6) as world:
        started = world.clock.monotonic()
        run = await looked_once(world, STRATEGY="scalping_v1", STRATEGY_SYMBOLS="top 3")
        assert run.outcome.status is ExitStatus.DONE
        assert run.outcome.said.startswith("no signal: scalping_v1 looked at 3 symbols at the close of ")
        assert world.clock.monotonic() - started < 15


async def test_one_look_at_a_signal_trades_it_and_a_second_one_does_not(tmp_path: Path) -> None:
    """Until one comes; then the same candle is looked at again, as after a restart."""
    async with SimulatedWorld(tmp_path, symbols=6, replays={"BTCUSDT": lively()}) as world:
        data = tmp_path / "data"
        run = await looked_once(world, data=data, **SCALPING)
        while not run.outcome.reports:
            await asyncio.sleep(60)
            run = await looked_once(world, data=data, **SCALPING)
        (report,) = run.outcome.reports
        assert [leg.state for leg in report.legs] == [LegState.PROTECTED]
        assert run.outcome.said == "the wave is settled"
        again = await looked_once(world, data=data, **SCALPING)
        assert again.outcome.reports == []
        await world.everything_holds()


async def test_beside_a_signal_server_a_strategy_runs_only_when_it_is_asked_for(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path, symbols=6) as world:
        await world.play(a_wave(["BTCUSDT"], at_ms=4_000))
        for env, names in (({"STRATEGY": ""}, ["server"]), (SCALPING, ["server", "scalping_v1"])):
            async with world.running(**env) as daemon:
                assert daemon.orchestrator._sources.names == names


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"STRATEGY_SYMBOLS": "BTCUSDT,NOSUCHUSDT"}, "NOSUCHUSDT, which is no linear swap of binance"),
        ({"STRATEGY_SYMBOLS": "BTCUSD_PERP"}, "BTCUSD_PERP, which is no linear swap of binance"),
        ({"STRATEGY_SYMBOLS": "BTC/USDC:USDC"}, "whose quote coin USDC is not among QUOTE_COIN"),
        ({"STRATEGY": "scalping_v9"}, "STRATEGY=scalping_v9: is not a strategy; choose one of scalping_v1, trend_atr"),
        ({"STRATEGY": "base"}, "STRATEGY=base: is not a strategy"),
        ({"MIN_SIGNAL_SCORE": "50"}, "MIN_SIGNAL_SCORE=50: is more than 1.00, the best score of scalping_v1"),
    ],
    ids=str,
)
async def test_what_cannot_be_scanned_is_refused_at_the_start(world: World, env: dict[str, Any], told: str) -> None:
    for run in ("check", "run"):
        host, _ = world._host(lambda *_: None)
        orchestrator = Orchestrator(world.settings(**({"STRATEGY": "scalping_v1"} | env)), host)
        with pytest.raises(ConfigError) as refused:
            await getattr(orchestrator, run)()
        assert told in str(refused.value)
    assert await world.sent("order", "stop") == []
