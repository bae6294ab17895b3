"""A start while no venue can be reached: refused with nothing at stake, waited out where positions stand."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from core.lifecycle.opening import PATIENCE_SECONDS
from core.lifecycle.outcome import ExitStatus
from core.supervision.service_notify import NotifySocket
from tests.scenarios.telegram_worlds import TelegramWorld
from tests.scenarios.worlds import PAIRS, Daemon, World, a_wave

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


def _as_a_service(daemon: Daemon, folder: Path) -> None:
    daemon.orchestrator._host = replace(
        daemon.orchestrator._host, service=NotifySocket({"NOTIFY_SOCKET": str(folder / "nobody-listens")})
    )


async def test_a_service_that_starts_before_its_network_waits_for_it(world: World, tmp_path: Path) -> None:
    await world.fault("drop_request", match={"method": "GET"}, count=-1)
    daemon = world.daemon()
    _as_a_service(daemon, tmp_path)
    daemon.begin()
    await asyncio.sleep(PATIENCE_SECONDS / 2)
    await world.forgive()
    await daemon.ready()
    assert (await daemon.stop()).status is ExitStatus.DONE


async def test_a_service_without_a_network_gives_up_after_ten_minutes_so_that_people_are_told(
    world: World, tmp_path: Path
) -> None:
    await world.fault("drop_request", match={"method": "GET"}, count=-1)
    daemon = world.daemon()
    _as_a_service(daemon, tmp_path)
    daemon.begin()
    assert daemon._task is not None
    async with asyncio.timeout(PATIENCE_SECONDS + 60):
        outcome = await daemon._task
    assert outcome.status is ExitStatus.PREFLIGHT_REFUSED
    assert "no venue can be used: binance" in outcome.said


async def test_while_a_start_waits_people_are_told_and_may_ask_and_nothing_they_order_is_lost_or_done(
    tmp_path: Path,
) -> None:
    async with TelegramWorld(tmp_path) as world:
        await world.play(a_wave(PAIRS[:2], at_ms=4_000))
        async with world.running() as first:
            await first.wave()
            held = first.held()
            left = await first.kill()
        await world.fault("drop_request", match={"method": "GET"}, count=-1)
        second = world.daemon(left)
        second.begin()
        await world.phone.read("the start waits for binance")
        told = await world.phone.ask("/status")
        assert "STARTING" in told.upper()
        assert "emergency_flat" in await world.phone.ask("/panic", "No venue can be used yet")
        await world.forgive()
        await second.ready()
        assert second.held() == held == await world.held(), "a refused /panic closes nothing later on"
        assert "Press within" in await world.phone.ask("/panic")
        assert (await second.stop()).status is ExitStatus.DONE


async def test_people_hear_at_once_that_a_start_was_refused(tmp_path: Path) -> None:
    async with TelegramWorld(tmp_path) as world:
        await world.fault("drop_request", match={"method": "GET"}, count=-1)
        daemon = world.daemon()
        daemon.begin()
        assert daemon._task is not None
        assert (await daemon._task).status is ExitStatus.PREFLIGHT_REFUSED
        assert any("not started, no venue can be used" in text for text in world.phone.shown)
