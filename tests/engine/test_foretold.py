"""What a row on disk foretells leaves without waiting for a row of its own: the next stop, the first close."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from core.domain.ids import CLOSES_ALL, ClientOrderId, Leg, PositionId
from core.domain.money import Quantity
from core.domain.order import OrderIntent, OrderStatus
from core.domain.profit_steps import ProfitStep
from core.domain.reports import Report
from core.domain.signal import Side
from core.engine.holdings import holdings
from core.engine.records import IntentRecord
from core.engine.taking_back import take_back
from tests.builders import a_fill, a_signal, a_status, trailing_rules
from tests.engine.bench import Bench, a_bench
from tests.engine.test_exit_engine import a_position

EVERYTHING = (ProfitStep(percent=Decimal(1), share=Decimal(100)),)
SLOW = 0.02
"""Seconds a row takes: less than a stop waits for one."""


def came_first(bench: Bench, intent: OrderIntent) -> str:
    """Whether its row was on disk ("journal") or the order on the wire ("wire") first."""
    return next(who for who, name in bench.diary if name == intent.client_order_id and who != "cancel")


@asynccontextmanager
async def an_entry_under_way() -> AsyncIterator[Bench]:
    """Its rows are on disk and it is on the wire."""
    async with a_bench(latency=0.1) as bench:
        wave = asyncio.ensure_future(bench.wave(a_signal("s")))
        await bench.until(lambda: bool(bench.venue.only(Leg.ENTRY)))
        yield bench
        await wave


def newest_stop(bench: Bench) -> OrderIntent:
    return bench.venue.only(Leg.STOP)[-1]


async def moved(bench: Bench, price: int) -> OrderIntent:
    before = len(bench.venue.only(Leg.STOP))
    bench.tick(price)
    await bench.settle(3)
    assert len(bench.venue.only(Leg.STOP)) == before + 1
    return newest_stop(bench)


@pytest.mark.failure("INV-2")
async def test_the_row_of_the_stop_that_is_replaced_tells_side_quantity_and_id_of_the_next() -> None:
    async with a_position(trailing=trailing_rules()) as bench:
        first = newest_stop(bench)
        assert came_first(bench, first) == "journal", "the first stop of a position is on disk before it leaves"
        bench.journal.seconds = SLOW
        second = await moved(bench, 103)
        assert came_first(bench, second) == "wire"
        assert second.foretold_by(first)
        written = [r.intent.client_order_id for r in bench.journal.durable if isinstance(r, IntentRecord)]
        assert second.client_order_id in written, "its own row follows"
        third = await moved(bench, 106)
        assert came_first(bench, third) == "wire"
        assert bench.protection.all_covered()


@pytest.mark.failure("INV-2")
async def test_where_that_row_is_not_known_to_be_on_disk_the_next_waits_for_its_own() -> None:
    async with a_position(trailing=trailing_rules()) as bench:
        bench.journal.broken = True
        second = await moved(bench, 103)
        bench.journal.broken, bench.journal.seconds = False, SLOW
        third = await moved(bench, 106)
        assert second.client_order_id in bench.journal.posted_intents(), "kept for when the disk takes it"
        assert came_first(bench, third) == "journal"
        assert came_first(bench, await moved(bench, 109)) == "wire", "what was written last is known again"


async def test_a_disk_that_hangs_holds_no_move_back() -> None:
    async with a_position(trailing=trailing_rules()) as bench:
        bench.journal.seconds = 3_600.0
        assert came_first(bench, await moved(bench, 103)) == "wire"
        assert bench.protection.all_covered()


@pytest.mark.failure("INV-2")
@pytest.mark.parametrize("leg", CLOSES_ALL)
async def test_the_row_of_its_stop_tells_side_quantity_and_id_of_the_first_close_of_a_position(leg: Leg) -> None:
    async with a_position() as bench:
        bench.journal.seconds = SLOW
        await bench.closer.flatten(bench.position().key, "asked for", leg=leg)
        await bench.settle(SLOW)
        (close,) = bench.venue.only(leg)
        assert came_first(bench, close) == "wire"
        assert close.foretold_by(newest_stop(bench))
        written = [r.intent.client_order_id for r in bench.journal.durable if isinstance(r, IntentRecord)]
        assert close.client_order_id in written, "its own row follows"


async def test_a_close_leaves_in_the_step_of_its_price() -> None:
    async with a_position(steps=EVERYTHING) as bench:
        before = len(bench.venue.sent)
        bench.tick("101.5")
        assert len(bench.venue.sent) == before + 1, "without a turn of the loop, in which something else may come first"
        await bench.settle(1)
        assert not bench.state.positions()


@pytest.mark.failure("INV-2")
async def test_a_close_repeated_waits_for_its_row() -> None:
    async with a_position() as bench:
        bench.journal.seconds = SLOW
        bench.venue.script(Leg.FLATTEN, bench.venue.reject())
        await bench.closer.flatten(bench.position().key, "asked for")
        first, second = bench.venue.only(Leg.FLATTEN)
        assert [came_first(bench, close) for close in (first, second)] == ["wire", "journal"]


@pytest.mark.failure("INV-2")
async def test_where_no_row_of_a_stop_is_known_to_be_on_disk_a_close_waits_for_its_own() -> None:
    async with an_entry_under_way() as bench:
        bench.journal.broken = True
        await bench.settle(1)
        assert bench.protection.all_covered()
        bench.journal.broken, bench.journal.seconds = False, SLOW
        await bench.closer.flatten(bench.position().key, "asked for")
        (close,) = bench.venue.only(Leg.FLATTEN)
        assert came_first(bench, close) == "journal"


@pytest.mark.failure("INV-2")
async def test_a_stop_whose_row_is_being_written_foretells_nothing_yet() -> None:
    async with an_entry_under_way() as bench:
        bench.journal.seconds = SLOW
        while not bench.state.positions():  # noqa: ASYNC110 - more often than `until` looks
            await asyncio.sleep(SLOW / 10)
        assert not bench.venue.only(Leg.STOP), "its row is under way"
        await bench.closer.flatten(bench.position().key, "asked for")
        (close,) = bench.venue.only(Leg.FLATTEN)
        assert came_first(bench, close) == "journal"


@pytest.mark.failure("ORD-01", "INV-2")
@pytest.mark.parametrize("leg", CLOSES_ALL)
async def test_a_name_that_a_close_may_have_left_by_before_a_restart_is_given_to_no_other(leg: Leg) -> None:
    async with a_position() as bench:
        position = bench.position()
        maybe = {
            i.client_order_id for i in bench.closer.unnoted(holdings([position], bench.state.orders_of(position.id)))
        }
        bench.journal.seconds = SLOW
        await bench.closer.flatten(position.key, "asked for", leg=leg)
        (close,) = bench.venue.only(leg)
        assert close.client_order_id not in maybe
        assert came_first(bench, close) == "journal", "its number does not follow from what is on disk"


@pytest.mark.failure("UDS-06", "INV-2")
@pytest.mark.parametrize("trade_first", [True, False])
async def test_a_close_an_earlier_run_did_not_write_down_is_ours_in_whatever_order_it_is_told(
    *, trade_first: bool
) -> None:
    """A venue tells trades and orders on topics of their own."""
    async with a_position() as bench:
        position = bench.position()
        orders = bench.state.orders_of(position.id)
        unnoted = bench.closer.unnoted(holdings([position], orders))
        bench.orders.restore(orders, [position], unnoted=unnoted)
        close = unnoted[0]
        told: list[Report] = [
            a_fill(close, venue_order_id="v9"),
            a_status(close, OrderStatus.FILLED, filled=1, venue_order_id="v9"),
        ]
        for report in told if trade_first else reversed(told):
            await bench.orders.take([report])
        await bench.settle(1)
        assert not bench.state.positions()
        assert bench.orders.counts["unknown_own_report"] == 0
        kept = bench.state.order(close.client_order_id)
        assert kept is not None
        assert (kept.status, kept.filled) == (OrderStatus.FILLED, position.quantity)
        assert close.client_order_id in bench.journal.posted_intents(), "and written down now"


@pytest.mark.failure("UDS-06")
async def test_a_close_that_was_booked_before_the_restart_is_not_taken_for_one_that_nobody_noted() -> None:
    """Of a position whose entry goes on after it was closed the orders are not loaded; a venue tells things twice."""
    async with a_position() as bench:
        position = bench.position()
        orders = bench.state.orders_of(position.id)
        close = bench.closer.unnoted(holdings([position], []))[0]
        bench.orders.restore(orders, [position], [close.client_order_id], [close])
        trade = a_fill(close, venue_order_id="v9", venue_time_ms=position.opened_ms - 1_000)
        await bench.orders.take([trade, a_status(close, OrderStatus.FILLED, filled=1)])
        await bench.settle(1)
        assert bench.position().quantity == position.quantity
        assert bench.orders.counts["unknown_own_report"] == 0


@pytest.mark.failure("INV-2")
async def test_what_is_told_of_such_a_close_in_part_only_is_asked_for() -> None:
    """Where the word of its end was lost with the earlier run, nobody else would."""
    async with a_position() as bench:
        position = bench.position()
        orders = bench.state.orders_of(position.id)
        close = bench.closer.unnoted(holdings([position], orders))[0]
        bench.orders.restore(orders, [position], unnoted=[close])
        await bench.orders.take([a_fill(close, amount=position.quantity / 2, venue_order_id="v9")])
        await bench.settle(1)
        assert close.client_order_id in [name for _, name in bench.venue.asked]


@pytest.mark.failure("INV-2")
async def test_an_earlier_run_may_have_known_of_more_than_it_wrote_down() -> None:
    """An entry that is filled in several trades, of which the row of the first alone was kept."""
    async with a_position() as bench:
        whole = bench.position()
        orders = bench.state.orders_of(whole.id)
        part = replace(whole, quantity=Quantity(whole.quantity / 2))
        (held,) = holdings([part], orders)
        assert held.quantity == whole.quantity
        (entry,) = [order for order in orders if order.intent.leg is Leg.ENTRY]
        live = replace(entry, status=OrderStatus.PARTIALLY_FILLED)
        (maybe,) = holdings([], [live])
        assert (maybe.id, maybe.side, maybe.quantity) == (whole.id, whole.side, whole.quantity)
        assert holdings([], [entry]) == [], "it has ended, and what it opened is known"


@pytest.mark.parametrize(
    ("named", "asked"),
    [
        ("the close", 1),
        ("", 8),
        ("somebody-else", 8),
        ("bw" + "z" * 30, 0),
    ],
)
async def test_by_a_trade_that_nobody_knows_its_order_is_found(named: str, asked: int) -> None:
    """By whose it is; what a fired stop becomes may have a name of its own, then the stops are asked for by theirs."""
    async with a_position() as bench:
        position = bench.position()
        orders = bench.state.orders_of(position.id)
        held = holdings([position], orders)
        closes = bench.closer.unnoted(held)
        bench.orders.restore(orders, [position], unnoted=[*bench.protection.stop_orders.unnoted(held), *closes])
        trade = a_fill(closes[0], client_id="", venue_order_id="v9")
        if named:
            owner = closes[0].client_order_id if named == "the close" else ClientOrderId(named)
            bench.venue.foreign_orders[trade.venue_order_id] = owner
        before = len(bench.venue.asked)
        await take_back(bench.orders, bench.venue, position, [trade])
        assert len(bench.venue.asked) - before == asked


@pytest.mark.parametrize(
    "other",
    [
        {"attempt": 2},
        {"attempt": 0},
        {"quantity": Quantity(Decimal(9))},
        {"side": Side.BUY},
        {"position_id": PositionId("another")},
        {"leg": Leg.CLOSE},
        {"leg": Leg.TAKE_PROFIT, "attempt": 0},
        {"leg": Leg.TRAIL},
        {"leg": Leg.ENTRY, "attempt": 0},
        {"reduce_only": False},
    ],
    ids=str,
)
async def test_nothing_else_is_foretold(other: dict[str, Any]) -> None:
    async with a_position() as bench:
        stop = replace(newest_stop(bench), attempt=0)
        following, close = replace(stop, attempt=1), replace(stop, leg=Leg.CLOSE)
        assert following.foretold_by(stop)
        assert close.foretold_by(stop)
        assert not close.foretold_by(close), "only stops foretell"
        assert not replace(following, **other).foretold_by(stop)


@pytest.mark.failure("ORD-01", "INV-2")
async def test_a_name_that_may_have_left_before_a_restart_is_given_to_no_other_stop() -> None:
    """The order it belongs to may still be on its way: the venue would take one of the two, and nobody knows which."""
    async with a_position(trailing=trailing_rules()) as bench:
        stops, position = bench.protection.stop_orders, bench.position()
        maybe = {
            intent.client_order_id for intent in stops.unnoted(holdings([position], bench.state.orders_of(position.id)))
        }
        bench.journal.seconds = SLOW
        moves = [await moved(bench, price) for price in (103, 106)]
        assert maybe.isdisjoint(intent.client_order_id for intent in moves)
        assert [came_first(bench, intent) for intent in moves] == ["journal", "wire"]
