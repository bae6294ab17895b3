"""What people hear of the trading state: what somebody ordered, and that a fault of the program halted it."""

from core.domain.alerts import AlertKind
from core.domain.risk import TradingState
from core.domain.standing import Standing
from core.engine.ports import Level
from tests.engine.bench import a_bench


async def test_what_somebody_ordered_is_told_once_to_everybody() -> None:
    async with a_bench() as bench:
        paused = Standing(state=TradingState.REDUCING, reason="paused", author="telegram:7")
        bench.risk.ordered(paused)
        bench.risk.ordered(paused)
        bench.risk.resume("telegram:8")
        assert bench.notifier.messages == [
            (Level.WARNING, "trading is REDUCING: paused, by telegram:7"),
            (Level.INFO, "trading was resumed by telegram:8"),
        ]


async def test_a_fault_in_a_protective_path_is_told_until_somebody_resumes() -> None:
    async with a_bench() as bench:
        bench.orders.broken("a critical consumer failed: KeyError('x')")
        (told,) = bench.notifier.critical()
        assert told.startswith("trading is HALTED, a critical consumer failed: KeyError('x'); stops and closes go on")
        bench.risk.resume("the owner")
        assert bench.notifier.kinds == [AlertKind.STATE, AlertKind.STATE]
        assert bench.notifier.conditions == ["+halt", "-halt"]


async def test_a_halt_that_others_have_told_is_not_told_twice() -> None:
    async with a_bench() as bench:
        bench.risk.halt("the task orders failed", told=True)
        assert bench.risk.standing.state is TradingState.HALTED
        assert bench.notifier.messages == []
