"""A stop at any instant: the protective step is finished, or what is left is named and the next start completes it."""

import asyncio
from pathlib import Path

import pytest

from core.lifecycle.outcome import ExitStatus
from tests.scenarios.log_lines import LogLines
from tests.scenarios.worlds import PAIRS, Daemon, SimulatedWorld, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")
LATENCY_MS = 250
INSTANTS = (0.0, 0.06, 0.2, 0.32, 0.5)
"""Seconds after the signals came: before the entries leave, on their way, filled, answered, stops on theirs."""
FORCED = ((0.06, 0.0), (0.2, 0.06), (0.32, 0.0), (0.32, 0.3))
"""Seconds to the first signal to stop, and from there to the second."""


async def _stopped(world: SimulatedWorld, instant: float) -> Daemon:
    """A daemon that is told to stop so long after its wave has come."""
    await world.play(a_wave(PAIRS[:3], at_ms=4_000))
    daemon = world.daemon()
    daemon.begin()
    await daemon.ready()
    while not daemon.status.signals:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.001)
    await asyncio.sleep(instant)
    daemon.orchestrator.stop.set()
    return daemon


async def _naked(world: SimulatedWorld) -> set[str]:
    """By the venue's record."""
    stops = await world.resting_stops()
    return {symbol for symbol, quantity in (await world.held()).items() if stops.get(symbol) != [abs(quantity)]}


async def _a_restart_completes_it(world: SimulatedWorld, daemon: Daemon) -> None:
    async with world.running(daemon.data_dir) as again:
        await asyncio.sleep(5)
        assert again.held() == await world.held()
        assert not await _naked(world)
        await world.everything_holds()


@pytest.mark.failure("OPS-02")
@pytest.mark.parametrize("instant", INSTANTS, ids=lambda seconds: f"{seconds * 1000:.0f}ms")
async def test_a_stop_at_any_instant_of_a_wave_leaves_every_position_under_its_stop(
    tmp_path: Path, instant: float
) -> None:
    async with SimulatedWorld(tmp_path, latency_ms=LATENCY_MS) as world:
        daemon = await _stopped(world, instant)
        assert daemon._task is not None
        outcome = await daemon._task
        assert outcome.status is ExitStatus.DONE, outcome.said
        assert not await _naked(world)
        await _a_restart_completes_it(world, daemon)


@pytest.mark.failure("OPS-02")
@pytest.mark.parametrize(("instant", "forced_after"), FORCED)
async def test_a_second_signal_leaves_no_naked_position_unreported(
    tmp_path: Path, instant: float, forced_after: float
) -> None:
    async with SimulatedWorld(tmp_path, latency_ms=LATENCY_MS) as world:
        daemon = await _stopped(world, instant)
        assert daemon._task is not None
        await asyncio.sleep(forced_after)
        daemon._task.cancel()
        await asyncio.wait([daemon._task])
        outcome = daemon.orchestrator.outcome
        await asyncio.sleep(2 * LATENCY_MS / 1000)  # what had been sent arrives all the same
        names = {symbol: name.split(":", 1)[1] for name, symbol in daemon.orchestrator.symbols.items()}
        for symbol in await _naked(world):
            assert outcome.status is ExitStatus.OPERATOR_NEEDED
            assert names[symbol] in outcome.said
        if not daemon._task.cancelled():
            assert outcome.status is ExitStatus.DONE, "the stop was over before it could be forced"
        await _a_restart_completes_it(world, daemon)


async def test_a_stop_that_was_to_close_everything_and_could_not_says_so(tmp_path: Path) -> None:
    said = LogLines()
    async with SimulatedWorld(tmp_path, latency_ms=50) as world:
        await world.play(a_wave(PAIRS[:3], at_ms=4_000))
        daemon = world.daemon(CLOSE_POSITIONS_ON_SHUTDOWN="true")
        daemon.begin()
        await daemon.ready()
        await daemon.wave()
        await world.fault("reject_order", code=-1001, count=-1)
        outcome = await daemon.stop()
        assert len(await world.held()) == 3
        assert outcome.status is ExitStatus.OPERATOR_NEEDED
        assert "not closed (CLOSE_POSITIONS_ON_SHUTDOWN), under their stops: " in outcome.said
        assert any(outcome.said in text for text in said.notices)


@pytest.mark.parametrize("close", ["false", "true"])
@pytest.mark.parametrize("kind", ["drop_request", "drop_response"])
async def test_a_stop_beside_venues_that_answer_nothing_is_over_within_ten_seconds(
    tmp_path: Path, close: str, kind: str
) -> None:
    venues = ("binance", "bybit", "okx")
    async with SimulatedWorld(tmp_path, venues, latency_ms=50) as world:
        await world.play(a_wave(PAIRS[:3], at_ms=4_000))
        daemon = world.daemon(CLOSE_POSITIONS_ON_SHUTDOWN=close, DEFAULT_EXCHANGE="binance")
        daemon.begin()
        await daemon.ready()
        await daemon.wave()
        await asyncio.sleep(5)
        for venue in venues:
            await world.tell("fault", venue, kind=kind, match={}, count=-1)
        began = world.clock.monotonic()
        await daemon.stop()
        assert world.clock.monotonic() - began <= 10
