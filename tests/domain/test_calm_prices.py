"""Which prices no rule has anything to say to, so that nobody needs to look; and that longs and shorts decide alike."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from core.domain.aging import HOUR_MS
from core.domain.exits import (
    ExitReason,
    ExitRules,
)
from core.domain.money import HUNDRED, ZERO, Price
from core.domain.signal import Side
from core.domain.trailing import away
from core.wiring.rules import exit_rules
from tests.builders import Number, a_position, an_instrument, price
from tests.builders_config import some_settings
from tests.domain.exit_world import (
    BOTH,
    CENTS,
    FEE,
    Life,
    a_life,
    percent_from,
    some_aging,
    some_rules,
    some_steps,
    some_trailing,
)

RULES = st.builds(
    some_rules,
    critical_percent=st.sampled_from([ZERO, Decimal(1)]),
    critical_confirm_ms=st.sampled_from([0, 500]),
    trailing=st.sampled_from([None, some_trailing(), some_trailing(1, 1, interval_ms=0), some_trailing(2, 20)]),
    steps=st.sampled_from([(), some_steps((2, 100)), some_steps((1, 50), (3, 30))]),
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
        ({"steps": some_steps((1, 100))}, [], 0, -2, 1),
        ({"steps": some_steps((1, 100)), "least_holding_ms": 1}, [], 0, -2, 1),
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
    told = life.look(percent_from(side, at), passed=False).band
    band = tuple(None if end is None else round(end, 9) for end in told)  # beyond the best price is the next number
    bounds = (percent_from(side, loss), None if gain is None else percent_from(side, gain))
    assert band == (bounds if side is Side.BUY else bounds[::-1])


@pytest.mark.parametrize("side", BOTH)
@pytest.mark.parametrize(
    "changes",
    [{"trailing": some_trailing(2, 10)}, {"giveback_from_percent": Decimal(1), "giveback_percent": Decimal(50)}],
    ids=["trailing", "giveback"],
)
def test_a_price_that_stands_at_its_best_is_calm_and_a_better_one_is_not(side: Side, changes: dict[str, Any]) -> None:
    life = a_life(side, moves=None, **changes)
    life.look(percent_from(side, 4))
    band = life.look(percent_from(side, 4), passed=False).band
    assert band.calm(percent_from(side, 4))
    assert not band.calm(percent_from(side, "4.000001"))


@settings(max_examples=250)
@given(side=st.sampled_from(BOTH), rules=RULES, gains=st.lists(st.sampled_from(TURNS), min_size=1, max_size=12))
def test_where_no_rule_acts_a_price_is_remembered_and_nothing_else(
    side: Side, rules: ExitRules, gains: list[int]
) -> None:
    life = Life(
        rules=rules,
        position=a_position(side=side, at=100),
        resting=percent_from(side, -2),
        instrument=an_instrument(tick="0.1"),
        moves=None,
    )
    for gain in gains:
        at = percent_from(side, Decimal(gain) / 10)
        before, steps, calm = life.state, life.steps_done, life.acting.calm(at)
        verdict = life.look(at)
        if calm:
            assert verdict.close is None
            assert not verdict.confirmations.since
            assert (life.steps_done, life.state.trailing) == (steps, before.trailing)
            assert replace(life.state, peak=None, level=None) == replace(before, peak=None, level=None)
        if life.closed is not None:
            return


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
