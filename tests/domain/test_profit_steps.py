"""Taking profit in steps: quantities that the venue takes and that add up."""

from decimal import ROUND_FLOOR, Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.money import HUNDRED, ZERO, Quantity
from core.domain.profit_steps import ProfitStep, slices
from tests.builders import Number, a_lot, an_instrument, price, quantity


def some_steps(*shares: Number) -> tuple[ProfitStep, ...]:
    return tuple(ProfitStep(percent=Decimal(at), share=Decimal(share)) for at, share in enumerate(shares, start=1))


def sliced(entered: Number, *shares: Number, least: Number = "0.001", step: Number = "0.001") -> list[Decimal]:
    instrument = an_instrument(market_lot=a_lot(minimum=least, step=step), min_notional=5)
    return list(slices(quantity(entered), some_steps(*shares), instrument, price(100)))


@pytest.mark.failure("VAL-18")
@pytest.mark.parametrize(
    ("entered", "shares", "expected"),
    [
        ("1", (50, 50), ["0.5", "0.5"]),
        ("1", (25, 25), ["0.25", "0.25"]),
        ("0.101", (50, 50), ["0.05", "0.051"]),
        ("1", (33, 33, 34), ["0.33", "0.33", "0.34"]),
        ("0.07", (50, 50), [0, "0.07"]),  # half of it is below the least notional of 0.05
        ("0.3", (10, 10, 80), [0, "0.06", "0.24"]),
        ("1", (90, 6, 4), ["0.9", "0.1", 0]),  # what 6 % leaves could not be closed
        ("1", (97, 3), ["1", 0]),
        ("1", (40, 3), ["0.43", 0]),  # nothing follows the last one
        ("0.4", (80, 10), ["0.4", 0]),
        ("1", (4,), [0]),
        ("0.02", (50, 50), [0, "0.02"]),
        ("1", (), []),
    ],
)
def test_a_slice_that_is_too_small_goes_with_its_neighbour(
    entered: str, shares: tuple[int, ...], expected: list[Number]
) -> None:
    assert sliced(entered, *shares) == [Decimal(part) for part in expected]


def _down(amount: Decimal, step: Decimal) -> Decimal:
    return (amount / step).to_integral_value(ROUND_FLOOR) * step


@st.composite
def cases(draw: st.DrawFn) -> tuple[Quantity, tuple[ProfitStep, ...], Decimal, Decimal, Decimal, Decimal]:
    step = draw(st.sampled_from([Decimal(1), Decimal("0.001"), Decimal("0.00000001"), Decimal(1000)]))
    entered = Quantity(step * draw(st.integers(1, 100_000)))
    cuts = draw(st.lists(st.integers(1, 100), min_size=1, max_size=6, unique=True).map(sorted))
    if draw(st.booleans()):
        cuts[-1] = 100
    shares = [later - earlier for earlier, later in pairwise([0, *cuts])]
    minimum = step * draw(st.integers(1, 50_000))
    notional = Decimal(draw(st.integers(0, 100)))
    return (
        entered,
        some_steps(*shares),
        step,
        minimum,
        notional,
        draw(st.sampled_from([Decimal("1e-8"), Decimal(100), Decimal("1e7")])),
    )


@pytest.mark.failure("VAL-18")
@given(case=cases())
def test_slices_add_up_to_what_is_asked_for_and_each_is_an_order_that_the_venue_takes(
    case: tuple[Quantity, tuple[ProfitStep, ...], Decimal, Decimal, Decimal, Decimal],
) -> None:
    entered, steps, step, minimum, notional, at = case
    lot = a_lot(minimum=minimum, step=step)
    found = slices(entered, steps, an_instrument(market_lot=lot, min_notional=notional), price(at))
    least = max(minimum, notional / at)
    closed, share = sum(found, ZERO), sum((s.share for s in steps), ZERO)
    asked = entered if share == HUNDRED else _down(entered * share / HUNDRED, step)
    assert len(found) == len(steps)
    assert all(part % step == 0 for part in found)
    assert all(part == 0 or part >= least for part in found) or closed == entered < least
    assert entered - closed == 0 or entered - closed >= min(least, entered)
    if closed != asked:
        assert (closed == 0 and asked < least) or (closed == entered and entered - asked < least)
    ends = [_down(entered * sum((s.share for s in steps[:n]), ZERO) / HUNDRED, step) for n in range(len(steps))]
    parts = [later - earlier for earlier, later in pairwise([*ends, asked])]
    if all(part >= least for part in (*parts, entered - asked or least)):
        assert found == parts, "no step needed its neighbour"
