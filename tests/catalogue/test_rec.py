"""Reconciliation and restart, as docs/FAILURES.md demands it (REC)."""

import asyncio
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from core.domain.ids import Leg
from core.domain.reports import FillReport
from core.domain.wave import LegState
from core.engine import exit_engine
from core.engine.ports import Level
from core.engine.reconciler import PERIOD_SECONDS
from core.engine.records import StateRecord
from core.errors import JournalUnwritable
from core.venues import VenueAccess, connect_venue
from core.venues.binance.client import BinanceClient
from core.venues.binance.payloads import TradeRow
from tests.builders import BTC, BTC_LONG, an_intent
from tests.engine.bench import BINANCE, a_bench
from tests.fakes.sim_transport import Line
from tests.scenarios.worlds import PAIRS, Daemon, SimulatedWorld, World, a_signal, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")

UNREAD = {"path": "/fapi/v3/positionRisk", "method": "GET"}


async def _protected(world: World, count: int) -> bool:
    held, stops = await world.held(), await world.resting_stops()
    return len(held) == len(stops) == count


# --- REC-01 ---------------------------------------------------------------------------------------------------------


@pytest.mark.failure("REC-01")
@pytest.mark.parametrize(("ttl", "traded"), [(600, True), (5, False)])
async def test_a_signal_that_came_before_reconciliation_waits_within_its_time_or_expires(
    world: World, ttl: int, traded: bool
) -> None:
    made = datetime.fromtimestamp(world.clock.now_ms() / 1000, UTC).isoformat()
    await world.play({"at_ms": 500, "signals": [a_signal(timestamp=made)]})
    await world.fault("http_error", match=UNREAD, status=500, count=-1, duration_ms=20_000.0)
    async with world.running(SIGNAL_TTL_SECONDS=ttl) as daemon:
        report = await daemon.wave()
        read = [r for r in await world.ask("requests?since=0") if r["path"] == UNREAD["path"] and r["status"] == 200]
        entries = await world.sent("order")
        assert all(row["n"] > read[0]["n"] for row in entries)
        assert len(entries) == (1 if traded else 0)
        (leg,) = report.legs
        if traded:
            assert leg.state is LegState.PROTECTED
        else:
            assert leg.denied is not None
            assert leg.denied.reason.value == "expired"


@pytest.mark.failure("REC-01")
async def test_a_venue_that_is_never_read_gets_no_entry(world: World) -> None:
    await world.play({"at_ms": 45_000, "signals": [a_signal()]})
    await world.fault("http_error", match=UNREAD, status=500, count=-1)
    daemon = world.daemon()
    daemon.begin()
    await asyncio.sleep(75)
    (leg,) = daemon.waves[0].legs
    assert leg.denied is not None
    assert leg.denied.reason.value in ("stream_down", "prefetch_failed")
    assert await world.sent("order") == []
    await daemon.stop()


# --- REC-02, REC-03 -------------------------------------------------------------------------------------------------


@pytest.mark.failure("REC-02", "INV-5")
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "empty_rest"},
        {"kind": "http_error", "status": 500},
        {"kind": "http_error", "status": 200, "body": '[{"symbol": "BTCUSDT"'},
        {"kind": "http_error", "status": 200, "body": '[{"symbol": "BTCUSDT"}]'},
        {"kind": "drop_response"},
    ],
    ids=["empty", "failed", "cut off", "partial", "lost"],
)
@pytest.mark.parametrize("path", ["/fapi/v3/positionRisk", "/fapi/v1/openAlgoOrders", "/fapi/v1/openOrders"])
async def test_empty_partial_and_failed_readings_delete_nothing_however_often(
    world: World, path: str, fault: dict[str, Any]
) -> None:
    await world.play(a_wave(PAIRS[:3]))
    async with world.running(BREAKEVEN_ACTIVATION_PERCENT=0) as daemon:
        await daemon.wave()
        held, stops, sent = await world.held(), await world.resting_stops(), await world.sent("order", "stop", "cancel")
        await world.tell("fault", match={"path": path, "method": "GET"}, count=-1, **fault)
        await asyncio.sleep(2.5 * PERIOD_SECONDS)
        assert daemon.held() == await world.held() == held
        assert await world.resting_stops() == stops
        assert await world.sent("order", "stop", "cancel") == sent
        await world.forgive()
        await asyncio.sleep(60)
        assert daemon.held() == held
        assert [row.stop is not None for row in daemon.status.positions] == [True] * 3
        assert daemon.status.venues[0].reconciled_s is not None
        assert daemon.status.venues[0].reconciled_s < 60


@pytest.mark.failure("REC-02", "INV-5")
async def test_a_store_that_cannot_be_opened_ends_the_start(world: World, tmp_path: Path) -> None:
    (tmp_path / "data" / "journal.db").mkdir(parents=True)
    daemon = world.daemon(tmp_path / "data")
    with pytest.raises(JournalUnwritable):
        await daemon.orchestrator.run()
    assert await world.sent("order", "stop", "cancel") == []


@pytest.mark.failure("REC-03")
async def test_a_day_without_a_change_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exit_engine, "LOOK_SECONDS", 60.0)  # a day of looks at one position says nothing new
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle(100)
        durable, posted, audited = len(bench.journal.durable), len(bench.journal.posted), len(bench.audit.records)
        runs = bench.venue.reads.count("mass_status")
        await bench.settle(24 * 3600)
        assert bench.venue.reads.count("mass_status") - runs > 1_700
        assert (len(bench.journal.durable), len(bench.audit.records)) == (durable, audited)
        (new_day,) = bench.journal.posted[posted:]
        assert isinstance(new_day, StateRecord), "the account of the new UTC day, once"
        assert bench.reconciler.discrepancies == {}


# --- REC-05, REC-07 -------------------------------------------------------------------------------------------------


@pytest.mark.failure("REC-05")
@pytest.mark.parametrize("kind", ["phantom", "missing", "size", "side", "order"])
async def test_a_planted_difference_is_found_within_two_minutes_and_every_cycle_says_what_it_compared(
    world: World, kind: str
) -> None:
    assert isinstance(world, SimulatedWorld)
    await world.play(a_wave(PAIRS[:3]))
    async with world.running() as daemon:
        await daemon.wave()
        await world.fault("lose_event", match={"stream": "listenKey"}, count=-1)
        entry = {row["symbol"]: row["entry"] for row in (await world.ask("state"))["positions"]}
        planted = {
            "phantom": {"symbol": "BTCUSDT", "qty": "0"},
            "missing": {"symbol": "ADAUSDT", "qty": "100", "entry": "0.5"},
            "size": {"symbol": "SOLUSDT", "qty": "2", "entry": entry["SOLUSDT"]},
            "side": {"symbol": "SOLUSDT", "qty": "-1", "entry": entry["SOLUSDT"]},
        }
        if kind == "order":
            world.venue.simulation.engine.cancel_all_conditionals("SOLUSDT")
        else:
            await world.tell("account", position=planted[kind])
        differs = await world.held() if kind != "order" else {}
        assert differs != daemon.held()
        with capture_logs() as logs:
            await world.until(lambda: _agree(world, daemon), seconds=120)
        done = [row for row in logs if row["event"] == "reconcile.done"]
        assert done
        assert all({"orders", "positions", "mismatches"} <= row.keys() for row in done)
        found = {row["kind"] for row in logs if row["event"] == "reconcile.discrepancy"}
        if kind == "order":
            assert not found, "the order's own end is told when it is asked for"
        else:
            assert found - {"position_in_doubt"} == {"position"}
            assert ("position_in_doubt" in found) is (kind in ("phantom", "side")), "what takes a stop away must last"


async def _agree(world: World, daemon: Daemon) -> bool:
    held = await world.held()
    stops = {symbol: sum(quantities) for symbol, quantities in (await world.resting_stops()).items()}
    return daemon.held() == held and stops == {symbol: abs(quantity) for symbol, quantity in held.items()}


# --- REC-08, REC-10 -------------------------------------------------------------------------------------------------


@pytest.mark.failure("REC-08")
async def test_a_second_instance_on_the_account_is_noticed_within_a_minute_and_stops_its_entries(world: World) -> None:
    async with world.running() as other_host:  # no signals of its own yet
        await world.play(a_wave(PAIRS[:2], at_ms=6_000), a_wave(PAIRS[2:4], at_ms=80_000))
        with capture_logs() as logs:
            async with world.running() as daemon:
                await daemon.wave()
                await world.until(lambda: _restricted(other_host), seconds=60)
                assert [row for row in logs if row["log_level"] == "critical" and "another instance" in row["text"]]
                await asyncio.sleep(5)
                sent = len(await world.sent("order"))
                await world.until(lambda: _restricted(daemon), seconds=60)  # it sees the other one's stops
                report = await daemon.wave(2)
                assert [leg.denied.reason.value for leg in report.legs if leg.denied] == ["not_active"] * 2
                assert len(await world.sent("order")) == sent


@pytest.mark.failure("REC-08")
async def test_one_signal_on_two_hosts_has_one_client_id(tmp_path: Path) -> None:
    ids = []
    for host in ("a", "b"):
        async with SimulatedWorld(tmp_path / host) as world:
            await world.play(a_wave(PAIRS[:3]))
            async with world.running() as daemon:
                await daemon.wave()
                ids.append([row["client_id"] for row in await world.sent("order")])
    assert ids[0] == ids[1]


async def _restricted(daemon: Daemon) -> bool:
    return daemon.off_because() is not None


@pytest.mark.failure("REC-10")
@pytest.mark.parametrize("backup", ["empty", "before the wave"])
async def test_with_a_journal_that_lacks_the_positions_they_are_adopted_and_the_gap_is_reported(
    world: World, tmp_path: Path, backup: str
) -> None:
    await world.play(a_wave(PAIRS[:3], at_ms=8_000))
    old = tmp_path / "backup"
    async with world.running() as first:
        await asyncio.sleep(1)
        if backup == "empty":
            old.mkdir()
        else:
            shutil.copytree(first.data_dir, old, ignore=lambda _f, names: [n for n in names if n.endswith(".sock")])
        await first.wave()
    held = await world.held()
    with capture_logs() as logs:
        async with world.running(old) as second:
            assert second.held() == await world.held() == held
            assert [row.stop is not None for row in second.status.positions] == [True] * 3
            assert await world.longest_naked_ms() < 1_000
            assert second.off_because(), "whose stops are those?"
            said = [row["text"] for row in logs if row["event"] == "notice"]
            assert len([text for text in said if "figure is taken over" in text]) == 3
            assert any("not in this journal" in text for text in said)


@pytest.mark.failure("REC-10")
async def test_positions_only_an_outdated_journal_knows_are_closed_from_their_fills(
    world: World, tmp_path: Path
) -> None:
    await world.play(a_wave(PAIRS[:2]))
    old = tmp_path / "backup"
    async with world.running() as first:
        await first.wave()
        await asyncio.sleep(1)
        shutil.copytree(first.data_dir, old, ignore=lambda _f, names: [n for n in names if n.endswith(".sock")])
    for row in (await world.ask("state"))["orders"]:
        factor = Decimal("0.98") if row["side"] == "sell" else Decimal("1.02")
        beyond = (Decimal(row["stop_price"]) * factor).quantize(Decimal("0.1"))
        await world.tell("price", symbol=row["symbol"], price=str(beyond))
    assert await world.held() == {}
    async with world.running(old) as second:
        assert second.held() == {}
        state = second.orchestrator.queries._orders.state  # type: ignore[union-attr]
        closed = list(state._closed.values())  # type: ignore[union-attr]
        fills = (await world.ask("state?all=1"))["fills"]
        realized = sum((Decimal(fill["realized"]) for fill in fills), Decimal(0))
        assert len(closed) == 2
        assert abs(sum((position.realized for position in closed), Decimal(0)) - realized) < Decimal("0.0001")
        assert await world.sent("order") == await world.sent("order")
        await world.everything_holds()


# --- REC-11 ---------------------------------------------------------------------------------------------------------

DAY = 24 * 3_600_000


@pytest.mark.failure("REC-11")
@pytest.mark.parametrize("per_day", [3, 200, 2_500])
async def test_trades_of_a_long_outage_are_read_page_by_page_until_complete(
    world: SimulatedWorld, monkeypatch: pytest.MonkeyPatch, per_day: int
) -> None:
    """Windows of seven days, pages of a thousand, several trades in one millisecond."""
    connection = connect_venue(
        VenueAccess(name=BINANCE, key="sim", secret="sim", base_url=world.url),
        clock=world.clock,
        transport=Line(world.venue).transport(),
        sink=_deaf,
        on_connected=_nothing,
    )
    client = connection.client
    assert isinstance(client, BinanceClient)
    await client.open()
    now = world.clock.now_ms()
    since, every = now - 20 * DAY, DAY // per_day
    times = [since + n * every // 3 * 3 for n in range(20 * per_day)]
    trades = [TradeRow("BTCUSDT", n, n, "BUY", "100", "1", "0", "0", "USDT", at, False) for n, at in enumerate(times)]

    async def venue(params: dict[str, str]) -> list[TradeRow]:
        if "fromId" in params:
            return trades[int(params["fromId"]) :][:1_000]
        start, end = int(params["startTime"]), int(params["endTime"])
        assert end - start <= 7 * DAY
        return [row for row in trades if start <= row.time <= end][:1_000]

    monkeypatch.setattr(client, "_trades", venue)
    fills: Sequence[FillReport] = await client.fills(BTC, since)
    assert [fill.trade_id for fill in fills] == [str(row.id) for row in trades]
    await client.close()


@pytest.mark.failure("REC-11")
async def test_a_difference_that_no_trade_explains_is_stated() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle()
        bench.venue.positions_held.clear()
        await bench.reconciler.reconcile(BINANCE)
        await bench.settle(20)
        assert bench.state.position(BTC_LONG) is None
        waits, said = [text for level, text in bench.notifier.messages if level is Level.WARNING]
        assert "the venue tells 0, the book has 1" in waits
        assert "entries wait" in waits
        assert "the venue holds 0, the book 1" in said
        assert [row["kind"] for row in bench.audit.of("discrepancy")] == ["position_in_doubt", "position"]
        assert bench.venue.only(Leg.FLATTEN) == []


async def _deaf(reports: Sequence[Any]) -> None:
    del reports


async def _nothing() -> None: ...
