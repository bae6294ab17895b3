"""One parser, one input, one judgement: it may answer, or refuse with its own declared error, in time. Nothing else.

What it answers must be usable: text that can be written, whole numbers a database takes, amounts that do not overflow.
"""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from pathlib import Path
from random import Random

from msgspec import Struct
from msgspec.structs import astuple

from core.domain.money import FINEST_PLACES, LARGEST
from tests.campaigns.fuzz_mutation import mutated

ROOT = Path(__file__).resolve().parent.parent.parent
SLOW_SECONDS = 2.0
"""Of processor time for one input; a megabyte of signals takes a tenth of it."""
LONGEST_WHOLE = 2**63

Feed = Callable[[bytes], Awaitable[object]]


class Unsound(AssertionError):
    """A parser took something that the rest of the program cannot handle."""


class TooSlow(AssertionError):
    """One input cost more than `SLOW_SECONDS`."""


class Open(Struct, frozen=True, kw_only=True):
    """A parser ready to be fed. `seeds` are inputs it takes, `donors` payloads whose parts may stand in others."""

    feed: Feed
    seeds: Sequence[bytes]
    donors: Sequence[bytes] = ()
    headed: bool = False
    """The first line of an input is ours, and says where the rest of it goes."""
    note: str = ""
    """What is missing here, and why."""


class Parser(Struct, frozen=True, kw_only=True):
    """`declared` is what it may raise. `opened` makes it fresh: what one input left behind must not last for ever."""

    name: str
    declared: tuple[type[BaseException], ...]
    opened: Callable[[], AbstractAsyncContextManager[Open]]


@dataclass(slots=True)
class Finding:
    what: str
    where: str
    data: bytes
    text: str


@dataclass(slots=True)
class Tally:
    """What came of feeding one parser."""

    executions: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: dict[tuple[str, str], Finding] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        """The shortest input of each kind is kept."""
        known = self.findings.get((finding.what, finding.where))
        if known is None or len(finding.data) < len(known.data):
            self.findings[finding.what, finding.where] = finding


async def judged(parser: Parser, feed: Feed, data: bytes, tally: Tally) -> None:
    """Feed it once and note what came of it. Lets nothing out but MemoryError and what ends the program."""
    tally.executions += 1
    began = time.process_time()
    try:
        sound(await feed(data))
        if (took := time.process_time() - began) > SLOW_SECONDS:
            raise TooSlow(f"{took:.1f} s of processor time for {len(data)} bytes")
        tally.outcomes["taken"] += 1
    except parser.declared as error:
        tally.outcomes[type(error).__name__] += 1
    except Exception as error:  # swallow: it is the finding
        tally.add(_finding(error, data))


def _finding(error: Exception, data: bytes) -> Finding:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if _is_ours(frame.filename)]
    last = (ours or list(frames))[-1]
    where = f"{Path(last.filename).name}:{last.name}"
    text = "".join(traceback.format_exception(error, limit=-6))
    return Finding(type(error).__name__, where, data, text)


def _is_ours(name: str) -> bool:
    path = Path(name)
    return path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] not in {"tests", ".venv"}


def sound(value: object) -> None:
    """Raises Unsound for an answer the program could not store, print or count with."""
    if value is None or isinstance(value, bool | float | bytes | Enum):
        return
    if isinstance(value, int | str | Decimal):
        if fault := _fault(value):
            raise Unsound(fault)
        return
    for part in _parts(value):
        sound(part)


def _fault(value: int | str | Decimal) -> str:
    if isinstance(value, str):
        return "a text that cannot be written" if any("\ud800" <= c <= "\udfff" for c in value) else ""
    if isinstance(value, int):
        return "" if -LONGEST_WHOLE <= value < LONGEST_WHOLE else "a whole number no database takes"
    countable = value.is_finite() and abs(value.adjusted()) <= FINEST_PLACES + LARGEST.adjusted()
    return "" if countable else "an amount that cannot be counted with"


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return (*value.keys(), *value.values())
    if isinstance(value, Struct):
        return astuple(value)
    return value if isinstance(value, Iterable) else ()


def changed(data: bytes, opened: Open, chance: Random) -> bytes:
    """Something wrong in `data`, though not in its head."""
    if not opened.headed:
        return mutated(data, chance, opened.donors)
    head, _, body = data.partition(b"\n")
    return head + b"\n" + mutated(body, chance, opened.donors)


async def feed_mutated(parser: Parser, opened: Open, chance: Random, count: int, tally: Tally) -> None:
    """Every seed as it is, then `count` mutations of them."""
    for seed in opened.seeds:
        await judged(parser, opened.feed, seed, tally)
    for _ in range(count):
        data = changed(chance.choice(opened.seeds), opened, chance)
        await judged(parser, opened.feed, data, tally)
