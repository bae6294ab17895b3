"""The journal's past, asked from the event loop: answered by the worker, and never added up on the loop."""

import sqlite3
import threading
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from core.engine import performance as figures
from core.errors import JournalUnreadable
from core.storage import past as module
from core.storage.migrations import migrate
from core.storage.past import JournalPast
from core.storage.writer import WriterThread

pytestmark = pytest.mark.may_block(reason="the tests make their journals in this thread")

DAY = 86_400_000


def _journal(folder: Path, count: int) -> Path:
    """So many closed positions, one an hour, each made 1.5 less 0.5 of fees."""
    path = folder / "journal.db"
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection)
    row = {
        "venue": "binance", "symbol": "BTC/USDT:USDT", "side": "buy", "quantity": "0", "entry_quantity": "1",
        "entry_cost": "100", "stop_loss_percent": "2", "signal_id": "", "realized": "1.5", "fees": "0.5",
        "exit_quantity": "1", "exit_cost": "101.5", "time_ms": 0,
    }  # fmt: skip
    for number in range(count):
        ended = 3_600_000 * number
        full = row | {"position_id": f"p{number}", "opened_ms": ended - 60_000, "closed_ms": ended}
        places = ",".join("?" * len(full))
        connection.execute(f"INSERT INTO positions ({','.join(full)}) VALUES ({places})", tuple(full.values()))
    connection.close()
    return path


@pytest.fixture
async def worker() -> AsyncIterator[WriterThread]:
    made = WriterThread("past")
    yield made
    made.shutdown(wait=True)


async def test_results_add_up_and_are_thinned_with_the_last_one_kept(tmp_path: Path, worker: WriterThread) -> None:
    past = JournalPast(_journal(tmp_path, 50), worker)
    told = await past.performance(0, 30 * DAY)
    assert (told.trades, told.result, told.fees) == (50, Decimal(50), Decimal(25))
    every = await past.results(0, 30 * DAY, 500)
    assert [together for _, together in every] == list(map(Decimal, range(1, 51)))
    few = await past.results(0, 30 * DAY, 7)
    assert len(few) <= 7
    assert few[-1] == every[-1]
    assert await past.results(40 * DAY, 41 * DAY, 7) == []


async def test_the_loop_neither_reads_nor_adds_up(
    tmp_path: Path, worker: WriterThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()
    real = figures.performance

    def noted(*args: object) -> object:
        seen.add(threading.current_thread().name)
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "performance", noted)
    await JournalPast(_journal(tmp_path, 3), worker).performance(0, DAY)
    assert seen
    assert threading.current_thread().name not in seen


async def test_a_journal_that_is_not_there_is_said(tmp_path: Path, worker: WriterThread) -> None:
    with pytest.raises(JournalUnreadable, match="there is no journal"):
        await JournalPast(tmp_path / "journal.db", worker).waves(5)


async def test_what_has_no_order_of_ours_is_told_as_a_trade_all_the_same(tmp_path: Path, worker: WriterThread) -> None:
    path = _journal(tmp_path, 0)
    with sqlite3.connect(path) as connection:
        for number in range(3):
            connection.execute(
                "INSERT INTO fills VALUES ('okx', 'ETH/USDT:USDT', ?, 'foreign', '7', 'sell', '2', '100', '0.1', "
                "'BNB', '0', 0, ?, 'stream', ?)",
                (str(number), number, number),
            )
    connection.close()
    (trade,) = await JournalPast(path, worker).trades(5)
    assert (trade.leg, trade.result, trade.quantity, trade.price) == (None, None, Decimal(6), Decimal(100))
    assert trade.fees == 0, "a fee in another coin is no quote coin"


async def test_two_orders_by_hand_without_a_client_id_are_two_trades(tmp_path: Path, worker: WriterThread) -> None:
    path = _journal(tmp_path, 0)
    with sqlite3.connect(path) as connection:
        for number, (side, price) in enumerate([("sell", "100"), ("buy", "50")]):
            connection.execute(
                "INSERT INTO fills VALUES ('okx', 'ETH/USDT:USDT', ?, '', ?, ?, '1', ?, '0', 'USDT', '0', 0, ?, "
                "'stream', ?)",
                (str(number), f"by hand {number}", side, price, DAY * number, number),
            )
    connection.close()
    told = [(trade.side, trade.quantity, trade.price) for trade in await JournalPast(path, worker).trades(5)]
    assert told == [("buy", 1, 50), ("sell", 1, 100)]
