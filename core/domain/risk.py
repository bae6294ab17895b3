"""May this entry be sent? Pure: the numbers in use come in, the gates with their answers go out."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from core.domain.gate import Gate, passed, refused
from core.domain.money import Notional, plain
from core.domain.verdict import Reason


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


def check(notional: Notional, limits: RiskLimits, usage: RiskUsage) -> tuple[Gate, ...]:
    """At the limit passes, one unit above is denied (RSK-04). Values name the setting that decided (VAL-11)."""
    return (_positions(limits, usage), _exposure(notional, limits, usage), _balance(notional, limits, usage))


def _positions(limits: RiskLimits, usage: RiskUsage) -> Gate:
    limit = f"MAX_POSITIONS={limits.max_positions}"
    if usage.positions + 1 <= limits.max_positions:
        return passed("positions", usage.positions + 1, limit)
    return refused(
        "positions",
        Reason.MAX_POSITIONS,
        f"{usage.positions} positions are open or in flight",
        value=usage.positions + 1,
        limit=limit,
        MAX_POSITIONS=limits.max_positions,
        in_use=usage.positions,
    )


def _exposure(notional: Notional, limits: RiskLimits, usage: RiskUsage) -> Gate:
    exposure = plain(usage.exposure + notional)
    limit = f"MAX_EXPOSURE_USD={plain(limits.max_exposure)}"
    if usage.exposure + notional <= limits.max_exposure:
        return passed("exposure", exposure, limit)
    return refused(
        "exposure",
        Reason.MAX_EXPOSURE,
        f"exposure would be {exposure}",
        value=exposure,
        limit=limit,
        MAX_EXPOSURE_USD=plain(limits.max_exposure),
        would_be=exposure,
    )


def _balance(notional: Notional, limits: RiskLimits, usage: RiskUsage) -> Gate:
    limit = f"MINIMUM_ACTIVE_BALANCE_USD={plain(limits.reserve)}"
    if usage.free is None:
        what = "the venue has not told the balance of this quote coin"
        return refused("balance", Reason.BALANCE_UNKNOWN, what, value="unknown", limit=limit)
    left = usage.free - notional / limits.leverage
    if left >= limits.reserve:
        return passed("balance", plain(left), limit)
    return refused(
        "balance",
        Reason.BALANCE_TOO_LOW,
        f"{plain(left)} would stay free",
        value=plain(left),
        limit=limit,
        MINIMUM_ACTIVE_BALANCE_USD=plain(limits.reserve),
        LEVERAGE=limits.leverage,
        free=plain(usage.free),
        would_stay=plain(left),
    )
