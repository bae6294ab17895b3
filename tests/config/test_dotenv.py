"""The `.env` reader refuses what it would have to guess at, with the line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.settings.dotenv import parse_dotenv, render_assignment


def read(text: str | bytes) -> dict[str, str]:
    assignments, problems = parse_dotenv(text.encode() if isinstance(text, str) else text, ".env")
    assert not problems, [str(problem) for problem in problems]
    return {assignment.key: assignment.value for assignment in assignments}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=5", "5"),
        ("A = 5 ", "5"),
        ("export A=5", "5"),
        ("A='5'", "5"),
        ('A="5" # a note after a quoted value', "5"),
        ('A="5 # kept"', "5 # kept"),
        ("A=p#ss", "p#ss"),
        ("A=", ""),
        ("A=$HOME", "$HOME"),
        ("# B=1\n\n  A=5", "5"),
        ("A=5\r\n", "5"),
        (b"\xef\xbb\xbfA=5\r\n", "5"),
    ],
)
def test_what_is_clear_is_read(text: str | bytes, value: str) -> None:
    assert read(text) == {"A": value}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("X=1\nA=5 # note", "A (.env line 2): has a comment on the same line"),
        ("A=#note", "A (.env line 1): has a comment on the same line"),
        ("A='5", "has no closing '"),
        ("A='5'6", "text after the closing quote"),
        ("just words", "(line) (.env line 1): is not of the form KEY=value"),
        ("1A=5", "is not of the form KEY=value"),
        ("A=5\x07", "contains a control character"),
        (b"A=1\nB=\xff", ".env (line 2): is not UTF-8 text"),
    ],
)
def test_what_is_not_clear_is_refused_with_its_line(text: str | bytes, said: str) -> None:
    _, problems = parse_dotenv(text.encode() if isinstance(text, str) else text, ".env")
    assert len(problems) == 1
    assert said in str(problems[0])


def test_a_line_that_does_not_parse_is_not_echoed() -> None:
    _, problems = parse_dotenv(b"sk-live-1234567", ".env")
    assert "sk-live" not in str(problems[0])


@given(st.text(alphabet=st.characters(min_codepoint=32, exclude_characters='"', exclude_categories=["Cs", "Cc"])))
def test_a_written_value_reads_back_the_same(value: str) -> None:
    assert read(render_assignment("A", value)) == {"A": value}
