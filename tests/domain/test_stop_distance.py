"""A stop lies beyond noise, spread and fees, within the cap, and before the liquidation (STP-17)."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.money import Price
from core.domain.stop_distance import stop_gate
from core.domain.verdict import Reason
from tests.builders import price, stop_rules

CENT = Decimal("0.001")


def reason(asked: Decimal | str | int | None, touch: tuple[Price, Price] | None = None, **changes: object) -> object:
    gate = stop_gate(None if asked is None else Decimal(asked), touch, stop_rules(**changes))
    return None if gate.denied is None else gate.denied.reason


@pytest.mark.failure("STP-17")
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Decimal("0.2") - CENT, Reason.STOP_TOO_NEAR),
        ("0.2", None),
        ("9.5", None),
        (Decimal("9.5") + CENT, Reason.STOP_BEYOND_LIQUIDATION),
    ],
)
def test_the_distance_is_bounded_on_both_sides(asked: Decimal | str, expected: Reason | None) -> None:
    """0.1 of noise and twice 0.05 of fees; 100 / 10 less 0.5 before the liquidation."""
    assert reason(asked) is expected


@pytest.mark.failure("STP-17")
def test_the_spread_of_the_moment_is_added_to_the_noise() -> None:
    touch = (price("99.5"), price("100.5"))  # one percent
    assert reason("1.2", touch) is None
    assert reason(Decimal("1.2") - CENT, touch) is Reason.STOP_TOO_NEAR


@pytest.mark.failure("STP-17")
def test_the_cap_holds_where_the_leverage_would_allow_more() -> None:
    assert reason(8, cap=8) is None
    assert reason(8 + CENT, cap=8) is Reason.STOP_TOO_FAR


@pytest.mark.failure("STP-17")
def test_the_configured_stop_is_judged_like_one_that_a_signal_asks_for() -> None:
    assert reason(None, default="0.1") is Reason.STOP_TOO_NEAR
    assert reason(None, default=10) is Reason.STOP_BEYOND_LIQUIDATION
    assert reason(None) is None


@pytest.mark.failure("STP-17")
@given(asked=st.integers(1, 99_000), leverage=st.integers(1, 125))
def test_what_passes_is_always_before_the_liquidation_by_the_buffer(asked: int, leverage: int) -> None:
    distance = Decimal(asked) / 1000
    if reason(distance, leverage=leverage) is None:
        assert distance + Decimal("0.5") <= Decimal(100) / leverage
