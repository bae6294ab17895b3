"""Exits that make no sense together: a rule that another one always comes before is a promise nobody keeps (TRL-06)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import combinations, pairwise
from typing import NamedTuple

from core.domain.money import HUNDRED, ZERO
from core.settings.problems import Problem
from core.settings.tree import Settings
from core.settings.values import to_text


def trailing_does_not_begin_with_a_loss(settings: Settings) -> Iterator[Problem]:
    trailing = settings.trailing
    if trailing.callback_percent > trailing.activation_percent:
        yield Problem(
            variable="TRAILING_CALLBACK_PERCENT",
            value=to_text(trailing.callback_percent),
            what=f"is more than TRAILING_ACTIVATION_PERCENT ({to_text(trailing.activation_percent)}): "
            "the first trailing stop would be worse than the entry",
            fix="make the callback the smaller of the two",
        )


def profit_is_taken_in_one_way(settings: Settings) -> Iterator[Problem]:
    exits = settings.exits
    if exits.take_profit_steps and exits.take_profit_percent:
        yield Problem(
            variable="TAKE_PROFIT_PERCENT",
            value=to_text(exits.take_profit_percent),
            what="is set beside TAKE_PROFIT_STEPS, which stand in its place",
            fix="set one of the two",
        )


class _Retreat(NamedTuple):
    """A rule that lets a position go when its profit comes back: in force from a best profit of `start`, and acting at
    `base + slope * best`. All percent of the entry price."""

    variable: str
    start: Decimal
    base: Decimal
    slope: Decimal

    def level(self, best: Decimal) -> Decimal:
        return self.base + self.slope * best


def every_exit_can_be_reached(settings: Settings) -> Iterator[Problem]:
    """For each rule there must be a best profit, of longs and of shorts, from which it is the first to act when the
    price comes back."""
    ends = _all_is_taken_at(settings)
    sides = [_retreats(settings, sign) for sign in (1, -1)]
    for rule, *_ in zip(*sides, strict=True):
        if ends is not None and rule.start >= ends:
            yield Problem(
                variable=rule.variable,
                value=to_text(rule.start),
                what=f"is never reached: everything is closed at {to_text(ends)} % profit before",
                fix="lower it, or take profit later",
            )
        elif not all(_some_best_leads_to(rule.variable, rules, ends) for rules in sides):
            others = " or ".join(other.variable for other in sides[0] if other is not rule)
            yield Problem(
                variable=rule.variable,
                value=to_text(rule.start),
                what=f"never acts: whenever profit comes back, what begins at {others} closes before",
                fix="lower it, let that begin later or further away from the price, or switch one of them off",
            )


def _all_is_taken_at(settings: Settings) -> Decimal | None:
    steps = settings.exits.take_profit_steps
    if steps:
        return steps[-1].percent if sum(step.share for step in steps) == HUNDRED else None
    return settings.exits.take_profit_percent or None


def _retreats(settings: Settings, sign: int) -> list[_Retreat]:
    """In the order in which they act at the same price; `sign` 1 for longs. A callback is percent of the best price,
    so a long's grows with its profit. The venue's own trailing order acts like ours."""
    exits, trailing = settings.exits, settings.trailing
    found = []
    if trailing.mode != "off":
        back = trailing.callback_percent
        start = trailing.activation_percent
        found.append(_Retreat("TRAILING_ACTIVATION_PERCENT", start, -back, 1 - sign * back / HUNDRED))
    if start := exits.breakeven_activation_percent:
        fee = settings.protection.taker_fee_percent
        costs = 2 * fee * HUNDRED / (HUNDRED - sign * fee)
        found.append(_Retreat("BREAKEVEN_ACTIVATION_PERCENT", start, costs, ZERO))
    if start := exits.giveback_from_percent:
        found.append(_Retreat("GIVEBACK_FROM_PERCENT", start, ZERO, 1 - exits.giveback_percent / HUNDRED))
    return found


def _some_best_leads_to(variable: str, rules: list[_Retreat], ends: Decimal | None) -> bool:
    bests = (best for best in _bests(rules, ends) if ends is None or best < ends)
    return any(_acts_first(rules, best).variable == variable for best in bests)


def _bests(rules: list[_Retreat], ends: Decimal | None) -> Iterator[Decimal]:
    """Levels are straight lines: which of them is the highest changes only where a rule begins or two of them cross."""
    turns = {rule.start for rule in rules} | ({ends} if ends else set())
    for one, other in combinations(rules, 2):
        if one.slope != other.slope:
            turns.add((other.base - one.base) / (one.slope - other.slope))
    first = min((rule.start for rule in rules), default=ZERO)
    turning = sorted(turn for turn in turns if turn >= first)
    for low, high in pairwise([*turning, 2 * turning[-1]] if turning else []):
        yield low
        yield (low + high) / 2


def _acts_first(rules: list[_Retreat], best: Decimal) -> _Retreat:
    """Of rules of which one is in force at least."""
    return max((rule for rule in rules if rule.start <= best), key=lambda rule: rule.level(best))


def breakeven_is_behind_the_price(settings: Settings) -> Iterator[Problem]:
    start, fees = settings.exits.breakeven_activation_percent, 2 * settings.protection.taker_fee_percent
    if ZERO < start <= fees:
        yield Problem(
            variable="BREAKEVEN_ACTIVATION_PERCENT",
            value=to_text(start),
            what=f"is not more than the fees of two trades ({to_text(fees)} %): the stop would stand beyond the price",
            fix="raise it, or set 0 for none",
        )


def nothing_waits_beyond_the_time_limit(settings: Settings) -> Iterator[Problem]:
    exits, aged = settings.exits, settings.aged
    limit = exits.time_limit_hours
    if aged.max_position_age_hours >= limit:
        yield Problem(
            variable="MAX_POSITION_AGE_HOURS",
            value=to_text(aged.max_position_age_hours),
            what=f"is not below TIME_LIMIT_HOURS ({to_text(limit)}), at which everything is closed",
            fix="lower it or raise the limit",
        )
    if exits.least_holding_seconds >= limit * 3600:
        yield Problem(
            variable="MIN_HOLDING_SECONDS",
            value=to_text(exits.least_holding_seconds),
            what=f"is not below TIME_LIMIT_HOURS ({to_text(limit)}): what waits for it would never act",
            fix="lower it or raise the limit",
        )


def older_prices_serve_what_is_more_urgent(settings: Settings) -> Iterator[Problem]:
    prices = settings.prices
    if prices.critical_max_age_ms < prices.exit_max_age_ms:
        yield Problem(
            variable="PRICE_MAX_AGE_CRITICAL_MS",
            value=to_text(prices.critical_max_age_ms),
            what=f"is less than PRICE_MAX_AGE_EXIT_MS ({prices.exit_max_age_ms}): a critical exit would wait for a "
            "price a normal one does not wait for",
            fix="raise it",
        )


def aged_loss_can_reach_its_maximum(settings: Settings) -> Iterator[Problem]:
    aged = settings.aged
    if aged.loss_step_percent > aged.max_loss_percent:
        yield Problem(
            variable="AGED_LOSS_STEP_PERCENT",
            value=to_text(aged.loss_step_percent),
            what=f"is more than AGED_MAX_LOSS_PERCENT ({to_text(aged.max_loss_percent)})",
            fix="make the hourly step the smaller of the two",
        )


EXIT_CHECKS: tuple[Callable[[Settings], Iterator[Problem]], ...] = (
    trailing_does_not_begin_with_a_loss,
    profit_is_taken_in_one_way,
    every_exit_can_be_reached,
    breakeven_is_behind_the_price,
    nothing_waits_beyond_the_time_limit,
    older_prices_serve_what_is_more_urgent,
    aged_loss_can_reach_its_maximum,
)
