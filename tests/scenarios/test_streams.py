"""The private stream misbehaves in every way it can: what the venue has is what we have in the end."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.domain.wave import LegState
from tests.scenarios.worlds import PAIRS, Daemon, SimulatedWorld, World, a_signal, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")

PRIVATE = "listenKey"
"""Part of the private socket's path and of no other."""
AN_ORDER = {"path": "/fapi/v1/order", "method": "POST"}


@pytest.mark.parametrize(
    "keys",
    [
        {"kind": "duplicate_event", "count": -1},
        {"kind": "duplicate_event", "count": -1, "delay_ms": 700},
        {"kind": "reorder_events", "count": -1},
        {"kind": "delay_event", "count": -1, "delay_ms": 400},
        {"kind": "delay_event", "count": -1, "delay_ms": 5_000},
        {"kind": "delay_event", "count": -1, "delay_ms": 900, "fraction": 0.5},
        {"kind": "lose_event", "count": -1},
        {"kind": "lose_event", "count": -1, "fraction": 0.5},
        {"kind": "garbage_frame", "count": -1},
        {"kind": "huge_frame", "count": 2},
    ],
    ids=lambda keys: "-".join(str(value) for value in keys.values()),
)
async def test_events_late_lost_doubled_or_turned_round_change_nothing_in_the_end(
    world: World, keys: dict[str, Any]
) -> None:
    await world.play(a_wave(PAIRS[:4]))
    async with world.running() as daemon:
        await world.tell("fault", match={"stream": PRIVATE}, **keys)
        report = await daemon.wave()
        assert [leg.state for leg in report.legs] == [LegState.PROTECTED] * 4
        await asyncio.sleep(6)
        await world.everything_holds()
        assert daemon.held() == await world.held()


async def test_trades_told_twice_are_counted_once(world: World) -> None:
    """Five partial fills, each told again a little later, between the others."""
    await world.play({"at_ms": 4_000, "signals": [a_signal("DOGEUSDT"), a_signal("XRPUSDT", direction="SHORT")]})
    await world.fault("slow_fill", count=-1, fraction=0.2, delay_ms=100)
    async with world.running() as daemon:
        await world.fault("duplicate_event", match={"stream": PRIVATE}, count=-1, delay_ms=130)
        report = await daemon.wave()
        assert [leg.state for leg in report.legs] == [LegState.PROTECTED] * 2
        fills = {f["symbol"]: f["price"] for f in (await world.ask("state?all=1"))["fills"]}
        assert len(fills) == 2
        assert not any("inconsistent" in row["kind"] for row in _audit(daemon.data_dir))
        await world.everything_holds()
        assert daemon.held() == await world.held()


@pytest.mark.failure("POS-01", "INV-11")
@pytest.mark.parametrize("reply", ["first", "between", "last"])
@pytest.mark.parametrize("latency_ms", [0, 80])
async def test_a_fill_told_before_between_or_after_the_replies_ends_alike(
    tmp_path: Path, reply: str, latency_ms: int
) -> None:
    async with SimulatedWorld(tmp_path, latency_ms=latency_ms) as world:
        await world.play(a_wave(PAIRS[:2], at_ms=8_000))
        async with world.running() as daemon:
            if reply == "last":
                await world.fault("event_before_reply", match={"path": "/fapi/v1/*rder"}, count=-1, delay_ms=500)
            else:
                after = 1 if reply == "between" else 0
                for name in ("ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE", "ALGO_UPDATE"):
                    late = {"stream": PRIVATE, "event": name}
                    await world.fault("delay_event", match=late, count=-1, after=after, delay_ms=500)
            report = await daemon.wave()
            await asyncio.sleep(2)
            assert [leg.state for leg in report.legs] == [LegState.PROTECTED] * 2
            assert daemon.held() == await world.held()
            assert len(daemon.held()) == 2
            await world.everything_holds()


@pytest.mark.parametrize("moment_ms", range(3_900, 4_500, 60))
async def test_a_socket_lost_at_any_moment_of_a_wave_leaves_no_position_without_its_stop(
    tmp_path: Path, moment_ms: int
) -> None:
    async with SimulatedWorld(tmp_path, latency_ms=100) as world:
        await world.play(a_wave(PAIRS[:3], at_ms=4_000))
        async with world.running() as daemon:
            started = daemon.status.uptime_s
            await world.fault("disconnect_stream", match={"stream": PRIVATE}, at_ms=moment_ms - started * 1000)
            report = await daemon.wave()
            refused = {leg.denied.reason.value for leg in report.legs if leg.denied}
            assert {leg.state for leg in report.legs} == {LegState.REFUSED if refused else LegState.PROTECTED}
            assert refused == ({"stream_down"} if moment_ms < 4_050 else set()), "until it is collected"
            assert await world.longest_naked_ms() < 1_000
            await world.until(lambda: _live(daemon))
            await world.everything_holds()
            assert daemon.held() == await world.held()


@pytest.mark.failure("UDS-05")
@pytest.mark.parametrize("lost", ["disconnect_stream", "half_open_stream"])
async def test_what_happened_in_a_gap_is_caught_up_with_and_booked_once(world: World, lost: str) -> None:
    """One position closed by its stop, one halved by the venue: while nobody listened."""
    await world.play(a_wave(PAIRS[:3]))
    async with world.running() as daemon:
        await daemon.wave()
        before = await world.held()
        await world.fault(lost, match={"stream": PRIVATE})
        await world.fault("disconnect_stream", match={"stream": PRIVATE}, count=-1, duration_ms=3_000)
        await _fire_the_stop(world, "BTCUSDT")
        await world.fault("adl", match={"symbol": "ETHUSDT"}, fraction=0.5)
        await world.until(lambda: _agree_on(world, daemon, {"ETHUSDT", "SOLUSDT"}), seconds=45)
        assert abs(daemon.held()["ETHUSDT"]) < abs(before["ETHUSDT"])
        await asyncio.sleep(2)
        assert daemon.status.venues[0].connected
        await world.everything_holds()
    fills = [fill for fill in (await world.ask("state?all=1"))["fills"] if fill["symbol"] == "BTCUSDT"]
    booked = [row for row in _audit(daemon.data_dir) if row["kind"] == "fill" and "BTC/" in row["data"]["instrument"]]
    assert sorted(row["data"]["trade_id"] for row in booked) == sorted(fill["id"] for fill in fills)
    assert len(fills) == 2


@pytest.mark.failure("UDS-03")
@pytest.mark.parametrize("how", ["expired while open", "refused at keep-alive"])
async def test_an_expired_key_is_replaced_within_five_seconds(tmp_path: Path, how: str) -> None:
    async with SimulatedWorld(tmp_path, tick_hz=0.1) as world, world.running() as daemon:
        if how == "expired while open":
            await world.fault("listen_key_expired")
            await asyncio.sleep(5)
        else:
            # The venue forgot the key without a word: the keep-alive after 25 minutes is the first to hear of it.
            match = {"path": "/fapi/v1/listenKey", "method": "PUT"}
            await world.fault("http_error", match=match, status=400, code=-1125)
            await asyncio.sleep(25 * 60 + 5 - daemon.status.uptime_s)
        venue = daemon.status.venues[0]
        assert venue.connected
        assert (venue.reconnects, venue.key_swaps) == (1, 1)
        assert venue.reconciled_s is not None
        assert venue.reconciled_s < 6


@pytest.mark.failure("UDS-07")
async def test_half_open_sockets_private_and_public_are_found_and_replaced_within_thirty_seconds(world: World) -> None:
    await world.play(a_wave(PAIRS[:2], at_ms=60_000))
    async with world.running() as daemon:
        await world.fault("half_open_stream", match={}, count=3)
        await asyncio.sleep(31)
        assert daemon.status.venues[0].connected
        assert daemon.status.venues[0].reconnects == 1
        report = await daemon.wave()
        assert [leg.state for leg in report.legs] == [LegState.PROTECTED] * 2
        await world.everything_holds()


@pytest.mark.failure("UDS-12")
async def test_entries_stop_while_the_private_stream_is_down_and_stops_do_not(world: World) -> None:
    waves = [a_wave(PAIRS[:1], at_ms=4_000), a_wave(PAIRS[1:2], at_ms=44_000), a_wave(PAIRS[2:3], at_ms=140_000)]
    await world.play(*waves)
    async with world.running() as daemon:
        await daemon.wave()
        await world.fault("disconnect_stream", match={"stream": PRIVATE}, count=-1)
        second = await daemon.wave(2)
        assert second.legs[0].denied is not None
        assert second.legs[0].denied.reason.value == "stream_down"
        await world.forgive()
        third = await daemon.wave(3, seconds=150)
        assert third.legs[0].state is LegState.PROTECTED
        await world.everything_holds()


async def _live(daemon: Daemon) -> bool:
    return daemon.status.venues[0].connected


async def _agree_on(world: World, daemon: Daemon, symbols: set[str]) -> bool:
    held = await world.held()
    return daemon.held() == held and held.keys() == symbols


async def _fire_the_stop(world: World, symbol: str) -> None:
    (stop,) = [row for row in (await world.ask("state"))["orders"] if row["symbol"] == symbol]
    beyond = Decimal(stop["stop_price"]) * (Decimal("0.98") if stop["side"] == "sell" else Decimal("1.02"))
    await world.tell("price", symbol=symbol, price=str(beyond.quantize(Decimal("0.1"))))


def _audit(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "audit.log").read_text("utf-8").splitlines()]
