"""What waits to be told: bounded, merged into few messages, nothing critical lost. Pure; Telegram is not mentioned."""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

from core.engine.ports import Level

MAX_UNITS: Final = 4096
"""Longest message Telegram takes, in UTF-16 code units."""
CAPACITY: Final = 500
LISTED: Final = 20
"""More waiting notices than this that are not critical become one summary with the newest few (TEL-03)."""
NEWEST: Final = 5

_MARKS: Final = {Level.INFO: "", Level.WARNING: "⚠️ ", Level.CRITICAL: "🔴 "}
_UNSAFE: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class _Notice:
    order: int
    level: Level
    text: str
    times: int = 1

    def line(self) -> str:
        again = f" (×{self.times})" if self.times > 1 else ""
        return f"{_MARKS[self.level]}{self.text}{again}"


class NoticeQueue:
    """Every operation is constant-time but `take`, which costs what it takes."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._count = 0
        self._replies: deque[str] = deque()
        self._critical: deque[_Notice] = deque()
        self._others: deque[_Notice] = deque()
        self._dropped: Counter[Level] = Counter()
        self.dropped_total = 0
        """Notices that will never be told one by one, since the start."""

    def __len__(self) -> int:
        return len(self._replies) + len(self._critical) + len(self._others)

    def put(self, level: Level, text: str) -> None:
        """Queues a notice. At capacity the oldest that is not critical goes; critical ones are all kept, equal ones in
        a row as one with a count."""
        self._count += 1
        notice = _Notice(self._count, level, sanitized(text))
        if level is Level.CRITICAL:
            self._put_critical(notice)
        else:
            self._others.append(notice)
        if self._others and len(self._critical) + len(self._others) > self._capacity:
            self._drop(self._others.popleft())

    def reply(self, text: str) -> None:
        """Queues an answer to a question: it goes before all notices, as a message of its own."""
        self._replies.append(sanitized(text))
        while len(self._replies) > self._capacity:
            self._replies.popleft()

    def take(self) -> tuple[str, ...]:
        """The next message, split to what Telegram takes; empty when nothing waits."""
        if self._replies:
            return split(self._replies.popleft())
        lines = self._waiting_lines()
        return split("\n".join(lines)) if lines else ()

    def _put_critical(self, notice: _Notice) -> None:
        last = self._critical[-1] if self._critical else None
        if last is not None and last.text == notice.text:
            self._critical[-1] = _Notice(last.order, last.level, last.text, last.times + 1)
        else:
            self._critical.append(notice)

    def _waiting_lines(self) -> list[str]:
        if len(self._others) > LISTED:
            while len(self._others) > NEWEST:
                self._drop(self._others.popleft())
        notices = sorted([*self._critical, *self._others], key=lambda notice: notice.order)
        self._critical.clear()
        self._others.clear()
        lines = [notice.line() for notice in notices]
        if self._dropped:
            told = ", ".join(f"{count} {level.value}" for level, count in sorted(self._dropped.items()))
            lines.insert(0, f"… {self._dropped.total()} earlier messages are only in the log ({told})")
            self._dropped.clear()
        return lines

    def _drop(self, notice: _Notice) -> None:
        self._dropped[notice.level] += 1
        self.dropped_total += 1


def sanitized(text: str) -> str:
    """`text` without what could forge a line, turn its direction or not be sent at all; newlines stay."""
    return _UNSAFE.sub("�", text).strip() or "(empty)"


def split(text: str, limit: int = MAX_UNITS) -> tuple[str, ...]:
    """`text` in pieces of at most `limit` UTF-16 units, at line ends where there are any, never inside a character."""
    parts = []
    while _units(text) > limit:
        cut = _fitting(text, limit)
        newline = text.rfind("\n", 0, cut)
        end = newline if newline > 0 else cut
        parts.append(text[:end])
        text = text[end:].removeprefix("\n")
    return (*parts, text) if text.strip() else tuple(parts)


def _units(text: str) -> int:
    return len(text) + sum(char > "\uffff" for char in text)


def _fitting(text: str, limit: int) -> int:
    """How many characters of `text` fit into `limit` units."""
    used = 0
    for index, char in enumerate(text):
        used += 2 if char > "\uffff" else 1
        if used > limit:
            return index
    return len(text)
