"""The doctor at three venues, one of which refuses the key and one of which is not there."""

import asyncio
from pathlib import Path

import pytest

from core.wiring.accounts import accesses
from tests.scenarios.worlds import LoopbackWorld
from tools.checkup import Finding, Grade
from tools.doctor_network import reached, roots_of, venues


@pytest.mark.may_block(reason="the doctor asks on a thread and a loop of its own")
@pytest.mark.asyncio(loop_factories=["loopback"])
async def test_each_venue_is_judged_by_itself_and_nothing_is_sent(tmp_path: Path) -> None:
    async with LoopbackWorld(tmp_path, ("binance", "bybit", "okx")) as world:
        await world.fault("revoke_key", "bybit", count=-1)
        settings = world.settings(OKX_URL="http://127.0.0.1:1")
        configured = accesses(settings)
        found = await asyncio.to_thread(lambda: list(venues(configured, settings)))
        network = await asyncio.to_thread(
            lambda: [one for access in configured for one in reached(access.name.value, roots_of(access))]
        )
        assert [await world.sent("order", "stop", "cancel", venue=venue) for venue in ("binance", "bybit")] == [[], []]
    grades = {venue: _grades(found, venue) for venue in ("binance", "bybit", "okx")}
    assert grades == {"binance": {Grade.OK}, "bybit": {Grade.OK, Grade.FAIL}, "okx": {Grade.OK, Grade.FAIL}}
    failed = {one.about: one.what for one in found if one.grade is Grade.FAIL}
    assert set(failed) == {"bybit key", "okx reached"}
    assert "refuses the API key" in failed["bybit key"]
    assert {one.about: one.grade for one in network} == {
        "binance": Grade.OK,
        "bybit": Grade.OK,
        "okx": Grade.FAIL,
    }
    assert {"binance rights", "binance clock", "binance balance"} <= {one.about for one in found}


def _grades(found: list[Finding], venue: str) -> set[Grade]:
    """Warnings are about sizes and balances of the simulated venue."""
    return {one.grade for one in found if one.about.startswith(venue)} - {Grade.WARN}
