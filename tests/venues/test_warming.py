"""Connections are kept open without a heap of requests in one moment."""

import asyncio

import pytest

from core.venues.warming import warm


async def test_connections_are_warmed_one_after_another_and_all_of_them_are_under_way_together() -> None:
    began, under_way, most = list[float](), 0, 0

    async def ask() -> None:
        nonlocal under_way, most
        began.append(asyncio.get_running_loop().time())
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.2)
        under_way -= 1

    await warm(ask, 50)
    assert len(began) == len({round(at, 4) for at in began}) == 50, "no two in one moment"
    assert most == 50


async def test_what_fails_keeps_no_other_from_being_opened() -> None:
    asked = 0

    async def ask() -> None:
        nonlocal asked
        asked += 1
        raise ConnectionError("refused")

    await warm(ask, 3)
    assert asked == 3


async def test_who_stops_warming_leaves_nothing_behind() -> None:
    warming = asyncio.create_task(warm(asyncio.Event().wait, 5))
    await asyncio.sleep(0.005)
    warming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await warming
