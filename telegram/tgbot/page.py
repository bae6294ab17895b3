"""A message before it is sent: lines in a style, and buttons. Styles travel beside the text as spans of it, so that
nothing in a symbol, a reason or a log line is ever markup and nothing needs escaping (TEL-07)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import groupby
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

MAX_UNITS: Final = 4096
"""Longest message Telegram takes, in UTF-16 code units."""
LONGEST_LINE: Final = 1_000
"""A longer one is cut: it is a log line or a venue's words, and the file has all of it."""

_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Style(StrEnum):
    """The values are Telegram's own words."""

    PLAIN = ""
    BOLD = "bold"
    TABLE = "pre"
    CODE = "code"
    """One line in fixed width that is copied when it is tapped."""


class Line(Struct, frozen=True):
    text: str
    style: Style = Style.PLAIN


Part = str | Line | Sequence[Line]
"""What a page is put together from; a text may be several lines."""


class Button(Struct, frozen=True):
    """`data` comes back when it is pressed; at most 64 bytes."""

    label: str
    data: str


class Page(Struct, frozen=True):
    lines: tuple[Line, ...]
    buttons: tuple[tuple[Button, ...], ...] = ()
    menu: tuple[tuple[str, ...], ...] = ()
    """Rows of a keyboard that stays under the text field."""

    def plain(self) -> str:
        return "\n".join(line.text for line in self.lines)

    def masked(self, mask: Callable[[str], str]) -> Page:
        """With every line as `mask` leaves it; buttons carry commands only."""
        return replace(self, lines=tuple(replace(line, text=mask(line.text)) for line in self.lines))

    def with_buttons(self, *rows: tuple[Button, ...]) -> Page:
        return replace(self, buttons=(*self.buttons, *rows))


class Span(Struct, frozen=True):
    """Part of a text in one style; UTF-16 code units."""

    style: Style
    offset: int
    length: int


class Text(Struct, frozen=True):
    """One message as it goes out."""

    text: str
    spans: tuple[Span, ...]


def bold(text: str) -> Line:
    return Line(safe(text), Style.BOLD)


def code(text: str) -> Line:
    return Line(safe(text), Style.CODE)


def table(rows: Iterable[str]) -> tuple[Line, ...]:
    """Rows in fixed width, one block however many."""
    return tuple(Line(safe(row), Style.TABLE) for row in rows)


def page(*parts: Part) -> Page:
    """Lines in order."""
    return Page(tuple(_lines(parts)))


def _lines(parts: Iterable[Part]) -> Iterator[Line]:
    for part in parts:
        if isinstance(part, str):
            yield from (Line(safe(text)) for text in part.split("\n"))
        elif isinstance(part, Line):
            yield part
        else:
            yield from part


def safe(text: str) -> str:
    """One line without what could forge another, turn its direction or not be sent at all."""
    clean = _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text)
    return clean if len(clean) <= LONGEST_LINE else clean[: LONGEST_LINE - 1] + "…"


def units(text: str) -> int:
    """The length of a text as Telegram counts it."""
    return len(text) + sum(char > "\uffff" for char in text)


def texts(page: Page, limit: int = MAX_UNITS) -> tuple[Text, ...]:
    """As many messages as it takes, split between lines only, never empty."""
    parts: list[list[Line]] = [[]]
    used = 0
    for line in page.lines:
        size = units(line.text) + 1
        if used + size > limit + 1 and parts[-1]:
            parts.append([])
            used = 0
        parts[-1].append(line)
        used += size
    made = (_text(part) for part in parts)
    return tuple(text for text in made if text.text.strip()) or (Text("(nothing)", ()),)


def _text(lines: Sequence[Line]) -> Text:
    """Neighbouring lines of a table are one span; without that each would be a box of its own."""
    spans: list[Span] = []
    offset = 0
    for style, group in groupby(lines, key=lambda line: line.style):
        rows = [line.text for line in group]
        blocks = ["\n".join(rows)] if style is Style.TABLE else rows
        for block in blocks:
            if style is not Style.PLAIN and block.strip():
                spans.append(Span(style, offset, units(block)))
            offset += units(block) + 1
    return Text("\n".join(line.text for line in lines), tuple(spans))
