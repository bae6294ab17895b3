"""Every rule that is configured can end a position, and one of them always does (TRL-06)."""

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from core.config import Settings
from core.domain.aging import HOUR_MS
from core.domain.exits import (
    ExitReason,
    ExitRules,
)
from core.domain.money import ZERO
from core.domain.signal import Side
from core.errors import ConfigError
from core.wiring.rules import exit_rules
from tests.builders import a_position, an_instrument
from tests.builders_config import some_settings
from tests.domain.exit_world import (
    BOTH,
    Life,
    percent_from,
)

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
