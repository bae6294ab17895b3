"""Several reads at once, and an end before they have begun."""

import asyncio
import gc

import pytest

from core.venues.reading import together


async def _read() -> int:
    await asyncio.sleep(1)
    return 1


@pytest.mark.parametrize("steps", [1, 2, 3])
async def test_reads_that_never_began_because_everything_ends_are_not_left_behind(steps: int) -> None:
    """A coroutine that nobody waits for is a warning, and warnings are errors."""
    asker = asyncio.create_task(together(_read(), _read()), name="asker")
    for _ in range(steps):
        await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asker
    gc.collect()
    assert await together(_read(), _read()) == (1, 1)
