"""A start while no venue can be reached: refused with nothing at stake, waited out where positions stand."""

import asyncio

import pytest

from core.outcome import ExitStatus
from tests.scenarios.worlds import PAIRS, World, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")


async def test_a_restart_into_an_outage_waits_for_the_venue_that_holds_positions(world: World) -> None:
    await world.play(a_wave(PAIRS[:2], at_ms=4_000))
    async with world.running() as first:
        await first.wave()
        held = first.held()
        left = await first.kill()
    await world.fault("drop_request", match={"method": "GET"}, count=-1)
    second = world.daemon(left)
    second.begin()
    await asyncio.sleep(30)
    await world.forgive()
    await second.ready()
    assert second.held() == held == await world.held()
    await world.everything_holds()
    assert (await second.stop()).status is ExitStatus.DONE


async def test_a_first_start_that_reaches_no_venue_is_refused(world: World) -> None:
    await world.fault("drop_request", match={"method": "GET"}, count=-1)
    daemon = world.daemon()
    daemon.begin()
    assert daemon._task is not None
    assert (await daemon._task).status is ExitStatus.PREFLIGHT_REFUSED
