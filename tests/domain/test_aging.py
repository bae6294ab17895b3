"""A position that has grown old is let go at a loss that grows with its age, long and short alike."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.aging import HOUR_MS
from core.domain.exits import NONE_CONFIRMED, ExitReason, fresh_state, judge
from core.domain.money import Price
from core.domain.signal import Side
from tests.builders import Number, a_position
from tests.domain.exit_world import BOTH, CENTS, FEE, a_life, percent_from, seen, some_aging, some_rules, some_trailing


def hours(value: Number) -> int:
    return int(Decimal(value) * HOUR_MS)


@pytest.mark.parametrize(
    ("age", "accepted"),
    [
        (0, None),
        ("2.999", None),
        (3, 0),
        ("10.5", 0),
        (11, 0),
        (12, "0.5"),
        ("12.5", "0.75"),
        (21, 5),
        (22, "5.6"),
        ("29.3", "9.98"),
        ("29.5", 10),
        (1000, 10),
    ],
)
def test_the_accepted_loss_waits_grows_grows_faster_and_ends(age: Number, accepted: Number | None) -> None:
    """From 3 h at breakeven, from 11 h 0.5 % an hour, from 21 h times 1.2, up to 10 %."""
    assert some_aging().accepted_loss(hours(age)) == (None if accepted is None else Decimal(accepted))


@given(earlier=st.integers(-HOUR_MS, 60 * HOUR_MS), later=st.integers(0, 20 * HOUR_MS))
def test_the_accepted_loss_never_shrinks_and_never_passes_its_limit(earlier: int, later: int) -> None:
    rules = some_aging()
    first, second = rules.accepted_loss(earlier), rules.accepted_loss(earlier + later)
    assert second is None or second <= rules.most_percent
    assert first is None or (second is not None and second >= first)


def test_the_accepted_loss_does_not_jump_where_it_begins_to_grow_or_grows_faster() -> None:
    rules = some_aging()
    for turn in (11, 21):
        before, after = rules.accepted_loss(hours(turn) - 1000), rules.accepted_loss(hours(turn) + 1000)
        assert (after or 0) - (before or 0) < Decimal("0.001")


def net_percent(side: Side, entry: Decimal, exit_price: Decimal) -> Fraction:
    """What closing there leaves of what was entered with, both fees paid."""
    fee, first, last = Fraction(FEE) / 100, Fraction(entry), Fraction(exit_price)
    return ((last - first) * side.sign - fee * (first + last)) / first * 100


@pytest.mark.failure("TRL-14")
@given(
    side=st.sampled_from(BOTH),
    age=st.integers(0, 40 * HOUR_MS),
    gain=st.integers(-1200, 300),
    trails=st.booleans(),
)
def test_a_position_is_too_old_at_the_same_loss_and_age_whichever_way_it_goes(
    side: Side, age: int, gain: int, trails: bool
) -> None:
    """Exactly where the loss after costs is accepted at that age; a trailing stop is no exemption."""
    position = a_position(side=side, at=100)
    rules = some_rules(aged=some_aging(), fee_percent=FEE, trailing=some_trailing(callback=20) if trails else None)
    state = fresh_state(position)
    if trails:
        state = judge(position, state, NONE_CONFIRMED, rules, seen(percent_from(side, 3)), CENTS).state
        assert state.trailing
    price = Price(percent_from(side, Decimal(gain) / 100))
    stop = percent_from(side, -14)
    verdict = judge(position, state, NONE_CONFIRMED, rules, seen(price, after_ms=age, resting=stop), CENTS)
    accepted = some_aging().accepted_loss(age)
    old = accepted is not None and net_percent(side, Decimal(100), price) >= -Fraction(accepted)
    assert (None if verdict.close is None else verdict.close.reason) is (ExitReason.AGED if old else None)


@pytest.mark.failure("TRL-14")
@pytest.mark.parametrize("side", BOTH)
@pytest.mark.parametrize("trails", [True, False])
def test_longs_and_shorts_age_out_with_an_active_trailing_stop_too(side: Side, trails: bool) -> None:
    """At 4 % gained for three hours: not before, and then at once."""
    life = a_life(side, aged=some_aging(), fee_percent=FEE, trailing=some_trailing() if trails else None)
    life.look(percent_from(side, 4), wait_ms=hours(3) - 1)
    assert life.state.trailing is trails
    assert life.closed is None
    life.look(percent_from(side, 4), wait_ms=1)
    assert life.reason is ExitReason.AGED


@pytest.mark.failure("TRL-14")
@pytest.mark.parametrize("side", BOTH)
def test_an_old_position_that_lost_more_than_is_accepted_is_held_until_more_is(side: Side) -> None:
    life = a_life(side, aged=some_aging(), fee_percent=FEE, resting=percent_from(side, -9))
    loss = percent_from(side, "-2.4")  # 2.5 after costs: five hours of growing
    for age in (4, 7, 4):
        life.look(loss, wait_ms=hours(age))
    assert life.closed is None
    life.look(loss, wait_ms=hours("1.1"))
    assert life.reason is ExitReason.AGED
