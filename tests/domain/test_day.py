"""The day's result: what trading changed since 00:00 UTC, and nothing else."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from core.domain.day import MS_PER_DAY, DayAccount, day_of, end_of, worth
from core.domain.ids import PositionId
from core.domain.money import ZERO
from core.domain.position import reduce
from core.domain.signal import Side
from tests.builders import NOW_MS, a_fill, a_position, an_intent

P, Q = PositionId("p"), PositionId("q")
money = st.integers(-1_000, 1_000).map(Decimal)


def a_day(**fields: object) -> DayAccount:
    return DayAccount(day=day_of(NOW_MS), **fields)  # type: ignore[arg-type]


def test_a_day_begins_and_ends_at_midnight_utc() -> None:
    midnight = end_of(day_of(NOW_MS))
    assert midnight % MS_PER_DAY == 0
    assert day_of(midnight - 1) == day_of(NOW_MS) == day_of(midnight) - 1


@pytest.mark.parametrize(("side", "expected"), [(Side.BUY, "-10.5"), (Side.SELL, "9.5")])
def test_the_worth_of_a_position_has_its_open_result_and_its_fees(side: Side, expected: str) -> None:
    position = replace(a_position(side=side, amount=1, at=100), fees=Decimal("0.5"))
    assert worth(position, Decimal(90)) == Decimal(expected)


def test_a_partial_close_only_moves_worth_from_open_to_realised() -> None:
    position = a_position(amount=2, at=100)
    closed = reduce(position, a_fill(an_intent(), side=Side.SELL, amount=1, at=90, fee=0))
    assert worth(position, Decimal(90)) == worth(closed, Decimal(90)) == -20


@given(worths=st.lists(money, min_size=1), final=money)
def test_the_result_of_a_position_opened_today_is_its_final_worth_whatever_came_between(
    worths: list[Decimal], final: Decimal
) -> None:
    day = a_day().opened(P)
    for value in worths:
        day = day.valued(P, value)
        assert day.result == day.open == value
    day = day.ended(P, final)
    assert (day.result, day.closed, day.open) == (final, final, ZERO)


@given(before=money, first=money, then=money)
def test_the_days_of_a_position_add_up_to_its_whole_result(before: Decimal, first: Decimal, then: Decimal) -> None:
    day = a_day().opened(P).valued(P, before)
    rolled = day.rolled(day.day + 1).valued(P, first)
    assert (day.result, rolled.result) == (before, first - before)
    assert day.result + rolled.ended(P, then).result == then


def test_what_a_taken_over_position_had_made_before_is_not_of_this_day() -> None:
    day = a_day().valued(P, Decimal(-500))
    assert day.result == 0
    assert day.valued(P, Decimal(-520)).result == -20


def test_a_size_corrected_without_a_trade_is_neither_profit_nor_loss() -> None:
    """Half of an open loss of 40 goes with the half that somebody else closed; it stays lost."""
    day = a_day().opened(P).valued(P, Decimal(-40))
    assert day.changed_hands(P, Decimal(20)).valued(P, Decimal(-20)).result == -40


def test_one_that_is_gone_at_an_unknown_price_keeps_its_last_worth() -> None:
    assert a_day().opened(P).valued(P, Decimal(-7)).ended(P).result == -7
    assert a_day().ended(Q).result == 0


def test_funding_counts_and_a_resume_makes_the_limit_count_anew() -> None:
    day = a_day().opened(P).valued(P, Decimal(-30)).funded(Decimal(-5))
    assert (day.result, day.counted_loss) == (-35, 35)
    forgiven = day.forgave()
    assert (forgiven.result, forgiven.counted_loss) == (-35, 0)
    assert forgiven.valued(P, Decimal(-40)).counted_loss == 10
    assert forgiven.rolled(day.day + 1).forgiven == 0


def test_a_winning_day_has_nothing_to_forgive() -> None:
    """Else the next loss would be allowed to eat the gain and the limit on top."""
    day = a_day().opened(P).valued(P, Decimal(50)).forgave()
    assert day.valued(P, Decimal(-10)).counted_loss == 10


def test_many_valued_at_once_are_valued_as_one_by_one() -> None:
    other, third = PositionId("q"), PositionId("r")
    day = a_day().opened(P).valued(P, Decimal(-40)).opened(other)
    worths = {P: Decimal(-40), other: Decimal(7), third: Decimal(5)}
    one_by_one = day
    for position, made in worths.items():
        one_by_one = one_by_one.valued(position, made)
    assert day.all_valued(worths) == one_by_one
    assert day.all_valued({P: Decimal(-40)}) is day
