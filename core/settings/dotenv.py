"""A strict `.env` reader: what it cannot read without guessing it refuses with the line number (CFG-01, CFG-04).

Python-dotenv is deliberately not used: it lets the last of two equal keys win, takes `5 # note` for text in some
positions and skips lines it does not understand, which is how a grace period of 8 once became 1.
"""

from __future__ import annotations

import re

from msgspec import Struct

from core.settings.problems import Problem

ASSIGNMENT = re.compile(r"(?:export[ \t]+)?(?P<key>[A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*(?P<value>.*)")
INLINE_COMMENT = re.compile(r"(^|\s)#")


class Assignment(Struct, frozen=True):
    """One `KEY=value` line; `value` is "" when nothing follows the equals sign."""

    key: str
    value: str
    line: int


def parse_dotenv(raw: bytes, name: str) -> tuple[list[Assignment], list[Problem]]:
    """Read the file called `name`. Byte order mark, CRLF and one pair of quotes are understood; nothing is expanded."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        broken = raw[: error.start].count(b"\n") + 1
        problem = Problem(
            variable=name, source=f"line {broken}", what="is not UTF-8 text", fix="save the file with UTF-8 encoding"
        )
        return [], [problem]
    assignments: list[Assignment] = []
    problems: list[Problem] = []
    lines: list[str] = re.split(r"\r\n|\n|\r", text)
    for number, line in enumerate(lines, start=1):
        stripped = line.strip(" \t")
        if not stripped or stripped.startswith("#"):
            continue
        outcome = _parse_line(stripped, number, f"{name} line {number}")
        if isinstance(outcome, Problem):
            problems.append(outcome)
        else:
            assignments.append(outcome)
    return assignments, problems


def _parse_line(line: str, number: int, source: str) -> Assignment | Problem:
    match = ASSIGNMENT.fullmatch(line)
    if match is None:
        # The text is not shown: a line that does not parse may well be a piece of a secret.
        return Problem(
            variable="(line)", source=source, what="is not of the form KEY=value", fix="correct or delete the line"
        )
    key, value = match["key"], match["value"]
    if any(ord(char) < 32 and char != "\t" for char in value):
        return Problem(
            variable=key, source=source, what="contains a control character", fix="type the value again by hand"
        )
    if value[:1] in {'"', "'"}:
        return _parse_quoted(key, value, number, source)
    if INLINE_COMMENT.search(value):
        return Problem(
            variable=key,
            source=source,
            what="has a comment on the same line, which would become part of the value",
            fix="move the comment to a line of its own, or quote the value if '#' belongs to it",
        )
    return Assignment(key, value, number)


def _parse_quoted(key: str, value: str, number: int, source: str) -> Assignment | Problem:
    quote = value[0]
    end = value.find(quote, 1)
    if end < 0:
        return Problem(variable=key, source=source, what=f"has no closing {quote}", fix="close the quotes")
    rest = value[end + 1 :].strip()
    if rest and not rest.startswith("#"):
        return Problem(
            variable=key, source=source, what="has text after the closing quote", fix="quote the whole value once"
        )
    return Assignment(key, value[1:end], number)


def render_assignment(key: str, value: str) -> str:
    """`KEY=value` such that `parse_dotenv` reads back exactly `value`.

    Raises:
        ValueError: the value holds both kinds of quotes beside something that needs quoting, or a line break.
    """
    if any(ord(char) < 32 for char in value):
        raise ValueError(f"{key} holds a control character and cannot be written to a .env file")
    needs_quotes = value != value.strip() or value[:1] in {'"', "'"} or INLINE_COMMENT.search(value) is not None
    if not needs_quotes:
        return f"{key}={value}"
    quote = '"' if '"' not in value else "'"
    if quote in value:
        raise ValueError(f"{key} holds both kinds of quotes and cannot be written to a .env file")
    return f"{key}={quote}{value}{quote}"
