"""The exit rules: their order, what holds them back, and where each of them acts."""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

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
from core.domain.money import ZERO, Price, Quantity
from core.domain.position import Position
from core.domain.signal import Side
from tests.builders import NOW_MS, a_position, an_instrument
from tests.domain.exit_world import (
    BOTH,
    CENTS,
    FEE,
    a_life,
    percent_from,
    seen,
    some_aging,
    some_rules,
    some_steps,
    some_trailing,
)

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
        steps=some_steps(("0.05", 100)) if ExitReason.TAKE_PROFIT in on else (),
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


@pytest.mark.parametrize("side", BOTH)
def test_a_price_beyond_the_resting_stop_as_well_is_left_to_that_stop(side: Side) -> None:
    """It fires at the venue at this very moment; a close beside it would find nothing."""
    life = a_life(side, breakeven_percent=Decimal("0.5"), fee_percent=FEE, moves=None)
    life.look(percent_from(side, "0.5"))
    assert life.look(percent_from(side, -3)).close is None
    life.look(percent_from(side, -3), wait_ms=3_000)
    assert life.reason is ExitReason.STOP_PASSED


# Taking profit and giving it back


@pytest.mark.parametrize("side", BOTH)
def test_each_step_must_hold_by_itself(side: Side) -> None:
    life = a_life(side, steps=some_steps((1, 50), (2, 50)), confirm_ms=1_000)
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
    life = a_life(side, steps=some_steps((1, 100)), confirm_ms=1_000)
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
    defaults = some_rules(trailing=some_trailing(1, 2), steps=some_steps((1, 50), (2, 50)))
    assert rules_for(a_position(), defaults) == defaults
    asked = replace(
        a_position(),
        trailing_activation_percent=Decimal(3),
        trailing_callback_percent=Decimal("0.7"),
        take_profit_percent=Decimal(9),
    )
    rules = rules_for(asked, defaults)
    assert rules.trailing == some_trailing(3, "0.7")
    assert rules.steps == some_steps((9, 100))
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
    defaults = some_rules(trailing=some_trailing(), steps=some_steps((1, 50)))
    assert rules_for(position, defaults) == defaults


def test_a_state_belongs_to_one_position_of_one_side_price_and_size() -> None:
    state = fresh_state(a_position())
    assert state.belongs_to(a_position())
    assert state.belongs_to(a_position(amount="0.4", entry_amount=1)), "part of it closed"
    others = (a_position(side=Side.SELL), a_position(at=101), a_position(amount=2), a_position(position_id="other"))
    assert not any(state.belongs_to(other) for other in others)
