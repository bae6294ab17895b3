"""What a daemon did, rebuilt from its audit log and its journal alone: the same in both, and as the venue recorded."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from tests.scenarios.worlds import SimulatedWorld, a_signal
from tools.replay import main, replay
from tools.venuesim.exchange.model import IncomeType
from tools.verify_audit import BROKEN, CLEAN, COULD_NOT_RUN

pytestmark = pytest.mark.may_block("simulation runs storage inline; the replay reads files")

WAVE = {
    "at_ms": 4_000,
    "signals": [a_signal("BTCUSDT"), a_signal("ETHUSDT", direction="SHORT"), a_signal("SOLUSDT", score=70)],
}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SimulatedWorld]:
    async with SimulatedWorld(tmp_path) as made:
        yield made


def of_the_venue(world: SimulatedWorld, kind: IncomeType) -> Decimal:
    rows = world.venue.simulation.engine.income()
    return sum((row.amount for row in rows if row.type is kind and row.asset == "USDT"), Decimal(0))


async def a_life(world: SimulatedWorld, *, kill: bool = False) -> Path:
    """A wave, funding, a stop that fires; the folder that is left."""
    await world.play(WAVE)
    async with world.running(STOPLIST_SYMBOLS="SOLUSDT") as daemon:
        await daemon.wave()
        world.venue.catch_up()
        world.venue.simulation.engine.pay_funding(0)
        world.venue.arm()
        mark = world.venue.simulation.engine.quote("BTCUSDT").mark
        await world.tell("price", symbol="BTCUSDT", price=str(round(mark * Decimal("0.95"), 1)))
        await asyncio.sleep(5)
        assert daemon.orchestrator.queries is not None
        assert await daemon.orchestrator.queries._money.look(next(iter(daemon.orchestrator.queries._streams)))
        return await daemon.kill() if kill else daemon.data_dir


async def test_positions_money_and_verdicts_are_those_of_the_venue_and_of_the_journal(
    world: SimulatedWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = await a_life(world)
    told = replay(folder)
    assert (told.differences, told.gaps, told.status) == ((), (), CLEAN)
    held = {p.instrument: p.quantity for p in told.rebuilt.positions.values() if p.quantity}
    (quantity,) = (abs(amount) for amount in (await world.held()).values())
    assert held == {"binance:ETH/USDT:USDT": quantity}
    sums = told.rebuilt.results()["binance", "USDT"]
    assert sums["realized"] == of_the_venue(world, IncomeType.REALIZED_PNL) < 0
    assert sums["fees"] == of_the_venue(world, IncomeType.COMMISSION)
    assert sums["funding"] == of_the_venue(world, IncomeType.FUNDING_FEE)
    assert sorted(told.rebuilt.verdicts.values()) == ["", "", "stoplisted"]
    assert main(["--data", str(folder)]) == CLEAN
    assert "log and journal agree" in capsys.readouterr().out
    assert main(["--json", "--data", str(folder), str(folder)]) == CLEAN
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [document["differences"] for document in documents] == [[], []]


async def test_a_life_over_a_kill_and_a_restart_is_rebuilt_as_one(world: SimulatedWorld) -> None:
    left = await a_life(world, kill=True)
    async with world.running(left) as second:
        await asyncio.sleep(5)
        assert len(second.positions) == 1
    told = replay(left)
    assert (told.differences, told.status, told.rebuilt.unclean) == ((), CLEAN, 1)
    assert told.rebuilt.results()["binance", "USDT"]["realized"] == of_the_venue(world, IncomeType.REALIZED_PNL)


async def test_what_a_killed_run_entered_and_could_not_log_is_replayed_as_its_journal_had_it(
    world: SimulatedWorld,
) -> None:
    await world.play(WAVE)
    async with world.running(STOPLIST_SYMBOLS="SOLUSDT") as daemon:
        await daemon.wave()
        left = await daemon.kill()
    (log,) = left.glob("audit*.log")
    kinds = {json.loads(line)["kind"] for line in log.read_bytes().splitlines()}
    assert "fill" not in kinds, "it was killed before the log was written"
    async with world.running(left) as second:
        await asyncio.sleep(5)
        held = {(str(p.instrument), p.quantity, p.entry_price) for p in second.positions.values()}
        assert len(held) == 2
    told = replay(left)
    rebuilt = told.rebuilt.positions.values()
    assert {(p.instrument, p.quantity, p.entry_price) for p in rebuilt} == held
    assert len(told.gaps) >= 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE fills SET price = price + 1", "another one in the journal"),
        ("DELETE FROM fills", "only in the log"),
        ("UPDATE positions SET realized = '7'", "realized"),
        ("DELETE FROM positions", "only in the log"),
        ("UPDATE signals SET code = 'stale'", "accepted in the log, stale in the journal"),
        ("UPDATE waves SET finished_ms = NULL", "only in the log"),
    ],
)
async def test_a_journal_that_says_something_else_is_found(world: SimulatedWorld, change: str, said: str) -> None:
    folder = await a_life(world)
    with closing(sqlite3.connect(folder / "journal.db")) as journal, journal:
        journal.execute(change)
    told = replay(folder)
    assert told.status == BROKEN
    assert any(said in text for text in told.differences)


async def test_an_altered_log_is_not_believed(world: SimulatedWorld, capsys: pytest.CaptureFixture[str]) -> None:
    folder = await a_life(world)
    log = folder / "audit.log"
    log.write_text(log.read_text("ascii").replace('"leg":"entry"', '"leg":"close"', 1), "ascii")
    assert main(["--data", str(folder)]) == BROKEN
    assert "broken" in capsys.readouterr().out


def test_a_folder_without_a_log_cannot_be_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path)]) == COULD_NOT_RUN
    assert "no audit.log" in capsys.readouterr().out
