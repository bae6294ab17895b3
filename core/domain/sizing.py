"""How much to buy. One function decides (VAL-12); rounding comes first, every check after it (INV-9)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from core.domain.instrument import Instrument, LotRule
from core.domain.money import HUNDRED, ZERO, Notional, Price, Quantity, plain
from core.domain.verdict import Denied, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class SizingRule:
    """Quote-coin notionals; `tolerance_percent` is how much above the target a venue's minimum may cost (VAL-01)."""

    target: Notional
    minimum: Notional
    tolerance_percent: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    quantity: Quantity
    notional: Notional


def size(instrument: Instrument, price: Price, rule: SizingRule, lot: LotRule) -> Sized | Denied:
    """Quantity for `rule.target` at `price`: rounded down, or the smallest the venue takes if that is affordable."""
    quantity = instrument.round_quantity(rule.target / price, lot)
    floor = max(rule.minimum, instrument.min_notional)
    if quantity < lot.minimum or quantity * price < floor:
        quantity = _smallest(lot, floor, price)
    notional = Notional(quantity * price)
    most = rule.target * (HUNDRED + rule.tolerance_percent) / HUNDRED
    if notional > most:
        return Denied(
            reason=Reason.BELOW_MINIMUM,
            detail=f"the smallest order costs {plain(notional)}, more than POSITION_SIZE_USD allows",
            values={"POSITION_SIZE_USD": plain(rule.target), "most": plain(most), "smallest": plain(notional)},
        )
    if quantity > lot.maximum or quantity <= ZERO:
        return Denied(
            reason=Reason.ABOVE_MAXIMUM,
            detail=f"{plain(quantity)} is outside what the venue takes in one order",
            values={"quantity": plain(quantity), "maximum": plain(lot.maximum)},
        )
    return Sized(quantity=quantity, notional=notional)


def _smallest(lot: LotRule, floor: Decimal, price: Price) -> Quantity:
    steps = (floor / price / lot.step).to_integral_value(ROUND_CEILING)
    return Quantity(max(lot.minimum, steps * lot.step))
