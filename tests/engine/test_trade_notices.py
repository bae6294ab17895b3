"""What people are told of trades: actual prices, slippage, fees, results."""

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from core.domain.alerts import AlertKind
from core.domain.ids import Leg
from core.domain.order import Order
from core.engine.records import ExecutionRecord, FillRecord
from core.engine.state import State
from core.engine.trade_notices import TradeNotices
from tests.builders import BTC_LONG, a_signal, an_intent
from tests.engine.bench import Bench, a_bench
from tests.fakes.fake_notifier import FakeNotifier


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with a_bench() as running:
        yield running


def _told(bench: Bench, kind: AlertKind) -> list[str]:
    pairs = zip(bench.notifier.messages, bench.notifier.kinds, strict=True)
    return [text for (_, text), of in pairs if of is kind]


@pytest.mark.failure("TEL-01")
async def test_an_entry_is_told_at_the_price_it_got_and_not_at_the_one_it_was_decided_at(bench: Bench) -> None:
    bench.venue.price = Decimal(101)
    await bench.wave(a_signal())
    (told,) = _told(bench, AlertKind.ENTRY)
    (fill,) = [record.fill for record in bench.journal.posted if isinstance(record, FillRecord)]
    assert fill.price == 101
    assert told.startswith(f"{BTC_LONG}: entered {fill.quantity.normalize():f} at 101, slippage 1 %, fee ")
    assert told.endswith("USDT")


async def test_a_stop_that_was_hit_tells_what_it_made(bench: Bench) -> None:
    await bench.wave(a_signal())
    bench.venue.price = Decimal(97)
    (stop,) = bench.venue.working_stops()
    await bench.venue.fire(stop)
    await bench.settle()
    (told,) = _told(bench, AlertKind.STOP_HIT)
    assert "long: stop hit, " in told
    assert " at 97, slippage 1.02 %, fee " in told
    assert told.endswith(f"made {-3 * stop.filled.normalize():f} (-3 %) before fees")
    assert _told(bench, AlertKind.CLOSE) == []


async def test_a_close_tells_its_reason_and_a_part_what_is_left(bench: Bench) -> None:
    await bench.wave(a_signal())
    bench.venue.price = Decimal(110)
    await bench.closer.flatten(BTC_LONG, "ordered by the owner", leg=Leg.CLOSE)
    (told,) = _told(bench, AlertKind.CLOSE)
    assert "closed, " in told
    assert told.endswith("(10 %) before fees, ordered by the owner")
    assert len(_told(bench, AlertKind.ENTRY)) == 1


async def test_an_order_of_several_trades_is_told_once(bench: Bench) -> None:
    bench.venue.partial = [Decimal("0.25"), Decimal("0.25"), Decimal("0.5")]
    await bench.wave(a_signal())
    assert len(_told(bench, AlertKind.ENTRY)) == 1


@pytest.mark.failure("TEL-01")
async def test_what_is_told_stands_in_the_journal_before_it_is_told(bench: Bench) -> None:
    seen: list[bool] = []
    notify = bench.notifier.notify

    def look(*args: object, **kwargs: object) -> None:
        if kwargs["kind"] is AlertKind.ENTRY:
            seen.append(
                any(isinstance(one, FillRecord) for one in bench.journal.posted)
                and any(isinstance(one, ExecutionRecord) for one in bench.journal.posted)
            )
        notify(*args, **kwargs)  # type: ignore[arg-type]

    bench.notifier.notify = look  # type: ignore[method-assign]
    await bench.wave(a_signal())
    assert seen == [True]


@pytest.mark.failure("TEL-01")
@pytest.mark.parametrize("values", [{}, {"fill_price": "?", "slippage_percent": "", "fees": ""}, None])
def test_a_message_comes_whatever_is_missing_in_the_row(values: dict[str, str] | None) -> None:
    for reduce_only in (False, True):
        notifier = FakeNotifier()
        order = Order(intent=an_intent(reduce_only=reduce_only), filled=an_intent().quantity)
        TradeNotices(notifier, State()).executed(order, values)  # type: ignore[arg-type]
        ((_, text),) = notifier.messages
        assert "BTC/USDT:USDT" in text
