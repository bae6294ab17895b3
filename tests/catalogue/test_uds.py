"""User-data streams, as docs/FAILURES.md demands it (UDS)."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from core.domain.order import OrderStatus
from core.domain.reports import Report, Source
from core.domain.wave import LegState
from core.venues.binance.user_feed import BinanceUserFeed
from tests.builders import BTC, ETH, NOW_MS, a_balance_report, a_fill, a_position_report, a_status, an_intent, price
from tests.engine.bench import Bench, a_bench
from tests.fakes.virtual_loop import VirtualLoop
from tests.scenarios.worlds import AFTER_CRASHES, PAIRS, SimulatedWorld, a_signal

pytestmark = pytest.mark.may_block("simulation runs storage inline")

S = OrderStatus
FIRST, SECOND = an_intent("first", amount=3), an_intent("second", instrument=ETH, amount=2)


def a_day() -> list[Report]:
    """Two entries, one filled in parts, one cancelled after a part; wallets and positions as they went along, the
    older ones told by REST."""
    reports: list[Report] = []
    for intent, pieces, end in ((FIRST, (1, 2), S.FILLED), (SECOND, (1,), S.CANCELED)):
        mine = f"v-{intent.signal_id}"
        reports.append(a_status(intent, venue_order_id=mine, venue_time_ms=NOW_MS))
        filled = 0
        for number, piece in enumerate(pieces, start=1):
            filled += piece
            at = NOW_MS + 10 * number
            name = f"{intent.signal_id}-{number}"
            told = {"trade_id": name, "amount": piece, "at": 99 + number, "venue_order_id": mine}
            reports.append(a_fill(intent, venue_time_ms=at, **told))  # type: ignore[arg-type]
            status = S.FILLED if filled == intent.quantity else S.PARTIALLY_FILLED
            reports.append(a_status(intent, status, filled=filled, venue_order_id=mine, venue_time_ms=at))
            held = a_position_report(intent.instrument, amount=filled, at=99 + number, venue_time_ms=at)
            reports.append(replace(held, source=Source.STREAM))
        if end is S.CANCELED:
            reports.append(a_status(intent, end, filled=filled, venue_order_id=mine, venue_time_ms=NOW_MS + 50))
        snapshot = a_position_report(intent.instrument, amount=filled, at=99, venue_time_ms=NOW_MS + 60)
        reports.append(replace(snapshot, mark_price=price(101), source=Source.REST))
    reports += [a_balance_report(10_000 - n, venue_time_ms=NOW_MS + n) for n in range(3)]
    return reports


def picture(bench: Bench) -> Any:
    state = bench.state
    orders = [state.order(intent.client_order_id) for intent in (FIRST, SECOND)]
    wallets = {key: (balance.wallet, balance.venue_time_ms) for key, balance in state.balances().items()}
    return orders, sorted(state.positions(), key=lambda p: p.key), sorted(map(repr, state.venue_positions())), wallets


async def told(reports: list[Report]) -> Any:
    async with a_bench() as bench:
        bench.venue.tells = False
        for intent in (FIRST, SECOND):
            bench.venue.script(intent.leg, bench.venue.lose_request)
            await bench.enter(intent)
        for report in reports:
            bench.orders.apply([report])
        return picture(bench)


@pytest.mark.failure("UDS-06")
@settings(max_examples=60)
@given(st.data())
def test_every_permutation_with_duplicates_ends_in_the_same_state(data: st.DataObject) -> None:
    reports = a_day()
    shuffled = data.draw(st.permutations(reports))
    again = data.draw(st.lists(st.sampled_from(reports), max_size=8))
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        expected, got = runner.run(told(reports)), runner.run(told([*shuffled, *again]))
    for have, want in zip(got, expected, strict=True):
        assert have == want
    orders, positions, _, wallets = expected
    assert [(order.status, order.filled) for order in orders] == [(S.FILLED, 3), (S.CANCELED, 1)]
    assert {position.instrument: position.quantity for position in positions} == {BTC: 3, ETH: 1}
    assert [wallet for wallet, _ in wallets.values()] == [9_998]


@pytest.mark.failure("UDS-11")
async def test_nothing_is_lost_or_booked_twice_over_planned_hand_overs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is replaced every 7 seconds, while waves open and stops close over a slow line."""
    monkeypatch.setattr(BinanceUserFeed, "connection_seconds", 7.0)
    rounds = 8
    async with SimulatedWorld(tmp_path, latency_ms=150) as world:
        waves = [
            {"at_ms": 9_800 + 20_150 * n, "signals": [a_signal(pair, id=f"{n}-{pair}") for pair in PAIRS]}
            for n in range(rounds)
        ]
        await world.play(*waves)
        async with world.running(**AFTER_CRASHES) as daemon:
            stream = daemon.orchestrator.queries._streams  # type: ignore[union-attr]
            for number in range(1, rounds + 1):
                report = await daemon.wave(number)
                assert [leg.state for leg in report.legs] == [LegState.PROTECTED] * len(PAIRS)
                for row in (await world.ask("state"))["orders"]:
                    beyond = (Decimal(row["stop_price"]) * Decimal("0.98")).quantize(Decimal("0.0001"))
                    await world.tell("price", symbol=row["symbol"], price=str(beyond))
                await asyncio.sleep(3)
                assert daemon.held() == await world.held() == {}
            (manager,) = stream.values()
            assert not manager.statistics.ended, "no connection ended but by being replaced"  # type: ignore[union-attr]
            assert manager.statistics.hand_overs >= 20  # type: ignore[union-attr]
        await world.everything_holds(several_rounds=True)
        fills = [fill["id"] for fill in (await world.ask("state?all=1"))["fills"]]
    lines = (daemon.data_dir / "audit.log").read_text("utf-8").splitlines()
    booked = [row["data"]["trade_id"] for row in map(json.loads, lines) if row["kind"] == "fill"]
    assert sorted(booked) == sorted(fills)
