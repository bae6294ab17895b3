"""Trailing stops at each venue: followed, never without one, never loosened, over restarts and kills."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from core.domain.cooldown import CloseKind
from core.engine.exit_engine import ExitEngine
from tests.campaigns.trailing import FAULTS, run
from tests.campaigns.trailing_judge import Life, Stand, flips, loosened, naked, never_protected, too_often
from tests.scenarios.worlds import Daemon, SimulatedWorld, World, a_signal
from tools.venuesim.exchange.model import ConditionalStatus
from tools.venuesim.exchange.position_stops import PositionStops
from tools.venuesim.faults import parse

pytestmark = pytest.mark.may_block("simulation runs storage inline")

BTC = {"binance": "BTCUSDT", "bybit": "BTCUSDT", "okx": "BTC-USDT-SWAP"}
MOVE = {
    "binance": "POST /fapi/v1/algoOrder",
    "bybit": "POST /v5/position/trading-stop",
    "okx": "POST /api/v5/trade/amend-algos",
}
"""The request by which a resting stop is moved there."""
TRAILED: dict[str, Any] = {
    "TRAILING_ACTIVATION_PERCENT": "1",
    "TRAILING_CALLBACK_PERCENT": "0.5",
    "BREAKEVEN_ACTIVATION_PERCENT": 0,
}
VENUES = pytest.mark.parametrize("venue", list(BTC))
BOTH_SIDES = pytest.mark.parametrize("direction", ["LONG", "SHORT"])


def a_world(folder: Path, venue: str, **settings: Any) -> SimulatedWorld:
    """Where prices stand still unless they are moved."""
    return SimulatedWorld(folder, (venue,), latency_ms=40, speed=0.000001, symbols=6, **settings)


def a_long(venue: str, *, at_ms: int = 4_000, **fields: Any) -> dict[str, Any]:
    return {"at_ms": at_ms, "signals": [a_signal("BTCUSDT", exchange=venue, **fields)]}


def exits_of(daemon: Daemon) -> ExitEngine:
    assert daemon.orchestrator.queries is not None
    return daemon.orchestrator.queries._exits


def entry_of(world: SimulatedWorld, symbol: str) -> Decimal:
    (position,) = (p for p in world.venue.simulation.engine.positions() if p.symbol == symbol and p.qty)
    return position.entry


async def gain(world: SimulatedWorld, symbol: str, entry: Decimal, percent: str, direction: str = "LONG") -> None:
    """Move the price to where the position has gained so much, and let that be heard."""
    sign = 1 if direction == "LONG" else -1
    level = (entry * (100 + sign * Decimal(percent)) / 100).quantize(Decimal("0.1"))
    await world.tell("price", symbol=symbol, price=str(level), hold_ms=3_600_000)
    await asyncio.sleep(2)


async def stops(world: World, symbol: str) -> list[Decimal]:
    """Levels of what rests."""
    rows = (await world.ask("state"))["orders"]
    return sorted(Decimal(row["stop_price"]) for row in rows if row["symbol"] == symbol and row["type"] == "stop")


async def gaps(world: World) -> list[str]:
    return naked(await world.ask("protection"))


@pytest.mark.failure("TRL-01")
@VENUES
async def test_minutes_of_trailing_on_a_random_walk_are_as_they_must_be(tmp_path: Path, venue: str) -> None:
    """A short part of the campaign; `make trailing` plays an hour."""
    result = await run(venue, tmp_path, minutes=3, seed=5)
    assert result.wrong == []
    assert result.moved > 5
    assert result.positions > 5


@pytest.mark.failure("TRL-01")
@pytest.mark.failure("TRL-02")
@VENUES
@BOTH_SIDES
async def test_a_stop_follows_over_a_restart_and_never_goes_back(tmp_path: Path, venue: str, direction: str) -> None:
    symbol = BTC[venue]
    async with a_world(tmp_path, venue) as world:
        await world.play(a_long(venue, direction=direction))
        async with world.running(**TRAILED) as first:
            await first.wave()
            await asyncio.sleep(2)
            entry = entry_of(world, symbol)
            await gain(world, symbol, entry, "3", direction)
            (moved,) = await stops(world, symbol)
            assert abs(moved / entry - 1) > Decimal("0.02"), "it trails, half a percent behind"
            (state,) = [exits_of(first).state_of(p.key) for p in first.positions.values()]
        async with world.running(first.data_dir, **TRAILED) as second:
            (kept,) = [exits_of(second).state_of(p.key) for p in second.positions.values()]
            assert kept == state
            await gain(world, symbol, entry, "2.8", direction)
            await asyncio.sleep(40)
            assert await stops(world, symbol) == [moved], "the price went back, the stop did not"
            await gain(world, symbol, entry, "5", direction)
            (further,) = await stops(world, symbol)
            assert (further - moved) * (1 if direction == "LONG" else -1) > 0
            assert await gaps(world) == []
            await world.everything_holds()


@pytest.mark.failure("TRL-02")
@VENUES
@pytest.mark.parametrize("told", ["sending", "answered"])
async def test_a_kill_in_the_middle_of_a_move_leaves_one_stop_and_never_none(
    tmp_path: Path, venue: str, told: str
) -> None:
    """Where stops are replaced, two of them rest when the second is answered; the looser one goes after the restart."""
    symbol, seen, fatal = BTC[venue], 0, -1
    left: asyncio.Future[Path] = asyncio.get_running_loop().create_future()
    first: list[Daemon] = []

    def watch(moment: str, asked: str) -> None:
        nonlocal seen
        seen += (moment, asked) == (told, MOVE[venue])
        if seen == fatal and not left.done():
            left.set_result(first[0].strike())

    async with a_world(tmp_path, venue) as world:
        await world.play(a_long(venue))
        first.append(world.daemon(watch=watch, **TRAILED))
        first[0].begin()
        await first[0].ready()
        await first[0].wave()
        await asyncio.sleep(1)
        fatal = seen + 1  # what was sent by then is no move
        (placed,) = await stops(world, symbol)
        entry = entry_of(world, symbol)
        await gain(world, symbol, entry, "3")
        killed = await first[0].bury(await left)
        resting = await stops(world, symbol)
        assert len(resting) == (2 if venue == "binance" and told == "answered" else 1)
        async with world.running(killed, **TRAILED) as second:
            await asyncio.sleep(45)
            (final,) = await stops(world, symbol)
            assert final > placed
            assert len(second.positions) == 1
            assert await gaps(world) == []
            await world.everything_holds()


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_every_named_fault_is_one_the_simulators_know(name: str) -> None:
    for venue in BTC:
        for fault in FAULTS[name].at(venue):
            parse(fault)


def test_the_judge_sees_a_gap_however_short() -> None:
    row = {"symbol": "A", "side": "long", "opened": 0.0, "protected": 60.0, "closed": None}
    first = {"from": 0.0, "to": 60.0, "uncovered_qty": "1"}
    assert naked([{**row, "intervals": [first]}]) == []
    assert len(naked([{**row, "intervals": [first, {"from": 90.0, "to": 90.5, "uncovered_qty": "1"}]}])) == 1
    bare = {**row, "protected": None, "intervals": []}
    assert never_protected([{**bare, "closed": 3_000.0}], 60_000.0) == []
    assert len(never_protected([bare], 60_000.0)) == 1


@pytest.mark.parametrize("side", [1, -1])
def test_the_judge_sees_stops_that_loosen_and_stops_that_move_too_often(side: int) -> None:
    def lived(*levels: tuple[float, str]) -> list[Life]:
        stands = [Stand(at, 100 + side * Decimal(level)) for at, level in levels]
        return [Life(symbol="A", side=side, opened=0.0, stands=stands)]

    settled = lived((0, "-2"), (900, "-2.1"), (60_000, "1"), (90_000, "1.5"), (95_000, "3"))
    assert loosened(settled) == too_often(settled) == []
    assert len(loosened(lived((0, "-2"), (60_000, "1"), (100_000, "0.9")))) == 1
    assert len(too_often(lived((0, "-2"), (60_000, "1"), (89_999, "1.5")))) == 1


def test_the_judge_sees_a_position_that_no_entry_opened() -> None:
    lives = [Life(symbol="A", side=1, opened=0.0), Life(symbol="A", side=-1, opened=5.0)]
    assert flips(lives, {"A": 2}) == []
    assert len(flips(lives, {"A": 1})) == 1


async def test_a_stop_that_went_on_under_a_new_id_and_fired_while_nobody_ran_is_booked_at_its_price(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At Bybit an amended stop keeps its order or becomes another one; both happen."""
    usual = PositionStops.set

    def anew(self: PositionStops, request: Any) -> Any:
        there = self.find(request.symbol, request.position_side, request.kind)
        if there is None or request.removes:
            return usual(self, request)
        with self._state.batch():
            self._triggers.put(replace(there, status=ConditionalStatus.CANCELED))
            return usual(self, request)

    monkeypatch.setattr(PositionStops, "set", anew)
    async with a_world(tmp_path, "bybit") as world:
        await world.play(a_long("bybit"))
        async with world.running(**TRAILED) as first:
            await first.wave()
            entry = entry_of(world, "BTCUSDT")
            await gain(world, "BTCUSDT", entry, "3")
            await asyncio.sleep(60)
            (level,) = await stops(world, "BTCUSDT")
            assert level > entry
        through = (level * Decimal("0.999")).quantize(Decimal("0.1"))
        await world.tell("price", symbol="BTCUSDT", price=str(through), hold_ms=1_000)
        assert not await world.held()
        async with world.running(first.data_dir, **TRAILED) as second:
            await asyncio.sleep(30)
            assert second.orchestrator.queries is not None
            (last,) = second.orchestrator.queries._risk.ledger.book.closes.values()
            assert (last.kind, last.external) == (CloseKind.WIN, False)
