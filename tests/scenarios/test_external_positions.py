"""Positions the daemon did not open or did not close: the owner's hand, and the venue's."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal

import pytest

from core.domain.wave import LegState
from tests.scenarios.log_lines import LogLines
from tests.scenarios.owner import Owner, the_owner
from tests.scenarios.worlds import PAIRS, SimulatedWorld, a_signal, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")


@pytest.fixture
def said() -> LogLines:
    return LogLines()


@pytest.fixture
def owner(world: SimulatedWorld) -> Owner:
    return the_owner(world)


async def test_a_position_opened_elsewhere_is_taken_over_with_a_stop(world: SimulatedWorld, owner: Owner) -> None:
    async with world.running() as daemon:
        await owner.trade("BTCUSDT", "BUY", "0.010")
        await owner.trade("ETHUSDT", "SELL", "0.500")
        await world.until(lambda: _protected(world, 2), seconds=120)
        assert daemon.held() == await world.held()
        await world.everything_holds()
        entries = {row["symbol"]: Decimal(row["entry"]) for row in (await world.ask("state"))["positions"]}
        for row in daemon.status.positions:
            assert row.stop is not None
            distance = row.stop / entries[daemon.orchestrator.symbols[str(row.instrument)]] - 1
            assert abs(distance).quantize(Decimal("0.001")) == Decimal("0.020")  # STOP_LOSS_PERCENT from its entry


@pytest.mark.parametrize("policy", ["protect", "manage"])
async def test_a_position_found_at_the_start_is_protected_before_anything_is_traded(
    world: SimulatedWorld, owner: Owner, policy: str
) -> None:
    await owner.trade("BTCUSDT", "BUY", "0.010")
    await world.play(a_wave(PAIRS[:2]))
    async with world.running(EXTERNAL_POSITIONS=policy) as daemon:
        assert await _protected(world, 1)
        report = await daemon.wave()
        refused, taken = report.legs
        assert refused.denied is not None
        assert refused.denied.reason.value == "duplicate_position"
        assert taken.state is LegState.PROTECTED
        await world.everything_holds()


async def test_by_policy_a_foreign_position_is_left_alone_and_said(
    world: SimulatedWorld, owner: Owner, said: LogLines
) -> None:
    await owner.trade("BTCUSDT", "BUY", "0.010")
    await world.play(a_wave(PAIRS[:2]))
    async with world.running(EXTERNAL_POSITIONS="ignore") as daemon:
        report = await daemon.wave()
        assert report.legs[0].denied is not None  # never added to, never turned round
        await asyncio.sleep(120)
        assert list(daemon.held()) == ["ETHUSDT"]
        assert sorted(await world.held()) == ["BTCUSDT", "ETHUSDT"]
        assert list(await world.resting_stops()) == ["ETHUSDT"]
        told = [text for text in said.notices if "left alone" in text]
        assert len(told) == 1
        assert "EXTERNAL_POSITIONS" in told[0]


async def test_a_position_closed_by_hand_loses_its_stop_at_once_and_is_not_reopened(
    world: SimulatedWorld, owner: Owner
) -> None:
    await world.play(a_wave(PAIRS[:2]))
    async with world.running(BREAKEVEN_ACTIVATION_PERCENT=0) as daemon:
        await daemon.wave()
        sent = len(await world.sent("order", "stop"))
        await owner.trade("BTCUSDT", "SELL", "0.001", reduceOnly="true")
        await asyncio.sleep(2)
        assert list(daemon.held()) == ["ETHUSDT"]
        await world.everything_holds()
        await asyncio.sleep(180)
        assert len(await world.sent("order", "stop")) == sent + 1  # the owner's own
        await world.everything_holds()


@pytest.mark.parametrize("quiet", [True, False])
async def test_a_position_put_away_without_a_trade_loses_its_stop_within_two_minutes(
    world: SimulatedWorld, *, quiet: bool
) -> None:
    """Nothing but the figure changes; `quiet`: and not even that is told."""
    await world.play(a_wave(PAIRS[:2]))
    async with world.running() as daemon:
        await daemon.wave()
        sent = len(await world.sent("order", "stop"))
        if quiet:
            await world.fault("lose_event", match={"event": "ACCOUNT_UPDATE"}, count=-1)
        await world.tell("account", position={"symbol": "BTCUSDT", "qty": "0"})
        await world.until(lambda: _protected(world, 1), seconds=120)
        assert list(daemon.held()) == ["ETHUSDT"]
        assert len(await world.sent("order", "stop")) == sent
        await world.everything_holds()


async def test_a_position_resized_by_hand_gets_a_stop_of_its_new_size(world: SimulatedWorld, owner: Owner) -> None:
    await world.play(a_wave(PAIRS[2:4]))
    async with world.running() as daemon:
        await daemon.wave()
        held = await world.held()
        long, short = held["SOLUSDT"], held["XRPUSDT"]
        await owner.trade("SOLUSDT", "BUY", "2.5")
        await owner.trade("XRPUSDT", "BUY", "10", reduceOnly="true")
        await world.until(lambda: _protected(world, 2, {"SOLUSDT": long + Decimal("2.5"), "XRPUSDT": short + 10}), 120)
        assert daemon.held() == await world.held()
        await world.everything_holds(several_rounds=True)


async def test_a_position_turned_round_by_hand_is_protected_on_its_new_side(
    world: SimulatedWorld, owner: Owner
) -> None:
    await world.play(a_wave(PAIRS[2:3]))
    async with world.running() as daemon:
        await daemon.wave()
        (quantity,) = (await world.held()).values()
        await owner.trade("SOLUSDT", "SELL", str(quantity * 2))
        await world.until(lambda: _protected(world, 1, {"SOLUSDT": -quantity}), seconds=120)
        await asyncio.sleep(60)
        assert daemon.held() == {"SOLUSDT": -quantity}
        await world.everything_holds(several_rounds=True)


async def test_a_symbol_closed_by_hand_can_be_entered_again_by_the_next_signal(
    world: SimulatedWorld, owner: Owner
) -> None:
    waves = [a_wave(PAIRS[:1]), {"at_ms": 60_000, "signals": [a_signal("BTCUSDT", id="second")]}]
    await world.play(*waves)
    async with world.running(COOLDOWN_AFTER_EXTERNAL_SECONDS=0) as daemon:
        await daemon.wave()
        await owner.trade("BTCUSDT", "SELL", "0.001", reduceOnly="true")
        second = await daemon.wave(2)
        assert second.legs[0].state is LegState.PROTECTED
        await world.everything_holds(several_rounds=True)


async def test_a_liquidation_is_booked_alerts_pauses_entries_and_leaves_no_orders(
    world: SimulatedWorld, said: LogLines
) -> None:
    await world.play(a_wave(PAIRS[:2]), a_wave(PAIRS[2:3], at_ms=40_000))
    async with world.running() as daemon:
        await daemon.wave()
        await world.fault("liquidate", match={"symbol": "BTCUSDT"})
        await world.until(lambda: _protected(world, 1), seconds=120)
        await asyncio.sleep(1)
        assert list(daemon.held()) == ["ETHUSDT"]
        assert [text for text in said.notices if "liquidation by the venue" in text]
        assert "liquidated" in (daemon.off_because() or ""), "this venue alone, until somebody resumes it"
        assert daemon.status.trading_state == "active"
        second = await daemon.wave(2)
        assert second.legs[0].denied is not None
        assert second.legs[0].denied.reason.value == "not_active"
        await world.everything_holds()


@pytest.mark.parametrize("fraction", [0.4, 1.0])
async def test_auto_deleveraging_is_booked_told_and_the_stop_follows(
    world: SimulatedWorld, said: LogLines, fraction: float
) -> None:
    await world.play(a_wave(PAIRS[2:4]))
    async with world.running() as daemon:
        await daemon.wave()
        await world.fault("adl", match={"symbol": "SOLUSDT"}, fraction=fraction)
        await asyncio.sleep(2)
        assert daemon.held() == await world.held()
        assert ("SOLUSDT" in daemon.held()) is (fraction < 1)
        assert [text for text in said.notices if "auto-deleveraging by the venue" in text]
        assert daemon.status.trading_state == "active"
        await world.everything_holds()


async def _protected(world: SimulatedWorld, count: int, held: Mapping[str, Decimal] | None = None) -> bool:
    there, stops = await world.held(), await world.resting_stops()
    fits = {symbol: [abs(quantity)] for symbol, quantity in there.items()} == stops
    return fits and len(there) == count and held in (None, there)
