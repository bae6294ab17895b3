"""The hash chain of the audit log: how a record becomes a line and how lines are proved unaltered.

A line is the canonical JSON (sorted keys, no spaces, ASCII) of
``{"data", "hash", "kind", "prev", "seq", "time"}`` where ``hash`` is
``sha256(prev || canonical JSON of the other five fields)``, in hex. A line must be byte for byte
its own canonical form, so that no edit, not even one that leaves the JSON value alone, goes unseen.
The first record of the first file has ``seq`` 1 and ``prev`` `GENESIS`; a rotated file goes on with
the ``prev`` and ``seq`` of the file before it.

Secrets have no place here: whoever makes ``data`` has redacted it.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from msgspec import Struct

GENESIS = "0" * 64
FIRST_SEQ = 1

_FIELDS = frozenset({"data", "hash", "kind", "prev", "seq", "time"})
_HASH = re.compile(r"[0-9a-f]{64}")
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
_ISO_MS_LENGTH = len("2026-01-01T00:00:00.000Z")


class Sealed(Struct, frozen=True, kw_only=True):
    """One record as it goes to the file: ``line`` has no newline at its end."""

    seq: int
    hash: str
    line: str


class Verdict(Struct, frozen=True, kw_only=True):
    """What reading a run of lines proved.

    ``seq`` and ``hash`` are those of the last good record, or the ones the run was to continue when there is none;
    ``first_bad_line`` counts from 1 within the lines given and is None when all are good.
    """

    records: int
    seq: int
    hash: str
    first_bad_line: int | None = None
    reason: str = ""

    @property
    def ok(self) -> bool:
        """True when every line belongs to the chain."""
        return self.first_bad_line is None


class BrokenLineError(ValueError):
    """A line that is not the next record of the chain; the text says why."""


def iso_ms(moment: datetime) -> str:
    """``moment`` as UTC with milliseconds and ``Z``, the only time format of the log.

    Raises ValueError for a naive datetime: guessing its zone would falsify the record.
    """
    if moment.utcoffset() is None:
        raise ValueError("an audit time needs a time zone")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def canonical(value: object) -> str:
    """The one JSON text of ``value``: keys sorted, no spaces, ASCII only, Decimals as strings.

    Raises TypeError for what JSON cannot say exactly, floats included: a float has no one text, and no
    amount in this project is a float.
    """
    return _ENCODER.encode(_exact(value))


def seal(prev_hash: str, seq: int, time: str, kind: str, data: Mapping[str, object]) -> Sealed:
    """The record number ``seq`` of the chain whose last hash is ``prev_hash``.

    ``time`` is what `iso_ms` made. Raises TypeError when ``data`` holds something `canonical` refuses.
    """
    # Put together in the order of the sorted keys, so that `data` becomes text once and not once with the hash as well.
    first = f'{{"data":{canonical(data)},'
    rest = f'"kind":{canonical(kind)},"prev":{canonical(prev_hash)},"seq":{canonical(seq)},"time":{canonical(time)}}}'
    digest = _digest(prev_hash, first + rest)
    return Sealed(seq=seq, hash=digest, line=f'{first}"hash":"{digest}",{rest}')


def check_line(line: str, *, prev_hash: str, seq: int) -> str:
    """The hash of ``line``, proved to be record ``seq`` after ``prev_hash``; raises BrokenLineError otherwise."""
    record = _parse(line)
    if record["seq"] != seq:
        raise BrokenLineError(f"sequence number is {record['seq']!r}, expected {seq}")
    if record["prev"] != prev_hash:
        raise BrokenLineError("does not follow the record before it (prev differs from its hash)")
    stated = record.pop("hash")
    try:
        content = canonical(record)
    except (TypeError, ValueError, RecursionError) as error:
        raise BrokenLineError("it holds what no record can") from error
    if stated != _digest(prev_hash, content):
        raise BrokenLineError("content does not match its hash")
    if canonical({**record, "hash": stated}) != line:
        raise BrokenLineError("not in canonical form")
    return str(stated)


def read_claim(line: str) -> tuple[int, str, str]:
    """The ``seq``, ``prev`` and ``hash`` a line claims, unproved; raises BrokenLineError when there are none."""
    record = _parse(line)
    return int(str(record["seq"])), str(record["prev"]), str(record["hash"])


def verify(lines: Iterable[str], prev: str = GENESIS, seq: int = FIRST_SEQ) -> Verdict:
    """Reads ``lines`` (without newlines) as the records from number ``seq`` on; stops at the first bad one."""
    good = 0
    for line in lines:
        try:
            prev = check_line(line, prev_hash=prev, seq=seq + good)
        except BrokenLineError as broken:
            return Verdict(records=good, seq=seq + good - 1, hash=prev, first_bad_line=good + 1, reason=str(broken))
        good += 1
    return Verdict(records=good, seq=seq + good - 1, hash=prev)


def _digest(prev_hash: str, body: str) -> str:
    return hashlib.sha256(f"{prev_hash}{body}".encode("ascii")).hexdigest()


def _parse(line: str) -> dict[str, object]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BrokenLineError("not JSON") from error
    if not isinstance(record, dict) or record.keys() != _FIELDS:
        raise BrokenLineError("not an audit record")
    if type(record["seq"]) is not int or not isinstance(record["kind"], str) or not isinstance(record["data"], dict):
        raise BrokenLineError("a field has the wrong type")
    if not (_is_hash(record["hash"]) and _is_hash(record["prev"])):
        raise BrokenLineError("a hash is not 64 hexadecimal digits")
    if not _is_iso_ms(record["time"]):
        raise BrokenLineError(f"time {record['time']!r} is not UTC with milliseconds")
    return record


def _is_hash(text: object) -> bool:
    return isinstance(text, str) and _HASH.fullmatch(text) is not None


def _is_iso_ms(text: object) -> bool:
    if not isinstance(text, str) or len(text) != _ISO_MS_LENGTH or not text.endswith("Z"):
        return False
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return False
    return moment.utcoffset() == timedelta(0)


def _exact(value: object) -> object:
    match value:
        case None | bool() | int() | str():
            return value
        case Decimal():
            return str(value)
        case datetime():
            return iso_ms(value)
        case Mapping():
            return {_key(key): _exact(item) for key, item in value.items()}
        case list() | tuple():
            return [_exact(item) for item in value]
        case set() | frozenset():
            return sorted((_exact(item) for item in value), key=canonical)
        case _:
            raise TypeError(f"an audit record cannot hold a {type(value).__name__}")


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"an audit key is text, not {type(key).__name__}")
    return str(key)
