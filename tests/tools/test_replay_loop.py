"""The loop of a replay: time passes only where somebody waits, and it gets as late as the candles do."""

import asyncio
from collections.abc import Iterator

import pytest

from tools.candle_replay.loop import START_SECONDS, ReplayClock, ReplayLoop

YEAR_SECONDS = 365 * 86_400.0


@pytest.fixture
def loop() -> Iterator[ReplayLoop]:
    one = ReplayLoop()
    yield one
    one.close()


@pytest.mark.parametrize("years", [0, 0.5, 0.6, 1, 4, 20])
@pytest.mark.parametrize("seconds", [0.05, 0.1, 1 / 3, 30.0])
def test_a_wait_ends_however_late_it_is_in_the_replay(loop: ReplayLoop, years: float, seconds: float) -> None:
    """From 2 ** 24 s on a nanosecond, which asyncio's loops wait for beyond the moment, is nothing in a float."""
    begun = START_SECONDS + years * YEAR_SECONDS + 0.7

    async def wait() -> float:
        loop.pass_to(begun)
        waiting = loop.create_task(asyncio.sleep(seconds))
        while not waiting.done():
            await loop.idle(next_timer=True)
        return loop.time()

    assert loop.run_until_complete(wait()) == begun + seconds


def test_timers_of_one_moment_come_in_the_order_in_which_they_were_set(loop: ReplayLoop) -> None:
    heard: list[int] = []

    async def wait() -> None:
        for number in range(50):
            loop.call_at(START_SECONDS + 1, heard.append, number)
        await loop.idle(next_timer=True)

    loop.run_until_complete(wait())
    assert heard == list(range(50))


def test_a_cancelled_timer_or_turn_does_nothing_and_no_time_passes_for_it(loop: ReplayLoop) -> None:
    heard: list[str] = []

    async def wait() -> None:
        loop.call_at(START_SECONDS + 1, heard.append, "cancelled timer").cancel()
        loop.call_soon(heard.append, "cancelled turn").cancel()
        loop.call_at(START_SECONDS + 2, heard.append, "timer")
        await loop.idle(next_timer=True)

    loop.run_until_complete(wait())
    assert heard == ["timer"]
    assert loop.time() == START_SECONDS + 2


def test_what_becomes_ready_at_a_moment_has_run_before_the_replay_goes_on(loop: ReplayLoop) -> None:
    done: list[float] = []

    async def long_way() -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        done.append(loop.time())

    async def play() -> None:
        task = loop.create_task(long_way())
        assert loop.busy
        await loop.idle()
        assert task.done()
        assert not loop.busy

    loop.run_until_complete(play())
    assert done == [START_SECONDS]


def test_waiting_for_what_cannot_come_is_a_fault_and_no_hang(loop: ReplayLoop) -> None:
    async def wait() -> None:
        await loop.create_future()

    with pytest.raises(RuntimeError, match="would hang for ever"):
        loop.run_until_complete(wait())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))


def test_both_clocks_tell_the_same_moment(loop: ReplayLoop) -> None:
    clock = ReplayClock(loop, start_ms=1_700_000_000_000)
    clock.pass_to(1_700_000_000_250.5)
    assert clock.exact_ms() == 1_700_000_000_250.5
    assert clock.now_ms() == 1_700_000_000_250
    assert loop.time() == clock.seconds(1_700_000_000_250.5)
    clock.pass_to(1_700_000_000_000)
    assert clock.exact_ms() == 1_700_000_000_250.5, "time does not go back"
