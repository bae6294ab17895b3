"""Entries that must not have been: while trading was stopped, or over a limit, by what the venues saw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from core.domain.ids import is_ours
from tests.campaigns.chaos_excuses import excuses, longest_uncovered
from tests.campaigns.chaos_record import Record, Window
from tests.campaigns.chaos_witness import Count, Life
from tools.venuesim.exchange.model import Income

ENTRY_WORTH = Decimal(100)
"""POSITION_SIZE_USD of every seed."""
ROUNDING = Decimal("0.3")
"""Of an entry: prices move between the decision and the fill. Limits are half an entry above a whole number of them."""
KNOWN_SECONDS = 3.0
"""After this long without an excuse the daemon knows what happened at a venue."""
MINUTE_SECONDS = 60.0 - 15.0
"""Answers may be twelve seconds late, so sixty seconds between two decisions can look shorter to the venue."""
FOREIGN_HANDS = frozenset({"liquidate", "adl"})
SHARE_OVER = Decimal("1.25")
"""Of the day's loss: what must surely have been seen as over it."""
ZERO = Decimal(0)


class Sent(NamedTuple):
    """An entry that left, seconds since the start."""

    at_s: float
    venue: str
    client_id: str


def entries_sent(
    venue: str, rows: Iterable[Mapping[str, Any]], legs: Mapping[str, str], offset_ms: float
) -> Iterator[Sent]:
    """By the venue's record of requests; `legs` by the journal."""
    for row in rows:
        if row["method"] == "GET":
            continue
        for name in row["client_ids"]:
            if legs.get(name) == "entry":
                yield Sent((row["received"] - offset_ms) / 1_000, venue, name)


def while_stopped(record: Record, sent: Iterable[Sent]) -> Iterator[str]:
    """An order of people, or the KILL file."""
    for entry in sent:
        for window in record.no_entries:
            if window.venue in ("", entry.venue) and window.since + 0.001 < entry.at_s < window.until:
                yield f"{entry.venue}: an entry left {entry.at_s:.3f} s in, after {window.why}"


def over_limits(
    record: Record,
    sent: Sequence[Sent],
    legs: Mapping[str, str],
    income: Mapping[str, Sequence[Income]],
    offset_ms: float,
) -> Iterator[str]:
    """Every limit of the settings that the venues can tell to be reached. `income` by venue."""
    yield from _positions(record, offset_ms)
    yield from _pace(record, sent)
    touched = record.own_hand or any(window.why in FOREIGN_HANDS for window in record.faulty)
    if touched:  # what others do to a position counts by rules of its own
        return
    stopped = [*_streaks(record, legs, offset_ms), *_losses(record, income, offset_ms)]
    known = [window for venue in record.plan.venues for window in excuses(record, venue)]
    for window in stopped:
        for entry in sent:
            reached = window.since < entry.at_s < window.until
            if reached and longest_uncovered(window.since, entry.at_s, known) > KNOWN_SECONDS:
                yield f"{entry.venue}: an entry left {entry.at_s:.3f} s in, after {window.why}"


def _positions(record: Record, offset_ms: float) -> Iterator[str]:
    settings = record.plan.settings
    most, each = int(settings["MAX_POSITIONS"]), int(settings["MAX_POSITIONS_PER_VENUE"])
    money = Decimal(settings["MAX_EXPOSURE_USD"]) + ENTRY_WORTH * ROUNDING
    for at_ms, venue, now in _together(record):
        ours, entered = sum(count.ours for count in now.values()), sum((count.entered for count in now.values()), ZERO)
        when = f"{(at_ms - offset_ms) / 1_000:.3f} s in"
        if ours > most:
            yield f"{ours} positions of ours at once {when}, {most} are allowed"
        if each and now[venue].ours > each:
            yield f"{venue}: {now[venue].ours} positions of ours at once {when}, {each} are allowed there"
        if entered > money:
            yield f"{round(entered, 2)} in positions of ours {when}, MAX_EXPOSURE_USD is {settings['MAX_EXPOSURE_USD']}"
    yield from _of_symbols(record)


def _together(record: Record) -> Iterator[tuple[float, str, Mapping[str, Count]]]:
    """Each opening by an order of ours, with what stood at every venue then."""
    now = dict.fromkeys(record.witnesses, Count(0.0, 0, ZERO, flat=True, opened=False))
    changes = [(count, venue) for venue, witness in record.witnesses.items() for count in witness.counts]
    for count, venue in sorted(changes, key=lambda change: change[0].time_ms):
        now[venue] = count
        if count.opened:
            yield count.time_ms, venue, now


def _of_symbols(record: Record) -> Iterator[str]:
    """A coin counts over all venues: each opening, with what stood untouched in the same coin then."""
    limit = Decimal(record.plan.settings["MAX_EXPOSURE_PER_SYMBOL_USD"])
    if not limit:
        return
    lives = [life for witness in record.witnesses.values() for life in witness.lives if is_ours(life.opened_by)]
    for life in lives:
        beside = [other for other in lives if other is not life and _coin(other) == _coin(life) and _spans(other, life)]
        entered = sum((other.bought for other in beside), life.bought)
        if entered > limit + ENTRY_WORTH * ROUNDING:
            yield f"{_coin(life)}: {round(entered, 2)} in positions of ours, MAX_EXPOSURE_PER_SYMBOL_USD is {limit}"


def _coin(life: Life) -> str:
    return life.symbol.removesuffix("-SWAP").replace("-", "").removesuffix("USDT")


def _spans(other: Life, life: Life) -> bool:
    """Whether `other` stood whole when `life` began."""
    return other.opened < life.opened < (other.closed or float("inf")) and not other.let_go_by


def _pace(record: Record, sent: Sequence[Sent]) -> Iterator[str]:
    most = int(record.plan.settings["MAX_ENTRIES_PER_MINUTE"])
    times = sorted(entry.at_s for entry in sent)
    if most and any(later - first < MINUTE_SECONDS for first, later in zip(times, times[most:], strict=False)):
        yield f"more than {most} entries within {MINUTE_SECONDS:.0f} s: {times}"


def _streaks(record: Record, legs: Mapping[str, str], offset_ms: float) -> Iterator[Window]:
    """From the last of so many stops in a row that have lost, until somebody resumed."""
    limit, row = int(record.plan.settings["SL_STREAK_LIMIT"]), 0
    ends = [
        ((life.closed - offset_ms) / 1_000, life)
        for witness in record.witnesses.values()
        for life in witness.lives
        if life.closed is not None
    ]
    marks: list[tuple[float, Life | None]] = [*ends, *((at_s, None) for at_s in record.resumed)]
    marks.sort(key=lambda mark: mark[0])
    for at_s, life in marks:
        if life is None:
            row = 0
            continue
        lost = life.made < 0 and all(legs.get(name) == "stop" for name in life.let_go_by)
        row = row + 1 if lost and is_ours(life.opened_by) else 0  # fewer than the daemon may count, never more
        if row == limit:
            until = next((moment for moment in record.resumed if moment > at_s), float("inf"))
            yield Window(at_s, until, why=f"{row} stops in a row had lost (SL_STREAK_LIMIT)")


def _losses(record: Record, income: Mapping[str, Sequence[Income]], offset_ms: float) -> Iterator[Window]:
    """From the moment at which nothing was held and more than the day's limit was lost, until somebody resumed."""
    limit = Decimal(record.plan.settings["MAX_DAILY_LOSS"]) * SHARE_OVER
    flat = dict.fromkeys(record.witnesses, True)
    changes = [(count, venue) for venue, witness in record.witnesses.items() for count in witness.counts]
    rows = [row for venue in income for row in income[venue] if row.asset == "USDT" and row.type.name in _RESULTS]
    for count, venue in sorted(changes, key=lambda change: change[0].time_ms):
        flat[venue] = count.flat
        at_s = (count.time_ms - offset_ms) / 1_000
        if record.resumed and at_s >= record.resumed[0]:
            return  # what was lost before is forgiven
        lost = -sum((row.amount for row in rows if row.time_ms <= count.time_ms), ZERO)
        if all(flat.values()) and lost > limit:
            until = record.resumed[0] if record.resumed else float("inf")
            yield Window(at_s, until, why=f"{round(lost, 2)} were lost (MAX_DAILY_LOSS)")
            return


_RESULTS = frozenset({"REALIZED_PNL", "COMMISSION", "FUNDING_FEE"})
