"""Adapter tests run on virtual time: hours of silence and minutes of back-off cost nothing."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import structlog

from tests.fakes.virtual_loop import VirtualLoop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual": VirtualLoop}


@pytest.fixture(autouse=True)
def _plain_log() -> None:
    """Without tracebacks: rendering one reads source files, and nothing may block the loop."""
    structlog.configure(processors=[structlog.processors.KeyValueRenderer(key_order=["event"])])
