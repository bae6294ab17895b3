"""One daemon, three venues: a mixed wave, one of them dead in every way, and what each venue does in its own way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.domain.verdict import Reason
from core.domain.wave import LegState, WaveReport
from core.lifecycle.preflight import Grade
from tests.scenarios.log_lines import LogLines
from tests.scenarios.worlds import SimulatedWorld, a_signal
from tools.venuesim.exchange.model import PositionMode

pytestmark = pytest.mark.may_block("simulation runs storage inline")

VENUES = ("binance", "bybit", "okx")
COINS = ("BTC", "ETH", "SOL", "XRP")
ORDERS = {"binance": "/fapi/v1/order", "bybit": "/v5/order/create", "okx": "/api/v5/trade/order"}
BATCHES = {"bybit": "/v5/order/create-batch", "okx": "/api/v5/trade/batch-orders"}
LATENCY_MS = 250


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SimulatedWorld]:
    async with SimulatedWorld(tmp_path, VENUES, symbols=40) as made:
        yield made


def a_mixed_wave(coins: tuple[str, ...] = COINS[:2], *, at_ms: int = 4_000) -> dict[str, Any]:
    """Longs and shorts in turn, every venue its own spelling of the same coins."""
    spellings = {"binance": "{}USDT", "bybit": "{}/USDT:USDT", "okx": "{}-USDT-SWAP"}
    signals = [
        a_signal(
            spellings[venue].format(coin),
            id=f"{venue}-{coin}",
            exchange=venue,
            direction=("LONG", "SHORT")[(n + v) % 2],
            score=90 - n,
        )
        for v, venue in enumerate(VENUES)
        for n, coin in enumerate(coins)
    ]
    return {"at_ms": at_ms, "signals": signals}


def states(report: WaveReport, venue: str) -> list[LegState]:
    return [leg.state for leg in report.legs if leg.signal.instrument.venue == venue]


def reasons(report: WaveReport, venue: str) -> set[Reason | None]:
    legs = [leg for leg in report.legs if leg.signal.instrument.venue == venue]
    return {None if leg.denied is None else leg.denied.reason for leg in legs}


async def test_a_mixed_wave_opens_and_protects_on_every_venue(world: SimulatedWorld) -> None:
    await world.play(a_mixed_wave(COINS))
    async with world.running() as daemon:
        report = await daemon.wave()
        assert {leg.state for leg in report.legs} == {LegState.PROTECTED}
        await asyncio.sleep(5)
        await world.everything_holds()
        for venue in VENUES:
            assert len(await world.held(venue)) == len(COINS)
        assert await world.longest_naked_ms("bybit") == 0
        assert await world.longest_naked_ms("okx") == 0
        assert len(daemon.positions) == len(COINS), "one symbol has three positions"


async def test_over_a_slow_line_stops_that_travel_leave_no_moment_without_one(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path, VENUES, latency_ms=LATENCY_MS) as world:
        await world.play(a_mixed_wave(COINS))
        async with world.running() as daemon:
            report = await daemon.wave()
            assert {leg.state for leg in report.legs} == {LegState.PROTECTED}
            await asyncio.sleep(5)
            await world.everything_holds()
            assert await world.longest_naked_ms("bybit") == 0
            assert await world.longest_naked_ms("okx") == 0
            assert await world.longest_naked_ms("binance") <= 1.5 * LATENCY_MS + 100


@pytest.mark.parametrize("kind", ["partial_fill", "slow_fill"])
async def test_an_entry_filled_in_parts_is_covered_as_soon_as_its_venue_allows(tmp_path: Path, kind: str) -> None:
    """At once where stops belong to positions; where they need an order of their own, after one round trip."""
    async with SimulatedWorld(tmp_path, VENUES, latency_ms=LATENCY_MS) as world:
        await world.play(a_mixed_wave(COINS, at_ms=20_000))
        async with world.running() as daemon:
            for venue in VENUES:
                await world.fault(kind, venue, count=-1, fraction=0.4)
            report = await daemon.wave()
            assert {leg.state for leg in report.legs} == {LegState.PROTECTED}
            await world.forgive()
            await asyncio.sleep(10)
            await world.everything_holds()
            assert await world.longest_naked_ms("bybit") == 0
            for venue in ("binance", "okx"):
                assert 0 < await world.longest_naked_ms(venue) <= 1.5 * LATENCY_MS + 100


async def test_thirty_signals_for_three_venues_take_no_longer_than_six_for_one(tmp_path: Path) -> None:
    async def took_ms(each: dict[str, int]) -> float:
        async with SimulatedWorld(tmp_path / str(sum(each.values())), VENUES, latency_ms=LATENCY_MS) as world:
            wave = [
                a_signal(symbol, id=f"{venue}-{symbol}", exchange=venue)
                for venue, count in each.items()
                for symbol in _tradable(world, venue)[:count]
            ]
            await world.play({"at_ms": 60_000, "signals": wave})
            async with world.running(MAX_POSITIONS=30) as daemon:
                report = await daemon.wave()
                assert {leg.state for leg in report.legs} == {LegState.PROTECTED}
                assert report.stages.protected is not None
                return report.stages.protected

    assert await took_ms(dict.fromkeys(VENUES, 10)) <= await took_ms({"binance": 6})


def _tradable(world: SimulatedWorld, venue: str) -> list[str]:
    """Stocks and metals trade in sessions of their own."""
    rows = world.venues[venue].simulation.engine.instruments()
    return [row.symbol for row in rows if row.quote == "USDT" and row.base not in {"XAU", "XAG", "TSLA"}]


async def test_accounts_in_hedge_mode_open_and_close_on_every_venue(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path, VENUES, position_mode=PositionMode.HEDGE) as world:
        await world.play(a_mixed_wave(COINS))
        async with world.running(CLOSE_POSITIONS_ON_SHUTDOWN="true") as daemon:
            report = await daemon.wave()
            assert {leg.state for leg in report.legs} == {LegState.PROTECTED}
            await asyncio.sleep(5)
            await world.everything_holds()
        assert [await world.held(venue) for venue in VENUES] == [{}] * len(VENUES)
        assert [(await world.ask("state", venue))["orders"] for venue in VENUES] == [[]] * len(VENUES)


async def test_the_historical_wave(world: SimulatedWorld) -> None:
    """Two signals for Binance and one for an empty account at Bybit: both open, the third is told its figures."""
    said = LogLines()
    await world.tell("account", "bybit", asset="USDT", wallet="0")
    signals = [
        a_signal("BTCUSDT", exchange="binance"),
        a_signal("OKBUSDT", exchange="bybit"),
        a_signal("FILUSDT", exchange_id=1),
    ]
    await world.play({"at_ms": 4_000, "signals": signals})
    async with world.running(POSITION_SIZE_USD=200, LEVERAGE=1) as daemon:
        report = await daemon.wave()
        btc, okb, fil = report.legs
        assert (btc.state, fil.state) == (LegState.PROTECTED, LegState.PROTECTED)
        assert okb.denied is not None
        assert okb.denied.reason is Reason.BALANCE_TOO_LOW
        assert okb.denied.detail == "free 0.00 < 200.00 USDT on bybit"
        assert sorted(await world.held("binance")) == ["BTCUSDT", "FILUSDT"]
        assert not await world.sent("order", venue="bybit")
        told = {line["venue"]: line["text"] for line in said.of("wave.prefetched")}
        assert told == {"binance": "prefetched 0 positions", "bybit": "prefetched 0 positions"}


DEAD: dict[str, dict[str, Any]] = {
    "down": {"kind": "http_error", "status": 502, "body": "<html>bad gateway</html>"},
    "hanging": {"kind": "drop_response"},
    "banned": {"kind": "rate_limit"},
    "maintenance": {"kind": "maintenance"},
    "refusing its key": {"kind": "revoke_key"},
}


async def kill_venue(world: SimulatedWorld, venue: str, how: str) -> None:
    fault = dict(DEAD[how])
    await world.fault(str(fault.pop("kind")), venue, count=-1, **fault)
    if how in ("down", "hanging"):
        await world.fault("half_open_stream", venue, count=-1)


TWO_OF_THREE = [
    (VENUES[(number + turn) % 3], how) for number, how in enumerate(DEAD) for turn in range(2)
]  # each way at two venues, each venue in most of the ways; `make waves` plays all of them


@pytest.mark.parametrize(("dead", "how"), TWO_OF_THREE)
async def test_a_venue_that_dies_costs_its_own_signals_and_nothing_else(tmp_path: Path, dead: str, how: str) -> None:
    async with SimulatedWorld(tmp_path, VENUES, latency_ms=LATENCY_MS) as world:
        await world.play(a_mixed_wave(), a_mixed_wave(("XRP", "DOGE"), at_ms=60_000))
        async with world.running() as daemon:
            await daemon.wave()
            alive = [venue for venue in VENUES if venue != dead]
            first = {venue: await _took_ms(world, venue) for venue in alive}
            seen = {venue: len(await world.ask("requests?since=0", venue)) for venue in alive}
            await kill_venue(world, dead, how)
            report = await daemon.wave(2)
            await world.forgive()
            for venue in alive:
                assert states(report, venue) == [LegState.PROTECTED] * 2
                assert await _took_ms(world, venue, seen[venue]) <= first[venue] * 1.1
                await world.venue_holds(venue)
            assert None not in reasons(report, dead), "every refusal is explained"


async def _took_ms(world: SimulatedWorld, venue: str, since: int = 0) -> float:
    """From a wave's first entry at this venue to the answer to the last of its entries, and of the stops that follow
    them where they do not travel along."""
    lanes = ("order", "stop") if venue == "binance" else ("order",)
    rows = [row for row in await world.sent(*lanes, venue=venue) if row["n"] > since]
    return float(max(row["answered"] for row in rows) - min(row["received"] for row in rows))


@pytest.mark.parametrize("how", ["down", "refusing its key"])
@pytest.mark.parametrize("dead", VENUES)
async def test_a_venue_that_is_dead_at_the_start_does_not_keep_the_others_from_trading(
    tmp_path: Path, dead: str, how: str
) -> None:
    async with SimulatedWorld(tmp_path, VENUES) as world:
        await kill_venue(world, dead, how)
        await world.play(a_mixed_wave(at_ms=60_000))
        async with world.running() as daemon:
            report = await daemon.wave()
            for venue in VENUES:
                assert (states(report, venue) == [LegState.PROTECTED] * 2) is (venue != dead)
            assert None not in reasons(report, dead), "every refusal is explained"


async def test_answers_that_are_lost_on_every_venue_double_nothing(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path, VENUES, latency_ms=50) as world:
        await world.play(a_mixed_wave(COINS))
        for venue in VENUES:
            for path in (ORDERS[venue], BATCHES.get(venue)):
                if path is not None:
                    await world.fault("drop_response", venue, match={"method": "POST", "path": path}, count=3)
        async with world.running() as daemon:
            report = await daemon.wave()
            assert {leg.state for leg in report.legs} == {LegState.PROTECTED}
            await asyncio.sleep(30)
            await world.everything_holds()


@pytest.mark.parametrize("moment_ms", [120, 260, 520])
async def test_a_kill_at_any_moment_of_a_mixed_wave(tmp_path: Path, moment_ms: int) -> None:
    async with SimulatedWorld(tmp_path, VENUES, latency_ms=LATENCY_MS) as world:
        await world.play(a_mixed_wave(COINS))
        async with world.running() as first:
            await world.until(lambda: _received(first), seconds=30)
            await asyncio.sleep(moment_ms / 1000)
            left = await first.kill()
        await asyncio.sleep(20)
        async with world.running(left) as second:
            await asyncio.sleep(30)
            await world.everything_holds()
            for venue in VENUES:
                assert len(await world.held(venue)) in range(len(COINS) + 1)
            assert second.orchestrator.outcome.said == "stopped"


async def _received(daemon: Any) -> bool:
    return bool(daemon.orchestrator.queries._orders.state.all_live_orders())


async def test_a_restart_recognises_every_stop_and_sends_nothing(world: SimulatedWorld) -> None:
    await world.play(a_mixed_wave(COINS))
    async with world.running(BREAKEVEN_ACTIVATION_PERCENT=0) as first:
        await first.wave()
        await asyncio.sleep(5)
        before = {venue: await world.sent("order", "stop", "cancel", "amend", venue=venue) for venue in VENUES}
    async with world.running(first.data_dir, BREAKEVEN_ACTIVATION_PERCENT=0) as second:
        await asyncio.sleep(90)
        for venue in VENUES:
            assert await world.sent("order", "stop", "cancel", "amend", venue=venue) == before[venue]
        assert all(row.stop is not None for row in second.status.positions)
        await world.everything_holds()


async def test_a_stop_that_fires_on_any_venue_closes_its_position_and_leaves_nothing(world: SimulatedWorld) -> None:
    await world.play(a_mixed_wave(("BTC",)))
    async with world.running() as daemon:
        await daemon.wave()
        for venue in VENUES:
            (row,) = (await world.ask("state", venue))["positions"]
            far = Decimal(row["entry"]) * (Decimal("0.9") if row["side"] == "long" else Decimal("1.1"))
            await world.tell("price", venue, symbol=row["symbol"], price=str(round(far)), hold_ms=60_000)
        await world.until(_flat(world), seconds=30)
        await asyncio.sleep(5)
        assert not daemon.positions
        await world.everything_holds()


def _flat(world: SimulatedWorld) -> Any:
    async def flat() -> bool:
        states = [await world.ask("state", venue) for venue in VENUES]
        return not any(state["positions"] or state["orders"] for state in states)

    return flat


@pytest.mark.parametrize("venue", VENUES)
async def test_a_stream_that_loses_every_word_costs_seconds_and_no_position(world: SimulatedWorld, venue: str) -> None:
    """Bybit and OKX answer an order with "taken" only; what it filled is then asked for and not waited for."""
    await world.play(a_mixed_wave())
    async with world.running() as daemon:
        for stream in ("private", "business"):
            await world.fault("lose_event", venue, match={"stream": stream}, count=-1, duration_ms=20_000)
        report = await daemon.wave(seconds=10)
        assert states(report, venue) == [LegState.PROTECTED] * 2
        assert await world.longest_naked_ms(venue) < 3_000
        await asyncio.sleep(60)
        await world.everything_holds()


@pytest.mark.parametrize("mode", list(PositionMode), ids=str)
async def test_a_lost_journal_closes_nothing_and_every_position_keeps_a_stop(
    tmp_path: Path, mode: PositionMode
) -> None:
    """Bybit's stop is the position's and carries no name: asked for again at its level the venue changes nothing."""
    async with SimulatedWorld(tmp_path, VENUES, latency_ms=40, position_mode=mode) as world:
        await world.play(a_mixed_wave())
        async with world.running() as daemon:
            await daemon.wave()
            await asyncio.sleep(2)
            await daemon.kill()
        held = {venue: await world.held(venue) for venue in VENUES}
        async with world.running(tmp_path / "empty") as daemon:
            await asyncio.sleep(30)
            assert {venue: await world.held(venue) for venue in VENUES} == held
            assert all(row.stop is not None for row in daemon.status.positions)
            assert len(daemon.status.positions) == sum(map(len, held.values()))
            for venue in VENUES:
                assert not [row for row in await world.ask("protection", venue) if row["naked_now_ms"]]


async def test_a_margin_mode_that_is_never_changed_here_is_said_before_trading_and_in_the_refusal(
    world: SimulatedWorld,
) -> None:
    """Bybit's margin mode is a setting of the whole account; the other venues set theirs per symbol."""
    await world.play(a_mixed_wave())
    async with world.running(MARGIN_MODE="isolated") as daemon:
        report = await daemon.wave()
        warned = {
            p.venue.value: check.what
            for p in daemon.orchestrator.outcome.preflights
            for check in p.checks
            if (check.about, check.grade) == ("margin mode", Grade.WARN)
        }
    assert set(warned) == {"bybit"}
    assert "MARGIN_MODE=keep" in warned["bybit"]
    assert reasons(report, "bybit") == {Reason.LEVERAGE_UNCONFIRMED}
    denied = next(leg.denied for leg in report.legs if leg.denied is not None)
    assert "isolated margin is a setting of the whole account" in denied.detail
    assert states(report, "binance") == states(report, "okx") == [LegState.PROTECTED] * 2


@pytest.mark.parametrize("venue", VENUES)
async def test_a_key_that_may_withdraw_switches_its_venue_off_and_no_other(world: SimulatedWorld, venue: str) -> None:
    await world.tell("account", venue, permissions=["read", "trade", "withdraw"])
    outcome = await world.daemon().orchestrator.check()
    assert {p.venue.value for p in outcome.preflights if p.grade is Grade.OFF} == {venue}


async def test_of_two_signals_for_one_symbol_the_worse_is_told_who_took_it(world: SimulatedWorld) -> None:
    twice = [a_signal("BTC-USDT-SWAP", id=name, exchange="okx", score=score) for name, score in (("a", 90), ("b", 80))]
    await world.play({"at_ms": 4_000, "signals": twice})
    async with world.running() as daemon:
        report = await daemon.wave()
    (denied,) = (leg.denied for leg in report.legs if leg.denied is not None)
    assert denied.reason is Reason.PENDING_ORDER
    assert "a better signal of it, or another wave, has taken okx:BTC/USDT:USDT" in denied.detail
