"""Taking profit in steps: how much is closed at which profit, in quantities the venue takes."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from core.domain.instrument import Instrument
from core.domain.money import HUNDRED, ZERO, Price, Quantity


class ProfitStep(Struct, frozen=True, kw_only=True):
    """At `percent` profit (of the entry price) this share (percent) of what was entered is closed."""

    percent: Decimal
    share: Decimal


def slices(entered: Quantity, steps: tuple[ProfitStep, ...], instrument: Instrument, price: Price) -> list[Quantity]:
    """What each step closes, base units, at about this price; 0 where a step is merged into the next one.

    They add up to exactly the shares of what was entered, down to the venue's step; shares of 100 together close all of
    it. A slice below the venue's smallest order is taken together with the next step, the last one with the step before
    it; what a step would leave behind that could not be closed any more goes with it (VAL-18, VAL-19). All are 0 where
    the shares together are too little for an order.
    """
    rule = instrument.market_lot
    least = max(rule.minimum, instrument.min_notional / price if price > ZERO else ZERO)
    found: list[Quantity] = []
    share, due, closed = ZERO, ZERO, ZERO
    for step in steps:
        share = min(share + step.share, HUNDRED)
        due = entered if share == HUNDRED else instrument.round_quantity(entered * share / HUNDRED, rule)
        part = max(due - closed, ZERO)
        if part < least and due < entered:
            part = ZERO
        elif ZERO < entered - due < least:
            part = entered - closed
        found.append(Quantity(part))
        closed += part
    if due > closed > ZERO:
        last = max(number for number, part in enumerate(found) if part)
        rest = entered if entered - due < least else due
        found[last] = Quantity(found[last] + rest - closed)
    return found
