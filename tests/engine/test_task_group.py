"""A group that failed leaves no cancellation behind in the task that goes on."""

import asyncio

import pytest

from core.engine.task_group import TaskGroup
from core.errors import Unreachable
from core.venues.reading import together


async def _fail() -> None:
    await asyncio.sleep(0)
    raise Unreachable("binance", "no answer")


def _cancelling() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


async def test_a_task_that_caught_the_failure_of_a_group_is_not_asked_to_end() -> None:
    async def both() -> None:
        async with TaskGroup() as group:
            group.create_task(_fail(), name="one")
            group.create_task(_fail(), name="other")

    for _ in range(3):
        with pytest.raises(ExceptionGroup):
            await both()
        assert _cancelling() == 0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.sleep(1)


async def test_reads_that_failed_together_leave_their_reader_able_to_wait() -> None:
    with pytest.raises(Unreachable):
        await together(_fail(), _fail())
    assert _cancelling() == 0, "else the next timeout that ends would end the reader (Python before 3.11.4)"


async def test_a_real_cancellation_still_ends_the_task() -> None:
    async def waits() -> None:
        async with TaskGroup() as group:
            group.create_task(asyncio.sleep(60), name="child")

    task = asyncio.create_task(waits(), name="waits")
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
