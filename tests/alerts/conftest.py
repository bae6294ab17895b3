"""Alerts run on virtual time: an outage of an hour costs nothing."""

import asyncio
from collections.abc import Callable, Mapping

from tests.fakes.virtual_loop import VirtualLoop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual": VirtualLoop}
