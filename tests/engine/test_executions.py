"""What is learned from each order that traded, written when it has ended."""

from collections.abc import AsyncIterator, Mapping
from decimal import Decimal

import pytest
from msgspec.structs import replace

from core.domain.ids import Leg
from core.engine.records import ExecutionRecord
from tests.builders import BTC_LONG, a_signal
from tests.engine.bench import Bench, a_bench
from tests.engine.test_attached_stops import BYBIT_LIKE, a_venue


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with a_bench() as running:
        yield running


def _rows(bench: Bench, leg: Leg) -> list[Mapping[str, str]]:
    """The newest row of each order of this leg."""
    records = [record for record in bench.journal.posted if isinstance(record, ExecutionRecord)]
    newest = {record.client_order_id: record.values for record in records}
    return [values for values in newest.values() if values["leg"] == leg.value]


async def test_an_entry_tells_what_it_was_decided_on(bench: Bench) -> None:
    await bench.wave(replace(a_signal(stop_loss_percent=3), features={"rsi": "28.5"}))
    (row,) = _rows(bench, Leg.ENTRY)
    assert row["feature.rsi"] == "28.5"
    assert row["parameter.stop_loss_percent"] == "3"
    assert row["gate.positions"] == "1"
    assert row["gate.score"] == "10"
    assert row["state"] == "protected"
    assert row["decision_price"] == row["fill_price"] == "100"
    assert row["slippage_percent"] == "0"


async def test_latency_is_from_the_decision_to_the_first_fill_by_both_clocks() -> None:
    async with a_bench(latency=0.2) as bench:
        bench.venue.offset_ms = 0
        await bench.wave(a_signal())
        (row,) = _rows(bench, Leg.ENTRY)
    assert row["latency_ms"] == "200.0"
    assert row["venue_latency_ms"] == "200"


async def test_a_stop_that_fires_tells_its_slippage_from_the_trigger_and_its_result(bench: Bench) -> None:
    await bench.wave(a_signal())
    bench.venue.price = Decimal(97)
    (stop,) = bench.venue.working_stops()
    await bench.venue.fire(stop)
    await bench.settle()
    (row,) = _rows(bench, Leg.STOP)
    assert row["decision_price"] == "98"
    assert row["fill_price"] == "97"
    assert row["slippage_percent"] == "1.020408"
    assert row["realized"] == str(-3 * stop.filled.normalize())
    assert row["realized_percent"] == "-3"
    assert row["fees"].endswith(" USDT")
    assert row["latency_ms"] == "0.0"
    assert row["reason"] == "stop"


async def test_a_stop_that_was_moved_slips_from_where_it_stood_when_it_fired() -> None:
    async with a_venue(BYBIT_LIKE) as bench:
        bench.venue.price = Decimal("100.5")  # decided at 100, so that the stop moves from 98 to 98.5 after the fill
        await bench.wave(a_signal())
        await bench.settle(5)
        (stop,) = bench.venue.working_stops()
        bench.venue.price = Decimal("98.5")
        await bench.venue.fire(stop)
        await bench.settle()
        (row,) = _rows(bench, Leg.STOP)
    assert stop.intent.trigger_price == 98
    assert Decimal(row["decision_price"]) == Decimal("98.5")
    assert Decimal(row["slippage_percent"]) == 0


async def test_a_close_tells_who_ordered_it_and_the_mark_it_was_decided_at(bench: Bench) -> None:
    await bench.wave(a_signal())
    bench.venue.price = Decimal(110)
    await bench.closer.flatten(BTC_LONG, "ordered by the owner", leg=Leg.CLOSE)
    (row,) = _rows(bench, Leg.CLOSE)
    assert row["reason"] == "ordered by the owner"
    assert row["decision_price"] == "100"
    assert row["slippage_percent"] == "-10"
    assert row["realized_percent"] == "10"
    assert row["entry_price"] == "100"


async def test_an_order_has_one_row_however_many_trades_it_took(bench: Bench) -> None:
    bench.venue.partial = [Decimal("0.25"), Decimal("0.25"), Decimal("0.5")]
    await bench.wave(a_signal())
    records = [r for r in bench.journal.posted if isinstance(r, ExecutionRecord)]
    assert len(records) == 2, "when it ended, and when its position was protected"
    assert records[-1].values["quantity"] == "1"
    assert records[-1].values["fees"] == f"{_paid(bench)} USDT"


async def test_a_refused_order_has_no_row_and_leaves_nothing_behind(bench: Bench) -> None:
    bench.venue.script(Leg.ENTRY, bench.venue.reject())
    await bench.wave(a_signal())
    assert _rows(bench, Leg.ENTRY) == []
    assert not bench.desk._executions._live


async def test_what_an_earlier_run_traded_is_not_summed_from_a_part(bench: Bench) -> None:
    """Fees and result would be those of the trades this run saw, and wrong."""
    await bench.wave(a_signal())
    (stop,) = bench.venue.working_stops()
    bench.venue.price = Decimal(97)
    half = stop.intent.quantity / 2
    await bench.venue.trade(stop, half)
    await bench.settle()
    bench.desk._executions._live.clear()
    await bench.venue.trade(stop, half)
    await bench.settle()
    (row,) = _rows(bench, Leg.STOP)
    assert row["quantity"] == "1"
    assert "realized" not in row
    assert "fees" not in row
    assert "latency_ms" not in row


def _paid(bench: Bench) -> Decimal:
    (order,) = [o for o in bench.venue.orders.values() if o.intent.leg is Leg.ENTRY]
    return sum((fill.fee for fill in order.fills), Decimal(0))
