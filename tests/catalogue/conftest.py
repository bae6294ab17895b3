"""Entries of docs/FAILURES.md, on virtual time: over the fakes of the engine or over the simulated venue."""

import asyncio
from collections.abc import Callable, Mapping

from tests.fakes.virtual_loop import VirtualLoop
from tests.scenarios.conftest import _plain_log, world

__all__ = ["_plain_log", "world"]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual": VirtualLoop}
