"""Two things say at once whether trading goes on: somebody and a fault, somebody and the stop."""

import json

import pytest

from core.domain.ids import Leg
from core.domain.money import ZERO
from core.domain.order import OrderStatus
from core.domain.risk import TradingState
from tests.builders import an_intent
from tests.catalogue.risk import commands, kept
from tests.engine.bench import a_bench


@pytest.mark.failure("RSK-11")
async def test_a_fault_in_the_middle_of_a_panic_does_not_end_the_closing() -> None:
    async with a_bench() as bench:
        bench.venue.script(Leg.ENTRY, bench.venue.lose_request)
        await bench.enter(an_intent())
        await bench.settle()
        bench.venue.orders[an_intent().client_order_id] = late = bench.venue._register(
            an_intent(), OrderStatus.ACCEPTED
        )
        await commands(bench).panic("me")
        assert bench.risk.standing.flatten
        bench.risk.halt("the task orders failed")
        assert (bench.risk.standing.reason, bench.risk.halts) == ("panic", 1)
        await bench.venue.trade(late, late.intent.quantity)
        await bench.until(lambda: not bench.risk.standing.flatten, 60)
        assert not any(quantity != ZERO for quantity in bench.venue.positions_held.values())
        assert json.loads(kept(bench)["trading_state"])["author"] == "me"


async def test_a_fault_is_stricter_than_a_pause_and_resume_ends_both() -> None:
    async with a_bench() as bench:
        await commands(bench).pause("me")
        bench.risk.halt("the task orders failed")
        assert bench.risk.standing.state is TradingState.HALTED
        bench.risk.resume("me")
        assert bench.risk.standing.state is TradingState.ACTIVE


async def test_nobody_resumes_a_daemon_that_stops_and_nothing_else_lets_it_enter() -> None:
    async with a_bench() as bench:
        bench.risk.states.set_killed(True)
        bench.risk.states.stopping = True
        bench.risk.states.set_killed(False)
        assert bench.risk.standing.state is TradingState.REDUCING
        with pytest.raises(ValueError, match="stopping"):
            commands(bench).resume("me")
        assert bench.risk.standing.reason == "stopping"


async def test_what_the_configuration_held_back_is_read_anew_at_the_next_start() -> None:
    async with a_bench() as bench:
        said = {"state": "reducing", "reason": "TRADING_ENABLED=false", "author": "configuration"}
        assert bench.risk.restore({"trading_state": json.dumps(said)}) is None
