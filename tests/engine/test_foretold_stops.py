"""A stop that takes the place of another leaves without waiting for a row of its own: the other's row foretells it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from core.domain.ids import Leg, PositionId
from core.domain.money import Quantity
from core.domain.order import OrderIntent
from core.domain.signal import Side
from core.engine.records import IntentRecord
from tests.builders import trailing_rules
from tests.engine.bench import Bench
from tests.engine.test_exit_engine import a_position

SLOW = 0.02
"""Seconds a row takes: less than a stop waits for one."""


def came_first(bench: Bench, intent: OrderIntent) -> str:
    """Whether its row was on disk ("journal") or the order on the wire ("wire") first."""
    return next(who for who, name in bench.diary if name == intent.client_order_id and who != "cancel")


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


@pytest.mark.parametrize(
    "other",
    [
        {"attempt": 2},
        {"attempt": 0},
        {"quantity": Quantity(Decimal(9))},
        {"side": Side.BUY},
        {"position_id": PositionId("another")},
        {"leg": Leg.CLOSE},
        {"reduce_only": False},
    ],
    ids=str,
)
async def test_nothing_else_is_foretold(other: dict[str, Any]) -> None:
    async with a_position() as bench:
        stop = replace(newest_stop(bench), attempt=0)
        following = replace(stop, attempt=1)
        assert following.foretold_by(stop)
        assert not replace(following, **other).foretold_by(stop)


@pytest.mark.failure("ORD-01", "INV-2")
async def test_a_name_that_may_have_left_before_a_restart_is_given_to_no_other_stop() -> None:
    """The order it belongs to may still be on its way: the venue would take one of the two, and nobody knows which."""
    async with a_position(trailing=trailing_rules()) as bench:
        stops, position = bench.protection.stop_orders, bench.position()
        maybe = {intent.client_order_id for intent in stops.unnoted([position], bench.state.orders_of(position.id))}
        bench.journal.seconds = SLOW
        moves = [await moved(bench, price) for price in (103, 106)]
        assert maybe.isdisjoint(intent.client_order_id for intent in moves)
        assert [came_first(bench, intent) for intent in moves] == ["journal", "wire"]
