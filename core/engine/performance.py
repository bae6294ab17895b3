"""What closed positions came to: the figures of reports, of Telegram's `/performance` and of pictures. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TypeVar

from msgspec import Struct, field

from core.domain.day import MS_PER_DAY, day_of
from core.domain.ids import InstrumentId, VenueName
from core.domain.money import HUNDRED, ZERO
from core.domain.position import Position

_Key = TypeVar("_Key", VenueName, InstrumentId)


class ClosedTrade(Struct, frozen=True, kw_only=True):
    """One position from its first fill to its last. `result` quote coin after fees, `percent` of what was paid for it;
    times venue UTC ms. `exit_price` None: it was closed at a price nobody told."""

    instrument: InstrumentId
    side: str
    quantity: Decimal
    entry_price: Decimal
    exit_price: Decimal | None
    result: Decimal
    percent: Decimal
    fees: Decimal
    opened_ms: int
    closed_ms: int


class DayResult(Struct, frozen=True, kw_only=True):
    """`day` in UTC days since the epoch; `result` after fees of what was closed in it, without funding."""

    day: int
    trades: int
    result: Decimal


class Performance(Struct, frozen=True, kw_only=True):
    """Of the positions closed in `since_ms` <= time < `until_ms`, venue UTC. Money in quote coin; `result` = `gross`
    less `fees`, without funding. A trade that came to exactly nothing is neither won nor lost. Ratios are None where
    there is nothing to divide by. `drawdown`: the deepest fall of the running sum of results below its highest
    point."""

    since_ms: int
    until_ms: int
    trades: int = 0
    won: int = 0
    lost: int = 0
    gross: Decimal = ZERO
    fees: Decimal = ZERO
    result: Decimal = ZERO
    win_rate_percent: Decimal | None = None
    profit_factor: Decimal | None = None
    average_win: Decimal | None = None
    average_loss: Decimal | None = None
    drawdown: Decimal = ZERO
    losses_in_a_row: int = 0
    held_seconds: int | None = None
    """On average."""
    best: ClosedTrade | None = None
    worst: ClosedTrade | None = None
    by_venue: Mapping[VenueName, Decimal] = field(default_factory=dict)
    by_instrument: Mapping[InstrumentId, Decimal] = field(default_factory=dict)
    """Best first."""
    days: tuple[DayResult, ...] = ()
    """Days in which something was closed, oldest first."""


def closed_trades(positions: Iterable[Position], since_ms: int, until_ms: int) -> tuple[ClosedTrade, ...]:
    """Oldest first; what is open or was closed at another time is left out."""
    trades = [
        _trade(p, p.closed_ms) for p in positions if p.closed_ms is not None and since_ms <= p.closed_ms < until_ms
    ]
    return tuple(sorted(trades, key=lambda trade: (trade.closed_ms, trade.opened_ms, str(trade.instrument))))


def performance(positions: Iterable[Position], since_ms: int, until_ms: int) -> Performance:
    """The figures of every position closed in that time."""
    trades = closed_trades(positions, since_ms, until_ms)
    if not trades:
        return Performance(since_ms=since_ms, until_ms=until_ms)
    results = [trade.result for trade in trades]
    wins, losses = [r for r in results if r > ZERO], [r for r in results if r < ZERO]
    fees, result = sum((trade.fees for trade in trades), ZERO), sum(results, ZERO)
    return Performance(
        since_ms=since_ms,
        until_ms=until_ms,
        trades=len(trades),
        won=len(wins),
        lost=len(losses),
        gross=result + fees,
        fees=fees,
        result=result,
        win_rate_percent=HUNDRED * len(wins) / len(trades),
        profit_factor=sum(wins, ZERO) / -sum(losses, ZERO) if losses else None,
        average_win=sum(wins, ZERO) / len(wins) if wins else None,
        average_loss=sum(losses, ZERO) / len(losses) if losses else None,
        drawdown=_deepest_fall(results),
        losses_in_a_row=_longest_row(results),
        held_seconds=sum(trade.closed_ms - trade.opened_ms for trade in trades) // len(trades) // 1000,
        best=max(trades, key=lambda trade: trade.result),
        worst=min(trades, key=lambda trade: trade.result),
        by_venue=_sums((trade.instrument.venue, trade.result) for trade in trades),
        by_instrument=_sums((trade.instrument, trade.result) for trade in trades),
        days=_days(trades),
    )


def last_days(now_ms: int, days: int) -> tuple[int, int]:
    """`since_ms` and `until_ms` of today and the whole UTC days before it, `days` altogether."""
    today = day_of(now_ms)
    return (today - days + 1) * MS_PER_DAY, (today + 1) * MS_PER_DAY


def _trade(position: Position, closed_ms: int) -> ClosedTrade:
    result = position.realized - position.fees
    cost = position.entry_cost
    return ClosedTrade(
        instrument=position.instrument,
        side="long" if position.side.sign > 0 else "short",
        quantity=position.entry_quantity,
        entry_price=position.entry_price,
        exit_price=position.exit_cost / position.exit_quantity if position.exit_quantity else None,
        result=result,
        percent=result / cost * HUNDRED if cost else ZERO,
        fees=position.fees,
        opened_ms=position.opened_ms,
        closed_ms=closed_ms,
    )


def _sums(rows: Iterable[tuple[_Key, Decimal]]) -> dict[_Key, Decimal]:
    found: dict[_Key, Decimal] = {}
    for key, amount in rows:
        found[key] = found.get(key, ZERO) + amount
    return dict(sorted(found.items(), key=lambda row: -row[1]))


def _days(trades: Iterable[ClosedTrade]) -> tuple[DayResult, ...]:
    found: dict[int, list[Decimal]] = {}
    for trade in trades:
        found.setdefault(day_of(trade.closed_ms), []).append(trade.result)
    return tuple(DayResult(day=day, trades=len(rows), result=sum(rows, ZERO)) for day, rows in sorted(found.items()))


def _deepest_fall(results: Sequence[Decimal]) -> Decimal:
    sum_so_far = peak = deepest = ZERO
    for result in results:
        sum_so_far += result
        peak = max(peak, sum_so_far)
        deepest = max(deepest, peak - sum_so_far)
    return deepest


def _longest_row(results: Iterable[Decimal]) -> int:
    longest = row = 0
    for result in results:
        row = row + 1 if result < ZERO else 0
        longest = max(longest, row)
    return longest
