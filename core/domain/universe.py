"""Which swaps are worth looking at: by rules, per venue and quote coin, never by a list in the program. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct

from core.domain.ids import InstrumentId
from core.domain.instrument import Instrument
from core.domain.money import HUNDRED, ZERO, Price

DAY_MS = 24 * 3600 * 1000


class UniverseRules(Struct, frozen=True, kw_only=True):
    """`count` of each venue and quote coin; 0 switches one of the others off. Turnover of 24 hours and balance in quote
    coin; the balance must be above `least_balance`."""

    count: int
    least_turnover: Decimal
    most_spread_percent: Decimal
    least_age_days: int
    least_balance: Decimal


class Offered(Struct, frozen=True, kw_only=True):
    """One listed swap with what its venue says of it now; None = it does not say."""

    instrument: Instrument
    turnover: Decimal | None
    touch: tuple[Price, Price] | None


class Choice(Struct, frozen=True, kw_only=True):
    """The chosen ones, most traded first, and how many each rule left out."""

    chosen: tuple[InstrumentId, ...]
    left_out: Counter[str]


def choose(offered: Iterable[Offered], rules: UniverseRules, now_ms: int) -> Choice:
    """Of one venue and quote coin. Ties by name, so that the same market is always chosen the same way."""
    fit: list[tuple[Decimal, InstrumentId]] = []
    left_out: Counter[str] = Counter()
    for one in offered:
        if (why := _against(one, rules, now_ms)) is not None:
            left_out[why] += 1
        else:
            fit.append((one.turnover or ZERO, one.instrument.id))
    fit.sort(key=lambda row: (-row[0], row[1]))
    if len(fit) > rules.count:
        left_out["less traded"] += len(fit) - rules.count
    return Choice(chosen=tuple(instrument for _, instrument in fit[: rules.count]), left_out=left_out)


def _against(one: Offered, rules: UniverseRules, now_ms: int) -> str | None:
    """The first rule that leaves it out; what is not known counts against it where the rule is on."""
    if not one.instrument.tradable:
        return "not trading"
    if not one.turnover or one.turnover < rules.least_turnover:
        return "UNIVERSE_MIN_DAY_VOLUME_USDT"
    if rules.most_spread_percent and (one.touch is None or _spread(one.touch) > rules.most_spread_percent):
        return "UNIVERSE_MAX_SPREAD_PERCENT"
    listed = one.instrument.listed_ms
    if rules.least_age_days and (listed is None or now_ms - listed < rules.least_age_days * DAY_MS):
        return "UNIVERSE_MIN_AGE_DAYS"
    return None


def _spread(touch: tuple[Price, Price]) -> Decimal:
    """Percent of the middle."""
    bid, ask = touch
    return (ask - bid) / (ask + bid) * 2 * HUNDRED
