"""The result of one UTC day: what trading changed since 00:00 UTC, open positions at their mark, fees and funding
included (RSK-08, RSK-10). Transfers are in none of it (RSK-09). All money in quote coin."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct, field
from msgspec.structs import replace

from core.domain.ids import PositionId
from core.domain.money import ZERO
from core.domain.position import Position

MS_PER_DAY = 86_400_000


def day_of(now_ms: int) -> int:
    """UTC days since the epoch."""
    return now_ms // MS_PER_DAY


def end_of(day: int) -> int:
    """The 00:00 UTC that ends it, milliseconds since the epoch."""
    return (day + 1) * MS_PER_DAY


def worth(position: Position, mark: Decimal) -> Decimal:
    """What a position has made since it was opened: realised, unrealised at `mark`, less its fees."""
    return position.realized - position.fees + position.unrealized(mark)


class Share(Struct, frozen=True, kw_only=True):
    """One open position's part of the day. `worth` is the newest known; `baseline` what it was when it began to count:
    at 00:00 UTC, or when it was taken over; 0 for one that was opened since."""

    baseline: Decimal
    worth: Decimal


class DayAccount(Struct, frozen=True, kw_only=True):
    """`closed` is the part of positions that are gone, `funding` positive when received. `other_fees` are those charged
    in another coin (BNB) than the position is settled in, at that coin's price when they were charged.

    `forgiven` is the loss at which somebody resumed: the limit counts anew from there (0 = nobody did).
    """

    day: int
    closed: Decimal = ZERO
    funding: Decimal = ZERO
    shares: Mapping[PositionId, Share] = field(default_factory=dict)
    forgiven: Decimal = ZERO
    other_fees: Decimal = ZERO

    @property
    def open(self) -> Decimal:
        return sum((share.worth - share.baseline for share in self.shares.values()), ZERO)

    @property
    def result(self) -> Decimal:
        """Negative = a loss."""
        return self.closed + self.funding + self.open - self.other_fees

    @property
    def counted_loss(self) -> Decimal:
        """What MAX_DAILY_LOSS is compared with; negative on a winning day."""
        return -self.result - self.forgiven

    def opened(self, position: PositionId, made_before: Decimal = ZERO) -> DayAccount:
        """A fill of ours opened it: everything it makes or loses counts, but what it had made before it was closed."""
        return self._with(position, Share(baseline=made_before, worth=made_before))

    def valued(self, position: PositionId, now_worth: Decimal) -> DayAccount:
        """Its newest worth. A position nobody opened here was taken over: what it made before is not of this day."""
        known = self.shares.get(position)
        if known is not None and known.worth == now_worth:
            return self
        return self._with(position, Share(baseline=now_worth if known is None else known.baseline, worth=now_worth))

    def all_valued(self, worths: Mapping[PositionId, Decimal]) -> DayAccount:
        """The same of many at once."""
        news: dict[PositionId, Share] = {}
        for position, now_worth in worths.items():
            known = self.shares.get(position)
            if known is None or known.worth != now_worth:
                news[position] = Share(baseline=now_worth if known is None else known.baseline, worth=now_worth)
        return replace(self, shares={**self.shares, **news}) if news else self

    def changed_hands(self, position: PositionId, by: Decimal) -> DayAccount:
        """Its size was corrected without a trade we saw, which changes its worth by `by`: neither profit nor loss."""
        known = self.shares.get(position)
        return self if known is None else self._with(position, replace(known, baseline=known.baseline + by))

    def ended(self, position: PositionId, final_worth: Decimal | None = None) -> DayAccount:
        """It is closed; None = at which price is not known, its last worth stands."""
        known = self.shares.get(position)
        if known is None:
            return self
        made = (known.worth if final_worth is None else final_worth) - known.baseline
        shares = {key: share for key, share in self.shares.items() if key != position}
        return replace(self, closed=self.closed + made, shares=shares)

    def funded(self, change: Decimal) -> DayAccount:
        return replace(self, funding=self.funding + change)

    def charged(self, fee: Decimal) -> DayAccount:
        """A fee in another coin, valued in quote coin."""
        return replace(self, other_fees=self.other_fees + fee)

    def forgave(self) -> DayAccount:
        """The loss so far is accepted; a winning day has nothing to forgive."""
        return replace(self, forgiven=max(ZERO, -self.result))

    def rolled(self, day: int) -> DayAccount:
        """A new day begins: what is open counts from its present worth."""
        shares = {key: Share(baseline=share.worth, worth=share.worth) for key, share in self.shares.items()}
        return DayAccount(day=day, shares=shares)

    def _with(self, position: PositionId, share: Share) -> DayAccount:
        return replace(self, shares={**self.shares, position: share})
