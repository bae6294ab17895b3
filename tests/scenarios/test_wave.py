"""The trunk: one wave of signals becomes positions, each with its stop resting at the venue."""

import pytest

from core.domain.wave import LegState
from tests.scenarios.worlds import PAIRS, World, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")


@pytest.mark.asyncio(loop_factories=["simulated", "loopback"])
async def test_a_wave_becomes_protected_positions(world: World) -> None:
    await world.play(a_wave(at_ms=2_500))
    async with world.running() as daemon:
        report = await daemon.wave()
        assert [leg.state for leg in report.legs] == [LegState.PROTECTED] * len(PAIRS)
        held = await world.held()
        assert sorted(held) == sorted(PAIRS)
        assert [held[pair] > 0 for pair in PAIRS] == [True, False, True, False, True, False]
        await world.everything_holds()
    await world.everything_holds()  # stopping leaves positions and stops where they are
