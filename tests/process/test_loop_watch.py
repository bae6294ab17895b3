"""The event loop under watch, in real time: who holds it up is named, and how late it was is counted."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import structlog
from structlog.testing import CapturingLogger

from core.supervision import loop_watch
from core.supervision.loop_watch import BOUNDS, LagFigures, LoopWatch

pytestmark = [
    pytest.mark.asyncio(loop_factories=["real"]),
    pytest.mark.may_block("it holds the loop up on purpose"),
]


@pytest.fixture
def lines() -> CapturingLogger:
    """Log records of every thread."""
    logger = CapturingLogger()
    structlog.configure(processors=[], logger_factory=lambda *_: logger, cache_logger_on_first_use=False)
    return logger


@asynccontextmanager
async def _watched(watch: LoopWatch) -> AsyncIterator[None]:
    task = asyncio.ensure_future(watch.run())
    await asyncio.sleep(0.05)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        for thread in threading.enumerate():
            if thread.name == "loop-watch":
                await asyncio.to_thread(thread.join)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a thread tells
            await asyncio.sleep(0.01)


def _a_slow_calculation(seconds: float) -> None:
    time.sleep(seconds)


@pytest.mark.failure("OPS-11")
async def test_a_loop_that_is_held_up_is_logged_with_the_line_that_holds_it(lines: CapturingLogger) -> None:
    watch = LoopWatch(every=0.005, late=0.05)
    async with _watched(watch):
        _a_slow_calculation(0.4)
        await _until(lambda: bool(lines.calls))
        (call,) = lines.calls
        assert (call.method_name, call.args, call.kwargs["event"]) == ("warning", (), "loop.late")
        assert call.kwargs["culprit"].startswith("tests.process.test_loop_watch:_a_slow_calculation:")
        assert call.kwargs["ms"] >= 300
        row = watch.row()
        assert row.late >= 1
        assert row.culprit == call.kwargs["culprit"]
        assert 300 <= row.now_ms == row.max_ms


async def test_a_loop_that_hangs_is_told_of_while_it_does(
    lines: CapturingLogger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_watch, "HUNG_SECONDS", 0.1)
    async with _watched(LoopWatch(every=0.005, late=0.02)):
        deadline = time.monotonic() + 20
        while not lines.calls and time.monotonic() < deadline:
            _a_slow_calculation(0.01)
        (call, *_) = lines.calls
        assert (call.method_name, call.kwargs["event"]) == ("error", "loop.hangs")
        assert any("tests.process.test_loop_watch" in place for place in call.kwargs["stack"])
        assert not any("/" in place for place in call.kwargs["stack"]), "no paths of this machine"


async def test_a_loop_that_turns_is_silent_and_the_thread_ends_with_the_task(lines: CapturingLogger) -> None:
    watch = LoopWatch(every=0.005, late=5.0)
    async with _watched(watch):
        await _until(lambda: sum(watch.row().buckets.values()) >= 5)
    assert not lines.calls
    assert not [thread for thread in threading.enumerate() if thread.name == "loop-watch"]


async def test_figures_tell_the_last_seconds_the_last_minute_and_the_whole_time() -> None:
    now = 0.0
    figures = LagFigures(lambda: now)
    figures.add(0.4)
    now = 55.0
    for _ in range(99):
        figures.add(0.0005)
    row = figures.row()
    assert (row.now_ms, row.max_ms, row.p99_ms) == (0.5, 400.0, 0.5)
    assert (row.late, row.buckets[0.001], row.buckets[0.5]) == (1, 99, 1)
    assert list(row.buckets) == list(BOUNDS)
    now = 61.0
    assert figures.row().max_ms == 0.5
    assert figures.row().late == 1
