"""Scenarios run on virtual time; one marked `asyncio(loop_factories=[...])` names the sides of the seam it runs on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import structlog

from tests.fakes.virtual_loop import VirtualLoop
from tests.scenarios.worlds import LoopbackWorld, SimulatedWorld, World


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    simulated: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"simulated": VirtualLoop}
    marker = item.get_closest_marker("asyncio")
    if marker is not None and marker.kwargs.get("loop_factories"):
        return simulated | {"loopback": asyncio.new_event_loop}
    return simulated


@pytest.fixture(autouse=True)
def _plain_log() -> None:
    """Without tracebacks: rendering one reads source files, and nothing may block the loop."""
    structlog.configure(processors=[structlog.processors.KeyValueRenderer(key_order=["event"])])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The side of the seam that belongs to the loop the test runs on, without latency."""
    simulated = isinstance(asyncio.get_running_loop(), VirtualLoop)
    made: World = SimulatedWorld(tmp_path) if simulated else LoopbackWorld(tmp_path)
    async with made:
        yield made
