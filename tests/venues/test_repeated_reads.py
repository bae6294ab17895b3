"""Reads are repeated after a passing trouble, and one that meets none leaves nothing behind."""

import gc
from collections.abc import Awaitable, Callable

import pytest

from core.errors import Ambiguous, Refused, Unreachable, VenueError
from core.venues.binance.facts import ERRORS
from core.venues.reading import ReadPolicy


async def _no_resync() -> None: ...


def _policy(attempts: int = 3) -> ReadPolicy:
    return ReadPolicy(ERRORS, _no_resync, attempts=attempts, first_pause=0.1)


def _failing(times: int, error: VenueError, tried: list[int]) -> Callable[[], Awaitable[str]]:
    async def read() -> str:
        tried.append(1)
        if len(tried) <= times:
            raise error
        return "told"

    return read


@pytest.mark.parametrize("error", [Unreachable("binance", "no"), Ambiguous("binance", "no answer")], ids=repr)
async def test_a_passing_trouble_is_tried_as_often_as_is_said(error: VenueError) -> None:
    tried: list[int] = []
    assert await _policy().run(_failing(2, error, tried)) == "told"
    assert len(tried) == 3
    tried.clear()
    with pytest.raises(Unreachable):
        await _policy().run(_failing(3, error, tried))
    assert len(tried) == 3
    tried.clear()
    with pytest.raises(Unreachable):
        await _policy(attempts=1).run(_failing(1, error, tried))
    assert len(tried) == 1


async def test_a_refusal_is_not_tried_again() -> None:
    tried: list[int] = []
    with pytest.raises(Refused):
        await _policy().run(_failing(1, Refused("binance", "no", code="-1"), tried))
    assert len(tried) == 1


async def test_a_read_that_meets_no_trouble_leaves_nothing_for_the_collector() -> None:
    policy, tried = _policy(), list[int]()
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            await policy.run(_failing(0, Unreachable("binance", "no"), tried))
        assert gc.collect() == 0
    finally:
        gc.enable()
