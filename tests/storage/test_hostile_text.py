"""Foreign text in the journal: it is bound, never built into a statement, and comes back as it was (SEC-07)."""

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from core.domain.ids import ClientOrderId, PositionId, SignalId
from core.engine.records import OrderRecord, PositionRecord, StateRecord, WaveMark
from core.storage import history, rows
from core.storage.history import reading
from core.storage.journal import SqliteJournal
from tests.storage.records import NOW, a_position, a_signal, an_intent, an_order, table

pytestmark = pytest.mark.may_block(reason="the journal runs inline, so that a test sees its file at once")

HOSTILE = [
    "'; DROP TABLE orders; --",
    '" OR ""="',
    "x') ON CONFLICT DO NOTHING; DELETE FROM positions; --",
    "a\x00b\n\r\t\x1b[31m",
    "%s %(x)s {0} :name ?1 @p $p",
    "☃ \u202e 💥",
]


@pytest.mark.failure("SEC-07")
@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_text_is_stored_and_returned_unchanged(tmp_path: Path, ledger: SqliteJournal, text: str) -> None:
    intent = an_intent(reason=text, wave_id=text, client_order_id=ClientOrderId(text), signal_id=SignalId(text))
    order = replace(an_order(detail=text), intent=intent)
    position = a_position(id=PositionId(text), signal_id=SignalId(text))
    signal = a_signal(signal_id=text, wave_id=text, symbol=text, detail=text, code=text, values={text: text}, gates=())
    await ledger.append(
        [
            WaveMark(wave_id=text, source=text, received_ms=NOW),
            signal,
            OrderRecord(order=order, time_ms=NOW),
            PositionRecord(position=position, time_ms=NOW),
            StateRecord(key=text, value=text, time_ms=NOW),
        ]
    )
    state = await ledger.load()
    assert (state.orders, state.positions, state.values) == ((order,), (position,), {text: text})
    with reading(tmp_path / "journal.db") as told:
        (found,) = told.signals_of(text)
        assert (found.symbol, found.detail, found.code, found.values) == (text, text, text, {text: text})
        assert told.position(PositionId(text)) == position
    assert table(tmp_path, "SELECT count(*) FROM orders") == [(1,)]


@pytest.mark.failure("SEC-07")
def test_no_statement_is_built_from_what_is_stored() -> None:
    """Every value is a place; identifiers stand in the modules' own constants."""
    statements = [
        *rows.WRITES,
        *rows.READS,
        *(v for k, v in vars(history).items() if k.isupper() and "SELECT" in str(v)),
    ]
    assert len(statements) > len(rows.WRITES) + len(rows.READS)
    for statement in statements:
        quoted = re.findall(r"'[^']*'", statement)
        assert set(quoted) <= {"''", "'entry'", "'money/%'", "'critical'"}, statement
    for made in (rows.statement_of(StateRecord(key=text, value=text, time_ms=NOW)) for text in HOSTILE):
        assert made.sql in rows.WRITES
