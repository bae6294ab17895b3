"""Is there a market to trade in? Open interest, traded volume, the last five minutes, the spread. Pure.

An input nobody has is a reason of its own, never a silent pass; `OnMissing` says per filter what then happens (VAL-16).
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from core.domain.gate import Gate, passed, refused
from core.domain.money import HUNDRED, ZERO, Price, plain
from core.domain.signal import Side
from core.domain.verdict import Reason


class OnMissing(StrEnum):
    """What a filter does without its input."""

    REFUSE = "refuse"
    PASS = "pass"  # noqa: S105 - a verdict


class Filter(Struct, frozen=True, kw_only=True):
    """One filter as configured: `limit` 0 switches it off. The names of its two settings go into every verdict."""

    setting: str
    limit: Decimal
    missing_setting: str
    on_missing: OnMissing

    @property
    def off(self) -> bool:
        return self.limit == ZERO

    def __str__(self) -> str:
        return f"{self.setting}={plain(self.limit)}{' (off)' if self.off else ''}"


class LiquidityRules(Struct, frozen=True, kw_only=True):
    """Open interest and volume in quote coin, move and spread in percent, ages in seconds."""

    open_interest: Filter
    volume_1h: Filter
    move_5min: Filter
    spread: Filter
    max_age: float


class Activity(Struct, frozen=True, kw_only=True):
    """What is known of one instrument's trading. `open_interest` base units, `volume_1h` quote coin of 60 closed
    minutes, `price_before` of five minutes ago; None = not known. Ages in seconds, on receive time.

    `error` is what the venue said when it was asked last and did not answer, "" = it did.
    """

    open_interest: Decimal | None = None
    volume_1h: Decimal | None = None
    age: float | None = None
    price_before: Price | None = None
    error: str = ""


def liquidity(
    side: Side, mark: Price | None, touch: tuple[Price, Price] | None, activity: Activity, rules: LiquidityRules
) -> tuple[Gate, ...]:
    """The four gates. `touch` is bid and ask, None when the book is not known."""
    fresh = activity.age is not None and activity.age <= rules.max_age
    too_old = "" if fresh or activity.age is None else f"{rules.max_age:g}"
    interest = None
    if fresh and activity.open_interest is not None and mark is not None:
        interest = activity.open_interest * mark
    move = None
    if activity.price_before is not None and mark is not None:
        move = (activity.price_before - mark) / activity.price_before * HUNDRED * side.sign
    spread = None
    if touch is not None:
        bid, ask = touch
        spread = (ask - bid) / ((ask + bid) / 2) * HUNDRED
    volume = activity.volume_1h if fresh else None
    return (
        _least("open_interest", interest, rules.open_interest, activity, Reason.OPEN_INTEREST_TOO_LOW, too_old),
        _least("volume_1h", volume, rules.volume_1h, activity, Reason.VOLUME_TOO_LOW, too_old),
        _most("move_5min", move, rules.move_5min, activity, Reason.MOVED_AGAINST),
        _most("spread", spread, rules.spread, activity, Reason.SPREAD_TOO_WIDE),
    )


_MISSING = {
    "open_interest": Reason.OPEN_INTEREST_MISSING,
    "volume_1h": Reason.VOLUME_MISSING,
    "move_5min": Reason.PRICE_CHANGE_MISSING,
    "spread": Reason.SPREAD_MISSING,
}
_SPOKEN = {
    "open_interest": "open interest",
    "volume_1h": "the volume of the last hour",
    "move_5min": "the move of the last five minutes against the entry side",
    "spread": "the spread",
}


def _least(name: str, value: Decimal | None, rule: Filter, activity: Activity, reason: Reason, too_old: str) -> Gate:
    if value is None or rule.off:
        return _without(name, value, rule, activity, too_old)
    if value >= rule.limit:
        return passed(name, _shown(value), str(rule))
    return _refused(name, value, rule, reason, "below the least wanted")


def _most(name: str, value: Decimal | None, rule: Filter, activity: Activity, reason: Reason) -> Gate:
    if value is None or rule.off:
        return _without(name, value, rule, activity)
    if value <= rule.limit:
        return passed(name, _shown(value), str(rule))
    return _refused(name, value, rule, reason, "above the most allowed")


def _refused(name: str, value: Decimal, rule: Filter, reason: Reason, how: str) -> Gate:
    detail = f"{_SPOKEN[name]} is {_shown(value)}, {how}"
    named: dict[str, object] = {rule.setting: plain(rule.limit), name: _shown(value)}
    return refused(name, reason, detail, value=_shown(value), limit=str(rule), **named)


def _without(name: str, value: Decimal | None, rule: Filter, activity: Activity, too_old: str = "") -> Gate:
    """Switched off, or without an input. `too_old`: there is one, but older than so many seconds."""
    if rule.off:
        return passed(name, "" if value is None else _shown(value), str(rule))
    if rule.on_missing is OnMissing.PASS:
        return passed(name, "missing", str(rule), note=f"passed by {rule.missing_setting}=pass")
    named: dict[str, object] = {rule.setting: plain(rule.limit), rule.missing_setting: rule.on_missing}
    if activity.error:
        detail = f"{_SPOKEN[name]} is not known: {activity.error}"
        return refused(name, Reason.VENUE_ERROR, detail, value="missing", limit=str(rule), **named)
    aged = "" if activity.age is None else f"; the last answer is {activity.age:.0f} s old"
    if too_old:
        named["SCREEN_MAX_AGE_SECONDS"] = too_old
    detail = f"{_SPOKEN[name]} is not known{aged}"
    return refused(name, _MISSING[name], detail, value="missing", limit=str(rule), **named)


def _shown(value: Decimal) -> str:
    """For people: money to the cent, percent to a thousandth; the comparison used every digit."""
    return plain(round(value, 2) if abs(value) >= HUNDRED else round(value, 4))
