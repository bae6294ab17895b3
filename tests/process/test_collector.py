"""The collector of cycles runs on the daemon's pace, and Python's own bounds are back afterwards."""

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from core.supervision.collector import BURST, EVERY_SECONDS, LEAST, WHOLE_EVERY, Collector


@contextmanager
def _looks() -> Iterator[list[int]]:
    """The generation of each look that is taken within."""
    taken: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            taken.append(info["generation"])

    gc.callbacks.append(note)
    try:
        yield taken
    finally:
        gc.callbacks.remove(note)


@contextmanager
def _running(collector: Collector) -> Iterator[asyncio.Task[None]]:
    task = asyncio.ensure_future(collector.run())
    try:
        yield task
    finally:
        task.cancel()


async def test_what_an_order_makes_brings_no_look_before_the_next_pause() -> None:
    before = gc.get_threshold()
    with _running(Collector()) as task:
        await asyncio.sleep(EVERY_SECONDS / 2)
        assert gc.get_threshold()[0] == BURST
        gc.collect()
        with _looks() as taken:
            kept = [[number] for number in range(BURST // 2)]
            assert taken == []
            await asyncio.sleep(EVERY_SECONDS)
            assert taken == [1]
        assert len(kept) == BURST // 2
        task.cancel()
        await asyncio.wait([task])
    assert gc.get_threshold() == before


@pytest.mark.parametrize(("made", "taken"), [(0, []), (LEAST * 2, [1])])
def test_a_look_is_taken_where_something_was_made(made: int, taken: list[int]) -> None:
    collector = Collector()
    gc.collect()
    kept = [[number] for number in range(made)]
    with _looks() as looks:
        collector.look()
    assert looks == taken
    assert len(kept) == made


def test_now_and_then_everything_is_looked_through() -> None:
    collector = Collector()
    collector.looks = WHOLE_EVERY - 1
    with _looks() as looks:
        collector.look()
    assert looks == [2]
