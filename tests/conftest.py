"""What every test gets: no real network, no leftover tasks, no blocking call on the loop, a clean environment."""

import asyncio
import builtins
import functools
import gc
import inspect
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from random import Random
from threading import get_ident
from typing import Any

import pytest
import structlog
from blockbuster import BlockBuster
from hypothesis import HealthCheck, settings

from tests import strict_numbers

# What blockbuster needs puts a slow one in its place, and ccxt asks for the names of each of its clients.
builtins.dir = vars(sys.modules["forbiddenfruit"])["__dir__"]
strict_numbers.install()  # before anything of the program is imported

from core import orchestrator  # noqa: E402
from core.signals import backoff  # noqa: E402
from core.venues import reconnecting  # noqa: E402
from tools.candle_replay.loop import StandingTime  # noqa: E402

PROJECT = Path(__file__).resolve().parent.parent
SETTING_PREFIXES = ("BINANCE_", "BYBIT_", "OKX_", "SIGNAL_", "WAVE_", "TRAILING_", "AGED_", "TELEGRAM_")


# No wall-clock assertions: on a busy machine an example may take its time, as may the drawing of one.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")


def _in_its_thread(schedule: Callable[..., Any]) -> Callable[..., Any]:
    """What asyncio's debug mode is wanted for, without its notes of where each timer, task and future was made, which
    cost up to half of a test's time. Whoever looks for something runs pytest with `-o asyncio_debug=true`."""

    @functools.wraps(schedule)
    def checked(loop: Any, *args: Any, **kwargs: Any) -> Any:
        ident = loop._thread_id
        if ident is not None and ident != get_ident():
            raise RuntimeError("a loop was given something to do by another thread; see call_soon_threadsafe")
        return schedule(loop, *args, **kwargs)

    return checked


for _kind, _name in (
    (asyncio.BaseEventLoop, "call_soon"),
    (asyncio.BaseEventLoop, "call_at"),
    (StandingTime, "call_soon"),
    (StandingTime, "call_at"),
):
    setattr(_kind, _name, _in_its_thread(getattr(_kind, _name)))


class _NoCollector:
    """What a daemon does to the garbage collector at its start is right for a process of its own: in one that starts
    hundreds of them, everything each has left would be kept for good."""

    @staticmethod
    def collect() -> None: ...

    @staticmethod
    def freeze() -> None: ...


vars(orchestrator)["gc"] = _NoCollector


class RealNetworkError(AssertionError):
    """A test tried to leave this machine."""


def _is_local(host: object) -> bool:
    if host is None or host in {"", "localhost", "testserver"}:
        return True
    try:
        return ip_address(host.decode() if isinstance(host, bytes) else str(host)).is_loopback
    except ValueError:
        return False


def _guard(event: str, args: tuple[object, ...]) -> None:
    """Audit hook: connecting and name resolution stay on loopback, whatever library asks."""
    if event == "socket.connect" and isinstance(args[1], tuple):
        if not _is_local(args[1][0]):
            raise RealNetworkError(f"a test connected to {args[1]!r}; use the simulator or a loopback server")
    elif event == "socket.getaddrinfo" and not _is_local(args[0]):
        raise RealNetworkError(f"a test resolved {args[0]!r}; use the simulator or a loopback server")


def pytest_configure(config: pytest.Config) -> None:
    del config
    sys.addaudithook(_guard)
    for name in [name for name in os.environ if name.startswith(SETTING_PREFIXES)]:
        del os.environ[name]  # a developer's keys must never reach a test or a process it starts


LONGEST = (
    "test_bench_smoke", "test_wave_campaign", "test_emergency_program", "test_kill", "test_lost_answers", "test_chaos",
    "test_transport", "test_three_venues", "test_venue_accounts", "test_venue_streams", "test_rsk_ways_back",
)  # fmt: skip
"""Files that take longest, begun first: the last one to begin keeps one worker busy while the others have nothing."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """What imports and collection have left stays until the end: it need not be looked through again and again, which
    is a seventh of the time of everything that plays a whole daemon."""
    del session
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


@pytest.fixture(scope="session")
def project_root() -> Path:
    return PROJECT


@pytest.fixture
def shared() -> Path:
    """The reference material beside the project; a test that needs it is skipped where it is not laid out."""
    folder = PROJECT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the reference material ../shared is not laid out here")
    return folder


@pytest.fixture(autouse=True)
def _clean_logging_context() -> Iterator[None]:
    yield
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _seeded_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only sources of chance in the daemon."""
    chance = Random(1)
    for module in (reconnecting, backoff):
        monkeypatch.setattr(module, "SystemRandom", lambda: chance)


@pytest.fixture
async def _tasks_end_with_the_test() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    for _ in range(3):  # a task that was just cancelled or finished needs a turn to leave the loop's set
        await asyncio.sleep(0)
    left = {task for task in asyncio.all_tasks() - before if not task.done() and task is not asyncio.current_task()}
    names = sorted(task.get_name() + " " + repr(task.get_coro()) for task in left)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    assert not names, f"the test left tasks running: {names}"


@pytest.fixture(autouse=True)
def _strict_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """For async tests: no task outlives the test, and no code of `core` blocks the loop."""
    function = getattr(request, "function", None)
    inner = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    if not inspect.iscoroutinefunction(inner):
        yield
        return
    request.getfixturevalue("_tasks_end_with_the_test")
    if request.node.get_closest_marker("may_block"):
        yield
        return
    detector = BlockBuster(scanned_modules=["core"])
    detector.activate()
    try:
        yield
    finally:
        detector.deactivate()
