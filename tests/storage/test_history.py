"""What people can read back: waves, signals with their gates, and what came of them."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from core.domain.ids import ClientOrderId, PositionId, SignalId, VenueName
from core.domain.order import Order
from core.domain.signal import Unusable
from core.domain.symbols import same_symbol
from core.engine.records import ExecutionRecord, IntentRecord, OrderRecord, PositionRecord, Record, WaveMark
from core.errors import JournalUnreadable
from core.storage import migrations
from core.storage.history import reading
from tests.storage.records import BTC, GATES, NOW, a_journal, a_position, a_signal, an_intent, an_order

pytestmark = pytest.mark.may_block(reason="the journal runs inline, so that a test sees its file at once")

BAD = Unusable(id=SignalId("x"), source="ws", code="malformed", detail="no id", symbol="DOGEUSDT")
BEGUN = WaveMark(wave_id="w-1", source="ws", received_ms=NOW)
FINISHED = replace(BEGUN, finished_ms=NOW + 9, stages={"validated": 1.5, "protected": None}, counts={"signals": 1})


async def _written(folder: Path, *records: Record, closed: bool = True) -> Path:
    journal = await a_journal(folder)
    await journal.append(records)
    if closed:
        await journal.close()
    return folder / "journal.db"


async def test_a_signal_comes_back_with_every_gate_it_was_asked(tmp_path: Path) -> None:
    path = await _written(tmp_path, BEGUN, a_signal())
    with reading(path) as history:
        (signal,) = history.signals_of("w-1")
    assert signal.gates == GATES
    assert (signal.code, signal.values) == ("max_exposure", {"MAX_EXPOSURE_USD": "1000"})


async def test_the_verdict_of_a_finished_wave_replaces_the_mark_that_began_it(tmp_path: Path) -> None:
    path = await _written(tmp_path, BEGUN, a_signal(code="", detail="", gates=()), a_signal(), FINISHED)
    with reading(path) as history:
        wave = history.wave("w-1")
        assert [signal.gates for signal in history.signals_of("w-1")] == [GATES]
    assert wave is not None
    assert (wave.finished_ms, wave.stages, wave.counts) == (
        NOW + 9,
        {"validated": 1.5, "protected": None},
        {"signals": 1},
    )


async def test_a_late_first_mark_does_not_open_a_finished_wave_again(tmp_path: Path) -> None:
    path = await _written(tmp_path, FINISHED, BEGUN)
    with reading(path) as history:
        assert history.last_waves(5)[0].finished_ms == NOW + 9


@pytest.mark.parametrize("spelling", ["BTCUSDT", "btc/usdt", "BTC/USDT:USDT", "BTC-USDT-SWAP", " btc_usdt "])
async def test_a_symbol_is_found_in_any_spelling(tmp_path: Path, spelling: str) -> None:
    path = await _written(tmp_path, BEGUN, a_signal())
    with reading(path) as history:
        found = history.last_wave_with(spelling, None)
    assert found is not None
    assert found.wave_id == "w-1"


def test_another_quote_coin_is_another_symbol() -> None:
    assert not same_symbol("BTCUSDC", BTC.symbol)


async def test_the_newest_wave_with_the_symbol_is_told(tmp_path: Path) -> None:
    later = a_signal(signal_id="s-2", wave_id="w-2", time_ms=NOW + 5)
    path = await _written(tmp_path, BEGUN, replace(BEGUN, wave_id="w-2", received_ms=NOW + 5), later, a_signal())
    with reading(path) as history:
        newest = history.last_wave_with("BTCUSDT", VenueName.BINANCE)
        assert newest is not None
        assert newest.wave_id == "w-2"
        assert history.last_wave_with("BTCUSDT", VenueName.OKX) is None


async def test_a_signal_that_could_not_be_read_is_found_by_what_could_be_read_of_it(tmp_path: Path) -> None:
    path = await _written(tmp_path, replace(FINISHED, unusable=(BAD,)))
    with reading(path) as history:
        found = history.last_wave_with("DOGEUSDT", None)
    assert found is not None
    assert found.unusable[0]["code"] == "malformed"


async def test_an_entry_leads_to_its_stop_and_its_position(tmp_path: Path) -> None:
    entry = an_intent(1)
    stop = an_intent(2, wave_id="", reduce_only=True)
    learned = ExecutionRecord(client_order_id=entry.client_order_id, values={"latency_ms": "3"}, time_ms=NOW)
    path = await _written(
        tmp_path,
        a_signal(),
        IntentRecord(intent=entry, time_ms=NOW),
        IntentRecord(intent=stop, time_ms=NOW + 1),
        OrderRecord(order=an_order(1), time_ms=NOW + 2),
        PositionRecord(position=a_position(), time_ms=NOW),
        learned,
    )
    with reading(path) as history:
        (signal,) = history.signals_of("w-1")
        told = history.entry_of(signal)
        assert told is not None
        assert (told.order, told.intent_ms, told.execution) == (an_order(1), NOW, {"latency_ms": "3"})
        of_position = history.orders_of(PositionId("p-1"))
        assert [one.order.client_order_id for one in of_position] == [entry.client_order_id, stop.client_order_id]
        assert history.position(PositionId("p-1")) == a_position()
        assert history.working_orders() == [an_order(1), Order(intent=stop)]


async def test_refusals_are_counted_from_a_moment_on(tmp_path: Path) -> None:
    old = a_signal(signal_id="old", time_ms=NOW - 10)
    path = await _written(tmp_path, old, a_signal(), a_signal(signal_id="ok", code=""))
    with reading(path) as history:
        assert history.refusals_since(NOW) == {"max_exposure": 1}


async def test_it_reads_beside_a_journal_that_is_being_written(tmp_path: Path) -> None:
    journal = await a_journal(tmp_path)
    await journal.append([BEGUN])
    with reading(tmp_path / "journal.db") as history:
        await journal.append([FINISHED])
        assert [wave.finished_ms for wave in history.last_waves(3)] == [None]
    with reading(tmp_path / "journal.db") as history:
        assert [wave.finished_ms for wave in history.last_waves(3)] == [NOW + 9]
    await journal.close()


async def test_it_never_writes(tmp_path: Path) -> None:
    path = await _written(tmp_path, BEGUN)
    before = path.read_bytes()
    with reading(path) as history, pytest.raises(sqlite3.OperationalError, match="readonly"):
        history._read("DELETE FROM waves")
    assert path.read_bytes() == before


def test_no_journal_is_said_and_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(JournalUnreadable, match="no daemon has run"), reading(tmp_path / "journal.db"):
        pass
    assert not (tmp_path / "journal.db").exists()


@pytest.mark.parametrize(("version", "said"), [(migrations.VERSION + 1, "newer"), (1, "older")])
async def test_a_journal_of_another_program_is_said(tmp_path: Path, version: int, said: str) -> None:
    path = await _written(tmp_path, BEGUN)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()
    with pytest.raises(JournalUnreadable, match=said), reading(path):
        pass


def test_a_file_that_is_no_journal_is_said(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"nonsense" * 999)
    with pytest.raises(JournalUnreadable, match="cannot be read"), reading(tmp_path / "journal.db"):
        pass


async def test_a_journal_of_the_first_version_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.executescript(f"{migrations.STEPS[0]}; PRAGMA user_version = 1;")
        values = ("ws", "s-0", "w-0", "binance", BTC.symbol, "buy", "1", "", "", "{}", NOW)
        connection.execute(f"INSERT INTO signals VALUES ({', '.join('?' * len(values))})", values)
        connection.commit()
    path = await _written(tmp_path, BEGUN)
    with reading(path) as history:
        (kept,) = history.signals_of("w-0")
    assert (kept.signal_id, kept.gates) == ("s-0", ())
    assert ClientOrderId(kept.signal_id)
