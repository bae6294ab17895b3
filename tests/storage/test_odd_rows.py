"""A journal or an audit log somebody's editor, disk or mistake has been at: said, never a traceback."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from core.domain.audit import GENESIS, BrokenLineError, check_line
from core.domain.ids import PositionId
from core.engine.records import OrderRecord, PositionRecord, WaveMark
from core.errors import JournalUnreadable, JournalUnwritable
from core.storage.history import reading
from tests.storage.records import NOW, a_journal, a_position, a_signal, an_order

pytestmark = pytest.mark.may_block(reason="the journal runs inline, so that a test sees its file at once")


async def a_changed_journal(folder: Path, change: str) -> None:
    journal = await a_journal(folder)
    wave = WaveMark(wave_id="w-1", source="ws", received_ms=NOW)
    position, order = PositionRecord(position=a_position(), time_ms=NOW), OrderRecord(order=an_order(), time_ms=NOW)
    await journal.append([wave, a_signal(), position, order])
    await journal.close()
    with closing(sqlite3.connect(folder / "journal.db")) as connection:
        connection.execute(change)
        connection.commit()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE positions SET entry_cost = 'sell'",
        "UPDATE orders SET quantity = ''",
        "UPDATE orders SET trade_ids = '3'",
        "UPDATE orders SET trade_ids = '" + "[" * 100_000 + "'",
        "UPDATE orders SET status = 'lost'",
    ],
)
async def test_a_start_says_that_a_row_cannot_be_read(tmp_path: Path, change: str) -> None:
    await a_changed_journal(tmp_path, change)
    journal = await a_journal(tmp_path)
    with pytest.raises(JournalUnwritable, match="cannot be read"):
        await journal.load()
    await journal.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE signals SET gates = '[1]'",
        "UPDATE signals SET gates = '{}'",
        "UPDATE waves SET stages = '[]'",
        "UPDATE positions SET entry_cost = 'sell'",
    ],
)
async def test_a_tool_says_that_a_row_cannot_be_read(tmp_path: Path, change: str) -> None:
    await a_changed_journal(tmp_path, change)
    with pytest.raises(JournalUnreadable), reading(tmp_path / "journal.db") as history:  # noqa: PT012 - any of them
        history.last_waves(1)
        history.signals_of("w-1")
        history.position(PositionId("p-1"))


@pytest.mark.parametrize("data", [{"a": 1.5}, {"a": {"b": [1e300]}}])
def test_a_line_with_a_number_no_record_holds_is_a_broken_line(data: object) -> None:
    record = {
        "data": data, "hash": GENESIS, "kind": "order", "prev": GENESIS, "seq": 1, "time": "2026-09-21T14:00:00.000Z",
    }  # fmt: skip
    with pytest.raises(BrokenLineError, match="no record can"):
        check_line(json.dumps(record), prev_hash=GENESIS, seq=1)
