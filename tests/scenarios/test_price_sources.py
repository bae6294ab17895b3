"""The whole daemon while its prices fail: dead, late or half-fed public streams, and requests that hang.

Levels change as stated, nothing hangs, stops stay, and everything returns to the stream by itself.
"""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.domain.ids import VenueName
from core.domain.order import TriggerReference
from core.domain.prices import PriceSource
from core.domain.risk import TradingState
from core.domain.wave import LegState
from core.engine.data_registry import DataRegistry
from tests.scenarios.log_lines import LogLines
from tests.scenarios.worlds import PAIRS, Daemon, SimulatedWorld, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")

PUBLIC: Mapping[str, tuple[str, ...]] = {
    "binance": ("/market/ws", "/public/ws"),
    "bybit": ("/v5/public/linear",),
    "okx": ("/ws/v5/public",),
}
TICKERS = {"binance": "*premiumIndex*", "bybit": "*market/tickers*", "okx": "*market/tickers*"}
CALM: dict[str, Any] = {"BREAKEVEN_ACTIVATION_PERCENT": 0, "TRAILING_MODE": "off", "CRITICAL_LOSS_PERCENT": 0}
"""No exit of ours interferes."""


def a_wave_at(venue: str, count: int = 2, *, at_ms: int = 4_000) -> dict[str, Any]:
    told = a_wave(PAIRS[:count], at_ms=at_ms)
    for signal in told["signals"]:
        signal["exchange"] = venue
    return told


def registry(daemon: Daemon) -> DataRegistry:
    assert daemon.orchestrator.queries is not None
    return daemon.orchestrator.queries._data


async def break_streams(world: SimulatedWorld, kind: str, **keys: Any) -> None:
    for stream in PUBLIC[world.names[0]]:
        await world.fault(kind, match={"stream": stream, **keys.pop("match", {})}, count=-1, **keys)


def transitions(said: LogLines, coin: str = "BTC") -> list[tuple[str, str]]:
    name = f"price source {coin}/USDT:USDT "
    lines = [line for line in said.lines if str(line["event"]).startswith(name)]
    assert all(str(line["event"]).startswith(f"{name}{line['from']} -> {line['to']}") for line in lines)
    return [(line["from"], line["to"]) for line in lines]


async def back_on_stream(daemon: Daemon, count: int) -> bool:
    return dict(daemon.status.prices) == {"websocket": count}


@pytest.mark.failure("STP-04", "INV-6")
@pytest.mark.parametrize("venue", PUBLIC)
async def test_a_dead_public_stream_is_replaced_by_requests_until_it_is_back(tmp_path: Path, venue: str) -> None:
    said = LogLines()
    async with SimulatedWorld(tmp_path, (venue,)) as world:
        await world.play(a_wave_at(venue))
        async with world.running(**CALM) as daemon:
            await daemon.wave()
            await asyncio.sleep(5)
            assert dict(daemon.status.prices) == {"websocket": 2}
            assert transitions(said) == [], "a stream that lives is no news"
            asked = registry(daemon).counts["ticker_requests"]
            await break_streams(world, "disconnect_stream")
            await asyncio.sleep(30)
            assert sum(daemon.status.prices.values()) == 2
            assert "websocket" not in daemon.status.prices
            assert registry(daemon).counts["ticker_requests"] - asked <= 16, "shared, one every two seconds"
            engine, pair = world.venue.simulation.engine, "BTC-USDT-SWAP" if venue == "okx" else "BTCUSDT"
            now = engine.quote(pair).mark
            (instrument,) = [row.instrument for row in daemon.status.positions if row.instrument.symbol[:3] == "BTC"]
            mark = registry(daemon).reference(instrument, TriggerReference.MARK_PRICE)
            assert mark is not None
            assert abs(mark - now) / now < Decimal("0.01"), "the stop's reference is the venue's, not an old one"
            await world.forgive()
            await world.until(lambda: back_on_stream(daemon, 2), seconds=90)
            assert registry(daemon).counts["rogue_ticks"] == 0
            steps = transitions(said)
            assert steps[0][0] == steps[-1][1] == "websocket"
            assert {word for step in steps for word in step} <= {"websocket", "candle", "rest", "none"}
            await world.everything_holds()
    counts = daemon.status.price_counts
    assert sum(counts.get(f"{level}->websocket", 0) for level in ("candle", "rest", "none")) >= 2, "both, once each"


async def test_a_stream_five_seconds_late_is_no_live_stream(tmp_path: Path) -> None:
    said = LogLines()
    async with SimulatedWorld(tmp_path) as world:
        await world.play(a_wave_at("binance"))
        async with world.running(**CALM) as daemon:
            await daemon.wave()
            await asyncio.sleep(5)
            await break_streams(world, "delay_event", delay_ms=6_000)
            await asyncio.sleep(20)
            assert daemon.status.prices.get("rest") == 2, "though a frame comes every second"
            await world.forgive()
            await asyncio.sleep(10)
            assert dict(daemon.status.prices) == {"websocket": 2}
            assert transitions(said)[-1] == ("rest", "websocket")
            await world.everything_holds()


async def test_on_a_network_that_takes_five_seconds_and_loses_a_third_nothing_hangs_and_all_returns(
    tmp_path: Path,
) -> None:
    """Streams stutter, requests take five seconds or never come: what is held keeps its stop and its watch."""
    said = LogLines()
    async with SimulatedWorld(tmp_path) as world:
        await world.play(a_wave_at("binance", 3))
        async with world.running(**CALM) as daemon:
            await daemon.wave()
            await asyncio.sleep(5)
            await world.fault("latency", match={"method": "GET"}, count=-1, delay_ms=5_000)
            await world.fault("drop_request", match={"method": "GET"}, count=-1, fraction=0.3)
            await break_streams(world, "lose_event", fraction=0.3)
            seen: set[str] = set()
            for _ in range(120):
                before = asyncio.get_running_loop().time()
                seen |= daemon.status.prices.keys()
                assert len(daemon.status.positions) == 3
                await asyncio.sleep(1)
                assert asyncio.get_running_loop().time() - before == pytest.approx(1, abs=0.001), "no step waits"
            assert "websocket" in seen, "two of three frames still come"
            assert registry(daemon).counts["failed_tickers"] == registry(daemon).counts["ticker_requests"]
            await break_streams(world, "lose_event")
            await asyncio.sleep(60)
            assert "websocket" not in daemon.status.prices
            await world.everything_holds()
            await world.forgive()
            await asyncio.sleep(30)
            assert dict(daemon.status.prices) == {"websocket": 3}
    assert ("candle", "websocket") in transitions(said) or ("none", "websocket") in transitions(said)


@pytest.mark.failure("MKT-05")
@pytest.mark.parametrize("venue", ["bybit", "okx"])
async def test_where_one_symbol_alone_is_fed_the_others_are_asked_for_and_the_socket_stays(
    tmp_path: Path, venue: str
) -> None:
    said = LogLines()
    fed, starved = ("BTC", "ETH")
    name = {"bybit": "ETHUSDT", "okx": "ETH-USDT-SWAP"}[venue]
    async with SimulatedWorld(tmp_path, (venue,)) as world:
        await world.play(a_wave_at(venue))
        async with world.running(**CALM) as daemon:
            await daemon.wave()
            await asyncio.sleep(5)
            down = len(said.of("market.down"))
            fault = await world.fault(
                "lose_event", match={"stream": PUBLIC[venue][0], "symbol": name}, count=-1, duration_ms=150_000
            )
            assert fault
            await asyncio.sleep(140)
            assert dict(daemon.status.prices) == {"websocket": 1, "rest": 1}
            assert transitions(said, fed) == []
            assert transitions(said, starved)[-1][1] == "rest"
            assert registry(daemon).counts["resubscribed"] >= 3
            alerts = [text for text in said.notices if "no live price for 120 s" in text]
            assert len(alerts) == 1
            assert "ETH/USDT:USDT" in alerts[0]
            assert len(said.of("market.down")) == down, "the socket is not reset for one symbol"
            await world.until(lambda: back_on_stream(daemon, 2), seconds=120)
            await world.everything_holds()


@pytest.mark.failure("MKT-04")
async def test_at_the_start_each_position_has_a_live_price_before_trading_begins(tmp_path: Path) -> None:
    for venue in PUBLIC:
        async with SimulatedWorld(tmp_path / venue, (venue,)) as world:
            (tmp_path / venue).mkdir()
            await world.play(a_wave_at(venue, 3))
            async with world.running(**CALM) as daemon:
                await daemon.wave()
                left = await daemon.kill()
            seen: list[Mapping[str, int]] = []
            again = world.daemon(left, **CALM)
            again.begin()
            while not seen:
                await asyncio.sleep(0.005)
                queries = again.orchestrator.queries
                if queries is not None and again.status.trading_state == TradingState.ACTIVE:
                    seen.append({k: v for k, v in again.status.prices.items() if v})
                    instruments = [row.instrument for row in again.status.positions]
                    assert len(instruments) == 3
                    for instrument in instruments:
                        view = registry(again).exit_view(instrument)
                        assert view is not None
                        assert view[0].source is PriceSource.WEBSOCKET
            await again.stop()


@pytest.mark.failure("MKT-04")
async def test_a_position_without_any_price_at_the_start_keeps_entries_off_its_venue(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path, ("bybit",)) as world:
        await world.play(a_wave_at("bybit", 1), a_wave_at("bybit", 2, at_ms=80_000))
        async with world.running(**CALM) as daemon:
            await daemon.wave()
            left = await daemon.kill()
        lost = {"stream": PUBLIC["bybit"][0], "symbol": "BTCUSDT"}
        await world.fault("lose_event", match=lost, count=-1, duration_ms=60_000)
        await world.fault("http_error", match={"path": TICKERS["bybit"]}, count=-1, status=500, duration_ms=40_000)
        async with world.running(left, **CALM) as again:
            why = again.off_because("bybit")
            assert why is not None
            assert "no price of BTC/USDT:USDT since the start" in why
            await asyncio.sleep(60)
            assert again.off_because("bybit") is None, "the ticker tells its price"


@pytest.mark.failure("MKT-07")
@pytest.mark.parametrize("venue", PUBLIC)
async def test_a_tick_at_the_socket_reaches_exits_and_entries(tmp_path: Path, venue: str) -> None:
    """Acceptance: from the venue's frame to the registry's listeners, to the exit engine's count and to an entry."""
    async with SimulatedWorld(tmp_path, (venue,)) as world:
        await world.play(a_wave_at(venue, 1), a_wave_at(venue, 2, at_ms=15_000))
        async with world.running(**CALM) as daemon:
            report = await daemon.wave()
            assert [leg.state for leg in report.legs] == [LegState.PROTECTED], "the entry had a live price"
            told: list[str] = []
            registry(daemon).on_tick(lambda instrument: told.append(instrument.symbol))
            assert daemon.status.exits is not None
            before = daemon.status.exits.analyses
            await asyncio.sleep(5)
            assert set(told) == {"BTC/USDT:USDT"}
            assert len(told) >= 3
            assert daemon.status.exits.analyses - before >= len(told)


@pytest.mark.parametrize("venue", PUBLIC)
async def test_exits_can_go_by_the_last_trade_on_every_venue(tmp_path: Path, venue: str) -> None:
    async with SimulatedWorld(tmp_path, (venue,)) as world:
        await world.play(a_wave_at(venue, 1))
        async with world.running(**CALM, EXIT_PRICE="trades") as daemon:
            await daemon.wave()
            await asyncio.sleep(5)
            (instrument,) = [row.instrument for row in daemon.status.positions]
            assert instrument.venue is VenueName(venue)
            view = registry(daemon).exit_view(instrument)
            assert view is not None
            assert (view[0].source, view[0].last is not None) == (PriceSource.WEBSOCKET, True)
