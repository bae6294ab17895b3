"""What is on the disk when the power goes: everything that was synced, and of the rest any part, or none."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from core.domain.ids import ClientOrderId
from core.engine.records import IntentRecord, StateRecord
from core.errors import JournalUnwritable
from core.storage import database, journal
from core.storage.audit_files import AuditFiles
from core.storage.journal import SqliteJournal
from core.storage.writer import InlineExecutor
from tests.storage.records import NOW, a_journal, an_intent
from tools.verify_audit import check

pytestmark = pytest.mark.may_block(reason="the journal runs inline, so that a test sees its file at once")

SYNCED, LATER = 5, 40


async def a_journal_that_lost_power(folder: Path, chance: Random) -> Path:
    """Intents that were waited for, then records that were not; of what was written after the last sync some pages are
    there, some hold zeros or dirt, and the file may end anywhere."""
    (folder / "live").mkdir()
    running = await a_journal(folder / "live")
    for number in range(SYNCED):
        await running.append([IntentRecord(intent=an_intent(number), time_ms=NOW)])
    wal = folder / "live" / "journal.db-wal"
    safe = wal.stat().st_size
    for number in range(LATER):
        record = StateRecord(key=f"later-{number}", value="x" * 500, time_ms=NOW)
        running._database.write([[record]], durable=False)
    dead = folder / "dead"
    shutil.copytree(folder / "live", dead)
    await running.close()
    log = bytearray((dead / "journal.db-wal").read_bytes())
    for page in range(safe, len(log), 512):
        match chance.randrange(3):
            case 0:
                log[page : page + 512] = bytes(min(512, len(log) - page))
            case 1:
                log[page : page + 512] = chance.randbytes(min(512, len(log) - page))
    del log[chance.randint(safe, len(log)) :]
    (dead / "journal.db-wal").write_bytes(log)
    (dead / "journal.db-shm").unlink(missing_ok=True)
    return dead


@pytest.mark.parametrize("seed", range(12))
async def test_what_was_waited_for_survives_whatever_became_of_the_rest(tmp_path: Path, seed: int) -> None:
    dead = await a_journal_that_lost_power(tmp_path, Random(seed))
    again = SqliteJournal(dead / "journal.db", InlineExecutor(), lambda: NOW)
    assert await again.open() is None, "the journal is sound"
    state = await again.load()
    assert {order.client_order_id for order in state.orders} == {an_intent(n).client_order_id for n in range(SYNCED)}
    assert set(state.values) <= {f"later-{number}" for number in range(LATER)}
    await again.append([IntentRecord(intent=an_intent(99), time_ms=NOW)])
    assert ClientOrderId(an_intent(99).client_order_id) in {o.client_order_id for o in (await again.load()).orders}
    await again.close()


@pytest.mark.parametrize("seed", range(12))
def test_the_audit_chain_goes_on_from_what_is_left_and_can_be_verified(tmp_path: Path, seed: int) -> None:
    chance, files = Random(seed), AuditFiles(tmp_path, rotate_bytes=10**6)
    files.open()
    for number in range(20):
        files.write(f"2026-09-21T14:00:{number:02d}.000Z", "order", {"number": number})
    files.write_head()
    files.close()
    log = tmp_path / "audit.log"
    data = log.read_bytes()
    left = chance.randint(0, len(data))
    log.write_bytes(data[:left] + bytes(chance.choice((0, 4096))))
    again = AuditFiles(tmp_path, rotate_bytes=10**6)
    tail = again.open()
    again.write("2026-09-21T14:01:00.000Z", "start", {"lost_seq": tail.lost.seq if tail.lost else None})
    again.write_head()
    again.close()
    result = check(tmp_path)
    assert result.clean, result.sentence()
    assert (tail.lost is None) == (tail.head.seq == 20)


async def test_a_writer_that_locks_the_file_stops_appends_only_while_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 5)
    monkeypatch.setattr(journal, "RETRY_S", 0.001)
    locked = await a_journal(tmp_path)
    with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        locked.append_nowait([StateRecord(key="kept", value="1", time_ms=NOW)])
        with pytest.raises(JournalUnwritable, match="locked"):
            await locked.append([IntentRecord(intent=an_intent(), time_ms=NOW)])
        assert "locked" in locked.statistics().failing
        other.execute("ROLLBACK")
    await locked.append([IntentRecord(intent=an_intent(), time_ms=NOW)])
    assert locked.writable
    state = await locked.load()
    assert (len(state.orders), state.values) == (1, {"kept": "1"})
    await locked.close()
