"""A test marked `asyncio(loop_factories=["virtual"])` lives in virtual time; the others use sockets and real time."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.fakes.virtual_loop import VirtualLoop


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    marker = item.get_closest_marker("asyncio")
    if marker is not None and marker.kwargs.get("loop_factories"):
        return {"virtual": VirtualLoop}
    return {"real": asyncio.new_event_loop}
