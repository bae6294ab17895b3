"""Taking profit in steps: how much is closed at which profit, in quantities the venue takes."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from core.domain.instrument import Instrument
from core.domain.money import HUNDRED, ZERO, Price, Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfitStep:
    """At `percent` profit (of the entry price) this share (percent) of what was entered is closed."""

    percent: Decimal
    share: Decimal


def slices(entered: Quantity, steps: tuple[ProfitStep, ...], instrument: Instrument, price: Price) -> list[Quantity]:
    """What each step closes, base units, at about this price; 0 where a step is merged into the next one.

    They add up to exactly the shares of what was entered; shares of 100 together close all of it. A slice below the
    venue's smallest order is taken together with the next step, and what the last would leave behind that could not be
    closed any more goes with it (VAL-18, VAL-19).
    """
    rule, found = instrument.market_lot, []
    least = max(rule.minimum, instrument.min_notional / price if price else ZERO)
    closed, owed = ZERO, ZERO
    total = min(sum((step.share for step in steps), ZERO), HUNDRED)
    for number, step in enumerate(steps, start=1):
        owed = min(owed + entered * step.share / HUNDRED, entered - closed)
        ends = number == len(steps) and total == HUNDRED
        part = Decimal(entered - closed if ends else instrument.round_quantity(owed, rule))
        left = entered - closed - part
        if ZERO < left < least:
            part = entered - closed
        if part < least and not ends:
            part = ZERO
        found.append(Quantity(part))
        closed += part
        owed -= min(part, owed)
    return found
