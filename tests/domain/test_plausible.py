"""A jump is believed when somebody else saw it too."""

from decimal import Decimal

import pytest

from core.domain.plausible import believed
from tests.builders import Number, price

FIVE = Decimal(5)


@pytest.mark.parametrize(("told", "last", "others", "so"), [
    (100, 100, (), True),
    (105, 100, (), True),
    ("105.01", 100, (), False),
    (95, 100, (), True),
    ("94.99", 100, (), False),
    (1_000, 100, (100,), False),
    (10, 100, (100,), False),
    (80, 100, (80,), True),
    (80, 100, (100, 81), True),
    (80, 100, (90,), False),
    (100, None, (), False),
    (100, None, (101,), True),
    (1_000, None, (101,), False),
])  # fmt: skip
@pytest.mark.failure("MKT-11")
def test_a_price_is_believed_near_the_last_one_or_when_a_second_source_says_the_same(
    told: Number, last: Number | None, others: tuple[Number, ...], so: bool
) -> None:
    base = None if last is None else price(last)
    assert believed(price(told), base, [price(other) for other in others], FIVE) is so
