"""Another daemon on the same account, from another host: no lock can see it, but its orders have ids of our shape that
this journal lacks. Entries stop, what is open stays protected, and people are told."""

from decimal import Decimal
from pathlib import Path

import pytest

from tests.scenarios.log_lines import LogLines
from tests.scenarios.worlds import Daemon, SimulatedWorld, a_signal

pytestmark = [
    pytest.mark.may_block("simulation runs storage inline"),
    pytest.mark.parametrize("venue", ["binance", "bybit", "okx"]),
]


async def everything_is_covered(world: SimulatedWorld) -> None:
    """Two daemons may each have put a stop there; none of them can do more than close."""
    stops, held = await world.resting_stops(), await world.held()
    assert {symbol: abs(size) for symbol, size in held.items()} == {symbol: max(each) for symbol, each in stops.items()}
    assert not [row for row in await world.ask("protection") if row["naked_now_ms"]]


async def stops_its_entries(daemon: Daemon, venue: str, said: LogLines) -> None:
    (leg,) = (await daemon.wave()).legs
    assert leg.denied is not None
    assert (leg.denied.reason.value, "journal lacks" in leg.denied.detail) == ("not_active", True)
    assert "journal lacks" in (daemon.off_because(venue) or "")
    assert said.of("orders.id_not_in_journal")
    told = [text for text in said.notices if "not in this journal" in text]  # the other one may say it as well
    assert told
    assert all("no entries until you resume" in text for text in told)


async def test_one_that_begins_to_trade_beside_us_is_recognised_by_its_ids(tmp_path: Path, venue: str) -> None:
    said = LogLines()
    async with SimulatedWorld(tmp_path, (venue,)) as world:
        await world.play({"at_ms": 30_000, "signals": [a_signal("ETHUSDT", id="ours")]})
        async with world.running(EXTERNAL_POSITIONS="ignore") as ours:
            await world.play({"at_ms": 10_000, "signals": [a_signal("BTCUSDT", id="theirs")]})
            async with world.running(tmp_path / "elsewhere", EXTERNAL_POSITIONS="ignore") as theirs:
                report = await theirs.wave()
                assert [leg.state for leg in report.legs] == ["protected"]
                await stops_its_entries(ours, venue, said)
                await everything_is_covered(world)


async def test_one_that_traded_before_we_came_is_recognised_at_the_start(tmp_path: Path, venue: str) -> None:
    said = LogLines()
    async with SimulatedWorld(tmp_path, (venue,)) as world:
        await world.play({"at_ms": 4_000, "signals": [a_signal("BTCUSDT", id="theirs")]})
        async with world.running() as theirs:
            await theirs.wave()
            await world.play({"at_ms": 20_000, "signals": [a_signal("ETHUSDT", id="ours")]})
            async with world.running(tmp_path / "elsewhere") as ours:
                await stops_its_entries(ours, venue, said)
                assert set(ours.held().values()) <= {*map(Decimal, (await world.held()).values())}
                await everything_is_covered(world)
