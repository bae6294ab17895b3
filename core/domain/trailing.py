"""The trailing stop: where it belongs, and when it is worth moving."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from core.domain.instrument import Instrument
from core.domain.money import HUNDRED, Price
from core.domain.signal import Side


class TrailingMode(StrEnum):
    MANAGED = "managed"
    """The resting stop is moved behind the best price by us."""
    NATIVE = "native"
    """The venue's own trailing order stands beside the fixed stop."""
    OFF = "off"


class TrailingRules(Struct, frozen=True, kw_only=True):
    """Percent of the entry price for `activation`, of the best price for `callback`, of the resting level for
    `least_step` and `forced_step`: a move of at least `forced_step` does not wait for `interval_ms` to pass."""

    activation_percent: Decimal
    callback_percent: Decimal
    interval_ms: int
    least_step_percent: Decimal
    forced_step_percent: Decimal

    def __post_init__(self) -> None:
        if self.callback_percent <= 0 or self.activation_percent <= 0:
            raise ValueError("a trailing stop needs an activation and a callback above 0 (TRL-02)")


def better(side: Side, level: Decimal, than: Decimal) -> bool:
    """Whether a stop at `level` is tighter than one at `than` for a position of this side (TRL-01)."""
    return level > than if side is Side.BUY else level < than


def tighter(side: Side, first: Price, second: Price) -> Price:
    return first if better(side, first, second) else second


def reached(side: Side, price: Decimal, level: Decimal) -> bool:
    """Whether `price` has come to `level` in the direction of profit."""
    return price >= level if side is Side.BUY else price <= level


def fallen(side: Side, price: Decimal, level: Decimal) -> bool:
    """Whether `price` has come to `level` in the direction of loss."""
    return price <= level if side is Side.BUY else price >= level


def away(side: Side, price: Decimal, percent: Decimal) -> Decimal:
    """`price` moved by `percent` of itself in the direction of profit; negative percent = of loss."""
    return price * (HUNDRED + side.sign * percent) / HUNDRED


def trailing_level(side: Side, peak: Price, rules: TrailingRules, instrument: Instrument) -> Price:
    """Where the stop belongs behind this best price: rounded towards it, and never at it."""
    raw = away(side, peak, -rules.callback_percent)
    if side is Side.BUY:
        level = instrument.round_price_up(raw)
        return level if level < peak else Price(level - instrument.tick)
    level = instrument.round_price_down(raw)
    return level if level > peak else Price(level + instrument.tick)


def worth_moving(
    side: Side, resting: Price, wanted: Price, rules: TrailingRules, tick: Price, *, since_last_ms: int | None
) -> bool:
    """Whether the resting stop is to be moved to `wanted` now. Never loosens (TRL-01); `since_last_ms` None = it has
    not been moved yet."""
    if not better(side, wanted, resting):
        return False
    gain = abs(wanted - resting)
    if gain < max(tick, resting * rules.least_step_percent / HUNDRED):
        return False
    if since_last_ms is None or since_last_ms >= rules.interval_ms:
        return True
    return gain * HUNDRED >= resting * rules.forced_step_percent
