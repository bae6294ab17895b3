"""May this entry be sent? Pure: the numbers in use come in, the gates with their answers go out."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal
from enum import StrEnum

from msgspec import Struct

from core.domain.gate import Gate, passed, refused
from core.domain.money import ZERO, Notional, plain
from core.domain.verdict import Reason

BALANCE_WARN_SECONDS = 30
"""An older balance is noted with every entry (RSK-02)."""


class TradingState(StrEnum):
    """DESIGN §3.15. Protection and flattening always go, in every state."""

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"


class RiskLimits(Struct, frozen=True, kw_only=True):
    """All venues together except `reserve`, which must stay free per quote coin on each venue. 0 = off for those that
    default to it. Exposure is notional: leverage changes what margin it needs and nothing else (RSK-06)."""

    max_positions: int
    max_exposure: Notional
    reserve: Notional
    leverage: int
    max_positions_per_venue: int = 0
    max_coin_exposure: Notional = Notional(ZERO)
    max_entries_per_minute: int = 0
    max_clock_error_ms: int = 1000
    errors_in_a_row: int = 5


class RiskUsage(Struct, frozen=True, kw_only=True):
    """What is in use right now, in-flight and unknown included. `free` None = not known, which refuses.

    `short_of` is what must be free again before entries go on that a refusal for balance has stopped (None = nothing
    stopped them). `balance_age` seconds. `most_on_venue`: so many positions the venue can hold stops for, None = any.
    """

    positions: int
    exposure: Decimal
    free: Decimal | None
    positions_on_venue: int = 0
    coin_exposure: Decimal = ZERO
    entries_last_minute: int = 0
    short_of: Decimal | None = None
    balance_age: int = 0
    most_on_venue: int | None = None


def check(notional: Notional, limits: RiskLimits, usage: RiskUsage) -> tuple[Gate, ...]:
    """At the limit passes, one unit above is denied (RSK-04). Values name the setting that decided (VAL-11)."""
    return (
        _rate(limits, usage),
        _positions(limits, usage),
        _positions_on_venue(limits, usage),
        _exposure(notional, limits, usage),
        _coin_exposure(notional, limits, usage),
        _shortage(usage),
        _balance(notional, limits, usage),
    )


def needed(notional: Notional, limits: RiskLimits) -> Decimal:
    """What must be free for an entry of this size: its margin and the reserve."""
    return limits.reserve + notional / limits.leverage


def afford_gate(size: Notional, target: Notional, usage: RiskUsage, limits: RiskLimits, where: str) -> Gate:
    """Whether the free balance carries an entry of `size` at all. `target` is the configured size, which the sentence
    names; `where` the quote coin and venue, e.g. "USDT on bybit". An unknown balance is judged with the reservation."""
    asked = target / limits.leverage
    limit = f"POSITION_SIZE_USD/LEVERAGE={plain(asked)}"
    if usage.free is None or usage.free >= size / limits.leverage:
        return passed("affordable", "unknown" if usage.free is None else plain(usage.free), limit)
    free = usage.free.quantize(_CENT, ROUND_FLOOR)
    detail = f"free {free} < {asked.quantize(_CENT)} {where}"
    return refused("affordable", Reason.BALANCE_TOO_LOW, detail, value=free, limit=limit, LEVERAGE=limits.leverage)


_CENT = Decimal("0.01")


def clock_gate(error_ms: int | None, limits: RiskLimits) -> Gate:
    """`error_ms`: how far the host's clock has moved since the venue's was last measured; None = it is not measured.

    The offset itself never matters, it is applied; a clock that jumps makes time stamps the venue refuses (NET-01).
    """
    limit = f"MAX_CLOCK_ERROR_MS={limits.max_clock_error_ms}"
    if error_ms is None:
        what = "the venue's clock could not be measured for too long"
        return refused("clock", Reason.CLOCK_UNSURE, what, value="unknown", limit=limit)
    if abs(error_ms) <= limits.max_clock_error_ms:
        return passed("clock", f"{error_ms} ms", limit)
    what = f"this host's clock jumped by {error_ms} ms; the venue's is measured anew"
    return refused("clock", Reason.CLOCK_UNSURE, what, value=f"{error_ms} ms", limit=limit)


def _rate(limits: RiskLimits, usage: RiskUsage) -> Gate:
    limit, wanted = f"MAX_ENTRIES_PER_MINUTE={limits.max_entries_per_minute}", usage.entries_last_minute + 1
    if not limits.max_entries_per_minute or wanted <= limits.max_entries_per_minute:
        return passed("entry_rate", wanted, limit)
    detail = f"{usage.entries_last_minute} entries went out in the last 60 s"
    return refused("entry_rate", Reason.ENTRY_RATE, detail, value=wanted, limit=limit)


def _positions_on_venue(limits: RiskLimits, usage: RiskUsage) -> Gate:
    most, limit = limits.max_positions_per_venue, f"MAX_POSITIONS_PER_VENUE={limits.max_positions_per_venue}"
    wanted, detail = usage.positions_on_venue + 1, f"{usage.positions_on_venue} positions are open or in flight here"
    if usage.most_on_venue is not None and not 0 < most <= usage.most_on_venue:
        most, limit = usage.most_on_venue, f"the venue's {usage.most_on_venue} stop orders"
        detail = f"{detail}, and the venue takes no stop for another one"
    if not most or wanted <= most:
        return passed("venue_positions", wanted, limit)
    return refused("venue_positions", Reason.MAX_POSITIONS_ON_VENUE, detail, value=wanted, limit=limit)


def _coin_exposure(notional: Notional, limits: RiskLimits, usage: RiskUsage) -> Gate:
    exposure = plain(usage.coin_exposure + notional)
    limit = f"MAX_EXPOSURE_PER_SYMBOL_USD={plain(limits.max_coin_exposure)}"
    if not limits.max_coin_exposure or usage.coin_exposure + notional <= limits.max_coin_exposure:
        return passed("symbol_exposure", exposure, limit)
    detail = f"exposure in this coin would be {exposure}, all venues and quote coins together"
    return refused("symbol_exposure", Reason.MAX_SYMBOL_EXPOSURE, detail, value=exposure, limit=limit)


def _shortage(usage: RiskUsage) -> Gate:
    """An earlier refusal for balance stopped entries in this quote coin; its end was looked for before (RSK-01)."""
    if usage.short_of is None:
        return passed("shortage", "none")
    detail = f"entries in this quote coin wait until {plain(usage.short_of)} is free again"
    free = "unknown" if usage.free is None else plain(usage.free)
    return refused("shortage", Reason.BALANCE_TOO_LOW, detail, value=free, limit=plain(usage.short_of))


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
        old = usage.balance_age >= BALANCE_WARN_SECONDS
        return passed("balance", plain(left), limit, note=f"told {usage.balance_age} s ago" if old else "")
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
