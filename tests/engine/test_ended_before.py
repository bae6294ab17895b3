"""What ended before the last start is told again by venues, and is nobody else's."""

from functools import partial
from pathlib import Path

import pytest

from core.domain.events import Event, OwnIdUnknown
from core.domain.ids import ClientOrderId
from core.domain.order import Order, OrderStatus
from core.domain.reports import Source
from core.engine import state
from core.engine.records import IntentRecord, OrderRecord
from core.storage.database import ENDED_ORDERS_MS
from core.storage.journal import SqliteJournal
from core.storage.writer import InlineExecutor
from tests.builders import a_fill, an_intent
from tests.engine.bench import a_bench
from tests.storage.records import NOW
from tests.storage.records import an_order as a_stored_order


@pytest.mark.parametrize("known", [True, False])
async def test_a_trade_of_an_order_that_ended_before_the_start_is_no_strangers(*, known: bool) -> None:
    async with a_bench() as bench:
        intent = an_intent()
        heard: list[Event] = []
        bench.orders.listen(heard.extend)
        bench.orders.restore([], [], [intent.client_order_id] if known else [])
        bench.orders.apply([a_fill(intent, source=Source.REST)])
        assert bool([event for event in heard if isinstance(event, OwnIdUnknown)]) is not known


async def test_a_trade_of_an_order_that_ended_long_ago_is_no_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "REMEMBERED_ENDED_ORDERS", 2)
    async with a_bench() as bench:
        heard: list[Event] = []
        bench.orders.listen(heard.extend)
        intents = [an_intent(f"{number}") for number in range(4)]
        bench.orders.restore([Order(intent=intent, status=OrderStatus.CANCELED) for intent in intents], [])
        assert bench.orders.state.order(intents[0].client_order_id) is None
        bench.orders.apply([a_fill(intents[0], source=Source.REST)])
        assert not [event for event in heard if isinstance(event, OwnIdUnknown)]


@pytest.mark.may_block("the journal runs inline, so that a test sees its file at once")
async def test_the_journal_tells_which_orders_ended_in_the_last_days(tmp_path: Path) -> None:
    order = a_stored_order(status=OrderStatus.CANCELED, reported_filled=a_stored_order().filled)
    for later_ms, ended in ((0, {order.client_order_id}), (ENDED_ORDERS_MS + 1, set[ClientOrderId]())):
        journal = SqliteJournal(tmp_path / "journal.db", InlineExecutor(), partial(int, NOW + later_ms))
        await journal.open()
        if not later_ms:
            await journal.append([IntentRecord(intent=order.intent, time_ms=NOW)])
            await journal.append([OrderRecord(order=order, time_ms=NOW)])
        assert (await journal.load()).ended == ended
        await journal.close()
