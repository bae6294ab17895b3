"""Funding of the day, counted once though two tell of it: the private stream at once, the income history for certain.

Venues pay at full hours. What either said of one hour is kept apart; once the history lists as many payments as the
stream told, its sum stands, so that a payment the stream missed is found and one it told twice is taken back.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from core.domain.ids import Asset, VenueName
from core.domain.money import ZERO

HOUR_MS = 3_600_000
EARLY_MS = 60_000
"""A clock that is behind may stamp a payment shortly before its hour."""
KEPT_HOURS = 48


class FundingHour(NamedTuple):
    """One round of payments: `hour` counts from the epoch."""

    venue: VenueName
    asset: Asset
    hour: int


def funding_hour(venue: VenueName, asset: Asset, venue_time_ms: int) -> FundingHour:
    return FundingHour(venue, asset, (venue_time_ms + EARLY_MS) // HOUR_MS)


class Paid(NamedTuple):
    """`sum` is positive when received."""

    payments: int = 0
    sum: Decimal = ZERO


class FundingBook(Struct, frozen=True, kw_only=True):
    """What each hour brought, as the stream told it and as the history lists it."""

    told: Mapping[FundingHour, Paid] = field(default_factory=dict)
    listed: Mapping[FundingHour, Paid] = field(default_factory=dict)

    def of(self, hour: FundingHour) -> Decimal:
        """What counts for this hour."""
        told, listed = self.told.get(hour, Paid()), self.listed.get(hour, Paid())
        return told.sum if told.payments > listed.payments else listed.sum

    def with_told(self, hour: FundingHour, amount: Decimal) -> FundingBook:
        """The stream told of one payment."""
        known = self.told.get(hour, Paid())
        told = {**self.told, hour: Paid(known.payments + 1, known.sum + amount)}
        return replace(self, told=_recent(told, hour.hour))

    def with_listed(self, hour: FundingHour, paid: Paid) -> FundingBook:
        """The history lists all these payments of the hour; fewer than before is an answer that lacks some."""
        if paid.payments < self.listed.get(hour, Paid()).payments:
            return self
        return replace(self, listed=_recent({**self.listed, hour: paid}, hour.hour))


def _recent(paid: Mapping[FundingHour, Paid], newest: int) -> dict[FundingHour, Paid]:
    return {hour: what for hour, what in paid.items() if hour.hour > newest - KEPT_HOURS}
