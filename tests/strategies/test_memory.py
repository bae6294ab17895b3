"""The cache of indicators feeds each candle once and in order, whatever it is handed."""

from __future__ import annotations

from core.domain.candle import Candle
from strategies.memory import Memory
from tests.builders import BTC, ETH
from tests.strategies.candles import MINUTE, START_MS, a_candle


class Fed:
    """Remembers the numbers of its candles."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def add(self, candle: Candle) -> None:
        self.numbers.append((candle.open_ms - START_MS) // MINUTE)


def minutes(*numbers: int) -> list[Candle]:
    return [a_candle(number, 100.0) for number in numbers]


def fed(memory: Memory[Fed], *numbers: int) -> list[int] | None:
    figures = memory.feed(BTC, minutes(*numbers), MINUTE)
    return None if figures is None else figures.numbers


def test_only_new_candles_are_fed_and_only_from_enough_on_there_is_an_answer() -> None:
    memory = Memory(Fed, 3)
    assert fed(memory, 0, 1) is None
    assert fed(memory, 0, 1, 2) == [0, 1, 2]
    assert fed(memory, 1, 2, 3, 4) == [0, 1, 2, 3, 4]
    assert fed(memory, 4) == [0, 1, 2, 3, 4]


def test_a_repetition_or_an_older_candle_among_new_ones_is_passed_over() -> None:
    memory = Memory(Fed, 2)
    assert fed(memory, 0, 1, 1, 2, 0, 3) == [0, 1, 2, 3]


def test_behind_a_gap_it_begins_anew() -> None:
    memory = Memory(Fed, 2)
    assert fed(memory, 0, 1, 2) == [0, 1, 2]
    assert fed(memory, 4) is None
    assert fed(memory, 4, 5) == [4, 5]


def test_instruments_out_of_sight_are_forgotten() -> None:
    memory = Memory(Fed, 1)
    figures = memory.feed(BTC, minutes(*range(10)), MINUTE)
    memory.feed(ETH, minutes(5), MINUTE)
    memory.retire(START_MS + 6 * MINUTE)
    assert memory.feed(ETH, [], MINUTE) is None
    assert memory.feed(BTC, [], MINUTE) is figures
