"""Tests of the process around the engine run on virtual time; those marked `asyncio(loop_factories=[...])` on real."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import structlog

from tests.fakes.virtual_loop import VirtualLoop


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    marker = item.get_closest_marker("asyncio")
    if marker is not None and marker.kwargs.get("loop_factories"):
        return {"real": asyncio.new_event_loop}
    return {"virtual": VirtualLoop}


@pytest.fixture(autouse=True)
def _plain_log() -> None:
    """Without tracebacks: rendering one reads source files, and nothing may block the loop."""
    structlog.configure(processors=[structlog.processors.KeyValueRenderer(key_order=["event"])])
