"""What a guardian that died has left is taken up, a move of a stop that somebody waits for as well."""

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from types import SimpleNamespace
from typing import Any, cast

import pytest

from core.assembly import Engine
from core.domain.order import Order
from core.domain.position import Position
from core.engine.tightening import Tightened
from core.supervision.mending import mend
from tests.builders import an_intent, price
from tests.engine.bench import Bench, a_bench


async def _protected(bench: Bench) -> tuple[Position, Order]:
    await bench.enter(an_intent())
    await bench.settle(1)
    position = bench.position()
    stop = bench.protection.resting(position)
    assert stop is not None
    return position, stop


@pytest.mark.failure("OPS-04")
async def test_a_move_that_was_wished_for_while_nobody_guarded_is_made_after_the_restart() -> None:
    async with a_bench() as bench:
        position, _ = await _protected(bench)
        tasks, bench.protection._tasks = bench.protection._tasks, None
        told = bench.protection.tighten(position, price(99))
        await bench.settle(1)
        bench.protection._tasks = tasks
        asked: list[object] = []
        parts = SimpleNamespace(
            orders=bench.orders,
            protection=bench.protection,
            reconciler=SimpleNamespace(ask=asked.append),
            clients={bench.venue.name: bench.venue},
        )
        mend(cast("Engine", parts))
        async with asyncio.timeout(30):
            assert await told is Tightened.MOVED
        assert asked == [bench.venue.name]


@pytest.mark.failure("OPS-04")
async def test_what_never_began_in_a_run_that_ended_is_begun_in_the_next() -> None:
    """A task that is cancelled before its first step cannot say that it is over."""
    async with a_bench() as bench:
        position, stop = await _protected(bench)
        resolver = bench.inflight
        resolver._watched.add(stop.client_order_id)
        bench.protection._moving.add(stop.client_order_id)
        bench.protection._removal._under_way.add(stop.client_order_id)
        for part in (resolver, bench.protection):
            held = part._tasks
            again = asyncio.create_task(part.run())
            await bench.settle()
            again.cancel()
            await asyncio.gather(again, return_exceptions=True)
            part._tasks = held
        assert resolver.unresolved == frozenset()
        assert not bench.protection.busy
        assert bench.protection.resting(position) == stop


@pytest.mark.failure("OPS-04")
async def test_a_move_that_is_ended_before_its_first_step_is_waited_for_by_nobody() -> None:
    class Ending:
        def create_task(
            self, work: Coroutine[Any, Any, None], /, *, name: str, context: Context | None = None
        ) -> asyncio.Task[None]:
            task = asyncio.create_task(work, name=name, context=context)
            task.cancel()
            return task

    async with a_bench() as bench:
        position, stop = await _protected(bench)
        told = bench.protection._tightening.wish(position, price(99))
        await bench.protection._tightening.carry_out(position, stop, Ending())
        async with asyncio.timeout(30):
            assert await told is Tightened.REFUSED
