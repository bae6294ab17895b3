"""Reads recorded candles from a CSV file and says in one sentence what is wrong with it."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path

from msgspec import Struct

from core.domain.candle import TIMEFRAME_MS, Candle
from core.domain.money import Price, decimal_of

COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
MILLISECONDS_FROM = 100_000_000_000
"""A number below is seconds since the epoch, others are milliseconds."""
MILLISECONDS_BELOW = 100_000_000_000_000
"""The year 5138."""


class BadInput(Exception):
    """What the user gave cannot be replayed; its text is one sentence for them."""


class Gap(Struct, frozen=True, kw_only=True):
    """`after_ms` is the open time (UTC) of the last candle before it; `missing` candles."""

    after_ms: int
    missing: int


class Recording(Struct, frozen=True, kw_only=True):
    """Candles in order, `length_ms` each, with the gaps between them. Turnover is volume times close. `parts` are the
    shorter ones they were joined from."""

    candles: Sequence[Candle]
    length_ms: int
    gaps: tuple[Gap, ...]
    parts: Recording | None = None

    @property
    def timeframe(self) -> str:
        return next(name for name, length in TIMEFRAME_MS.items() if length == self.length_ms)


def read(path: Path, *, begin_ms: int | None = None, end_ms: int | None = None) -> Recording:
    """The candles that opened from `begin_ms` on and before `end_ms` (UTC). Raises BadInput."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            candles = _parse(path, csv.reader(file))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} is not a CSV file: {error}.") from error
    if len(candles) < 2:
        raise BadInput(f"{path} holds {len(candles)} candles; at least two are needed to see how long one is.")
    length_ms = min(later.open_ms - earlier.open_ms for earlier, later in pairwise(candles))
    _check_length(path, candles, length_ms)
    chosen = [c for c in candles if (begin_ms or 0) <= c.open_ms and (end_ms is None or c.open_ms < end_ms)]
    if not chosen:
        first, last = day_and_time(candles[0].open_ms), day_and_time(candles[-1].open_ms)
        raise BadInput(f"No candle of {path} lies within --from and --to: it goes from {first} to {last}.")
    return Recording(candles=chosen, length_ms=length_ms, gaps=tuple(_gaps(chosen, length_ms)))


def joined(recording: Recording, timeframe: str) -> Recording:
    """The same as longer candles; one that lacks a part is left out, and is a gap. Raises BadInput."""
    length_ms = TIMEFRAME_MS[timeframe]
    if length_ms == recording.length_ms:
        return recording
    if length_ms % recording.length_ms:
        raise BadInput(f"--timeframe {timeframe} cannot be made of the file's {recording.timeframe} candles.")
    wanted = length_ms // recording.length_ms
    candles: list[Candle] = []
    group: list[Candle] = []
    for candle in recording.candles:
        if group and candle.open_ms // length_ms != group[0].open_ms // length_ms:
            group = []
        group.append(candle)
        if len(group) == wanted:
            candles.append(_merged(group))
            group = []
    if not candles:
        raise BadInput(f"The file holds no complete candle of --timeframe {timeframe}.")
    gaps = tuple(_gaps(candles, length_ms))
    return Recording(candles=candles, length_ms=length_ms, gaps=gaps, parts=recording)


def moment(text: str, option: str) -> int:
    """UTC ms of an ISO 8601 date or time, without zone in UTC. Raises BadInput naming `option`."""
    try:
        return _stamp(text)
    except ValueError:
        raise BadInput(f"{option} {text} is no date or time, e.g. 2022-01-01 or 2022-01-01T12:00.") from None


def day_and_time(ms: int) -> str:
    """E.g. `2022-01-01 12:00`, UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _parse(path: Path, rows: Iterator[list[str]]) -> list[Candle]:
    header = [name.strip().lower() for name in next(rows, [])]
    if missing := [name for name in COLUMNS if name not in header]:
        raise BadInput(f"{path} has no column {', '.join(missing)}; its first line must name {','.join(COLUMNS)}.")
    places = [header.index(name) for name in COLUMNS]
    candles: list[Candle] = []
    newest = -1
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        try:
            candle = _candle([row[place] for place in places])
        except (IndexError, ValueError, ArithmeticError, OSError) as error:
            raise BadInput(f"{path}, line {number}: {_why(error)}.") from error
        if candle.open_ms <= newest:
            what = "repeats the time of" if candle.open_ms == newest else "is older than"
            raise BadInput(f"{path}, line {number}: this candle {what} the one before it; sort the file by time.")
        newest = candle.open_ms
        candles.append(candle)
    return candles


def _candle(texts: Sequence[str]) -> Candle:
    stamp, *numbers = texts
    values = [Decimal(number) for number in numbers]
    if not all(value.is_finite() for value in values):
        raise ValueError("a number is not finite")
    opened, high, low, close, volume = (
        decimal_of(value, name) for value, name in zip(values, COLUMNS[1:], strict=True)
    )
    if low <= 0 or not low <= min(opened, close) <= max(opened, close) <= high:
        raise ValueError("open and close do not lie between low and high, or a price is not above 0")
    if volume < 0:
        raise ValueError("the volume is negative")
    return Candle(_stamp(stamp), Price(opened), Price(high), Price(low), Price(close), volume, volume * close)


def _stamp(text: str) -> int:
    if text.replace(".", "", 1).isdigit() and "-" not in text:
        value = Decimal(text)
        value = value if value >= MILLISECONDS_FROM else value * 1000
        if value >= MILLISECONDS_BELOW:
            raise ValueError("its time is none")
        return int(value)
    stamp = datetime.fromisoformat(text)
    return round((stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp() * 1000)


def _why(error: Exception) -> str:
    if isinstance(error, IndexError):
        return "a column is missing"
    return "it holds something that is not a number" if isinstance(error, InvalidOperation) else str(error)


def _check_length(path: Path, candles: Sequence[Candle], length_ms: int) -> None:
    known = {length: name for name, length in TIMEFRAME_MS.items()}
    if length_ms not in known:
        names = ", ".join(known.values())
        raise BadInput(f"The candles of {path} are {length_ms / 1000:g} s apart; known are {names}.")
    odd = next((c for c in candles if c.open_ms % length_ms), None)
    if odd is not None:
        at = datetime.fromtimestamp(odd.open_ms / 1000, UTC).isoformat(timespec="milliseconds")
        raise BadInput(f"{path}: a {known[length_ms]} candle does not open at {at}.")


def _gaps(candles: Sequence[Candle], length_ms: int) -> Iterator[Gap]:
    for earlier, later in pairwise(candles):
        if (apart := later.open_ms - earlier.open_ms) > length_ms:
            yield Gap(after_ms=earlier.open_ms, missing=apart // length_ms - 1)


def _merged(group: Sequence[Candle]) -> Candle:
    return Candle(
        group[0].open_ms,
        group[0].open,
        max(candle.high for candle in group),
        min(candle.low for candle in group),
        group[-1].close,
        sum((candle.volume for candle in group), Decimal(0)),
        sum((candle.turnover for candle in group), Decimal(0)),
    )
