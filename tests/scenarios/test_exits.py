"""Exits at each venue, in its own protocol: steps, time limits, fired stops, and what others close or open."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from core.domain.verdict import Reason
from core.domain.wave import LegState
from core.venues.market_stream import MarketStream
from tests.scenarios.log_lines import LogLines
from tests.scenarios.owner import the_owner
from tests.scenarios.test_trailing import BTC, VENUES, a_long, a_world, entry_of, exits_of, gain, gaps, stops
from tests.scenarios.worlds import Daemon, SimulatedWorld, World, a_signal

pytestmark = pytest.mark.may_block("simulation runs storage inline")

ORDER = {"binance": "/fapi/v1/order", "bybit": "/v5/order/create", "okx": "/api/v5/trade/order"}
PUBLIC = {
    "binance": ("/market/ws", "/public/ws"),
    "bybit": ("/v5/public/linear",),
    "okx": ("/ws/v5/public",),
}
PLAIN: dict[str, Any] = {"TRAILING_MODE": "off", "BREAKEVEN_ACTIVATION_PERCENT": 0}
STEPS: dict[str, Any] = {**PLAIN, "TAKE_PROFIT_STEPS": "1:40,2:30,3:30", "POSITION_SIZE_USD": 3000}
LIMITED: dict[str, Any] = {**PLAIN, "TIME_LIMIT_HOURS": "0.05", "MAX_POSITION_AGE_HOURS": "0.04"}
"""Three minutes; what is aged is let go at a profit only, and there is none."""


@pytest.fixture
def said() -> LogLines:
    return LogLines()


async def closing_trades(world: World, symbol: str) -> list[Decimal]:
    """What each order that reduced took, oldest first."""
    rows = (await world.ask("state?all=1"))["orders"]
    filled = [row for row in rows if row["symbol"] == symbol and row["type"] == "market" and row["reduce_only"]]
    return [Decimal(row["filled"]) for row in filled if Decimal(row["filled"])]


def nothing_is_watched(daemon: Daemon) -> bool:
    """No monitor, timer, guardian or subscription of a position is left (TRL-15)."""
    queries, exits = daemon.orchestrator.queries, exits_of(daemon)
    assert queries is not None
    protection, data = queries._protection, queries._data
    guards = [guard for guard in protection._guards.values() if not guard.done()]
    left = (exits._watches, exits._by_instrument, data._watched, guards, protection._naked)
    # What may be entered at all is wanted anyhow, where prices do not come unasked.
    markets = [market for market in data._markets.values() if isinstance(market, MarketStream)]
    held = [symbol for market in markets for symbol, wanted in market._wanted.items() if not wanted]
    assert markets
    return not any(left) and not held


# Take profit in steps


@pytest.mark.failure("VAL-18")
@pytest.mark.failure("TRL-12", "INV-2")
@pytest.mark.parametrize(
    ("venue", "trouble"),
    [
        *product(BTC, ["none", "drop_response"]),
        ("binance", "timeout_after_execution"),
        ("bybit", "duplicate_event"),
        ("okx", "duplicate_event"),
    ],
)
async def test_each_step_is_taken_once_and_together_they_are_the_position(
    tmp_path: Path, venue: str, trouble: str
) -> None:
    symbol = BTC[venue]
    async with a_world(tmp_path, venue) as world:
        await world.play(a_long(venue))
        async with world.running(**STEPS) as daemon:
            await daemon.wave()
            await asyncio.sleep(1)
            whole, entry = (await world.held())[symbol], entry_of(world, symbol)
            if trouble == "duplicate_event":
                await world.fault(trouble, count=-1)
            elif trouble != "none":
                await world.fault(trouble, match={"method": "POST", "path": ORDER[venue]}, count=-1)
            for percent, left in (("1.1", 60), ("2.1", 30)):
                await gain(world, symbol, entry, percent)
                await asyncio.sleep(20)
                held = (await world.held())[symbol]
                assert abs(held / whole * 100 - left) < 5
                assert daemon.held() == await world.held()
                await world.everything_holds()
            await gain(world, symbol, entry, "3.1")
            await asyncio.sleep(20)
            assert await world.held() == daemon.held() == {}
            taken = await closing_trades(world, symbol)
            assert (len(taken), sum(taken)) == (3, whole)
            await world.everything_holds()
            assert nothing_is_watched(daemon)


@pytest.mark.failure("TRL-12", "INV-2")
@VENUES
@pytest.mark.parametrize("told", ["sending", "answered"])
async def test_a_step_is_not_taken_again_after_a_kill(tmp_path: Path, venue: str, told: str) -> None:
    symbol, armed = BTC[venue], False
    left: asyncio.Future[Path] = asyncio.get_running_loop().create_future()
    first: list[Daemon] = []

    def watch(moment: str, asked: str) -> None:
        if armed and (moment, asked) == (told, f"POST {ORDER[venue]}") and not left.done():
            left.set_result(first[0].strike())

    async with a_world(tmp_path, venue) as world:
        await world.play(a_long(venue))
        first.append(world.daemon(watch=watch, **STEPS))
        first[0].begin()
        await first[0].ready()
        await first[0].wave()
        await asyncio.sleep(1)
        armed, entry, whole = True, entry_of(world, symbol), (await world.held())[symbol]
        await gain(world, symbol, entry, "1.1")
        killed = await first[0].bury(await left)
        async with world.running(killed, **STEPS) as second:
            await asyncio.sleep(40)
            (taken,) = await closing_trades(world, symbol)
            assert abs(taken / whole * 100 - 40) < 5
            assert second.held() == await world.held()
            await world.everything_holds()


# Time limits


@pytest.mark.failure("TRL-08", "INV-12")
@VENUES
async def test_the_time_limit_comes_within_five_seconds_with_every_feed_cut(tmp_path: Path, venue: str) -> None:
    """Prices stop, and requests for them hang; the limit asks for no price."""
    symbol = BTC[venue]
    async with a_world(tmp_path, venue) as world:
        await world.play(a_long(venue))
        async with world.running(**LIMITED) as daemon:
            await daemon.wave()
            await asyncio.sleep(1)
            (position,) = daemon.positions.values()
            for stream in PUBLIC[venue]:
                await world.fault("half_open_stream", match={"stream": stream}, count=-1)
            await world.fault("latency", match={"method": "GET", "path": "*market*"}, delay_ms=60_000, count=-1)
            await world.fault("latency", match={"method": "GET", "path": "*premiumIndex*"}, delay_ms=60_000, count=-1)
            await world.until(lambda: _flat(world), seconds=240)
            (row,) = (row for row in await world.ask("protection") if row["symbol"] == symbol)
            assert 0 <= row["closed"] - position.opened_ms - 180_000 <= 5_000
            assert exits_of(daemon).counts.closes == {"time_limit": 1}


@pytest.mark.failure("TRL-09")
@VENUES
async def test_the_time_of_entry_survives_a_restart_and_the_limit_counts_from_it(tmp_path: Path, venue: str) -> None:
    async with a_world(tmp_path, venue) as world:
        await world.play(a_long(venue))
        async with world.running(**LIMITED) as first:
            await first.wave()
            await asyncio.sleep(100)
            (position,) = first.positions.values()
        async with world.running(first.data_dir, **LIMITED) as second:
            assert [p.opened_ms for p in second.positions.values()] == [position.opened_ms]
            await world.until(lambda: _flat(world), seconds=120)
            (row,) = await world.ask("protection")
            assert 0 <= row["closed"] - position.opened_ms - 180_000 <= 5_000


@pytest.mark.failure("TRL-09")
async def test_an_entry_time_is_taken_from_the_accounts_trades(tmp_path: Path, said: LogLines) -> None:
    """Where the venue's position says only when it changed last: bought twice, sold partly, an earlier one before."""
    async with a_world(tmp_path, "binance") as world:
        owner = the_owner(world)
        for side, quantity in (("SELL", "0.004"), ("BUY", "0.004"), ("BUY", "0.010")):
            await owner.trade("BTCUSDT", side, quantity)
            await asyncio.sleep(60)
        entered_ms = world.clock.now_ms() - 60_000
        for side, quantity in (("BUY", "0.005"), ("SELL", "0.003")):
            await owner.trade("BTCUSDT", side, quantity)
            await asyncio.sleep(30)
        async with world.running(EXTERNAL_POSITIONS="manage", **LIMITED) as daemon:
            (position,) = daemon.positions.values()
            assert abs(position.opened_ms - entered_ms) < 500
            assert not [text for text in said.notices if "not known" in text]
            await world.until(lambda: _flat(world), seconds=120)
            assert abs(world.clock.now_ms() - entered_ms - 180_000) < 5_000


@pytest.mark.failure("TRL-09")
@pytest.mark.failure("REC-06")
@VENUES
async def test_a_position_nobody_traded_has_the_venues_time_or_ours_and_then_it_is_said(
    tmp_path: Path, venue: str, said: LogLines
) -> None:
    symbol = BTC[venue]
    async with a_world(tmp_path, venue) as world:
        price = str(world.venue.simulation.engine.quote(symbol).last)
        await world.tell("account", position={"symbol": symbol, "qty": "0.01", "entry": price})
        made_ms = world.clock.now_ms()
        await asyncio.sleep(90)
        async with world.running(EXTERNAL_POSITIONS="manage", **LIMITED) as daemon:
            (position,) = daemon.positions.values()
            alerted = [text for text in said.notices if "its age counts from now" in text]
            if venue == "binance":
                assert len(alerted) == 1
                assert position.opened_ms - made_ms > 90_000
            else:
                assert not alerted
                assert abs(position.opened_ms - made_ms) < 1_000
            await world.until(lambda: _flat(world), seconds=240)
            assert abs(world.clock.now_ms() - position.opened_ms - 180_000) < 5_000


# What others open, close or fire


@pytest.mark.failure("REC-06")
@VENUES
@pytest.mark.parametrize("policy", ["protect", "manage"])
async def test_what_was_opened_elsewhere_gets_its_stop_and_its_trailing_in_one_cycle(
    tmp_path: Path, venue: str, policy: str
) -> None:
    symbol = BTC[venue]
    async with a_world(tmp_path, venue) as world:
        entry = world.venue.simulation.engine.quote(symbol).last
        await world.tell("account", position={"symbol": symbol, "qty": "0.01", "entry": str(entry)})
        trailed: dict[str, Any] = {"TRAILING_ACTIVATION_PERCENT": "1", "TRAILING_CALLBACK_PERCENT": "0.5"}
        async with world.running(EXTERNAL_POSITIONS=policy, **trailed) as daemon:
            (first,) = await stops(world, symbol)
            (position,) = daemon.positions.values()
            assert exits_of(daemon).state_of(position.key) is not None
            await gain(world, symbol, entry, "3")
            (now,) = await stops(world, symbol)
            assert (now > entry) is (policy == "manage")
            assert (now == first) is (policy == "protect")
            assert await gaps(world) == []


@VENUES
async def test_a_stop_that_fires_at_the_venue_ends_everything_and_starts_the_cooldown(
    tmp_path: Path, venue: str
) -> None:
    symbol = BTC[venue]
    again = {"at_ms": 40_000, "signals": [a_signal("BTCUSDT", id="again", exchange=venue)]}
    async with a_world(tmp_path, venue) as world:
        await world.play(a_long(venue), again)
        async with world.running(COOLDOWN_AFTER_LOSS_SECONDS=180, TAKE_PROFIT_STEPS="1:50") as daemon:
            await daemon.wave()
            await asyncio.sleep(1)
            entry = entry_of(world, symbol)
            await gain(world, symbol, entry, "-3")
            assert await world.held() == daemon.held() == {}
            state = await world.ask("state")
            assert state["orders"] == [], "nothing of it is left on the book"
            assert nothing_is_watched(daemon)
            assert not exits_of(daemon).counts.closes, "the venue closed it, not we"
            (leg,) = (await daemon.wave(2)).legs
            assert leg.denied is not None
            assert leg.denied.reason is Reason.COOLDOWN
            assert daemon.orchestrator.queries is not None
            (last,) = daemon.orchestrator.queries._risk.ledger.book.closes.values()
            assert last.kind.value == "loss"


@pytest.mark.failure("TRL-15")
@pytest.mark.parametrize(
    ("venue", "how"), [*((venue, "liquidate") for venue in BTC), ("binance", "by hand"), ("bybit", "put away")]
)
async def test_a_position_the_venue_or_its_owner_closes_is_watched_by_nobody(
    tmp_path: Path, venue: str, how: str
) -> None:
    symbol = BTC[venue]
    again = {"at_ms": 140_000, "signals": [a_signal("BTCUSDT", id="again", exchange=venue)]}
    async with a_world(tmp_path, venue) as world:
        await world.play(a_long(venue), again)
        async with world.running(COOLDOWN_AFTER_EXTERNAL_SECONDS=600) as daemon:
            await daemon.wave()
            await asyncio.sleep(1)
            if how == "liquidate":
                await world.fault("liquidate", match={"symbol": symbol})
            elif how == "by hand":
                (quantity,) = (await world.held()).values()
                await the_owner(world).trade(symbol, "SELL", str(quantity), reduceOnly="true")
            else:
                await world.tell("account", position={"symbol": symbol, "qty": "0"})
            await asyncio.sleep(75)
            assert daemon.held() == {}
            assert nothing_is_watched(daemon)
            asked, analyses = await world.sent("order", "stop", "amend", "cancel"), exits_of(daemon).counts.analyses
            await gain(world, symbol, world.venue.simulation.engine.quote(symbol).last, "-3")
            (leg,) = (await daemon.wave(2)).legs
            assert leg.denied is not None
            assert leg.denied.reason in (Reason.COOLDOWN, Reason.NOT_ACTIVE)
            assert await world.sent("order", "stop", "amend", "cancel") == asked
            assert exits_of(daemon).counts.analyses == analyses


# Time without a stop


@pytest.mark.failure("STP-01")
@pytest.mark.parametrize(("latency_ms", "delay_ms", "told"), [(40, 0, False), (40, 1_500, True), (400, 0, False)])
async def test_people_are_told_of_a_first_stop_that_took_too_long(
    tmp_path: Path, said: LogLines, latency_ms: float, delay_ms: int, *, told: bool
) -> None:
    async with SimulatedWorld(tmp_path, latency_ms=latency_ms) as world:
        if delay_ms:
            match = {"method": "POST", "path": "/fapi/v1/algoOrder"}
            await world.fault("latency", match=match, delay_ms=delay_ms, count=1, phase="before")
        await world.play(a_long("binance"))
        async with world.running(**PLAIN) as daemon:
            (leg,) = (await daemon.wave()).legs
            assert leg.state is LegState.PROTECTED
            assert bool([text for text in said.notices if "without a stop for" in text]) is told


@pytest.mark.failure("STP-01")
@VENUES
async def test_people_are_told_when_a_position_was_without_its_stop(tmp_path: Path, venue: str, said: LogLines) -> None:
    """Somebody cancelled it, and its replacement took longer than 300 ms."""
    async with SimulatedWorld(tmp_path, (venue,), latency_ms=350) as world:
        await world.play(a_long(venue))
        async with world.running(**PLAIN) as daemon:
            await daemon.wave()
            await asyncio.sleep(2)
            assert not [text for text in said.notices if "without a stop for" in text]
            world.venue.simulation.engine.cancel_all_conditionals(BTC[venue])
            await asyncio.sleep(60)
            (text,) = [text for text in said.notices if "without a stop for" in text]
            assert "UNPROTECTED_ALERT_MS" in text
            await world.everything_holds()


async def _flat(world: World) -> bool:
    return not await world.held()
