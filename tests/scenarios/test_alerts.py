"""Alerts of a whole daemon: who is alarmed, what an outage of the channel changes, what a restart tells."""

import asyncio
from pathlib import Path

import pytest

from core.domain.alerts import AlertKind
from core.engine.ports import Level
from tests.campaigns.quiet import FAULTS, alarms, broken, healthy
from tests.scenarios.alert_worlds import AlertWorld
from tests.scenarios.worlds import PAIRS, Daemon, a_wave

pytestmark = pytest.mark.may_block(reason="the daemon writes its files in this process")


@pytest.mark.failure("OPS-05")
async def test_healthy_trading_alarms_nobody_and_is_told(tmp_path: Path) -> None:
    """`make quiet` lives a whole day of it."""
    said, world = await healthy(tmp_path, 0.1)
    assert [line["text"] for line in alarms(said)] == []
    kinds = {line["kind"] for line in said.of("notice")}
    assert {"start", "entry", "wave", "stop"} <= kinds
    assert len(world.ear.lines) == len(said.notices)


@pytest.mark.failure("OPS-05")
@pytest.mark.parametrize("kind", sorted(FAULTS))
async def test_a_fault_alarms_once_however_long_it_lasts_and_its_end_is_told(tmp_path: Path, kind: str) -> None:
    said = await broken(tmp_path, kind)
    assert [line["kind"] for line in alarms(said)] == [kind]
    told = [line for line in said.of("notice") if line["kind"] in (kind, "venue")]
    ended = [] if kind == "key" else ["info"]  # a refused key is asked for again every ten minutes
    assert [line["level"] for line in told] == ["critical", *ended]


async def _under_noise(folder: Path, *, deaf: bool) -> tuple[list[object], list[str]]:
    """The stages of three waves while ten alerts a second come, and what was heard in the end."""
    async with AlertWorld(folder) as world:
        world.ear.deaf = deaf
        await world.play(*(a_wave(PAIRS[k : k + 2], at_ms=5_000 + k * 5_000) for k in (0, 2, 4)))
        async with world.running(ALERT_NOISE="wave=on") as daemon:
            for number in range(300):
                _say(daemon, Level.WARNING, f"noise {number}", AlertKind.PRICES)
                if number % 30 == 0:
                    _say(daemon, Level.CRITICAL, f"critical {number}", AlertKind.STREAM)
                await asyncio.sleep(0.1)
            await daemon.wave(3)
            stages: list[object] = [report.stages for report in daemon.waves]
            assert bool(world.ear.messages) is not deaf
            world.ear.deaf = False
            await asyncio.sleep(60)
        return stages, world.ear.lines


def _say(daemon: Daemon, level: Level, text: str, kind: AlertKind) -> None:
    daemon.orchestrator._notices.notify(level, text, kind=kind)


@pytest.mark.failure("TEL-02")
async def test_a_channel_that_is_out_costs_no_latency_and_nothing_critical_and_tells_in_order(tmp_path: Path) -> None:
    well, heard = await _under_noise(tmp_path / "well", deaf=False)
    out, heard_late = await _under_noise(tmp_path / "out", deaf=True)
    assert out == well
    for lines in (heard, heard_late):
        critical = [int(line.split()[-1]) for line in lines if "critical " in line]
        assert critical == list(range(0, 300, 30))
        noise = [int(line.split()[-1]) for line in lines if line.startswith("⚠️ noise")]
        assert noise == sorted(set(noise))
    assert any("earlier messages are only in the log" in line for line in heard_late)


async def test_what_nobody_heard_before_a_crash_is_told_once_by_the_next_run(tmp_path: Path) -> None:
    async with AlertWorld(tmp_path) as world:
        async with world.running() as daemon:
            _say(daemon, Level.CRITICAL, "heard", AlertKind.STREAM)
            await asyncio.sleep(5)
            world.ear.deaf = True
            _say(daemon, Level.CRITICAL, "unheard", AlertKind.STREAM)
            _say(daemon, Level.INFO, "unheard too", AlertKind.WAVE)
            await asyncio.sleep(5)
            left = await daemon.kill()
        world.ear.deaf = False
        async with world.running(left):
            await asyncio.sleep(30)
    lines = world.ear.lines
    assert [lines.count(text) for text in ("🔴 heard", "🔴 unheard", "unheard too")] == [1, 1, 1]
    assert lines.index("🔴 unheard") < lines.index("unheard too")
    assert any("the last run ended without being stopped" in line for line in lines)
