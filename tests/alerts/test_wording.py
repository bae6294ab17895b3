"""Cleaning and splitting of texts."""

from hypothesis import given
from hypothesis import strategies as st

from core.alerts.wording import MAX_UNITS, sanitized, split


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


@given(st.text(), st.integers(2, 40))
def test_split_parts_fit_and_lose_nothing_but_line_ends(text: str, limit: int) -> None:
    text = sanitized(text)
    parts = split(text, limit)
    assert all(units(part) <= limit for part in parts)
    assert "".join(parts).replace("\n", "") == text.replace("\n", "")


def test_a_message_is_split_at_a_line_end_where_there_is_one() -> None:
    line = "x" * 3000
    assert split(f"{line}\n{line}") == (line, line)
    assert [len(part) for part in split("x" * (MAX_UNITS + 1))] == [MAX_UNITS, 1]


def test_text_from_outside_cannot_forge_lines_turn_direction_or_be_unsendable() -> None:
    assert sanitized("BTC\r\x1b[2K\u202e\ud800\u2028_*[x](y)") == "BTC��[2K���_*[x](y)"
    assert sanitized("\n\x00") == "\n\x00".replace("\n", "").replace("\x00", "�")
    assert sanitized("  ") == "(empty)"
