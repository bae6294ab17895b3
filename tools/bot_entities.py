"""Whether the Telegram Bot API would accept a text in a parse mode: the refusals it is known for, in its own words.

Covers MarkdownV2, HTML and the legacy Markdown: unbalanced entities, unescaped reserved characters, unknown tags. It
does not compute the entities themselves.
"""

import re
from html.parser import HTMLParser
from typing import Final

_RESERVED: Final = frozenset("_*[]()~`>#+-=|{}.!")
_MARKS: Final = {"*": "Bold", "__": "Underline", "_": "Italic", "~": "Strikethrough", "||": "Spoiler"}
_LEGACY: Final = re.compile(r"```.*?```|`[^`]*`|\[[^\]]*\]\([^)]*\)|\*[^*]*\*|_[^_]*_|\\[_*`\[]", re.DOTALL)
_STYLE_TAGS: Final = ("b", "strong", "i", "em", "u", "ins", "s", "strike", "del", "span", "tg-spoiler")
_TAGS: Final = frozenset({*_STYLE_TAGS, "a", "tg-emoji", "code", "pre", "blockquote"})
_FENCED: Final = re.compile(r"```(?:\\.|[^\\])*?```", re.DOTALL)
_CODE: Final = re.compile(r"`(?:\\.|[^\\`])*`", re.DOTALL)


class EntityError(ValueError):
    """The text of the API's description after "Bad Request: "."""


def check(text: str, parse_mode: str) -> None:
    """Raises EntityError when the API would refuse `text`; an unknown mode is refused as well."""
    match parse_mode.lower():
        case "":
            return
        case "markdownv2":
            _MarkdownV2(text).check()
        case "html":
            _Html().check(text)
        case "markdown":
            _check_legacy(text)
        case _:
            raise EntityError("unsupported parse_mode")


def _byte_offset(text: str, position: int) -> int:
    return len(text[:position].encode("utf-8", "surrogatepass"))


class _MarkdownV2:
    def __init__(self, text: str) -> None:
        self._text = text
        self._open: list[tuple[str, int]] = []
        self._position = 0

    def check(self) -> None:
        while self._position < len(self._text):
            self._position += self._step(self._text[self._position])
        if self._open:
            mark, start = self._open[-1]
            raise self._unfinished(_MARKS.get(mark, "TextUrl"), start)

    def _step(self, char: str) -> int:
        """Reads one construct at the position and answers its length."""
        rest = self._text[self._position :]
        if char == "\\":
            return 2
        if char == "`":
            return self._code(rest)
        if rest.startswith(("__", "||")):
            return self._toggle(rest[:2])
        if char in "*_~":
            return self._toggle(char)
        if char == "[" or (char == "!" and rest.startswith("![")):
            self._open.append(("[", self._position))
            return 1 if char == "[" else 2
        if char == "]" and self._open and self._open[-1][0] == "[":
            return self._link(rest)
        if char == ">" and (self._position == 0 or self._text[self._position - 1] == "\n"):
            return 1
        if char in _RESERVED:
            raise EntityError(
                f"can't parse entities: Character '{char}' is reserved and must be escaped with the preceding '\\'"
            )
        return 1

    def _toggle(self, mark: str) -> int:
        if self._open and self._open[-1][0] == mark:
            self._open.pop()
        elif any(mark == other for other, _ in self._open):
            inner, start = self._open[-1]
            raise self._unfinished(_MARKS.get(inner, "TextUrl"), start)
        else:
            self._open.append((mark, self._position))
        return len(mark)

    def _code(self, rest: str) -> int:
        pattern, name = (_FENCED, "Pre") if rest.startswith("```") else (_CODE, "Code")
        found = pattern.match(rest)
        if found is None:
            raise self._unfinished(name, self._position)
        return found.end()

    def _link(self, rest: str) -> int:
        target = re.match(r"\]\((?:\\.|[^\\)])*\)", rest, re.DOTALL)
        if rest.startswith("](") and target is None:
            raise EntityError(f"can't parse entities: Can't find end of a URL at byte offset {self._offset(1)}")
        self._open.pop()
        return target.end() if target else 1

    def _offset(self, ahead: int = 0) -> int:
        return _byte_offset(self._text, self._position + ahead)

    def _unfinished(self, name: str, start: int) -> EntityError:
        return EntityError(
            f"can't parse entities: Can't find end of {name} entity at byte offset {_byte_offset(self._text, start)}"
        )


class _Html(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self._stack: list[str] = []

    def check(self, text: str) -> None:
        stray = re.search(r"<(?![a-zA-Z/])", text)
        if stray:
            raise EntityError(f'can\'t parse entities: Unsupported start tag "" at byte offset {stray.start()}')
        self.feed(text)
        self.close()
        if self._stack:
            raise EntityError(
                f"can't parse entities: Can't find end tag corresponding to start tag \"{self._stack[-1]}\""
            )

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag not in _TAGS:
            raise EntityError(f'can\'t parse entities: Unsupported start tag "{tag}" at byte offset {self.getpos()[1]}')
        self._stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._stack:
            raise EntityError(f"can't parse entities: Unexpected end tag at byte offset {self.getpos()[1]}")
        expected = self._stack.pop()
        if tag != expected:
            raise EntityError(
                f"can't parse entities: Unmatched end tag at byte offset {self.getpos()[1]}, "
                f'expected "</{expected}>", found "</{tag}>"'
            )


def _check_legacy(text: str) -> None:
    rest = _LEGACY.sub(lambda found: " " * len(found[0]), text)
    unpaired = re.search(r"[_*`\[]", rest)
    if unpaired:
        raise EntityError(
            f"can't parse entities: Can't find end of the entity starting at byte offset "
            f"{_byte_offset(text, unpaired.start())}"
        )
