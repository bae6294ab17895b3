"""Whatever answers come in whatever order: a candle has one wave, candles only grow, a signal is in one wave."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from core.domain.candle_clock import CANDLE_MS
from core.domain.ids import SignalId
from core.domain.signal import Signal, Unusable
from core.domain.verdict import Reason
from core.signals.candle_book import TOLD_REMEMBERED, CandleBook
from tests.builders import a_signal

BASE = 1_700_000_100_000 - 1_700_000_100_000 % CANDLE_MS


def signal(candle: int, number: int) -> Signal:
    return replace(a_signal(), id=SignalId(f"{candle}-{number}"), event_time_ms=BASE + candle * CANDLE_MS + number)


signals = st.builds(signal, st.integers(-3, 6), st.integers(0, 3))
answers = st.lists(st.tuples(st.integers(0, 5), st.lists(signals, max_size=8)), max_size=12)


@given(answers)
def test_a_candle_has_one_wave_and_a_signal_is_in_one(history: list[tuple[int, list[Signal]]]) -> None:
    book = CandleBook()
    waves: list[tuple[int, tuple[Signal, ...]]] = []
    refused: list[Unusable] = []
    for expected, answer in sorted(history, key=lambda pair: pair[0]):
        found = book.sort(answer, BASE + expected * CANDLE_MS)
        refused += found.refused
        if found.wave:
            waves.append((expected, found.wave))
    candles = [candle for candle, _ in waves]
    assert candles == sorted(set(candles))
    assert all(s.event_time_ms // CANDLE_MS == BASE // CANDLE_MS + candle for candle, wave in waves for s in wave)
    ids = [s.id for _, wave in waves for s in wave]
    assert len(ids) == len(set(ids))
    late = [u.id for u in refused if u.code == Reason.WAVE_CLOSED]
    assert len(late) == len(set(late))
    assert not set(late) & set(ids)


@given(answers, answers)
def test_a_restart_changes_nothing_about_which_waves_there_are(
    before: list[tuple[int, list[Signal]]], after: list[tuple[int, list[Signal]]]
) -> None:
    """The newest handled candle is all that is kept."""
    kept, restarted = CandleBook(), CandleBook()
    for expected, answer in before:
        kept.sort(answer, BASE + expected * CANDLE_MS)
    restarted = CandleBook(kept.newest_ms)
    for expected, answer in after:
        now = BASE + expected * CANDLE_MS
        assert kept.sort(answer, now).wave == restarted.sort(answer, now).wave


def test_what_it_remembers_is_bounded() -> None:
    book = CandleBook(BASE)
    for first in range(0, 3 * TOLD_REMEMBERED, 1_000):
        late = [replace(a_signal(), id=SignalId(str(n)), event_time_ms=BASE) for n in range(first, first + 1_000)]
        assert len(book.sort(late, BASE + CANDLE_MS).refused) == 1_000
    assert len(book._told) == TOLD_REMEMBERED
    assert Decimal(book.newest_ms) == BASE
