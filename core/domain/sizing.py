"""How much to buy. One function decides (VAL-12); rounding comes first, every check after it (INV-9)."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

from msgspec import Struct

from core.domain.gate import Gate, passed, refused
from core.domain.instrument import Instrument, LotRule
from core.domain.money import HUNDRED, ZERO, Notional, Price, Quantity, plain
from core.domain.verdict import Denied, Reason


class SizingRule(Struct, frozen=True, kw_only=True):
    """Quote-coin notionals; `tolerance_percent` is how much above the target a venue's minimum may cost (VAL-01)."""

    target: Notional
    minimum: Notional
    tolerance_percent: Decimal

    def named(self) -> dict[str, str]:
        """Each setting with its value: together they decide, so a refusal names them all (VAL-11)."""
        return {
            "POSITION_SIZE_USD": plain(self.target),
            "MIN_POSITION_SIZE_USDT": plain(self.minimum),
            "POSITION_SIZE_TOLERANCE_PERCENT": plain(self.tolerance_percent),
        }


class Sized(Struct, frozen=True, kw_only=True):
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
            values={**rule.named(), "most": plain(most), "smallest": plain(notional)},
        )
    if quantity > lot.maximum or quantity <= ZERO:
        return Denied(
            reason=Reason.ABOVE_MAXIMUM,
            detail=f"{plain(quantity)} is outside what the venue takes in one order",
            values={**rule.named(), "quantity": plain(quantity), "maximum": plain(lot.maximum)},
        )
    return Sized(quantity=quantity, notional=notional)


def size_gate(sized: Sized | Denied, rule: SizingRule) -> Gate:
    """The size as a gate."""
    limit = f"POSITION_SIZE_USD={plain(rule.target)}"
    if isinstance(sized, Denied):
        return Gate(name="size", value=sized.detail, limit=limit, denied=sized)
    return passed("size", f"{plain(sized.quantity)} for {plain(round(sized.notional, 2))}", limit)


def bracket_gate(instrument: Instrument, notional: Notional, held: Decimal, leverage: int) -> Gate:
    """The venue grants a leverage only up to a position size; beyond it every order is refused (VAL-05).

    `held` is what is open or in flight there already, quote coin. Brackets the venue has not told refuse nothing: the
    venue's own refusal then ends the entry.
    """
    most = instrument.most_notional(leverage)
    total = plain(round(notional + held, 2))
    if most is None:
        return passed("bracket", total, note="the venue has not told its brackets")
    limit = f"at most {plain(most)} at LEVERAGE={leverage}"
    if notional + held <= most:
        return passed("bracket", total, limit)
    detail = f"the venue allows positions up to {plain(most)} at leverage {leverage}"
    figures: dict[str, object] = {"LEVERAGE": leverage, "most": plain(most), "would_be": total}
    return refused("bracket", Reason.BRACKET_FULL, detail, value=total, limit=limit, **figures)


def _smallest(lot: LotRule, floor: Decimal, price: Price) -> Quantity:
    steps = (floor / price / lot.step).to_integral_value(ROUND_CEILING)
    return Quantity(max(lot.minimum, steps * lot.step))
