"""The hash chain: what is sealed verifies, and nothing that was touched does."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.audit import GENESIS, canonical, iso_ms, seal, verify

TIME = "2026-09-19T12:00:00.123Z"
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def a_chain(length: int, prev: str = GENESIS, seq: int = 1) -> list[str]:
    lines = []
    for number in range(seq, seq + length):
        sealed = seal(prev, number, TIME, "order.filled", {"n": number, "price": Decimal("0.10")})
        lines.append(sealed.line)
        prev = sealed.hash
    return lines


def test_a_sealed_chain_verifies_and_tells_where_it_stands() -> None:
    verdict = verify(a_chain(3))
    assert (verdict.ok, verdict.records, verdict.seq) == (True, 3, 3)


def test_no_lines_leave_the_chain_where_it_was() -> None:
    verdict = verify([], prev="f" * 64, seq=8)
    assert (verdict.ok, verdict.records, verdict.seq, verdict.hash) == (True, 0, 7, "f" * 64)


def test_a_second_file_continues_with_the_hash_of_the_first() -> None:
    first = verify(a_chain(2))
    assert verify(a_chain(2, first.hash, 3), first.hash, 3).ok
    assert verify(a_chain(2), first.hash, 3).first_bad_line == 1


@given(kind=st.text(), data=st.dictionaries(st.text(), JSON_VALUES, max_size=4))
def test_any_json_data_becomes_one_line_that_verifies(kind: str, data: dict[str, object]) -> None:
    line = seal(GENESIS, 1, TIME, kind, data).line
    assert "\n" not in line
    assert "\r" not in line
    assert verify([line]).ok


@given(st.data())
def test_flipping_any_one_bit_is_found_at_its_line(data: st.DataObject) -> None:
    lines = a_chain(3)
    number = data.draw(st.integers(0, 2))
    raw = bytearray(lines[number].encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    lines[number] = raw.decode("latin-1")
    assert verify(lines).first_bad_line == number + 1


@pytest.mark.parametrize("victim", range(4))
def test_a_removed_record_is_found_at_the_one_after_it(victim: int) -> None:
    lines = a_chain(5)
    del lines[victim]
    assert verify(lines).first_bad_line == victim + 1


@pytest.mark.parametrize("first", range(4))
def test_two_swapped_records_are_found(first: int) -> None:
    lines = a_chain(5)
    lines[first], lines[first + 1] = lines[first + 1], lines[first]
    assert verify(lines).first_bad_line == first + 1


def test_a_record_forged_with_a_right_hash_breaks_the_record_after_it() -> None:
    lines = a_chain(3)
    first = verify(lines[:1])
    lines[1] = seal(first.hash, 2, TIME, "order.filled", {"n": 2, "price": "99"}).line
    assert verify(lines).first_bad_line == 3


@pytest.mark.parametrize(
    "edit", [lambda line: line + " ", lambda line: line.replace('"kind"', '"kind" '), lambda _: ""]
)
def test_an_edit_that_keeps_the_json_value_is_found(edit: "type[str]") -> None:
    lines = a_chain(2)
    lines[1] = edit(lines[1])
    assert verify(lines).first_bad_line == 2


def test_a_deeply_nested_line_is_bad_and_does_not_escape_as_an_error() -> None:
    assert verify(["[" * 200_000]).first_bad_line == 1


def test_decimals_keep_their_digits_and_floats_are_refused() -> None:
    assert canonical({"b": Decimal("1.10"), "a": (1, None)}) == '{"a":[1,null],"b":"1.10"}'
    with pytest.raises(TypeError, match="float"):
        canonical({"price": 0.1})


def test_time_is_utc_with_milliseconds_whatever_zone_it_came_in() -> None:
    assert iso_ms(datetime(2026, 1, 1, 2, 0, 0, 1999, timezone(timedelta(hours=2)))) == "2026-01-01T00:00:00.001Z"
    assert iso_ms(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000Z"
    with pytest.raises(ValueError, match="zone"):
        iso_ms(datetime(2026, 1, 1))  # noqa: DTZ001 - the naive time is the case under test
