"""The host's clock is set by an hour, the host sleeps, the process stands still: nothing runs into a time-out for it,
and a venue is measured and reconciled before it is traded again."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.domain.alerts import AlertKind
from core.domain.wave import LegState
from tests.fakes.fake_notifier import FakeNotifier
from tests.fakes.virtual_loop import VirtualClock, VirtualLoop
from tests.scenarios.log_lines import LogLines
from tests.scenarios.owner import the_owner
from tests.scenarios.worlds import PAIRS, SimulatedWorld, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")
HOUR_MS = 3_600_000
_PROTECTED = [LegState.PROTECTED] * 2
HOUR_MS, TEN_MINUTES_MS = 3_600_000, 600_000


@dataclass(frozen=True)
class Jump:
    """`reconnects`: whether connections may be lost by it, at each venue."""

    make: Callable[[SimulatedWorld], None]
    why: str
    reconnects: int = 0
    told_again: int = 0
    """Waves that the signal server tells a new connection once more."""
    then_ms: int = 60_000
    """When the wave after it comes, by the timers of this process."""


def _set_by(milliseconds: int) -> Callable[[SimulatedWorld], None]:
    def jump(world: SimulatedWorld) -> None:
        _set(world, milliseconds)

    return jump


def _set(world: SimulatedWorld, milliseconds: int) -> None:
    assert isinstance(world.clock, VirtualClock)
    world.clock.skew_ms += milliseconds


def _sleep(world: SimulatedWorld) -> None:
    """The world goes on for ten minutes, our timers do not."""
    _set(world, TEN_MINUTES_MS)
    assert world._feed is not None
    world._feed._clock.skew_ms += TEN_MINUTES_MS
    for venue in world.venues.values():
        venue._clock.skew_ms += TEN_MINUTES_MS
        venue.catch_up()
        venue.arm()


def _stand_still(_world: SimulatedWorld) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.jump(TEN_MINUTES_MS / 1000)


JUMPS = {
    "an hour ahead": Jump(_set_by(HOUR_MS), "slept or its clock was set ahead by 3600 s"),
    "an hour back": Jump(_set_by(-HOUR_MS), "had its clock set back by 3600 s"),
    "suspended": Jump(_sleep, "slept or its clock was set ahead by 600 s", reconnects=1),
    "stood still": Jump(_stand_still, "this process stood still for", reconnects=1, then_ms=680_000, told_again=1),
}


@pytest.mark.failure("OPS-09")
@pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS)
async def test_after_a_jump_the_venue_is_measured_and_reconciled_and_then_traded(tmp_path: Path, jump: Jump) -> None:
    async with SimulatedWorld(tmp_path) as world:
        await world.play(a_wave(PAIRS[:2]), a_wave(PAIRS[2:4], at_ms=jump.then_ms))
        async with world.running() as daemon:
            people, log = FakeNotifier(), LogLines()
            daemon.orchestrator._notices.attach(people)
            await daemon.wave()
            await asyncio.sleep(20)
            orders = len(await world.sent("order", "cancel"))
            said = len(people.messages)
            jump.make(world)
            await asyncio.sleep(1.5)
            (line,) = log.of("time.jumped")
            assert jump.why in line["why"]
            await asyncio.sleep(18)
            assert daemon.off_because() is None
            assert daemon.status.venues[0].reconciled_s is not None
            assert abs(daemon.status.venues[0].reconciled_s) < 20
            told = [(kind, condition) for kind, condition in zip(people.kinds, people.conditions, strict=True)][said:]
            assert told.count((AlertKind.CLOCK, "+binance")) == told.count((AlertKind.CLOCK, "-binance")) == 1
            assert len(await world.sent("order", "cancel")) == orders, "nothing was closed or cancelled for it"
            assert daemon.status.venues[0].reconnects <= jump.reconnects
            assert daemon.status.unresolved_orders == 0
            report = await daemon.wave(2 + jump.told_again)
            assert [leg.state for leg in report.legs] == _PROTECTED
            await world.everything_holds()


@pytest.mark.failure("OPS-04")
async def test_a_venue_does_not_stay_off_where_the_watch_that_settles_it_ends_meanwhile(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path) as world:
        await world.play()
        async with world.running() as daemon:
            daemon.may_fail = True
            await asyncio.sleep(20)
            _set(world, HOUR_MS)
            await asyncio.sleep(3)
            assert daemon.off_because() is not None
            (watch,) = (task for task in asyncio.all_tasks() if task.get_name() == "time-jumps")
            watch.cancel()
            await asyncio.sleep(40)
            assert daemon.off_because() is None


async def test_no_entry_goes_out_between_the_jump_and_the_reconciliation(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path) as world:
        await world.play(a_wave(PAIRS[:2], at_ms=20_000))
        async with world.running() as daemon:
            await world.fault("drop_request", match={"method": "GET"}, count=-1)
            _set(world, HOUR_MS)
            report = await daemon.wave()
            assert {leg.state for leg in report.legs} == {LegState.REFUSED}
            assert not await world.sent("order")
            assert "it is measured and reconciled first" in str(daemon.off_because())
            await world.forgive()
            await asyncio.sleep(60)
            assert daemon.off_because() is None


async def test_a_pause_that_is_over_holds_no_stop_back_when_the_clock_is_set_back(tmp_path: Path) -> None:
    """One request too many, a minute of silence; then the host is an hour younger, and a stop is taken away."""
    async with SimulatedWorld(tmp_path) as world:
        await world.play(a_wave(PAIRS[:1]))
        owner = the_owner(world)
        owner._clock = VirtualClock()  # of somebody whose clock is right
        async with world.running() as daemon:
            await daemon.wave()
            await asyncio.sleep(20)
            await world.fault("rate_limit", match={"method": "GET"}, count=1)
            await asyncio.sleep(300)
            await world.forgive()
            assert isinstance(world.clock, VirtualClock)
            world.clock.skew_ms -= HOUR_MS
            await asyncio.sleep(30)
            (stop,) = world.venue.simulation.engine.open_conditionals()
            await owner.call("DELETE", "/fapi/v1/algoOrder", symbol="BTCUSDT", clientAlgoId=stop.client_id)
            await asyncio.sleep(15)
            await world.everything_holds()
            assert not [row for row in await world.ask("protection") if row["naked_now_ms"]]
