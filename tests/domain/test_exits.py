"""The exit rules: their order, what holds them back, that each can end a position, and which prices may be skipped."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import combinations, product
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from core.config import Settings
from core.domain.aging import HOUR_MS
from core.domain.exits import (
    EVERY_PRICE,
    NONE_CONFIRMED,
    ExitReason,
    ExitRules,
    Funding,
    Verdict,
    breakeven,
    fresh_state,
    judge,
    rules_for,
)
from core.domain.money import HUNDRED, ZERO, Price, Quantity
from core.domain.position import Position
from core.domain.profit_steps import ProfitStep
from core.domain.signal import Side
from core.domain.trailing import away
from core.errors import ConfigError
from core.rules import exit_rules
from tests.builders import NOW_MS, Number, a_position, an_instrument, price
from tests.builders_config import some_settings
from tests.domain.exit_world import (
    BOTH,
    CENTS,
    Life,
    a_life,
    percent_from,
    seen,
    some_aging,
    some_rules,
    some_trailing,
)

FEE = Decimal("0.05")
URGENT_FIRST = (ExitReason.CRITICAL_LOSS, ExitReason.STOP_PASSED, ExitReason.TIME_LIMIT)
AFTERWARDS = (
    ExitReason.TRAILING,
    ExitReason.TAKE_PROFIT,
    ExitReason.BREAKEVEN,
    ExitReason.GIVEBACK,
    ExitReason.AGED,
    ExitReason.FUNDING,
    ExitReason.STRATEGY,
)
STATED = URGENT_FIRST + AFTERWARDS
WITHOUT_HOLDING = {ExitReason.TRAILING, ExitReason.BREAKEVEN}


def steps(*pairs: tuple[Number, Number]) -> tuple[ProfitStep, ...]:
    return tuple(ProfitStep(percent=Decimal(at), share=Decimal(share)) for at, share in pairs)


# The order


def all_at_once(side: Side, on: frozenset[ExitReason], *, holds: bool) -> tuple[Position, ExitRules, Price | None]:
    """Twenty hours old, once 20 % ahead, now at 0.06 %: every rule that is on has something to say. The level of its
    stop comes last: far behind, or so far ahead that the price is critically beyond it."""
    position = a_position(side=side, at=100)
    rules = some_rules(
        critical_percent=Decimal(1) if ExitReason.CRITICAL_LOSS in on else ZERO,
        stop_passed_ms=0,
        time_limit_ms=(10 if ExitReason.TIME_LIMIT in on else 48) * HOUR_MS,
        trailing=some_trailing() if ExitReason.TRAILING in on else None,
        steps=steps(("0.05", 100)) if ExitReason.TAKE_PROFIT in on else (),
        breakeven_percent=Decimal("0.5") if ExitReason.BREAKEVEN in on else ZERO,
        fee_percent=FEE,
        giveback_from_percent=Decimal(1) if ExitReason.GIVEBACK in on else ZERO,
        giveback_percent=Decimal(50),
        aged=some_aging() if ExitReason.AGED in on else None,
        funding_window_ms=60_000 if ExitReason.FUNDING in on else 0,
        funding_percent=Decimal("0.1"),
        least_holding_ms=24 * HOUR_MS if holds else 0,
    )
    return position, rules, percent_from(side, "1.5" if ExitReason.CRITICAL_LOSS in on else -5)


def judged_at_once(side: Side, on: frozenset[ExitReason], kind: str, *, halted: bool, holds: bool) -> Verdict:
    position, rules, resting = all_at_once(side, on, holds=holds)
    state = replace(fresh_state(position), peak=percent_from(side, 20), trailing=True, level=percent_from(side, "0.2"))
    here = seen(
        None if kind == "none" else percent_from(side, "0.06"),
        after_ms=20 * HOUR_MS,
        resting=resting,
        normal=kind == "fresh",
        passed=ExitReason.STOP_PASSED in on,
        funding=Funding(rate_percent=Decimal("0.2") * side.sign, due_ms=NOW_MS + 20 * HOUR_MS + 30_000),
        advice="the trend has turned" if ExitReason.STRATEGY in on else "",
        discretionary=not halted,
    )
    return judge(position, state, NONE_CONFIRMED, rules, here, CENTS)


def expected(on: frozenset[ExitReason], kind: str, *, halted: bool, holds: bool) -> ExitReason | None:
    for reason in STATED:
        if reason is ExitReason.TIME_LIMIT:
            speaks = True
        elif reason in URGENT_FIRST:
            speaks = kind != "none"
        else:
            speaks = kind == "fresh" and not halted and (not holds or reason in WITHOUT_HOLDING)
        if speaks and reason in on:
            return reason
    return None


def selections() -> Iterator[frozenset[ExitReason]]:
    """A price cannot be critically beyond a stop and come back to a breakeven that this stop lags behind."""
    for count in range(len(STATED) + 1):
        for chosen in combinations(STATED, count):
            if not {ExitReason.CRITICAL_LOSS, ExitReason.BREAKEVEN} <= set(chosen):
                yield frozenset(chosen)


@pytest.mark.parametrize("side", BOTH)
@pytest.mark.parametrize("kind", ["fresh", "old", "none"])
def test_the_order_of_the_rules_holds_in_every_combination(side: Side, kind: str) -> None:
    """Protection wins over the least holding time, halted trading and a missing or old price (INV-12)."""
    for on, halted, holds in product(selections(), [False, True], [False, True]):
        verdict = judged_at_once(side, on, kind, halted=halted, holds=holds)
        reason = None if verdict.close is None else verdict.close.reason
        assert reason is expected(on, kind, halted=halted, holds=holds), (on, halted, holds)
        assert verdict.waiting == (verdict.close is None and kind != "fresh" and not halted)
        assert (kind == "fresh" and reason is None) or verdict.band is EVERY_PRICE


@pytest.mark.parametrize("side", BOTH)
def test_a_price_of_nothing_is_no_price(side: Side) -> None:
    life = a_life(side, critical_percent=Decimal(1), trailing=some_trailing(), time_limit_ms=HOUR_MS)
    for broken in (0, -5):
        verdict = life.look(broken)
        assert verdict.waiting
        assert verdict.band is EVERY_PRICE
    assert life.state.peak is None
    life.look(0, wait_ms=HOUR_MS)
    assert life.reason is ExitReason.TIME_LIMIT


# What protects


@pytest.mark.parametrize("side", BOTH)
def test_a_critical_loss_counts_from_the_stop_and_must_hold(side: Side) -> None:
    life = a_life(side, critical_percent=Decimal(1), critical_confirm_ms=500, stop_passed_ms=3_000)
    beyond = percent_from(side, "-3.01")
    life.look(beyond)
    life.look(beyond, wait_ms=499)
    life.look(percent_from(side, "-2.99"), wait_ms=1)
    life.look(beyond, wait_ms=1)
    life.look(beyond, wait_ms=499)
    assert life.closed is None, "a recovery in between begins it anew"
    life.look(beyond, wait_ms=1)
    assert life.reason is ExitReason.CRITICAL_LOSS


@pytest.mark.parametrize("side", BOTH)
def test_a_stop_that_is_passed_and_does_not_act_is_given_three_seconds(side: Side) -> None:
    life = a_life(side)
    life.look(percent_from(side, "-2.1"))
    life.look(percent_from(side, "-2.1"), wait_ms=2_999)
    assert life.closed is None
    life.look(percent_from(side, "-2.1"), wait_ms=1)
    assert life.reason is ExitReason.STOP_PASSED


# Breakeven


@pytest.mark.failure("TRL-17")
@given(
    side=st.sampled_from(BOTH),
    tick=st.sampled_from(["0.00000001", "0.0005", "0.1", "1", "1000"]),
    ticks=st.integers(2, 10**10),
    parts=st.lists(st.integers(1, 10**6), min_size=1, max_size=3),
    fee=st.integers(0, 100).map(lambda n: Decimal(n) / 200),
)
def test_closing_at_breakeven_pays_both_fees_and_one_tick_less_does_not(
    side: Side, tick: str, ticks: int, parts: list[int], fee: Decimal
) -> None:
    """Also where the entry was filled at several prices, so that its average stands on no tick."""
    instrument, unit = an_instrument(tick=tick), Decimal(tick)
    cost = sum((Decimal(part) * (ticks + number) * unit for number, part in enumerate(parts)), ZERO)
    position = replace(
        a_position(side=side, amount=sum(parts)), entry_quantity=Quantity(Decimal(sum(parts))), entry_cost=cost
    )
    level = breakeven(position, fee, instrument)

    def net(at: Decimal) -> Fraction:
        earned = (Fraction(at) * sum(parts) - Fraction(cost)) * side.sign
        return earned - Fraction(fee) / 100 * (Fraction(cost) + Fraction(at) * sum(parts))

    assert level % unit == 0
    assert net(level) >= 0
    assert net(level - side.sign * unit) < 0


@pytest.mark.failure("TRL-17")
def test_breakeven_is_a_tenth_of_a_percent_away_at_a_fee_of_a_twentieth() -> None:
    assert breakeven(a_position(at=1000), FEE, CENTS) == Decimal("1001.01")
    assert breakeven(a_position(at=1000, side=Side.SELL), FEE, CENTS) == Decimal("999.00")


@pytest.mark.failure("TRL-17")
@pytest.mark.parametrize("side", BOTH)
def test_a_profit_that_comes_back_to_breakeven_is_let_go_where_the_stop_was_not_moved(side: Side) -> None:
    life = a_life(side, breakeven_percent=Decimal("0.5"), fee_percent=FEE, moves=None)
    life.look(percent_from(side, "0.49"))
    life.look(percent_from(side, "0.05"))
    assert life.closed is None, "not activated"
    life.look(percent_from(side, "0.5"))
    life.look(percent_from(side, "0.12"))
    assert life.closed is None
    life.look(percent_from(side, "0.1"))
    assert life.reason is ExitReason.BREAKEVEN


@pytest.mark.parametrize(("side", "first"), [(Side.BUY, "102"), (Side.SELL, "98")])
def test_a_breakeven_stop_is_never_put_at_the_price_itself(side: Side, first: str) -> None:
    """With a tick of one percent breakeven is a tick away: so the price must be two away."""
    life = a_life(side, breakeven_percent=Decimal("0.5"), fee_percent=FEE, instrument=an_instrument(tick=1))
    life.look(percent_from(side, 1))
    assert (life.closed, life.state.level) == (None, None)
    life.look(first)
    assert (life.closed, life.state.level) == (None, percent_from(side, 1))


# Taking profit and giving it back


@pytest.mark.parametrize("side", BOTH)
def test_each_step_must_hold_by_itself(side: Side) -> None:
    life = a_life(side, steps=steps((1, 50), (2, 50)), confirm_ms=1_000)
    life.look(percent_from(side, "1.5"))
    assert life.look(percent_from(side, 2), wait_ms=999).close is None
    first = life.look(percent_from(side, 2), wait_ms=1).close
    assert first is not None
    assert first.step == 0
    assert life.look(percent_from(side, 2)).close is None, "of the second step this is the first price"
    second = life.look(percent_from(side, 2), wait_ms=1_000).close
    assert second is not None
    assert second.step == 1


@pytest.mark.parametrize("side", BOTH)
def test_what_held_before_trading_was_halted_must_hold_anew(side: Side) -> None:
    life = a_life(side, steps=steps((1, 100)), confirm_ms=1_000)
    life.look(percent_from(side, 1))
    life.look(percent_from(side, 1), wait_ms=500, discretionary=False)
    life.look(percent_from(side, 1), wait_ms=600)
    assert life.closed is None
    life.look(percent_from(side, 1), wait_ms=1_000)
    assert life.reason is ExitReason.TAKE_PROFIT


@pytest.mark.parametrize("side", BOTH)
def test_a_profit_given_back_counts_from_the_best_price_that_was_seen_while_holding(side: Side) -> None:
    life = a_life(
        side, giveback_from_percent=Decimal(2), giveback_percent=Decimal(50), least_holding_ms=60_000, moves=None
    )
    life.look(percent_from(side, 0))
    for gain in (1, 4, 3):  # between two looks
        life.tick(percent_from(side, gain))
    life.look(percent_from(side, "2.01"), wait_ms=60_000)
    assert life.closed is None
    life.look(percent_from(side, 2))
    assert life.reason is ExitReason.GIVEBACK


# Funding and strategies


@pytest.mark.parametrize("side", BOTH)
@pytest.mark.parametrize(
    ("rate", "left_ms", "closes"),
    [
        ("0.1", 60_000, True),
        ("0.1", 0, True),
        ("0.1", 60_001, False),
        ("0.1", -1, False),
        ("0.09", 1, False),
        ("-1", 1, False),
    ],
)
def test_only_a_payment_that_is_due_and_large_enough_closes_the_side_that_pays(
    side: Side, rate: str, left_ms: int, closes: bool
) -> None:
    life = a_life(side, funding_window_ms=60_000, funding_percent=Decimal("0.1"))
    life.look(100, funding=Funding(rate_percent=Decimal(rate) * side.sign, due_ms=NOW_MS + left_ms))
    assert life.reason is (ExitReason.FUNDING if closes else None)


# What a signal asks for


@pytest.mark.parametrize(
    ("asked", "limit_ms"), [(None, 48 * HOUR_MS), ("30", 30 * 60_000), ("0.5", 30_000), ("99999", 48 * HOUR_MS)]
)
def test_a_signal_can_bring_the_time_limit_forward_and_never_put_it_off(asked: str | None, limit_ms: int) -> None:
    position = replace(a_position(), time_limit_minutes=None if asked is None else Decimal(asked))
    assert rules_for(position, some_rules()).time_limit_ms == limit_ms


def test_what_a_signal_asks_for_goes_before_the_configuration() -> None:
    defaults = some_rules(trailing=some_trailing(1, 2), steps=steps((1, 50), (2, 50)))
    assert rules_for(a_position(), defaults) == defaults
    asked = replace(
        a_position(),
        trailing_activation_percent=Decimal(3),
        trailing_callback_percent=Decimal("0.7"),
        take_profit_percent=Decimal(9),
    )
    rules = rules_for(asked, defaults)
    assert rules.trailing == some_trailing(3, "0.7")
    assert rules.steps == steps((9, 100))
    half = rules_for(replace(a_position(), trailing_callback_percent=Decimal("0.7")), defaults)
    assert half.trailing == some_trailing(1, "0.7")
    assert rules_for(asked, some_rules()).trailing is None, "what is switched off stays off"


@pytest.mark.parametrize("nothing", ["0", "-1"])
def test_what_is_not_above_nothing_was_not_asked_for(nothing: str) -> None:
    """A callback restored as 0 would stop a position at its best price (TRL-02)."""
    value = Decimal(nothing)
    position = replace(
        a_position(),
        trailing_activation_percent=value,
        trailing_callback_percent=value,
        take_profit_percent=value,
        time_limit_minutes=value,
    )
    defaults = some_rules(trailing=some_trailing(), steps=steps((1, 50)))
    assert rules_for(position, defaults) == defaults


def test_a_state_belongs_to_one_position_of_one_side_price_and_size() -> None:
    state = fresh_state(a_position())
    assert state.belongs_to(a_position())
    assert state.belongs_to(a_position(amount="0.4", entry_amount=1)), "part of it closed"
    others = (a_position(side=Side.SELL), a_position(at=101), a_position(amount=2), a_position(position_id="other"))
    assert not any(state.belongs_to(other) for other in others)


# Every rule can end a position, and one always does

GAINS = st.integers(0, 10).map(lambda n: Decimal(n) / 5)


@st.composite
def configured(draw: st.DrawFn) -> Settings:
    """Settings that the daemon would start with."""
    trails_from = draw(GAINS) + Decimal("0.2")
    takes_at = draw(st.sampled_from([ZERO, trails_from + Decimal("0.2"), trails_from + 1]))
    names = {
        "TRAILING_MODE": draw(st.sampled_from(["managed", "managed", "off"])),
        "TRAILING_ACTIVATION_PERCENT": trails_from,
        "TRAILING_CALLBACK_PERCENT": draw(GAINS.filter(lambda gain: 0 < gain <= trails_from)),
        "BREAKEVEN_ACTIVATION_PERCENT": draw(GAINS),
        "GIVEBACK_FROM_PERCENT": draw(GAINS),
        "GIVEBACK_PERCENT": draw(st.integers(3, 10)) * 10,
        "TAKE_PROFIT_PERCENT": takes_at,
    }
    try:
        return some_settings(**{name: str(value) for name, value in names.items()})
    except ConfigError:
        assume(False)
        raise


def ends_of(life: Life, best: Decimal) -> ExitReason | None:
    """Up to this profit and back to the entry, from one price that can matter to the next. A callback as large as the
    activation ends a long a hair below its entry: a share of the best price is more than that of the entry."""
    side, tick = life.position.side, life.instrument.tick
    life.look(percent_from(side, best))
    for _ in range(20):
        if life.closed is not None:
            break
        edge = life.band.low if side is Side.BUY else life.band.high
        assert edge is not None
        at = edge / tick
        at = at.to_integral_value("ROUND_FLOOR" if side is Side.BUY else "ROUND_CEILING") * tick
        if life.position.profit_percent(at) < Decimal("-0.1"):
            break
        life.look(at)
    return life.reason


def starts_of(rules: ExitRules) -> dict[ExitReason, Decimal]:
    """The profit at which each of the rules that end a profit comes into force."""
    starts = {
        ExitReason.TRAILING: ZERO if rules.trailing is None else rules.trailing.activation_percent,
        ExitReason.BREAKEVEN: rules.breakeven_percent,
        ExitReason.GIVEBACK: rules.giveback_from_percent,
        ExitReason.TAKE_PROFIT: rules.steps[0].percent if rules.steps else ZERO,
    }
    return {reason: start for reason, start in starts.items() if start}


@pytest.mark.failure("TRL-06")
@settings(max_examples=25, suppress_health_check=[HealthCheck.filter_too_much])
@given(side=st.sampled_from(BOTH), chosen=configured())
def test_each_rule_that_is_configured_ends_some_position_and_no_profit_stays_without_an_exit(
    side: Side, chosen: Settings
) -> None:
    rules = exit_rules(chosen)
    starts = starts_of(rules)
    ended = set()
    for fineness in (10, 500):  # what acts only within a narrow range is looked for again
        for number in range(1, 8 * fineness):
            best = Decimal(number) / fineness
            life = Life(
                rules=rules,
                position=a_position(side=side, at=100),
                resting=percent_from(side, -2),
                instrument=an_instrument(tick="0.00001"),
                moves=None,
            )
            reason = ends_of(life, best)
            assert (reason is not None) == any(best >= start for start in starts.values()), best
            ended.add(reason)
        if starts.keys() <= ended:
            return
    pytest.fail(f"{starts.keys() - ended} never acts")


@pytest.mark.failure("TRL-06")
@pytest.mark.parametrize(
    ("names", "variable", "why"),
    [
        ({"TAKE_PROFIT_PERCENT": "1.5"}, "TRAILING_ACTIVATION_PERCENT", "never reached"),
        ({"TAKE_PROFIT_STEPS": "0.2:50,0.5:50"}, "BREAKEVEN_ACTIVATION_PERCENT", "never reached"),
        ({"GIVEBACK_FROM_PERCENT": "3", "TAKE_PROFIT_PERCENT": "2"}, "GIVEBACK_FROM_PERCENT", "never reached"),
        ({"GIVEBACK_FROM_PERCENT": "2"}, "GIVEBACK_FROM_PERCENT", "never acts"),
        ({"GIVEBACK_FROM_PERCENT": "0.4"}, "BREAKEVEN_ACTIVATION_PERCENT", "never acts"),
        (
            {"GIVEBACK_FROM_PERCENT": "1", "GIVEBACK_PERCENT": "10", "TAKE_PROFIT_PERCENT": "2"},
            "TRAILING_ACTIVATION_PERCENT",
            "never acts",
        ),
        (  # a long would give 0.6 % back before 0.6 % of its best price; a short would not
            {
                "TRAILING_ACTIVATION_PERCENT": "0.6",
                "TRAILING_CALLBACK_PERCENT": "0.6",
                "GIVEBACK_FROM_PERCENT": "1",
                "GIVEBACK_PERCENT": "60",
            },
            "GIVEBACK_FROM_PERCENT",
            "never acts",
        ),
        ({"TRAILING_CALLBACK_PERCENT": "1.6"}, "TRAILING_CALLBACK_PERCENT", "worse than the entry"),
        ({"BREAKEVEN_ACTIVATION_PERCENT": "0.1"}, "BREAKEVEN_ACTIVATION_PERCENT", "beyond the price"),
        ({"TIME_LIMIT_HOURS": "3"}, "MAX_POSITION_AGE_HOURS", "not below TIME_LIMIT_HOURS"),
        ({"TIME_LIMIT_HOURS": "4", "MIN_HOLDING_SECONDS": "14400"}, "MIN_HOLDING_SECONDS", "never act"),
    ],
)
def test_an_exit_that_could_never_act_is_refused_at_the_start(names: dict[str, str], variable: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        some_settings(**names)
    assert any(str(problem).startswith(variable) and why in str(problem) for problem in caught.value.problems)


@pytest.mark.failure("TRL-06")
@pytest.mark.parametrize("side", BOTH)
@pytest.mark.parametrize("names", [{}, {"TRAILING_MODE": "off", "BREAKEVEN_ACTIVATION_PERCENT": "0"}])
def test_what_no_other_rule_ends_the_time_limit_does(side: Side, names: dict[str, str]) -> None:
    rules = exit_rules(some_settings(**names))
    life = Life(rules=rules, position=a_position(side=side, at=100), resting=percent_from(side, -30))
    life.look(percent_from(side, -20), wait_ms=48 * HOUR_MS - 1)
    assert life.closed is None
    life.look(None, wait_ms=1)
    assert life.reason is ExitReason.TIME_LIMIT


# Which prices may be skipped

RULES = st.builds(
    some_rules,
    critical_percent=st.sampled_from([ZERO, Decimal(1)]),
    critical_confirm_ms=st.sampled_from([0, 500]),
    trailing=st.sampled_from([None, some_trailing(), some_trailing(1, 1, interval_ms=0), some_trailing(2, 20)]),
    steps=st.sampled_from([(), steps((2, 100)), steps((1, 50), (3, 30))]),
    breakeven_percent=st.sampled_from([ZERO, Decimal("0.5"), Decimal(2)]),
    fee_percent=st.sampled_from([ZERO, FEE]),
    giveback_from_percent=st.sampled_from([ZERO, Decimal("0.8"), Decimal(2)]),
    giveback_percent=st.sampled_from([Decimal(20), Decimal(50), Decimal(100)]),
    aged=st.sampled_from([None, some_aging(most=2)]),
    confirm_ms=st.sampled_from([0, 1_000]),
    least_holding_ms=st.sampled_from([0, HOUR_MS]),
)
TURNS = (-45, -31, -30, -21, -20, -19, -5, 0, 1, 2, 4, 5, 6, 8, 10, 12, 15, 16, 18, 20, 25, 29, 30, 40)
"""Gains in tenths of a percent, most of them beside something that a rule says."""
MOMENTS = st.lists(
    st.tuples(
        st.sampled_from([500, 1_000, 30_000, 3 * HOUR_MS]),
        st.sampled_from([True, True, True, False]),
        st.sampled_from([True, True, True, False]),
        st.lists(st.sampled_from(TURNS), min_size=1, max_size=8),
    ),
    max_size=12,
)


@settings(max_examples=250)
@given(side=st.sampled_from(BOTH), rules=RULES, moments=MOMENTS, moves=st.booleans())
def test_leaving_out_calm_prices_changes_no_decision(
    side: Side, rules: ExitRules, moments: list[tuple[int, bool, bool, list[int]]], moves: bool
) -> None:
    """One looks at every price, the other at the first of each moment and at those outside of the band."""
    patient, quick = (
        Life(
            rules=rules,
            position=a_position(side=side, at=100),
            resting=percent_from(side, -2),
            instrument=an_instrument(tick="0.1"),
            moves=some_trailing() if moves else None,
        )
        for _ in range(2)
    )
    for wait_ms, normal, discretionary, gains in moments:
        for number, gain in enumerate(gains):
            at = percent_from(side, Decimal(gain) / 10)
            verdict = patient.look(at, wait_ms=0 if number else wait_ms, normal=normal, discretionary=discretionary)
            if number == 0:
                quick.look(at, wait_ms=wait_ms, normal=normal, discretionary=discretionary)
            elif quick.band.calm(at):
                assert verdict.close is None
                assert not verdict.confirmations.since
            else:
                quick.look(at, normal=normal, discretionary=discretionary)
            assert quick.closed == patient.closed
            assert (quick.steps_done, quick.resting) == (patient.steps_done, patient.resting)
            assert quick.confirmations.since == patient.confirmations.since
            assert replace(quick.state, peak=None) == replace(patient.state, peak=None)
            if patient.closed is not None:
                return
    assert quick.judged <= patient.judged


@pytest.mark.parametrize("side", BOTH)
@pytest.mark.parametrize(
    ("changes", "seen_before", "at", "loss", "gain"),
    [
        ({}, [], 0, -2, None),
        ({"critical_percent": Decimal(1)}, [], 0, -2, None),
        ({"critical_percent": Decimal(1)}, [], "-2.5", -3, None),
        ({"trailing": some_trailing(2, 10)}, [], 0, -2, 2),
        ({"trailing": some_trailing(2, 10)}, [3], 2, -2, 3),
        ({"trailing": some_trailing(2, 10)}, [], 3, -2, 3),
        ({"steps": steps((1, 100))}, [], 0, -2, 1),
        ({"steps": steps((1, 100)), "least_holding_ms": 1}, [], 0, -2, 1),
        ({"breakeven_percent": Decimal(1)}, [], 0, -2, 1),
        ({"breakeven_percent": Decimal(1)}, [1], "0.5", 0, None),
        ({"giveback_from_percent": Decimal(1), "giveback_percent": Decimal(50)}, [], 0, -2, 1),
        ({"giveback_from_percent": Decimal(1), "giveback_percent": Decimal(50)}, [4], 3, 2, 4),
        ({"aged": replace(some_aging(), from_hours=ZERO)}, [], -1, -2, 0),
    ],
)
def test_the_nearest_prices_at_which_a_rule_speaks_bound_what_is_calm(
    side: Side, changes: dict[str, Any], seen_before: list[Number], at: Number, loss: Number, gain: Number | None
) -> None:
    """All in percent gained; the stop stands at -2 and is not moved."""
    life = a_life(side, moves=None, **changes)
    for earlier in seen_before:
        life.look(percent_from(side, earlier))
    band = life.look(percent_from(side, at), passed=False).band
    bounds = (percent_from(side, loss), None if gain is None else percent_from(side, gain))
    assert band == (bounds if side is Side.BUY else bounds[::-1])


def test_most_prices_of_a_quiet_position_are_calm() -> None:
    life = Life(rules=exit_rules(some_settings()), position=a_position(at=100), resting=price(98))
    life.look(100)
    for cents in range(9_801, 10_050):
        life.tick(Decimal(cents) / 100)
    assert life.judged == 1
    assert life.tick(98) is not None, "its stop"
    assert life.tick("100.5") is not None, "breakeven"


@settings(max_examples=150)
@given(side=st.sampled_from(BOTH), rules=RULES, data=st.data())
def test_no_price_however_large_or_small_is_too_much(side: Side, rules: ExitRules, data: st.DataObject) -> None:
    tick = data.draw(st.sampled_from([Decimal("1e-8"), Decimal("1e-4"), Decimal(1), Decimal(1000)]), "tick")
    ticks = st.integers(1, 10**6) | st.integers(1, 5)
    position = a_position(side=side, at=tick * data.draw(ticks, "entry"))
    life = Life(
        rules=rules,
        position=position,
        resting=Price(tick * data.draw(ticks, "stop")),
        instrument=an_instrument(tick=tick),
        moves=None,
    )
    for at in data.draw(st.lists(ticks | st.integers(-1, 0), max_size=6), "prices"):
        life.look(tick * at, wait_ms=1_000)
        assert life.state.level is None or life.state.level > 0
        assert life.state.peak is None or life.state.peak > 0
        if life.closed is not None:
            break


# Long and short


@settings(max_examples=150)
@given(rules=RULES, gains=st.lists(st.integers(-18, 80), max_size=12))
def test_a_long_and_a_short_decide_alike_at_the_same_gain(rules: ExitRules, gains: list[int]) -> None:
    """But for trailing, whose callback is of the best price, and age, which counts costs: they have their own tests."""
    alike = replace(rules, trailing=None, aged=None)
    lives = [Life(rules=alike, position=a_position(side=s, at=100), resting=percent_from(s, -2)) for s in BOTH]
    for gain in gains:
        told = []
        for life in lives:
            life.look(percent_from(life.position.side, Decimal(gain) / 20), wait_ms=700)
            told.append((life.reason, life.steps_done, life.state.level is None, len(life.moved)))
        assert told[0] == told[1]
        if lives[0].closed is not None:
            return


@given(
    best=st.integers(150, 2000).map(lambda n: Decimal(n) / 100),
    back=st.integers(1, 300).map(lambda n: Decimal(n) / 100),
)
def test_a_long_and_a_short_trail_at_the_same_share_of_their_best_price(best: Decimal, back: Decimal) -> None:
    told = []
    for side in BOTH:
        life = a_life(side, trailing=some_trailing("1.5", "0.505"), moves=None)
        life.look(percent_from(side, best))
        life.look(away(side, percent_from(side, best), -back))
        told.append(life.reason)
    slack = HUNDRED * CENTS.tick / percent_from(Side.SELL, best)
    assert told[0] is told[1] or Decimal("0.505") - slack <= back <= Decimal("0.505")
    assert back < Decimal("0.505") or told == [ExitReason.TRAILING, ExitReason.TRAILING]
