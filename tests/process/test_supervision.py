"""The owner of the long-lived tasks: failures, pauses, what people hear, and a stop that passes through."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from core.domain.alerts import AlertKind
from core.engine.owned_tasks import OwnedTasks, beat
from core.supervision.tasks import LONGEST_PAUSE_SECONDS, STEADY_SECONDS, Supervisor
from tests.fakes.fake_notifier import FakeNotifier
from tests.fakes.virtual_loop import VirtualClock

_CLOCK = VirtualClock()


class _Work:
    """Something that runs: notes when it begins, and then does what it is told to."""

    def __init__(self, then: Callable[[], Awaitable[object]]) -> None:
        self.began: list[float] = []
        self._then = then

    async def __call__(self) -> None:
        self.began.append(_CLOCK.monotonic())
        await self._then()


async def _fails() -> None:
    raise ValueError("a fault of the program")


async def _stays() -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def _supervised(notifier: FakeNotifier) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(_CLOCK, notifier)
    async with supervisor:
        yield supervisor
        await supervisor.end(*supervisor.named(""))


async def test_a_task_that_keeps_failing_is_started_again_after_growing_pauses_and_told_once() -> None:
    notifier, work = FakeNotifier(), _Work(_fails)
    async with _supervised(notifier) as supervisor:
        supervisor.start("money", work)
        await asyncio.sleep(240)
        pauses = [round(b - a) for a, b in zip(work.began, work.began[1:], strict=False)]
        assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]
        (row,) = supervisor.rows()
        assert (row.running, row.restarts, row.failures) == (False, 8, 9)
        assert row.why == "ValueError: a fault of the program"
        assert row.again_in_s is not None
    assert notifier.kinds == [AlertKind.TASK]
    assert notifier.conditions == ["+money"]
    assert len(notifier.critical()) == 1


async def test_a_task_that_runs_steadily_again_is_told_and_its_next_failure_is_a_first_one() -> None:
    notifier = FakeNotifier()
    ends = asyncio.Event()

    async def until_told() -> None:
        await ends.wait()
        ends.clear()
        raise ValueError

    work = _Work(until_told)
    async with _supervised(notifier) as supervisor:
        supervisor.start("money", work)
        for _ in range(2):
            ends.set()
            await asyncio.sleep(STEADY_SECONDS + 2)
    assert notifier.conditions == ["+money", "-money", "+money", "-money"]
    assert [round(b - a) for a, b in zip(work.began, work.began[1:], strict=False)] == [1, STEADY_SECONDS + 2]


async def test_a_task_that_fails_each_minute_is_never_called_steady() -> None:
    notifier = FakeNotifier()

    async def a_while() -> None:
        await asyncio.sleep(50)
        raise ValueError

    work = _Work(a_while)
    async with _supervised(notifier) as supervisor:
        supervisor.start("money", work)
        await asyncio.sleep(3 * STEADY_SECONDS)
        pauses = [round(b - a) - 50 for a, b in zip(work.began, work.began[1:], strict=False)]
    assert pauses == sorted(pauses)
    assert notifier.conditions == ["+money"]


@pytest.mark.parametrize("name", ["orders", "inflight", "protection"])
async def test_a_vital_task_starts_again_at_once_with_trading_halted_and_is_mended(name: str) -> None:
    notifier, did = FakeNotifier(), list[str]()

    async def first_fails() -> None:
        did.append("runs")
        if len(work.began) == 1:
            raise ValueError
        await _stays()

    work = _Work(first_fails)
    async with _supervised(notifier) as supervisor:
        supervisor.on_vital(lambda name, why: did.append(f"halt {name} {why}"), lambda: did.append("mend"))
        supervisor.start(name, work)
        await asyncio.sleep(0.01)
        assert supervisor.running(name)
        assert did == ["runs", f"halt {name} ValueError:", "runs", "mend"]


async def test_a_task_that_is_cancelled_from_outside_is_started_again() -> None:
    notifier, work = FakeNotifier(), _Work(_stays)
    async with _supervised(notifier) as supervisor:
        supervisor.start("money", work)
        await asyncio.sleep(0)
        (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "money")
        task.cancel()
        await asyncio.sleep(1.1)
        assert supervisor.running("money")
        assert len(work.began) == 2


async def test_a_task_that_has_nothing_more_to_do_is_not_started_again() -> None:
    notifier, work = FakeNotifier(), _Work(lambda: asyncio.sleep(0))
    async with _supervised(notifier) as supervisor:
        supervisor.start("late/okx", work)
        await asyncio.sleep(100)
        assert supervisor.rows() == ()
    assert len(work.began) == 1
    assert not notifier.messages


async def test_what_is_ended_stays_ended_whether_it_runs_or_waits_for_its_next_start() -> None:
    running, failing = _Work(_stays), _Work(_fails)
    async with _supervised(FakeNotifier()) as supervisor:
        supervisor.start("data", running)
        supervisor.start("money", failing)
        await asyncio.sleep(0.5)
        await supervisor.end("data", "money")
        await asyncio.sleep(100)
        assert supervisor.rows() == ()
    assert (len(running.began), len(failing.began)) == (1, 1)


async def test_leaving_with_an_error_cancels_everything_and_starts_nothing_again() -> None:
    supervisor, works = Supervisor(_CLOCK, FakeNotifier()), [_Work(_stays), _Work(_fails)]

    async def boot() -> None:
        async with supervisor:
            for number, work in enumerate(works):
                supervisor.start(str(number), work)
            await asyncio.sleep(0.5)
            raise KeyError("the boot failed")

    with pytest.raises(KeyError, match="the boot failed"):
        await boot()
    await asyncio.sleep(100)
    assert [len(work.began) for work in works] == [1, 1]


async def test_a_task_within_a_supervised_one_fails_alone() -> None:
    notifier, done, mended = FakeNotifier(), list[str](), list[float]()

    async def slow() -> None:
        await asyncio.sleep(1)
        done.append("slow")

    async def owner() -> None:
        async with OwnedTasks() as tasks:
            tasks.create_task(slow(), name="protection/a")
            tasks.create_task(_fails(), name="protection/b")
            await _stays()

    async with _supervised(notifier) as supervisor:
        supervisor.on_vital(lambda *_: None, lambda: mended.append(_CLOCK.monotonic()))
        supervisor.start("protection", owner)
        await asyncio.sleep(2)
        (row,) = supervisor.rows()
        assert (row.running, row.restarts, row.failures) == (True, 0, 1)
        assert row.why == "protection/b: ValueError: a fault of the program"
    assert done == ["slow"]
    assert len(mended) == 1
    assert "protection/b: ValueError" in notifier.critical()[0]


async def test_owned_tasks_that_end_before_their_first_step_leave_nothing_behind() -> None:
    async def owner() -> None:
        async with OwnedTasks() as tasks:
            tasks.create_task(_stays(), name="never begun")
            raise ValueError

    async with _supervised(FakeNotifier()) as supervisor:
        supervisor.start("waves", owner)
        await asyncio.sleep(0.5)


async def test_progress_is_every_step_of_a_task_and_what_its_own_tasks_say() -> None:
    async def steps() -> None:
        for _ in range(9):
            await asyncio.sleep(10)

    async def reader() -> None:
        await asyncio.sleep(25)
        beat()
        await _stays()

    async def owner() -> None:
        async with OwnedTasks() as tasks:
            tasks.create_task(reader(), name="user-stream/okx/reader")
            await _stays()

    async with _supervised(FakeNotifier()) as supervisor:
        supervisor.start("reconciler", steps)
        supervisor.start("user-stream/okx", owner)
        await asyncio.sleep(29)
        ages = {row.name: round(row.progress_s) for row in supervisor.rows()}
        assert ages == {"reconciler": 9, "user-stream/okx": 4}
        assert {round(row.running_s) for row in supervisor.rows()} == {29}
