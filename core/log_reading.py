"""The end of the log file, for people who have no shell: the newest lines of at least a level, secrets masked again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from core.engine.operator_desk import LogLine
from core.redaction import Redactor

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
MOST_BYTES: Final = 4_000_000
"""So much of the file is looked through, from its end."""
_BLOCK: Final = 64 * 1024
_LEFT_OUT: Final = frozenset({"time", "level", "event", "exception"})


def last_lines(path: Path, count: int, least: str, redactor: Redactor) -> list[LogLine]:
    """Oldest first, at most `count`, of level `least` and worse; none where there is no file. A line that is no JSON of
    ours is left out. Raises OSError."""
    floor = LEVELS.index(least)
    found: list[LogLine] = []
    if not path.exists():
        return found
    for raw in _backwards(path):
        line = _read(raw, redactor)
        if line is not None and line.level in LEVELS and LEVELS.index(line.level) >= floor:
            found.append(line)
            if len(found) == count:
                break
    return found[::-1]


def _read(raw: bytes, redactor: Redactor) -> LogLine | None:
    try:
        facts = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(facts, dict):
        return None
    clean = redactor.mapping(facts)
    pairs = (f"{name}={value}" for name, value in clean.items() if name not in _LEFT_OUT)
    told = {name: str(clean.get(name, "")) for name in ("time", "level", "event")}
    return LogLine(time=told["time"], level=told["level"], event=told["event"], detail=" ".join(pairs))


def _backwards(path: Path) -> Iterator[bytes]:
    """Complete lines from the end of the file."""
    with path.open("rb") as file:
        position = file.seek(0, 2)
        stop = max(0, position - MOST_BYTES)
        rest = b""
        while position > stop:
            size = min(_BLOCK, position - stop)
            position -= size
            file.seek(position)
            first, *lines = (file.read(size) + rest).split(b"\n")
            rest = first
            yield from (line for line in reversed(lines) if line)
        if position == 0 and rest:
            yield rest
