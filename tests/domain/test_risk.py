"""Each limit acts at its configured value, and a refusal names the setting (RSK-04, VAL-11)."""

from decimal import Decimal

import pytest

from core.domain.gate import first_refusal
from core.domain.money import Notional
from core.domain.risk import RiskUsage, check
from core.domain.verdict import Reason
from tests.builders import risk_limits

CENT = Decimal("0.01")


def usage(positions: int = 0, exposure: Decimal | int = 0, free: Decimal | int | None = 1_000_000) -> RiskUsage:
    return RiskUsage(positions=positions, exposure=Decimal(exposure), free=None if free is None else Decimal(free))


def reason(notional: Decimal | int, used: RiskUsage, **limits: int) -> Reason | None:
    denied = first_refusal(check(Notional(Decimal(notional)), risk_limits(**limits), used))
    return None if denied is None else denied.reason


@pytest.mark.parametrize(("held", "expected"), [(4, None), (5, Reason.MAX_POSITIONS), (6, Reason.MAX_POSITIONS)])
def test_positions_are_allowed_up_to_the_limit(held: int, expected: Reason | None) -> None:
    assert reason(1, usage(positions=held), max_positions=5) is expected


@pytest.mark.parametrize(("notional", "expected"), [(100, None), (100 + CENT, Reason.MAX_EXPOSURE)])
def test_exposure_is_allowed_up_to_the_limit(notional: Decimal, expected: Reason | None) -> None:
    assert reason(notional, usage(exposure=900), max_exposure=1000) is expected


@pytest.mark.parametrize(("free", "expected"), [(30, None), (30 - CENT, Reason.BALANCE_TOO_LOW)])
def test_the_reserve_stays_free_after_the_margin_of_this_entry(free: Decimal, expected: Reason | None) -> None:
    assert reason(200, usage(free=free), reserve=10, leverage=10) is expected


def test_an_unknown_balance_refuses_instead_of_meaning_zero_or_plenty() -> None:
    assert reason(1, usage(free=None)) is Reason.BALANCE_UNKNOWN


@pytest.mark.parametrize(
    ("used", "setting"),
    [
        (usage(positions=10), "MAX_POSITIONS"),
        (usage(exposure=100_000), "MAX_EXPOSURE_USD"),
        (usage(free=0), "MINIMUM_ACTIVE_BALANCE_USD"),
    ],
)
def test_a_refusal_names_the_setting_that_decided(used: RiskUsage, setting: str) -> None:
    denied = first_refusal(check(Notional(Decimal(100)), risk_limits(), used))
    assert denied is not None
    assert setting in denied.values
