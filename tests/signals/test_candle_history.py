"""What a venue answers becomes a gapless, ascending series of closed candles, or is refused (MKT-09)."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from core.domain.candle import Candle
from core.signals.candle_history import CandleHistory
from tests.strategies.candles import MINUTE, START_MS, a_candle

SIZE = 10


def minutes(*numbers: int) -> list[Candle]:
    return [a_candle(number, 100.0 + number) for number in numbers]


def at(number: int) -> int:
    return START_MS + number * MINUTE


def held(history: CandleHistory) -> list[int]:
    return [(candle.open_ms - START_MS) // MINUTE for candle in history.candles]


def filled(until: int = 9) -> CandleHistory:
    history = CandleHistory(SIZE, MINUTE)
    history.take(minutes(*range(until + 1)), at(until), asked=SIZE)
    return history


@pytest.mark.failure("MKT-09")
def test_a_shuffled_answer_is_sorted() -> None:
    rows = minutes(*range(10))
    Random(1).shuffle(rows)
    history = CandleHistory(SIZE, MINUTE)
    history.take(rows, at(9), asked=SIZE)
    assert held(history) == list(range(10))
    history.take(minutes(11, 10, 9), at(11), asked=3)
    assert held(history) == list(range(2, 12))


@pytest.mark.failure("MKT-09")
def test_the_running_candle_and_one_off_the_grid_are_passed_over() -> None:
    history = CandleHistory(SIZE, MINUTE)
    odd = replace(a_candle(4, 104.0), open_ms=at(4) + 1)
    history.take([*minutes(*range(11)), odd], at(9), asked=SIZE)
    assert held(history) == list(range(10))
    assert history.reaches(at(9))
    assert not history.reaches(at(10))


@pytest.mark.failure("MKT-09")
def test_a_gap_in_a_small_answer_is_refused_and_all_are_asked_for_again() -> None:
    history = filled()
    assert history.to_read(at(12)) == 4
    history.take(minutes(9, 11, 12), at(12), asked=4)
    assert held(history) == list(range(10))
    assert not history.reaches(at(12))
    assert history.to_read(at(12)) == SIZE
    history.take(minutes(*range(3, 13)), at(12), asked=SIZE)
    assert held(history) == list(range(3, 13))
    assert history.full


@pytest.mark.failure("MKT-09")
def test_what_lies_before_a_gap_of_the_venue_itself_is_dropped() -> None:
    history = CandleHistory(SIZE, MINUTE)
    history.take(minutes(*range(5), *range(6, 11)), at(10), asked=SIZE)
    assert held(history) == [6, 7, 8, 9, 10]
    assert not history.full
    for number in range(11, 16):
        assert history.to_read(at(number)) == 2
        history.take(minutes(number - 1, number), at(number), asked=2)
    assert history.full


def test_only_what_is_missing_is_asked_for() -> None:
    history = CandleHistory(SIZE, MINUTE)
    assert history.to_read(at(9)) == SIZE
    history = filled()
    assert history.to_read(at(9)) == 0
    assert history.to_read(at(10)) == 2
    assert history.to_read(at(13)) == 5
    assert history.to_read(at(500)) == SIZE


def test_a_candle_that_is_known_stays_as_it_was() -> None:
    history = filled()
    before = history.candles
    history.take([a_candle(9, 1.0), *minutes(10)], at(10), asked=2)
    assert history.candles == (*before[1:], *minutes(10))


@given(st.lists(st.tuples(st.lists(st.integers(-3, 40), max_size=15), st.integers(0, 40), st.integers(1, SIZE))))
def test_whatever_is_answered_it_stays_in_a_row_and_closed(answers: list[tuple[list[int], int, int]]) -> None:
    history, newest = CandleHistory(SIZE, MINUTE), 0
    for numbers, target, asked in answers:
        newest = max(newest, target)
        history.take(minutes(*numbers), at(newest), asked=SIZE if not history.candles else asked)
        kept = held(history)
        assert kept == list(range(kept[0], kept[0] + len(kept))) if kept else True
        assert all(number <= newest for number in kept)
        assert len(kept) <= SIZE
