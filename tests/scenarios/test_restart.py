"""Killed or stopped at any step and started again: nothing is sent twice, nothing is left without a stop."""

import asyncio
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.domain.cooldown import CloseKind
from core.domain.wave import LegState
from core.lifecycle.outcome import ExitStatus
from tests.scenarios.log_lines import LogLines
from tests.scenarios.worlds import PAIRS, Daemon, SimulatedWorld, World, a_signal, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")

ORDER, STOP = "POST /fapi/v1/order", "POST /fapi/v1/algoOrder"


async def test_a_restart_finds_every_position_and_stop_and_sends_nothing(world: World) -> None:
    await world.play(a_wave(at_ms=4_000))
    async with world.running() as first:
        await first.wave()
        sent, held = await world.sent("order", "stop", "cancel"), first.held()
    async with world.running(first.data_dir) as second:
        assert second.held() == held
        assert [row.stop is not None for row in second.status.positions] == [True] * len(PAIRS)
        await asyncio.sleep(60)
        assert await world.sent("order", "stop", "cancel") == sent
        await world.everything_holds()


async def test_a_signal_told_again_after_a_restart_trades_nothing(world: World) -> None:
    """The server's snapshot repeats the wave to whoever logs in."""
    await world.play(a_wave(PAIRS[:3], at_ms=4_000))
    async with world.running() as first:
        await first.wave()
        sent = await world.sent("order", "stop")
    async with world.running(first.data_dir) as second:
        report = await second.wave()
        assert {leg.denied.reason.value for leg in report.legs if leg.denied} == {"already_seen"}
        assert await world.sent("order", "stop") == sent
        await world.everything_holds()


@pytest.mark.parametrize("told", ["sending", "answered"])
@pytest.mark.parametrize("number", range(1, 4))
@pytest.mark.parametrize("what", [ORDER, STOP])
@pytest.mark.failure("ORD-01", "INV-2")
@pytest.mark.failure("REC-04")
async def test_a_kill_at_any_step_ends_protected_or_absent_after_the_restart(
    world: World, what: str, number: int, told: str
) -> None:
    """Before the request leaves (only the journal has it), or when the venue has acted and answered."""
    await world.play(a_wave(PAIRS[:3], at_ms=4_000))
    killed = await _killed(world, what, number, told)
    sent_before = await world.sent("order")
    async with world.running(killed) as second:
        await asyncio.sleep(20)
        await world.everything_holds()
        assert second.held() == await world.held()
        assert second.status.unresolved_orders == 0
        assert await world.sent("order") == sent_before, "what was not sent before the kill is not traded after it"


@pytest.mark.parametrize("moment_ms", range(3_950, 5_050, 150))
@pytest.mark.failure("ORD-01", "INV-2")
async def test_a_kill_at_any_moment_of_a_wave_over_a_slow_line(tmp_path: Path, moment_ms: int) -> None:
    async with SimulatedWorld(tmp_path, latency_ms=180) as world:
        await world.play(a_wave(PAIRS[:3], at_ms=4_000))
        first = world.daemon()
        first.begin()
        await asyncio.sleep(moment_ms / 1_000)
        left = await first.kill()
        async with world.running(left) as second:
            await asyncio.sleep(20)
            await world.everything_holds()
            assert second.held() == await world.held()
            assert second.status.unresolved_orders == 0


@pytest.mark.parametrize("told", ["sending", "answered"])
@pytest.mark.failure("REC-04")
async def test_a_kill_while_a_position_is_being_flattened_ends_flat_or_protected(world: World, told: str) -> None:
    await world.play(a_wave(PAIRS[:1], at_ms=4_000))
    await world.fault("reject_stop", code=-2010, count=3)
    killed = await _killed(world, ORDER, 2, told)
    async with world.running(killed) as second:
        await asyncio.sleep(20)
        await world.everything_holds()
        assert second.held() == await world.held()


@pytest.mark.failure("TRL-13")
async def test_positions_that_closed_while_nobody_ran_are_booked_closed(world: World) -> None:
    await world.play(a_wave(PAIRS[:2], at_ms=4_000))
    async with world.running() as first:
        await first.wave()
    (stop,) = [row for row in (await world.ask("state"))["orders"] if row["symbol"] == "BTCUSDT"]
    await world.tell("price", symbol="BTCUSDT", price=str(int(float(stop["stop_price"])) - 500))
    assert list(await world.held()) == ["ETHUSDT"]
    async with world.running(first.data_dir) as second:
        assert list(second.held()) == ["ETHUSDT"]
        assert second.orchestrator.queries is not None
        (last,) = second.orchestrator.queries._risk.ledger.book.closes.values()
        assert (last.kind, last.external) == (CloseKind.LOSS, False), "its cooldown runs"
        await world.everything_holds()


async def test_a_stop_that_vanished_while_nobody_ran_is_set_again(world: World) -> None:
    await world.play(a_wave(PAIRS[:2], at_ms=4_000))
    async with world.running() as first:
        await first.wave()
    assert isinstance(world, SimulatedWorld)
    world.venue.simulation.engine.cancel_all_conditionals("BTCUSDT")
    assert len(await world.resting_stops()) == 1
    async with world.running(first.data_dir):
        await world.everything_holds()


async def test_a_journal_that_knows_nothing_adopts_and_protects_what_the_venue_holds(
    world: World, tmp_path: Path
) -> None:
    await world.play(a_wave(PAIRS[:3], at_ms=4_000))
    async with world.running() as first:
        await first.wave()
        held = first.held()
    assert isinstance(world, SimulatedWorld)
    world.venue.simulation.engine.cancel_all_conditionals("BTCUSDT")
    await world.play()
    async with world.running(tmp_path / "fresh") as second:
        assert second.held() == held == await world.held()
        stops = await world.resting_stops()
        assert [quantity in stops[symbol] for symbol, quantity in _sizes(held).items()] == [True] * 3


async def test_stopping_leaves_every_stop_where_it_rests(world: World) -> None:
    await world.play(a_wave(at_ms=4_000))
    async with world.running() as daemon:
        await daemon.wave()
        stops = await world.resting_stops()
        started = world.clock.monotonic()
        outcome = await daemon.stop()
        assert outcome.status is ExitStatus.DONE
        assert world.clock.monotonic() - started < 10
    assert await world.resting_stops() == stops
    await world.everything_holds()


@pytest.mark.parametrize("moment_ms", range(4_000, 4_900, 60))
async def test_stopping_in_the_middle_of_a_wave_finishes_what_protects(tmp_path: Path, moment_ms: int) -> None:
    async with SimulatedWorld(tmp_path, latency_ms=180) as world:
        await world.play(a_wave(PAIRS[:3], at_ms=4_000))
        daemon = world.daemon()
        daemon.begin()
        await daemon.ready()
        await asyncio.sleep(max(0.0, moment_ms / 1_000 - daemon.status.uptime_s))
        outcome = await daemon.stop()
        assert outcome.status is ExitStatus.DONE, outcome
        await world.everything_holds()
        assert daemon.held() == await world.held()


async def test_stopping_while_a_stop_stays_unanswered_closes_that_position_first(world: World) -> None:
    await world.play(a_wave(PAIRS[:1], at_ms=4_000))
    async with world.running() as daemon:
        await world.fault("latency", match={"path": "/fapi/v1/algoOrder"}, delay_ms=60_000, count=-1)
        await world.fault("lose_event", match={"event": "ALGO_UPDATE"}, count=-1)
        await world.until(lambda: _holds(world, 1))
        outcome = await daemon.stop()
        assert outcome.status is ExitStatus.DONE
        assert await world.held() == {}


@pytest.mark.failure("OPS-01")
async def test_a_signal_that_arrives_while_stopping_opens_nothing(world: World) -> None:
    await world.play(a_wave(PAIRS[:1], at_ms=4_000), a_wave(PAIRS[1:2], at_ms=5_000))
    async with world.running() as daemon:
        await world.fault("latency", match={"path": "/fapi/v1/algoOrder"}, delay_ms=2_000, count=-1)
        await world.until(lambda: _holds(world, 1))
        outcome = await daemon.stop()
        assert outcome.status is ExitStatus.DONE
        assert len(await world.sent("order")) == 1
        await world.everything_holds()


async def test_stopping_while_the_venue_is_silent_names_what_has_no_stop(world: World) -> None:
    """Within ten seconds, with the exit status that calls the operator."""
    await world.play(a_wave(PAIRS[:1], at_ms=4_000))
    async with world.running() as daemon:
        await world.fault("latency", match={"path": "/fapi/v1/order"}, after=1, delay_ms=60_000, count=-1)
        await world.fault("latency", match={"path": "/fapi/*lgo*"}, delay_ms=60_000, count=-1)
        await world.until(lambda: _holds(world, 1))
        started = world.clock.monotonic()
        outcome = await daemon.stop()
        assert world.clock.monotonic() - started < 10
        assert outcome.status is ExitStatus.OPERATOR_NEEDED
        assert "BTC/USDT:USDT" in outcome.said


async def _killed(world: World, what: str, number: int, told: str) -> Path:
    """Run until that moment of the so-manyth such request, kill it there; what is left of its data folder."""
    seen, left = 0, asyncio.get_running_loop().create_future()
    first: list[Daemon] = []

    def watch(moment: str, asked: str) -> None:
        nonlocal seen
        seen += (moment, asked) == (told, what)
        if seen == number and not left.done():
            left.set_result(first[0].strike())

    first.append(world.daemon(watch=watch))
    first[0].begin()
    async with asyncio.timeout(60):
        await left
    return await first[0].bury(left.result())


def _sizes(held: dict[str, Decimal]) -> dict[str, Decimal]:
    return {symbol: abs(quantity) for symbol, quantity in held.items()}


async def _holds(world: World, count: int) -> bool:
    return len(await world.held()) == count


@pytest.mark.failure("SIG-11")
async def test_a_position_keeps_what_its_signal_asked_for_over_a_restart_and_another_configuration(
    tmp_path: Path,
) -> None:
    asked: dict[str, Any] = {
        "stop_loss_filter": "4",
        "trailing_activation_filter": "2.5",
        "trailing_distance_filter": "0.7",
        "take_profit_filter": "60",
        "time_limit_minutes": 240,
    }
    async with SimulatedWorld(tmp_path) as world:
        wave = {"at_ms": 4_000, "signals": [a_signal("BTCUSDT", **asked), a_signal("ETHUSDT", score=70)]}
        await world.play(wave)
        async with world.running() as first:
            await first.wave()
            stops = await world.resting_stops()
        async with world.running(first.data_dir, STOP_LOSS_PERCENT="3") as second:
            await asyncio.sleep(30)
            assert await world.resting_stops() == stops
            kept = second.positions
            btc, eth = kept["BTC/USDT:USDT"], kept["ETH/USDT:USDT"]
            assert (btc.stop_loss_percent, btc.trailing_activation_percent) == (4, Decimal("2.5"))
            assert btc.trailing_callback_percent == Decimal("0.7")
            assert (btc.take_profit_percent, btc.time_limit_minutes) == (60, 240)
            assert (eth.take_profit_percent, eth.time_limit_minutes) == (None, None)
            assert (eth.stop_loss_percent, eth.trailing_activation_percent) == (2, None)
            await world.everything_holds()


_LISTS = {
    "binance": "GET /fapi/v1/exchangeInfo",
    "bybit": "GET /v5/market/instruments-info",
    "okx": "GET /api/v5/public/instruments",
}


@pytest.mark.failure("VAL-21")
@pytest.mark.parametrize("venue", list(_LISTS))
@pytest.mark.parametrize("held", [True, False])
async def test_a_contract_delisted_while_nobody_ran_costs_the_others_of_its_venue_nothing(
    tmp_path: Path, venue: str, *, held: bool
) -> None:
    """Everything else goes on; what the venue still `held` stays in the book, and nothing that is tried of it halts."""

    def without_eth(asked: str, document: Any) -> Any:
        gone = asked == _LISTS[venue] or not held
        return _without(document, ("ETHUSDT", "ETH-USDT-SWAP")) if gone else document

    async with SimulatedWorld(tmp_path, (venue,)) as world:
        await world.play(a_wave(PAIRS[:2]))
        async with world.running(BREAKEVEN_ACTIVATION_PERCENT=0) as first:
            await first.wave()
            opened = first.positions
        stops, sent = await world.resting_stops(), await world.sent("order", "stop", "cancel", "amend")
        said = LogLines()
        await world.play(a_wave(["SOLUSDT"], at_ms=90_000))
        second = world.daemon(first.data_dir, BREAKEVEN_ACTIVATION_PERCENT=0)
        second.tamper(without_eth, venue)
        begun = world.clock.monotonic()
        second.begin()
        try:
            await second.ready()
            assert world.clock.monotonic() - begun < 5, "the start waited for what cannot come"
            assert second.off_because(venue) is None
            assert await world.sent("order", "stop", "cancel", "amend") == sent
            world.venue.simulation.engine.cancel_all_conditionals(next(symbol for symbol in stops if "BTC" in symbol))
            report = await second.wave(seconds=200)
            assert [leg.state for leg in report.legs] == [LegState.PROTECTED]
            await asyncio.sleep(120)
            after = await world.resting_stops()
            assert after.keys() == (await world.held()).keys() > stops.keys()
            assert not [row for row in await world.ask("protection") if row["naked_now_ms"]]
            assert ("ETH/USDT:USDT" in second.positions) is held
            key = opened["ETH/USDT:USDT"].key
            assert second.orchestrator.queries is not None
            with suppress(TimeoutError):
                await asyncio.wait_for(second.orchestrator.queries._protection._closer.flatten(key, "test"), 30)
            assert second.status.trading_state == "active"
            assert not [row.why for row in second.orchestrator._tasks.rows() if row.failures]
            assert second.status.venues[0].reconciled_s is not None
            told = [text for text in said.notices if "ETH" in text and "lists" in text]
            assert [("lists it no longer" in text, "look there" in text) for text in told] == [(True, True)]
        finally:
            await second.bury(second.data_dir)


def _without(document: Any, names: tuple[str, ...]) -> Any:
    """The same answer, and in no list of it a row of these contracts."""
    if isinstance(document, dict):
        return {name: _without(value, names) for name, value in document.items()}
    if isinstance(document, list):
        rows = [row for row in document if not _is_of(row, names)]
        return [_without(row, names) for row in rows]
    return document


def _is_of(row: Any, names: tuple[str, ...]) -> bool:
    return isinstance(row, dict) and bool({row.get("symbol"), row.get("instId")} & set(names))
