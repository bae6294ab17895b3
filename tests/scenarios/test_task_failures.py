"""Each long-lived task of the daemon is killed in turn, in both ways a task can end, with positions open."""

import asyncio
from pathlib import Path

import pytest

from core.domain.alerts import AlertKind
from core.domain.position import Position
from core.domain.wave import LegState
from core.engine.protection_manager import ProtectionManager
from core.engine.vitals import VITAL, TaskRow
from core.engine.wave_processor import WaveProcessor
from tests.fakes.fake_notifier import FakeNotifier
from tests.scenarios.worlds import PAIRS, Daemon, SimulatedWorld, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")
_OWNED = {
    "data": {"data/tickers/binance", "data/candles/binance"},
    "upkeep": {"upkeep/clocks", "upkeep/rules", "upkeep/connections"},
    "screener": {"screener/binance", "screener/samples"},
}
"""What is to run again within a task."""


def _break(name: str, *, cancel: bool) -> None:
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == name)
    if cancel:
        task.cancel()
    else:
        waits_for = task._fut_waiter  # type: ignore[attr-defined]
        waits_for.set_exception(RuntimeError("a fault of the program"))


def _row(daemon: Daemon, name: str) -> TaskRow:
    (row,) = (row for row in daemon.status.tasks if row.name == name)
    return row


@pytest.mark.failure("OPS-04")
@pytest.mark.parametrize("cancel", [True, False], ids=["cancelled", "raises"])
async def test_each_task_that_dies_is_told_of_and_started_again_and_nothing_is_lost(
    tmp_path: Path, *, cancel: bool
) -> None:
    async with SimulatedWorld(tmp_path) as world:
        await world.play(a_wave(PAIRS[:2]), a_wave(PAIRS[2:4], at_ms=200_000))
        async with world.running() as daemon:
            daemon.may_fail = True
            people = FakeNotifier()
            daemon.orchestrator._notices.attach(people)
            await daemon.wave()
            names = [row.name for row in daemon.status.tasks]
            assert {"orders", "protection", "exits", "reconciler", "user-stream/binance", "signals/server"} < set(names)
            for name in names:
                told = len(people.critical())
                _break(name, cancel=cancel)
                await asyncio.sleep(0.2)
                assert people.critical()[told:], f"nobody heard of {name}"
                assert people.kinds.count(AlertKind.TASK) == names.index(name) + 1
                assert (daemon.status.trading_state == "halted") is (name in VITAL)
                if name in VITAL:
                    assert daemon.orchestrator.queries is not None
                    daemon.orchestrator.queries._risk.resume("owner")
                assert daemon.status.venues[0].connected is not name.startswith("user-stream/")
                await asyncio.sleep(3)
                assert daemon.status.venues[0].connected
                assert _OWNED.get(name, set()) <= {task.get_name() for task in asyncio.all_tasks()}
                row = _row(daemon, name)
                assert row.running, name
                assert (row.restarts, row.failures) == (1, 1), name
            await world.everything_holds()
            report = await daemon.wave(3, 300)  # the second was what the server told again to a new connection
            assert [leg.state for leg in report.legs] == [LegState.PROTECTED] * 2
            await asyncio.sleep(5)
            await world.everything_holds()


@pytest.mark.parametrize("name", VITAL)
async def test_what_was_under_way_in_a_vital_task_that_died_is_taken_up(tmp_path: Path, name: str) -> None:
    async with SimulatedWorld(tmp_path, latency_ms=250) as world:
        await world.play(a_wave(PAIRS[:3]))
        async with world.running() as daemon:
            daemon.may_fail = True
            while not await world.sent("order"):  # noqa: ASYNC110 - the venue tells nobody
                await asyncio.sleep(0.05)
            await world.fault("lose_event", match={"stream": "listenKey"}, count=-1)
            _break(name, cancel=True)
            await asyncio.sleep(5)
            assert daemon.status.trading_state == "halted"
            assert daemon.status.unresolved_orders == 0
            assert daemon.held() == await world.held()
            await world.everything_holds()


@pytest.mark.failure("OPS-04")
async def test_what_happens_before_a_task_runs_again_halts_nothing(tmp_path: Path) -> None:
    """Its owner of tasks has ended, and events go on: a stop is hit."""
    async with SimulatedWorld(tmp_path) as world:
        await world.play(a_wave(PAIRS[:2]), a_wave(PAIRS[2:4], at_ms=8_500))
        async with world.running(TRAILING_MODE="native") as daemon:
            daemon.may_fail = True
            await daemon.wave()
            await asyncio.sleep(8 - world.clock.monotonic() % 1)
            _break("native-trailing", cancel=True)
            await asyncio.sleep(0)
            await world.fault("gap_price", match={"symbol": "BTCUSDT"}, fraction=-0.04)
            await daemon.wave(2)
            assert "BTCUSDT" not in await world.held()
            assert daemon.status.trading_state == "active", daemon.status.reason


async def test_a_wave_that_fails_ends_alone_with_its_books_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SimulatedWorld(tmp_path) as world:
        await world.play(a_wave(PAIRS[:2]), a_wave(PAIRS[2:4], at_ms=8_000))
        async with world.running() as daemon:
            daemon.may_fail = True
            people = FakeNotifier()
            daemon.orchestrator._notices.attach(people)
            with monkeypatch.context() as broken:
                broken.setattr(WaveProcessor, "_trade", _fails)
                first = await daemon.wave(1)
            assert first.legs
            assert not [leg for leg in first.legs if leg.state is LegState.PROTECTED]
            second = await daemon.wave(2)
            assert [leg.state for leg in second.legs] == [LegState.PROTECTED] * 2
            assert people.kinds.count(AlertKind.TASK) == 1
            assert (_row(daemon, "waves").restarts, _row(daemon, "waves").failures) == (0, 1)
            assert daemon.status.trading_state == "active"


@pytest.mark.failure("OPS-04")
async def test_a_guardian_that_fails_costs_no_other_position_its_stop_and_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SimulatedWorld(tmp_path, latency_ms=50) as world:
        await world.play(a_wave(PAIRS[:3]))
        async with world.running() as daemon:
            daemon.may_fail = True
            place, failed = ProtectionManager._place, list[str]()

            async def sometimes(self: ProtectionManager, position: Position) -> None:
                if position.instrument.symbol.startswith("ETH") and len(failed) < 3:
                    failed.append(str(position.key))
                    raise RuntimeError("a fault of the program")
                await place(self, position)

            monkeypatch.setattr(ProtectionManager, "_place", sometimes)
            await daemon.wave()
            await asyncio.sleep(3)
            assert len(failed) == 3
            assert daemon.status.trading_state == "halted"
            await world.everything_holds()
            assert len(daemon.positions) == 3
            assert await world.longest_naked_ms() < 1_500


async def _fails(*_: object) -> None:
    raise RuntimeError("a fault of the program")
