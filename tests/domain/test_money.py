"""Text becomes a number once, and hostile text never does."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.money import LARGEST, decimal_of, plain

HOSTILE = [
    "NaN", "sNaN", "-NaN", "Infinity", "-inf", "1e19", "-1e19", "1e999999999", "1e-999999999", "0e-999999999",
    "0e999999999", "9" * 5_000, "", " ", "abc", "1,5", "0x10", "1_000", "--1", "1e", "١٢٣", "1\x00", "1 ", "\n1",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_refused_with_the_name_of_its_field(text: str) -> None:
    with pytest.raises(ValueError, match=r"^score: "):
        decimal_of(text, "score")


@pytest.mark.parametrize("value", [None, 1.5, float("nan"), True, [], {}, b"1", Decimal("NaN"), Decimal("1e999999")])
def test_what_is_not_exact_text_or_whole_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^score: "):
        decimal_of(value, "score")


@pytest.mark.parametrize(
    ("given_", "expected"),
    [("0", "0"), ("-0", "0"), ("1.50", "1.5"), ("1e3", "1000"), ("1E-8", "0.00000001"), (7, "7"), ("0.00000000", "0")],
)
def test_numbers_are_read_exactly(given_: str | int, expected: str) -> None:
    assert plain(decimal_of(given_, "x")) == expected


def test_the_largest_number_is_still_a_number() -> None:
    assert decimal_of(str(LARGEST), "x") == LARGEST


@given(st.text(max_size=40))
def test_any_text_is_a_finite_number_or_a_value_error(text: str) -> None:
    try:
        value = decimal_of(text, "x")
    except ValueError:
        return
    assert value.is_finite()
    assert abs(value) <= LARGEST


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=12))
def test_plain_text_has_no_exponent_and_reads_back_the_same(value: Decimal) -> None:
    text = plain(value)
    assert "E" not in text.upper()
    assert decimal_of(text, "x") == value
