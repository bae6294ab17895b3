"""A fault of the program, once, at every place that protects: it is logged as an error, counted, and people hear of it,
and the position has its stop all the same (OPS-03)."""

import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.engine.closer import Closer
from core.engine.exit_engine import ExitEngine
from core.engine.inflight import InflightResolver
from core.engine.order_dispatch import OrderDispatch
from core.engine.order_manager import OrderManager
from core.engine.protection_manager import ProtectionManager
from core.engine.tightening import Tightening
from core.venues.binance.client import BinanceClient
from tests.fakes.fake_notifier import FakeNotifier
from tests.scenarios.log_lines import LogLines
from tests.scenarios.test_trailing import a_long, a_world, entry_of, gain
from tests.scenarios.worlds import Daemon

pytestmark = pytest.mark.may_block("simulation runs storage inline")

FAULT = "a fault of the program"
TRAILED: dict[str, Any] = {
    "TRAILING_ACTIVATION_PERCENT": "1",
    "TRAILING_CALLBACK_PERCENT": "0.5",
    "BREAKEVEN_ACTIVATION_PERCENT": 0,
}
PLACES: list[tuple[type, str]] = [
    (ProtectionManager, "on_events"),
    (ProtectionManager, "_place"),
    (ProtectionManager, "_plan"),
    (OrderManager, "apply"),
    (OrderManager, "put_position"),
    (OrderDispatch, "_send"),
    (OrderDispatch, "_settle"),
    (BinanceClient, "submit"),
    (ExitEngine, "_decide"),
    (ExitEngine, "on_events"),
    (Tightening, "carry_out"),
    (OrderDispatch, "cancel"),
]

LATE = PLACES[-2:]
"""They are reached when the price has moved."""


class OneFault:
    """The next call of a method fails; armed when the daemon is ready, and told of once it has happened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        self.armed, self.happened = False, False
        original: Callable[..., Any] = getattr(owner, name)

        def fail() -> None:
            if self.armed:
                self.armed, self.happened = False, True
                raise RuntimeError(FAULT)

        def failing(*given: Any, **named: Any) -> Any:
            fail()
            return original(*given, **named)

        async def failing_later(*given: Any, **named: Any) -> Any:
            fail()
            return await original(*given, **named)

        awaited = inspect.iscoroutinefunction(original)
        monkeypatch.setattr(owner, name, failing_later if awaited else failing)


def counted(daemon: Daemon) -> int:
    status = daemon.status
    return status.halts + sum(row.failures for row in status.tasks)


async def told_logged_and_counted(daemon: Daemon, people: FakeNotifier, said: LogLines) -> None:
    assert people.critical(), "nobody heard of it"
    errors = [line for line in said.lines if line["level"] in {"error", "critical"} and FAULT in str(line)]
    traces = [line for line in said.lines if line.get("exc_info")]
    assert errors or traces, "it is not in the log"
    assert counted(daemon) >= 1


@pytest.mark.failure("OPS-03")
@pytest.mark.parametrize(("owner", "name"), PLACES, ids=lambda place: getattr(place, "__name__", place))
async def test_a_fault_in_what_protects_is_logged_counted_and_told_and_the_stop_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    fault = OneFault(monkeypatch, owner, name)
    async with a_world(tmp_path, "binance") as world:
        await world.play(a_long("binance"))
        async with world.running(**TRAILED) as daemon:
            daemon.may_fail = True
            people, said = FakeNotifier(), LogLines()
            daemon.orchestrator._notices.attach(people)
            late = (owner, name) in LATE
            fault.armed = not late
            await daemon.wave()
            await asyncio.sleep(5 if late else 75 if name == "_send" else 20)
            if late:
                fault.armed = True
                await gain(world, "BTCUSDT", entry_of(world, "BTCUSDT"), "3")
                await asyncio.sleep(60)
            assert fault.happened, "the test does not reach this place"
            await told_logged_and_counted(daemon, people, said)
            await world.everything_holds()
            assert daemon.held() == await world.held()


@pytest.mark.failure("OPS-03")
async def test_a_fault_in_a_close_is_logged_counted_and_told_and_the_position_stays_protected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = OneFault(monkeypatch, Closer, "_until_flat")
    async with a_world(tmp_path, "binance") as world:
        await world.play(a_long("binance"))
        async with world.running(TAKE_PROFIT_PERCENT="1", TRAILING_MODE="off") as daemon:
            daemon.may_fail = True
            people, said = FakeNotifier(), LogLines()
            daemon.orchestrator._notices.attach(people)
            await daemon.wave()
            await asyncio.sleep(5)
            fault.armed = True
            await gain(world, "BTCUSDT", entry_of(world, "BTCUSDT"), "2")
            assert fault.happened
            await told_logged_and_counted(daemon, people, said)
            await world.everything_holds()


@pytest.mark.failure("OPS-03")
async def test_a_fault_while_an_unknown_order_is_asked_for_is_logged_counted_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = OneFault(monkeypatch, InflightResolver, "_resolve")
    async with a_world(tmp_path, "binance") as world:
        await world.play(a_long("binance"))
        async with world.running() as daemon:
            daemon.may_fail = True
            people, said = FakeNotifier(), LogLines()
            daemon.orchestrator._notices.attach(people)
            await world.fault("drop_response", match={"method": "POST", "path": "/fapi/v1/algoOrder"})
            fault.armed = True
            await asyncio.sleep(40)
            assert fault.happened
            await told_logged_and_counted(daemon, people, said)
            await world.everything_holds()
