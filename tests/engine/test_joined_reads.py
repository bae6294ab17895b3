"""One reading for those who ask together; none that is older than the question."""

import asyncio

import pytest

from core.engine.joined_reads import GATHER_SECONDS, JoinedReads
from core.errors import Unreachable


class Venue:
    def __init__(self) -> None:
        self.begun: list[float] = []
        self.errors: list[Unreachable] = []

    async def read(self) -> int:
        self.begun.append(asyncio.get_running_loop().time())
        number = len(self.begun)
        await asyncio.sleep(1)
        if self.errors:
            raise self.errors.pop()
        return number


async def test_those_who_ask_together_share_one_reading() -> None:
    venue = Venue()
    read = JoinedReads("okx", venue.read)
    assert await asyncio.gather(*(read() for _ in range(10))) == [1] * 10
    assert len(venue.begun) == 1


async def test_who_asks_after_it_began_gets_a_newer_one() -> None:
    venue = Venue()
    read = JoinedReads("okx", venue.read)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(read())
        await asyncio.sleep(GATHER_SECONDS * 2)
        asked = asyncio.get_running_loop().time()
        later = group.create_task(read())
    assert (first.result(), later.result()) == (1, 2)
    assert venue.begun[1] >= asked


async def test_a_failed_reading_is_told_to_all_and_the_next_one_is_asked_anew() -> None:
    venue = Venue()
    error = Unreachable("okx", "cut off")
    venue.errors = [error]
    read = JoinedReads("okx", venue.read)
    told = [str(answer) for answer in await asyncio.gather(read(), read(), return_exceptions=True)]
    assert told == [str(error)] * 2
    assert await read() == 2


@pytest.mark.parametrize("after", [GATHER_SECONDS / 2, 0.5])
async def test_when_the_one_who_asked_for_all_is_cancelled_the_others_are_told(after: float) -> None:
    venue = Venue()
    read = JoinedReads("okx", venue.read)
    leader, joined = asyncio.create_task(read()), asyncio.create_task(read())
    await asyncio.sleep(after)
    leader.cancel()
    with pytest.raises(Unreachable, match="given up"):
        await joined
    with pytest.raises(asyncio.CancelledError):
        await leader
    assert await read() == len(venue.begun)
