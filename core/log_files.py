"""A log file of its own size: rotated by renaming, readable by its owner only, reopened after a failure."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TextIO

from msgspec import Struct

DAY_S = 86_400
MAX_BYTES = 20_000_000
KEEP = 10


class Retention(Struct, frozen=True, kw_only=True):
    """At most `keep` rotated files of `max_bytes` each, and none whose newest line is older than `days` (0 = any)."""

    max_bytes: int = MAX_BYTES
    keep: int = KEEP
    days: int = 0


class RotatedFile:
    """`name.log`, `name.log.1` (newest) … `name.log.KEEP`. Used by one thread; every method may raise OSError.

    A file that cannot be rotated goes on growing, and is tried again each time it has grown by a tenth.
    """

    def __init__(self, path: Path, retention: Retention | None = None) -> None:
        self._path, self._retention = path, retention or Retention()
        self._max_bytes, self._keep = self._retention.max_bytes, self._retention.keep
        self._stream: TextIO | None = None
        self._size = 0
        self._rotate_at = self._max_bytes
        self.rotation_failed = ""
        """Why the last rotation did not succeed; "" when it did."""

    def write(self, line: str) -> None:
        """Append `line` and a line break, flushed. After an OSError the next call opens the file anew."""
        data = line + "\n"
        length = len(data.encode("utf-8", "replace"))
        try:
            stream = self._ready(length)
            stream.write(data)
            stream.flush()
        except OSError:
            self._abandon()
            raise
        self._size += length

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _ready(self, length: int) -> TextIO:
        if self._stream is not None and self._size + length > self._rotate_at:
            self.close()
            self._rotate()
        if self._stream is None:
            self._stream = self._open()
            self._size = os.fstat(self._stream.fileno()).st_size
        return self._stream

    def _open(self) -> TextIO:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._forget()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")

    def _rotate(self) -> None:
        try:
            self._shift()
        except OSError as error:
            self.rotation_failed = str(error)
            self._rotate_at = self._size + self._max_bytes // 10
        else:
            self.rotation_failed, self._rotate_at = "", self._max_bytes

    def _shift(self) -> None:
        for number in range(self._keep - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _forget(self) -> None:
        """Rotated files beyond their number or age; one that cannot be removed is tried again at the next opening."""
        oldest = time.time() - self._retention.days * DAY_S if self._retention.days else 0.0
        for path in self._path.parent.glob(f"{self._path.name}.*"):
            number = path.name.removeprefix(f"{self._path.name}.")
            if not number.isdecimal():
                continue
            try:
                if int(number) > self._keep or path.lstat().st_mtime < oldest:
                    path.unlink()
            except OSError:
                continue  # swallow: an old log that stays costs room, and not opening the new one would cost the log

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _abandon(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            try:
                stream.close()
            except OSError:
                pass  # swallow: the write has just failed and is being reported; closing flushes the same bytes again
