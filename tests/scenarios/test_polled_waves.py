"""The whole daemon against a polled signal server: one wave a candle, once, whatever is answered again or later."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from core.domain.wave import LegState
from core.lifecycle.outcome import ExitStatus
from tests.fakes.sim_transport import SimulatedFeed
from tests.scenarios.worlds import PAIRS, SimulatedWorld
from tools.signal_feed import Form

pytestmark = pytest.mark.may_block("simulation runs storage inline")

EVERY_MINUTE: dict[str, Any] = {"WAVE_CHECK_MINUTES": "*"}
CANDLE, OLDER, NEXT = "2026-09-21T13:45:00Z", "2026-09-21T13:30:00Z", "2026-09-21T14:00:00Z"
"""Worlds begin at 14:13:20; from 14:16 on the next candle is expected."""


class PolledWorld(SimulatedWorld):
    """Its signal server answers when it is asked."""

    async def play(self, *lines: Mapping[str, Any]) -> None:
        self._feed = SimulatedFeed(lines, token="t", form=Form.POLLED)


def a_row(pair: str, *, score: int = 80, **fields: Any) -> dict[str, Any]:
    """As the polled form has it."""
    made = {"pair_symbol": pair, "recommended_action": "BUY", "score_week": score, "score_month": 0, "exchange_id": 1}
    return {"id": f"{pair}-{score}", "timestamp": CANDLE, "created_at": "$now"} | made | fields


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[PolledWorld]:
    async with PolledWorld(tmp_path) as made:
        yield made


@pytest.mark.parametrize("form", ["auto", "polled"])
async def test_the_wave_of_the_expected_candle_is_traded_and_what_comes_later_is_refused(
    world: PolledWorld, form: str
) -> None:
    wave = [a_row(pair, score=80 - i) for i, pair in enumerate(PAIRS[:3])]
    late = a_row(PAIRS[3], score=99)
    await world.play({"at_ms": 60_000, "signals": wave}, {"at_ms": 90_000, "signals": [*wave, late]})
    async with world.running(SIGNAL_FORM=form, **EVERY_MINUTE) as daemon:
        report = await daemon.wave()
        assert [leg.state for leg in report.legs] == [LegState.PROTECTED] * 3
        told = await daemon.wave(2, seconds=120)
        assert ([u.id for u in told.unusable], told.legs) == (["XRPUSDT-99"], ())
        assert daemon.status.refusals["wave_closed"] == 1
        await asyncio.sleep(120)
        assert sorted(await world.held()) == sorted(PAIRS[:3])
        await world.everything_holds()


@pytest.mark.failure("SIG-07")
async def test_signals_that_wait_at_the_start_run_as_soon_as_the_daemon_is_ready(world: PolledWorld) -> None:
    """14:13 is no check minute; the next one is seven minutes away, when these will have expired or be late."""
    await world.play({"at_ms": 0, "signals": [a_row(PAIRS[0])]})
    async with world.running() as daemon:
        report = await daemon.wave(seconds=10)
        assert [leg.state for leg in report.legs] == [LegState.PROTECTED]
        await world.everything_holds()


@pytest.mark.failure("SIG-07")
async def test_signals_that_expired_while_nobody_ran_are_refused(world: PolledWorld) -> None:
    await world.play({"at_ms": 0, "signals": [a_row(PAIRS[0], created_at="2026-09-21T14:03:20Z")]})
    async with world.running() as daemon:
        report = await daemon.wave(seconds=10)
        assert [leg.denied.reason.value for leg in report.legs if leg.denied] == ["expired"]
        assert await world.held() == {}


@pytest.mark.failure("SIG-16")
@pytest.mark.parametrize("end", ["stopped", "killed"])
async def test_the_wave_of_a_candle_is_not_traded_again_after_a_restart(world: PolledWorld, end: str) -> None:
    """Also where the server has given the same signals new ids meanwhile."""
    wave = [a_row(pair) for pair in PAIRS[:2]]
    renamed = [row | {"id": "again-" + row["id"]} for row in wave]
    others = [a_row(pair, id="other-" + pair) for pair in PAIRS[2:4]]
    await world.play({"at_ms": 0, "signals": wave}, {"at_ms": 40_000, "signals": [*wave, *renamed, *others]})
    async with world.running() as first:
        await first.wave()
        sent = await world.sent("order", "stop")
        await asyncio.sleep(40)
        if end == "stopped":
            await first.stop()
            left = first.data_dir
        else:
            left = await first.kill()
    async with world.running(left, **EVERY_MINUTE) as second:
        told = await second.wave()
        assert {unusable.code for unusable in told.unusable} == {"wave_closed"}
        assert len(told.unusable) == 6
        await asyncio.sleep(100)
        assert await world.sent("order", "stop") == sent
        await world.everything_holds()


@pytest.mark.failure("SIG-16")
async def test_a_thousand_replays_of_an_answer_give_no_further_order(world: PolledWorld) -> None:
    wave = [a_row(pair, created_at="2026-09-21T14:13:00Z") for pair in PAIRS[:3]]
    answer = json.dumps({"type": "signals", "count": len(wave), "data": wave})
    turned = json.dumps({"type": "signals", "count": len(wave), "data": wave[::-1]})
    replays = [{"at_ms": 20_000 + 50 * n, "raw": turned if n % 2 else answer} for n in range(1_000)]
    await world.play({"at_ms": 0, "signals": wave}, *replays)
    async with world.running(SIGNAL_FORM="polled", SIGNAL_TTL_SECONDS=3600) as daemon:
        await daemon.wave()
        sent = await world.sent("order", "stop")
        await asyncio.sleep(90)
        assert await world.sent("order", "stop") == sent
        assert len(sent) == 6
        await world.everything_holds()


@pytest.mark.failure("SIG-16")
async def test_an_older_candle_than_the_newest_handled_trades_nothing(world: PolledWorld) -> None:
    older = a_row(PAIRS[1], timestamp=OLDER)
    await world.play({"at_ms": 0, "signals": [a_row(PAIRS[0])]}, {"at_ms": 20_000, "signals": [older]})
    async with world.running(**EVERY_MINUTE) as daemon:
        await daemon.wave()
        told = await daemon.wave(2, seconds=120)
        assert [unusable.code for unusable in told.unusable] == ["wave_closed"]
        assert list(await world.held()) == [PAIRS[0]]


async def test_once_waits_for_its_wave_and_is_not_ended_by_latecomers(world: PolledWorld) -> None:
    await world.play({"at_ms": 0, "signals": [a_row(PAIRS[0])]})
    async with world.running() as first:
        await first.wave()
        left = first.data_dir
    await world.play(
        {"at_ms": 0, "signals": [a_row(PAIRS[0]), a_row(PAIRS[1])]},
        {"at_ms": 200_000, "signals": [a_row(PAIRS[2], timestamp=NEXT)]},
    )
    again = world.daemon(left, ONCE_WAIT_SECONDS=600)
    outcome = await again.orchestrator.run(once=True)
    assert outcome.status is ExitStatus.DONE
    assert [leg.state for report in outcome.reports for leg in report.legs] == [LegState.PROTECTED]
    assert sorted(await world.held()) == sorted([PAIRS[0], PAIRS[2]])
