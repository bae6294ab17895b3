"""A daemon that is killed again and again: its starts grow slower, and from the third on it only protects (REC-09)."""

import asyncio
from pathlib import Path

import pytest

from core.domain.risk import TradingState
from core.lifecycle.last_run import MOST_DELAY_SECONDS, RUN_KEY, RUNNING, STARTS_KEY, LastRun
from core.lifecycle.outcome import ExitStatus
from tests.builders import NOW_MS
from tests.scenarios.log_lines import LogLines
from tests.scenarios.worlds import PAIRS, SimulatedWorld, World, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")


def after(*ends_s: float, abnormal: bool = True) -> LastRun:
    starts = [round(NOW_MS - seconds * 1000) for seconds in ends_s]
    return LastRun({RUN_KEY: RUNNING if abnormal else "stopped", STARTS_KEY: str(starts)}, NOW_MS)


@pytest.mark.failure("REC-09")
@pytest.mark.parametrize(
    ("ends_s", "delay"),
    [((), 0), ((5,), 2), ((30, 5), 4), ((50, 30, 5), 8), (range(9), MOST_DELAY_SECONDS), ((600,), 0)],
)
def test_each_further_abnormal_start_within_ten_minutes_waits_longer(ends_s: tuple[float, ...], delay: float) -> None:
    assert after(*ends_s).delay_seconds == delay


def test_a_start_after_a_stop_waits_for_nothing_and_counts_for_nothing() -> None:
    last = after(50, 30, 5, abnormal=False)
    assert (last.delay_seconds, len(last.starts)) == (0, 3)


async def _killed_again(world: World, data: Path | None) -> tuple[Path, float]:
    """A life that is killed a minute after it is ready; what it leaves, and how long its start took."""
    daemon, began = world.daemon(data), world.clock.monotonic()
    daemon.begin()
    await daemon.ready()
    took = world.clock.monotonic() - began
    await asyncio.sleep(60)
    return await daemon.kill(), took


@pytest.mark.failure("REC-09")
async def test_the_third_abnormal_start_only_protects_until_somebody_resumes(world: World) -> None:
    await world.play(a_wave(PAIRS[:1], at_ms=4_000), a_wave(PAIRS[1:2], at_ms=240_000))
    said = LogLines()
    left, first = await _killed_again(world, None)
    took = []
    for _ in range(2):
        left, seconds = await _killed_again(world, left)
        took.append(seconds - first)
    assert took == pytest.approx([0, 2], abs=0.5)
    assert any("the start pauses 2 s: 2 within ten minutes" in text for text in said.notices)
    async with world.running(left) as daemon:
        assert daemon.status.trading_state == TradingState.REDUCING.value
        assert daemon.status.reason.startswith("3 starts in 10 min after runs that were not stopped")
        engine = world.venue.simulation.engine if isinstance(world, SimulatedWorld) else None
        assert engine is not None
        engine.cancel_all_conditionals("BTCUSDT")
        await asyncio.sleep(60)
        await world.everything_holds()
        report = await daemon.wave(2)
        assert [leg.denied.reason.value for leg in report.legs if leg.denied] == ["not_active"]
    async with world.running(left) as again:
        assert again.status.trading_state == TradingState.REDUCING.value, "a stop confirms nothing"
        assert again.orchestrator.queries is not None
        again.orchestrator.queries._risk.resume("owner")
    async with world.running(left) as resumed:
        assert resumed.status.trading_state == TradingState.ACTIVE.value


async def test_a_start_that_was_refused_is_no_further_end_of_a_run(world: World) -> None:
    left, _ = await _killed_again(world, None)
    await world.fault("drop_request", match={"method": "GET"}, count=-1)
    for _ in range(4):
        refused = world.daemon(left)
        refused.begin()
        assert refused._task is not None
        assert (await refused._task).status is ExitStatus.PREFLIGHT_REFUSED
    await world.forgive()
    async with world.running(left) as daemon:
        await asyncio.sleep(1)
        assert daemon.status.trading_state == TradingState.ACTIVE.value
