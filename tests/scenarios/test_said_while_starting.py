"""What is said of trading while the daemon starts holds when it is ready: by a fault, or by somebody."""

import asyncio
from pathlib import Path

import pytest

from core.domain.risk import TradingState
from core.domain.standing import Standing
from core.engine.risk_guard import RiskGuard
from tests.scenarios.worlds import PAIRS, Daemon, SimulatedWorld, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")


def _risk(daemon: Daemon) -> RiskGuard:
    assert daemon.orchestrator.queries is not None
    return daemon.orchestrator.queries._risk


async def _while_starting(daemon: Daemon) -> None:
    while "orders" not in daemon.orchestrator._tasks:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    assert _risk(daemon).states.starting


async def test_a_fault_during_the_start_leaves_trading_halted(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path, latency_ms=50) as world:
        await world.play(a_wave(PAIRS[:1]))
        daemon = world.daemon()
        daemon.may_fail = True
        daemon.begin()
        await _while_starting(daemon)
        (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "protection")
        task.cancel()
        await daemon.ready()
        assert daemon.status.trading_state == "halted"
        assert "protection" in daemon.status.reason
        await daemon.stop()


async def test_a_panic_during_the_start_is_kept(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path, latency_ms=50) as world:
        await world.play(a_wave(PAIRS[:1]))
        daemon = world.daemon()
        daemon.begin()
        await _while_starting(daemon)
        _risk(daemon).restrict("three starts in ten minutes", "last-run")
        panic = Standing(state=TradingState.HALTED, reason="panic", author="me", flatten=True)
        _risk(daemon).ordered(panic)
        await daemon.ready()
        assert (daemon.status.trading_state, daemon.status.reason) == ("halted", "panic")
        await daemon.stop()
