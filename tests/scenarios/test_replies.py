"""Answers that lack what one would like to rely on, and what must follow from the venue's word alone."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.domain.wave import LegState
from tests.scenarios.worlds import PAIRS, Daemon, SimulatedWorld, World, a_signal, a_wave
from tools.venuesim.exchange.model import PositionMode

pytestmark = pytest.mark.may_block("simulation runs storage inline")

ORDERS = ("POST /fapi/v1/order", "POST /fapi/v1/algoOrder")
REPLY_FIELDS = (
    "orderId", "algoId", "symbol", "status", "algoStatus", "clientOrderId", "clientAlgoId", "origQty", "executedQty",
    "avgPrice", "side", "positionSide", "reduceOnly", "closePosition", "stopPrice", "triggerPrice", "quantity",
    "updateTime", "actualOrderId", "price", "type", "cumQuote",
)  # fmt: skip


@pytest.mark.failure("ORD-05")
@pytest.mark.parametrize("kind", ["absent", "null", "empty"])
@pytest.mark.parametrize("field", REPLY_FIELDS)
async def test_no_field_missing_from_a_reply_costs_a_position(world: World, field: str, kind: str) -> None:
    """Nor is one bought twice: what the reply does not say, the stream or a question does."""
    await world.play(a_wave(PAIRS[:2]))
    async with world.running() as daemon:

        def without(asked: str, document: Any) -> Any:
            if asked not in ORDERS or not isinstance(document, dict) or field not in document:
                return document
            rest = {key: value for key, value in document.items() if key != field}
            return rest if kind == "absent" else rest | {field: None if kind == "null" else ""}

        daemon.tamper(without)
        report = await daemon.wave()
        assert [leg.state for leg in report.legs] == [LegState.PROTECTED] * 2
        await world.everything_holds()
        assert daemon.held() == await world.held()


@pytest.mark.failure("ORD-06", "INV-2", "INV-3")
async def test_with_the_side_missing_from_every_reply_a_flattened_position_ends_flat(world: World) -> None:
    await world.play(a_wave(PAIRS[:2]))
    await world.fault("reject_stop", code=-2010, count=-1)
    async with world.running() as daemon:
        daemon.tamper(lambda _asked, document: _without(document, "side"))
        await world.until(lambda: _entered(world, 2))
        await world.until(lambda: _holds(world, 0), seconds=30)
        closes = [
            row for row in (await world.ask("state?all=1"))["orders"] if row["reduce_only"] and row["type"] == "market"
        ]
        assert sorted((row["symbol"], row["side"]) for row in closes) == [("BTCUSDT", "sell"), ("ETHUSDT", "buy")]


@pytest.mark.failure("ORD-10")
@pytest.mark.parametrize("told", ["0", "0.00000", None])
async def test_an_entry_price_comes_from_trades_never_from_the_signal(world: World, told: str | None) -> None:
    """The reply has average 0 and the stream is silent: the trades are asked for."""
    await world.play(a_wave(PAIRS[:2]))
    async with world.running() as daemon:
        await world.fault("lose_event", match={"event": "ORDER_TRADE_UPDATE"}, count=-1)
        daemon.tamper(lambda _asked, document: _with(document, "avgPrice", told))
        await daemon.wave()
        fills = {fill["symbol"]: Decimal(fill["price"]) for fill in (await world.ask("state?all=1"))["fills"]}
        names = daemon.orchestrator.symbols
        assert {names[str(row.instrument)]: row.entry_price for row in daemon.status.positions} == fills
        await world.everything_holds()


@pytest.mark.failure("ORD-09", "INV-4")
async def test_a_position_is_open_until_fills_or_the_venue_say_it_is_not(world: World) -> None:
    """Its closing order is accepted at once and filled in five parts over two seconds."""
    await world.play({"at_ms": 4_000, "signals": [a_signal("DOGEUSDT")]})
    await world.fault("reject_stop", code=-2010, count=-1)
    await world.fault("slow_fill", after=1, fraction=0.2, delay_ms=500)
    async with world.running() as daemon:
        await world.until(lambda: _sent(world, 2))
        seen: list[tuple[dict[str, Decimal], dict[str, Decimal]]] = []
        while await world.held():
            seen.append((daemon.held(), await world.held()))
            await asyncio.sleep(0.1)
        assert len(seen) > 15
        assert all(ours for ours, _ in seen), "never closed while the venue still held something"
        await asyncio.sleep(0.1)
        assert daemon.held() == {}


@pytest.mark.failure("ORD-03")
@pytest.mark.parametrize("path", ["order", "algoOrder"])
async def test_a_duplicate_id_means_that_the_first_arrived(world: World, path: str) -> None:
    """A gateway repeated our request: the first was executed, and we get the refusal of the second."""
    await world.play(a_wave(PAIRS[:2]))
    match = {"path": f"/fapi/v1/{path}", "method": "POST"}
    await world.fault("http_error", match=match, status=400, code=-4116, phase="after", count=-1)
    async with world.running() as daemon:
        report = await daemon.wave()
        assert [leg.state for leg in report.legs] == [LegState.PROTECTED] * 2
        await world.everything_holds()


@pytest.mark.failure("ORD-03")
@pytest.mark.parametrize("fault", ["drop_response", "drop_request"])
async def test_an_entry_is_never_sent_again_however_late_the_truth_comes(world: World, fault: str) -> None:
    """A 502 after 4.4 s, and a venue whose look-up denies the order at first: ids are unique among open orders only."""
    await world.play(a_wave(PAIRS[:1]))
    await world.fault(fault, match={"path": "/fapi/v1/order", "method": "POST"}, delay_ms=4_400)
    await world.fault("http_error", match={"path": "/fapi/v1/order", "method": "GET"}, status=400, code=-2013, count=2)
    await world.fault("delay_event", match={"event": "ORDER_TRADE_UPDATE"}, delay_ms=9_000, count=2)
    async with world.running() as daemon:
        await daemon.wave()
        await asyncio.sleep(30)
        assert len(await world.held()) == (1 if fault == "drop_response" else 0)
        assert len([row for row in await world.sent("order") if row["method"] == "POST"]) == 1
        await world.everything_holds()


@pytest.mark.failure("REC-01")
async def test_no_entry_leaves_before_everything_is_reconciled(world: World) -> None:
    """At a restart the venue does not answer for a while; the signals of that time wait and meet the positions."""
    await world.play(a_wave(PAIRS[:2], at_ms=4_000), {"at_ms": 12_000, "signals": [a_signal("BTCUSDT", id="late")]})
    async with world.running() as first:
        await first.wave()
    sent = await world.sent("order")
    await world.fault("http_error", match={"path": "/fapi/v3/positionRisk"}, status=502, count=-1, duration_ms=15_000)
    second = world.daemon(first.data_dir)
    second.begin()
    await asyncio.sleep(14)
    assert await world.sent("order") == sent
    await second.ready()
    report = await second.wave()
    (late,) = [leg for leg in report.legs if leg.signal.id == "late"]
    assert late.denied is not None
    assert late.denied.reason.value == "duplicate_position"
    await world.everything_holds()
    await second.stop()


@pytest.mark.failure("UDS-01")
async def test_a_change_told_on_the_stream_moves_position_and_stop_within_a_second_without_asking(world: World) -> None:
    await world.play({"at_ms": 4_000, "signals": [a_signal("DOGEUSDT")]})
    async with world.running() as daemon:
        await daemon.wave()
        before = daemon.held()["DOGEUSDT"]
        asked = len(await world.ask("requests?since=0"))
        await world.fault("adl", match={"symbol": "DOGEUSDT"}, fraction=0.5)
        await world.until(lambda: _covered(world, daemon), seconds=1)
        assert 0 < daemon.held()["DOGEUSDT"] < before
        methods = {row["method"] for row in (await world.ask("requests?since=0"))[asked:]}
        assert "GET" not in methods
        await asyncio.sleep(1)
        await world.everything_holds()


@pytest.mark.failure("STP-11")
async def test_a_wick_of_the_last_price_fires_nothing_while_the_mark_stands_still(world: World) -> None:
    await world.play(a_wave(PAIRS[:2]))
    async with world.running() as daemon:
        await daemon.wave()
        held = await world.held()
        assert isinstance(world, SimulatedWorld)
        for symbol, factor in (("BTCUSDT", "0.9"), ("ETHUSDT", "1.1")):
            mark = world.venue.simulation.engine.quote(symbol).mark
            wick = (mark * Decimal(factor)).quantize(Decimal("0.1"))
            await world.tell("price", symbol=symbol, price=str(wick), mark=str(mark), hold_ms=2_000)
        assert await world.held() == held
        await world.everything_holds()


async def test_hedge_mode_is_traded_with_sides_instead_of_marks(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path, position_mode=PositionMode.HEDGE) as world:
        await world.play(a_wave())
        async with world.running() as daemon:
            report = await daemon.wave()
            assert [leg.state for leg in report.legs] == [LegState.PROTECTED] * len(PAIRS)
            await world.everything_holds()
            (stop,) = [row for row in (await world.ask("state"))["orders"] if row["symbol"] == "BTCUSDT"]
            await world.tell("price", symbol="BTCUSDT", price=str(int(Decimal(stop["stop_price"])) - 500))
            await world.until(lambda: _holds(world, len(PAIRS) - 1))
            await asyncio.sleep(0.2)
            assert daemon.held() == await world.held()
            await world.everything_holds()
        async with world.running(daemon.data_dir) as second:
            assert second.held() == await world.held()
            await world.everything_holds()


def _without(document: Any, field: str) -> Any:
    if isinstance(document, list):
        return [_without(row, field) for row in document]
    if isinstance(document, dict):
        return {key: _without(value, field) for key, value in document.items() if key != field}
    return document


def _with(document: Any, field: str, value: Any) -> Any:
    return document | {field: value} if isinstance(document, dict) and field in document else document


async def _holds(world: World, count: int) -> bool:
    return len(await world.held()) == count


async def _entered(world: World, count: int) -> bool:
    rows = (await world.ask("state?all=1"))["orders"]
    return sum(not row["reduce_only"] for row in rows) == count


async def _sent(world: World, count: int) -> bool:
    return len(await world.sent("order")) == count


async def _covered(world: World, daemon: Daemon) -> bool:
    stops, held = await world.resting_stops(), await world.held()
    return daemon.held() == held and stops == {symbol: [abs(quantity)] for symbol, quantity in held.items()}
