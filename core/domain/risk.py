"""May this entry be sent? Pure: the numbers in use come in, a refusal or None goes out."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from core.domain.money import Notional, plain
from core.domain.verdict import Denied, Reason


class TradingState(StrEnum):
    """DESIGN §3.15. Protection and flattening always go, in every state."""

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskLimits:
    """All venues together except `reserve`, which must stay free per quote coin on each venue."""

    max_positions: int
    max_exposure: Notional
    reserve: Notional
    leverage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskUsage:
    """What is in use right now, in-flight and unknown included. `free` None = not known, which refuses."""

    positions: int
    exposure: Decimal
    free: Decimal | None


def check(notional: Notional, limits: RiskLimits, usage: RiskUsage) -> Denied | None:
    """At the limit passes, one unit above is denied (RSK-04). Values name the setting that decided (VAL-11)."""
    if usage.positions + 1 > limits.max_positions:
        return Denied(
            reason=Reason.MAX_POSITIONS,
            detail=f"{usage.positions} positions are open or in flight",
            values={"MAX_POSITIONS": str(limits.max_positions), "in_use": str(usage.positions)},
        )
    exposure = usage.exposure + notional
    if exposure > limits.max_exposure:
        return Denied(
            reason=Reason.MAX_EXPOSURE,
            detail=f"exposure would be {plain(exposure)}",
            values={"MAX_EXPOSURE_USD": plain(limits.max_exposure), "would_be": plain(exposure)},
        )
    if usage.free is None:
        return Denied(reason=Reason.BALANCE_UNKNOWN, detail="the venue has not told the balance of this quote coin")
    left = usage.free - notional / limits.leverage
    if left < limits.reserve:
        return Denied(
            reason=Reason.BALANCE_TOO_LOW,
            detail=f"{plain(left)} would stay free",
            values={
                "MINIMUM_ACTIVE_BALANCE_USD": plain(limits.reserve),
                "LEVERAGE": str(limits.leverage),
                "free": plain(usage.free),
                "would_stay": plain(left),
            },
        )
    return None
