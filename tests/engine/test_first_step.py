"""Tasks that begin in the step that makes them, and are tasks like any other from there on."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from decimal import Decimal
from typing import Any

import pytest

from core.domain.profit_steps import ProfitStep
from core.domain.signal import Side
from core.engine.first_step import at_once
from core.engine.owned_tasks import OwnedTasks, be_watched
from core.engine.ports import VenueTraits
from tests.builders import trailing_rules
from tests.engine.test_exit_engine import BOTH_SIDES, EVERY_KIND, a_position, gained

SEEN: ContextVar[str] = ContextVar("seen", default="nothing")


class Watcher:
    def __init__(self) -> None:
        self.failed: list[tuple[str, str]] = []

    def beat(self) -> None: ...

    def child_failed(self, name: str, error: Exception) -> None:
        self.failed.append((name, str(error)))


async def _gate(log: list[str], gate: asyncio.Future[None]) -> None:
    log.append("begun")
    await gate
    log.append("over")


async def test_it_has_begun_when_the_call_returns_and_goes_on_as_a_task() -> None:
    log, gate = list[str](), asyncio.get_running_loop().create_future()
    async with OwnedTasks() as tasks:
        task = at_once(tasks, _gate(log, gate), "it")
        assert log == ["begun"]
        assert not task.done()
        assert task.get_name() == "it"
        gate.set_result(None)
    assert log == ["begun", "over"]


async def test_one_that_was_over_in_its_first_step_is_not_ended_by_a_cancel_after_it() -> None:
    async def work() -> None:
        return

    async with OwnedTasks() as tasks:
        task = at_once(tasks, work(), "it")
        task.cancel()
    assert not task.cancelled()
    assert task.exception() is None


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_what_it_waits_for_may_come_before_its_first_turn_or_after_it(turns: int) -> None:
    log, gate = list[str](), asyncio.get_running_loop().create_future()
    async with OwnedTasks() as tasks:
        at_once(tasks, _gate(log, gate), "it")
        for _ in range(turns):
            await asyncio.sleep(0)
        gate.set_result(None)
    assert log == ["begun", "over"]


async def test_a_bare_turn_is_only_a_turn() -> None:
    log: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0)
        log.append("over")

    async with OwnedTasks() as tasks:
        at_once(tasks, work(), "it")
        assert not log
    assert log == ["over"]


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("first", [True, False])
async def test_what_it_raises_is_its_own(*, watched: bool, first: bool) -> None:
    watcher, went_on = Watcher(), list[bool]()
    if watched:
        be_watched(watcher)

    async def fails() -> None:
        if not first:
            await asyncio.sleep(0)
        raise ValueError("broken")

    async def owner() -> None:
        async with OwnedTasks() as tasks:
            at_once(tasks, fails(), "it")
            went_on.append(True)

    if watched:
        await owner()
        assert watcher.failed == [("it", "broken")]
    else:
        with pytest.raises(ExceptionGroup) as raised:
            await owner()
        assert [str(error) for error in raised.value.exceptions] == ["broken"]
    assert went_on == [True]


async def test_ended_before_its_first_turn_it_is_ended_where_it_waits() -> None:
    log: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            log.append("ended")

    async with OwnedTasks() as tasks:
        task = at_once(tasks, work(), "it")
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    assert log == ["ended"]


async def test_a_task_of_a_group_that_is_ending_is_not_begun() -> None:
    class Ending:
        def create_task(self, work: Coroutine[Any, Any, None], /, **more: Any) -> asyncio.Task[None]:
            task = asyncio.create_task(work, **more)
            task.cancel()
            return task

    log: list[str] = []
    task = at_once(Ending(), _gate(log, asyncio.get_running_loop().create_future()), "it")
    await asyncio.wait([task])
    assert task.cancelled()
    assert not log


async def test_a_limit_of_time_in_it_ends_it_and_not_whoever_began_it() -> None:
    log: list[str] = []

    async def work() -> None:
        assert asyncio.current_task() is made[0]
        try:
            async with asyncio.timeout(1):
                await asyncio.Event().wait()
        except TimeoutError:
            log.append("in time")

    made: list[asyncio.Task[None]] = []
    async with OwnedTasks() as tasks:
        mine = asyncio.current_task()
        at_once(tasks, work(), "it", made.append)
        assert asyncio.current_task() is mine
        await asyncio.sleep(2)
    assert log == ["in time"]


async def test_its_context_is_its_own_from_the_first_step_on() -> None:
    seen: list[str] = []

    async def work() -> None:
        token = SEEN.set("inside")
        await asyncio.sleep(0)
        seen.append(SEEN.get())
        SEEN.reset(token)

    async with OwnedTasks() as tasks:
        at_once(tasks, work(), "it")
        assert SEEN.get() == "nothing"
    assert seen == ["inside"]


async def test_from_within_a_callback_of_the_loop_it_begins_as_well() -> None:
    log, gate = list[str](), asyncio.get_running_loop().create_future()
    async with OwnedTasks() as tasks:
        begin: Callable[[], object] = lambda: at_once(tasks, _gate(log, gate), "it")  # noqa: E731
        asyncio.get_running_loop().call_soon(begin)
        await asyncio.sleep(0)
        assert log == ["begun"]
        gate.set_result(None)


@BOTH_SIDES
@EVERY_KIND
async def test_a_move_is_handed_to_its_client_in_the_step_of_the_price_that_decides_it(
    side: Side, traits: VenueTraits
) -> None:
    """Between two turns of the loop comes whatever else has just arrived."""
    async with a_position(side, traits=traits, latency=0.1, trailing=trailing_rules()) as bench:
        before = len(bench.venue.sent) + len(bench.venue.amended)
        bench.tick(gained(side, "3"))
        assert len(bench.venue.sent) + len(bench.venue.amended) == before + 1
        await bench.settle(1)
        assert bench.exits.counts.stops_moved == 1
        assert bench.protection.all_covered()


async def test_a_part_is_closed_by_a_request_that_leaves_in_the_step_of_its_row() -> None:
    """Two turns of the loop are the journal's, for which it waits; neither end of it has one of its own."""
    two = tuple(ProfitStep(percent=Decimal(percent), share=Decimal(50)) for percent in (1, 2))
    async with a_position(steps=two) as bench:
        before = len(bench.venue.sent)
        bench.tick("101.5")
        for _ in range(2):
            await asyncio.sleep(0)
        assert len(bench.venue.sent) == before + 1
        await bench.settle(1)
        assert bench.position().quantity == bench.position().entry_quantity / 2
