"""The files of one audit log: `audit.log`, what it was rotated into, and `audit.head`. Synchronous; one writer.

`audit.head` holds the number and hash of the newest record. A hash chain alone cannot show that records were taken off
its end; with the head beside it that shows too, as long as the head was not rewritten as well.
"""

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import Struct

from core.domain.audit import FIRST_SEQ, GENESIS, BrokenLineError, Sealed, check_line, iso_ms, read_claim, seal

LOG_NAME: Final = "audit.log"
HEAD_NAME: Final = "audit.head"
_ROTATED = re.compile(r"audit-(\d{8}T\d{9}Z)\.log")
_STAMP: Final = "%Y%m%dT%H%M%S%f"
_MODE: Final = 0o600
_TAIL_CHUNK: Final = 64 * 1024
_pwrite: Final = os.pwrite


class Head(NamedTuple):
    """Number and hash of a record: where a chain stands."""

    seq: int
    hash: str


class Tail(Struct, frozen=True, kw_only=True):
    """What opening the log found at its end.

    `cut_bytes` were torn off an unfinished or unreadable last line; `lost` is the head that records had reached when
    the file ends before it (power was lost, or somebody shortened the file). `altered`: the last record is whole but
    does not match its hash; it is left standing as evidence and the chain goes on after what it claims to be.
    """

    head: Head
    cut_bytes: int = 0
    lost: Head | None = None
    altered: bool = False


def rotated_files(folder: Path) -> list[Path]:
    """The rotated logs, oldest first."""
    return sorted((path for path in folder.iterdir() if _ROTATED.fullmatch(path.name)), key=lambda path: path.name)


def read_head(folder: Path) -> Head | None:
    """The recorded head; None when there is none or it is not readable as one (it is a check, never a source)."""
    try:
        text = (folder / HEAD_NAME).read_text("ascii")
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    seq, _, digest = text.strip().partition(" ")
    return Head(int(seq), digest) if seq.isdecimal() and len(digest) == len(GENESIS) else None


class _Claim(NamedTuple):
    """The record a line says it is, and whether its content bears that out."""

    head: Head
    sound: bool


class AuditFiles:
    """Seals records onto the end of the chain. Every method may raise OSError and then has changed nothing for good:
    the next `write` first cuts what a failed one left behind."""

    def __init__(self, folder: Path, *, rotate_bytes: int) -> None:
        self._folder = folder
        self._rotate_bytes = rotate_bytes
        self._log = self._head_file = -1
        self._size = 0
        self._torn = False
        self._head = Head(FIRST_SEQ - 1, GENESIS)

    @property
    def head(self) -> Head:
        """The newest record in the file."""
        return self._head

    def open(self) -> Tail:
        """Opens or creates the files and makes the end of the chain whole again (JRN-10).

        Only the last record is proved here: whether the whole chain is sound is what `tools/verify_audit.py` says.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        recorded = read_head(self._folder)
        self._log = _open(self._folder / LOG_NAME)
        self._head_file = _open(self._folder / HEAD_NAME)
        size = os.fstat(self._log).st_size
        good = _whole_lines(self._log, size)
        line, end = _last_record(self._log, good)
        claim = line or self._rotated_claim()
        if end != size:
            os.ftruncate(self._log, end)
        self._size, self._head = end, claim.head
        lost = recorded if recorded is not None and recorded.seq > claim.head.seq else None
        return Tail(head=claim.head, cut_bytes=size - end, lost=lost, altered=not claim.sound)

    def write(self, time: str, kind: str, data: Mapping[str, object]) -> Sealed:
        """Appends one record. Raises OSError, or TypeError when `data` cannot be an audit record."""
        sealed = seal(self._head.hash, self._head.seq + 1, time, kind, data)
        line = sealed.line.encode("ascii") + b"\n"
        if self._size and self._size + len(line) > self._rotate_bytes:
            self._rotate(time)
        if self._torn:
            os.ftruncate(self._log, self._size)
        self._torn = True
        _write_all(self._log, line, self._size)
        self._torn = False
        self._size += len(line)
        self._head = Head(sealed.seq, sealed.hash)
        return sealed

    def write_head(self) -> None:
        """Records the newest record in `audit.head`; after each batch is often enough, behind is never wrong."""
        _write_all(self._head_file, f"{self._head.seq:>20} {self._head.hash}\n".encode("ascii"), 0)

    def close(self) -> None:
        """Syncs and closes; safe to call twice."""
        descriptors, self._log, self._head_file = (self._log, self._head_file), -1, -1
        for descriptor in descriptors:
            if descriptor >= 0:
                os.fsync(descriptor)
                os.close(descriptor)

    def _rotate(self, time: str) -> None:
        os.fsync(self._log)
        current, rotated = self._folder / LOG_NAME, self._folder / self._rotated_name(time)
        current.rename(rotated)
        try:
            fresh = _open(current)
        except OSError:
            rotated.rename(current)
            raise
        old, self._log, self._size = self._log, fresh, 0
        os.close(old)

    def _rotated_name(self, time: str) -> str:
        """Later than every name there is: the order of names is the order of the chain, whatever the clock did."""
        moment = datetime.fromisoformat(time).astimezone(UTC)
        if existing := rotated_files(self._folder):
            match = _ROTATED.fullmatch(existing[-1].name)
            assert match is not None  # noqa: S101 - rotated_files returns only names that match
            newest = datetime.strptime(match[1][:-1] + "000", _STAMP).replace(tzinfo=UTC)
            moment = max(moment, newest + timedelta(milliseconds=1))
        return f"audit-{moment.strftime(_STAMP)[:-3]}Z.log"

    def _rotated_claim(self) -> _Claim:
        """Where the newest rotated file ends; genesis when there is none."""
        for path in reversed(rotated_files(self._folder)):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                claim, _ = _last_record(descriptor, _whole_lines(descriptor, os.fstat(descriptor).st_size))
            finally:
                os.close(descriptor)
            if claim is not None:
                return claim
        return _Claim(Head(FIRST_SEQ - 1, GENESIS), sound=True)


def stamp(now_ms: int) -> str:
    """The audit time of a UTC millisecond stamp."""
    return iso_ms(datetime.fromtimestamp(now_ms // 1000, UTC) + timedelta(milliseconds=now_ms % 1000))


def _open(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
    os.fchmod(descriptor, _MODE)  # a file that was there before may be readable by others (SEC-04)
    return descriptor


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    while data:
        written = _pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def _whole_lines(descriptor: int, size: int) -> int:
    """The size up to and including the last newline."""
    end = size
    while end > 0:
        start = max(0, end - _TAIL_CHUNK)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _last_record(descriptor: int, end: int) -> tuple[_Claim | None, int]:
    """The last record before `end`, and where it ends.

    A line that is no record at all (a page of zeros after a power cut) is passed over, so that the chain can go on;
    what is passed over is cut by the caller and reported.
    """
    while end > 0:
        start = _whole_lines(descriptor, end - 1)
        line = os.pread(descriptor, end - 1 - start, start).decode("latin-1")
        try:
            seq, prev, digest = read_claim(line)
        except BrokenLineError:
            end = start
            continue
        try:
            check_line(line, prev_hash=prev, seq=seq)
        except BrokenLineError:
            return _Claim(Head(seq, digest), sound=False), end
        return _Claim(Head(seq, digest), sound=True), end
    return None, 0
