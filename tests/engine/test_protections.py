"""What is remembered of the protection of positions."""

from decimal import Decimal

import pytest

from core.domain.ids import Leg
from core.engine import protections
from core.engine.bookkeeping import Bookkeeper
from core.engine.protections import Protections
from tests.builders import BTC, a_position, an_intent, an_order
from tests.engine.bench import a_bench

OTHERS = 10


async def test_an_open_position_outlives_any_number_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protections, "REMEMBERED", 3)
    async with a_bench() as bench:
        books = Bookkeeper(journal=bench.journal, audit=bench.audit, clock=bench.clock, default_stop_percent=Decimal(2))
        known = Protections(books=books, clock=bench.clock, notifier=bench.notifier, alert_ms=1_000)
        stop = an_order(an_intent(leg=Leg.STOP))
        known.record(a_position(BTC, position_id="held"), stop, None)
        for number in range(OTHERS):
            known.record(a_position(BTC, position_id=f"other-{number}"), stop, None)
            assert known.get(a_position(position_id="held").id) is not None
        assert known.get(a_position(position_id="other-0").id) is None
