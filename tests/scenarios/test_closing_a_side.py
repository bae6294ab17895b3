"""The closing program at an account in hedge mode: one side of a symbol says nothing about the other."""

from pathlib import Path

import pytest

from core.domain.signal import Side
from tests.scenarios.test_emergency_flat import BTC, VENUES, _open, clients
from tests.scenarios.worlds import SimulatedWorld
from tools import close_position
from tools.venuesim.exchange.model import PositionMode

pytestmark = pytest.mark.may_block("simulation runs in process")


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("refused", [True, False], ids=["refused", "closed"])
async def test_a_side_that_is_closed_or_not_leaves_the_other_one_and_its_stop_alone(
    tmp_path: Path, venue: str, *, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(close_position, "CONFIRM_SECONDS", 1.0)
    async with SimulatedWorld(tmp_path, (venue,), position_mode=PositionMode.HEDGE) as world, clients(world) as made:
        client = made[venue]
        await client.open()
        await _open(client, BTC, Side.BUY, key="a")
        await _open(client, BTC, Side.SELL, key="b")
        if refused:
            await world.fault("reject_order", venue, count=-1)
        (long,) = [p for p in await client.positions() if p.quantity > 0]
        row = await close_position._close_one(client, long, world.clock)
        assert (row["flat"], row["left_orders"]) == (not refused, 0), row
        held = {position["side"] for position in (await world.ask("state", venue))["positions"]}
        assert held == ({"long", "short"} if refused else {"short"})
        naked = [life for life in await world.ask("protection", venue) if life["naked_now_ms"] and not life["closed"]]
        assert naked == []
