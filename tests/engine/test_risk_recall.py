"""What a journal tells of the risk guard is believed only when it can be read, and people hear when it cannot."""

import json
from typing import Any

import pytest

from core.domain.day import DayAccount, day_of
from core.domain.funding import FundingBook
from core.domain.risk_book import RiskBook
from core.engine.ports import Level
from core.engine.risk_record import encoded
from tests.builders import NOW_MS
from tests.engine.bench import a_bench

BOOK = json.loads(encoded(RiskBook(day=DayAccount(day=day_of(NOW_MS))), [], FundingBook(), FundingBook()))


@pytest.mark.parametrize(
    "broken",
    [
        {"closed": "much"},
        {"closed": None},
        {"shares": []},
        {"funding_told": [["binance", "USDT", 1, "two", "0.1"]]},
        {"shares": {"p": ["1"]}},
        {"episodes": {"weather": ["x", 0, None]}},
        {"closes": [["nowhere", "BTC/USDT:USDT", "buy", "loss", 0]]},
    ],
)
async def test_a_risk_book_that_cannot_be_read_is_told_and_does_not_keep_the_daemon_from_starting(
    broken: dict[str, Any],
) -> None:
    async with a_bench() as bench:
        bench.risk.recall({"risk_book": json.dumps(BOOK | broken)})
        assert bench.risk.ledger.book.day.result == 0
        assert [text for level, text in bench.notifier.messages if level is Level.CRITICAL and "risk" in text]


@pytest.mark.parametrize(
    "row",
    ["", "[]", '{"venues": {}, "shortages": [["binance", "USDT", "much", 0]]}', '{"venues": [], "shortages": []}'],
)
async def test_pauses_that_cannot_be_read_are_told_and_do_not_keep_the_daemon_from_starting(row: str) -> None:
    async with a_bench() as bench:
        bench.risk.recall({"risk_pauses": row})
        assert not bench.risk.pauses.shortages
        assert [text for level, text in bench.notifier.messages if level is Level.CRITICAL and "pauses" in text]
