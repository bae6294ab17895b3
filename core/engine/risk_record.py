"""The risk book as JSON text in the journal, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct, field
from msgspec.json import Encoder

from core.domain.cooldown import CloseKind, LastClose
from core.domain.day import DayAccount, Share
from core.domain.equity import Equity
from core.domain.funding import FundingBook, FundingHour, Paid
from core.domain.ids import Asset, InstrumentId, PositionId, Symbol, VenueName
from core.domain.money import ZERO, plain
from core.domain.position import PositionKey
from core.domain.risk_book import Episode, Limit, RiskBook
from core.domain.signal import Side


class RiskRecord(Struct, frozen=True, kw_only=True):
    """`counted` names the wallets that are in the equity."""

    book: RiskBook
    counted: frozenset[str]
    funding: FundingBook = field(default_factory=FundingBook)
    transfers: FundingBook = field(default_factory=FundingBook)
    """Told and listed like funding, and counted by the same rule."""


_ENCODER = Encoder()

UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError)
"""What a text that was not written here may raise; Decimal says InvalidOperation, which is no ValueError."""


def encoded(book: RiskBook, counted: Iterable[str], funding: FundingBook, transfers: FundingBook) -> str:
    day = book.day
    return _ENCODER.encode(
        {
            "other_fees": plain(day.other_fees),
            "funding_told": _paid(funding.told),
            "funding_listed": _paid(funding.listed),
            "transfers_told": _paid(transfers.told),
            "transfers_listed": _paid(transfers.listed),
            "day": day.day,
            "closed": plain(day.closed),
            "funding": plain(day.funding),
            "forgiven": plain(day.forgiven),
            "shares": {key: [plain(share.baseline), plain(share.worth)] for key, share in day.shares.items()},
            "streak": book.streak,
            "equity": [plain(book.equity.now), plain(book.equity.peak)],
            "counted": sorted(counted),
            "episodes": {e.limit.value: [e.what, e.since_ms, e.until_ms] for e in book.episodes.values()},
            "closes": [
                [*_names(key.instrument), last.side.value, last.kind.value, last.at_ms, last.external]
                for key, last in book.closes.items()
            ],
        }
    ).decode()


def decoded(text: str) -> RiskRecord:
    """Raises one of `UNREADABLE` for a text that `encoded` did not make."""
    told: dict[str, Any] = json.loads(text)
    shares = {
        PositionId(key): Share(baseline=Decimal(baseline), worth=Decimal(worth))
        for key, (baseline, worth) in told["shares"].items()
    }
    day = DayAccount(
        day=int(told["day"]),
        closed=Decimal(told["closed"]),
        funding=Decimal(told["funding"]),
        forgiven=Decimal(told["forgiven"]),
        shares=shares,
        other_fees=Decimal(told.get("other_fees", ZERO)),
    )
    now, peak = told["equity"]
    episodes = {
        Limit(key): Episode(limit=Limit(key), what=what, since_ms=since, until_ms=until)
        for key, (what, since, until) in told["episodes"].items()
    }
    closes = dict(_close(row) for row in told["closes"])
    book = RiskBook(
        day=day,
        streak=int(told["streak"]),
        equity=Equity(now=Decimal(now), peak=Decimal(peak)),
        episodes=episodes,
        closes=closes,
    )
    counted = frozenset(told["counted"])
    funding, transfers = _twice_told(told, "funding"), _twice_told(told, "transfers")
    return RiskRecord(book=book, counted=counted, funding=funding, transfers=transfers)


def _twice_told(row: Mapping[str, Any], name: str) -> FundingBook:
    """Earlier versions wrote less."""
    return FundingBook(told=_hours(row.get(f"{name}_told", ())), listed=_hours(row.get(f"{name}_listed", ())))


def _paid(hours: Mapping[FundingHour, Paid]) -> list[list[Any]]:
    return [[*hour, paid.payments, plain(paid.sum)] for hour, paid in sorted(hours.items())]


def _hours(rows: Iterable[Sequence[Any]]) -> dict[FundingHour, Paid]:
    return {
        FundingHour(VenueName(venue), Asset(asset), int(hour)): Paid(int(payments), Decimal(total))
        for venue, asset, hour, payments, total in rows
    }


def _names(instrument: InstrumentId) -> tuple[str, str]:
    return instrument.venue.value, instrument.symbol


def _close(row: Sequence[Any]) -> tuple[PositionKey, LastClose]:
    """Earlier versions wrote no `external`, and "external" in place of the result."""
    venue, symbol, side, kind, at_ms, *more = row
    by_others = bool(more[0]) if more else kind == "external"
    result = CloseKind.EVEN if kind == "external" else CloseKind(kind)
    key = PositionKey(InstrumentId(VenueName(venue), Symbol(symbol)), Side(side))
    return key, LastClose(side=key.side, kind=result, at_ms=at_ms, external=by_others)
