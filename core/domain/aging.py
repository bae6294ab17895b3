"""What loss is accepted of a position that has grown old, so that it is let go."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from core.domain.money import ZERO

HOUR_MS = 3_600_000
ACCELERATES_AFTER_HOURS = 10


class AgedRules(Struct, frozen=True, kw_only=True):
    """Hours, and percent of what was entered with, after costs. From `from_hours` on a position is closed at breakeven;
    `grace` hours later the accepted loss begins to grow by `step` an hour, times `acceleration` once it has grown for
    ten hours, up to `most`."""

    from_hours: Decimal
    grace_hours: Decimal
    step_percent: Decimal
    acceleration: Decimal
    most_percent: Decimal

    def accepted_loss(self, age_ms: int) -> Decimal | None:
        """0 = breakeven; None while it is not old. Longs and shorts alike (TRL-14)."""
        age = Decimal(age_ms) / HOUR_MS
        if age < self.from_hours:
            return None
        growing = age - self.from_hours - self.grace_hours
        if growing <= ZERO:
            return ZERO
        steady = min(growing, Decimal(ACCELERATES_AFTER_HOURS))
        loss = self.step_percent * (steady + (growing - steady) * self.acceleration)
        return min(loss, self.most_percent)
