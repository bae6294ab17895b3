"""An entry that goes on after its position was closed: the position is open again, and no result is lost or doubled."""

from decimal import Decimal

import pytest

from core.domain.ids import Leg
from core.domain.reports import FillReport
from core.domain.signal import Side
from tests.builders import BTC, NOW_MS, a_fill, an_intent, an_order
from tests.engine.bench import Bench, a_bench

ENTRY = an_intent(amount=3)
CLOSES = [an_intent(leg=Leg.CLOSE, side=Side.SELL, attempt=number, amount=1) for number in (1, 2)]
HISTORY = [
    a_fill(ENTRY, trade_id="1", amount=1, at=100, fee=1),
    a_fill(CLOSES[0], trade_id="2", venue_order_id="v2", at=90, fee=1),
    a_fill(ENTRY, trade_id="3", amount=1, at=80, fee=1, venue_time_ms=NOW_MS + 10),
    a_fill(CLOSES[1], trade_id="4", venue_order_id="v3", at=85, fee=1, venue_time_ms=NOW_MS + 20),
]


def a_world(bench: Bench) -> Bench:
    for intent in (ENTRY, *CLOSES):
        bench.orders.register(an_order(intent))
    return bench


@pytest.mark.parametrize("together", [1, 2, 3, 4])
async def test_a_position_that_is_opened_again_keeps_its_result_and_the_day_counts_it_once(together: int) -> None:
    async with a_bench() as bench:
        a_world(bench)
        bench.market.marks[BTC.symbol] = 80
        for first in range(0, 3, together):
            bench.orders.apply(HISTORY[first : min(first + together, 3)])
        position = bench.position()
        assert (position.entry_price, position.realized, position.fees) == (80, -10, 3)
        assert bench.risk.ledger.book.day.result == -13
        bench.orders.apply(HISTORY[3:])
        closed = bench.state.last_closed(position.key)
        assert closed is not None
        assert (closed.realized, closed.fees, closed.entry_quantity) == (-5, 4, 2)
        assert bench.risk.ledger.book.day.result == -9


async def test_a_restart_between_the_close_and_the_next_trade_forgets_no_result() -> None:
    async with a_bench() as bench:
        a_world(bench).orders.apply(HISTORY[:2])
        held = await bench.journal.load()
    assert not held.positions
    async with a_bench() as again:
        again.orders.restore(held.orders, [*held.reopenable, *held.positions], held.ended)
        late: FillReport = HISTORY[2]
        again.orders.apply([late])
        assert (again.position().realized, again.position().fees) == (Decimal(-10), 3)
