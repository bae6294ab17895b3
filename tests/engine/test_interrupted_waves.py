"""Waves in which a run ended are closed at the next start, each signal with what became of it."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from core.domain.ids import ClientOrderId
from core.domain.order import OrderStatus
from core.engine.interrupted_waves import close_waves, end_interrupted
from core.engine.records import IntentRecord, SignalMark, WaveMark
from core.engine.state import State
from tests.builders import NOW_MS, an_intent, an_order
from tests.fakes.diary import Diary
from tests.fakes.fake_audit import FakeAudit
from tests.fakes.fake_journal import FakeJournal
from tests.fakes.fake_notifier import FakeNotifier
from tests.storage.records import a_journal

ENTRY = ClientOrderId("bw-entry")


def a_mark(signal_id: str = "s-1", **values: str) -> SignalMark:
    return SignalMark(
        source="server",
        signal_id=signal_id,
        wave_id="w-1",
        venue="binance",
        symbol="BTC/USDT:USDT",
        side="buy",
        score="80",
        code="",
        detail="",
        time_ms=NOW_MS,
        values=values,
    )


def the_verdict(mark: SignalMark, state: State) -> SignalMark:
    judged, _ = close_waves(["w-1"], [mark], state, NOW_MS).marks
    assert isinstance(judged, SignalMark)
    return judged


def test_a_signal_without_an_entry_is_not_traded_any_more() -> None:
    judged = the_verdict(a_mark(), State())
    assert (judged.code, judged.detail) == (
        "interrupted",
        "the program ended before it was decided; it is not traded any more",
    )


@pytest.mark.parametrize(
    ("status", "filled", "code", "said"),
    [
        (OrderStatus.FILLED, "0.01", "", "its entry has bought 0.01"),
        (OrderStatus.EXPIRED, "0.004", "", "its entry has bought 0.004"),
        (OrderStatus.CANCELED, "0", "interrupted", "which bought nothing"),
        (OrderStatus.IN_FLIGHT, "0", "", "has not been told by the venue yet"),
    ],
)
def test_the_verdict_is_what_became_of_the_entry(status: OrderStatus, filled: str, code: str, said: str) -> None:
    state = State()
    state.put_order(an_order(an_intent(client_id=ENTRY), status=status, filled=filled))
    judged = the_verdict(a_mark(entry=ENTRY, bought="0"), state)
    assert judged.code == code
    assert said in judged.detail


@pytest.mark.parametrize(("bought", "code"), [("0.5", ""), ("0", "interrupted")])
def test_of_an_entry_that_is_over_the_journal_tells(bought: str, code: str) -> None:
    assert the_verdict(a_mark(entry=ENTRY, bought=bought), State()).code == code


@pytest.mark.may_block("the journal runs inline")
async def test_the_journal_finds_them_and_their_end_closes_them(tmp_path: Path) -> None:
    """Also the wave all of whose signals were known already, and none that was finished."""
    journal = await a_journal(tmp_path)
    intent = replace(an_intent("s-2", client_id=ENTRY), wave_id="w-1")
    waves = [WaveMark(wave_id=name, source="server", received_ms=NOW_MS) for name in ("w-0", "w-1", "w-2")]
    done = replace(a_mark("s-0"), wave_id="w-0"), replace(waves[0], finished_ms=NOW_MS)
    await journal.append([*waves, *done, a_mark("s-1"), a_mark("s-2"), IntentRecord(intent=intent, time_ms=NOW_MS)])
    held = await journal.load()
    assert held.unfinished_waves == ("w-1", "w-2")
    assert [(mark.signal_id, mark.values) for mark in held.undecided] == [
        ("s-1", {}),
        ("s-2", {"entry": ENTRY, "bought": "0"}),
    ]
    audit, notifier = FakeAudit(), FakeNotifier()
    end_interrupted(held, State(), journal, audit, notifier, NOW_MS)
    await journal.append([])
    after = await journal.load()
    await journal.close()
    assert (after.unfinished_waves, after.undecided) == ((), ())
    assert audit.of("waves_interrupted") == [{"waves": ["w-1", "w-2"], "interrupted": 2}]
    assert [text for _, text in notifier.messages] == ["the last run ended in a wave: 2 interrupted"]


async def test_a_start_after_a_calm_end_says_nothing() -> None:
    journal, notifier = FakeJournal(Diary()), FakeNotifier()
    end_interrupted(await journal.load(), State(), journal, FakeAudit(), notifier, NOW_MS)
    assert (journal.posted, notifier.messages) == ([], [])
