"""One message a second, answers first."""

import asyncio

import pytest

from tgbot.pace import PACE_S, Pace

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])


async def _shown(pace: Pace, asked: dict[str, bool]) -> list[tuple[str, float]]:
    """Who got a turn, and how many seconds after all had asked."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    told: list[tuple[str, float]] = []

    async def show(name: str, *, answer: bool) -> None:
        await pace.turn(answer=answer)
        told.append((name, round(loop.time() - started, 3)))

    async with asyncio.TaskGroup() as tasks:
        for name, answer in asked.items():
            tasks.create_task(show(name, answer=answer))
    return told


async def test_an_answer_goes_before_the_alerts_that_wait() -> None:
    asked = {"alert 1": False, "alert 2": False, "alert 3": False, "answer": True}
    told = await _shown(Pace(), asked)
    assert [name for name, _ in told].index("answer") <= 1
    assert [at for _, at in told] == [0, PACE_S, 2 * PACE_S, 3 * PACE_S]


async def test_a_flood_holds_everybody_and_a_cancelled_answer_holds_nobody() -> None:
    pace = Pace()
    await pace.turn()
    pace.hold(30)
    waiting = asyncio.create_task(pace.turn(answer=True))
    await asyncio.sleep(1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await _shown(pace, {"alert": False}) == [("alert", 29.0)]


async def test_a_flood_that_begins_while_somebody_waits_for_a_turn_holds_that_one_and_all_after_it() -> None:
    pace = Pace()
    await pace.turn()
    asyncio.get_running_loop().call_later(0.3, pace.hold, 30)
    told = await _shown(pace, {"answer": True, "alert": False})
    assert told == [("answer", 30.3), ("alert", 30.3 + PACE_S)]
