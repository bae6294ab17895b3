"""The contract of our own client runs on virtual time; unmodified libraries need real sockets and real time."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.fakes.virtual_loop import VirtualLoop

OF_OUR_CLIENT = frozenset({"test_venue_client_contract", "test_trailing_orders_contract", "test_income_contract"})


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.stem in OF_OUR_CLIENT:
        return {"virtual": VirtualLoop}
    return {"real": asyncio.new_event_loop}
