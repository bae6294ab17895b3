"""Where a stop stands: on the right side, on the tick, from the fill, and never moved out of the market's way."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.order import TriggerReference
from core.domain.protection import MAX_STOP_ATTEMPTS, Flatten, StopPlan, crossed, plan, stop_price, trigger_of
from core.domain.signal import Side
from tests.builders import a_position, an_instrument

sides = st.sampled_from(Side)
ticks = st.integers(-1, 8).map(lambda places: Decimal(1).scaleb(-places))
percents = st.decimals(min_value=Decimal("0.01"), max_value=50, places=2)


@pytest.mark.failure("STP-03")
@given(sides, ticks, percents, st.integers(3, 10**7), st.integers(0, 9))
def test_a_stop_is_on_the_losing_side_of_the_fill_and_on_the_tick(
    side: Side, tick: Decimal, percent: Decimal, ticks_high: int, tenths: int
) -> None:
    entry = tick * ticks_high + tick * tenths / 10  # an average of fills need not be on the tick
    level = stop_price(a_position(side=side, at=entry, stop_loss_percent=percent), an_instrument(tick=tick))
    assert level % tick == 0
    assert (level < entry) if side is Side.BUY else (level > entry)


@given(sides, ticks, percents, st.integers(3, 10**7))
def test_a_stop_is_at_most_as_far_as_asked_or_one_tick(
    side: Side, tick: Decimal, percent: Decimal, ticks_high: int
) -> None:
    entry = tick * ticks_high
    level = stop_price(a_position(side=side, at=entry, stop_loss_percent=percent), an_instrument(tick=tick))
    assert abs(entry - level) <= max(entry * percent / 100, tick)


@given(sides, st.integers(50, 150))
def test_a_crossed_level_flattens_and_any_other_is_placed_where_the_fill_put_it(side: Side, reference: int) -> None:
    position = a_position(side=side, at=100, stop_loss_percent=2)
    level = stop_price(position, an_instrument())
    decision = plan(position, an_instrument(), Decimal(reference), 0)
    if crossed(side, level, Decimal(reference)):
        assert isinstance(decision, Flatten)
    else:
        assert decision == StopPlan(side=side.opposite, quantity=position.quantity, trigger_price=level)


@pytest.mark.parametrize(("side", "touching"), [(Side.BUY, 98), (Side.SELL, 102)])
def test_a_reference_exactly_at_the_level_counts_as_crossed(side: Side, touching: int) -> None:
    assert isinstance(plan(a_position(side=side), an_instrument(), Decimal(touching), 0), Flatten)


def test_an_unknown_reference_leaves_the_judgement_to_the_venue() -> None:
    assert isinstance(plan(a_position(), an_instrument(), None, 0), StopPlan)


@given(sides, st.integers(1, MAX_STOP_ATTEMPTS - 1), st.decimals("98.1", "101.9", places=3))
def test_after_a_refusal_the_level_keeps_its_distance_and_never_comes_nearer(
    side: Side, attempt: int, reference: Decimal
) -> None:
    position, instrument = a_position(side=side), an_instrument()
    first, later = (plan(position, instrument, reference, n) for n in (0, attempt))
    assert isinstance(first, StopPlan)
    assert isinstance(later, StopPlan)
    assert later.trigger_price % instrument.tick == 0
    assert (reference - later.trigger_price) * side.sign >= instrument.tick * (2 + attempt)
    assert (first.trigger_price - later.trigger_price) * side.sign >= 0


def test_only_the_last_rung_asks_for_the_other_trigger() -> None:
    mark, contract = TriggerReference.MARK_PRICE, TriggerReference.CONTRACT_PRICE
    assert [trigger_of(attempt, mark) for attempt in range(MAX_STOP_ATTEMPTS)] == [mark, mark, contract]
    assert [trigger_of(attempt, contract) for attempt in range(MAX_STOP_ATTEMPTS)] == [contract, contract, mark]


def test_after_the_last_attempt_the_position_goes() -> None:
    decision = plan(a_position(), an_instrument(), Decimal(100), MAX_STOP_ATTEMPTS)
    assert isinstance(decision, Flatten)
    assert "3 stops" in decision.why


def test_a_level_that_is_no_price_flattens() -> None:
    position = a_position(at="0.1", stop_loss_percent=50)
    assert isinstance(plan(position, an_instrument(tick=1), None, 0), Flatten)
