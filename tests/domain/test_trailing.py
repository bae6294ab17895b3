"""The trailing stop: always behind the best price, only ever tighter, and not moved more often than it is worth."""

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from core.domain.exits import NONE_CONFIRMED, ExitReason, fresh_state, judge
from core.domain.money import HUNDRED, ZERO, Price
from core.domain.signal import Side
from core.domain.trailing import TrailingRules, better, trailing_level, worth_moving
from tests.builders import Number, a_position, an_instrument, price
from tests.domain.exit_world import BOTH, CENTS, Life, a_life, percent_from, seen, some_rules, some_trailing

TICK = CENTS.tick
PERCENT = st.integers(1, 10_000).map(lambda n: Decimal(n) / 100)


@pytest.mark.parametrize(("activation", "callback"), [(0, 1), (1, 0), (1, "-0.5"), (-1, 1)])
def test_a_trailing_stop_without_a_distance_or_a_beginning_cannot_be_made(activation: int, callback: Number) -> None:
    with pytest.raises(ValueError, match="above 0"):
        some_trailing(activation, callback)


@given(
    side=st.sampled_from(BOTH),
    tick=st.sampled_from(["0.00000001", "0.0005", "0.1", "1", "1000"]),
    ticks=st.integers(1, 10**10),
    callback=PERCENT,
)
def test_a_trailing_stop_stands_behind_the_best_price_and_no_further_than_the_callback_and_a_tick(
    side: Side, tick: str, ticks: int, callback: Decimal
) -> None:
    peak = Price(Decimal(tick) * ticks)
    level = trailing_level(side, peak, some_trailing(callback=callback), an_instrument(tick=tick))
    assert better(side, peak, level)
    assert level % Decimal(tick) == 0
    assert abs(peak - level) <= max(peak * callback / HUNDRED, Decimal(tick))


@given(
    side=st.sampled_from(BOTH),
    resting=st.integers(1, 10**6),
    wanted=st.integers(-100, 10**6),
    since=st.none() | st.integers(0, 120_000),
    least=st.integers(0, 300),
    forced=st.integers(1, 300),
)
def test_a_move_is_worth_it_only_when_it_tightens_enough_and_the_last_one_is_over(
    side: Side, resting: int, wanted: int, since: int | None, least: int, forced: int
) -> None:
    rules = TrailingRules(
        activation_percent=Decimal(1),
        callback_percent=Decimal(1),
        interval_ms=30_000,
        least_step_percent=Decimal(least) / 100,
        forced_step_percent=Decimal(forced) / 100,
    )
    old, new = Price(resting * TICK), Price(wanted * TICK)
    gain = (new - old) * side.sign
    due = since is None or since >= 30_000 or gain * HUNDRED >= old * rules.forced_step_percent
    enough = gain >= TICK and gain * HUNDRED >= old * rules.least_step_percent
    assert worth_moving(side, old, new, rules, TICK, since_last_ms=since) == (enough and due)


@pytest.mark.parametrize(
    ("wanted", "since", "moves"),
    [
        ("102.5", None, True),
        ("102.5", 29_999, True),
        ("100.5", 29_999, False),
        ("100.5", 30_000, True),
        ("100.05", None, False),
    ],
)
def test_thirty_seconds_lie_between_two_moves_but_for_one_of_a_percent(
    wanted: str, since: int | None, moves: bool
) -> None:
    assert worth_moving(Side.BUY, price(100), price(wanted), some_trailing(), TICK, since_last_ms=since) is moves


@pytest.mark.failure("TRL-06")
@pytest.mark.parametrize("side", BOTH)
def test_activation_latches_and_a_profit_that_comes_back_is_let_go_at_the_callback(side: Side) -> None:
    life = a_life(side, trailing=some_trailing(), moves=None)
    latched = [life.look(percent_from(side, gain)).state.trailing for gain in ("1.49", "1.5", "1.2")]
    assert latched == [False, True, True], "below its activation it goes on"
    life.look(percent_from(side, "0.9"))
    assert life.reason is ExitReason.TRAILING


@pytest.mark.parametrize("side", BOTH)
def test_a_resting_stop_at_the_trailing_level_is_left_to_act_by_itself(side: Side) -> None:
    life = a_life(side, trailing=some_trailing())
    life.look(percent_from(side, 3))
    assert life.resting == life.state.level
    life.look(life.resting, passed=False)
    assert life.closed is None


@pytest.mark.parametrize("side", BOTH)
def test_a_stop_that_stands_closer_than_trailing_wants_it_is_left_there(side: Side) -> None:
    """Its owner put it there, or it was placed so."""
    life = a_life(side, trailing=some_trailing(), resting=percent_from(side, "2.8"))
    life.look(percent_from(side, 3))
    assert life.state.trailing
    assert (life.state.level, life.moved) == (None, [])


def test_no_stop_is_wanted_at_a_price_of_nothing() -> None:
    """One tick is the lowest price there is; behind it nothing can stand."""
    position = a_position(at="0.005", amount=1)
    rules, here = some_rules(trailing=some_trailing()), seen("0.01")
    verdict = judge(position, fresh_state(position), NONE_CONFIRMED, rules, here, CENTS)
    assert verdict.state.trailing
    assert verdict.state.level is None


Leg = tuple[int, list[int], bool]
LEGS = st.lists(
    st.tuples(
        st.sampled_from([0, 100, 1000, 29_999, 30_000, 60_000]),
        st.lists(st.integers(-60, 60), min_size=1, max_size=5),
        st.booleans(),
    ),
    max_size=25,
)


def play(life: Life, legs: list[Leg]) -> list[Price | None]:
    """Prices of a random walk in steps of 0.05, with restarts in between; what was wanted after each."""
    wanted: list[Price | None] = []
    at = Decimal(100)
    for wait_ms, steps, restarts in legs:
        if restarts:
            life.restart()
        for number, step in enumerate(steps):
            at = max(at + Decimal(step) / 20, Decimal(1))
            life.look(at, wait_ms=0 if number else wait_ms)
            wanted.append(life.state.level)
            if life.closed is not None:
                return wanted
    return wanted


@pytest.mark.failure("TRL-01")
@given(side=st.sampled_from(BOTH), legs=LEGS, breakeven=st.sampled_from([ZERO, Decimal("0.5")]))
def test_a_stop_only_ever_improves_whatever_the_price_does_and_however_often_we_restart(
    side: Side, legs: list[Leg], breakeven: Decimal
) -> None:
    life = a_life(side, trailing=some_trailing(), breakeven_percent=breakeven, fee_percent=Decimal("0.05"))
    first = life.resting
    wanted = [level for level in play(life, legs) if level is not None]
    for earlier, later in pairwise(wanted):
        assert not better(side, earlier, later)
    stops = [(life.position.opened_ms - 30_000, first), *life.moved]
    for (before_ms, before), (now_ms, now) in pairwise(stops):
        assert better(side, now, before)
        gain = (now - before) * side.sign
        assert gain >= before * Decimal("0.001")
        assert now_ms - before_ms >= 30_000 or gain * 100 >= before


@given(side=st.sampled_from(BOTH), legs=LEGS, callback=st.sampled_from(["0.2", 2, 30]), moves=st.booleans())
def test_other_settings_after_a_restart_do_not_loosen_what_was_wanted(
    side: Side, legs: list[Leg], callback: Number, moves: bool
) -> None:
    life = a_life(side, trailing=some_trailing(), moves=some_trailing() if moves else None)
    life.look(percent_from(side, 3))
    before = life.state.level
    assert before is not None
    life.restart()
    life.rules = replace(life.rules, trailing=some_trailing(callback=callback))
    assert not any(level is None or better(side, before, level) for level in play(life, legs))
